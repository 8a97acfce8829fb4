"""A table with answers behind its columns; the model counts words, so every answer is known."""

import csv
import json
import math

import numpy as np
import pyarrow.parquet
import pytest

from tests.messages import exactly
from tests.toys import QUIET
from tfkd.data.columns import KNOWN_NAMES, ColumnNames
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.data.tables import CHUNK_ROWS
from tfkd.errors import DatasetError
from tfkd.models.description import Description
from tfkd.runs.answering import ASKED_ROWS, Answering
from tfkd.runs.scored_file import TextTable, score_file

WORDS = ("rain", "goal")
LABELS = ("weather", "sport")
# Of logits 1 and 0, and 2 and 0.
ONE, TWO = (math.exp(logit) / (math.exp(logit) + 1) for logit in (1, 2))


def counting(task=SINGLE_LABEL, labels=LABELS, num_texts=1, thresholds=0.5, asked=None):
    """A model whose logits are the numbers of its words in a text."""

    def predict(texts):
        texts = [text if isinstance(text, str) else " ".join(text) for text in texts]
        if asked is not None:
            asked.append(texts)
        rows = [[text.split().count(word) for word in WORDS[: len(labels)]] for text in texts]
        return np.array(rows, np.float32)

    description = Description(task, labels, num_texts, 32, "", thresholds)
    return Answering("counting.tflite", description, predict)


def scored(source, target, answering=None, all_classes=False, names=KNOWN_NAMES):
    answering = answering or counting()
    texts = TextTable.of(source, names, answering.model.num_texts)
    return score_file(texts, target, answering, all_classes, QUIET)


def csv_rows(path):
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.fixture
def tickets(tmp_path):
    path = tmp_path / "tickets.csv"
    path.write_text("id,body,note\n1,rain,a\n2,goal goal,\n3, ,c\n")
    return path


