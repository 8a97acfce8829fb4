"""Quality figures of logits against labels, for the three tasks; all of them plain JSON numbers.

Everything starts from logits, in float64 and in log space, so that a sure and wrong model gets its
true loss instead of a clipped one. No figure is ever NaN: where a metric is undefined it has the
value that its entry in `METRICS` states. Every function raises `ValueError` for shapes that do not
fit, labels that are no class and logits that are not finite.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit, log_softmax, softmax
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import confusion_matrix, f1_score, matthews_corrcoef

CLASSIFICATION_TASKS = ("single_label", "multi_label")
CALIBRATION_BINS = 15
_EQUAL = 1e-12


@dataclasses.dataclass(frozen=True)
class Metric:
    """Title of a figure in tables, its better direction, and its value where it is undefined.

    Attributes:
        title: Heading of its column.
        higher_is_better: Boolean.
        description: A sentence, with the value where the figure is undefined.
        full_name: Name in full, where the title is an abbreviation that a table has to explain.
    """

    title: str
    higher_is_better: bool
    description: str
    full_name: str = ""


METRICS: dict[str, Metric] = {
    "accuracy": Metric("Accuracy", True, "Share of rows whose largest logit is the label's."),
    "f1": Metric("F1", True, "F1 of class 1 of two; 0 if the class is neither true nor predicted."),
    "macro_f1": Metric("Macro F1", True, "Mean of the classes' F1; a class never seen counts 0."),
    "micro_f1": Metric("Micro F1", True, "F1 of all label decisions; 0 if none is positive."),
    "jaccard": Metric("Jaccard", True, "Mean over rows of shared / all labels; both empty: 1."),
    "mcc": Metric("MCC", True, "Matthews correlation; 0 if labels or predictions are constant."),
    "pearson": Metric("Pearson", True, "Linear correlation; 0 if labels or scores are constant."),
    "spearman": Metric("Spearman", True, "Rank correlation; 0 if labels or scores are constant."),
    "agreement": Metric("Agreement", True, "Share of decisions that are also the teacher's."),
    "nll": Metric(
        "NLL",
        False,
        "Mean negative log-likelihood of the labels, in nats.",
        "negative log-likelihood",
    ),
    "ece": Metric(
        "ECE",
        False,
        "Expected calibration error over 15 bins of equal width.",
        "expected calibration error",
    ),
    "brier": Metric("Brier", False, "Squared error of the probabilities."),
    "mse": Metric("MSE", False, "Mean squared error.", "mean squared error"),
    "mae": Metric("MAE", False, "Mean absolute error.", "mean absolute error"),
}


def is_better(metric: str, value: float, other: float) -> bool:
    """Whether `value` of a metric of `METRICS` beats `other`; any number is better than NaN.

    Example:
    >>> is_better("nll", 0.2, 0.3)
    True
    """
    if metric not in METRICS:
        raise ValueError(
            f"Expected `metric` to be one of {', '.join(METRICS)}. Received: metric={metric!r}."
        )
    if math.isnan(value) or math.isnan(other):
        return not math.isnan(value)
    return value > other if METRICS[metric].higher_is_better else value < other


def evaluate(
    task: str,
    logits: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    teacher_logits: np.ndarray | None = None,
    thresholds: ArrayLike = 0.5,
    teacher_thresholds: ArrayLike = 0.5,
) -> dict[str, Any]:
    """All figures of a task.

    Args:
        task: String. "single_label", "multi_label" or "regression".
        logits: Float array, shape `[num_rows, num_outputs]`.
        labels: Integer array `[num_rows]` (single_label), array of 0 and 1
            `[num_rows, num_outputs]` (multi_label) or float array `[num_rows]` (regression).
        label_names: Class names in index order; one name for regression.
        teacher_logits: Float array of the logits' shape. Adds `agreement`, not for regression, of
            the rows the teacher has answered: its others are NaN.
        thresholds: Probability above which a label is given (multi_label), one or `[num_outputs]`.
        teacher_thresholds: The same for the teacher.

    Returns:
        Dictionary of floats by the names of `METRICS`. The classification tasks add `f1_per_class`
        (float by label name), single_label adds `confusion_matrix` (nested list of integers,
        `[label][prediction]`), and two classes add `f1`, of the second class.

    Example:
    >>> figures = evaluate("single_label", np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([0, 1]),
    ...                    ["calm", "angry"])
    >>> figures["accuracy"], figures["confusion_matrix"]
    (0.5, [[1, 0], [1, 0]])
    """
    logits, labels = _checked(task, logits, labels)
    if len(label_names) != logits.shape[1]:
        raise ValueError(
            f"Expected `label_names` to name the {logits.shape[1]} outputs. "
            f"Received: {len(label_names)} names."
        )
    if task == "regression":
        return _regression_figures(logits[:, 0], labels)
    figures = _single_label_figures if task == "single_label" else _multi_label_figures
    found = figures(decisions(task, logits, thresholds), labels, label_names)
    found["nll"] = negative_log_likelihood(task, logits, labels)
    found["ece"] = expected_calibration_error(task, logits, labels)
    found["brier"] = brier_score(task, logits, labels)
    if teacher_logits is not None and not np.isnan(teacher_logits).all():
        if np.shape(logits) == np.shape(teacher_logits):
            answered = ~np.isnan(teacher_logits).any(axis=-1)
            logits, teacher_logits = logits[answered], teacher_logits[answered]
        found["agreement"] = agreement(task, logits, teacher_logits, thresholds, teacher_thresholds)
    return found


def probabilities(task: str, logits: np.ndarray) -> np.ndarray:
    """Float64 probabilities of the logits' shape: softmax over classes, or a sigmoid a label.

    Arguments as for `evaluate`, but not for regression.

    Example:
    >>> probabilities("multi_label", np.array([[0.0, 0.0]]))
    array([[0.5, 0.5]])
    """
    _check_task(task, CLASSIFICATION_TASKS)
    logits = _finite_matrix(logits)
    return softmax(logits, axis=-1) if task == "single_label" else expit(logits)


def decisions(task: str, logits: np.ndarray, thresholds: ArrayLike = 0.5) -> np.ndarray:
    """The classes the model decides for, as int64.

    `[num_rows]`, the class of the largest logit (the first of equal ones), or
    `[num_rows, num_outputs]`, 1 where the probability is above the label's threshold (multi_label).
    Arguments as for `evaluate`, but not for regression.

    Example:
    >>> decisions("single_label", np.array([[0.1, 2.0, -1.0]]))
    array([1])
    """
    _check_task(task, CLASSIFICATION_TASKS)
    logits = _finite_matrix(logits)
    if task == "single_label":
        return logits.argmax(axis=-1)
    return (expit(logits) > np.asarray(thresholds)).astype(np.int64)


def negative_log_likelihood(task: str, logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log likelihood of the labels, in nats, computed in log space.

    The mean is over rows (single_label) or over all labels of all rows (multi_label, the binary
    cross-entropy). A wrong answer 60 logits ahead costs 60.0.

    Arguments as for `evaluate`, but not for regression.

    Example:
    >>> negative_log_likelihood("single_label", np.array([[60.0, 0.0]]), np.array([1]))
    60.0
    """
    _check_task(task, CLASSIFICATION_TASKS)
    logits, labels = _checked(task, logits, labels)
    if task == "single_label":
        log_likelihood = log_softmax(logits, axis=-1)[np.arange(len(labels)), labels]
    else:
        log_likelihood = log_expit(np.where(labels == 1, logits, -logits))
    return abs(float(log_likelihood.mean()))


