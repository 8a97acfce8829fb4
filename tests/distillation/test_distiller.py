import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

import tfkd
from tfkd.config.training import DistillConfig
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.losses import label_loss, teacher_loss

NUM_CLASSES = 4
PARTS = ["loss", "student_loss", "distillation_loss"]


def linear(seed, outputs=NUM_CLASSES, inputs=3, **settings):
    """Logits = inputs @ kernel."""
    initializer = keras.initializers.RandomNormal(seed=seed)
    dense = keras.layers.Dense(
        outputs, use_bias=False, kernel_initializer=initializer, name="logits", **settings
    )
    return keras.Sequential([keras.Input([inputs]), dense])


def text_model(seed, outputs=NUM_CLASSES, width=8, dropout=0.0):
    """A bag of words with the inputs of a text classifier."""
    keras.utils.set_random_seed(seed)
    inputs = {
        name: keras.Input([None], dtype="int32", name=name)
        for name in ("token_ids", "padding_mask")
    }
    embedded = keras.layers.Embedding(20, width)(inputs["token_ids"])
    embedded = keras.layers.Dropout(dropout)(embedded)
    mask = keras.ops.cast(inputs["padding_mask"], "bool")
    pooled = keras.layers.GlobalAveragePooling1D()(embedded, mask=mask)
    return keras.Model(inputs, keras.layers.Dense(outputs, name="logits")(pooled))


def texts(rows=24, length=5):
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, length + 1, (rows, 1))
    return {
        "token_ids": generator.integers(1, 20, (rows, length)).astype(np.int32),
        "padding_mask": (np.arange(length) < lengths).astype(np.int32),
    }


def data(rows=6, inputs=3):
    generator = np.random.default_rng(1)
    return (
        generator.normal(size=(rows, inputs)).astype(np.float32),
        generator.integers(0, NUM_CLASSES, rows),
        generator.normal(0, 2, (rows, NUM_CLASSES)).astype(np.float32),
    )


def compiled(student, teacher=None, learning_rate=0.1, metrics=None, **settings):
    distiller = Distiller(student=student, teacher=teacher, **settings)
    distiller.compile(optimizer=keras.optimizers.SGD(learning_rate), metrics=metrics)
    return distiller


def targets(labels, teacher_logits):
    return {"label": labels, "teacher_logits": teacher_logits}


def weights(model):
    return [np.array(variable.value) for variable in model.variables]


def closed_form(kernel, inputs, labels, teacher, temperature, weight):
    """Loss parts and the gradient of the kernel in float64."""
    inputs, kernel = inputs.astype(np.float64), kernel.astype(np.float64)
    logits, rows = inputs @ kernel, np.arange(len(inputs))
    student_loss = -log_softmax(logits, axis=1)[rows, labels].mean()
    soft_teacher, soft_student = teacher / temperature, logits / temperature
    difference = log_softmax(soft_teacher, axis=1) - log_softmax(soft_student, axis=1)
    divergence = (softmax(soft_teacher, axis=1) * difference).sum(axis=1)
    distillation_loss = temperature**2 * divergence.mean()
    of_labels = softmax(logits, axis=1) - np.eye(NUM_CLASSES)[labels]
    of_teacher = temperature * (softmax(soft_student, axis=1) - softmax(soft_teacher, axis=1))
    slope = (weight * of_labels + (1 - weight) * of_teacher) / len(inputs)
    loss = weight * student_loss + (1 - weight) * distillation_loss
    return [loss, student_loss, distillation_loss], inputs.T @ slope


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_one_step_is_the_closed_form(weight):
    inputs, labels, teacher = data()
    student = linear(0)
    kernel = weights(student)[0]
    distiller = compiled(student, temperature=3.0, student_loss_weight=weight, learning_rate=0.5)
    found = distiller.train_on_batch(inputs, targets(labels, teacher), return_dict=True)
    parts, gradient = closed_form(kernel, inputs, labels, teacher, 3.0, weight)
    assert [float(found[name]) for name in PARTS] == pytest.approx(parts, rel=1e-5)
    assert float(found["gradient_norm"]) == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
    np.testing.assert_allclose(weights(student)[0], kernel - 0.5 * gradient, atol=1e-6)
    if weight == 1.0:
        assert found["loss"] == found["student_loss"]
    if weight == 0.0:
        assert found["loss"] == found["distillation_loss"]


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_one_step_of_squared_error_is_the_closed_form(weight):
    inputs, labels, teacher = data()
    student = linear(0)
    kernel = weights(student)[0]
    distiller = compiled(
        student, temperature=3.0, student_loss_weight=weight, distillation_loss="mse"
    )
    found = distiller.train_on_batch(inputs, targets(labels, teacher), return_dict=True)
    logits = inputs @ kernel
    error = np.mean((logits - teacher) ** 2)
    parts, of_labels = closed_form(kernel, inputs, labels, teacher, 3.0, 1.0)
    expected = [weight * parts[1] + (1 - weight) * error, parts[1], error]
    assert [float(found[name]) for name in PARTS] == pytest.approx(expected, rel=1e-5)
    of_teacher = inputs.T @ (logits - teacher) * 2 / teacher.size
    gradient = weight * of_labels + (1 - weight) * of_teacher
    np.testing.assert_allclose(weights(student)[0], kernel - 0.1 * gradient, atol=1e-6)


