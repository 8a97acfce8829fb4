"""Verdicts over seeds: both tests must reject, and how many seeds it takes."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from tfkd.evaluation.resampling import columns, figures
from tfkd.evaluation.seeds import MOST_SEEDS, compare_seeds, seeds_needed
from tfkd.evaluation.verdict import BETTER, INCONCLUSIVE, TOO_FEW, WORSE, compare, compare_answers


def right(accuracies, num_rows=1000):
    """Right-or-wrong rows of several seeds with these accuracies."""
    return np.array([np.arange(num_rows) < round(value * num_rows) for value in accuracies])


def answers(accuracies, num_rows=1000):
    """Answers with these accuracies where the first of two classes is always right."""
    wrong = ~right(accuracies, num_rows)
    return np.stack([columns("single_label", one.astype(int), 2) for one in wrong])


def compared(accuracies_a, accuracies_b, num_rows=1000):
    labels = columns("single_label", np.zeros(num_rows, int), 2)
    a, b = answers(accuracies_a, num_rows), answers(accuracies_b, num_rows)
    return compare_seeds("accuracy", labels, a, b)


def scores(num_seeds, noise, seed):
    """Labels of a regression, and scores of several seeds with so much noise."""
    labels = np.random.default_rng(0).normal(size=400)
    errors = np.random.default_rng(seed).normal(0, noise, (num_seeds, 400))
    return labels[:, None], (labels + errors)[..., None]


def test_steady_lead_on_many_rows_is_better():
    found = compared([0.92, 0.93, 0.925], [0.90, 0.905, 0.90])
    assert found.verdict == BETTER
    assert found.difference == pytest.approx(0.07 / 3)
    other = ttest_1samp([0.02, 0.025, 0.025], 0)
    assert found.p_value == pytest.approx(other.pvalue)
    assert found.low == pytest.approx(other.confidence_interval().low)
    assert found.high == pytest.approx(other.confidence_interval().high)
    assert found.seeds_needed is None
    assert len(found.within) == 3


def test_steady_lag_is_worse():
    found = compared([0.90, 0.905, 0.90], [0.92, 0.93, 0.925])
    assert found.verdict == WORSE
    assert found.differences == pytest.approx((-0.02, -0.025, -0.025))
    assert found.sentence("a", "b") == (
        "a is worse than b by 2.33 points over 3 seeds (95% interval -3.05 to -1.62, paired t-test "
        "over seeds p=0.00506, sign-flip test over 1,000 rows p=0.0001)."
    )


def test_seeds_that_disagree_are_inconclusive_and_say_how_many_it_takes():
    found = compared([0.93, 0.90, 0.94], [0.90, 0.91, 0.90])
    assert found.rows.verdict == BETTER
    assert found.verdict == INCONCLUSIVE
    differences = np.array([0.03, -0.01, 0.04])
    assert found.seeds_needed == seeds_needed(differences.mean(), differences.std(ddof=1))
    assert f"About {found.seeds_needed} seeds would show it" in found.sentence("a", "b")


def test_seeds_that_agree_on_too_few_rows_are_inconclusive():
    found = compared([0.90, 0.95, 0.90], [0.85, 0.90, 0.85], num_rows=40)
    assert found.p_value == 0.0
    assert found.verdict == INCONCLUSIVE
    assert found.sentence("a", "b").endswith("The seeds agree; the test rows are too few.")


def test_seeds_have_no_verdict_on_few_rows():
    found = compared([0.9, 0.9, 0.9], [0.1, 0.1, 0.1], num_rows=20)
    assert (found.rows.verdict, found.verdict, found.seeds_needed) == (TOO_FEW, TOO_FEW, None)
    assert found.sentence("a", "b").startswith(
        "fewer than 30 rows tell nothing of a against b: ahead by 80.00 points over 3 seeds ("
    )
    assert compared([0.9], [0.1], num_rows=20).verdict == TOO_FEW


def test_equal_models_are_inconclusive():
    found = compared([0.9, 0.91], [0.9, 0.91])
    assert (found.p_value, found.difference, found.low, found.high) == (1.0, 0.0, 0.0, 0.0)
    assert found.verdict == INCONCLUSIVE
    assert found.seeds_needed is None
    assert found.sentence("a", "b").startswith("a against b is inconclusive: no difference over 2 ")


def test_one_seed_is_its_rows_test_and_says_so():
    found = compared([0.92], [0.90])
    rows = compare(right([0.92])[0], right([0.90])[0])
    assert (found.rows, found.verdict, found.p_value) == (rows, BETTER, None)
    assert (found.low, found.high) == (rows.low, rows.high)
    assert found.sentence("a", "b") == (
        "a is better than b by 2.00 points over 1 seed (95% interval 1.20 to 2.90, McNemar over "
        "1,000 rows p=1.91e-06). One seed: another may say otherwise."
    )


@pytest.mark.parametrize(("effect", "count"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_are_those_of_the_power_tables(effect, count):
    """As G*Power 3.1 and statsmodels' TTestPower give them for level 0.05 and power 0.8."""
    assert seeds_needed(effect, 1.0) == count
    assert seeds_needed(-3 * effect, 3.0) == count


