"""Several teachers as one: logits that a student learns from as if one teacher had said them.

The rule is a `tfkd.distillation.mixing.Mixing`. Averages are taken at the temperature the student
is trained at and in float64; nothing here knows where logits come from.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import LinearConstraint, minimize
from scipy.special import entr, expit, log_expit, log_softmax, logsumexp, softmax

from tfkd.data.examples import MULTI_LABEL, REGRESSION
from tfkd.data.tokens import is_answered
from tfkd.distillation.mixing import CONFIDENCE, ENTROPY, LEARNED, LOGITS, Mixing

# Digits of a weight: what is beyond them depends on the machine, not on the teachers.
DIGITS = 4
TOLERANCE = 1e-10


def mixture(
    task: str, logits: Sequence[np.ndarray], temperature: float, mixing: Mixing | None = None
) -> np.ndarray:
    """One array of logits from those of several teachers.

    With the mean of probabilities, learning from the mixture at `temperature` has the gradient of
    the weighted mean of the teachers' own divergences. The mean of logits is that of the softened
    logits, scaled back. The scores of a regression are averaged as they are.

    Weights of a row by `confidence` are proportional to the teachers' largest softened
    probability, and by `entropy` they are the softmax of the negative entropies in nats; of
    several labels each is the mean over the labels' Bernoulli distributions. To weigh teachers by
    the entropy of what they predict follows Cheng et al.; the softmax is ours, since weights in
    proportion to what is left of the entropy have no value where all teachers are undecided.

    A teacher that has no answer to a row, which is NaN then, leaves its weight to the others; a row
    that none of them answers is NaN.

    Args:
        task: String. One of `tfkd.data.examples.TASKS`.
        logits: Float arrays of one shape, `[num_rows, num_outputs]`, one a teacher.
        temperature: Float. The student's.
        mixing: `Mixing`. Default: equal weights, mean of probabilities. Weights that are to be
            learned must have been, by `tfkd.distillation.mixture`.

    Returns:
        float32 `[num_rows, num_outputs]`. Where all weight is on one teacher that is softened as
        the student is, its logits as they are.

    Raises:
        ConfigError: The rule needs probabilities and the task is a regression.
        ValueError: Weights or temperatures are not one a teacher, or are still to be learned.

    Example:

    >>> mixture("single_label", [np.log([[0.8, 0.2]]), np.log([[0.4, 0.6]])], temperature=1.0)
    array([[-0.5108256, -0.9162907]], dtype=float32)

    Reference: [Cheng et al., 2024](https://doi.org/10.3390/math12111672)
    """
    mixing = mixing or Mixing()
    mixing.check_task(task)
    if task == REGRESSION:
        temperature = 1.0
    temperatures = mixing.temperatures or (temperature,) * len(logits)
    _check_ready(mixing, temperatures, len(logits))
    asked = [k for k in range(len(logits)) if not mixing.weights or mixing.weights[k]]
    if len(asked) == 1 and temperatures[asked[0]] == temperature:
        return logits[asked[0]]
    softened = np.stack(logits).astype(np.float64) / np.reshape(temperatures, (-1, 1, 1))
    answered = is_answered(softened)[..., None]
    softened = np.where(answered, softened, 0.0)
    weights = _weights(task, softened, mixing)
    if not answered.all():
        total = (weights * answered).sum(axis=0)
        weights = weights * answered / np.where(total > 0, total, np.nan)
    mixed = weighted_average(task, softened, weights, mixing.average)
    return (temperature * mixed).astype(np.float32)


def weighted_average(
    task: str, softened: np.ndarray, weights: np.ndarray, average: str | None
) -> np.ndarray:
    """The teachers' mean, of what `average` says.

    Args:
        task: String. One of `tfkd.data.examples.TASKS`.
        softened: float64 `[num_teachers, num_rows, num_outputs]`. Logits over temperature.
        weights: float64 `[num_teachers, num_rows or 1, 1]`. None is negative; 0 is allowed.
        average: "probabilities", the default, or "logits". Scores are averaged as they are.

    Returns:
        float64 `[num_rows, num_outputs]`: softened logits of the mixture.
    """
    if task == REGRESSION or average == LOGITS:
        return (weights * softened).sum(axis=0)
    if task == MULTI_LABEL:
        yes, no = (logsumexp(log_expit(sign * softened), axis=0, b=weights) for sign in (1, -1))
        return yes - no
    return logsumexp(log_softmax(softened, axis=-1), axis=0, b=weights)


def _check_ready(mixing: Mixing, temperatures: Sequence[float], num_teachers: int) -> None:
    if mixing.weighting == LEARNED:
        raise ValueError("Expected weights that were learned. Received a rule that asks for them.")
    for name, values in (("weights", mixing.weights), ("temperatures", temperatures)):
        if values and len(values) != num_teachers:
            raise ValueError(
                f"Expected `{name}` of {num_teachers} teachers. Received: {name}={list(values)}."
            )


def _weights(task: str, softened: np.ndarray, mixing: Mixing) -> np.ndarray:
    """Weights that sum to 1 over the teachers: `[num_teachers, num_rows or 1, 1]`."""
    if mixing.weighting == CONFIDENCE:
        if task == MULTI_LABEL:
            sure = expit(np.abs(softened)).mean(axis=-1, keepdims=True)
        else:
            sure = softmax(softened, axis=-1).max(axis=-1, keepdims=True)
        return sure / sure.sum(axis=0)
    if mixing.weighting == ENTROPY:
        if task == MULTI_LABEL:
            nats = (entr(expit(softened)) + entr(expit(-softened))).mean(axis=-1, keepdims=True)
        else:
            nats = entr(softmax(softened, axis=-1)).sum(axis=-1, keepdims=True)
        return softmax(-nats, axis=0)
    weights = np.array(mixing.weights or (1.0,) * len(softened))
    return (weights / weights.sum())[:, None, None]


def learned(task: str, logits: Sequence[np.ndarray], labels: np.ndarray, mixing: Mixing) -> Mixing:
    """The rule with the weights under which the mixture is right most probably.

    They are not negative, sum to 1 and minimize the mixture's mean label loss at temperature 1
    (negative log-likelihood, for scores the squared error), which is convex in them. Teachers that
    are one as good as the other share equally.

    For a mean of logits the sum is left open while the loss is minimized, and divided out after:
    weights of sum 1 would go to the surest teacher where all are too unsure, right or not.

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

    Reference, for logits: [Genest and Zidek, 1986](https://doi.org/10.1214/ss/1177013825)
    """
    # Imported here: it brings TensorFlow, which a mixture does without.
    from tfkd.distillation.losses import label_loss

    mixing.check_task(task)
    if mixing.average == LOGITS:
        weights = _log_linear_weights(task, logits, labels)
        return mixing.replace(weights=weights, weighting=None)
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
    weights = tuple(np.abs(found.x.round(DIGITS)).tolist())
    return mixing.replace(weights=weights, weighting=None)


def _log_linear_weights(
    task: str, logits: Sequence[np.ndarray], labels: np.ndarray
) -> tuple[float, ...]:
    """The shares of a sum of logits of any size that minimizes the mean label loss.

    Equal where no teacher tells anything.
    """
    from tfkd.distillation.losses import label_loss

    stacked = np.stack(logits).astype(np.float64)
    # A common factor changes no share, and the optimizer's tolerances are absolute.
    stacked /= stacked.std() or 1.0

    def loss(weights: np.ndarray) -> float:
        return float(np.mean(label_loss(task, labels, np.tensordot(weights, stacked, axes=1))))

    equal = np.full(len(logits), 1 / len(logits))
    found = minimize(loss, equal, method="L-BFGS-B", bounds=[(0.0, None)] * len(logits)).x
    weights = found / found.sum() if found.sum() > 10**-DIGITS else equal
    return tuple(weights.round(DIGITS).tolist())