def test_squared_error_ends_at_the_least_squares():
    """Constants that softmax does not see are learned too."""
    inputs, labels, teacher = data(40)
    teacher += 5 * inputs[:, :1]
    distiller = Distiller(student=linear(0), student_loss_weight=0.0, distillation_loss="mse")
    distiller.compile(optimizer=keras.optimizers.SGD(1.0, momentum=0.5))
    y = targets(labels, teacher)
    repeated = np.tile(inputs, (60, 1)), {k: np.concatenate([v] * 60) for k, v in y.items()}
    distiller.fit(*repeated, batch_size=40, shuffle=False, verbose=0)
    expected, residuals, *_ = np.linalg.lstsq(inputs, teacher, rcond=None)
    np.testing.assert_allclose(weights(distiller.student)[0], expected, atol=1e-4)
    loss = distiller.evaluate(inputs, y, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(residuals.sum() / teacher.size, rel=1e-5)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_squared_error_of_other_tasks(task):
    inputs, _, teacher = data()
    labels = (teacher > 0).astype(np.float32) if task == "multi_label" else teacher[:, 0]
    teacher = teacher if task == "multi_label" else teacher[:, :1] + 1
    found = {}
    for loss in ("kl", "mse"):
        distiller = compiled(linear(0, teacher.shape[1]), task=task, distillation_loss=loss)
        y = targets(labels, teacher)
        found[loss] = distiller.evaluate(inputs, y, verbose=0, return_dict=True)
    error = np.mean((inputs @ weights(distiller.student)[0] - teacher) ** 2)
    assert found["mse"]["distillation_loss"] == pytest.approx(error, rel=1e-5)
    assert (found["kl"] == found["mse"]) == (task == "regression")


def test_gradient_norm_sums_the_slices_of_a_token_that_occurs_twice():
    """The norm of the slices as they come would be sqrt(3 * 0.25), and clipping would use it."""
    student = keras.Sequential(
        [keras.layers.Embedding(3, 1, embeddings_initializer="zeros"), keras.layers.Flatten()]
    )
    student.build((None, 3))
    distiller = Distiller(student=student, task="multi_label")
    optimizer = keras.optimizers.SGD(1.0, global_clipnorm=0.5)
    distiller.compile(optimizer=optimizer, jit_compile=False)
    rows, labels = np.array([[1, 1, 2]], "int32"), np.ones((1, 3), "float32")
    found = distiller.train_on_batch(rows, labels, return_dict=True)
    # Each logit's slope is (sigmoid(0) - 1) / 3 labels.
    slope = np.array([0, -2, -1]) / 6
    norm = np.linalg.norm(slope)
    assert float(found["gradient_norm"]) == pytest.approx(norm, rel=1e-5)
    moved = -slope * min(1, 0.5 / norm)
    np.testing.assert_allclose(weights(student)[0][:, 0], moved, atol=1e-6)


def test_labels_alone_are_weight_one():
    inputs, labels, _ = data()
    student = linear(0)
    kernel = weights(student)[0]
    history = compiled(student).fit(inputs, labels, verbose=0, shuffle=False).history
    assert sorted(history) == ["gradient_norm", "loss", "student_loss"]
    assert history["loss"] == history["student_loss"]
    _, gradient = closed_form(kernel, inputs, labels, np.zeros((6, 4)), 1.0, 1.0)
    np.testing.assert_allclose(weights(student)[0], kernel - 0.1 * gradient, atol=1e-6)


def test_a_row_without_a_label_counts_for_the_teacher_alone():
    inputs, labels, teacher = data()
    student = linear(0)
    logits = inputs @ weights(student)[0]
    is_labelled = np.array([True, False, True, True, False, False])
    distiller = compiled(student, temperature=2.0, student_loss_weight=0.4)
    found = distiller.test_on_batch(
        inputs, {**targets(labels, teacher), "is_labelled": is_labelled}, return_dict=True
    )
    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(6), labels]
    _, _, divergence = closed_form(weights(student)[0], inputs, labels, teacher, 2.0, 0.4)[0]
    assert float(found["student_loss"]) == pytest.approx(losses[is_labelled].sum() / 6, rel=1e-5)
    assert float(found["distillation_loss"]) == pytest.approx(divergence, rel=1e-5)
    expected = 0.4 * losses[is_labelled].sum() / 6 + 0.6 * divergence
    assert float(found["loss"]) == pytest.approx(expected, rel=1e-5)


