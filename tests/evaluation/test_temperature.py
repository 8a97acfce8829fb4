import numpy as np
import pytest
from scipy.optimize import brentq

from tfkd.evaluation.temperature import FittedTemperature, fitted_temperature

# Nine of ten, it says of a hundred rows.
SURE = np.log([[0.9, 0.1]] * 100)


def closed_form(share):
    """The temperature of `SURE` where so many are right, by the derivative of loss and prior."""

    def slope(logarithm):
        odds = np.log(9) * np.exp(-logarithm)
        return odds * (share - 1 / (1 + np.exp(-odds))) + logarithm / 100

    return np.exp(brentq(slope, -3, 2))


@pytest.mark.parametrize(("num_wrong", "before"), [(25, 0.15), (10, 0.0), (2, 0.08)])
def test_a_share_of_right_answers_has_its_temperature(num_wrong, before):
    labels = (np.arange(100) < num_wrong).astype(int)
    found = fitted_temperature("single_label", SURE, labels)
    assert found.value == pytest.approx(closed_form(1 - num_wrong / 100), abs=2e-4)
    assert (found.value > 1) == (num_wrong > 10)
    sure = 1 / (1 + 9 ** (-1 / found.value))
    wrong = num_wrong / 100
    assert found.errors == pytest.approx((before, abs(sure - 1 + wrong)), abs=1e-6)
    losses = [-(1 - wrong) * np.log(p) - wrong * np.log(1 - p) for p in (0.9, sure)]
    assert found.losses == pytest.approx(losses)
    assert found.num_rows == 100


def test_logits_times_a_factor_have_that_times_the_temperature():
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 5))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    found = [fitted_temperature("single_label", factor * logits, labels) for factor in (1, 4)]
    assert found[0].value == pytest.approx(1, abs=0.03)
    assert found[1].value == pytest.approx(4 * found[0].value, rel=1e-3)
    assert found[1].errors[0] > 0.2
    # What chance leaves of 20,000 rows.
    assert found[1].errors[1] < 0.02


def test_several_labels_have_one_temperature():
    logits = np.log(9) * np.array([[1.0, -1.0]] * 100)
    labels = np.stack([np.arange(100) >= 25, np.arange(100) < 25], axis=1)
    found = fitted_temperature("multi_label", logits, labels)
    alone = fitted_temperature("single_label", SURE, (np.arange(100) < 25).astype(int))
    # Twice the evidence against the prior, or the same, by how the labels' losses are averaged.
    assert found.value == pytest.approx(alone.value, rel=0.03)
    assert found.errors[0] == pytest.approx(0.15)


def test_few_rows_that_all_are_right_make_nobody_certain():
    found = fitted_temperature("single_label", SURE[:30], np.zeros(30, int))
    assert 0.25 < found.value < 0.5


def test_it_is_said_in_words():
    said = FittedTemperature(1.32, (0.8141, 0.7452), (0.0746, 0.0308), 1500).sentence(
        "the teacher's answers"
    )
    assert said == (
        "the teacher's answers are calibrated on 1,500 rows of validation: temperature 1.32, "
        "negative log-likelihood 0.8141 before and 0.7452 after, expected calibration error "
        "0.0746 before and 0.0308 after"
    )
