import json
import time

import numpy as np
import pytest
from scipy.stats import permutation_test

from tfkd.evaluation.resampling import columns
from tfkd.evaluation.verdict import (
    BETTER,
    FEWEST_JUDGED,
    INCONCLUSIVE,
    TOO_FEW,
    WORSE,
    compare,
    compare_answers,
    compare_scores,
)


def answers(only_a, only_b, both=0, neither=0):
    """Right-or-wrong rows of two models with the four counts asked for."""
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return np.array(a), np.array(b)


class TestCompare:
    @pytest.mark.parametrize(
        ("only_a", "only_b", "p_value"),
        [(9, 1, 0.021484375), (1, 9, 0.021484375), (5, 5, 1.0), (5, 0, 0.0625), (6, 0, 0.03125)],
    )
    def test_p_value_in_closed_form(self, only_a, only_b, p_value):
        comparison = compare(*answers(only_a, only_b, both=80, neither=10))
        assert comparison.p_value == pytest.approx(p_value, rel=1e-12)
        assert (comparison.only_a, comparison.only_b) == (only_a, only_b)

    def test_rows_on_which_both_agree_do_not_change_the_p_value(self):
        few, many = compare(*answers(9, 1)), compare(*answers(9, 1, both=2000, neither=500))
        assert few.p_value == many.p_value
        assert (few.difference, many.difference) == (0.8, pytest.approx(8 / 2510))
        assert (few.num_rows, many.num_rows) == (10, 2510)

    @pytest.mark.parametrize(
        ("only_a", "only_b", "verdict"),
        [(9, 1, BETTER), (1, 9, WORSE), (8, 2, INCONCLUSIVE), (0, 0, INCONCLUSIVE)],
    )
    def test_verdict(self, only_a, only_b, verdict):
        assert compare(*answers(only_a, only_b, both=90)).verdict == verdict

    def test_higher_confidence_asks_for_more(self):
        assert compare(*answers(9, 1, both=90), confidence=0.99).verdict == INCONCLUSIVE

    @pytest.mark.parametrize(("num_rows", "verdict"), [(10, TOO_FEW), (29, TOO_FEW), (30, BETTER)])
    def test_few_rows_have_no_verdict_whatever_they_say(self, num_rows, verdict):
        found = compare(*answers(6, 0, both=num_rows - 6))
        assert (found.p_value, found.verdict) == (0.03125, verdict)

    def test_the_fewest_rows_are_those_of_which_a_fifth_can_be_significant(self):
        assert FEWEST_JUDGED == 6 / 0.2
        assert compare(*answers(5, 0, both=25)).verdict == INCONCLUSIVE

    def test_swapping_the_models_mirrors_the_outcome(self):
        a, b = answers(60, 20, both=800, neither=120)
        forth, back = compare(a, b), compare(b, a)
        assert back.difference == -forth.difference == -0.04
        assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=1.5e-3)
        assert (forth.verdict, back.verdict) == (BETTER, WORSE)

    def test_interval_matches_the_normal_approximation(self):
        comparison = compare(*answers(300, 200, both=6500, neither=600))
        error = np.sqrt((500 / 7600 - (100 / 7600) ** 2) / 7600)
        expected = (100 / 7600 - 1.96 * error, 100 / 7600 + 1.96 * error)
        assert (comparison.low, comparison.high) == pytest.approx(expected, abs=2e-4)

    def test_equal_models_differ_by_nothing(self):
        comparison = compare(*answers(0, 0, both=5, neither=5))
        assert (comparison.difference, comparison.low, comparison.high) == (0.0, 0.0, 0.0)
        assert comparison.p_value == 1.0

    def test_same_seed_same_interval(self):
        rows = answers(30, 20, both=100)
        assert compare(*rows, seed=3) == compare(*rows, seed=3)
        assert compare(*rows, seed=3).p_value == compare(*rows, seed=4).p_value

    def test_ag_news_sized_test_set_takes_under_three_seconds(self):
        start = time.process_time()
        compare(*answers(300, 200, both=6500, neither=600))
        assert time.process_time() - start < 3

    def test_plain_json(self):
        comparison = compare(*answers(9, 1))
        assert json.loads(json.dumps(comparison.to_dict())) == comparison.to_dict()
        assert comparison.to_dict()["test"] == "McNemar"


