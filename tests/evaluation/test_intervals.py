"""The interval of a figure, and from which number of rows on it is nothing to warn of."""

import numpy as np
import pytest

from tfkd.evaluation.intervals import interval, size_warning
from tfkd.evaluation.resampling import columns


def rows(num_rows, accuracy):
    """Labels of two classes, and answers that are so often right."""
    wrong = np.arange(num_rows) >= round(num_rows * accuracy)
    return columns("single_label", np.zeros(num_rows, int), 2), columns(
        "single_label", wrong.astype(int), 2
    )


@pytest.mark.parametrize(("num_rows", "accuracy"), [(40, 0.9), (10, 1.0), (161, 0.845), (30, 0.0)])
def test_accuracy_is_wilsons_in_closed_form(num_rows, accuracy):
    right, z = round(num_rows * accuracy) / num_rows, 1.959963984540054
    middle = (right + z**2 / (2 * num_rows)) / (1 + z**2 / num_rows)
    half = z * np.sqrt(right * (1 - right) / num_rows + (z / (2 * num_rows)) ** 2)
    half /= 1 + z**2 / num_rows
    assert interval("accuracy", *rows(num_rows, accuracy)) == pytest.approx(
        (max(middle - half, 0), min(middle + half, 1)), abs=1e-9
    )


def test_a_metric_of_all_rows_is_resampled():
    """Micro F1 of one choice a row is accuracy."""
    exact = interval("accuracy", *rows(400, 0.9))
    assert interval("micro_f1", *rows(400, 0.9)) == pytest.approx(exact, abs=0.01)


def test_a_mean_of_scores_is_resampled():
    random = np.random.default_rng(0)
    labels = random.random((300, 4)) < 0.5
    answers = labels ^ (random.random((300, 4)) < 0.2)
    shared, either = (labels & answers).sum(1), (labels | answers).sum(1)
    scores = np.where(either == 0, 1.0, shared / either.clip(1))
    error = 1.96 * scores.std() / np.sqrt(300)
    expected = scores.mean() - error, scores.mean() + error
    assert interval("jaccard", labels, answers) == pytest.approx(expected, abs=0.005)


def test_forty_rows_are_too_few_and_say_how_far_they_reach():
    assert size_warning("accuracy", *rows(40, 0.85), "student") == (
        "The test is too small: of 40 rows the Accuracy of student, 0.8500, is known to +- 11.0 "
        "points (95% interval 70.93 to 92.94)."
    )


def test_a_correlation_is_no_points():
    labels = np.arange(40.0)[:, None]
    answers = np.roll(labels, 4, axis=0)
    found = size_warning("pearson", labels, answers, "model")
    assert found.startswith("The test is too small: of 40 rows the Pearson of model, 0.4597, is ")
    assert "points" not in found


@pytest.mark.parametrize(
    ("num_rows", "accuracy", "is_small"),
    [(29, 1.0, True), (60, 1.0, False), (385, 0.5, False), (375, 0.5, True), (150, 0.9, False)],
)
def test_five_points_to_either_side_are_the_most(num_rows, accuracy, is_small):
    found = size_warning("accuracy", *rows(num_rows, accuracy), "student")
    assert (found is not None) == is_small