def test_strings_that_parquet_holds_as_bytes_are_texts(tmp_path):
    table = pyarrow.table({"text": [b"rain", "für".encode("latin-1")]})
    source = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table.slice(0, 1), source)
    scored(source, tmp_path / "b.parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "b.parquet").to_pylist()
    assert rows == [{"text": b"rain", "label": "weather", "probability": pytest.approx(ONE, 1e-5)}]
    pyarrow.parquet.write_table(table, source)
    message = (
        f"Expected UTF-8 text in {source}, row 2 (row 1 is the first row of data). Received: a "
        r"broken character in 'f\udcfcr'. Save the file as UTF-8."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        scored(source, tmp_path / "b.parquet")


def test_answers_stand_behind_the_own_columns(tickets, tmp_path):
    names = ColumnNames("body")
    result = scored(tickets, tmp_path / "scored.csv", names=names)
    assert csv_rows(tmp_path / "scored.csv") == [
        ["id", "body", "note", "label", "probability"],
        ["1", "rain", "a", "weather", f"{ONE:.6g}"],
        ["2", "goal goal", "", "sport", f"{TWO:.6g}"],
        ["3", " ", "c", "", ""],
    ]
    first, columns, empty = result.render()
    assert first.startswith(f"{tmp_path / 'scored.csv'}: 3 rows answered by counting.tflite in ")
    assert columns == "Added columns: label, probability."
    assert empty == "Rows without a text, which have no answer: 1."
    assert str(result) == "\n".join((first, columns, empty))
    assert result.to_dict()["num_empty"] == 1


def test_all_classes_sum_to_one_in_every_format(tickets, tmp_path):
    for name in ("a.csv", "a.tsv.gz", "a.jsonl", "a.parquet"):
        scored(tickets, tmp_path / name, all_classes=True, names=ColumnNames("body"))
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    added = table.column_names[3:]
    assert added == ["label", "probability", "probability:weather", "probability:sport"]
    rows = table.to_pylist()
    assert rows[0]["probability:weather"] + rows[0]["probability:sport"] == pytest.approx(1, 1e-5)
    assert [rows[2][name] for name in added] == [None] * 4
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert list(map(json.loads, lines)) == rows
    strings = [["" if value is None else str(value) for value in row.values()] for row in rows]
    assert csv_rows(tmp_path / "a.csv")[1:] == strings
    # What was written can be scored again: its answers are the user's columns now.
    again = scored(tmp_path / "a.tsv.gz", tmp_path / "b.csv", names=ColumnNames("body"))
    assert again.columns == ("predicted_label", "predicted_probability")
    assert [row[-2:] for row in csv_rows(tmp_path / "b.csv")[1:]] == [row[3:5] for row in strings]


def test_names_that_the_table_has_get_a_prefix(tmp_path):
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_text("text,label\nrain,open\n")
    result = scored(source, target, all_classes=True)
    assert csv_rows(target)[0][1:] == [
        *("label", "predicted_label", "predicted_probability"),
        *("predicted_probability:weather", "predicted_probability:sport"),
    ]
    assert result.render()[1].endswith(" (a.csv has a column of such a name).")
    message = (
        f"Expected no column `predicted_label` in {target}, beside one of the same name without "
        "`predicted_`. Received both. Rename or drop one of them."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        scored(target, tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("labels", "cell"),
    [(LABELS, "weather|sport"), (("weather|wind", "sport"), "weather|wind;sport")],
)
def test_multi_label_joins_labels_by_a_mark_that_no_name_has(tmp_path, labels, cell):
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "rain goal goal"}\n{"text": "snow"}\n{"text": null}\n')
    answering = counting(MULTI_LABEL, labels, thresholds=[0.7, 0.5])
    scored(source, tmp_path / "b.jsonl", answering)
    one, two = float(f"{ONE:.6g}"), float(f"{TWO:.6g}")
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert rows == [
        {"text": "rain goal goal", "labels": list(labels), "probabilities": [one, two]},
        {"text": "snow", "labels": [], "probabilities": []},
        {"text": None, "labels": None, "probabilities": None},
    ]
    scored(source, tmp_path / "b.csv", answering)
    assert csv_rows(tmp_path / "b.csv")[1] == [
        "rain goal goal",
        cell,
        f"{one}{cell[-6]}{two}",
    ]
    scored(source, tmp_path / "b.parquet", answering)
    assert pyarrow.parquet.read_table(tmp_path / "b.parquet").to_pylist() == rows


def test_pairs_with_one_empty_side_have_a_score(tmp_path):
    source, target = tmp_path / "a.tsv", tmp_path / "b.tsv"
    source.write_text("one\ttwo\nrain\train\n\train\n\t\n")
    answering = counting(REGRESSION, ("score",), num_texts=2)
    scored(source, target, answering, names=ColumnNames("one", "two"))
    assert target.read_text() == "one\ttwo\tscore\nrain\train\t2.0\n\train\t1.0\n\t\t\n"


def test_rows_keep_their_order_whatever_their_length(tmp_path):
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    counts = [(row * 7919) % 13 for row in range(CHUNK_ROWS + 50)]
    source.write_text("text\n" + "".join("x" + " rain" * count + "\n" for count in counts))
    asked = []
    scored(source, target, counting(REGRESSION, ("score",), asked=asked))
    assert [float(row[1]) for row in csv_rows(target)[1:]] == counts
    # A chunk's longest texts are asked last.
    assert [len(texts) for texts in asked] == [ASKED_ROWS] * (CHUNK_ROWS // ASKED_ROWS) + [50]
    lengths = [len(text) for texts in asked[:-1] for text in texts]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            '{"text": "rain"}\n{"text": 3}\n',
            "Expected a string as text in {path}, row 2 (row 1 is the first row of data). "
            "Received: 3.",
        ),
        (
            "a.jsonl",
            '{"text": "rain \\ud83d"}\n',
            "Expected UTF-8 text in {path}, row 1 (row 1 is the first row of data). Received: a "
            "broken character in 'rain \\ud83d'. Save the file as UTF-8.",
        ),
        ("a.csv", "text\n", "Expected rows in {path}. Received: a header only."),
    ],
    ids=["number", "broken", "no rows"],
)
def test_a_bad_row_is_found_before_the_first_answer(tmp_path, name, content, message):
    source, asked = tmp_path / name, []
    source.write_text(content)
    with pytest.raises(DatasetError, match=exactly(message.format(path=source))):
        scored(source, tmp_path / "b.csv", counting(asked=asked))
    assert asked == []
    assert [path.name for path in tmp_path.iterdir()] == [name]
