import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, log_softmax, softmax

from tests.messages import exactly
from tfkd.config.training import DistillConfig
from tfkd.distillation.losses import (
    DISTILLATION_LOSSES,
    binary_distillation_loss,
    distillation_loss,
    embedding_loss,
    label_loss,
    squared_error,
    teacher_loss,
)

TEACHER = np.array([[2.0, 1.0, 0.0, -1.0]], np.float32)
STUDENT = np.array([[0.5, 1.5, -0.3, 0.2]], np.float32)

LOGITS = arrays(np.float64, (3, 4), elements=st.floats(-100, 100))
TEMPERATURES = st.floats(1, 10)


def golden(temperature):
    return float(distillation_loss(TEACHER, STUDENT, temperature)[0])


def divergence(teacher, student, temperature):
    """The closed form in float64."""
    teacher, student = teacher / temperature, student / temperature
    difference = log_softmax(teacher, axis=-1) - log_softmax(student, axis=-1)
    return temperature**2 * (softmax(teacher, axis=-1) * difference).sum(axis=-1)


def binary_divergence(teacher, student, temperature):
    p, q = expit(teacher / temperature), expit(student / temperature)
    each = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return temperature**2 * each.mean(axis=-1)


def test_golden_value():
    assert golden(2.0) == pytest.approx(0.517565, abs=1e-6)


def test_logits_far_apart_do_not_underflow():
    loss = distillation_loss(np.float32([[60.0, 0.0]]), np.float32([[0.0, 60.0]]), 1.0)
    # The teacher is sure of class 0, of which the student says log(p) = -60.
    assert float(loss[0]) == pytest.approx(60.0, abs=1e-4)


def test_keras_own_default_is_still_wrong():
    """Keras' default takes the divergence of raw logits, clipped to [1e-7, 1], without softmax.

    Its string "kl_divergence" resolves to a function, while the branch that softens logits looks
    for the class (keras 3.15.1). This is why tfkd has its own losses. When this test fails,
    upstream was fixed: see whether `keras.distillation` can be used again.
    """
    upstream = keras.distillation.LogitsDistillation(temperature=2.0)
    found = float(upstream.compute_loss(tf.constant(TEACHER), tf.constant(STUDENT)))
    assert found == pytest.approx(1.1836, abs=1e-4)
    assert found != pytest.approx(golden(2.0), abs=0.1)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_equal_logits_cost_nothing(temperature):
    for function in (distillation_loss, binary_distillation_loss):
        assert function(TEACHER, TEACHER, temperature).numpy().tolist() == [0.0]


