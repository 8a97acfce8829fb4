import dataclasses

import numpy as np
import pytest

from tfkd.models.classifier import TextClassifier
from tfkd.runs import trial as trial_module
from tfkd.runs.trial import EXACT, Distance, Trial, distance


def judge(task="single_label", thresholds=0.5):
    """Of a classifier, the comparison asks for task and thresholds alone."""
    return TextClassifier(None, None, task, ("a", "b"), thresholds=thresholds)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def test_softened_probabilities_are_compared():
    exact, other = np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([[0.5, 0.0], [1.0, 0.0]])
    found = distance(judge(), exact, other, temperature=2.0)
    # The second row's: softmax([0, 3] / 2)[1] and softmax([1, 0] / 2)[1].
    assert found.largest_difference == pytest.approx(sigmoid(1.5) - sigmoid(-0.5))
    assert found.agreement == 0.5


def test_multi_label_compares_each_label_at_its_threshold():
    exact, other = np.array([[2.0, -2.0]]), np.array([[1.0, -1.0]])
    found = distance(judge("multi_label", (0.8, 0.5)), exact, other, temperature=1.0)
    assert found.largest_difference == pytest.approx(sigmoid(2.0) - sigmoid(1.0))
    # sigmoid(1) is below 0.8, sigmoid(2) is not.
    assert found.agreement == 0.5


def test_scores_are_compared_by_their_spread():
    exact = np.array([[1.0], [3.0], [1.0], [3.0]])
    found = distance(judge("regression"), exact, exact + [[0.0], [0.0], [0.25], [0.0]], 2.0)
    assert found == Distance(None, 0.25)


def test_answers_that_are_not_finite_never_pass():
    found = distance(judge(), np.zeros([1, 2]), np.array([[np.nan, 0.0]]), 1.0)
    assert found == Distance(0.0, np.inf)
    assert not found.passed


@pytest.mark.parametrize(
    ("agreement", "difference", "passed"),
    [(0.99, 0.1, True), (0.989, 0.1, False), (1.0, 0.101, False), (None, 0.1, True)],
)
def test_gate(agreement, difference, passed):
    assert Distance(agreement, difference).passed == passed


@dataclasses.dataclass
class Backwards:
    """Answers row i with i, the last batch first."""

    def score(self, tokens, start=0, stop=None):
        for first in range(len(tokens) - 2, -1, -2):
            rows = np.arange(first, first + 2)
            yield rows, tokens.arrays(rows)["value"].astype(np.float32)


class Numbers:
    """Rows that hold their own numbers."""

    labels = lengths = np.zeros(100, np.int64)

    def __len__(self):
        return 100

    def arrays(self, rows):
        return {"value": np.stack([rows, -rows], axis=1)}


def test_answers_are_in_the_order_of_the_rows_and_the_first_batch_is_not_timed(monkeypatch):
    times = iter([10.0, 12.0])
    monkeypatch.setattr(trial_module.time, "perf_counter", lambda: next(times))
    trial = Trial(np.array([3, 7, 50, 99]))
    trial.run("way", Backwards(), Numbers())
    assert trial.logits["way"].tolist() == [[3, -3], [7, -7], [50, -50], [99, -99]]
    # Two rows in two seconds.
    assert trial.rows_per_second == {"way": 1.0}


def trial_of(**ways):
    """Ways by name: how far the first logit is from exact, and how fast."""
    trial = Trial(np.arange(4), {EXACT: np.tile([[1.0, 0.0]], (4, 1))}, {EXACT: 10.0})
    for name, (shift, rate) in ways.items():
        trial.logits[name] = trial.logits[EXACT] + [shift, 0.0]
        trial.rows_per_second[name] = rate
    return trial


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ({}, EXACT),
        ({"near": (0.1, 20.0)}, "near"),
        ({"near": (0.1, 20.0), "nearer": (0.01, 30.0)}, "nearer"),
        ({"slow": (0.0, 9.0)}, EXACT),
        ({"far": (-2.0, 99.0), "near": (0.1, 20.0)}, "near"),
    ],
)
def test_fastest_of_those_that_agree(ways, expected):
    assert trial_of(**ways).fastest(judge(), temperature=1.0) == expected


def test_the_temperature_decides_what_agrees():
    """sigmoid(1.8) - sigmoid(1) is 0.13, and sigmoid(0.9) - sigmoid(0.5) 0.09."""
    trial = trial_of(warm=(0.8, 20.0))
    assert trial.fastest(judge(), temperature=1.0) == EXACT
    assert trial.fastest(judge(), temperature=2.0) == "warm"


def test_what_is_saved_is_loaded(tmp_path):
    trial = trial_of(near=(0.1, 20.0), far=(-2.0, 99.0))
    trial.save(tmp_path / "trial.npz")
    loaded = Trial.load(tmp_path / "trial.npz")
    assert loaded.rows.tolist() == [0, 1, 2, 3]
    assert loaded.rows_per_second == {EXACT: 10.0, "near": 20.0, "far": 99.0}
    for name, logits in trial.logits.items():
        np.testing.assert_array_equal(loaded.logits[name], logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trial.json", "trial.npz"]
