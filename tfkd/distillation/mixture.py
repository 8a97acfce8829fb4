"""Several teachers as one: logits whose softened probabilities are the mean of the teachers'."""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_expit, log_softmax, logsumexp

from tfkd.data.examples import MULTI_LABEL, REGRESSION


def mixture(task: str, logits: Sequence[np.ndarray], temperature: float) -> np.ndarray:
    """Mixes teachers with equal weights.

    At the temperature the student is trained at, learning from the mixture has the gradient of the
    mean of the teachers' own divergences. The scores of a regression are averaged.

    Args:
        task: String. One of `tfkd.data.examples.TASKS`.
        logits: Float arrays of one shape, `[num_rows, num_outputs]`, one a teacher.
        temperature: Float. Softens each teacher.

    Returns:
        float32 `[num_rows, num_outputs]`; a single teacher's logits as they are.

    Example:
    >>> mixture("single_label", [np.log([[0.8, 0.2]]), np.log([[0.4, 0.6]])], temperature=1.0)
    array([[-0.5108256, -0.9162907]], dtype=float32)
    """
    if len(logits) == 1:
        return logits[0]
    stacked = np.stack(logits).astype(np.float64)
    if task == REGRESSION:
        return stacked.mean(axis=0).astype(np.float32)
    softened = stacked / temperature
    if task == MULTI_LABEL:
        yes, no = (logsumexp(log_expit(sign * softened), axis=0) for sign in (1, -1))
        return (temperature * (yes - no)).astype(np.float32)
    mean = logsumexp(log_softmax(softened, axis=-1), axis=0) - np.log(len(logits))
    return (temperature * mean).astype(np.float32)
