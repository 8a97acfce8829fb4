"""Folders and files in every format, labels in every spelling, and every fault with its row."""

import gzip
import json
import random
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tfkd.data.columns import Reading
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.data.files import read_file, read_folder, split_files
from tfkd.data.labels import LabelForm
from tfkd.errors import DatasetError

PLACE = "(row 1 is the first row of data)"
ROWS = [("I liked it", "good"), ('He said "no",\nand left', "bad"), ("null", "good"), ("NA", "bad")]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    """The rows in the format of the path's name, written by hand."""
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind == "parquet":
        sink = pyarrow.BufferOutputStream()
        columns = {"text": [row[0] for row in rows], "label": [row[1] for row in rows]}
        pyarrow.parquet.write_table(pyarrow.table(columns), sink)
        return write(path, sink.getvalue().to_pybytes())
    if kind == "jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        return write(path, "\n".join(lines) + "\n")
    separator = "," if kind == "csv" else "\t"
    quoted = [
        separator.join('"' + value.replace('"', '""') + '"' for value in row)
        for row in [("text", "label"), *rows]
    ]
    return write(path, "\r\n".join(quoted))


def examples(path: Path, split: str = "train") -> list[tuple]:
    dataset = read_folder(path, "set") if path.is_dir() else read_file(path, "set")
    return [tuple(example) for example in dataset.splits[split]]


def refused(path: Path) -> str:
    with pytest.raises(DatasetError, match="^Expected") as caught:
        examples(path)
    return str(caught.value)


@pytest.mark.parametrize("gzipped", ["", ".gz"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path, kind, gzipped):
    path = write_rows(tmp_path / f"reviews.{kind}{gzipped}", ROWS)
    dataset = read_file(path, "reviews")
    assert dataset.label_names == ("bad", "good")
    assert (dataset.task, dataset.num_texts, dataset.metric) == (SINGLE_LABEL, 1, "accuracy")
    expected = [((text,), int(label == "good")) for text, label in ROWS]
    for _ in range(2):
        assert [tuple(example) for example in dataset.splits["train"]] == expected


def test_a_byte_order_mark_and_crlf_and_blank_lines_are_no_rows(tmp_path):
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbftext,label\r\nyes,1\r\n\r\nno,0\r\n\r\n")
    assert examples(path) == [(("yes",), 1), (("no",), 0)]


def test_columns_in_any_order_and_others_ignored(tmp_path):
    path = write(tmp_path / "a.csv", "id, label,text\n7,a,one\n8,b,two\n")
    assert examples(path) == [(("one",), 0), (("two",), 1)]


def test_pairs(tmp_path):
    path = write(tmp_path / "a.tsv", "sentence1\tsentence2\tlabel\nA\tB\tyes\nC\tD\tno\n")
    assert read_file(path, "pairs").num_texts == 2
    assert examples(path) == [(("A", "B"), 1), (("C", "D"), 0)]


def test_large_fields(tmp_path):
    text = "word " * 100_000
    path = write(tmp_path / "a.csv", f"text,label\n{text},0\nshort,1\n")
    assert examples(path)[0] == ((text,), 0)


def test_splits_of_a_folder(tmp_path):
    write(tmp_path / "train.csv.gz", "text,label\na,x\nb,y\n")
    write(tmp_path / "dev.jsonl", '{"text": "c", "label": "y"}\n')
    write(tmp_path / "test.tsv", "text\tlabel\nd\tx\n")
    write(tmp_path / "train_extra.csv", "text,label\nz,z\n")
    assert {split: path.name for split, path in split_files(tmp_path).items()} == {
        "train": "train.csv.gz",
        "validation": "dev.jsonl",
        "test": "test.tsv",
    }
    assert examples(tmp_path, "validation") == [(("c",), 1)]
    assert examples(tmp_path, "test") == [(("d",), 0)]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["b", "a", "c"], ("a", "b", "c")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["1.0", "0", "0.0"], ("0", "1")),
        (["-1", "1"], ("-1", "1")),
        ([" yes", "no "], ("no", "yes")),
        (["1.5", "high"], ("1.5", "high")),
    ],
)
def test_names_found_in_train(tmp_path, values, names):
    rows = "".join(f"text {i},{value}\n" for i, value in enumerate(values))
    path = write(tmp_path / "a.csv", "text,label\n" + rows)
    dataset = read_file(path, "a")
    assert (dataset.task, dataset.label_names) == (SINGLE_LABEL, names)
    assert {label for _, label in examples(path)} == set(range(len(names)))