def test_an_added_constant_changes_nothing():
    moved = distillation_loss(TEACHER + 7.0, STUDENT - 30.0, 2.0)
    assert float(moved[0]) == pytest.approx(golden(2.0), abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_gradient_is_the_closed_form(temperature):
    student = tf.Variable(STUDENT)
    with tf.GradientTape() as tape:
        loss = distillation_loss(TEACHER, student, temperature)
    expected = temperature * (softmax(STUDENT / temperature) - softmax(TEACHER / temperature))
    np.testing.assert_allclose(tape.gradient(loss, student), expected, atol=1e-6)


@settings(max_examples=60)
@given(LOGITS, LOGITS, TEMPERATURES)
def test_equals_the_closed_form_and_is_never_negative(teacher, student, temperature):
    found = distillation_loss(teacher, student, temperature).numpy()
    np.testing.assert_allclose(found, divergence(teacher, student, temperature), atol=1e-9)
    assert found.min() >= -1e-9


@settings(max_examples=60)
@given(LOGITS, LOGITS, TEMPERATURES)
def test_binary_divergence_is_never_negative(teacher, student, temperature):
    assert binary_distillation_loss(teacher, student, temperature).numpy().min() >= -1e-9


def test_binary_version_is_the_closed_form():
    generator = np.random.default_rng(0)
    teacher, student = generator.normal(0, 3, (2, 5, 6))
    for temperature in (1.0, 2.0, 3.5):
        found = binary_distillation_loss(teacher, student, temperature)
        np.testing.assert_allclose(
            found, binary_divergence(teacher, student, temperature), rtol=1e-12
        )


def test_binary_version_of_one_label_is_the_version_of_two_classes():
    teacher, student = np.array([[2.0], [-1.0]]), np.array([[0.5], [3.0]])
    two = [np.concatenate([np.zeros_like(x), x], axis=1) for x in (teacher, student)]
    np.testing.assert_allclose(
        binary_distillation_loss(teacher, student, 2.0), distillation_loss(*two, 2.0), rtol=1e-12
    )


def test_binary_version_far_apart_does_not_underflow():
    loss = binary_distillation_loss(np.float32([[60.0]]), np.float32([[-60.0]]), 1.0)
    assert float(loss[0]) == pytest.approx(60.0, abs=1e-4)


@pytest.mark.parametrize(
    ("task", "labels", "logits", "expected"),
    [
        # Probabilities 1/4 and 3/4.
        ("single_label", [1, 0], [[0, np.log(3)]] * 2, [np.log(4 / 3), np.log(4)]),
        ("single_label", [0], [[0, 1000]], [1000]),
        # Probabilities 1/2 and 3/4.
        (
            "multi_label",
            [[1, 0], [0, 1]],
            [[0, np.log(3)]] * 2,
            [(np.log(2) + np.log(4)) / 2, (np.log(2) + np.log(4 / 3)) / 2],
        ),
        ("multi_label", [[1, 0]], [[-1000, 1000]], [1000]),
        ("regression", [3.0, -1.0], [[1.0], [0.5]], [4.0, 2.25]),
    ],
)
def test_label_losses(task, labels, logits, expected):
    found = label_loss(task, np.array(labels), np.array(logits, np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_labels_may_come_as_a_column():
    logits = np.float32([[0, 1, 2], [3, 0, 0], [0, 0, 0]])
    for task, labels in (("single_label", [2, 0, 1]), ("regression", [1.0, 2.0, 3.0])):
        outputs = logits if task == "single_label" else logits[:, :1]
        flat = label_loss(task, np.array(labels), outputs)
        assert flat.shape == (3,)
        column = label_loss(task, np.array(labels)[:, None], outputs)
        np.testing.assert_array_equal(flat, column)


CLASS_INDICES = (
    "Expected labels for 2 outputs as class indices from 0, shape [batch] (of one-hot rows: "
    'rows.argmax(axis=-1); rows of several labels are of task="multi_label"). Received: '
)
MULTI_HOT = "Expected labels for 2 outputs as multi-hot rows, a 0 or 1 for each output. Received: "
SCORES = "Expected labels for 2 outputs as scores, one number for each output. Received: "


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("single_label", [[0, 1], [1, 0]], CLASS_INDICES + "shape [batch, 2]"),
        ("single_label", ["neg", "pos"], CLASS_INDICES + "strings"),
        ("single_label", [[b"neg"], [b"pos"]], CLASS_INDICES + "strings"),
        # They would be stretched over all labels.
        ("multi_label", [0, 1], MULTI_HOT + "shape [batch]"),
        ("multi_label", [[0], [1]], MULTI_HOT + "shape [batch, 1]"),
        ("multi_label", [["a", "b"], ["a", "b"]], MULTI_HOT + "strings"),
        ("regression", [[1.0], [2.0]], SCORES + "shape [batch, 1]"),
    ],
)
def test_labels_of_another_form_are_refused_with_what_to_give(task, labels, message):
    with pytest.raises(ValueError, match=exactly(message)):
        label_loss(task, np.array(labels), np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(("labels", "bad"), [([0, 2], 2), ([-1, 0], -1), ([1.0, 3.0], 3)])
def test_a_class_out_of_range_is_refused_as_by_keras(labels, bad):
    logits = np.zeros((2, 2), np.float32)
    message = rf"Received a label value of {bad} which is outside the valid range of \[0, 2\)"
    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for loss in (own, functools.partial(label_loss, "single_label")):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            loss(np.array(labels), logits)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("single_label", [0.5, 1], "Expected class indices, which are whole numbers. Received"),
        ("single_label", [np.nan, 1], "Expected class indices, which are whole numbers. Received"),
        ("multi_label", [[0, 1], [1, -1]], "Expected multi-hot rows of values from 0 to 1. Rec"),
        ("multi_label", [[0, 2], [1, 0]], "Expected multi-hot rows of values from 0 to 1. Rec"),
        ("multi_label", [[0, np.nan], [1, 0]], "Expected multi-hot rows of values from 0 to 1."),
    ],
)
def test_impossible_values_are_refused_alone_and_in_a_graph(task, labels, message):
    for function in (label_loss, tf.function(label_loss)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(message)):
            function(task, np.array(labels), np.zeros((2, 2), np.float32))


def test_soft_labels_of_several_are_weighted():
    # Cross-entropy of 0.25 and of 1 at the logit ln 3, whose probability is 3/4.
    found = label_loss("multi_label", np.float32([[0.25, 1]]), np.float32([[np.log(3)] * 2]))
    expected = -(0.25 * np.log(3 / 4) + 0.75 * np.log(1 / 4) + np.log(3 / 4)) / 2
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


@pytest.mark.parametrize("width", [1, 3])
def test_a_teacher_of_other_classes_is_refused(width):
    message = (
        f"Expected teacher logits for 2 outputs, as the student has. Received: {width}. Give a "
        "teacher of the same classes."
    )
    for task in ("single_label", "multi_label", "regression", "embedding"):
        for loss in ("kl", "mse"):
            with pytest.raises(ValueError, match=exactly(message)):
                teacher_loss(task, np.zeros((4, width)), np.zeros((4, 2)), 2.0, loss)


