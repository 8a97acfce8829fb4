"""Metrics of many resamples of the test rows at once.

A resample is told by how often it holds each kind of row, rows with the same label and the same
answers being one kind. F1, Matthews' and Pearson's correlation follow from sums weighted with these
counts, Spearman's from ranks weighted with them: each resample's own ranks, not those of all rows.
So thousands of resamples are a few matrix products. Labels and answers are matrices with a column a
class, label or score; see `columns` and `answers_of`. Where a metric is undefined it has the value
that `metrics.METRICS` states.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tfkd.evaluation.metrics import decisions, jaccard_rows

_EQUAL = 1e-12
_BATCH_NUMBERS = 4_000_000


def columns(task: str, values: np.ndarray, num_outputs: int) -> np.ndarray:
    """Labels or answers as a matrix.

    Args:
        task: String. "single_label", "multi_label" or "regression".
        values: Labels as `metrics.evaluate` takes them, or `metrics.decisions`; for regression
            labels or scores, `[num_rows]`.
        num_outputs: Integer. Number of classes or labels; 1 for regression.

    Returns:
        `[num_rows, num_outputs]`: booleans, whose every row has one True for single_label; float64
        for regression.

    Example:
    >>> columns("single_label", np.array([1, 0]), 2)
    array([[False,  True],
           [ True, False]])
    """
    if task == "regression":
        return np.asarray(values, dtype=np.float64).reshape(-1, 1)
    if task == "multi_label":
        return np.asarray(values).astype(bool)
    return np.eye(num_outputs, dtype=bool)[values]


def answers_of(task: str, logits: np.ndarray, thresholds: ArrayLike = 0.5) -> np.ndarray:
    """A model's answers as a matrix: what it decides, or the scores of a regression.

    Returns:
        `[num_rows, num_outputs]`, as `columns` gives them.

    Example:
    >>> answers_of("single_label", np.array([[0.1, 2.0]]))
    array([[False,  True]])
    """
    values = logits[:, 0] if task == "regression" else decisions(task, logits, thresholds)
    return columns(task, values, logits.shape[1])


def right_rows(labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Whether each model's answer to each row is the label's: booleans `[num_models, num_rows]`.

    Arguments as for `RESAMPLED`.
    """
    return (answers == labels).all(axis=-1)


def _f1(labels: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return _macro_f1(labels[:, 1:2], answers[..., 1:2], counts)


def _macro_f1(labels: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    shared, chosen, true = _sums(labels, answers, counts)
    return _ratio(2 * shared, chosen + true).mean(axis=-1)


def _micro_f1(labels: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    shared, chosen, true = _sums(labels, answers, counts)
    return _ratio(2 * shared.sum(axis=-1), (chosen + true).sum(axis=-1))


def _mcc(labels: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    shared, chosen, true = _sums(labels, answers, counts)
    num_rows = counts.sum(axis=-1)
    covariance = shared.sum(axis=-1) * num_rows - (chosen * true).sum(axis=-1)
    spreads = [num_rows**2 - (side**2).sum(axis=-1) for side in (chosen, true)]
    return _ratio(covariance, np.sqrt(spreads[0] * spreads[1]))


def _pearson(labels: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    # Numbers around zero lose no digits when a squared mean is taken from a mean square.
    x, y = (side[..., 0] - side[..., 0].mean(axis=-1, keepdims=True) for side in (answers, labels))
    num_rows = counts.sum(axis=-1)
    mean_x, mean_y, square_x, square_y, product = (
        side @ counts.T / num_rows for side in (x, y, x**2, y**2, x * y)
    )
    spreads = [
        np.where(square - mean**2 > _EQUAL * square, square - mean**2, 0)
        for square, mean in ((square_x, mean_x), (square_y, mean_y))
    ]
    return _ratio(product - mean_x * mean_y, np.sqrt(spreads[0] * spreads[1]))


def _spearman(labels: np.ndarray, answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    y = _ranks(labels[:, 0], counts)
    found = []
    for scores in answers[..., 0]:
        x = _ranks(scores, counts)
        covariance, spread_x, spread_y = (
            np.einsum("ij,ij,ij->i", counts, *pair) for pair in ((x, y), (x, x), (y, y))
        )
        found.append(_ratio(covariance, np.sqrt(spread_x * spread_y)))
    return np.stack(found)


# Each takes labels [num_rows, num_columns], answers [num_models, num_rows, num_columns], both as
# `columns` gives them, and float64 counts [num_resamples, num_rows] of equal sums; each gives
# float64 [num_models, num_resamples].
RESAMPLED: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "f1": _f1,
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
    "mcc": _mcc,
    "pearson": _pearson,
    "spearman": _spearman,
}
# Means over the rows of these need no resamples to be tested.
ROW_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "accuracy": right_rows,
    "jaccard": jaccard_rows,
}


def figures(metric: str, labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The metric of each model on the rows as they are.

    Arguments as for `RESAMPLED`.

    Returns:
        float64 `[num_models]`, those of `metrics.evaluate` but for the last digits.

    Raises:
        ValueError: The metric is none of these.

    Example:
    >>> labels = columns("single_label", np.array([1, 0]), 2)
    >>> figures("accuracy", labels, labels[None, ::-1])
    array([0.])
    """
    if metric in ROW_METRICS:
        return ROW_METRICS[metric](labels, answers).mean(axis=-1)
    if metric not in RESAMPLED:
        raise ValueError(
            f"Expected `metric` to be one of {', '.join([*ROW_METRICS, *RESAMPLED])}. "
            f"Received: metric={metric!r}."
        )
    return RESAMPLED[metric](labels, answers, np.ones((1, len(labels))))[:, 0]


def resampled_figures(
    metric: str, labels: np.ndarray, answers: np.ndarray, num_resamples: int, seed: int
) -> np.ndarray:
    """The metric of each model on rows drawn with replacement, the same rows for all models.

    Arguments as for `RESAMPLED`.

    Returns:
        float64 `[num_models, num_resamples]`. The order of the rows decides nothing.

    Example:
    >>> labels = columns("single_label", np.array([1, 0, 1]), 2)
    >>> resampled_figures("macro_f1", labels, labels[None], num_resamples=2, seed=0)
    array([[1., 1.]])
    """
    random, num_rows = np.random.default_rng(seed), len(labels)
    kinds, times = np.unique(np.concatenate([labels[None], answers]), axis=1, return_counts=True)
    batch = max(1, _BATCH_NUMBERS // len(times))
    found = []
    for start in range(0, num_resamples, batch):
        size = min(batch, num_resamples - start)
        counts = random.multinomial(num_rows, times / num_rows, size).astype(np.float64)
        found.append(RESAMPLED[metric](kinds[0], kinds[1:], counts))
    return np.concatenate(found, axis=-1)


def _sums(
    labels: np.ndarray, answers: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times a column is chosen and true, chosen, `[models, resamples, columns]`, and true."""
    shared, chosen, true = (
        counts @ side.astype(np.float64) for side in (answers & labels, answers, labels)
    )
    return shared, chosen, true


def _ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Rank of each row in each resample, equal values sharing theirs, less the mean rank."""
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], ties.cumsum()[:-1]])
    held = np.add.reduceat(counts[:, place.argsort(kind="stable")], starts, axis=-1)
    middle = held.cumsum(axis=-1) - held / 2
    return (middle - held.sum(axis=-1, keepdims=True) / 2)[:, place]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, 0 where the divisor is 0."""
    return np.divide(above, below, out=np.zeros(below.shape), where=below > 0)
