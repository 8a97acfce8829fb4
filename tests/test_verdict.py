import json
import time

import numpy as np
import pytest
from scipy.stats import permutation_test

from tfkd.evaluation.verdict import BEATS, INCONCLUSIVE, NO_BEATS, compare, compare_scores


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
        [(9, 1, BEATS), (1, 9, NO_BEATS), (8, 2, INCONCLUSIVE), (0, 0, INCONCLUSIVE)],
    )
    def test_verdict(self, only_a, only_b, verdict):
        assert compare(*answers(only_a, only_b, both=90)).verdict == verdict

    def test_higher_confidence_asks_for_more(self):
        assert compare(*answers(9, 1), confidence=0.99).verdict == INCONCLUSIVE

    def test_swapping_the_models_mirrors_the_outcome(self):
        a, b = answers(60, 20, both=800, neither=120)
        forth, back = compare(a, b), compare(b, a)
        assert back.difference == -forth.difference == -0.04
        assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=1.5e-3)
        assert (forth.verdict, back.verdict) == (BEATS, NO_BEATS)

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
        a, b = answers(9, 1, both=10)
        comparison = compare_scores(a.astype(float), b.astype(float))
        assert comparison.p_value == pytest.approx(0.021484375, abs=0.004)
        assert (comparison.only_a, comparison.only_b, comparison.verdict) == (9, 1, BEATS)
        exact = compare(a, b)
        assert (comparison.low, comparison.high) == (exact.low, exact.high)

    def test_p_value_is_scipys(self):
        random = np.random.default_rng(0)
        a = random.random(12)
        b = a - random.normal(0.05, 0.1, 12)
        exact = permutation_test(
            (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples",
            n_resamples=4096,
        )  # fmt: skip
        assert compare_scores(a, b).p_value == pytest.approx(exact.pvalue, abs=0.015)

    @pytest.mark.parametrize(
        ("gain", "verdict"), [(0.1, BEATS), (-0.1, NO_BEATS), (0.0, INCONCLUSIVE)]
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
        assert comparison.verdict == INCONCLUSIVE

    def test_equal_scores(self):
        comparison = compare_scores([0.5, 1.0, 0.2], [0.5, 1.0, 0.2])
        assert (comparison.p_value, comparison.difference) == (1.0, 0.0)

    def test_no_p_value_is_zero(self):
        comparison = compare_scores(np.ones(500), np.zeros(500))
        assert comparison.p_value == pytest.approx(1 / 10_000)


class TestSentence:
    def test_better(self):
        sentence = compare(*answers(20, 0, both=80)).sentence("distilled", "control")
        assert sentence == (
            "distilled beats control by 20.00 points "
            "(95% interval 13.00 to 28.00, McNemar p=1.91e-06, 100 rows)"
        )

    def test_worse(self):
        sentence = compare(*answers(0, 20, both=7580)).sentence("distilled", "control")
        assert sentence.startswith(
            "distilled does not beat control: it is behind by 0.26 points (95% interval -0.3"
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
        sentence = compare(*answers(0, 0, both=10)).sentence("int8", "float32")
        assert sentence == (
            "int8 against float32 is inconclusive: no difference "
            "(95% interval 0.00 to 0.00, McNemar p=1, 10 rows)"
        )

    def test_other_scores_are_no_points(self):
        comparison = compare_scores(np.full(50, 0.75), np.full(50, 0.5))
        assert comparison.sentence("distilled", "control", "Jaccard") == (
            "distilled beats control by 0.2500 in Jaccard "
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
