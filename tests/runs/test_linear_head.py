import dataclasses

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.distillation.test_training import NAMES, accuracy, toy_model, toy_tokens
from tests.toys import QUIET
from tfkd.models.classifier import TextClassifier
from tfkd.runs import linear_head
from tfkd.runs.linear_head import start_head


def classifier(num_outputs=2, task="single_label"):
    """The toy of the trainings, whose encoder is what chance made it."""
    body = toy_model(dropout=0.0)
    logits = keras.layers.Dense(num_outputs, name="logits")(body.get_layer("logits").input)
    names = tuple(str(number) for number in range(num_outputs))
    return TextClassifier(keras.Model(body.input, logits), None, task, names, 1)


def vectors_of(found, rows):
    arrays = rows.arrays(np.arange(len(rows)))
    reader = keras.Model(found.model.input, found.model.get_layer("logits").input)
    return np.asarray(reader({name: arrays[name] for name in NAMES}, training=False), np.float64)


def with_labels(rows, labels):
    """The same texts with other labels."""
    return dataclasses.replace(rows, labels=labels)


def test_logits_are_those_of_the_logistic_regression(monkeypatch):
    monkeypatch.setattr(linear_head, "STRENGTHS", (0.1,))
    rows, held_out, found = toy_tokens(300), toy_tokens(80, seed=1), classifier()
    scaler = StandardScaler().fit(vectors_of(found, rows))
    expected = LogisticRegression(C=0.1, max_iter=300).fit(
        scaler.transform(vectors_of(found, rows)), rows.labels
    )
    start_head(found, rows, held_out, QUIET)
    logits = found.logits(held_out)
    decided = expected.decision_function(scaler.transform(vectors_of(found, held_out)))
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], decided, atol=1e-4)


def test_a_column_that_hardly_varies_has_no_say():
    """A spread of rounding errors would give it a weight beyond all floats."""
    rows, found = toy_tokens(300), classifier()
    dense = next(layer for layer in found.model.layers if layer.name.startswith("dense"))
    kernel, bias = dense.get_weights()
    kernel[:, 3] = 1e-20
    dense.set_weights([kernel, bias])
    start_head(found, rows, toy_tokens(80, seed=1), QUIET)
    weights = found.model.get_layer("logits").get_weights()[0]
    assert np.abs(weights[3]).max() < 1e-6 < np.abs(weights[2]).max()
    assert accuracy(found.model, rows) > 0.7


def test_the_penalty_is_the_best_on_the_held_out_rows(monkeypatch):
    rows, held_out = toy_tokens(60), toy_tokens(400, seed=1)
    losses = {}
    for strengths in [(strength,) for strength in linear_head.STRENGTHS] + [linear_head.STRENGTHS]:
        monkeypatch.setattr(linear_head, "STRENGTHS", strengths)
        found = classifier()
        start_head(found, rows, held_out, QUIET)
        losses[strengths] = linear_head._loss(
            "single_label", found.logits(held_out), held_out.labels
        )
    best = losses.pop(linear_head.STRENGTHS)
    assert best == pytest.approx(min(losses.values()), rel=1e-5)
    assert len({round(value, 4) for value in losses.values()}) > 1


def test_classes_that_count_alike_are_scikit_learns_balanced_ones(monkeypatch):
    monkeypatch.setattr(linear_head, "STRENGTHS", (0.1,))
    rows, found = toy_tokens(300), classifier()
    labels = np.where(np.arange(300) % 8 == 0, 1, 0).astype(np.int32)
    rows = with_labels(rows, labels)
    counts = np.bincount(labels)
    start_head(found, rows, rows, QUIET, (300 / (2 * counts))[labels], is_balanced=True)
    scaled = StandardScaler().fit_transform(vectors_of(found, rows))
    expected = LogisticRegression(C=0.1, max_iter=300, class_weight="balanced").fit(scaled, labels)
    logits = found.logits(rows)
    decided = expected.decision_function(scaled)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], decided, atol=1e-3)


def test_of_many_rows_some_are_read(monkeypatch):
    monkeypatch.setattr(linear_head, "MOST_ROWS", 5)
    assert linear_head._some(toy_tokens(9)).chosen.tolist() == [0, 2, 4, 6, 8]
    assert linear_head._some(toy_tokens(3)).chosen.tolist() == [0, 1, 2]


def test_many_classes_and_one_without_rows():
    rows, held_out = toy_tokens(300), toy_tokens(90, seed=1)
    labels = rows.labels * 2
    found = classifier(num_outputs=4)
    start_head(found, with_labels(rows, labels), with_labels(held_out, held_out.labels * 2), QUIET)
    answers = found.logits(held_out).argmax(axis=1)
    assert set(answers) == {0, 2}
    assert np.mean(answers == held_out.labels * 2) > 0.7


def test_a_single_class_is_the_answer_to_all():
    rows = toy_tokens(50)
    labels = np.full(50, 1, np.int32)
    found = classifier(num_outputs=3)
    start_head(found, with_labels(rows, labels), with_labels(rows, labels), QUIET)
    assert set(found.logits(rows).argmax(axis=1)) == {1}


def test_each_label_of_several_has_its_own_regression(monkeypatch):
    monkeypatch.setattr(linear_head, "STRENGTHS", (0.1,))
    rows, found = toy_tokens(300), classifier(num_outputs=3, task="multi_label")
    never = np.zeros(300, np.int32)
    labels = np.stack([rows.labels, 1 - rows.labels, never], axis=1)
    start_head(found, with_labels(rows, labels), with_labels(rows, labels), QUIET)
    logits = found.logits(rows)
    np.testing.assert_allclose(logits[:, 0], -logits[:, 1], atol=1e-3)
    assert np.mean((logits[:, 0] > 0) == rows.labels) > 0.7
    assert (logits[:, 2] < 0).all()


def test_scores_are_those_of_a_ridge_regression():
    rows, found = toy_tokens(300), classifier(num_outputs=1, task="regression")
    weights = np.random.default_rng(0).normal(size=8)
    scores = (vectors_of(found, rows) @ weights + 2.0).astype(np.float32)
    start_head(found, with_labels(rows, scores), with_labels(rows, scores), QUIET)
    np.testing.assert_allclose(found.logits(rows)[:, 0], scores, atol=0.1)
    assert np.corrcoef(found.logits(rows)[:, 0], scores)[0, 1] > 0.999
