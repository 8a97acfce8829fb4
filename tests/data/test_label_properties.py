"""What goes in as a label comes out as the same string, for labels and files of any kind."""

import csv
import gzip
import io
import json

import keras
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.toys import vocabulary_of, wordpiece_tokenizer
from tfkd.artifacts import RunFolder
from tfkd.config.verbs import PredictConfig
from tfkd.data import sources
from tfkd.data.checks import check
from tfkd.data.columns import Reading
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.data.files import read_file
from tfkd.data.label_values import MISSING_WORDS
from tfkd.data.labels import LabelForm
from tfkd.errors import DatasetError
from tfkd.models.classifier import TextClassifier
from tfkd.workflows.predict import predict

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=12)
TEXTS = TEXTS.map(str.strip).filter(bool)
# Words, and what looks like a number or a list without being one.
ODD = ("01", "1", "001", "1e3", "+1", "1.10", "1,5", "[a", "{b", "None", "NaN", "0x1", "C#", "a|b")
NAMES = st.one_of(TEXTS, st.sampled_from(ODD), st.integers(-(2**64), 2**64).map(str))
KINDS = ("csv", "tsv", "jsonl", "parquet", "csv.gz", "utf-16")


def write(folder, kind, column, labels):
    """A file of the kind with one row a label."""
    path = folder / f"a.{kind.replace('utf-16', 'csv')}"
    texts = [f"text, {row}" for row in range(len(labels))]
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": texts, column: labels}), path)
        return path
    stream = io.StringIO()
    if kind == "jsonl":
        for text, label in zip(texts, labels, strict=True):
            stream.write(json.dumps({"text": text, column: label}) + "\n")
    else:
        writer = csv.writer(stream, "excel-tab" if kind == "tsv" else "excel")
        writer.writerows([("text", column), *zip(texts, labels, strict=True)])
    content = stream.getvalue().encode("utf-16" if kind == "utf-16" else "utf-8")
    path.write_bytes(gzip.compress(content) if kind == "csv.gz" else content)
    return path


def read(path, form=None):
    """Names of the labels of each row, and of all classes; of a regression scores and no names."""
    dataset = read_file(path, "a", Reading(labels=form or LabelForm()))
    rows = list(dataset.splits["train"])
    assert [row.texts for row in rows] == [(f"text, {row}",) for row in range(len(rows))]
    assert check(dataset, ["train"])["train"].num_rows == len(rows)
    names = dataset.label_names
    if dataset.task == REGRESSION:
        return [row.label for row in rows], set()
    if dataset.task == MULTI_LABEL:
        return [{names[index] for index in row.label} for row in rows], set(names)
    return [names[row.label] for row in rows], set(names)


@settings(max_examples=120)
@given(
    labels=st.lists(NAMES, min_size=2, max_size=9),
    kind=st.sampled_from(KINDS),
    task=st.sampled_from([SINGLE_LABEL, None]),
)
def test_strings_come_back(tmp_path_factory, labels, kind, task):
    assume(len(set(labels)) > 1)
    path = write(tmp_path_factory.mktemp("labels"), kind, "label", labels)
    try:
        found, names = read(path, LabelForm(task))
    except DatasetError as error:
        # A word for a missing number among numbers, or what may be a score.
        has_missing = any(label.lower() in MISSING_WORDS for label in labels)
        assert has_missing if "Expected a number as label" in str(error) else task is None
        return
    assert found == (labels if names else [float(label) for label in labels])
    assert names == (set(labels) if names else set())


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=9),
    kind=st.sampled_from(KINDS),
)
def test_whole_numbers_come_back(tmp_path_factory, labels, kind):
    assume(len(set(labels)) > 1)
    found, names = read(write(tmp_path_factory.mktemp("labels"), kind, "label", labels))
    assert found == [str(label) for label in labels]
    assert names == set(found)


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=6)


@settings(max_examples=80)
@given(
    rows=st.lists(st.sets(WORDS, max_size=4), min_size=2, max_size=8),
    separator=st.sampled_from(["|", ";", ",", "#", " ", ", ", None]),
    kind=st.sampled_from(KINDS),
)
def test_several_labels_come_back(tmp_path_factory, rows, separator, kind):
    every = set().union(*rows)
    assume(every and any(len(row) != 1 for row in rows))
    # Without any label in two different rows, blanks would be parts of names.
    combinations = set(map(frozenset, rows))
    assume(separator != " " or sum(map(len, combinations)) > len(every))
    assume(not every <= {"0", "1"} and not {word.lower() for word in every} & MISSING_WORDS)
    in_lists = separator is None
    values = [sorted(row) if in_lists else separator.join(sorted(row)) for row in rows]
    if in_lists and kind not in ("jsonl", "parquet"):
        values = [json.dumps(value) for value in values]
    found, names = read(write(tmp_path_factory.mktemp("labels"), kind, "labels", values))
    assert found == rows
    assert names == every


def answering(path, names):
    """A finished run whose model answers its i-th class to the i-th word."""
    words = [f"w{'abcdefghijklmnop'[index]}" for index in range(len(names))]
    vocabulary = vocabulary_of(" ".join(words))
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "padding_mask")
    }
    table = np.zeros((len(vocabulary), len(names)), np.float32)
    for index, word in enumerate(words):
        table[vocabulary.index(word), index] = 9.0
    embedding = keras.layers.Embedding(*table.shape)
    model = keras.Model(inputs, keras.ops.sum(embedding(inputs["token_ids"]), axis=1))
    embedding.set_weights([table])
    run = RunFolder(path)
    run.start("finetune", {"dataset": "words"}, overwrite=False)
    TextClassifier(model, wordpiece_tokenizer(vocabulary), SINGLE_LABEL, names).save(run.model)
    return words


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_predict_answers_the_strings_of_the_file(tmp_path, kind):
    labels = [*ODD, "9007199254740993", "Käse, 雨"]
    dataset = sources.load(
        str(write(tmp_path, kind, "label", labels * 3)),
        reading=Reading(labels=LabelForm(SINGLE_LABEL)),
    )
    words = answering(tmp_path / "run", dataset.label_names)
    answers = predict(PredictConfig(run=tmp_path / "run"), words)
    assert {answer.labels[0] for answer in answers} == set(labels)
