"""Mixtures of teachers: closed forms."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from tfkd.distillation.mixture import mixture

FIRST = np.array([[2.0, 0.0, -1.0], [0.0, 30.0, 1.0]], np.float32)
SECOND = np.array([[0.0, 1.0, 0.5], [3.0, 0.0, -50.0]], np.float32)


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
