"""Whether one kind of training beats another, over several seeds on the same test rows.

Two things are left to chance: the seed of a training and the rows of the test split. A difference
counts only if neither explains it: the paired t-test over seeds and the paired test over rows, on
each row's mean score of the seeds, must both reject. One that passes both keeps the level of each
(Berger, 1982). A single seed is judged by its rows alone, and says so.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import nct, t, ttest_rel

from tfkd.evaluation.verdict import (
    BEATS,
    INCONCLUSIVE,
    NO_BEATS,
    Comparison,
    compare,
    compare_scores,
)

PAIRED_T = "paired t-test over seeds"
POWER = 0.8
MOST_SEEDS = 1000
# Metrics are sums of a few numbers: what is less apart than this is equal.
_EQUAL = 1e-12


@dataclasses.dataclass(frozen=True)
class SeedsComparison:
    """The outcome of comparing a with b over seeds.

    Attributes:
        differences: Metric of a minus that of b, one a seed.
        difference: Their mean.
        low: Lower end of the difference's confidence interval: over seeds by Student's t, or over
            rows by the bootstrap when there is one seed.
        high: Upper end.
        p_value: Two-sided p-value of the paired t-test over seeds; None for one seed.
        rows: `Comparison` of the row scores' means over the seeds.
        within: `Comparison` of each seed's rows.
        verdict: BEATS or NO BEATS when seeds and rows both say so, else INCONCLUSIVE.
        seeds_needed: Seeds that would show a difference of this size and spread with power 0.8,
            when INCONCLUSIVE for want of seeds; None otherwise or above `MOST_SEEDS`.
        confidence: Level of interval and verdict.
    """

    differences: tuple[float, ...]
    difference: float
    low: float
    high: float
    p_value: float | None
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
        """The comparison in words.

        Args:
            name_a: String. What to call a.
            name_b: String. What to call b.
            metric: String. Name of the compared metric. Correlations are told as they are, all
                others in points (hundredths).
        """
        correlation = metric in ("pearson", "spearman", "mcc")
        factor, places, unit = (1, 4, f"in {metric}") if correlation else (100, 2, "points")
        mean, low, high = (
            f"{factor * value:+.{places}f}" for value in (self.difference, self.low, self.high)
        )
        count = len(self.differences)
        over = f"{PAIRED_T} p={self.p_value:.3g}, " if self.p_value is not None else ""
        return (
            f"{name_a} against {name_b}: {self.verdict}, {mean} {unit} over {count} "
            f"{'seeds' if count > 1 else 'seed'} ({self.confidence:.0%} interval {low} to {high}, "
            f"{over}{self.rows.test} over {self.rows.num_rows:,} rows p={self.rows.p_value:.3g})."
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
        return f" About {self.seeds_needed} seeds would show it (power {POWER}, paired t-test)."


def compare_seeds(
    metrics_a: Sequence[float], metrics_b: Sequence[float], scores_a: ArrayLike,
    scores_b: ArrayLike, seed: int = 0, confidence: float = 0.95,
) -> SeedsComparison:  # fmt: skip
    """Compares two kinds of training, seed by seed and row by row.

    Args:
        metrics_a: Floats, one a seed: the metric of a, higher being better.
        metrics_b: The same for b and the same seeds in the same order.
        scores_a: Boolean or float array, shape `[num_seeds, num_rows]`: `metrics.row_scores` of a.
        scores_b: The same for b on the same rows.
        seed: Integer. Seed of the resampling over rows.
        confidence: Float in (0, 1). Level of the interval and of the verdict.

    Raises:
        ValueError: Seeds or rows do not pair.

    Example:
    >>> compare_seeds([0.9, 0.91], [0.9, 0.91], scores, scores).verdict
    'INCONCLUSIVE'

    Reference: [Berger, 1982](https://doi.org/10.1080/00401706.1982.10487790)
    """
    rows_a, rows_b = np.asarray(scores_a), np.asarray(scores_b)
    differences = np.subtract(metrics_a, metrics_b, dtype=np.float64)
    if not (rows_a.ndim == 2 and rows_a.shape == rows_b.shape and len(rows_a) == len(differences)):
        raise ValueError(
            f"Expected scores [num_seeds, num_rows] of {len(differences)} seeds. "
            f"Received: shapes {rows_a.shape} and {rows_b.shape}."
        )
    within = tuple(_rows(a, b, seed, confidence) for a, b in zip(rows_a, rows_b, strict=True))
    mean = float(differences.mean())
    if len(differences) == 1:
        only = within[0]
        return SeedsComparison(
            (mean,), mean, only.low, only.high, None, only, within, only.verdict, None, confidence
        )
    rows = compare_scores(rows_a.mean(axis=0), rows_b.mean(axis=0), seed, confidence)
    p_value, low, high = _over_seeds(metrics_a, metrics_b, confidence)
    verdict = INCONCLUSIVE
    if p_value < 1 - confidence and rows.verdict == (BEATS if mean > 0 else NO_BEATS):
        verdict = rows.verdict
    needed = None
    if p_value >= 1 - confidence:
        needed = seeds_needed(mean, float(differences.std(ddof=1)), 1 - confidence)
    return SeedsComparison(
        tuple(differences.tolist()), mean, low, high, p_value, rows, within, verdict, needed,
        confidence,
    )  # fmt: skip


def seeds_needed(difference: float, deviation: float, level: float = 0.05) -> int | None:
    """Fewest seeds at which the paired t-test finds a difference of this size with power 0.8.

    The power is that of scipy's noncentral t distribution, as in statsmodels' `TTestPower`.

    Args:
        difference: Float. Mean of the paired differences.
        deviation: Float. Their standard deviation, positive unless the difference is 0.
        level: Float. Level of the two-sided test.

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


def _rows(first: np.ndarray, second: np.ndarray, seed: int, confidence: float) -> Comparison:
    test = compare if first.dtype == np.bool_ else compare_scores
    return test(first, second, seed, confidence)


def _over_seeds(
    metrics_a: Sequence[float], metrics_b: Sequence[float], confidence: float
) -> tuple[float, float, float]:
    """Two-sided p-value and interval of the mean difference."""
    differences = np.subtract(metrics_a, metrics_b, dtype=np.float64)
    if np.ptp(differences) < _EQUAL:
        # Without any spread Student's t is 0 / 0 or infinite.
        mean = float(differences.mean())
        return (1.0 if math.isclose(mean, 0, abs_tol=_EQUAL) else 0.0), mean, mean
    found = ttest_rel(metrics_a, metrics_b)
    interval = found.confidence_interval(confidence)
    return float(found.pvalue), float(interval.low), float(interval.high)