class TestCompareScores:
    def test_on_right_or_wrong_rows_it_is_mcnemar(self):
        a, b = answers(9, 1, both=20)
        comparison = compare_scores(a.astype(float), b.astype(float))
        assert comparison.p_value == pytest.approx(0.021484375, abs=0.004)
        assert (comparison.only_a, comparison.only_b, comparison.verdict) == (9, 1, BETTER)
        exact = compare(a, b)
        assert (comparison.low, comparison.high) == (exact.low, exact.high)

    def test_p_value_is_scipys(self):
        random = np.random.default_rng(0)
        a = random.random(12)
        b = a - random.normal(0.05, 0.1, 12)
        exact = permutation_test(
            (a, b),
            lambda x, y, axis: (x - y).mean(axis),
            permutation_type="samples",
            n_resamples=4096,
        )
        assert compare_scores(a, b).p_value == pytest.approx(exact.pvalue, abs=0.015)

    @pytest.mark.parametrize(
        ("gain", "verdict"), [(0.1, BETTER), (-0.1, WORSE), (0.0, INCONCLUSIVE)]
    )
    def test_verdict(self, gain, verdict):
        random = np.random.default_rng(0)
        a = random.random(400)
        noise = random.normal(0, 0.2, 400)
        comparison = compare_scores(a, a - gain - (noise - noise.mean()))
        assert comparison.difference == pytest.approx(gain, abs=1e-12)
        assert comparison.verdict == verdict
        assert comparison.low < gain < comparison.high

    def test_three_rows_prove_nothing(self):
        comparison = compare_scores([0.5, 1.0, 0.2], [0.4, 0.9, 0.1])
        assert comparison.p_value == pytest.approx(0.25, abs=0.02)
        assert comparison.verdict == TOO_FEW

    def test_equal_scores(self):
        comparison = compare_scores([0.5, 1.0, 0.2], [0.5, 1.0, 0.2])
        assert (comparison.p_value, comparison.difference) == (1.0, 0.0)

    def test_no_p_value_is_zero(self):
        comparison = compare_scores(np.ones(500), np.zeros(500))
        assert comparison.p_value == pytest.approx(1 / 10_000)


def two_classes(true, chosen):
    """Labels and the answers of models as columns."""
    answers = np.stack([columns("single_label", np.asarray(one), 2) for one in chosen])
    return columns("single_label", np.asarray(true), 2), answers


def noisy(true, share, seed):
    """Labels of which a share is turned round."""
    turned = np.random.default_rng(seed).random(len(true)) < share
    return np.where(turned, 1 - true, true)


