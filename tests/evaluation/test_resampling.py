"""Metrics of resamples: each is the metric of the rows written out, and golden numbers."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from tfkd.evaluation import metrics
from tfkd.evaluation.resampling import (
    RESAMPLED,
    ROW_METRICS,
    answers_of,
    columns,
    figures,
    resampled_figures,
)

NUM_ROWS, NUM_MODELS = 60, 3


def drawn(task, num_outputs, seed=0):
    """Labels, logits of several models, as `metrics.evaluate` takes them."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(NUM_MODELS, NUM_ROWS, num_outputs)).round(1)
    if task == "regression":
        return random.integers(0, 5, NUM_ROWS).astype(float), logits
    shape = (NUM_ROWS, num_outputs) if task == "multi_label" else NUM_ROWS
    return random.integers(0, 2 if task == "multi_label" else num_outputs, shape), logits


def answers(task, logits):
    return np.stack([answers_of(task, one) for one in logits])


CASES = [
    ("single_label", 2, "f1"),
    ("single_label", 2, "mcc"),
    ("single_label", 2, "macro_f1"),
    ("single_label", 5, "mcc"),
    ("single_label", 5, "macro_f1"),
    ("single_label", 5, "accuracy"),
    ("multi_label", 4, "macro_f1"),
    ("multi_label", 4, "micro_f1"),
    ("multi_label", 4, "jaccard"),
    ("multi_label", 1, "macro_f1"),
    ("regression", 1, "pearson"),
    ("regression", 1, "spearman"),
]


@pytest.mark.parametrize(("task", "num_outputs", "metric"), CASES)
def test_figures_are_those_of_the_tables(task, num_outputs, metric):
    labels, logits = drawn(task, num_outputs)
    names = [str(index) for index in range(num_outputs)]
    expected = [metrics.evaluate(task, one, labels, names)[metric] for one in logits]
    found = figures(metric, columns(task, labels, num_outputs), answers(task, logits))
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("task", "num_outputs", "metric"), [case for case in CASES if case[2] in RESAMPLED]
)
def test_counted_rows_are_rows_written_out(task, num_outputs, metric):
    labels, logits = drawn(task, num_outputs, seed=1)
    random = np.random.default_rng(2)
    # The last resample holds three rows only: classes that are neither true nor chosen.
    counts = [*random.multinomial(NUM_ROWS, np.full(NUM_ROWS, 1 / NUM_ROWS), 4), np.eye(60)[0] * 3]
    found = RESAMPLED[metric](
        columns(task, labels, num_outputs), answers(task, logits), np.array(counts, float)
    )
    assert found.shape == (NUM_MODELS, 5)
    names = [str(index) for index in range(num_outputs)]
    for index, times in enumerate(counts):
        rows = np.repeat(np.arange(NUM_ROWS), times.astype(int))
        for model, one in enumerate(logits):
            figure = metrics.evaluate(task, one[rows], labels[rows], names)[metric]
            assert found[model, index] == pytest.approx(figure, abs=1e-9)


def two_classes(both, only_true, only_chosen, neither):
    labels = [1] * both + [1] * only_true + [0] * only_chosen + [0] * neither
    chosen = [1] * both + [0] * only_true + [1] * only_chosen + [0] * neither
    return (columns("single_label", np.array(side), 2) for side in (labels, chosen))


def test_matthews_and_f1_in_closed_form():
    labels, chosen = two_classes(both=6, only_true=3, only_chosen=1, neither=10)
    assert figures("mcc", labels, chosen[None]) == pytest.approx(
        (6 * 10 - 1 * 3) / np.sqrt((6 + 1) * (6 + 3) * (10 + 1) * (10 + 3))
    )
    assert figures("f1", labels, chosen[None]) == pytest.approx(2 * 6 / (2 * 6 + 3 + 1))
    assert figures("accuracy", labels, chosen[None]) == pytest.approx(16 / 20)
    # The F1 of the first class is another number, and so is their mean.
    other = 2 * 10 / (2 * 10 + 3 + 1)
    assert figures("macro_f1", labels, chosen[None]) == pytest.approx((0.75 + other) / 2)


def test_ranks_of_equal_scores_are_shared():
    labels, scores = np.array([1.0, 2, 3, 4]), np.array([1.0, 1, 5, 3])
    # Ranks 1 2 3 4 and 1.5 1.5 4 3: covariance 3.5, squares 5 and 4.5.
    found = figures("spearman", labels[:, None], scores[None, :, None])
    assert found == pytest.approx(3.5 / np.sqrt(5 * 4.5))
    assert found == pytest.approx(spearmanr(scores, labels).statistic)


def test_correlation_far_from_zero_keeps_its_digits():
    labels, noise = np.random.default_rng(0).normal(size=(2, 200))
    scores = 1e6 + 1e-2 * (labels + noise)
    found = figures("pearson", labels[:, None], scores[None, :, None])
    assert found == pytest.approx(pearsonr(scores, labels).statistic, abs=1e-8)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 3.7, 1e6])
def test_correlation_with_a_constant_is_zero(metric, constant):
    labels = np.arange(7.0)[:, None]
    assert figures(metric, labels, np.full((1, 7, 1), constant)) == 0


@pytest.mark.parametrize("metric", RESAMPLED)
def test_order_of_rows_decides_nothing(metric):
    task = "regression" if metric in ("pearson", "spearman") else "single_label"
    num_outputs = 1 if task == "regression" else 2
    labels, logits = drawn(task, num_outputs)
    labels, given = columns(task, labels, num_outputs), answers(task, logits)
    order = np.random.default_rng(3).permutation(NUM_ROWS)
    before = resampled_figures(metric, labels, given, 50, seed=7)
    after = resampled_figures(metric, labels[order], given[:, order], 50, seed=7)
    np.testing.assert_allclose(after, before, atol=1e-12)
    assert before.shape == (NUM_MODELS, 50)
    assert not np.array_equal(before, resampled_figures(metric, labels, given, 50, seed=8))


def test_resamples_spread_as_the_theory_of_correlation_says():
    """Of normal data the error of r is (1 - r^2) / sqrt(n)."""
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, 2000))
    y = 0.6 * x + 0.8 * noise
    found = resampled_figures("pearson", x[:, None], y[None, :, None], 1000, seed=0)
    r = pearsonr(x, y).statistic
    assert found.mean() == pytest.approx(r, abs=0.002)
    assert found.std() == pytest.approx((1 - r**2) / np.sqrt(2000), rel=0.1)


def test_rows_alike_are_one_kind_and_still_so_many():
    labels, chosen = two_classes(both=300, only_true=100, only_chosen=100, neither=500)
    found = resampled_figures("f1", labels, chosen[None], 1000, seed=0)
    assert found.mean() == pytest.approx(0.75, abs=0.002)
    assert 0.01 < found.std() < 0.03


def test_metric_that_is_unknown_or_better_when_low():
    labels = np.zeros((2, 1))
    message = (
        r"^Expected `metric` to be one of accuracy, jaccard, f1, macro_f1, micro_f1, mcc, pearson, "
        r"spearman\. Received: metric='nll'\.$"
    )
    with pytest.raises(ValueError, match=message):
        figures("nll", labels, labels[None])
    assert not set(ROW_METRICS) & set(RESAMPLED)
    for metric in (*ROW_METRICS, *RESAMPLED):
        assert metrics.METRICS[metric].higher_is_better
