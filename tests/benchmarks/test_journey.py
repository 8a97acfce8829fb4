"""The tables of the stranger's journey, and its page from figures that were kept."""

import csv
import itertools

from benchmarks import journey
from benchmarks.journey import Place, Ticket, messy, write_tables

TICKETS = [Ticket(f"the text of {number}", f"class {number % 7}") for number in range(3700)]


def rows_of(path):
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))


def test_tables_share_no_ticket_but_those_of_the_few(tmp_path):
    place = Place(tmp_path)
    write_tables(TICKETS, place)
    bodies = {
        path: {row["body"] for row in rows_of(path)} - {""}
        for path in (
            place.tickets / "train.csv",
            place.tickets / "test.csv",
            place.rest / "train.csv",
            place.backlog,
        )
    }
    assert all(not a & b for a, b in itertools.combinations(bodies.values(), 2))
    assert [len(found) for found in bodies.values()] == [786, 1500, 97, 1300]
    few = rows_of(place.few / "train.csv")
    assert [row["body"] for row in few] == [ticket.body for ticket in TICKETS[:200]]
    for path in (place.few, place.rest):
        assert rows_of(path / "test.csv") == rows_of(place.tickets / "test.csv")
    assert list(rows_of(place.backlog)[0]) == ["ticket_id", "created", "body"]


def test_a_messy_table_has_rows_twice_without_a_text_and_in_capitals():
    rows = messy(TICKETS[:803])
    assert len(rows) == 803 + 32
    assert sum(not row[2] for row in rows) == 17
    assert len({row[0] for row in rows}) == 803
    assert {row[3] for row in rows} == {
        name for number in range(7) for name in (f"class {number}", f"CLASS {number}")
    }


def test_page_has_a_line_for_each_step():
    step = {"accuracy": {"teacher": 0.9, "student": 0.88}}
    found = {
        "steps": {"803 rows": step, "200 labels": {"accuracy": {"student": 0.8}}},
        "num_later": 1500,
        "dataset": "toys",
        "student": "cnn",
        "seeds": [0, 1],
        "versions": {"tfkd": "1"},
    }
    page = journey.page(found)
    assert "| 803 rows | 0.900 | 0.880 |\n| 200 labels | - | 0.800 |\n" in page
    assert "Accuracy on 1,500 later tickets." in page
    assert "Rows of toys, student cnn, seeds [0, 1]. tfkd 1." in page
