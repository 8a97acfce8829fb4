"""Training under quantization is the training of any student: same losses, resumable, exact."""

import contextlib
import dataclasses

import keras
import numpy as np
import pytest

from tests.toys import classifier_of
from tfkd.compression.qat import mirror
from tfkd.compression.qat.model import quantization_aware, scheme_of
from tfkd.data.batching import Batches
from tfkd.data.tokens import Tokens
from tfkd.distillation import backup
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.training import Plan, Validation, compile_distiller, train
from tfkd.errors import ConfigError
from tfkd.models.without_encoder import build_cnn
from tfkd.progress import Progress

LENGTH, NUM_TOKENS, ROWS, BATCH_SIZE = 12, 60, 240, 8
PLAN = Plan(epochs=2, batch_size=BATCH_SIZE, learning_rate=0.01, backup_seconds=0.0)
# 30 steps an epoch: the ranges stay in the last 20 of 60.
FREEZE_AFTER = 40


def cnn():
    keras.utils.set_random_seed(3)
    model = build_cnn(NUM_TOKENS, 2, width=32, filters=16, table_dropout=0.0, dropout=0.0)
    return classifier_of(model, labels=("a", "b"))


@pytest.fixture(scope="module")
def tokens():
    """One token of a row names its class, the others are noise."""
    random = np.random.default_rng(0)
    lengths, labels = random.integers(3, 9, ROWS), random.integers(0, 2, ROWS).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(8, NUM_TOKENS, offsets[-1]).astype(np.int32)
    ids[offsets[:-1] + random.integers(0, lengths)] = 6 + labels
    return Tokens(ids, offsets, lengths.astype(np.int32), labels, 0, "mark")


class Interrupted(Exception):
    pass


class Log:
    """Keeps the ranges of each logged step, and may break the training at one."""

    def __init__(self, ranges=dict, stop_at=None):
        self.read_ranges, self.stop_at = ranges, stop_at
        self.ranges = {}

    def scalars(self, step, values):
        if step == self.stop_at:
            raise Interrupted(f"at {step}")
        self.ranges[step] = self.read_ranges()

    def close(self):
        pass


class FloatTwin(Distiller):
    """A mirror without quantizers; it is float32 already, and has no other precision."""

    def arithmetic(self, precision):
        assert precision == "float32"
        return contextlib.nullcontext()


def fit(distiller, classifier, tokens, folder, log=None):
    """A training of 2 epochs on the labels and on a teacher that is fairly sure."""
    sure = np.where(np.arange(2) == tokens.labels[:, None], 2.0, -2.0).astype(np.float32)
    names = classifier.input_names
    batches = Batches(tokens, names, BATCH_SIZE, seed=5, teacher_logits=sure)
    arrays = tokens.arrays(np.arange(ROWS))

    def measure():
        logits = distiller.student({name: arrays[name] for name in names}, training=False)
        return {"accuracy": float(np.mean(np.argmax(logits, axis=1) == tokens.labels))}

    return train(
        distiller,
        batches,
        PLAN,
        Validation(measure, "accuracy", lambda a, b: a > b),
        folder,
        lambda step: log or Log(),
        (Progress(quiet=True), "student"),
    )


def values(aware):
    return {name: value.numpy() for name, value in mirror.variables(aware.student).items()}


@pytest.fixture(scope="module")
def whole(tokens, tmp_path_factory):
    """The student trained with 4-bit tables, without a break."""
    classifier = cnn()
    aware = quantization_aware(classifier, "qat_int4_tables", freeze_after=FREEZE_AFTER)
    log = Log(aware.ranges)
    position = fit(aware, classifier, tokens, tmp_path_factory.mktemp("whole"), log)
    return aware, position, log


def test_without_quantizers_it_trains_like_the_student_itself(tokens, tmp_path):
    student, other = cnn(), cnn()
    twin = mirror.build(other)
    expected = fit(Distiller(student=student.model), student, tokens, tmp_path / "student")
    found = fit(FloatTwin(student=twin), other, tokens, tmp_path / "twin")
    assert expected.history[1]["loss"] < expected.history[0]["loss"] / 2
    for one, another in zip(found.history, expected.history, strict=True):
        assert one == pytest.approx(another, abs=1e-4)
    trained = mirror.variables(mirror.build(student))
    for name, variable in mirror.variables(twin).items():
        np.testing.assert_allclose(variable, trained[name], atol=1e-4)


def test_it_learns_with_the_rounding(whole):
    _, position, _ = whole
    assert position.best_epoch > 0
    assert position.history[-1]["validation_accuracy"] > 0.95
    assert position.history[1]["distillation_loss"] < position.history[0]["distillation_loss"]


def test_ranges_follow_and_then_stay(whole):
    ranges = whole[2].ranges
    assert list(ranges) == [20, 30, 50, 60]
    assert {"trigrams/output", "logits/output"} <= set(ranges[20])
    for step in ranges:
        assert all(low <= 0 <= high and low < high for low, high in ranges[step].values())
    assert ranges[20]["logits/output"] != ranges[30]["logits/output"] != ranges[50]["logits/output"]
    assert ranges[50] == ranges[60]