def test_squared_error_of_several_outputs_is_their_mean():
    found = squared_error(np.array([[1, 2], [0, 0]]), np.float32([[3, 2], [1, 3]]))
    assert found.numpy().tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("task", "function"),
    [("single_label", distillation_loss), ("multi_label", binary_distillation_loss)],
)
def test_teacher_loss_of_a_task(task, function):
    found = teacher_loss(task, TEACHER, STUDENT, 3.0)
    np.testing.assert_array_equal(found, function(TEACHER, STUDENT, 3.0))


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_squared_error_of_logits_in_every_task(task, temperature):
    found = teacher_loss(task, TEACHER, STUDENT, temperature, "mse")
    # Differences of 1.5, -0.5, 0.3 and -1.2.
    np.testing.assert_allclose(found, [(2.25 + 0.25 + 0.09 + 1.44) / 4], rtol=1e-6)
    moved = teacher_loss(task, TEACHER + 2, STUDENT, temperature, "mse")
    np.testing.assert_allclose(moved, [found[0] + 2 * 2 * (1.5 - 0.5 + 0.3 - 1.2) / 4 + 4], 1e-6)


def test_gradient_of_the_squared_error():
    student = tf.Variable(STUDENT)
    with tf.GradientTape() as tape:
        loss = teacher_loss("single_label", TEACHER, student, 2.0, "mse")
    np.testing.assert_allclose(tape.gradient(loss, student), (STUDENT - TEACHER) / 2, rtol=1e-6)


def test_squared_error_is_twice_the_divergence_of_a_high_temperature():
    """Of logits with mean 0; independent labels have a quarter, p * (1 - p) at one half."""
    teacher, student = (x.astype(np.float64) - x.mean() for x in (TEACHER, STUDENT))
    error = teacher_loss("single_label", teacher, student, 1.0, "mse").numpy()
    soft = teacher_loss("single_label", teacher, student, 1e4).numpy()
    np.testing.assert_allclose(error, 2 * soft, rtol=1e-3)
    soft = teacher_loss("multi_label", teacher, student, 1e4).numpy()
    np.testing.assert_allclose(error, 8 * soft, rtol=1e-3)


def test_setting_offers_the_losses_there_are():
    metadata = DistillConfig.__dataclass_fields__["distillation_loss"].metadata
    assert metadata["choices"] == DISTILLATION_LOSSES


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_scores_are_not_softened(temperature):
    found = teacher_loss("regression", np.float32([[1.0]]), np.float32([[4.0]]), temperature)
    assert found.numpy().tolist() == [9.0]


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_one_value_an_example(task):
    outputs = 1 if task == "regression" else 4
    teacher, student = np.random.default_rng(0).normal(size=(2, 5, outputs)).astype(np.float32)
    labels = np.zeros((5, outputs)) if task == "multi_label" else np.zeros(5)
    for loss in (teacher_loss(task, teacher, student, 2.0), label_loss(task, labels, student)):
        assert loss.shape == (5,)
        assert loss.dtype == "float32"
    row = teacher_loss(task, teacher[3:4], student[3:4], 2.0)
    assert float(row[0]) == pytest.approx(
        float(teacher_loss(task, teacher, student, 2.0)[3]), rel=1e-6
    )


def test_unknown_task():
    message = (
        "^Expected `task` to be single_label, multi_label, regression or embedding. Received: "
        "task='tagging'$"
    )
    with pytest.raises(ValueError, match=message):
        label_loss("tagging", np.zeros(1), np.zeros((1, 2), np.float32))


def test_embedding_loss_is_directions_and_similarities():
    """By hand: the second text points 90 degrees away, so the batch's cosine of 0 becomes 1."""
    teacher = np.float32([[2.0, 0.0], [0.0, 3.0]])
    student = np.float32([[5.0, 0.0], [1.0, 0.0]])
    # 1 - cosine is 0 and 1; of each text's two cosines one is off by 1: 10 * mean([0, 1]).
    np.testing.assert_allclose(embedding_loss(teacher, student), [5.0, 6.0], atol=1e-6)


def test_embedding_loss_does_not_know_lengths():
    random = np.random.default_rng(3)
    vectors = random.normal(size=(6, 5)).astype("f4")
    lengths = random.uniform(0.1, 9, size=(6, 1)).astype("f4")
    np.testing.assert_allclose(embedding_loss(vectors, vectors * lengths), 0, atol=1e-5)


def test_a_vector_of_zeros_has_a_finite_gradient():
    vectors = tf.Variable(np.zeros((2, 3), np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(embedding_loss(np.eye(2, 3, dtype=np.float32), vectors))
    assert np.isfinite(loss.numpy())
    assert np.isfinite(tape.gradient(loss, vectors).numpy()).all()


@pytest.mark.parametrize("loss", DISTILLATION_LOSSES)
def test_vectors_are_taught_by_their_own_loss_alone(loss):
    received = teacher_loss("embedding", TEACHER, STUDENT, 4.0, loss)
    np.testing.assert_allclose(received, embedding_loss(TEACHER, STUDENT), rtol=1e-6)
    np.testing.assert_array_equal(label_loss("embedding", np.array([7]), STUDENT), [0.0])