def expected_calibration_error(
    task: str, logits: np.ndarray, labels: np.ndarray, num_bins: int = CALIBRATION_BINS
) -> float:
    """Mean distance between how sure the model is and how often it is right.

    Decisions are sorted into bins of equal width by their probability; a bin's distance is
    `|mean probability - share right|`, weighted with the bin's share of the decisions. A bin holds
    its upper edge. For multi_label each label of each row is a decision of its own, whose
    probability is that of the likelier side, whatever the thresholds.

    Arguments as for `evaluate`, but not for regression; `num_bins` bins part 0 to 1.

    Example:
    >>> expected_calibration_error("single_label", np.array([[0.0, 0.0], [0.0, 0.0]]),
    ...                            np.array([0, 1]))
    0.0

    Reference: [Guo et al., 2017](https://arxiv.org/abs/1706.04599)
    """
    logits, labels = _checked(task, logits, labels)
    chances = probabilities(task, logits)
    sureness = chances.max(axis=-1) if task == "single_label" else np.maximum(chances, 1 - chances)
    sureness, right = sureness.ravel(), (decisions(task, logits) == labels).ravel()
    # Rounding keeps a probability that is an edge up to its last bit in one and the same bin.
    bins = np.ceil(np.round(sureness * num_bins, 9)).astype(np.int64) - 1
    gaps = np.bincount(bins, weights=sureness - right, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(sureness))


def brier_score(task: str, logits: np.ndarray, labels: np.ndarray) -> float:
    """Squared error of the probabilities against the truth.

    Summed over classes, mean over rows (single_label, 0 to 2), or the mean over all labels of all
    rows (multi_label, 0 to 1).

    Arguments as for `evaluate`, but not for regression.

    Example:
    >>> brier_score("single_label", np.array([[0.0, 0.0]]), np.array([1]))
    0.5
    """
    logits, labels = _checked(task, logits, labels)
    chances = probabilities(task, logits)
    if task == "single_label":
        truth = np.eye(logits.shape[1])[labels]
        return float(((chances - truth) ** 2).sum(axis=-1).mean())
    return float(((chances - labels) ** 2).mean())