class TestCompareAnswers:
    TRUE = np.random.default_rng(0).integers(0, 2, 800)

    def models(self, share, seeds):
        return two_classes(self.TRUE, [noisy(self.TRUE, share, seed) for seed in seeds])

    @pytest.mark.parametrize("metric", ["mcc", "f1", "macro_f1"])
    def test_verdict_and_mirror(self, metric):
        labels, good = self.models(0.1, [1, 2])
        _, bad = self.models(0.2, [3, 4])
        forth = compare_answers(metric, labels, good, bad)[0]
        back = compare_answers(metric, labels, bad, good)[0]
        assert (forth.verdict, back.verdict) == (BETTER, WORSE)
        assert back.difference == -forth.difference
        assert forth.low < forth.difference < forth.high
        assert (forth.low > 0, forth.p_value) == (True, 0.001)
        assert (forth.test, forth.num_rows) == ("paired bootstrap", 800)
        assert (forth.only_a, forth.only_b) == (None, None)
        assert json.loads(json.dumps(forth.to_dict())) == forth.to_dict()

    @pytest.mark.parametrize("seed", range(6))
    def test_interval_and_p_value_tell_the_same(self, seed):
        labels, a = self.models(0.15, [seed])
        _, b = self.models(0.18, [seed + 100])
        found = compare_answers("mcc", labels, a, b, seed)[0]
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
        assert (found.verdict != INCONCLUSIVE) == (found.p_value < 0.05)

    def test_equal_models_differ_by_nothing(self):
        labels, a = self.models(0.2, [1, 2])
        found = compare_answers("mcc", labels, a, a[::-1])[0]
        assert (found.difference, found.p_value, found.verdict) == (0.0, 1.0, INCONCLUSIVE)
        assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-12)

    def test_models_of_a_side_are_averaged_on_the_same_rows(self):
        """The mean of two seeds is surer than either; a pair that errs together surer than one."""
        labels, good = self.models(0.15, [1, 2, 3, 4])
        _, bad = self.models(0.15, [5, 6, 7, 8])
        wide = compare_answers("mcc", labels, good[:1], bad[:1])[0]
        narrow = compare_answers("mcc", labels, good, bad)[0]
        assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)

    def test_spread_is_that_of_the_difference_of_proportions(self):
        """Micro F1 of one choice a row is accuracy: the interval is the normal one."""
        labels, a = self.models(0.1, [1])
        _, b = self.models(0.15, [2])
        found = compare_answers("micro_f1", labels, a, b)[0]
        right_a, right_b = ((side[0] == labels).all(-1) for side in (a, b))
        differences = right_a.astype(float) - right_b
        error = 1.96 * differences.std() / np.sqrt(800)
        assert found.difference == pytest.approx(differences.mean())
        assert (found.low, found.high) == pytest.approx(
            (differences.mean() - error, differences.mean() + error), abs=0.003
        )
        exact = compare(right_a, right_b)
        assert found.p_value == pytest.approx(exact.p_value, abs=0.02)

    def test_accuracy_stays_with_the_tests_of_rows(self):
        labels, a = self.models(0.1, [1, 2])
        _, b = self.models(0.15, [3, 4])
        right_a, right_b = ((side == labels).all(-1) for side in (a, b))
        whole, within = compare_answers("accuracy", labels, a, b)
        assert whole == compare_scores(right_a.mean(0), right_b.mean(0))
        assert within == (compare(right_a[0], right_b[0]), compare(right_a[1], right_b[1]))
        assert compare_answers("accuracy", labels, a[:1], b[:1]) == (within[0], within[:1])

    def test_jaccard_is_a_mean_over_rows(self):
        labels = np.random.default_rng(0).random((50, 3)) < 0.5
        a, b = np.zeros((2, 1, 50, 3), bool)
        a[0, :, 0] = labels[:, 0]
        shared, empty = labels[:, 0] / labels.sum(1).clip(1), ~labels.any(1)
        found, _ = compare_answers("jaccard", labels, a, b)
        assert found == compare_scores(np.where(empty, 1.0, shared), empty.astype(float))

    def test_one_model_is_paired_with_each(self):
        labels, a = self.models(0.1, [1, 2, 3])
        _, b = self.models(0.15, [4])
        whole, within = compare_answers("mcc", labels, a, b)
        repeated = compare_answers("mcc", labels, a, np.repeat(b, 3, axis=0))
        assert (whole, within) == repeated
        assert whole.difference == pytest.approx(np.mean([one.difference for one in within]))

    def test_five_thousand_rows_of_28_labels_and_three_seeds_take_seconds(self):
        random = np.random.default_rng(0)
        labels = random.random((5000, 28)) < 0.05
        a, b = (labels ^ (random.random((3, 5000, 28)) < 0.02) for _ in range(2))
        start = time.process_time()
        assert compare_answers("macro_f1", labels, a, b)[0].verdict == INCONCLUSIVE
        assert time.process_time() - start < 10

    def test_what_is_no_fraction_or_no_metric(self):
        labels, a = self.models(0.1, [1])
        with pytest.raises(
            ValueError, match=r"^Expected `confidence` between 0 and 1\. Received: 9"
        ):
            compare_answers("mcc", labels, a, a, confidence=95)
        with pytest.raises(ValueError, match=r"^Expected `metric` to be one of accuracy, jaccard"):
            compare_answers("ece", labels, a, a)


