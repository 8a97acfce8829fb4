"""A model that has learned from a text must not be judged by it."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.messages import exactly
from tests.toys import QUIET
from tfkd.artifacts import RunFolder, write_json
from tfkd.config.training import FinetuneConfig
from tfkd.data.checks import check
from tfkd.data.examples import Dataset, Example
from tfkd.errors import ArtifactError
from tfkd.models.checkpoints import Kind, Source, resolve
from tfkd.progress import Progress
from tfkd.runs.known_texts import PATH, check_held_out, keep_texts, text_hashes
from tfkd.runs.material import Material

SIZE = Source("cnn", Kind.SIZE)


def rows(*texts, label=0):
    return [Example((text,), label) for text in texts]


def material(cache, train, validation=("v1", "v2"), test=("t1", "t2", "t3"), progress=QUIET):
    splits = {"train": rows(*train), "validation": rows(*validation), "test": rows(*test)}
    dataset = Dataset("words", "single_label", ("a", "b"), 1, "accuracy", splits)
    return Material(dataset, check(dataset), cache, progress)


@pytest.fixture
def teacher(tmp_path):
    """Makes a finished run of training texts; gives its source."""

    def make(train, start=SIZE, name="teacher"):
        run = RunFolder(tmp_path / name)
        data = material(tmp_path, train)
        run.start("finetune", FinetuneConfig(dataset="words").to_dict(), False, data.record())
        write_json(run.metrics, {})
        write_json(run.path / "model" / "classifier.json", {})
        keep_texts(run, data, start)
        return resolve(str(run.path))

    return make


class Said(Progress):
    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=20))
def test_equal_texts_have_equal_hashes_and_no_others(pairs):
    found = text_hashes([Example(pair, 1) for pair in pairs])
    assert found.dtype == np.uint64
    assert len(found) == len(pairs)
    assert len(set(found.tolist())) == len(set(pairs))


def test_hash_is_of_the_texts_alone_and_tells_a_pair_from_its_parts_in_one():
    assert text_hashes(rows("a", label=0)) == text_hashes(rows("a", label=1))
    one, two = text_hashes([Example(("a", "b"), 0), Example(("a b",), 0)])
    assert one != two
    # Kept in runs, so it must not change.
    assert text_hashes(rows("Oil fell.")).tolist() == [1123923470063325332]


def test_hashes_are_kept_once_each_in_rising_order(teacher, tmp_path):
    teacher(["x", "y", "x"])
    kept = np.load(tmp_path / "teacher" / PATH)
    assert kept.tolist() == sorted(text_hashes(rows("x", "y")).tolist())


def test_a_teacher_of_the_same_rows_is_taken(teacher, tmp_path):
    check_held_out(teacher(["x", "y"]), material(tmp_path, ["x", "y"]))
    check_held_out(teacher(["x", "y", "z"], name="more"), material(tmp_path, ["x"]))


def test_a_teacher_of_what_is_held_out_now_is_refused(teacher, tmp_path):
    source = teacher(["x", "t2", "t3", "v1", "x"])
    message = (
        f"Expected {source.name} to know no row that is held out. It was trained on 1 of 2 rows "
        "of validation (the first: row 1) and 2 of 3 rows of test (the first: row 2). Leave it "
        "out to have one made of the rows of train, or hold out what it does not know."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        check_held_out(source, material(tmp_path, ["x", "y"]))
    with pytest.raises(ArtifactError, match="trained on 2 of 3 rows of test .the first: row 2.. "):
        check_held_out(source, material(tmp_path, ["x", "y"], validation=["w"]))


def test_of_a_row_in_more_than_a_hundred_it_is_said(teacher, tmp_path):
    source, told = teacher(["x", "t7"]), Said()
    test = [f"t{number}" for number in range(101)]
    check_held_out(source, material(tmp_path, ["x"], test=test, progress=told))
    assert told.lines == [f"{source.name} was trained on 1 of 101 rows of test (the first: row 8)"]
    with pytest.raises(ArtifactError, match="trained on 1 of 100 rows of test .the first: row 8."):
        check_held_out(source, material(tmp_path, ["x"], test=test[:100]))


def test_a_text_that_train_has_as_well_does_not_count(teacher, tmp_path):
    check_held_out(teacher(["x", "t2", "v1"]), material(tmp_path, ["t2", "v1"]))


def test_what_a_model_starts_from_is_known_to_it_as_well(teacher, tmp_path):
    first = teacher(["x", "t1"])
    second = teacher(["y"], start=first, name="second")
    with pytest.raises(ArtifactError, match="trained on 1 of 3 rows of test .the first: row 1."):
        check_held_out(second, material(tmp_path, ["y"]))


def test_of_a_published_classifier_it_is_said_that_nobody_knows(tmp_path):
    write_json(tmp_path / "hf" / "config.json", {"architectures": ["BertForX"]})
    source = Source("hf", Kind.RUN, tmp_path / "hf")
    told = Said()
    check_held_out(source, material(tmp_path, ["x"], progress=told))
    assert told.lines == [
        "what hf was trained on is not noted: if rows of test are among it, the figures are too "
        "good"
    ]
    # An encoder knows no labels.
    check_held_out(Source("cnn", Kind.SIZE), material(tmp_path, ["x"], progress=told))
    assert len(told.lines) == 1


def test_a_run_of_before_hashes_were_kept_is_known_by_its_rows(teacher, tmp_path):
    source, told = teacher(["x"]), Said()
    (tmp_path / "teacher" / PATH).unlink()
    (tmp_path / "teacher" / PATH).with_suffix(".json").unlink()
    check_held_out(source, material(tmp_path, ["x"], progress=told))
    assert told.lines == []
    check_held_out(source, material(tmp_path, ["y"], progress=told))
    assert len(told.lines) == 1


def test_hashes_that_are_gone_are_missed(teacher, tmp_path):
    """What vouches for them is still there."""
    source, path = teacher(["t1"]), tmp_path / "teacher" / PATH
    path.unlink()
    message = f"^Expected {re.escape(str(path))} as tfkd wrote it. Received: no such file. Put it"
    with pytest.raises(ArtifactError, match=message):
        check_held_out(source, material(tmp_path, ["x"]))
