"""Whether one model beats another on the same test rows, and how sure that is.

Both answered the same texts, so only the rows where one of them does better carry information.
Right-or-wrong answers are compared by McNemar's exact test, other scores by the sign-flip test, of
which McNemar's is the special case; the interval of the difference is the paired bootstrap's. All
of it covers the choice of test rows only: another training seed is a question for several runs.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, bootstrap

BEATS = "BEATS"
NO_BEATS = "NO BEATS"
INCONCLUSIVE = "INCONCLUSIVE"
MCNEMAR = "McNemar"
SIGN_FLIP = "sign-flip test"
NUM_RESAMPLES = 9999
_BATCH_NUMBERS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The outcome of a paired comparison of models a and b.

    Attributes:
        difference: Mean score of a minus that of b: accuracies in [0, 1] for right-or-wrong rows.
        low: Lower end of the difference's confidence interval.
        high: Upper end.
        p_value: Two-sided chance of a difference at least as large if the models were equal.
        num_rows: Test rows, the same for both.
        only_a: Rows on which a did better (right where b is wrong).
        only_b: Rows on which b did better.
        verdict: BEATS (significant, a better), NO BEATS (significant, b better) or INCONCLUSIVE
            (not significant: neither proved better on these rows).
        test: Name of the test that gave the p-value.
        confidence: Level of the interval; significant means `p_value < 1 - confidence`.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_rows: int
    only_a: int
    only_b: int
    verdict: str
    test: str
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return dataclasses.asdict(self)

    def sentence(self, name_a: str, name_b: str, score: str = "accuracy") -> str:
        """The comparison in one sentence.

        Args:
            name_a: String. What to call the first model.
            name_b: String. What to call the second.
            score: String. Name of the compared score. Accuracy is told in points (hundredths).

        Example:
        >>> print(compare([True] * 90, [True] * 80 + [False] * 10).sentence("small", "large"))
        small beats large by 11.11 points (95% interval 5.56 to 17.78, McNemar p=0.00195, 90 rows)
        """
        factor, places, unit = (100, 2, "points") if score == "accuracy" else (1, 4, f"in {score}")
        size = f"{abs(self.difference) * factor:.{places}f} {unit}"
        side = "ahead" if self.difference > 0 else "behind"
        claim = {
            BEATS: f"{name_a} beats {name_b} by {size}",
            NO_BEATS: f"{name_a} does not beat {name_b}: it is behind by {size}",
            INCONCLUSIVE: f"{name_a} against {name_b} is inconclusive: {side} by {size}",
        }[self.verdict]
        if self.difference == 0:
            claim = f"{name_a} against {name_b} is inconclusive: no difference"
        low, high = (f"{end * factor:.{places}f}" for end in (self.low, self.high))
        return (
            f"{claim} ({self.confidence:.0%} interval {low} to {high}, "
            f"{self.test} p={self.p_value:.3g}, {self.num_rows:,} rows)"
        )


def compare(
    correct_a: ArrayLike, correct_b: ArrayLike, seed: int = 0, confidence: float = 0.95
) -> Comparison:
    """Compares two models by the rows they got right.

    Args:
        correct_a: Boolean array, shape `[num_rows]`. Whether model a is right on each test row.
        correct_b: Boolean array of the same shape, for model b on the same rows.
        seed: Integer. Seed of the bootstrap interval.
        confidence: Float in (0, 1). Level of the interval and of the verdict.

    Returns:
        A `Comparison`. Its p-value is exact: the two-sided binomial test that the rows which only
        one model got right fall to either with equal chance.

    Raises:
        ValueError: The arrays are no booleans, of different shapes, or shorter than two rows.

    Example:
    >>> compare([True, True, False], [True, True, False]).verdict
    'INCONCLUSIVE'

    Reference: [McNemar, 1947](https://doi.org/10.1007/BF02295996)
    """
    right_a, right_b = _checked(correct_a, correct_b, confidence)
    if right_a.dtype != np.bool_ or right_b.dtype != np.bool_:
        raise ValueError(
            "Expected `correct_a` and `correct_b` to be booleans. Received: "
            f"{right_a.dtype} and {right_b.dtype}. Use `compare_scores` for other scores."
        )
    only_a, discordant = int((right_a & ~right_b).sum()), int((right_a ^ right_b).sum())
    p_value = float(binomtest(only_a, discordant).pvalue) if discordant else 1.0
    differences = right_a.astype(np.float64) - right_b
    return _comparison(differences, p_value, MCNEMAR, seed, confidence)


def compare_scores(
    scores_a: ArrayLike, scores_b: ArrayLike, seed: int = 0, confidence: float = 0.95
) -> Comparison:
    """Compares two models by a score of each row, such as its Jaccard or negative squared error.

    Args:
        scores_a: Float array, shape `[num_rows]`. Model a's score of each test row, higher being
            better; see `metrics.row_scores`.
        scores_b: Float array of the same shape, for model b on the same rows.
        seed: Integer. Seed of the bootstrap.
        confidence: Float in (0, 1). Level of the interval and of the verdict.

    Returns:
        A `Comparison`. Its p-value is two-sided: how often the mean difference is at least as far
        from zero when the models' scores are swapped at random in each row; at least 0.0001.

    Raises:
        ValueError: The arrays are not finite, of different shapes, or shorter than two rows.

    Example:
    >>> compare_scores([0.5, 1.0, 0.2], [0.4, 0.9, 0.1]).verdict  # three rows prove nothing
    'INCONCLUSIVE'
    """
    rows_a, rows_b = _checked(scores_a, scores_b, confidence)
    differences = rows_a.astype(np.float64) - rows_b
    if not np.isfinite(differences).all():
        raise ValueError("Expected finite scores. Received: NaN or infinity.")
    p_value = _sign_flip_p_value(differences, seed)
    return _comparison(differences, p_value, SIGN_FLIP, seed, confidence)


def _checked(
    first: ArrayLike, second: ArrayLike, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    rows_a, rows_b = np.asarray(first), np.asarray(second)
    if rows_a.ndim != 1 or rows_a.shape != rows_b.shape or len(rows_a) < 2:
        raise ValueError(
            "Expected two arrays of the same shape [num_rows] with at least 2 rows. "
            f"Received: shapes {rows_a.shape} and {rows_b.shape}."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"Expected `confidence` between 0 and 1. Received: {confidence}.")
    return rows_a, rows_b


def _sign_flip_p_value(differences: np.ndarray, seed: int) -> float:
    """Two-sided p-value of a mean of zero; scipy's permutation_test takes 15 s for 7,600 rows."""
    random, num_rows = np.random.default_rng(seed), len(differences)
    batch = max(1, _BATCH_NUMBERS // num_rows)
    # A sum equal but for rounding must count as one at least as far from zero.
    least = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    at_least_as_far = 1  # The data themselves are one of the flips, so that no p-value is zero.
    for start in range(0, NUM_RESAMPLES, batch):
        size = (min(batch, NUM_RESAMPLES - start), num_rows)
        kept = random.integers(0, 2, size=size, dtype=np.int8).astype(np.float64)
        sums = 2 * kept @ differences - differences.sum()
        at_least_as_far += int((np.abs(sums) >= least).sum())
    return at_least_as_far / (NUM_RESAMPLES + 1)


def _comparison(
    differences: np.ndarray, p_value: float, test: str, seed: int, confidence: float
) -> Comparison:
    # Resampling the differences is resampling the pairs; batches keep it to a few megabytes.
    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        batch=max(1, _BATCH_NUMBERS // len(differences)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    # A sum's last digit is no difference.
    difference = round(float(differences.mean()), 12)
    verdict = INCONCLUSIVE
    if p_value < 1 - confidence and difference != 0:
        verdict = BEATS if difference > 0 else NO_BEATS
    return Comparison(
        difference=difference,
        low=float(interval.low),
        high=float(interval.high),
        p_value=p_value,
        num_rows=len(differences),
        only_a=int((differences > 0).sum()),
        only_b=int((differences < 0).sum()),
        verdict=verdict,
        test=test,
        confidence=confidence,
    )
