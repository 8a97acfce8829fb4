"""How sure a model should be: the temperature under which labels it has not seen are likeliest."""

import dataclasses

import numpy as np
from scipy.optimize import minimize_scalar

from tfkd.evaluation.metrics import expected_calibration_error, negative_log_likelihood

COLDEST, HOTTEST = 0.05, 20.0
# Of a temperature: what is beyond them depends on the machine.
DIGITS = 4


@dataclasses.dataclass(frozen=True)
class FittedTemperature:
    """A temperature, and what it does to the rows it was fitted on.

    Attributes:
        value: The logits are to be divided by it; above 1, the model was too sure of itself.
        losses: Negative log-likelihood, in nats, of the logits as they are and of the divided ones.
        errors: Expected calibration error of both, which few rows tell less well.
        num_rows: Rows behind them.
    """

    value: float
    losses: tuple[float, ...]
    errors: tuple[float, ...]
    num_rows: int

    def sentence(self, name: str) -> str:
        """What was found, in words."""
        (loss, loss_after), (error, error_after) = self.losses, self.errors
        return (
            f"{name} are calibrated on {self.num_rows:,} rows of validation: temperature "
            f"{self.value:.2f}, negative log-likelihood {loss:.4f} before and {loss_after:.4f} "
            f"after, expected calibration error {error:.4f} before and {error_after:.4f} after"
        )


def fitted_temperature(task: str, logits: np.ndarray, labels: np.ndarray) -> FittedTemperature:
    """Finds the temperature with the smallest negative log-likelihood.

    Its logarithm has a standard normal prior: a few dozen answers that all are right do not make
    a model certain of everything.

    Args:
        task: String. "single_label" or "multi_label".
        logits: Float array `[num_rows, num_outputs]`, of rows the model was not trained on.
        labels: Class indices `[num_rows]`, or multi-hot rows `[num_rows, num_labels]`.

    Example:

    >>> logits = np.log([[0.9, 0.1]] * 100)
    >>> fitted_temperature("single_label", logits, np.arange(100) % 4 // 3).value
    1.944

    Reference: [Guo et al., 2017](https://arxiv.org/abs/1706.04599), without the prior.
    """

    def loss(logarithm: float) -> float:
        fit = negative_log_likelihood(task, logits / np.exp(logarithm), labels)
        return fit + logarithm**2 / (2 * len(labels))

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded")
    value = round(float(np.exp(found.x)), DIGITS)
    both = logits, logits / value
    return FittedTemperature(
        value,
        tuple(negative_log_likelihood(task, told, labels) for told in both),
        tuple(expected_calibration_error(task, told, labels) for told in both),
        len(labels),
    )