def test_what_stands_where_no_label_is_may_be_anything():
    inputs, labels, teacher = data()
    is_labelled = np.array([True, False, True, True, False, False])
    found = [
        compiled(linear(0)).test_on_batch(
            inputs, {**targets(given, teacher), "is_labelled": is_labelled}, return_dict=True
        )
        for given in (labels, np.where(is_labelled, labels, -1))
    ]
    assert found[0] == found[1]


def test_the_label_of_a_row_without_an_answer_counts_for_both():
    inputs, labels, teacher = data()
    student = linear(0)
    logits = inputs @ weights(student)[0]
    is_answered = np.array([True, False, True, True, False, True])
    label_losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(6), labels]
    softened = log_softmax(teacher.astype(np.float64) / 2, axis=1)
    difference = softened - log_softmax(logits.astype(np.float64) / 2, axis=1)
    divergences = 4 * (np.exp(softened) * difference).sum(axis=1)
    unheard = np.where(is_answered[:, None], teacher, np.nan).astype(np.float32)
    for weight in (0.4, 1.0):
        distiller = compiled(student, temperature=2.0, student_loss_weight=weight)
        found = distiller.test_on_batch(
            inputs, {**targets(labels, unheard), "is_answered": is_answered}, return_dict=True
        )
        assert float(found["student_loss"]) == pytest.approx(label_losses.mean(), rel=1e-5)
        expected = divergences[is_answered].sum() / 6
        assert float(found["distillation_loss"]) == pytest.approx(expected, rel=1e-5)
        rows = weight * label_losses + (1 - weight) * divergences
        expected = np.where(is_answered, rows, label_losses).mean()
        assert float(found["loss"]) == pytest.approx(expected, rel=1e-5)
    # What stands there gives no gradient either.
    distiller.fit(inputs, {**targets(labels, unheard), "is_answered": is_answered}, verbose=0)
    assert np.isfinite(weights(student)[0]).all()