def agreement(
    task: str,
    logits: np.ndarray,
    teacher_logits: np.ndarray,
    thresholds: ArrayLike = 0.5,
    teacher_thresholds: ArrayLike = 0.5,
) -> float:
    """Share of decisions that two models make alike: rows, or labels of rows for multi_label.

    Arguments as for `evaluate`, but not for regression.

    Example:
    >>> agreement("single_label", np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0]] * 2))
    0.5
    """
    if np.shape(logits) != np.shape(teacher_logits):
        raise ValueError(
            f"Expected `teacher_logits` of the logits' shape {np.shape(logits)}. "
            f"Received: shape {np.shape(teacher_logits)}."
        )
    taught = decisions(task, teacher_logits, teacher_thresholds)
    return float((decisions(task, logits, thresholds) == taught).mean())


def jaccard_rows(labels: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Shared labels by all labels, float64, 1 where there are none; the last axis is the labels."""
    shared, either = (decided & labels).sum(axis=-1), (decided | labels).sum(axis=-1)
    return np.where(either == 0, 1.0, shared / np.maximum(either, 1))


def _single_label_figures(
    predicted: np.ndarray, labels: np.ndarray, label_names: Sequence[str]
) -> dict[str, Any]:
    classes = np.arange(len(label_names))
    per_class = f1_score(labels, predicted, labels=classes, average=None, zero_division=0)
    # scikit-learn's value too, but it warns when both are the same one class.
    constant = np.ptp(labels) == 0 or np.ptp(predicted) == 0
    return {
        "accuracy": float((predicted == labels).mean()),
        **({"f1": float(per_class[1])} if len(label_names) == 2 else {}),
        "macro_f1": float(per_class.mean()),
        "f1_per_class": dict(zip(label_names, per_class.tolist(), strict=True)),
        "mcc": 0.0 if constant else float(matthews_corrcoef(labels, predicted)),
        "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def _multi_label_figures(
    predicted: np.ndarray, labels: np.ndarray, label_names: Sequence[str]
) -> dict[str, Any]:
    # Column by column: scikit-learn takes a matrix of one column for a binary task.
    columns = zip(labels.T, predicted.T, strict=True)
    per_class = [float(f1_score(*column, zero_division=0)) for column in columns]
    return {
        "micro_f1": float(f1_score(labels.ravel(), predicted.ravel(), zero_division=0)),
        "macro_f1": float(np.mean(per_class)),
        "jaccard": float(jaccard_rows(labels, predicted).mean()),
        "f1_per_class": dict(zip(label_names, per_class, strict=True)),
    }


def _regression_figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    constant = any(np.ptp(x) <= _EQUAL * np.abs(x).max() for x in (scores, labels))
    return {
        "pearson": 0.0 if constant else float(pearsonr(scores, labels).statistic),
        "spearman": 0.0 if constant else float(spearmanr(scores, labels).statistic),
        "mse": float(((scores - labels) ** 2).mean()),
        "mae": float(np.abs(scores - labels).mean()),
    }


def _check_task(task: str, tasks: Sequence[str]) -> None:
    if task not in tasks:
        raise ValueError(f"Expected `task` to be one of {', '.join(tasks)}. Received: {task!r}.")


def _finite_matrix(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or logits.size == 0:
        raise ValueError(
            "Expected logits of shape [num_rows, num_outputs] with at least one row. "
            f"Received: shape {logits.shape}."
        )
    bad = ~np.isfinite(logits).all(axis=1)
    if bad.any():
        raise ValueError(
            f"Expected finite logits. Received: {bad.sum()} of {len(bad)} rows with NaN or "
            f"infinity, the first at row {bad.argmax()}."
        )
    return logits


def _checked(task: str, logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits as float64 and labels as int64 (float64 for regression), of shapes that fit."""
    _check_task(task, (*CLASSIFICATION_TASKS, "regression"))
    logits, labels = _finite_matrix(logits), np.asarray(labels)
    num_rows, num_outputs = logits.shape
    expected = (num_rows, num_outputs) if task == "multi_label" else (num_rows,)
    if labels.shape != expected:
        raise ValueError(
            f"Expected labels of shape {expected} for {task}. Received: shape {labels.shape}."
        )
    if task == "regression":
        if num_outputs != 1 or not np.isfinite(labels).all():
            raise ValueError(
                "Expected logits of one column and finite labels for regression. "
                f"Received: {num_outputs} columns, labels {labels[~np.isfinite(labels)][:3]}."
            )
        return logits, labels.astype(np.float64)
    if task == "single_label" and num_outputs < 2:
        raise ValueError("Expected logits of at least two columns for single_label. Received: 1.")
    highest = 1 if task == "multi_label" else num_outputs - 1
    wrong = ~np.isin(labels, np.arange(highest + 1))
    if wrong.any():
        raise ValueError(
            f"Expected labels that are whole numbers from 0 to {highest} for {task}. "
            f"Received: {labels[wrong][0]} at row {np.argwhere(wrong)[0][0]}."
        )
    return logits, labels.astype(np.int64)
