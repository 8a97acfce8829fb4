"""Mixtures of teachers: closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from tfkd.distillation.mixing import Mixing
from tfkd.distillation.mixture import mixture
from tfkd.errors import ConfigError

FIRST = np.array([[2.0, 0.0, -1.0], [0.0, 30.0, 1.0]], np.float32)
SECOND = np.array([[0.0, 1.0, 0.5], [3.0, 0.0, -50.0]], np.float32)
TASKS = ("single_label", "multi_label", "regression")
CLASSES = TASKS[:2]


def test_one_teacher_is_itself():
    assert mixture("single_label", [FIRST], 2.0) is FIRST


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_softened_probabilities_are_the_mean(temperature):
    found = mixture("single_label", [FIRST, SECOND], temperature)
    mean = (softmax(FIRST / temperature, -1) + softmax(SECOND / temperature, -1)) / 2
    np.testing.assert_allclose(softmax(found / temperature, -1), mean, rtol=1e-5)
    found = mixture("multi_label", [FIRST, SECOND], temperature)
    mean = (expit(FIRST / temperature) + expit(SECOND / temperature)) / 2
    np.testing.assert_allclose(expit(found / temperature), mean, rtol=1e-5)
    assert found.dtype == np.float32


def test_equal_teachers_change_nothing():
    for task in ("multi_label", "regression"):
        np.testing.assert_allclose(mixture(task, [FIRST, FIRST], 2.0), FIRST, rtol=1e-5)
    found = mixture("single_label", [FIRST, FIRST], 2.0)
    np.testing.assert_allclose(softmax(found, -1), softmax(FIRST, -1), rtol=1e-5)


def test_scores_are_averaged():
    np.testing.assert_array_equal(mixture("regression", [FIRST, SECOND], 9.0), (FIRST + SECOND) / 2)


@pytest.mark.parametrize("average", [None, "probabilities", "logits"])
@pytest.mark.parametrize("temperatures", [(), (3.0, 3.0), (3.0, 7.0)])
@pytest.mark.parametrize("task", TASKS)
def test_a_teacher_without_weight_leaves_the_other_bit_for_bit(task, temperatures, average):
    if task == "regression" and (temperatures or average):
        average, temperatures = None, ()
    mixing = Mixing(weights=(0.4, 0.0), average=average, temperatures=temperatures)
    assert mixture(task, [FIRST, SECOND], 3.0, mixing).tobytes() == FIRST.tobytes()
    mixing = mixing.replace(weights=(0.0, 1.0), temperatures=temperatures[::-1])
    assert mixture(task, [FIRST, SECOND], 3.0, mixing).tobytes() == SECOND.tobytes()


def test_a_teacher_without_weight_may_be_sure_of_anything():
    wild = np.full_like(FIRST, 1e30) * np.array([1, -1, 1], np.float32)
    mixing = Mixing(weights=(1, 0), temperatures=(2.0, 1.0))
    for task, average in ((task, average) for task in CLASSES for average in (None, "logits")):
        rule = mixing.replace(average=average)
        found = mixture(task, [FIRST, wild], 1.0, rule)
        alone = mixture(task, [FIRST], 1.0, Mixing(temperatures=(2.0,), average=average))
        np.testing.assert_allclose(found, alone, rtol=1e-6)


def test_weights_have_any_sum():
    found = mixture("regression", [FIRST, SECOND], 1.0, Mixing(weights=(6, 2)))
    np.testing.assert_allclose(found, 0.75 * FIRST + 0.25 * SECOND, rtol=1e-6)


@pytest.mark.parametrize(("own", "temperatures"), [((2.0, 2.0), ()), ((1.0, 4.0), (1.0, 4.0))])
def test_each_teacher_has_its_temperature_and_weight(own, temperatures):
    mixing = Mixing(weights=(0.7, 0.3), temperatures=temperatures)
    found = mixture("single_label", [FIRST, SECOND], 2.0, mixing)
    mean = 0.7 * softmax(FIRST / own[0], -1) + 0.3 * softmax(SECOND / own[1], -1)
    np.testing.assert_allclose(softmax(found / 2.0, -1), mean, rtol=1e-5)
    found = mixture("multi_label", [FIRST, SECOND], 2.0, mixing)
    mean = 0.7 * expit(FIRST / own[0]) + 0.3 * expit(SECOND / own[1])
    np.testing.assert_allclose(expit(found / 2.0), mean, rtol=1e-5)
    for task in CLASSES:
        found = mixture(task, [FIRST, SECOND], 2.0, mixing.replace(average="logits"))
        expected = 2.0 * (0.7 * FIRST / own[0] + 0.3 * SECOND / own[1])
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_temperature_of_a_single_teacher():
    found = mixture("single_label", [FIRST], 2.0, Mixing(temperatures=(6.0,)))
    np.testing.assert_allclose(softmax(found / 2.0, -1), softmax(FIRST / 6.0, -1), rtol=1e-5)


def mean_of_logits(task, logits, weighting):
    """The mean at temperature 1, in which the weights are easily seen."""
    return mixture(task, logits, 1.0, Mixing(weighting=weighting, average="logits"))


def test_confidence_is_the_largest_probability():
    sure, unsure = np.log([[0.9, 0.1]]), np.log([[0.4, 0.6]])
    found = mean_of_logits("single_label", [sure, unsure], "confidence")
    np.testing.assert_allclose(found, 0.6 * sure + 0.4 * unsure, rtol=1e-6)
    # Bernoulli confidences 0.9, 0.7 and 0.6, 0.6: means 0.8 and 0.6.
    sure, unsure = np.log([[0.9 / 0.1, 0.3 / 0.7]]), np.log([[0.4 / 0.6, 0.6 / 0.4]])
    found = mean_of_logits("multi_label", [sure, unsure], "confidence")
    np.testing.assert_allclose(found, (0.8 * sure + 0.6 * unsure) / 1.4, rtol=1e-6)


def test_entropy_weighs_by_the_softmax_of_its_negative():
    sure, unsure = np.array([[1000.0, 0.0]]), np.array([[0.0, 0.0]])
    # Entropies 0 and log 2: weights 1 and 1/2 of 3/2.
    found = mean_of_logits("single_label", [sure, unsure], "entropy")
    np.testing.assert_allclose(found, 2 / 3 * sure, rtol=1e-6)
    # Means over the labels: 0 and log 2; then log(2) / 2 and log 2, weights sqrt(2) and 1.
    found = mean_of_logits("multi_label", [sure * [1, -1] + [[0, 1000.0]], unsure], "entropy")
    np.testing.assert_allclose(found[0, 0], 2 / 3 * 1000.0, rtol=1e-6)
    half = np.array([[1000.0, 0.0]])
    found = mean_of_logits("multi_label", [half, unsure], "entropy")
    np.testing.assert_allclose(found, np.sqrt(2) / (1 + np.sqrt(2)) * half, rtol=1e-6)


@pytest.mark.parametrize("weighting", ["confidence", "entropy"])
def test_rows_are_weighed_one_by_one(weighting):
    mixing = Mixing(weighting=weighting)
    both = mixture("single_label", [FIRST, SECOND], 2.0, mixing)
    for row in range(2):
        alone = mixture("single_label", [FIRST[[row]], SECOND[[row]]], 2.0, mixing)
        np.testing.assert_array_equal(both[[row]], alone)
    undecided = np.zeros_like(FIRST)
    equal = mixture("single_label", [undecided, undecided], 2.0, mixing)
    np.testing.assert_allclose(softmax(equal, -1), 1 / 3, rtol=1e-6)


RULES = st.sampled_from(
    [
        Mixing(weighting=name, average=average)
        for name in ("equal", "confidence", "entropy")
        for average in ("probabilities", "logits")
    ]
    + [Mixing(weights=(1, 2, 5)), Mixing(weights=(3, 0, 1), temperatures=(1, 2, 4))]
)


@settings(max_examples=40)
@given(RULES, st.sampled_from(CLASSES), st.permutations(range(3)), st.integers(0, 1000))
def test_order_of_teachers_decides_nothing(mixing, task, order, seed):
    logits = np.random.default_rng(seed).normal(scale=8.0, size=(3, 5, 4)).astype(np.float32)
    moved = mixing.replace(
        **{
            key: tuple(getattr(mixing, key)[place] for place in order)
            for key in ("weights", "temperatures")
            if getattr(mixing, key)
        }
    )
    first = mixture(task, list(logits), 2.0, mixing)
    second = mixture(task, [logits[place] for place in order], 2.0, moved)
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    assert np.isfinite(first).all()


def test_wrong_number_of_weights_is_refused():
    message = r"Expected `weights` of 2 teachers. Received: weights=\[1.0, 2.0, 3.0\]."
    with pytest.raises(ValueError, match=message):
        mixture("single_label", [FIRST, SECOND], 1.0, Mixing(weights=(1, 2, 3)))
    with pytest.raises(ValueError, match="Expected `temperatures` of 1 teachers. Received: "):
        mixture("single_label", [FIRST], 1.0, Mixing(temperatures=(1, 2)))
    with pytest.raises(ValueError, match="Expected weights that were learned. Received a rule"):
        mixture("single_label", [FIRST, SECOND], 1.0, Mixing(weighting="learned"))


def test_scores_have_no_probabilities():
    with pytest.raises(ConfigError, match="Received: weighting='entropy'. Take it out."):
        mixture("regression", [FIRST, SECOND], 1.0, Mixing(weighting="entropy"))


def test_a_teacher_without_an_answer_leaves_its_weight_to_the_others():
    nothing = np.full(3, np.nan, np.float32)
    holes = [np.stack([FIRST[0], nothing, nothing]), np.stack([SECOND[0], SECOND[1], nothing])]
    for task in TASKS:
        mixing = Mixing(weights=(0.75, 0.25))
        found = mixture(task, holes, 2.0, mixing)
        np.testing.assert_array_equal(found[0], mixture(task, [FIRST, SECOND], 2.0, mixing)[0])
        alone = softmax if task == "single_label" else np.negative
        np.testing.assert_allclose(alone(found[1]), alone(SECOND[1]), rtol=1e-5)
        assert np.isnan(found[2]).all()
    found = mixture("single_label", holes, 2.0, Mixing(weighting="entropy"))
    np.testing.assert_allclose(softmax(found[1] / 2), softmax(SECOND[1] / 2), rtol=1e-5)
