"""`tfkd check`: one report of a file that everything is wrong with, for people and for programs."""

import json
import re

import pytest
from click.testing import CliRunner

from tests.messages import exactly
from tfkd.cli import verbs
from tfkd.config.verbs import CheckConfig
from tfkd.data import sources
from tfkd.errors import DatasetError
from tfkd.workflows.check import check

BODIES = [
    "card was charged twice today",
    "parcel is late",
    "page stays white",
    "password is refused",
]


@pytest.fixture(scope="module")
def tickets(tmp_path_factory):
    """Ten rows of each of 4 classes, 2 empty ones, a repeated one and one of a class of its own."""
    path = tmp_path_factory.mktemp("tickets") / "tickets.csv"
    rows = [f"T-{row};{BODIES[row % 4]} {row};Class {'ABCD'[row % 4]}" for row in range(40)]
    rows[4] = rows[4].replace("Class A", "class a")
    rows += ["T-40; ;Class A", "T-41;My text;", rows[0], "T-43;My lawyer;Legal"]
    path.write_text("\n".join(["ticket_id;body;category", *rows]), encoding="utf-8")
    return path


def config(path, **changes):
    columns = {"text_column": "body", "label_columns": ("category",)}
    return CheckConfig(**{"data": str(path), **columns, **changes})


def test_everything_is_told_at_once(tickets):
    result = check(config(tickets, sequence_length=5))
    told = result.to_dict()
    assert told["form"] == "CSV, UTF-8, ';' between columns"
    assert told["columns"] == "body as text, category as label; ignored: ticket_id"
    assert told["labels"] == (
        "single_label, 6 classes: Class A, Class B, Class C, Class D, Legal, class a"
    )
    assert told["splits"] == {
        "train": {
            "num_rows": 42,
            "unreadable": 0,
            "empty": 2,
            "duplicates": 1,
            "leaks": 0,
            "conflicts": 0,
            "ids": 0,
            "weightless": 0,
            "words": {"median": 4, "p99": 6, "max": 6, "cut": 11 / 42},
            "classes": {
                **{"Class A": 10, "Class B": 10, "Class C": 10, "Class D": 10},
                **{"Legal": 1, "class a": 1},
            },
        }
    }
    kinds = [finding["kind"] for finding in told["findings"]]
    assert kinds == ["empty", "duplicates", "spellings", "rare", "long"]
    assert str(result.findings[-1]) == (
        "Texts longer than 5 words: 26.2 % of a split. What is behind is not read; 99 of 100 have "
        "at most 6 words. A word has one to two tokens; --model counts them."
    )


def test_repairs_are_tried_without_a_training(tickets):
    result = check(config(tickets, drop_empty=True, drop_duplicates=True, fold_case=True))
    assert result.repairs == (
        "left out of train: 2 without a text or a label, 1 whose text comes before",
        "labels of train spelled as most of their class: 1",
    )
    assert [finding.kind for finding in result.findings] == ["rare"]
    assert result.survey.dataset.label_names[:2] == ("Class A", "Class B")