def test_seeds_needed_has_an_end():
    assert seeds_needed(1.0, 0.001) == 2
    assert seeds_needed(0.01, 1.0) is None
    assert MOST_SEEDS == 1000


def test_teacher_is_one_model_to_which_every_seed_is_compared():
    found = compared([0.92, 0.93, 0.925], [0.95])
    assert (found.verdict, found.test) == (WORSE, "one-sample t-test over seeds")
    assert found.differences == pytest.approx((-0.03, -0.02, -0.025))
    assert (found.mean_a, found.mean_b) == pytest.approx((0.925, 0.95))
    other = ttest_1samp([0.92, 0.93, 0.925], 0.95)
    assert found.p_value == pytest.approx(other.pvalue)
    assert len(found.within) == 3
    assert found.within[0] == compare(right([0.92])[0], right([0.95])[0])
    assert "one-sample t-test over seeds p=" in found.sentence("student", "its teacher")


def test_teacher_counts_as_one_model_not_as_one_a_seed():
    repeated = compared([0.92, 0.93, 0.925], [0.95, 0.95, 0.95])
    alone = compared([0.92, 0.93, 0.925], [0.95])
    assert repeated.test == "paired t-test over seeds"
    assert (repeated.p_value, repeated.rows) == (alone.p_value, alone.rows)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_correlations_are_compared_themselves(metric):
    labels, near = scores(3, 0.5, seed=1)
    _, far = scores(3, 0.8, seed=2)
    found = compare_seeds(metric, labels, near, far)
    values = [figures(metric, labels, side) for side in (near, far)]
    assert found.differences == pytest.approx(tuple(values[0] - values[1]))
    assert found.p_value == pytest.approx(ttest_rel(*values).pvalue)
    assert found.rows.test == "paired bootstrap"
    assert found.rows.difference == pytest.approx(found.difference, abs=1e-12)
    assert found.within[2] == compare_answers(metric, labels, near, far)[1][2]
    assert found.verdict == BETTER
    assert f"in {metric.title()} over 3 seeds" in found.sentence("a", "b", metric)
    assert "paired bootstrap over 400 rows p=0.001)." in found.sentence("a", "b", metric)


def test_seeds_that_do_not_pair_are_refused():
    labels = columns("single_label", np.zeros(1000, int), 2)
    message = (
        r"^Expected answers \[num_seeds, 1000, 2\] of the same seeds, or of one model for b\. "
        r"Received: shapes \(3, 1000, 2\) and \(2, 1000, 2\)\.$"
    )
    with pytest.raises(ValueError, match=message):
        compare_seeds("accuracy", labels, answers([0.9] * 3), answers([0.9] * 2))
    with pytest.raises(ValueError, match=r"Received: shapes \(1, 1000, 2\) and \(1, 500, 2\)"):
        compare_seeds("accuracy", labels, answers([0.9]), answers([0.9], 500))