@pytest.mark.parametrize("stop_at", [30, 50])
def test_an_interrupted_training_ends_like_a_whole_one(
    whole, tokens, tmp_path, monkeypatch, stop_at
):
    """Weights, ranges and their counters, before and after the ranges stay."""
    monkeypatch.setattr(backup, "LARGEST_TIME_SHARE", float("inf"))
    sessions = []
    for stop in (stop_at, None):
        classifier = cnn()
        aware = quantization_aware(classifier, "qat_int4_tables", freeze_after=FREEZE_AFTER)
        sessions.append(aware)
        if stop is not None:
            with pytest.raises(Interrupted, match=f"^at {stop}$"):
                fit(aware, classifier, tokens, tmp_path, Log(stop_at=stop))
    position = fit(sessions[1], classifier, tokens, tmp_path)
    expected = values(whole[0])
    for name, value in values(sessions[1]).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)
    for one, another in zip(position.history, whole[1].history, strict=True):
        assert one == pytest.approx(another, abs=1e-4)


def test_no_decay_on_biases_and_norms(whole):
    distiller = Distiller(student=whole[0].student)
    compile_distiller(distiller, PLAN, 10)
    for variable in whole[0].student.trainable_variables:
        kind = variable.name.rpartition("/")[2].removesuffix(":0")
        is_decayed = kind not in ("bias", "gamma", "beta")
        assert distiller.optimizer._use_weight_decay(variable) == is_decayed, variable.name
        assert kind in ("bias", "gamma", "beta", "kernel", "embeddings"), variable.name


def test_the_student_stays_as_it_was(whole):
    fresh = cnn()
    for one, another in zip(whole[0].classifier.model.weights, fresh.model.weights, strict=True):
        np.testing.assert_array_equal(one, another)


def test_fit_and_predict_are_those_of_keras(whole):
    aware = whole[0]
    texts = ["the river rises", "a boat under the bridge again", "rain"] * 3
    arrays = aware.encode(texts, 8)
    assert set(arrays) == set(aware.classifier.input_names)
    np.testing.assert_allclose(
        aware.predict(arrays, verbose=0), aware.predict_encoded(arrays), atol=1e-6
    )
    aware = quantization_aware(cnn(), student_loss_weight=0.25)
    aware.compile(optimizer=keras.optimizers.AdamW(1e-3), metrics=["accuracy"])
    assert aware.jit_compile is False
    arrays = aware.encode(texts, 8)
    labels = np.arange(9) % 2
    targets = {"label": labels, "teacher_logits": np.eye(2, dtype=np.float32)[labels]}
    figures = aware.fit(arrays, targets, verbose=0).history
    mixed = 0.25 * figures["student_loss"][0] + 0.75 * figures["distillation_loss"][0]
    assert figures["loss"][0] == pytest.approx(mixed, rel=1e-5)
    assert "distillation_loss" not in aware.fit(arrays, labels, verbose=0).history


def test_squared_error_of_rounded_logits():
    aware = quantization_aware(cnn(), distillation_loss="mse", temperature=3.0)
    aware.compile(optimizer=keras.optimizers.SGD(0.0))
    arrays = aware.encode(["the river rises", "a boat under the bridge again", "rain"], 8)
    teacher_logits = np.float32([[1, 2], [0, -1], [3, 0]])
    targets = {"label": np.array([0, 1, 0]), "teacher_logits": teacher_logits}
    aware.fit(arrays, targets, verbose=0)
    found = aware.evaluate(arrays, targets, verbose=0, return_dict=True)["distillation_loss"]
    error = np.mean((aware.predict_encoded(arrays) - teacher_logits) ** 2)
    assert found == pytest.approx(error, rel=1e-5)


def test_schemes_of_the_recipes():
    scheme = scheme_of("qat_int8", integer_softmax=True)
    assert (scheme.table_bits, scheme.integer_softmax, scheme.freeze_after) == (8, True, None)
    assert scheme_of("qat_int4_tables", freeze_after=5) == dataclasses.replace(
        scheme, table_bits=4, integer_softmax=False, freeze_after=5
    )


def test_a_recipe_without_training_is_refused():
    message = (
        r"^Expected a recipe that trains: qat_int8, qat_int4_tables. Received: "
        r"recipe='dynamic_int8'. Write that one with `tfkd export`.$"
    )
    with pytest.raises(ConfigError, match=message):
        quantization_aware(cnn(), "dynamic_int8")


def test_half_precision_is_refused(whole):
    message = (
        "^Expected precision float32 for quantization during training. Received: bfloat16. "
        "Leave --precision out.$"
    )
    with pytest.raises(ConfigError, match=message):
        whole[0].arithmetic("bfloat16")


def test_it_is_kept_as_a_file_and_not_as_a_keras_model(whole):
    with pytest.raises(NotImplementedError, match="^Expected `export` to keep what was trained."):
        whole[0].get_config()