class TestSentence:
    def test_better(self):
        sentence = compare(*answers(20, 0, both=80)).sentence("distilled", "control")
        assert sentence == (
            "distilled is better than control by 20.00 points "
            "(95% interval 13.00 to 28.00, McNemar p=1.91e-06, 100 rows)"
        )

    def test_worse(self):
        sentence = compare(*answers(0, 20, both=7580)).sentence("distilled", "control")
        assert sentence.startswith(
            "distilled is worse than control by 0.26 points (95% interval -0.3"
        )
        assert sentence.endswith(", McNemar p=1.91e-06, 7,600 rows)")

    @pytest.mark.parametrize(
        ("counts", "claim"), [((6, 4), "ahead by 2.00"), ((4, 6), "behind by 2.00")]
    )
    def test_inconclusive(self, counts, claim):
        sentence = compare(*answers(*counts, both=90)).sentence("distilled", "control")
        assert sentence.startswith(
            f"distilled against control is inconclusive: {claim} points (95% interval -"
        )

    def test_no_difference(self):
        sentence = compare(*answers(0, 0, both=40)).sentence("int8", "float32")
        assert sentence == (
            "int8 against float32 is inconclusive: no difference "
            "(95% interval 0.00 to 0.00, McNemar p=1, 40 rows)"
        )

    def test_too_few_rows(self):
        sentence = compare(*answers(8, 0, both=2)).sentence("student", "control")
        assert sentence == (
            "fewer than 30 rows tell nothing of student against control: ahead by 80.00 points "
            "(95% interval 50.00 to 100.00, McNemar p=0.00781, 10 rows)"
        )

    def test_correlations_are_no_points(self):
        comparison = compare_scores(np.full(50, 0.75), np.full(50, 0.5))
        assert comparison.sentence("distilled", "control", "spearman") == (
            "distilled is better than control by 0.2500 in Spearman "
            "(95% interval 0.2500 to 0.2500, sign-flip test p=0.0001, 50 rows)"
        )


class TestRefusals:
    def test_other_numbers_of_rows(self):
        message = (
            r"^Expected two arrays of the same shape \[num_rows\] with at least 2 rows\. "
            r"Received: shapes \(3,\) and \(2,\)\.$"
        )
        with pytest.raises(ValueError, match=message):
            compare([True, True, False], [True, True])

    def test_one_row(self):
        with pytest.raises(ValueError, match=r"Received: shapes \(1,\) and \(1,\)\.$"):
            compare_scores([0.5], [0.4])

    def test_scores_are_not_right_or_wrong(self):
        message = (
            r"^Expected `correct_a` and `correct_b` to be booleans\. Received: float64 and bool\. "
            r"Use `compare_scores` for other scores\.$"
        )
        with pytest.raises(ValueError, match=message):
            compare([0.5, 1.0], [True, False])

    def test_scores_that_are_not_finite(self):
        message = r"^Expected finite scores\. Received: NaN or infinity\.$"
        with pytest.raises(ValueError, match=message):
            compare_scores([0.5, np.nan], [0.5, 0.1])

    @pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
    def test_confidence_is_a_fraction(self, confidence):
        message = rf"^Expected `confidence` between 0 and 1\. Received: {confidence}\.$"
        with pytest.raises(ValueError, match=message):
            compare([True, False], [True, True], confidence=confidence)
