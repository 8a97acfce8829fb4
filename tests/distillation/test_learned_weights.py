"""Learned weights of teachers: closed forms, another algorithm, and properties."""

import numpy as np
import pytest
from scipy.special import log_expit, log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from tfkd.distillation.mixing import Mixing
from tfkd.distillation.mixture import learned, mixture
from tfkd.errors import ConfigError

RULE = Mixing(weighting="learned")
ROWS = 400


def teachers(task, seed=0, skills=(0.3, 0.6, 0.9)):
    """Logits of teachers who know more and more, each erring in its own way, and the labels."""
    rng = np.random.default_rng(seed)
    if task == "single_label":
        labels = rng.integers(0, 4, ROWS)
        target = np.eye(4)[labels]
    else:
        target = rng.integers(0, 2, (ROWS, 3)).astype(float)
        labels = target
    noise = rng.normal(size=(len(skills), *target.shape))
    signal = 2 * (target - target.mean(axis=-1, keepdims=True))
    return [(signal * s + e).astype(np.float32) for s, e in zip(skills, noise, strict=True)], labels


def shares(task, logits, labels):
    """Learned weights of a mean of logits."""
    return learned(task, logits, labels, RULE.replace(average="logits")).weights


def negative_log_likelihood(task, labels, logits):
    if task == "single_label":
        return -log_softmax(logits, axis=-1)[np.arange(ROWS), labels].mean()
    return -log_expit(np.where(labels == 1, logits, -logits)).mean()


def test_weights_of_mixed_probabilities_are_those_of_expectation_maximization():
    logits, labels = teachers("single_label")
    right = np.stack([softmax(one.astype(float), -1)[np.arange(ROWS), labels] for one in logits])
    weights = np.full(3, 1 / 3)
    for _ in range(3000):
        share = weights[:, None] * right
        weights = (share / share.sum(axis=0)).mean(axis=1)
    found = learned("single_label", logits, labels, RULE)
    np.testing.assert_allclose(found.weights, weights, atol=2e-4)
    assert found.weighting is None


@pytest.mark.parametrize("average", ["probabilities", "logits"])
@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_no_other_weights_are_better(task, average):
    """Of logits, whatever the size of their sum."""
    logits, labels = teachers(task)
    sizes = np.linspace(0.2, 4, 100) if average == "logits" else [1.0]

    def least_loss(mixing):
        mixed = mixture(task, logits, 1.0, mixing)
        return min(negative_log_likelihood(task, labels, size * mixed) for size in sizes)

    found = learned(task, logits, labels, RULE.replace(average=average))
    assert sum(found.weights) == pytest.approx(1, abs=2e-4)
    best = least_loss(found)
    for weights in np.random.default_rng(1).dirichlet(np.ones(3), 60):
        assert least_loss(Mixing(weights=tuple(weights), average=average)) >= best - 1e-4


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e6])
def test_weights_of_scores_are_those_of_least_squares(unit):
    labels = np.array([0.0, 1.0, 2.0, 3.0]) * unit
    # One teacher is 1 too high, the other 3 too low: 3/4 and 1/4 make no error at all.
    logits = [(labels + error * unit)[:, None].astype(np.float32) for error in (1.0, -3.0)]
    assert learned("regression", logits, labels, RULE).weights == (0.75, 0.25)


def test_teacher_that_only_harms_gets_nothing():
    logits, labels = teachers("single_label")
    found = learned("single_label", [logits[2], -logits[2]], labels, RULE)
    assert found.weights == (1.0, 0.0)
    heard = mixture("single_label", [logits[2], -logits[2]], 2.0, found)
    assert heard.tobytes() == logits[2].tobytes()


def test_equal_teachers_share_equally():
    logits, labels = teachers("single_label")
    assert learned("single_label", [logits[0]] * 4, labels, RULE).weights == (0.25,) * 4


def test_order_of_teachers_decides_nothing():
    logits, labels = teachers("multi_label")
    forth = learned("multi_label", logits, labels, RULE).weights
    back = learned("multi_label", logits[::-1], labels, RULE).weights
    np.testing.assert_allclose(forth, back[::-1], atol=1.01e-4)


def test_teachers_sure_of_the_wrong_class_are_survived():
    labels = np.zeros(ROWS, int)
    sure = np.tile(np.array([[0.0, 4000.0]], np.float32), (ROWS, 1))
    assert learned("single_label", [sure, sure / 4000], labels, RULE).weights == (0.0, 1.0)


def test_scores_have_no_logits():
    with pytest.raises(ConfigError, match="Received: average='logits'. Take it out."):
        learned("regression", [], np.zeros(0), RULE.replace(average="logits"))


def test_shares_of_logits_are_those_of_logistic_regression_on_them():
    """Of two classes, on the differences of logits, without a constant and a penalty."""
    logits, labels = teachers("single_label")
    logits, labels = [one[:, :2] for one in logits], labels % 2
    logits = [one + np.eye(2)[labels] for one in logits]
    differences = np.stack([one[:, 1] - one[:, 0] for one in logits], axis=1)
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8).fit(differences, labels)
    expected = fit.coef_[0] / fit.coef_[0].sum()
    assert expected.min() > 0.1
    np.testing.assert_allclose(shares("single_label", logits, labels), expected, atol=1e-3)


@pytest.mark.parametrize("factor", [0.05, 300.0])
@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_how_sure_all_are_moves_no_share(task, factor):
    logits, labels = teachers(task)
    found = shares(task, logits, labels)
    assert sum(found) == pytest.approx(1, abs=2e-4)
    assert found[0] < found[1] < found[2]
    scaled = shares(task, [factor * one for one in logits], labels)
    np.testing.assert_allclose(scaled, found, atol=1e-3)


def test_a_surer_model_has_no_more_of_the_say_than_it_knows():
    """Where all are too unsure, weights of sum 1 go to the surest."""
    logits, labels = teachers("single_label", skills=(0.4, 0.4))
    logits = [0.1 * logits[0], 0.02 * logits[1]]
    found = shares("single_label", logits, labels)
    # The second's logits are five times as small.
    assert found[0] == pytest.approx(1 / 6, abs=0.03)


def test_what_only_harms_has_no_share_and_what_tells_nothing_an_equal_one():
    logits, labels = teachers("single_label")
    assert shares("single_label", [logits[2], -logits[2]], labels) == (1.0, 0.0)
    assert shares("single_label", [logits[0]] * 4, labels) == (0.25,) * 4
    assert shares("single_label", [0 * logits[0]] * 2, labels) == (0.5, 0.5)
