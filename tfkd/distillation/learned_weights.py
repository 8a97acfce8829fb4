"""Weights of several teachers that suit held-out rows best.

Not a stacked model: each teacher has one weight for all rows, so a few hundred rows are enough.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import LinearConstraint, minimize

from tfkd.distillation.losses import label_loss
from tfkd.distillation.mixing import Mixing
from tfkd.distillation.mixture import weighted_average

# Digits of a weight: what is beyond them depends on the machine, not on the teachers.
DIGITS = 4
TOLERANCE = 1e-10


def learned(task: str, logits: Sequence[np.ndarray], labels: np.ndarray, mixing: Mixing) -> Mixing:
    """The rule with the weights under which the mixture is right most probably.

    They are not negative, sum to 1 and minimize the mixture's mean label loss at temperature 1
    (negative log-likelihood, for scores the squared error), which is convex in them. Teachers that
    are one as good as the other share equally.

    Args:
        task: String. One of `tfkd.data.examples.TASKS`.
        logits: Float arrays of one shape, `[num_rows, num_outputs]`, one a teacher, of rows no
            teacher was trained on.
        labels: Class indices `[num_rows]`, multi-hot rows `[num_rows, num_labels]`, or scores
            `[num_rows]`.
        mixing: `Mixing` whose weighting is "learned".

    Returns:
        `Mixing` with fixed weights of four decimals.

    Raises:
        ConfigError: The rule needs probabilities and the task is a regression.

    Example:

    >>> right, wrong = np.array([[0.0, 9.0]]), np.array([[9.0, 0.0]])
    >>> learned("single_label", [right, wrong], np.array([1]), Mixing(weighting="learned")).weights
    (1.0, 0.0)
    """
    mixing.check_task(task)
    stacked = np.stack(logits).astype(np.float64)
    equal = np.full(len(logits), 1 / len(logits))

    def loss(weights: np.ndarray) -> float:
        mixed = weighted_average(task, stacked, weights[:, None, None], mixing.average)
        return float(np.mean(label_loss(task, labels, mixed)))

    # The optimizer's tolerance is absolute, squared errors have any size.
    scale = loss(equal) or 1.0
    found = minimize(
        lambda weights: loss(weights) / scale,
        equal,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(logits),
        constraints=LinearConstraint(np.ones(len(logits)), 1.0, 1.0),
        options={"ftol": TOLERANCE},
    )
    weights = np.abs(found.x.round(DIGITS))
    return mixing.replace(weights=tuple(weights.tolist()), weighting=None)
