"""Rows in memory, whatever library holds them, become one and the same data set on disk."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow
import pytest
import tensorflow as tf

from tests.messages import exactly
from tfkd.data import sources
from tfkd.data.columns import KNOWN_NAMES, ColumnNames
from tfkd.data.examples import MULTI_LABEL, REGRESSION
from tfkd.data.in_memory import write_rows
from tfkd.errors import ArtifactError, DatasetError

TEXTS = ['Oil fell, "again".', "A goal.\nAnd another.", "Über uns"]
LABELS = ["business", "sport", "business"]


class Column:
    """A column of pandas or polars: no list, but gives its values as an array."""

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return np.array(self.values, object)


class Frame:
    """A table of pandas or polars."""

    def __init__(self, **columns):
        self.columns = pyarrow.array(list(columns)).to_numpy(zero_copy_only=False)
        self._columns = columns

    def __getitem__(self, name):
        return Column(self._columns[name])


class HubTable(Frame):
    """A `datasets.Dataset`: names of its columns, and what they are."""

    def __init__(self, names, **columns):
        super().__init__(**columns)
        self.column_names = list(columns)
        self.features = {"text": None, "label": SimpleNamespace(names=names)}
        del self.columns


def written(folder, texts, labels=None, names=KNOWN_NAMES, label_names=None):
    return write_rows(folder, {"train": (texts, labels)}, names, label_names)


def loaded(path):
    return sources.load_split(str(path), None, "train", 0)


def rows(path, split="train"):
    return [json.loads(line) for line in (path / f"{split}.jsonl").read_text().splitlines()]


HELD = {
    "lists": (TEXTS, LABELS),
    "tuples and bytes": (tuple(text.encode() for text in TEXTS), tuple(LABELS)),
    "arrays": (np.array(TEXTS), np.array(LABELS)),
    "arrays of objects": (np.array(TEXTS, object), np.array(LABELS, object)),
    "columns": (Column(TEXTS), Column(LABELS)),
    "Arrow columns": (pyarrow.chunked_array([TEXTS]), pyarrow.array(LABELS)),
    "iterators": (iter(TEXTS), iter(LABELS)),
    "tensors": (tf.constant(TEXTS), tf.constant(LABELS)),
    "mapping": ({"text": TEXTS, "label": LABELS, "other": [1, 2, 3]}, None),
    "frame": (Frame(id=[1, 2, 3], text=TEXTS, label=LABELS), None),
    "Arrow table": (pyarrow.table({"text": TEXTS, "label": LABELS}), None),
    "pairs": (list(zip(TEXTS, LABELS, strict=True)), None),
    "rows": ([{"text": x, "label": y} for x, y in zip(TEXTS, LABELS, strict=True)], None),
    "tf.data": (tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)), None),
    "batches of tf.data": (tf.data.Dataset.from_tensor_slices((TEXTS, LABELS)).batch(2), None),
    "named tf.data": (
        tf.data.Dataset.from_tensor_slices({"text": TEXTS, "label": LABELS}).batch(2),
        None,
    ),
}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_the_same_rows_are_one_data_set(tmp_path, held):
    path = written(tmp_path, *held)
    assert rows(path) == [
        {"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    assert path.name == "texts-e819c60264e5"
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]


def test_columns_by_other_names_are_read_by_the_options(tmp_path):
    frame = Frame(body=TEXTS, kind=LABELS)
    path = written(tmp_path, frame, names=ColumnNames("body", labels=("kind",)))
    assert path == written(tmp_path, TEXTS, LABELS)
    message = (
        "Expected the columns `text` (or `sentence1`, `sentence2`) and `label` (or `labels`) in "
        "the table. Received: body, category. Perhaps --text-column body --label-column category?"
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        written(tmp_path, Frame(body=TEXTS, category=LABELS))


def test_every_kind_of_label_is_read_as_what_it_is(tmp_path):
    def read(labels, **more):
        return loaded(written(tmp_path, TEXTS * 20, labels, **more))

    indices = read(np.array([1, 0, 1] * 20, np.int64), label_names=["sport", "business"])
    assert indices.label_names == ("sport", "business")
    assert next(iter(indices.splits["train"])).label == 1
    assert read(np.array([0.5, 0.25, 1.0] * 20, np.float32)).task == REGRESSION
    hot = read(np.array([[1, 0], [1, 1], [0, 1]] * 20), label_names=["home", "work"])
    lists = read([["home"], ("home", "work"), {"work"}] * 20)
    for dataset in (hot, lists):
        assert (dataset.task, dataset.label_names) == (MULTI_LABEL, ("home", "work"))
        assert [row.label for row in dataset.splits["train"]][:3] == [(0,), (0, 1), (1,)]
    table = Frame(text=TEXTS * 20, home=[1, 1, 0] * 20, work=[False, True, True] * 20)
    several = written(tmp_path, table, names=ColumnNames(labels=("home", "work")))
    dataset = loaded(several)
    assert [row.label for row in dataset.splits["train"]][:3] == [(0,), (0, 1), (1,)]


def test_a_table_of_datasets_brings_its_class_names(tmp_path):
    table = HubTable(["sport", "business"], text=TEXTS, label=[1, 0, 1])
    path = written(tmp_path, table)
    assert (path / "labels.txt").read_text() == "sport\nbusiness\n"
    assert path == written(tmp_path, TEXTS, [1, 0, 1], label_names=("sport", "business"))


def test_pairs_and_a_column_of_several_labels_keep_their_columns(tmp_path):
    pairs = [("Rain.", "It rains."), ["Rain.", "Sun."]]
    assert rows(written(tmp_path, pairs, [1, 0])) == [
        {"sentence1": "Rain.", "sentence2": "It rains.", "label": 1},
        {"sentence1": "Rain.", "sentence2": "Sun.", "label": 0},
    ]
    table = {"one": ["Rain."], "two": ["Sun."], "labels": ["a|b"]}
    assert rows(written(tmp_path, table, names=ColumnNames("one", "two"))) == [
        {"sentence1": "Rain.", "sentence2": "Sun.", "labels": "a|b"}
    ]


def test_splits_and_their_order_are_part_of_the_name(tmp_path):
    split = {"train": (TEXTS, LABELS), "test": (TEXTS[:1], LABELS[:1])}
    path = write_rows(tmp_path, split, KNOWN_NAMES)
    assert len(rows(path)), len(rows(path, "test")) == (3, 1)
    assert path != written(tmp_path, TEXTS, LABELS)
    assert written(tmp_path, TEXTS[::-1], LABELS) != written(tmp_path, TEXTS, LABELS)


def test_rows_that_were_changed_on_disk_are_named(tmp_path):
    path = written(tmp_path, TEXTS, LABELS)
    (path / "train.jsonl").write_text("{}\n")
    message = (
        f"Expected {path / 'train.jsonl'} as tfkd wrote it. Received: another content. Delete its "
        "folder."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        written(tmp_path, TEXTS, LABELS)


@pytest.mark.parametrize(
    ("texts", "labels", "error", "message"),
    [
        (
            TEXTS,
            LABELS[:2],
            ValueError,
            "Expected as many labels as texts. Received: 2 labels for 3 texts",
        ),
        ([], [], ValueError, "Expected texts with labels. Received: no row"),
        (
            TEXTS,
            "business",
            TypeError,
            "Expected labels in a list, an array or a column. Received: 'business'",
        ),
        (
            TEXTS,
            None,
            TypeError,
            "Expected labels beside the texts, or rows of a text and its label. Received: "
            "'Oil fell, \"again\".'",
        ),
        (
            ["Rain.", np.nan],
            [0, 1],
            TypeError,
            "Expected a string as text 2. Received: float nan",
        ),
        (
            ["Rain."],
            [Ellipsis],
            TypeError,
            "Expected a label as a name, a number or a list of them. Received: Ellipsis",
        ),
    ],
    ids=["lengths", "none", "no labels", "alone", "missing", "label"],
)
def test_what_are_no_rows_is_refused_and_leaves_nothing(tmp_path, texts, labels, error, message):
    with pytest.raises(error, match=exactly(message)):
        written(tmp_path, texts, labels)
    assert list(tmp_path.iterdir()) == []
