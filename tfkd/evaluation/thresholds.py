"""Thresholds of a multi-label classifier, one for each label, tuned on held-out rows.

A label that few rows have is seldom likelier than not, so at 0.5 it would never be given and its
F1 would be 0 however well the rows are ranked.
"""

import numpy as np
from sklearn.metrics import average_precision_score

from tfkd.data.examples import DEFAULT_THRESHOLD, MULTI_LABEL
from tfkd.evaluation.metrics import probabilities


def tuned_thresholds(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The threshold of each label that makes its F1 on these rows as high as can be.

    A label is given where its probability is above the threshold. All that can be told apart is
    tried: the middle between any two neighbours of the label's probabilities (0 is one of them,
    so that every row may be given the label), and 0.5 itself. Of equally good ones the nearest
    to 0.5 is taken; a label that no row has keeps 0.5.

    Args:
        logits: Float array, shape `[num_rows, num_labels]`. Of rows the model was not trained on.
        labels: Array of 0 and 1 of the same shape.

    Returns:
        float32 `[num_labels]`, in [0, 1].

    Raises:
        ValueError: The shapes differ or a logit is not finite.

    Example:
    >>> tuned_thresholds(np.log([[1 / 9], [1 / 3], [1.0]]), np.array([[0], [1], [1]]))
    array([0.175], dtype=float32)

    Reference: [Lipton et al., 2014](https://arxiv.org/abs/1402.1892)
    """
    chances, truth = _checked(logits, labels)
    columns = zip(chances.T, truth.T, strict=True)
    return np.array([_best_threshold(*column) for column in columns], np.float32)


def average_precision(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the labels' average precision: how well rows are ranked, before any threshold.

    Labels that no row has are left out; 0 if there is no other.

    Arguments as for `tuned_thresholds`.

    Raises:
        ValueError: The shapes differ or a logit is not finite.

    Example:
    >>> average_precision(np.array([[2.0], [1.0], [0.0]]), np.array([[1], [0], [1]]))
    0.8333333333333333
    """
    chances, truth = _checked(logits, labels)
    columns = zip(chances.T, truth.T, strict=True)
    found = [average_precision_score(yes, column) for column, yes in columns if yes.any()]
    return float(np.mean(found)) if found else 0.0


def _checked(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities as float64 and labels as booleans, of one shape."""
    chances, truth = probabilities(MULTI_LABEL, logits), np.asarray(labels) == 1
    if chances.shape != truth.shape:
        raise ValueError(
            f"Expected labels of the logits' shape {chances.shape}. Received: shape {truth.shape}."
        )
    return chances, truth


def _best_threshold(chances: np.ndarray, truth: np.ndarray) -> float:
    """The threshold of one label: `[num_rows]` float64 probabilities and booleans."""
    distinct = np.unique(np.append(chances, 0.0))
    # Rounded first and counted then, so that the F1 is that of the very number that is kept.
    middles = (distinct[1:] + distinct[:-1]) / 2
    candidates = np.array([DEFAULT_THRESHOLD, *middles], np.float32)
    if not truth.any():
        return DEFAULT_THRESHOLD
    given, right = (
        len(values) - np.searchsorted(np.sort(values), candidates, side="right")
        for values in (chances, chances[truth])
    )
    f1 = 2 * right / (given + truth.sum())
    best = candidates[f1 == f1.max()]
    return float(best[np.abs(best - DEFAULT_THRESHOLD).argmin()])