def test_labels_that_cannot_be_understood_keep_nothing_else_back(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("text,label\na,x\nb,x\na,x\n,x\n")
    result = check(CheckConfig(data=str(path)))
    assert [str(finding) for finding in result.findings] == [
        f"Expected at least two classes in {path}. Received: x. Add rows of other classes, or a "
        "labels.txt with one class name a line. Texts alone were read.",
        "Rows without a text or a label: 1 of train. --drop-empty leaves them out.",
        "Rows with the text of an earlier row of the same split: 1 of train. --drop-duplicates "
        "leaves them out.",
    ]
    path.write_text("text,label\na,x\nb,y\nc\n")
    kinds = [finding.kind for finding in check(CheckConfig(data=str(path))).findings]
    assert kinds == ["unreadable", "rare"]


def test_rows_that_cannot_be_read_are_all_reported_and_the_rest_as_well(tmp_path):
    (tmp_path / "labels.txt").write_text("x\ny\n")
    train = [f"text {row},{'xy'[row % 2]},1" for row in range(20)]
    bad = ["a,x", "b,z,1", "c,y,-1", "d,y,much", '"e" e,y,1', "f,x,1,1"]
    (tmp_path / "train.csv").write_text("\n".join(["text,label,n", *bad, *train, "text 0,x,0"]))
    test = [{"text": "same", "label": "x"}, {"text": 7, "label": "y"}, {"text": "same"}]
    lines = ["[]", *map(json.dumps, test), '{"text": ', '{"text": "same", "label": "y"}']
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    config = CheckConfig(data=str(tmp_path), weight_column="n")
    result = check(config)
    found = {finding.found: finding for finding in result.findings}
    assert [str(finding) for finding in result.findings if finding.kind == "unreadable"] == [
        "Rows that cannot be read: 6 of train (row 1: expected 3 fields as in the header, received "
        "2 fields, the first 'a'; row 2: expected a label of "
        f"{tmp_path}/labels.txt (x, y) or an index 0 to 1, received 'z'; row 3: expected a finite "
        "number of 0 or more as weight, received '-1'; row 4: expected a finite number of 0 or "
        "more as weight, received 'much'; row 5: expected standard quoting, received ',' expected "
        "after '\"'; ...). A training stops at the first; correct them or drop them.",
        "Rows that cannot be read: 3 of test (row 1: expected a JSON object, received []; row 3: "
        "expected a string as text, received 7; row 5: expected a JSON object, received Expecting "
        "value: line 2 column 1 (char 10)). A training stops at the first; correct them or drop "
        "them.",
    ]
    assert "Rows with the text of an earlier row of the same split: 1 of train, 1 of test" in found
    assert "Rows of weight 0: 1 of train" in found
    splits = result.to_dict()["splits"]
    assert [splits[name]["unreadable"] for name in ("train", "test")] == [6, 3]
    assert [splits[name]["num_rows"] for name in ("train", "test")] == [21, 2]
    assert splits["test"]["empty"] == 1
    assert splits["train"]["classes"] == {"x": 11, "y": 10}
    # Asked again, with the rows kept, and by a training, which stops.
    assert check(config).to_dict() == result.to_dict()
    with pytest.raises(DatasetError, match=r"train.csv, row 1 \(row 1 is the first row of data\)"):
        list(sources.load(str(tmp_path)).splits["train"])


def test_without_a_column_of_texts_there_is_nothing_to_check(tickets):
    message = (
        "Expected the columns `text` (or `sentence1`, `sentence2`) and `label` (or `labels`) in "
        f"{tickets}. Received: ticket_id, body, category. Perhaps --text-column body "
        "--label-column category?"
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        check(CheckConfig(data=str(tickets)))


def test_more_classes_than_a_table_holds(tmp_path):
    rows = "".join(f"text {row},c{row % 50 + 100}\n" for row in range(175))
    path = tmp_path / "many.csv"
    path.write_text(f"text,label\n{rows}")
    table = check(CheckConfig(data=str(path))).render()[2]
    assert len(table.rows) == 41
    assert table.rows[0] == ("c100", "4")
    assert table.rows[20] == ("... 10 more", "-")
    assert table.rows[40] == ("c149", "3")


def test_the_command_line(tickets):
    arguments = ["check", str(tickets), "--text-column", "body", "--label-column", "category"]
    shown = CliRunner().invoke(verbs, arguments)
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{tickets}: CSV, UTF-8, ';' between columns"
    assert "What to do:" in lines
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert [
        "Split",
        "Rows",
        "Empty",
        "Repeated",
        "Median words",
        "99 of 100 up to",
        "Longest",
    ] in rows
    assert ["train", "42", "2", "1", "4", "6", "6"] in rows
    told = json.loads(CliRunner().invoke(verbs, [*arguments, "--json"]).stdout)
    assert told == json.loads(json.dumps(check(config(tickets)).to_dict()))
