"""A trial of the ways to a teacher's answers: the same rows, how far from exact, how fast."""

import dataclasses
import time
from pathlib import Path
from typing import Any, Self

import numpy as np

from tfkd.artifacts import sealed_file
from tfkd.data.batching import Chosen, Rows
from tfkd.data.examples import REGRESSION
from tfkd.distillation.teacher_logits import Scorer
from tfkd.evaluation import metrics
from tfkd.models.classifier import TextClassifier

# The Keras model in float32.
EXACT = "float32"
MINIMUM_AGREEMENT = 0.99
# Of a softened probability; of a regression's score, in standard deviations of the exact ones.
LARGEST_DIFFERENCE = 0.1


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far the answers of one way are from the exact ones.

    Attributes:
        agreement: Share of rows (multi-label: of decisions) that are decided alike; None for
            regression.
        largest_difference: Largest difference of a softened probability; of a regression's score,
            in standard deviations of the exact scores.
    """

    agreement: float | None
    largest_difference: float

    @property
    def passed(self) -> bool:
        """Whether the answers may stand for the exact ones."""
        agrees = self.agreement is None or self.agreement >= MINIMUM_AGREEMENT
        return agrees and self.largest_difference <= LARGEST_DIFFERENCE


def distance(
    classifier: TextClassifier, exact: np.ndarray, logits: np.ndarray, temperature: float
) -> Distance:
    """Compares logits with the exact ones.

    Example:

    >>> distance(teacher, exact, exact, 2.0)
    Distance(agreement=1.0, largest_difference=0.0)
    """
    if not np.isfinite(logits).all():
        return Distance(0.0, float("inf"))
    if classifier.task == REGRESSION:
        spread = float(exact.std()) or 1.0
        return Distance(None, float(np.abs(logits - exact).max()) / spread)
    thresholds = classifier.thresholds
    softened = [metrics.probabilities(classifier.task, x / temperature) for x in (exact, logits)]
    return Distance(
        metrics.agreement(classifier.task, logits, exact, thresholds, thresholds),
        float(np.abs(softened[0] - softened[1]).max()),
    )


@dataclasses.dataclass
class Trial:
    """What each way gave on the same rows, and how fast; kept, so that a choice is made once.

    Attributes:
        rows: Integers, shape `[n]`. Spread evenly over the split.
        logits: float32 `[n, num_outputs]` of each way that was tried.
        rows_per_second: Of each way, on all cores.
    """

    rows: np.ndarray
    logits: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    rows_per_second: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote."""
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            names = [name for name in kept.files if name not in ("rows", "rows_per_second")]
            rates = dict(zip(names, kept["rows_per_second"].tolist(), strict=True))
            return cls(kept["rows"], {name: kept[name] for name in names}, rates)

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        rates = np.array(list(self.rows_per_second.values()))
        arrays: dict[str, Any] = {"rows": self.rows, "rows_per_second": rates, **self.logits}
        with sealed_file(path) as part, part.open("wb") as stream:
            np.savez(stream, **arrays)

    def run(self, name: str, scorer: Scorer, tokens: Rows) -> None:
        """Lets one way answer the rows; the first batch, which traces and allocates, is untimed."""
        batches = scorer.score(Chosen(tokens, self.rows))
        answered = [next(batches)]
        start = time.perf_counter()
        answered += batches
        seconds = time.perf_counter() - start
        rows, logits = (np.concatenate(parts) for parts in zip(*answered, strict=True))
        self.logits[name] = logits[np.argsort(rows)]
        self.rows_per_second[name] = (len(rows) - len(answered[0][0])) / seconds

    def fastest(self, classifier: TextClassifier, temperature: float) -> str:
        """The fastest way of those tried that agree."""
        exact = self.logits[EXACT]
        agreeing = [
            name
            for name, logits in self.logits.items()
            if name == EXACT or distance(classifier, exact, logits, temperature).passed
        ]
        return max(agreeing, key=lambda name: self.rows_per_second[name])
