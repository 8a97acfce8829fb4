"""Whether one model is better than another on the same test rows, and how sure that is.

Both answered the same texts, so only the rows where one of them does better carry information.
Right-or-wrong answers are compared by McNemar's exact test, other scores by the sign-flip test, of
which McNemar's is the special case; the interval of the difference is the paired bootstrap's. A
metric that is no mean over rows, such as a correlation or an F1, is compared itself, by the paired
bootstrap. All of it covers the choice of test rows only: another training seed is a question for
several runs.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, bootstrap

from tfkd.evaluation.metrics import METRICS
from tfkd.evaluation.resampling import ROW_METRICS, figures, resampled_figures

BETTER = "BETTER"
WORSE = "WORSE"
INCONCLUSIVE = "INCONCLUSIVE"
TOO_FEW = "TOO FEW ROWS"
# Rows without which there is no verdict. McNemar's exact test needs six that one model alone has
# right for p < 0.05 (2 * 0.5**6 = 0.031), and of models that differ on every fifth row, all in
# favour of one, thirty rows give six.
FEWEST_JUDGED = 30
MCNEMAR = "McNemar"
SIGN_FLIP = "sign-flip test"
PAIRED_BOOTSTRAP = "paired bootstrap"
NUM_RESAMPLES = 9999
NUM_METRIC_RESAMPLES = 1999
CORRELATIONS = ("pearson", "spearman", "mcc")
# Metrics are sums of a few numbers: what is less apart than this is equal.
EQUAL = 1e-12
_BATCH_NUMBERS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The outcome of a paired comparison of models a and b.

    Attributes:
        difference: Metric or mean score of a minus that of b: accuracies in [0, 1] for
            right-or-wrong rows.
        low: Lower end of the difference's confidence interval.
        high: Upper end.
        p_value: Two-sided chance of a difference at least as large if the models were equal.
        num_rows: Test rows, the same for both.
        only_a: Rows on which a did better (right where b is wrong); None for a metric that single
            rows do not have.
        only_b: Rows on which b did better; likewise.
        verdict: BETTER (a is, significantly), WORSE (b is better, significantly), INCONCLUSIVE
            (not significant: neither proved better on these rows) or TOO_FEW (fewer than
            `FEWEST_JUDGED`, whatever they say).
        test: Name of the test that gave the p-value.
        confidence: Level of the interval; significant means `p_value < 1 - confidence`.
    """

    difference: float
    low: float
    high: float
    p_value: float
    num_rows: int
    only_a: int | None
    only_b: int | None
    verdict: str
    test: str
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return dataclasses.asdict(self)

    def sentence(self, name_a: str, name_b: str, metric: str = "accuracy") -> str:
        """The comparison in one sentence.

        Args:
            name_a: String. Name of the first model in the sentence.
            name_b: String. Name of the second.
            metric: String. The compared metric, a key of `metrics.METRICS`. Correlations are told
                as they are, all others in points (hundredths).

        Example:
        >>> print(compare([True] * 90, [True] * 80 + [False] * 10).sentence("small", "large"))
        small is better than large by 11.11 points (95% interval 5.56 to 17.78, McNemar p=0.00195,
        90 rows)
        """
        return (
            f"{claim(self.verdict, name_a, name_b, self.difference, metric)} "
            f"({interval_words(self.low, self.high, self.confidence, metric)}, "
            f"{self.test} p={self.p_value:.3g}, {self.num_rows:,} rows)"
        )


def claim(verdict: str, name_a: str, name_b: str, difference: float, metric: str) -> str:
    """The verdict on a against b, and the difference of their metrics, in words.

    Example:
    >>> claim(WORSE, "student", "teacher", -0.0071, "accuracy")
    'student is worse than teacher by 0.71 points'
    """
    size = f"by {size_words(difference, metric)}"
    if verdict in (BETTER, WORSE):
        return f"{name_a} is {verdict.lower()} than {name_b} {size}"
    side = "ahead" if difference > 0 else "behind"
    found = f"{side} {size}" if abs(difference) > EQUAL else "no difference"
    if verdict == TOO_FEW:
        return f"fewer than {FEWEST_JUDGED} rows tell nothing of {name_a} against {name_b}: {found}"
    return f"{name_a} against {name_b} is inconclusive: {found}"


def size_words(difference: float, metric: str) -> str:
    """The size of a metric's difference with its unit.

    Example:
    >>> size_words(-0.0071, "accuracy")
    '0.71 points'
    """
    unit = f"in {METRICS[metric].title}" if metric in CORRELATIONS else "points"
    return f"{_number(abs(difference), metric)} {unit}"


def interval_words(low: float, high: float, confidence: float, metric: str) -> str:
    """The interval of a metric's difference in words.

    Example:
    >>> interval_words(0.0074, 0.0162, 0.95, "accuracy")
    '95% interval 0.74 to 1.62'
    """
    return f"{confidence:.0%} interval {_number(low, metric)} to {_number(high, metric)}"


