"""Thresholds of labels: known answers, every cut tried by hand, and what is judged without one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logit

from tests.messages import exactly
from tfkd.evaluation import metrics
from tfkd.evaluation.thresholds import average_precision, tuned_thresholds


def column(*probabilities):
    return logit(np.array(probabilities, np.float64))[:, None]


def truth(*labels):
    return np.array(labels)[:, None]


@pytest.mark.parametrize(
    ("probabilities", "labels", "expected"),
    [
        # Two rare rows, ranked first: the middle below them.
        ((0.1, 0.2, 0.3, 0.05), (0, 1, 1, 0), 0.15),
        # F1 of 2/3 below 0.9 and of 4/5 below 0.4: one false alarm costs less than a miss.
        ((0.9, 0.8, 0.4, 0.2), (1, 0, 1, 0), 0.3),
        # All above 0.6 are right, and so they are above 0.5: nothing to gain, nothing moved.
        ((0.9, 0.6, 0.3), (1, 1, 0), 0.5),
        # Cuts at 0.65 and at 0.85 are as good as each other: the nearer to 0.5.
        ((0.9, 0.8, 0.7, 0.6), (1, 0, 1, 0), 0.65),
        # The only row that has it is the least likely: best is to give it to every row.
        ((0.4, 0.6), (1, 0), 0.2),
        ((0.7, 0.9), (0, 0), 0.5),
        ((0.7, 0.9), (1, 1), 0.5),
        ((0.3, 0.3, 0.3), (0, 1, 0), 0.15),
    ],
    ids=["rare", "false alarm", "kept", "tie", "all", "no row", "every row", "constant"],
)
def test_known_thresholds(probabilities, labels, expected):
    found = tuned_thresholds(column(*probabilities), truth(*labels))
    assert (found.shape, found.dtype) == ((1,), np.float32)
    assert found[0] == pytest.approx(expected, abs=1e-7)


def test_labels_have_thresholds_of_their_own():
    logits = np.hstack([column(0.1, 0.2, 0.3), column(0.9, 0.8, 0.3)])
    labels = np.hstack([truth(0, 1, 1), truth(1, 0, 0)])
    np.testing.assert_allclose(tuned_thresholds(logits, labels), [0.15, 0.85], atol=1e-7)
    swapped = tuned_thresholds(logits[:, ::-1], labels[:, ::-1])
    np.testing.assert_allclose(swapped, [0.85, 0.15], atol=1e-7)


@given(
    arrays(np.int64, 12, elements=st.integers(-80, 80)),
    arrays(np.int64, 12, elements=st.integers(0, 1)),
)
def test_no_cut_of_the_rows_is_better(eighths, labels):
    def f1(given):
        return 2 * (given & (labels == 1)).sum() / max(1, given.sum() + labels.sum())

    logits = eighths[:, None] / 8
    threshold = tuned_thresholds(logits, labels[:, None])
    predicted = metrics.decisions("multi_label", logits, threshold)[:, 0] == 1
    assert f1(predicted) == max(f1(eighths >= value) for value in [*eighths, 81])
    assert threshold[0] == 0.5 or f1(predicted) > f1(eighths > 0)


def test_tuned_is_never_worse_than_a_half_on_its_own_rows():
    random = np.random.default_rng(0)
    logits = random.normal(-2, 1.5, (400, 6))
    labels = (random.random((400, 6)) < metrics.probabilities("multi_label", logits)).astype(int)
    names, tuned = list("abcdef"), tuned_thresholds(logits, labels)
    before = metrics.evaluate("multi_label", logits, labels, names)
    after = metrics.evaluate("multi_label", logits, labels, names, thresholds=tuned)
    for name in names:
        assert after["f1_per_class"][name] >= before["f1_per_class"][name]
    assert after["macro_f1"] > before["macro_f1"] + 0.1
    # Where the probabilities are true the best threshold is half the best F1 (Lipton et al.).
    for threshold, best in zip(tuned, after["f1_per_class"].values(), strict=True):
        assert threshold == pytest.approx(best / 2, abs=0.12)


def test_sure_models_stay_within_the_numbers():
    logits = np.array([[800.0], [-800.0], [30.0]])
    assert 0 <= tuned_thresholds(logits, truth(1, 0, 1))[0] <= 1
    # A probability of 0 and a row that has the label: no threshold finds it.
    assert tuned_thresholds(np.array([[-800.0]]), truth(1))[0] == 0.5


def test_average_precision_is_the_mean_over_labels_that_occur():
    logits = np.hstack([column(0.9, 0.5, 0.1), column(0.9, 0.5, 0.1), column(0.1, 0.5, 0.9)])
    labels = np.hstack([truth(1, 0, 1), truth(0, 0, 0), truth(0, 0, 1)])
    # First label: precision 1 at the first hit, 2/3 at the second.
    assert average_precision(logits, labels) == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert average_precision(logits, np.zeros((3, 3))) == 0.0


@pytest.mark.parametrize("function", [tuned_thresholds, average_precision])
def test_shapes_must_fit(function):
    message = "Expected labels of the logits' shape (3, 1). Received: shape (3,)."
    with pytest.raises(ValueError, match=exactly(message)):
        function(column(0.1, 0.2, 0.3), np.array([0, 1, 0]))
    with pytest.raises(ValueError, match=r"^Expected finite logits\."):
        function(np.array([[np.nan]]), truth(1))