def test_hard_labels_of_a_teacher_are_what_it_decides_for():
    _, _, teacher = data()
    logits = np.roll(teacher, 1, axis=0)
    found = teacher_loss("single_label", teacher, logits, 5.0, "hard")
    chosen = -log_softmax(logits, axis=1)[np.arange(6), teacher.argmax(axis=1)]
    np.testing.assert_allclose(found, chosen, rtol=1e-5)
    found = teacher_loss("multi_label", teacher, logits, 5.0, "hard")
    np.testing.assert_allclose(found, label_loss("multi_label", teacher > 0, logits), rtol=1e-6)
    found = teacher_loss("regression", teacher, logits, 5.0, "hard")
    np.testing.assert_allclose(found, ((teacher - logits) ** 2).mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("label", [-1, NUM_CLASSES])
def test_a_label_out_of_range_ends_the_training(label):
    inputs, labels, teacher = data()
    labels[2] = label
    message = rf"Received a label value of {label} which is outside the valid range of \[0, 4\)"
    for y in (labels, targets(labels, teacher)):
        distiller = compiled(linear(0))
        before = weights(distiller.student)[0]
        for ask in (distiller.fit, distiller.evaluate):
            with pytest.raises(tf.errors.InvalidArgumentError, match=message):
                ask(inputs, y, verbose=0)
        np.testing.assert_array_equal(weights(distiller.student)[0], before)


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        (np.array(list("abcdab")), "strings"),
        (np.array(list("abcdab"), object), "strings"),
        (tf.constant(list("abcdab")), "strings"),
        (np.eye(NUM_CLASSES)[[0, 1, 2, 3, 0, 1]], "shape [batch, 4]"),
    ],
    ids=["strings", "objects", "tensor", "one-hot"],
)
def test_labels_of_another_form_are_refused_with_what_to_give(labels, received):
    inputs, _, teacher = data()
    message = (
        "Expected labels for 4 outputs as class indices from 0, shape [batch] (of one-hot rows: "
        'rows.argmax(axis=-1); rows of several labels are of task="multi_label"). Received: '
        f"{received}"
    )
    for y in (labels, targets(labels, teacher)):
        distiller = compiled(linear(0))
        for ask in (distiller.fit, distiller.evaluate):
            with pytest.raises(ValueError, match=re.escape(message)):
                ask(inputs, y, verbose=0)


def test_at_weight_one_a_broken_teacher_does_no_harm():
    inputs, labels, teacher = data()
    teacher[0, 0] = np.inf
    student = linear(0)
    distiller = compiled(student, student_loss_weight=1.0)
    found = distiller.train_on_batch(inputs, targets(labels, teacher), return_dict=True)
    assert np.isfinite(found["loss"])
    assert np.isfinite(weights(student)[0]).all()


def test_live_teacher_and_stored_logits_are_the_same():
    inputs, labels = texts(), np.arange(24) % NUM_CLASSES
    teacher = text_model(7, width=6, dropout=0.5)
    stored = teacher.predict(inputs, verbose=0)
    results = []
    for live in (True, False):
        student = text_model(3)
        distiller = compiled(student, teacher if live else None, metrics=["accuracy"])
        y = labels if live else targets(labels, stored)
        history = distiller.fit(inputs, y, batch_size=5, epochs=3, shuffle=False, verbose=0).history
        results.append((history, weights(student), distiller.evaluate(inputs, y, verbose=0)))
    for name in [*PARTS, "gradient_norm", "accuracy"]:
        assert results[0][0][name] == pytest.approx(results[1][0][name], abs=1e-6)
    for live, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(live, other, atol=1e-6)
    assert results[0][2] == pytest.approx(results[1][2], abs=1e-6)


def test_teacher_is_not_trained():
    inputs, labels = texts(), np.zeros(24, np.int32)
    teacher, student = text_model(7, dropout=0.5), text_model(3)
    before, start = weights(teacher), weights(student)
    distiller = compiled(student, teacher)
    distiller.fit(inputs, labels, epochs=2, verbose=0)
    for was, now in zip(before, weights(teacher), strict=True):
        np.testing.assert_array_equal(was, now)
    assert not np.array_equal(start[0], weights(student)[0])
    assert len(distiller.trainable_variables) == len(student.trainable_variables) == 3


def test_zero_weights_cost_nothing_and_teach_nothing():
    inputs, labels, teacher = data()
    student = linear(0)
    kernel = weights(student)[0]
    history = (
        compiled(student)
        .fit(inputs, targets(labels, teacher), sample_weight=np.zeros(6), verbose=0)
        .history
    )
    assert [history[name] for name in [*PARTS, "gradient_norm"]] == [[0.0]] * 4
    np.testing.assert_array_equal(weights(student)[0], kernel)


def one_step(sample_weight):
    inputs, labels, teacher = data()
    student = linear(0)
    before = weights(student)[0]
    found = compiled(student).train_on_batch(
        inputs, targets(labels, teacher), sample_weight=sample_weight, return_dict=True
    )
    return np.array([found[name] for name in PARTS]), weights(student)[0] - before