def _number(difference: float, metric: str) -> str:
    """A correlation's difference as it is, any other in points (hundredths)."""
    return f"{difference:.4f}" if metric in CORRELATIONS else f"{100 * difference:.2f}"


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
    'TOO FEW ROWS'

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
            better.
        scores_b: Float array of the same shape, for model b on the same rows.
        seed: Integer. Seed of the bootstrap.
        confidence: Float in (0, 1). Level of the interval and of the verdict.

    Returns:
        A `Comparison`. Its p-value is two-sided: how often the mean difference is at least as far
        from zero when the models' scores are swapped at random in each row; at least 0.0001.

    Raises:
        ValueError: The arrays are not finite, of different shapes, or shorter than two rows.

    Example:
    >>> compare_scores([0.5, 1.0, 0.2], [0.4, 0.9, 0.1]).verdict
    'TOO FEW ROWS'
    """
    rows_a, rows_b = _checked(scores_a, scores_b, confidence)
    differences = rows_a.astype(np.float64) - rows_b
    if not np.isfinite(differences).all():
        raise ValueError("Expected finite scores. Received: NaN or infinity.")
    p_value = _sign_flip_p_value(differences, seed)
    return _comparison(differences, p_value, SIGN_FLIP, seed, confidence)


def compare_answers(
    metric: str,
    labels: np.ndarray,
    answers_a: np.ndarray,
    answers_b: np.ndarray,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[Comparison, tuple[Comparison, ...]]:
    """Compares models of a, one a seed, with those of b, by a metric of their answers to all rows.

    Accuracy and Jaccard are means over rows: a pair of models that are right or wrong goes to
    `compare`, all else to `compare_scores`. Other metrics go by the paired bootstrap: rows are
    drawn with replacement, the same for all models, and the differences are taken anew.

    Args:
        metric: String. A key of `resampling.ROW_METRICS` or `resampling.RESAMPLED`.
        labels: `[num_rows, num_columns]`, as `resampling.columns` gives them.
        answers_a: `[num_models, num_rows, num_columns]`, likewise: the models of a.
        answers_b: The same for b; or one model, with which each of a is paired.
        seed: Integer. Seed of the resampling.
        confidence: Float in (0, 1). Level of the interval and of the verdict.

    Returns:
        The `Comparison` of the means over the models, and that of each pair. The bootstrap's
        interval is that of the percentiles of `NUM_METRIC_RESAMPLES` resamples, its p-value twice
        the smaller share of them on either side of zero, so that both tell the same; at least
        0.001.

    Raises:
        ValueError: The metric is unknown, or the arrays do not fit.

    Example:
    >>> labels = columns("single_label", np.array([1, 0, 1]), 2)
    >>> compare_answers("mcc", labels, labels[None], labels[None])[0].verdict
    'TOO FEW ROWS'

    Reference: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 15
    """
    _check_confidence(confidence)
    if metric in ROW_METRICS:
        rows_a, rows_b = (ROW_METRICS[metric](labels, side) for side in (answers_a, answers_b))
        test = compare if rows_a.dtype == np.bool_ else compare_scores
        pairs = zip(rows_a, np.broadcast_to(rows_b, rows_a.shape), strict=True)
        within = tuple(test(a, b, seed, confidence) for a, b in pairs)
        if len(within) == 1:
            return within[0], within
        return compare_scores(rows_a.mean(axis=0), rows_b.mean(axis=0), seed, confidence), within
    answers = np.concatenate([answers_a, answers_b])
    found = figures(metric, labels, answers)
    drawn = resampled_figures(metric, labels, answers, NUM_METRIC_RESAMPLES, seed)
    # The figures as they are, then those of each resample.
    told = np.concatenate([found[:, None], drawn], axis=1)
    differences = told[: len(answers_a)] - told[len(answers_a) :]
    whole, *each = (
        _bootstrapped(one, len(labels), confidence)
        for one in (differences.mean(axis=0), *differences)
    )
    return whole, tuple(each)


def _checked(
    first: ArrayLike, second: ArrayLike, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    rows_a, rows_b = np.asarray(first), np.asarray(second)
    if rows_a.ndim != 1 or rows_a.shape != rows_b.shape or len(rows_a) < 2:
        raise ValueError(
            "Expected two arrays of the same shape [num_rows] with at least 2 rows. "
            f"Received: shapes {rows_a.shape} and {rows_b.shape}."
        )
    _check_confidence(confidence)
    return rows_a, rows_b


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"Expected `confidence` between 0 and 1. Received: {confidence}.")


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
    wins = int((differences > 0).sum()), int((differences < 0).sum())
    return _judged(
        float(differences.mean()),
        (float(interval.low), float(interval.high)),
        p_value,
        len(differences),
        wins,
        test,
        confidence,
    )


def _bootstrapped(told: np.ndarray, num_rows: int, confidence: float) -> Comparison:
    """The comparison of a difference, told first, and its resamples."""
    difference, drawn = float(told[0]), told[1:]
    least = int(min((drawn <= EQUAL).sum(), (drawn >= -EQUAL).sum()))
    p_value = min(1.0, 2 * (least + 1) / (len(drawn) + 1))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return _judged(
        difference,
        (float(low), float(high)),
        p_value,
        num_rows,
        (None, None),
        PAIRED_BOOTSTRAP,
        confidence,
    )


def _judged(
    difference: float,
    interval: tuple[float, float],
    p_value: float,
    num_rows: int,
    wins: tuple[int, int] | tuple[None, None],
    test: str,
    confidence: float,
) -> Comparison:
    # A sum's last digit is no difference.
    difference = round(difference, 12)
    verdict = INCONCLUSIVE if num_rows >= FEWEST_JUDGED else TOO_FEW
    if verdict == INCONCLUSIVE and p_value < 1 - confidence and difference != 0:
        verdict = BETTER if difference > 0 else WORSE
    low, high = interval
    only_a, only_b = wins
    return Comparison(
        difference, low, high, p_value, num_rows, only_a, only_b, verdict, test, confidence
    )
