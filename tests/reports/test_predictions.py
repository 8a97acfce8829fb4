"""predictions.parquet: every answer to every test row, and labels that are probably wrong."""

import numpy as np
import pyarrow.parquet
import pytest

from tests.messages import exactly
from tests.reports.example import ANSWERS, DATASET, LABELS, TEXTS, logits, predictions, with_ids
from tfkd.artifacts import write_record
from tfkd.data.examples import MULTI_LABEL, REGRESSION, Dataset, Example
from tfkd.errors import ArtifactError
from tfkd.reports.predictions import Predictions, label_issues

PAIRS = [Example(("a", "b"), (0, 1)), Example(("c", "\ud800"), ())]


def test_file_has_a_row_for_each_test_row(tmp_path):
    predictions(tmp_path)
    table = pyarrow.parquet.read_table(tmp_path / "predictions.parquet").to_pydict()
    assert list(table) == [
        *("row", "text", "label"),
        *(f"{name}{end}" for name in ANSWERS for end in ("", "_confidence")),
        *("probability_of_label", "label_issue"),
    ]
    assert table["row"] == list(range(6))
    assert table["text"] == TEXTS
    assert table["label"] == ["no"] * 3 + ["yes"] * 3
    assert table["student"] == ["no", "yes", "no", "yes", "no", "yes"]
    expected = [0.8, 0.9, 0.7, 0.7, 0.75, 0.6]
    np.testing.assert_allclose(table["student_confidence"], expected, rtol=1e-6)
    of_label = [0.9, 0.8, 0.7, 0.9, 0.4, 0.8]
    np.testing.assert_allclose(table["probability_of_label"], of_label, rtol=1e-6)


def test_names_of_the_source_are_kept(tmp_path):
    found = predictions(tmp_path, with_ids(DATASET))
    assert found.columns["id"].tolist() == [f"T-{place}" for place in range(6)]
    assert found.models == tuple(ANSWERS)


def test_rows_without_an_answer_have_none(tmp_path):
    answers = {"teacher": ANSWERS["teacher"].copy(), "student": ANSWERS["student"]}
    answers["teacher"][2] = np.nan
    found = predictions(tmp_path, answers=answers)
    assert found.columns["teacher"][2] is None
    assert np.isnan(found.columns["teacher_confidence"][2])
    assert found.is_answered("teacher").tolist() == [True, True, False, True, True, True]
    assert found.agree("teacher").tolist() == [True, True, False, True, False, True]
    assert found.agree("student", "teacher").tolist() == [True, False, False, True, True, True]
    assert not found.columns["label_issue"][2]


def test_several_labels_are_lists_at_each_models_thresholds(tmp_path):
    dataset = Dataset("pairs", MULTI_LABEL, ("x", "y"), 2, "macro_f1", {"test": PAIRS})
    answers = {"student": np.log(np.array([[9.0, 1.0], [0.25, 3.0]], np.float32))}
    labels = np.array([[1, 1], [0, 0]])
    found = predictions(tmp_path, dataset, labels, answers, thresholds=[0.5, 0.6])
    assert found.columns["second_text"].tolist() == ["b", "?"]
    assert found.columns["label"].tolist() == [("x", "y"), ()]
    assert found.columns["student"].tolist() == [("x",), ("y",)]
    # The least certain decision: 1 of 2 on y, 3 of 4 on y.
    np.testing.assert_allclose(found.columns["student_confidence"], [0.5, 0.75], rtol=1e-6)
    assert found.agree("student").tolist() == [False, False]
    assert "label_issue" not in found.columns


def test_scores_are_numbers(tmp_path):
    rows = [Example(("a",), 1.5), Example(("b",), 4.0)]
    dataset = Dataset("scores", REGRESSION, ("score",), 1, "pearson", {"test": rows})
    answers = {"student": np.array([[1.25], [np.nan]], np.float32)}
    found = predictions(tmp_path, dataset, np.array([1.5, 4.0]), answers)
    assert found.is_scores
    assert found.columns["label"].tolist() == [1.5, 4.0]
    assert found.columns["student"][0] == 1.25
    assert found.is_answered("student").tolist() == [True, False]
    assert found.models == ("student",)


def test_read_checks_the_seal(tmp_path):
    assert Predictions.read(tmp_path) is None
    predictions(tmp_path)
    path = tmp_path / "predictions.parquet"
    write_record(tmp_path / "metrics.json", {}, [path.name])
    assert len(Predictions.read(tmp_path)) == 6
    path.write_bytes(b"PAR1")
    message = (
        f"Expected {path} as tfkd wrote it. Received: another content. Put it back as it was, or "
        "make the run again with --overwrite."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        Predictions.read(tmp_path)
    with pytest.raises(ArtifactError, match="Received: no Parquet: "):
        Predictions.load(path)


def test_label_issues_are_those_that_confident_learning_finds():
    # Of the rows labelled 0 the mean probability of 0 is 0.6, of those labelled 1 of 1 is 0.6.
    of_one = np.array([0.1, 0.3, 0.8, 0.7, 0.9, 0.2])
    probabilities = np.stack([1 - of_one, of_one], axis=1)
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert label_issues(labels, probabilities).tolist() == [False, False, True, False, False, True]
    # Below the mean of every class nothing is likely, so nothing is doubted.
    torn = np.array([[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [0.1, 0.9], [0.1, 0.9]])
    assert not label_issues(np.array([0, 0, 0, 1, 1]), torn).any()


def test_a_class_that_no_row_bears_is_never_the_better_label():
    probabilities = np.array([[0.2, 0.1, 0.7], [0.1, 0.8, 0.1]])
    assert label_issues(np.array([0, 1]), probabilities).tolist() == [False, False]


def test_issues_are_found_whatever_the_order_of_rows_and_classes():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.3] * 4, 300)
    labels = random.integers(0, 4, 300)
    found = label_issues(labels, probabilities)
    assert 0 < found.sum() < 300
    rows, classes = random.permutation(300), random.permutation(4)
    moved = label_issues(np.argsort(classes)[labels][rows], probabilities[rows][:, classes])
    assert (moved == found[rows]).all()


def test_the_example_doubts_no_label_and_a_sure_teacher_does(tmp_path):
    assert not predictions(tmp_path).columns["label_issue"].any()
    answers = {**ANSWERS, "teacher": logits(0.1, 0.95, 0.2, 0.9, 0.6, 0.8)}
    found = predictions(tmp_path, answers=answers, labels=LABELS)
    assert np.flatnonzero(found.columns["label_issue"]).tolist() == [1]
