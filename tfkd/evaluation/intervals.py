"""How far the figure of some test rows may be from that of all rows there could be.

Forty rows of which nine tenths are right say of a model that three quarters to all would be: a
figure of so few rows is given with its interval, before anything else.
"""

import numpy as np
from scipy.stats import binomtest, bootstrap

from tfkd.evaluation.metrics import METRICS
from tfkd.evaluation.resampling import ROW_METRICS, figures, resampled_figures
from tfkd.evaluation.verdict import (
    CORRELATIONS,
    FEWEST_JUDGED,
    NUM_METRIC_RESAMPLES,
    interval_words,
)

# What students, teachers and files differ by is less than five points as a rule.
LARGEST_HALF_WIDTH = 0.05
CONFIDENCE = 0.95


def interval(
    metric: str, labels: np.ndarray, answers: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """The 95% interval of a model's figure, over the choice of rows.

    Labels and answers are `[num_rows, num_columns]`, as `resampling.columns` gives them.

    Returns:
        Lower and upper end: Wilson's score interval of an accuracy, else the percentiles of the
        bootstrap.

    Example:
    >>> labels = columns("single_label", np.zeros(40, int), 2)
    >>> interval("accuracy", labels, columns("single_label", np.arange(40) // 36, 2))
    (0.7694..., 0.9604...)

    Reference: [Wilson, 1927](https://doi.org/10.1080/01621459.1927.10502953)
    """
    if metric not in ROW_METRICS:
        drawn = resampled_figures(metric, labels, answers[None], NUM_METRIC_RESAMPLES, seed)
        low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)
    rows = ROW_METRICS[metric](labels, answers[None])[0]
    if rows.dtype == np.bool_:
        found = binomtest(int(rows.sum()), len(rows)).proportion_ci(CONFIDENCE, "wilson")
    else:
        found = bootstrap(
            (rows,), np.mean, method="percentile", batch=100, rng=np.random.default_rng(seed)
        ).confidence_interval
    return float(found.low), float(found.high)


def size_warning(metric: str, labels: np.ndarray, answers: np.ndarray, arm: str) -> str | None:
    """What to say first of a model's figure where the test rows are too few.

    Returns:
        A sentence where the interval reaches more than five points to either side, or there are
        fewer than `verdict.FEWEST_JUDGED` rows; else None.

    Example:
    >>> size_warning("accuracy", labels, answers, "student")
    'The test is too small: of 40 rows the Accuracy of student, 0.9000, is known to +- 9.6 points
    (95% interval 76.95 to 96.04).'
    """
    low, high = interval(metric, labels, answers)
    num_rows, half = len(labels), (high - low) / 2
    if half <= LARGEST_HALF_WIDTH and num_rows >= FEWEST_JUDGED:
        return None
    value = float(figures(metric, labels, answers[None])[0])
    reach = f"{half:.2f}" if metric in CORRELATIONS else f"{100 * half:.1f} points"
    return (
        f"The test is too small: of {num_rows:,} rows the {METRICS[metric].title} of {arm}, "
        f"{value:.4f}, is known to +- {reach} ({interval_words(low, high, CONFIDENCE, metric)})."
    )