@pytest.mark.parametrize("values", [["0.5", "2", "1"], ["4", "3.8e-1", "-2"]])
def test_a_number_that_is_not_whole_makes_a_regression(tmp_path, values):
    rows = "".join(f"text {i},{value}\n" for i, value in enumerate(values))
    path = write(tmp_path / "a.csv", "text,label\n" + rows)
    dataset = read_file(path, "a")
    assert (dataset.task, dataset.label_names) == (REGRESSION, ("score",))
    assert dataset.metric == "pearson"
    assert [label for _, label in examples(path)] == [float(value) for value in values]


def test_integers_and_floats_of_json(tmp_path):
    lines = ['{"text": "a", "label": 1}', '{"text": "b", "label": 0}']
    path = write(tmp_path / "a.jsonl", "\n".join([*lines, '{"text": "c", "label": 1.0}']))
    assert read_file(path, "a").label_names == ("0", "1")
    assert [label for _, label in examples(path)] == [1, 0, 1]


def test_labels_txt_gives_order_and_names(tmp_path):
    write(tmp_path / "labels.txt", "zebra\nape\nunseen\n")
    write(tmp_path / "train.csv", "text,label\na,ape\nb,0\nc, zebra\nd,1\n")
    assert read_folder(tmp_path, "zoo").label_names == ("zebra", "ape", "unseen")
    assert [label for _, label in examples(tmp_path)] == [1, 0, 0, 1]


def test_a_name_wins_over_an_index(tmp_path):
    write(tmp_path / "labels.txt", "1\n0\n")
    write(tmp_path / "train.csv", "text,label\na,0\nb,1\n")
    assert [label for _, label in examples(tmp_path)] == [1, 0]


def test_labels_txt_with_one_name_is_a_regression(tmp_path):
    write(tmp_path / "labels.txt", "similarity\n")
    write(tmp_path / "train.csv", "sentence1,sentence2,label\na,b,4\nc,d,5\n")
    dataset = read_folder(tmp_path, "scores")
    assert (dataset.task, dataset.label_names) == (REGRESSION, ("similarity",))
    assert [label for _, label in examples(tmp_path)] == [4.0, 5.0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['"0 2"', '""', "1"], [(0, 2), (), (1,)]),
        (["2 0 2", "1", "0"], [(0, 2), (1,), (0,)]),
        (["red blue", "green", ""], [(0, 2), (1,), ()]),
        (['"[""red"", ""blue""]"', '"[""green""]"', "[]"], [(0, 2), (1,), ()]),
        (['"[0, 2]"', "1", ""], [(0, 2), (1,), ()]),
    ],
)
def test_several_labels_a_row(tmp_path, values, expected):
    rows = "".join(f"text {i},{value}\n" for i, value in enumerate(values))
    path = write(tmp_path / "a.csv", "text,labels\n" + rows)
    dataset = read_file(path, "a")
    assert (dataset.task, dataset.metric) == (MULTI_LABEL, "macro_f1")
    assert [label for _, label in examples(path)] == expected


def test_lists_of_labels_in_jsonl_and_parquet(tmp_path):
    labels = [["very red", "blue"], [], ["green"]]
    lines = [json.dumps({"text": "t", "labels": items}) for items in labels]
    jsonl = write(tmp_path / "a.jsonl", "\n".join(lines))
    table = pyarrow.table({"text": ["t"] * 3, "labels": labels})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    for path in (jsonl, tmp_path / "a.parquet"):
        assert read_file(path, "a").label_names == ("blue", "green", "very red")
        assert [label for _, label in examples(path)] == [(0, 2), (), (1,)]


