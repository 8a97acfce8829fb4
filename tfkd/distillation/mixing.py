"""The rule by which several teachers are weighed, without any arithmetic."""

import dataclasses
import math
from collections.abc import Sequence

from tfkd.config.fields import Config, setting
from tfkd.data.examples import REGRESSION
from tfkd.errors import ConfigError

EQUAL, LEARNED, CONFIDENCE, ENTROPY = "equal", "learned", "confidence", "entropy"
PROBABILITIES, LOGITS = "probabilities", "logits"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixing(Config):
    """The rule that makes one teacher of several; `tfkd.distillation.mixture` follows it.

    Example:

    >>> Mixing(weights=(7, 3), average="logits").describe(["A", "B"])
    'A 0.7000, B 0.3000, fixed; mean of logits'
    """

    weights: tuple[float, ...] = setting(
        (), "Fixed weight of each teacher, of any sum. Default: as `weighting` says.", 0
    )
    weighting: str | None = setting(
        None,
        "How the weights are found. Default: equal.",
        choices=(EQUAL, LEARNED, CONFIDENCE, ENTROPY),
    )
    average: str | None = setting(
        None, "What is averaged. Default: probabilities.", choices=(PROBABILITIES, LOGITS)
    )
    temperatures: tuple[float, ...] = setting(
        (), "Softens each teacher. Default: the student's temperature for all.", 1.0, 100.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights and self.weighting is not None:
            raise ConfigError(
                f"Expected `weights` or `weighting`. Received: weights={list(self.weights)} and "
                f"weighting={self.weighting!r}. Take one out."
            )
        if self.weights and not 0 < sum(self.weights) < math.inf:
            raise ConfigError(
                "Expected `weights` with a finite sum above 0. Received: "
                f"weights={list(self.weights)}."
            )

    def check_task(self, task: str) -> None:
        """Refuses what the scores of a regression do not have: probabilities.

        Raises:
            ConfigError: The task is a regression and the rule asks for more than weights.
        """
        if task != REGRESSION:
            return
        without: dict[str, object] = {
            "average": self.average,
            "temperatures": list(self.temperatures),
        }
        if self.weighting in (CONFIDENCE, ENTROPY):
            without["weighting"] = self.weighting
        for key, value in without.items():
            if value:
                raise ConfigError(
                    "Expected only `weights`, or `weighting` equal or learned, for the teachers of "
                    "a regression, whose scores are no probabilities. Received: "
                    f"{key}={value!r}. Take it out."
                )

    def describe(self, teachers: Sequence[str], found: str | None = None) -> str:
        """The rule in words.

        Args:
            teachers: Strings. Names, in the order of the weights.
            found: String or None. Method that found `weights`, when they are not the user's.
        """
        if self.weights:
            total = sum(self.weights)
            shares = [
                f"{name} {weight / total:.4f}"
                for name, weight in zip(teachers, self.weights, strict=True)
            ]
            words = f"{', '.join(shares)}, {found or 'fixed'}"
        elif self.weighting in (CONFIDENCE, ENTROPY):
            words = f"{', '.join(teachers)}, weighed row by row by {self.weighting}"
        else:
            words = f"{', '.join(teachers)}, {self.weighting or EQUAL}"
        if self.average:
            words += f"; mean of {self.average}"
        if self.temperatures:
            words += f"; temperatures {', '.join(map(str, self.temperatures))}"
        return words