def test_doubled_weights_double_loss_and_step():
    (loss, step), (twice_loss, twice_step) = one_step(np.ones(6)), one_step(np.full(6, 2.0))
    np.testing.assert_allclose(twice_loss, 2 * loss, rtol=1e-6)
    np.testing.assert_allclose(twice_step, 2 * step, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(one_step(None)[0], loss, rtol=1e-6)


def test_each_example_has_its_own_weight():
    inputs, labels, teacher = data()
    kernel = weights(linear(0))[0]
    sample_weight = np.array([1.0, 0.0, 0.0, 3.0, 0.0, 0.5])
    parts = [
        closed_form(kernel, inputs[i : i + 1], labels[i : i + 1], teacher[i : i + 1], 2.0, 0.3)[0]
        for i in range(6)
    ]
    expected = (np.array(parts) * sample_weight[:, None]).mean(axis=0)
    np.testing.assert_allclose(one_step(sample_weight)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(one_step(sample_weight[:, None])[0], expected, rtol=1e-5)


@pytest.mark.parametrize("sample_weight", [None, np.array([1.0, 0.0, 2.0, 3.0, 0.0, 0.5])])
def test_class_weights_multiply_the_label_loss_alone(sample_weight):
    inputs, labels, teacher = data()
    kernel, class_weight = weights(linear(0))[0], np.array([0.5, 2.0, 3.0, 0.25])
    parts = np.array(
        [
            closed_form(kernel, inputs[i : i + 1], labels[i : i + 1], teacher[i : i + 1], 2, 0.3)[0]
            for i in range(6)
        ]
    )
    given = np.ones(6) if sample_weight is None else sample_weight
    of_labels = (parts[:, 1] * class_weight[labels] * given).mean()
    of_teacher = (parts[:, 2] * given).mean()
    found = compiled(linear(0), class_weight=class_weight).train_on_batch(
        inputs, targets(labels, teacher), sample_weight=sample_weight, return_dict=True
    )
    expected = [0.3 * of_labels + 0.7 * of_teacher, of_labels, of_teacher]
    assert [float(found[name]) for name in PARTS] == pytest.approx(expected, rel=1e-5)


def test_what_has_no_label_has_no_class():
    inputs, labels, teacher = data()
    is_labelled = np.arange(6) < 3
    distiller = compiled(linear(0), class_weight=[0.5, 2.0, 3.0, 0.25])
    given = {**targets(np.where(is_labelled, labels, -1), teacher), "is_labelled": is_labelled}
    found = distiller.train_on_batch(inputs, given, return_dict=True)
    logits = inputs @ weights(linear(0))[0]
    losses = -log_softmax(logits, axis=1)[np.arange(6), labels]
    expected = (losses * np.array([0.5, 2.0, 3.0, 0.25])[labels])[:3].sum() / 6
    assert float(found["student_loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("class_weight", "task", "received"),
    [
        ([1.0, 2.0], "single_label", "2 numbers for single_label"),
        ([1.0] * 4, "multi_label", "4 numbers for multi_label"),
    ],
)
def test_class_weights_of_other_classes_are_refused(class_weight, task, received):
    message = "Expected `class_weight` for 4 classes of a single_label task. Received: " + received
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Distiller(student=linear(0), task=task, class_weight=class_weight)


def test_epoch_loss_is_the_mean_of_examples_not_of_batches():
    inputs, labels, teacher = data()
    distiller = compiled(linear(0), learning_rate=0.0)
    history = distiller.fit(inputs, targets(labels, teacher), batch_size=4, verbose=0).history
    parts, _ = closed_form(weights(linear(0))[0], inputs, labels, teacher, 2.0, 0.3)
    assert [history[name][0] for name in PARTS] == pytest.approx(parts, rel=1e-5)


def test_regularizers_of_the_student_are_added():
    inputs, labels, teacher = data()
    student = linear(0, kernel_regularizer=keras.regularizers.L2(0.5))
    kernel = weights(student)[0]
    distiller = compiled(student)
    evaluated = distiller.evaluate(inputs, targets(labels, teacher), verbose=0)
    found = distiller.train_on_batch(inputs, targets(labels, teacher), return_dict=True)
    parts, gradient = closed_form(kernel, inputs, labels, teacher, 2.0, 0.3)
    parts[0] += 0.5 * (kernel**2).sum()
    assert [float(found[name]) for name in PARTS] == pytest.approx(parts, rel=1e-5)
    assert evaluated == pytest.approx(parts, rel=1e-5)
    np.testing.assert_allclose(weights(student)[0], kernel - 0.1 * (gradient + kernel), atol=1e-6)


def test_accuracy_in_fit_and_evaluate():
    inputs, labels, teacher = data()
    distiller = compiled(linear(0), learning_rate=0.0, metrics=["accuracy"])
    y = targets(labels, teacher)
    fitted = distiller.fit(inputs, y, epochs=2, verbose=0, validation_data=(inputs, y)).history
    expected = np.mean((inputs @ weights(distiller.student)[0]).argmax(axis=1) == labels)
    assert fitted["accuracy"] == pytest.approx([expected] * 2)
    assert fitted["val_accuracy"] == pytest.approx([expected] * 2)
    assert fitted["val_loss"] == pytest.approx(fitted["loss"])
    as_mapping = distiller.evaluate(inputs, y, return_dict=True, verbose=0)
    assert sorted(as_mapping) == sorted([*PARTS, "accuracy"])
    as_list = distiller.evaluate(inputs, y, verbose=0)
    assert as_list == pytest.approx([as_mapping[name] for name in [*PARTS, "accuracy"]])
    assert as_mapping["accuracy"] == pytest.approx(expected)


def test_evaluate_changes_nothing():
    inputs, labels, teacher = data()
    distiller = compiled(linear(0))
    before = weights(distiller.student)[0]
    y = targets(labels, teacher)
    first, second = (distiller.evaluate(inputs, y, verbose=0) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(weights(distiller.student)[0], before)


def test_predict_gives_the_students_logits():
    inputs = texts()
    student, teacher = text_model(3, dropout=0.5), text_model(7)
    distiller = compiled(student, teacher)
    found = distiller.predict(inputs, verbose=0)
    assert found.shape == (24, NUM_CLASSES)
    np.testing.assert_allclose(found, student(inputs, training=False), atol=1e-6)
    np.testing.assert_allclose(distiller(inputs), found, atol=1e-6)
    dropped = [np.asarray(distiller(inputs, training=True)) for _ in range(2)]
    assert not np.array_equal(*dropped)


BY_KEYWORD = (
    "Expected `student` and `teacher` by keyword, Distiller(student=..., teacher=...): "
    "keras.distillation takes them in the other order. Received: "
)


@pytest.mark.parametrize(
    ("models", "received"),
    [
        ((linear(0), linear(1)), "2 by position, no `student`"),
        ((linear(0),), "1 by position, no `student`"),
        ((), "0 by position, no `student`"),
    ],
)
def test_models_go_by_keyword(models, received):
    """By position `keras.distillation.Distiller` takes the teacher first."""
    with pytest.raises(TypeError, match=f"^{re.escape(BY_KEYWORD + received)}$"):
        Distiller(*models)


def test_a_model_by_position_beside_keywords_is_refused():
    message = f"^{re.escape(BY_KEYWORD)}1 by position$"
    with pytest.raises(TypeError, match=message):
        Distiller(linear(0), student=linear(1))


def test_the_label_loss_has_one_default_weight():
    default = DistillConfig.defaults()["student_loss_weight"]
    assert default == Distiller(student=linear(0)).student_loss_weight == 0.3


@pytest.mark.parametrize("has_teacher", [True, False])
def test_save_and_load(tmp_path, has_teacher):
    inputs, labels = texts(), np.arange(24) % NUM_CLASSES
    y = labels if has_teacher else targets(labels, data(24)[2])
    distiller = Distiller(
        student=text_model(3, dropout=0.2),
        teacher=text_model(7) if has_teacher else None,
        temperature=3.5,
        student_loss_weight=0.25,
        distillation_loss="mse",
        name="small",
    )
    distiller.compile(optimizer=keras.optimizers.AdamW(0.01), metrics=["accuracy"])
    distiller.fit(inputs, y, epochs=2, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras", safe_mode=True)
    assert type(again) is Distiller
    assert (again.temperature, again.student_loss_weight) == (3.5, 0.25)
    assert (again.task, again.name) == ("single_label", "small")
    assert again.distillation_loss == "mse"
    assert (again.teacher is not None) == has_teacher
    np.testing.assert_array_equal(
        again.predict(inputs, verbose=0), distiller.predict(inputs, verbose=0)
    )
    expected = distiller.evaluate(inputs, y, verbose=0, return_dict=True)
    assert again.evaluate(inputs, y, verbose=0, return_dict=True) == pytest.approx(expected)
    assert int(again.optimizer.iterations) == 2
    again.fit(inputs, y, verbose=0)
    assert int(again.optimizer.iterations) == 3


def test_a_student_with_code_inside_is_not_loaded(tmp_path):
    student = keras.Sequential([keras.Input([3]), keras.layers.Lambda(lambda x: x * 2.0)])
    Distiller(student=student).save(tmp_path / "distiller.keras")
    with pytest.raises(ValueError, match="^Requested the deserialization of a `Lambda` layer"):
        keras.saving.load_model(tmp_path / "distiller.keras", safe_mode=True)


def test_it_is_a_name_of_the_package():
    assert tfkd.Distiller is Distiller


def test_only_the_teacher_is_enough_to_become_it():
    inputs = np.eye(3, dtype=np.float32)
    teacher = np.float32([[2, 1, 0, -1], [0, 0, 3, 0], [-1, 1, -1, 1]])
    distiller = Distiller(student=linear(0), temperature=2.0, student_loss_weight=0.0)
    distiller.compile(optimizer=keras.optimizers.Adam(0.1))
    wrong_labels = teacher.argmin(axis=1)
    repeated = (
        np.tile(inputs, (100, 1)),
        targets(np.tile(wrong_labels, 100), np.tile(teacher, (100, 1))),
    )
    history = distiller.fit(*repeated, batch_size=3, epochs=4, verbose=0, shuffle=False).history
    found = softmax(distiller.predict(inputs, verbose=0), axis=1)
    np.testing.assert_allclose(found, softmax(teacher, axis=1), atol=1e-3)
    assert 0 <= history["loss"][-1] < 1e-5


@pytest.mark.parametrize("has_stored_logits", [True, False])
def test_multi_label(has_stored_logits):
    generator = np.random.default_rng(2)
    inputs = generator.normal(size=(1200, 3)).astype(np.float32)
    logits = (inputs @ generator.normal(0, 3, (3, 4))).astype(np.float32)
    labels = (logits > 0).astype(np.uint8)
    distiller = Distiller(student=linear(0), task="multi_label", temperature=2.0)
    distiller.compile(optimizer=keras.optimizers.Adam(0.1))
    y = targets(labels, logits) if has_stored_logits else labels
    before = distiller.evaluate(inputs, y, verbose=0)
    distiller.fit(inputs, y, batch_size=8, verbose=0)
    assert np.all(np.array(distiller.evaluate(inputs, y, verbose=0)) < np.array(before) / 2)
    assert np.mean((distiller.predict(inputs, verbose=0) > 0) == labels) > 0.97


@pytest.mark.parametrize("has_stored_logits", [True, False])
def test_regression(has_stored_logits):
    generator = np.random.default_rng(3)
    inputs = generator.normal(size=(1200, 3)).astype(np.float32)
    scores = (inputs @ [1.0, -2.0, 0.5]).astype(np.float32)
    # The teacher says thrice as much as the labels.
    distiller = Distiller(student=linear(0, outputs=1), task="regression", student_loss_weight=0.75)
    distiller.compile(optimizer=keras.optimizers.Adam(0.1))
    y = targets(scores, scores[:, None] * 3) if has_stored_logits else scores
    distiller.fit(inputs, y, batch_size=8, verbose=0)
    expected = 0.75 * 1 + 0.25 * 3 if has_stored_logits else 1.0
    np.testing.assert_allclose(
        weights(distiller.student)[0][:, 0], expected * np.array([1.0, -2.0, 0.5]), atol=0.02
    )
