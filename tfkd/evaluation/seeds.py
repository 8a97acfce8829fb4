"""Whether one kind of training is better than another, over several seeds on the same test rows.

Two things are left to chance: the seed of a training and the rows of the test split. A difference
counts only if neither explains it: the t-test over seeds and the paired test over rows, of the mean
over the seeds, must both reject. One that passes both keeps the level of each (Berger, 1982). A
single seed is judged by its rows alone, and says so. What has no seeds, a teacher, is one model to
which every seed is compared.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from scipy.stats import nct, t, ttest_1samp

from tfkd.evaluation.resampling import figures
from tfkd.evaluation.verdict import (
    BETTER,
    EQUAL,
    INCONCLUSIVE,
    TOO_FEW,
    WORSE,
    Comparison,
    claim,
    compare_answers,
    interval_words,
)

PAIRED_T = "paired t-test over seeds"
ONE_SAMPLE_T = "one-sample t-test over seeds"
POWER = 0.8
MOST_SEEDS = 1000


@dataclasses.dataclass(frozen=True)
class SeedsComparison:
    """The outcome of comparing a with b over seeds.

    Attributes:
        mean_a: Mean metric of a over its seeds.
        mean_b: That of b.
        differences: Metric of a minus that of b, one a seed.
        difference: Their mean.
        low: Lower end of the difference's confidence interval: over seeds by Student's t, or over
            rows by the bootstrap when there is one seed.
        high: Upper end.
        p_value: Two-sided p-value of the t-test over seeds; None for one seed.
        test: Name of that test: paired, or of one sample where b has no seeds.
        rows: `Comparison` of the means over the seeds, by the test rows.
        within: `Comparison` of each seed, by the test rows.
        verdict: BETTER or WORSE when seeds and rows both say so, else INCONCLUSIVE; TOO_FEW of so
            few rows that they tell nothing.
        seeds_needed: Seeds that would show a difference of this size and spread with power 0.8,
            when INCONCLUSIVE for want of seeds; None otherwise or above `MOST_SEEDS`.
        confidence: Level of interval and verdict.
    """

    mean_a: float
    mean_b: float
    differences: tuple[float, ...]
    difference: float
    low: float
    high: float
    p_value: float | None
    test: str | None
    rows: Comparison
    within: tuple[Comparison, ...]
    verdict: str
    seeds_needed: int | None
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        values = dataclasses.asdict(self)
        return {**values, "differences": list(self.differences), "within": list(values["within"])}

    def sentence(self, name_a: str, name_b: str, metric: str = "accuracy") -> str:
        """The comparison in words."""
        count = len(self.differences)
        over = f"{self.test} p={self.p_value:.3g}, " if self.p_value is not None else ""
        return (
            f"{claim(self.verdict, name_a, name_b, self.difference, metric)} over {count} "
            f"{'seeds' if count > 1 else 'seed'} "
            f"({interval_words(self.low, self.high, self.confidence, metric)}, {over}"
            f"{self.rows.test} over {self.rows.num_rows:,} rows p={self.rows.p_value:.3g})."
            f"{self._what_it_takes()}"
        )

    def _what_it_takes(self) -> str:
        if self.p_value is None:
            return " One seed: another may say otherwise."
        if self.verdict != INCONCLUSIVE:
            return ""
        if self.p_value < 1 - self.confidence:
            return " The seeds agree; the test rows are too few."
        if self.seeds_needed is None:
            return f" Not even {MOST_SEEDS:,} seeds would show so small a difference."
        return f" About {self.seeds_needed} seeds would show it (power {POWER})."


def compare_seeds(
    metric: str,
    labels: np.ndarray,
    answers_a: np.ndarray,
    answers_b: np.ndarray,
    seed: int = 0,
    confidence: float = 0.95,
) -> SeedsComparison:
    """Compares two kinds of training, or a kind of training with one model, seed by seed.

    Args:
        metric: String. The compared metric, higher being better; see `compare_answers`.
        labels: `[num_rows, num_columns]`, as `resampling.columns` gives them.
        answers_a: `[num_seeds, num_rows, num_columns]`, likewise: what a's models answer.
        answers_b: The same for b and the same seeds in the same order; or of one model without a
            seed, `[1, num_rows, num_columns]`.
        seed: Integer. Seed of the resampling over rows.
        confidence: Float in (0, 1). Level of the interval and of the verdict.

    Raises:
        ValueError: Seeds or rows do not pair, or the metric is unknown.

    Example:
    >>> labels = columns("single_label", np.array([1, 0, 1]), 2)
    >>> answers = np.stack([labels, labels])
    >>> compare_seeds("accuracy", labels, answers, answers).verdict
    'TOO FEW ROWS'

    Reference: [Berger, 1982](https://doi.org/10.1080/00401706.1982.10487790)
    """
    _check_answers(labels, answers_a, answers_b)
    rows, within = compare_answers(metric, labels, answers_a, answers_b, seed, confidence)
    values_a, values_b = (figures(metric, labels, side) for side in (answers_a, answers_b))
    differences = values_a - values_b
    mean = float(differences.mean())
    p_value, test, verdict, needed = None, None, rows.verdict, None
    low, high = rows.low, rows.high
    if len(answers_a) > 1:
        p_value, low, high = _over_seeds(differences, confidence)
        test = PAIRED_T if len(answers_b) > 1 else ONE_SAMPLE_T
        if rows.verdict == TOO_FEW:
            pass
        elif p_value >= 1 - confidence:
            needed = seeds_needed(mean, float(differences.std(ddof=1)), 1 - confidence)
            verdict = INCONCLUSIVE
        elif rows.verdict != (BETTER if mean > 0 else WORSE):
            verdict = INCONCLUSIVE
    return SeedsComparison(
        mean_a=float(values_a.mean()),
        mean_b=float(values_b.mean()),
        differences=tuple(differences.tolist()),
        difference=mean,
        low=low,
        high=high,
        p_value=p_value,
        test=test,
        rows=rows,
        within=within,
        verdict=verdict,
        seeds_needed=needed,
        confidence=confidence,
    )


def _check_answers(labels: np.ndarray, answers_a: np.ndarray, answers_b: np.ndarray) -> None:
    """Refuses answers to other rows than the labels', or of seeds that do not pair."""
    shapes = answers_a.shape, answers_b.shape
    pairs = len(answers_b) in (1, len(answers_a))
    if not pairs or any(shape[1:] != labels.shape for shape in shapes):
        raise ValueError(
            f"Expected answers [num_seeds, {', '.join(map(str, labels.shape))}] of the same seeds, "
            f"or of one model for b. Received: shapes {shapes[0]} and {shapes[1]}."
        )


def seeds_needed(difference: float, deviation: float, level: float = 0.05) -> int | None:
    """Fewest seeds at which the paired t-test finds a difference of this size with power 0.8.

    The power is that of scipy's noncentral t distribution, as in statsmodels' `TTestPower`.

    Returns:
        Integer, at least 2, or None when more than `MOST_SEEDS` would be needed.

    Example:
    >>> seeds_needed(0.5, 1.0)
    34
    """
    if difference == 0:
        return None
    counts = np.arange(2, MOST_SEEDS + 1)
    shift = abs(difference) / deviation * np.sqrt(counts)
    edge = t.isf(level / 2, counts - 1)
    power = nct.sf(edge, counts - 1, shift) + nct.cdf(-edge, counts - 1, shift)
    # Far out scipy's noncentral t is NaN; there the power is 1.
    enough = np.flatnonzero((power >= POWER) | np.isnan(power))
    return int(counts[enough[0]]) if len(enough) else None


def _over_seeds(differences: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Two-sided p-value and interval of the mean difference.

    The paired t-test is that of one sample, of the differences; so is the test against a constant.
    """
    if np.ptp(differences) < EQUAL:
        # Without any spread Student's t is 0 / 0 or infinite.
        mean = float(differences.mean())
        return (1.0 if math.isclose(mean, 0, abs_tol=EQUAL) else 0.0), mean, mean
    found = ttest_1samp(differences, 0)
    interval = found.confidence_interval(confidence)
    return float(found.pvalue), float(interval.low), float(interval.high)
