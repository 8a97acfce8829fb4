"""What a stranger may give the Distiller: refused in one line, or counted as what it is."""

import re

import keras
import numpy as np
import pytest

from tests.distillation.test_distiller import NUM_CLASSES, compiled, data, linear, targets
from tfkd.distillation.distiller import Distiller


@pytest.mark.parametrize(
    ("names", "received"),
    [
        (["teacher_logits"], "teacher_logits"),
        (["label", "logits"], "label, logits"),
        (["labels", "teacher_logits"], "labels, teacher_logits"),
    ],
)
def test_targets_by_other_names_are_refused(names, received):
    inputs, labels, teacher_logits = data()
    message = (
        "Expected targets `label` and, if there are any, `teacher_logits`, `is_labelled` and "
        f"`is_answered`. Received: {received}"
    )
    values = [labels if name.startswith("label") else teacher_logits for name in names]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        compiled(linear(0)).fit(inputs, dict(zip(names, values, strict=True)), verbose=0)
    with pytest.raises(ValueError, match="^Expected labels as `y`, or with each batch. Received: "):
        compiled(linear(0)).fit(inputs, verbose=0)


def test_logits_and_marks_of_other_types_count_as_they_are():
    inputs, labels, _ = data()
    logits = np.eye(NUM_CLASSES)[labels] * 4
    losses = []
    for kind, mark in ((np.float32, bool), (np.int64, np.int64)):
        y = targets(labels, logits.astype(kind)) | {"is_labelled": (np.arange(6) > 2).astype(mark)}
        found = compiled(linear(0)).fit(inputs, y, shuffle=False, verbose=0)
        losses.append(found.history["loss"])
    assert losses[0] == losses[1]


def test_numbers_that_are_none_are_refused_before_training():
    inputs, labels, teacher_logits = data()
    teacher_logits[4, 1] = np.nan
    message = "^Expected finite numbers as `teacher_logits`. Received: .* in row 4$"
    with pytest.raises(ValueError, match=message):
        compiled(linear(0)).fit(inputs, targets(labels, teacher_logits), verbose=0)
    scores = np.array([0.5, np.inf, 0, 1, 2, 3])
    with pytest.raises(ValueError, match="^Expected finite numbers as `label`. Received: inf in r"):
        compiled(linear(0, outputs=1), task="regression").evaluate(inputs, scores, verbose=0)


def test_strings_for_a_student_that_was_never_called():
    inputs, labels, _ = data()
    student = keras.Sequential([keras.layers.Dense(NUM_CLASSES)])
    with pytest.raises(ValueError, match=r"^Expected labels for .* Received: strings$"):
        compiled(student).fit(inputs, labels.astype(str), verbose=0)


def test_models_that_cannot_be_distilled():
    student = linear(0)
    message = "^Expected another model as `teacher` than the student. Received: the same$"
    with pytest.raises(ValueError, match=message):
        Distiller(student=student, teacher=student)
    assert student.trainable
    with pytest.raises(TypeError, match="^Expected a keras.Model as `student`. Received: 'tiny'$"):
        Distiller(student="tiny")
    message = (
        "^Expected logits from `teacher`. Received: probabilities, from the softmax of its last "
        "layer. Build it without.$"
    )
    for last in (keras.layers.Softmax(), keras.layers.Dense(3, activation="softmax")):
        with pytest.raises(ValueError, match=message):
            Distiller(student=student, teacher=keras.Sequential([keras.Input([3]), last]))


@pytest.mark.parametrize("temperature", [0.99, 0.0, -2.0, float("nan"), float("inf")])
def test_temperature_below_one(temperature):
    message = rf"^Expected `temperature` of at least 1. Received: temperature={temperature}$"
    with pytest.raises(ValueError, match=message):
        Distiller(student=linear(0), temperature=temperature)


@pytest.mark.parametrize("weight", [-0.1, 1.01])
def test_weight_outside_zero_to_one(weight):
    message = (
        r"^Expected `student_loss_weight` in \[0, 1\]. Received: "
        rf"student_loss_weight={weight}$"
    )
    with pytest.raises(ValueError, match=message):
        Distiller(student=linear(0), student_loss_weight=weight)


def test_unknown_distillation_loss():
    message = "^Expected `distillation_loss` to be one of kl, mse, hard. Received: .*='cosine'$"
    with pytest.raises(ValueError, match=message):
        Distiller(student=linear(0), distillation_loss="cosine")


def test_unknown_task():
    inputs, labels, _ = data()
    with pytest.raises(ValueError, match=r"Received: task='tagging'"):
        compiled(linear(0), task="tagging").train_on_batch(inputs, labels)


@pytest.mark.parametrize(("name", "given"), [("temperature", "2"), ("student_loss_weight", None)])
def test_what_is_no_number(name, given):
    message = f"Expected a number as `{name}`. Received: {name}={given!r}"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        Distiller(student=linear(0), **{name: given})


def test_a_loss_of_another_is_refused_and_not_passed_over():
    inputs, labels, _ = data()
    distiller = Distiller(student=linear(0))
    distiller.compile("sgd", "mse")
    message = (
        "Expected no `loss` in `compile`: the Distiller has its own, see `distillation_loss`. "
        "Received: loss='mse'"
    )
    for verb in (distiller.fit, distiller.evaluate):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            verb(inputs, labels, verbose=0)


def test_a_distribution_that_would_train_on_one_device_is_refused():
    """`set_distribution` succeeds on TensorFlow, and nothing is distributed."""
    message = re.escape(
        "Expected no keras.distribution, which on TensorFlow trains on one device alone. Received: "
        "DataParallel. Take tf.distribute, or `tfkd distill --strategy mirrored`."
    )
    inputs, labels, _ = data()
    distiller = compiled(linear(0))
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    try:
        for verb in (distiller.fit, distiller.evaluate):
            with pytest.raises(ValueError, match=f"^{message}$"):
                verb(inputs, labels, verbose=0)
    finally:
        keras.distribution.set_distribution(None)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("alpha", "Did you mean `student_loss_weight`?"),
        ("distillation_loss_weights", "Did you mean `student_loss_weight`?"),
        ("distillation_losses", "Did you mean `distillation_loss`?"),
        ("strategy", "Did you mean `distillation_loss`?"),
        ("temprature", "Did you mean `temperature`?"),
        ("teacher_layer_name", "There is no loss between layers: the teacher's answers are all "),
        (
            "feature_loss",
            "There is no loss between layers: the teacher's answers are all it gives.",
        ),
        ("verbose", "Known: student, teacher, task, temperature, student_loss_weight, "),
    ],
)
def test_an_argument_of_another_distiller_is_named_as_here(given, hint):
    message = f"^Expected arguments of tfkd.Distiller. Received: `{given}`. {hint}"
    with pytest.raises(TypeError, match=message):
        Distiller(student=linear(0), **{given: 0.5})


def test_arguments_of_keras_models_stay():
    distiller = Distiller(student=linear(0), name="small", dtype="float32")
    assert (distiller.name, distiller.dtype_policy.name) == ("small", "float32")