FAULTS = {
    "missing text": (
        "a.csv",
        "sentence,label\na,0\n",
        "Expected the columns `text` (or `sentence1`, `sentence2`) and `label` (or `labels`) in "
        "{path}. Received: sentence, label. Perhaps --text-column sentence?",
    ),
    "missing label": (
        "a.jsonl",
        '{"text": "a", "class": 0}\n',
        "Expected the columns `text` (or `sentence1`, `sentence2`) and `label` (or `labels`) in "
        "{path}. Received: text, class. Perhaps --label-column class?",
    ),
    "column twice": (
        "a.csv",
        "text,label,text\na,0,b\n",
        "Expected one column `text` in {path}. Received: several.",
    ),
    "empty text": (
        "a.csv",
        "text,label\na,0\n  ,1\n",
        "Expected a text in {path}, row 2 {place}. Received: an empty one. "
        "Fill it in, or leave such rows out: --drop-empty.",
    ),
    "no header's column at first": (
        "a.jsonl",
        '{"text": "a"}\n{"text": "b", "label": 1}\n',
        "Expected a label in {path}, row 1 {place}. Received: none. "
        "Fill it in, or leave such rows out: --drop-empty.",
    ),
    "no table": (
        "a.csv",
        b"\x80\x04\x00\x1b\xff\n",
        "Expected the columns `text` (or `sentence1`, `sentence2`) and `label` (or `labels`) in "
        "{path}. Received: '\\udc80\\x04\\x00\\x1b\\udcff'. Is it the right file?",
    ),
    "no string": (
        "a.jsonl",
        '{"text": "a", "label": 0}\n{"text": 5, "label": 1}\n',
        "Expected a string as text in {path}, row 2 {place}. Received: 5.",
    ),
    "null text": (
        "a.jsonl",
        '{"text": "a", "label": 0}\n{"text": null, "label": 1}\n',
        "Expected a text in {path}, row 2 {place}. Received: an empty one. "
        "Fill it in, or leave such rows out: --drop-empty.",
    ),
    "empty label": (
        "a.csv",
        "text,label\na,0\nb,1\nc,\n",
        "Expected a label in {path}, row 3 {place}. Received: an empty one. "
        "Fill it in, or leave such rows out: --drop-empty.",
    ),
    "one class": (
        "a.csv",
        "text,label\na,x\nb,x\n",
        "Expected at least two classes in {path}. Received: x. Add rows of other classes, or a "
        "labels.txt with one class name a line.",
    ),
    "broken UTF-8": (
        "a.csv",
        b"text,label\ngood,0\ncaf\xe9,1\nmore,1\n",
        "Expected UTF-8 text in {path}, row 2 {place}. Received: a broken character in "
        "'caf\\udce9'. Save the file as UTF-8.",
    ),
    "few fields": (
        "a.csv",
        "text,label\na,0\nb\n",
        "Expected 2 fields as in the header in {path}, row 2 {place}. Received: 1 fields, the "
        "first 'b'. Quote texts that hold the separator, quotes or line breaks.",
    ),
    "many fields": (
        "a.csv",
        "text,label\none, two,0\n",
        "Expected 2 fields as in the header in {path}, row 1 {place}. Received: 3 fields, the "
        "first 'one'. Quote texts that hold the separator, quotes or line breaks.",
    ),
    "open quote": (
        "a.csv",
        'text,label\na,0\n"b,1\nc,0\n',
        "Expected standard quoting in {path}, row 2 {place}. Received: unexpected end of data. "
        'Put texts that hold quotes in quotes and double those inside: "a ""b"" c".',
    ),
    "bad JSON": (
        "a.jsonl",
        '{"text": "a", "label": 0}\n{"text": "b"\n',
        "Expected a JSON object in {path}, row 2 {place}. Received: Expecting ',' delimiter: "
        "line 2 column 1 (char 13). Write one object a line: pandas' "
        "to_json(orient='records', lines=True).",
    ),
    "no JSON object": (
        "a.jsonl",
        '{"text": "a", "label": 0}\n["b", 1]\n',
        "Expected a JSON object in {path}, row 2 {place}. Received: ['b', 1]. "
        "Write one object a line: pandas' to_json(orient='records', lines=True).",
    ),
    "JSON field missing": (
        "a.jsonl",
        '{"text": "a", "label": 0}\n{"text": "b"}\n',
        "Expected a label in {path}, row 2 {place}. Received: none. "
        "Fill it in, or leave such rows out: --drop-empty.",
    ),
    "bad label list": (
        "a.csv",
        'text,labels\na,0\nb,"[1"\n',
        "Expected a JSON list of labels in {path}, row 2 {place}. Received: '[1'.",
    ),
    "header only": (
        "a.csv",
        "text,label\n",
        "Expected rows with a label in {path}. Received: none.",
    ),
    "empty csv": (
        "a.csv",
        "",
        "Expected a header line such as text,label in {path}. Received: an empty first line.",
    ),
    "empty jsonl": ("a.jsonl", "\n", "Expected rows in {path}. Received: an empty file."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_file_and_row_and_what_was_expected(tmp_path, fault):
    name, content, message = FAULTS[fault]
    path = write(tmp_path / name, content)
    assert refused(path) == message.format(path=path, place=PLACE)


def test_more_classes_than_anyone_means(tmp_path):
    rows = "".join(f"text,name {i}\n" for i in range(10_001))
    path = write(tmp_path / "a.csv", "text,label\n" + rows)
    assert refused(path) == (
        f"Expected at most 10000 classes in {path}, row 10001 {PLACE}. Received: more. "
        "Is the label column right?"
    )


def test_scores_may_be_as_many_as_they_like(tmp_path):
    rows = "".join(f"text,{i / 7}\n" for i in range(20_000))
    path = write(tmp_path / "a.csv", "text,label\n" + rows)
    assert read_file(path, "a").task == REGRESSION


@pytest.mark.parametrize("value", ["mouse", "2", "-1", "0.5"])
def test_a_label_outside_labels_txt(tmp_path, value):
    write(tmp_path / "labels.txt", "cat\ndog\n")
    path = write(tmp_path / "train.csv", f"text,label\na,cat\nb,{value}\n")
    assert refused(tmp_path) == (
        f"Expected a label of {tmp_path / 'labels.txt'} (cat, dog) or an index 0 to 1 in {path}, "
        f"row 2 {PLACE}. Received: '{value}'. Correct the label, or drop the row."
    )


def test_a_label_that_train_does_not_have(tmp_path):
    train = write(tmp_path / "train.csv", "text,label\na,cat\nb,dog\n")
    path = write(tmp_path / "test.csv", "text,label\na,cow\n")
    with pytest.raises(DatasetError, match="^Expected a label of ") as caught:
        examples(tmp_path, "test")
    assert str(caught.value) == (
        f"Expected a label of {train} (cat, dog) in {path}, row 1 {PLACE}. Received: 'cow'. "
        "Correct the label, or drop the row."
    )


def test_a_score_that_is_no_number(tmp_path):
    write(tmp_path / "labels.txt", "score\n")
    path = write(tmp_path / "train.csv", "text,label\na,1.5\nb,nan\n")
    assert refused(tmp_path) == (
        f"Expected a finite number as label in {path}, row 2 {PLACE}. Received: 'nan'. "
        "Write numbers with a point, and nothing between thousands."
    )


def test_a_gzip_cut_short(tmp_path):
    words = random.Random(0)
    rows = "".join(f"{words.random()} {words.random()},{i % 2}\n" for i in range(5000))
    write(tmp_path / "labels.txt", "0\n1\n")
    path = write(tmp_path / "train.csv.gz", "text,label\n" + rows)
    path.write_bytes(path.read_bytes()[:-1000])
    read = []
    with pytest.raises(DatasetError, match="^Expected a whole gzip file in ") as caught:
        for example in read_folder(tmp_path, "cut").splits["train"]:
            read.append(example)
    assert str(caught.value) == (
        f"Expected a whole gzip file in {path}. Received: one cut short after row {len(read)} "
        f"{PLACE}. Copy or download it again."
    )
    assert 4000 < len(read) < 5000


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_what_is_no_gzip(tmp_path, kind):
    path = tmp_path / f"a.{kind}.gz"
    path.write_bytes(b"text,label\na,0\n")
    assert refused(path) == (
        f"Expected a sound gzip file in {path}. Received: Not a gzipped file (b'te'), after row 0 "
        f"{PLACE}. Copy or download it again."
    )


def test_what_is_no_parquet(tmp_path):
    path = write(tmp_path / "a.parquet", "text,label\na,0\n")
    assert refused(path).startswith(f"Expected a Parquet file in {path}. Received: Parquet magic")


def test_an_empty_split_with_known_labels(tmp_path):
    write(tmp_path / "labels.txt", "cat\ndog\n")
    path = write(tmp_path / "train.csv", "text,label\n")
    assert refused(tmp_path) == f"Expected rows in {path}. Received: a header only."


@pytest.mark.parametrize("content", ["", "cat\n\ndog\n", "cat\ncat\n"])
def test_bad_labels_txt(tmp_path, content):
    path = write(tmp_path / "labels.txt", content)
    write(tmp_path / "train.csv", "text,label\na,0\n")
    expected = f"Expected one class name a line in {path}, no blank line and no name twice. "
    assert refused(tmp_path).startswith(expected)


@pytest.mark.parametrize(
    ("name", "label", "task"),
    [
        ("no,yes", "no", None),
        ("no,yes", "1", None),
        ("no; yes", "0", None),
        ("no yes", "no", None),
        ("no", "1", SINGLE_LABEL),
    ],
)
def test_all_classes_on_one_line_of_labels_txt(tmp_path, name, label, task):
    path = write(tmp_path / "labels.txt", f"{name}\n")
    train = write(tmp_path / "train.csv", f"text,label\na,{label}\nb,1\n")
    with pytest.raises(DatasetError, match="^Expected") as caught:
        read_folder(tmp_path, "data", reading=Reading(labels=LabelForm(task)))
    assert str(caught.value) == (
        f"Expected one class name a line in {path}, at least two, or the name of a score. "
        f"Received: one class, '{name}', and the label '{label}' in {train}, row 1. Write each "
        "class on a line of its own, or give --task regression."
    )
    scores = Reading(labels=LabelForm(REGRESSION))
    assert read_folder(tmp_path, "data", reading=scores).label_names == (name,)


def test_two_files_for_a_split(tmp_path):
    write(tmp_path / "train.csv", "text,label\na,0\n")
    write(tmp_path / "train.csv.gz", "text,label\na,0\n")
    assert refused(tmp_path) == (
        f"Expected one file for train in {tmp_path}. Received: train.csv, train.csv.gz. "
        "Remove all but one."
    )


def test_a_folder_without_splits(tmp_path):
    write(tmp_path / "readme.md", "nothing here")
    assert refused(tmp_path) == (
        "Expected train, validation or test with one of the endings csv, tsv, jsonl, parquet (or "
        f".gz behind it) in {tmp_path}. Received: readme.md."
    )


def test_a_file_of_another_kind(tmp_path):
    path = write(tmp_path / "a.xlsx", "x")
    assert refused(path).startswith("Expected a file that ends in one of .csv, .csv.gz, .tsv, ")


VANISHED = r"^Expected a readable file\. Received: .*a\.csv: No such file or directory\.$"


def test_a_file_that_vanished_before_it_was_parsed(tmp_path):
    write(tmp_path / "labels.txt", "0\n1\n")
    path = write(tmp_path / "test.csv", "text,label\na,0\nb,1\n").rename(tmp_path / "train.csv")
    dataset = read_folder(tmp_path, "set")
    path.unlink()
    message = VANISHED.replace("a\\.csv", "train\\.csv")
    with pytest.raises(DatasetError, match=message):
        list(dataset.splits["train"])
    with pytest.raises(DatasetError, match=VANISHED):
        read_file(tmp_path / "a.csv", "a")


def test_rows_are_those_of_the_file_when_it_was_loaded(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\na,0\nb,1\n")
    before = read_file(path, "a")
    write(path, "text,label\nc,1\nd,0\n")
    assert [example.texts for example in before.splits["train"]] == [("a",), ("b",)]
    assert examples(path) == [(("c",), 1), (("d",), 0)]
    path.unlink()
    assert [example.texts for example in before.splits["train"]] == [("a",), ("b",)]


def test_a_file_is_opened_twice_whatever_is_asked_of_it(tmp_path, opened):
    """For its header, and for its rows."""
    lines = "".join(f"text {row},{row % 3}\n" for row in range(2000))
    train = write(tmp_path / "train.csv.gz", "text,label\n" + lines)
    test = write(tmp_path / "test.csv", "text,label\n" + lines)
    for _ in range(2):
        dataset = read_folder(tmp_path, "set")
        for split in ("train", "test"):
            assert next(iter(dataset.splits[split])) == (("text 0",), 0)
            assert len(list(dataset.splits[split])) == 2000
            assert [example.label for example in dataset.splits[split]] == [0, 1, 2] * 666 + [0, 1]
    assert opened.of(train) == 2
    assert opened.of(test) == 1
