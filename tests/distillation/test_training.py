import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tests.toys import QUIET
from tfkd.data.batching import Batches
from tfkd.data.tokens import Tokens
from tfkd.distillation import backup, training
from tfkd.distillation.backup import Position
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.optimizer import FusedAdamW
from tfkd.distillation.schedule import WarmupSchedule
from tfkd.distillation.training import Plan, Validation, compile_distiller, train
from tfkd.errors import ModelError
from tfkd.models.classifier import TextClassifier
from tfkd.models.initialization import start_anew
from tfkd.models.keras_file import write_model

NAMES = ("token_ids", "padding_mask")
BATCH_SIZE = 8
PLAN = Plan(epochs=2, batch_size=BATCH_SIZE, learning_rate=0.02, backup_seconds=0.0)


def toy_model(dropout=0.3, seed=5):
    start_anew(seed)
    inputs = {name: keras.Input([None], dtype="int32", name=name) for name in NAMES}
    hidden = keras.layers.Embedding(30, 8, name="token_embedding")(inputs["token_ids"])
    hidden = keras.layers.Dropout(dropout)(hidden)
    mask = keras.ops.cast(inputs["padding_mask"], "bool")
    hidden = keras.layers.GlobalAveragePooling1D()(hidden, mask=mask)
    hidden = keras.layers.LayerNormalization()(hidden)
    hidden = keras.layers.Dense(8, activation="tanh")(hidden)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits", dtype="float32")(hidden))


def toy_tokens(rows=400, seed=0):
    """One token of a row names its class, the others are noise."""
    generator = np.random.default_rng(seed)
    lengths, labels = generator.integers(2, 8, rows), generator.integers(0, 2, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = generator.integers(3, 30, offsets[-1])
    ids[offsets[:-1] + generator.integers(0, lengths)] = 1 + labels
    labels = labels.astype(np.int32)
    return Tokens(ids.astype(np.int32), offsets, lengths.astype(np.int32), labels, 0, "mark")


def toy_logits(tokens):
    """A teacher that is right and fairly sure."""
    return np.where(np.arange(2) == tokens.labels[:, None], 2.0, -2.0).astype(np.float32)


def values(model):
    return [np.array(variable.value) for variable in model.variables]


def saved(model, folder):
    """The bytes of its file."""
    write_model(model, folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def accuracy(model, tokens):
    arrays = tokens.arrays(np.arange(len(tokens)))
    logits = model({name: arrays[name] for name in NAMES}, training=False)
    return float(np.mean(np.argmax(logits, axis=1) == tokens.labels))


class Interrupted(Exception):
    pass


class Log:
    """Keeps what is logged, and may break the training at a step."""

    def __init__(self, stop_at=None):
        self.lines, self.stop_at, self.is_closed = [], stop_at, False

    def scalars(self, step, values):
        if self.stop_at == (step, min(values).split("/")[0]):
            raise Interrupted(f"at {self.stop_at}")
        self.lines.append((step, values))

    def close(self):
        self.is_closed = True

    def figures(self, name):
        return {step: values[name] for step, values in self.lines if name in values}


class Session:
    """One run of `train` on the toy task."""

    def __init__(self, folder, measures=None, stop_at=None, stop_in_epoch=None, **settings):
        self.rows = settings.pop("rows", 400)
        self.tokens, self.model = toy_tokens(self.rows), toy_model()
        self.folder, self.measures = folder, measures
        self.log, self.first_steps = Log(stop_at), []
        self.stop_in_epoch = stop_in_epoch
        is_better = settings.pop("is_better", lambda a, b: a > b)
        judged = {key: settings.pop(key) for key in ("judges_start", "num_rows") if key in settings}
        self.judge = Validation(lambda: self.measure(), "accuracy", is_better, **judged)
        self.weights_of_epochs = []
        self.plan = dataclasses.replace(PLAN, **settings)
        logits = toy_logits(self.tokens)
        self.batches = Batches(self.tokens, NAMES, BATCH_SIZE, seed=5, teacher_logits=logits)
        self.distiller = Distiller(student=self.model)

    def measure(self):
        if self.stop_in_epoch == len(self.weights_of_epochs):
            raise Interrupted(f"in the validation of epoch {self.stop_in_epoch}")
        self.weights_of_epochs.append(values(self.model))
        if self.measures is None:
            return {"accuracy": accuracy(self.model, self.tokens), "zero": 0.0}
        return {"accuracy": self.measures[len(self.weights_of_epochs) - 1]}

    def open_log(self, step):
        self.first_steps.append(step)
        return self.log

    def run(self):
        self.position = train(
            self.distiller,
            self.batches,
            self.plan,
            self.judge,
            self.folder,
            self.open_log,
            (QUIET, "student"),
        )
        return self


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The toy task trained without a break: 2 epochs of 50 steps."""
    return Session(tmp_path_factory.mktemp("whole")).run()


@pytest.fixture
def eager_backup(monkeypatch):
    """Backs up at every occasion, however slow the disk."""
    monkeypatch.setattr(backup, "LARGEST_TIME_SHARE", float("inf"))


def assert_close(found, expected, tolerance=1e-6):
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, atol=tolerance)


def test_it_learns(whole):
    assert accuracy(toy_model(), whole.tokens) < 0.6
    assert accuracy(whole.model, whole.tokens) > 0.95
    unseen = toy_tokens(seed=1)
    assert accuracy(whole.model, unseen) > 0.9


def test_position_and_history(whole):
    position = whole.position
    assert (position.epoch, position.step) == (2, 0)
    assert position.best_epoch in (1, 2)
    assert position.seconds > 0
    assert [entry["epoch"] for entry in position.history] == [1, 2]
    for entry in position.history:
        assert sorted(entry) == sorted(
            [
                "epoch",
                "loss",
                "student_loss",
                "distillation_loss",
                "gradient_norm",
                "validation_accuracy",
                "validation_zero",
            ]
        )
        assert entry["loss"] == pytest.approx(
            0.3 * entry["student_loss"] + 0.7 * entry["distillation_loss"], rel=1e-5
        )
    assert position.history[1]["loss"] < position.history[0]["loss"]
    json.dumps(dataclasses.asdict(position))


def test_log(whole):
    assert whole.first_steps == [0]
    assert whole.log.is_closed
    trained = [step for step, values in whole.log.lines if "train/loss" in values]
    assert trained == [20, 40, 70, 90]
    assert whole.log.figures("validation/accuracy") == {
        50: whole.position.history[0]["validation_accuracy"],
        100: whole.position.history[1]["validation_accuracy"],
    }
    first = whole.log.lines[0][1]
    assert sorted(first) == [
        *("train/distillation_loss", "train/loss", "train/student_loss"),
        *("watch/examples_per_second", "watch/gradient_norm", "watch/learning_rate"),
    ]
    assert all(rate > 0 for rate in whole.log.figures("watch/examples_per_second").values())
    schedule = WarmupSchedule(0.02, total_steps=100, warmup_steps=6)
    for step, rate in whole.log.figures("watch/learning_rate").items():
        assert rate == pytest.approx(float(schedule(step)), rel=1e-6)


def test_logged_losses_are_means_of_the_last_steps(tmp_path):
    session = Session(tmp_path, epochs=1)
    seen = []

    class Seer(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"] * (batch + 1))

    # Keras' running means times their steps are sums; so are ours, before they are cut to pieces.
    fit = session.distiller.fit
    session.distiller.fit = lambda *data, callbacks, **rest: fit(
        *data, callbacks=[*callbacks, Seer()], **rest
    )
    session.run()
    losses = session.log.figures("train/loss")
    assert losses[20] == pytest.approx(seen[19] / 20, rel=1e-5)
    assert losses[40] == pytest.approx((seen[39] - seen[19]) / 20, rel=1e-5)
    assert session.position.history[0]["loss"] == pytest.approx(seen[49] / 50, rel=1e-5)


@pytest.mark.parametrize(
    ("measures", "is_better", "best_epoch"),
    [
        ([0.5, 0.9, 0.7], lambda a, b: a > b, 2),
        ([0.5, 0.5, 0.5], lambda a, b: a > b, 1),
        ([0.5, 0.9, 0.4], lambda a, b: a < b, 3),
    ],
)
def test_best_epochs_weights_are_kept(tmp_path, measures, is_better, best_epoch):
    session = Session(tmp_path, measures, epochs=3, rows=80, is_better=is_better).run()
    assert session.position.best_epoch == best_epoch
    assert_close(values(session.model), session.weights_of_epochs[best_epoch - 1], 0)
    others = set(range(3)) - {best_epoch - 1}
    for other in others:
        assert not np.array_equal(
            session.weights_of_epochs[other][0], session.weights_of_epochs[best_epoch - 1][0]
        )


@pytest.mark.parametrize(
    ("losses", "best_epoch"),
    [([0.6, 0.5, 0.4, 0.9], 3), ([0.6, 0.5, 0.5, 0.1], 2), ([0.4, 0.5, 0.6, 0.1], 1)],
)
def test_of_equal_epochs_the_one_with_the_smaller_loss_is_kept(tmp_path, losses, best_epoch):
    """The last one's accuracy is worse, whatever its loss."""
    session = Session(tmp_path, [0.9, 0.9, 0.9, 0.8], epochs=4, rows=80)
    accuracies = session.measure
    session.measure = lambda: {**accuracies(), "nll": losses[len(session.weights_of_epochs) - 1]}
    session.run()
    assert session.position.best_epoch == best_epoch
    assert_close(values(session.model), session.weights_of_epochs[best_epoch - 1], 0)


@pytest.mark.parametrize(
    ("measures", "num_rows", "best_epoch"),
    [
        # The standard error of 0.8 in 100 rows is 0.04.
        ([0.8, 0.7, 0.77], 100, 3),
        ([0.8, 0.761, 0.75], 100, 2),
        # Of the best one's, not of the one that was kept last.
        ([0.8, 0.77, 0.74], 100, 2),
        ([0.8, 0.77, 0.9], 100, 3),
        ([0.8, 0.7, 0.77], 400, 1),
        ([0.8, 0.7, 0.79], None, 1),
        # A correlation below nothing has no such error.
        ([-0.1, -0.2, -0.3], 100, 1),
    ],
)
def test_a_later_epoch_within_a_standard_error_is_kept(tmp_path, measures, num_rows, best_epoch):
    session = Session(tmp_path, measures, epochs=3, rows=80, num_rows=num_rows).run()
    assert session.position.best_epoch == best_epoch
    assert_close(values(session.model), session.weights_of_epochs[best_epoch - 1], 0)


@pytest.mark.parametrize(
    ("measures", "best_epoch"), [([0.9, 0.5, 0.9, 0.7], 0), ([0.5, 0.4, 0.6, 0.6], 2)]
)
def test_a_start_that_no_epoch_beats_is_kept(tmp_path, measures, best_epoch):
    """Judged like an epoch, first of all; training goes on, for a later one may be better."""
    session = Session(tmp_path, measures, epochs=3, patience=1, rows=80, judges_start=True).run()
    position = session.position
    assert position.best_epoch == best_epoch
    assert position.start == {"validation_accuracy": measures[0]}
    assert [entry["validation_accuracy"] for entry in position.history] == measures[1:]
    assert_close(values(session.model), session.weights_of_epochs[best_epoch], 0)
    assert not np.array_equal(session.weights_of_epochs[0][0], session.weights_of_epochs[1][0])


def test_a_start_is_judged_once_however_often_training_is_broken_off(tmp_path):
    settings = {"epochs": 2, "rows": 80, "judges_start": True}
    with pytest.raises(Interrupted, match="^in the validation of epoch 2$"):
        Session(tmp_path, [0.9, 0.5], stop_in_epoch=2, **settings).run()
    again = Session(tmp_path, [0.6], **settings).run()
    assert again.position.start == {"validation_accuracy": 0.9}
    assert (again.position.best_epoch, len(again.position.history)) == (0, 2)
    assert_close(values(again.model), values(toy_model()), 0)


def test_it_stops_when_patience_is_over(tmp_path):
    session = Session(tmp_path, [0.5, 0.8, 0.7, 0.8, 0.9], epochs=5, patience=2, rows=80).run()
    assert session.position.epoch == 4
    assert session.position.best_epoch == 2
    found = [entry["validation_accuracy"] for entry in session.position.history]
    assert found == [0.5, 0.8, 0.7, 0.8]
    # Started again it stays stopped.
    again = Session(tmp_path, [0.1], epochs=5, patience=2, rows=80).run()
    assert again.position == session.position
    assert again.weights_of_epochs == []
    assert_close(values(again.model), values(session.model), 0)


def test_bfloat16_computes_in_half_and_ends_in_float32(tmp_path):
    session = Session(tmp_path, precision="bfloat16", learning_rate=0.05, epochs=3)
    classifier = TextClassifier(session.model, None, "single_label", ("a", "b"))
    policies = []
    logits = {}

    def measure():
        policies.append(session.model.dtype_policy.name)
        logits["bfloat16"] = classifier.logits(session.tokens)
        return {"accuracy": float(len(policies))}

    session.measure = measure
    session.run()
    assert set(policies) == {"mixed_bfloat16"}
    assert {layer.dtype_policy.name for layer in session.model.layers} == {"float32"}
    assert session.model.dtype_policy.name == "float32"
    assert {weight.dtype for weight in session.model.trainable_variables} == {"float32"}
    assert accuracy(session.model, session.tokens) > 0.95
    # What the classifier answers now is float32 too, not the graph of the training's validation.
    arrays = session.tokens.arrays(np.arange(400))
    exact = session.model({name: arrays[name] for name in NAMES}, training=False)
    np.testing.assert_allclose(classifier.logits(session.tokens), exact, atol=1e-5)
    difference = np.abs(logits["bfloat16"] - exact).max()
    assert 1e-4 < difference < 0.2


@pytest.mark.parametrize(("rows", "step"), [(400, 20), (40, 5)], ids=["long", "short"])
def test_a_training_that_went_astray_ends_and_keeps_nothing(tmp_path, rows, step):
    """In the first steps that are looked at, or where an epoch ends before them."""
    session = Session(tmp_path, rows=rows)
    logits = toy_logits(session.tokens)
    # A row of NaN has no answer; one that is infinite has a broken one.
    logits[3:6] = np.inf
    session.batches = Batches(session.tokens, NAMES, BATCH_SIZE, seed=5, teacher_logits=logits)
    message = (
        f"^Expected a finite loss. Received: nan by step {step} of student. Begin again with "
        "--overwrite and a lower learning rate, or --precision float32.$"
    )
    with pytest.raises(ModelError, match=message):
        session.run()
    assert not list(tmp_path.iterdir())
    assert session.weights_of_epochs == []


def test_optimizer_follows_the_plan():
    plan = dataclasses.replace(PLAN, schedule="cosine", weight_decay=0.3, clip_norm=0.7)
    distiller = Distiller(student=toy_model())
    compile_distiller(distiller, plan, steps_per_epoch=50)
    optimizer = distiller.optimizer
    assert type(optimizer) is FusedAdamW
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.3, 0.7)
    assert optimizer._learning_rate.get_config() == {
        "peak": 0.02,
        "total_steps": 100,
        "warmup_steps": 6,
        "shape": "cosine",
    }
    assert distiller.jit_compile is False
    decayed = {
        variable.path.split("/", 1)[-1] if variable.name != "kernel" else "kernel": (
            optimizer._use_weight_decay(variable)
        )
        for variable in distiller.student.trainable_variables
    }
    assert decayed == {
        "embeddings": True,
        "gamma": False,
        "beta": False,
        "kernel": True,
        "bias": False,
    }


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_any_warm_up_leaves_a_step(fraction):
    distiller = Distiller(student=toy_model())
    compile_distiller(distiller, dataclasses.replace(PLAN, warmup_fraction=fraction), 5)
    assert distiller.optimizer._learning_rate.warmup_steps == (9 if fraction else 0)


@pytest.mark.usefixtures("eager_backup")
@pytest.mark.parametrize(
    ("stop", "goes_on_at"),
    [
        ({"stop_at": (40, "train")}, 20),
        # The best weights are stored then, the position is not.
        ({"stop_at": (50, "validation")}, 40),
        ({"stop_at": (70, "train")}, 50),
        ({"stop_in_epoch": 1}, 90),
    ],
    ids=lambda value: str(value).replace("'", ""),
)
def test_an_interrupted_run_ends_like_a_whole_one(tmp_path, whole, stop, goes_on_at):
    first = Session(tmp_path, **stop)
    with pytest.raises(Interrupted, match="at|in the validation of epoch"):
        first.run()
    assert first.log.is_closed
    second = Session(tmp_path).run()
    assert second.first_steps == [goes_on_at]
    assert saved(second.model, tmp_path) == saved(whole.model, tmp_path)
    assert_close(second.weights_of_epochs[-1], whole.weights_of_epochs[-1], 0)
    assert second.position.best_epoch == whole.position.best_epoch
    for found, expected in zip(second.position.history, whole.position.history, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    for name in ("train/loss", "watch/gradient_norm", "validation/accuracy"):
        expected = whole.log.figures(name)
        later = {step: value for step, value in expected.items() if step > goes_on_at}
        assert second.log.figures(name) == pytest.approx(later, abs=1e-5)


@pytest.mark.usefixtures("eager_backup")
def test_a_kill_after_an_epochs_last_step(tmp_path):
    """Only the validation is left to do, and the epoch's figures are not lost."""
    settings = {"rows": 40 * BATCH_SIZE, "epochs": 2}
    expected = Session(tmp_path / "whole", **settings).run()
    with pytest.raises(Interrupted, match="^in the validation of epoch 0$"):
        Session(tmp_path / "broken", stop_in_epoch=0, **settings).run()
    second = Session(tmp_path / "broken", **settings).run()
    assert second.first_steps == [40]
    assert saved(second.model, tmp_path) == saved(expected.model, tmp_path)
    assert second.log.lines[0] == expected.log.lines[2]
    assert "validation/accuracy" in second.log.lines[0][1]
    for found, entry in zip(second.position.history, expected.position.history, strict=True):
        assert found == pytest.approx(entry, abs=1e-5)


def test_a_state_without_means_goes_on_too(tmp_path, whole):
    """States of versions that did not keep them."""
    assert Position(**{"epoch": 0, "step": 20, "seconds": 1.0}).means == {}
    first = Session(tmp_path, stop_at=(40, "train"))
    with pytest.raises(Interrupted, match="at"):
        first.run()
    session = Session(tmp_path)
    compile_distiller(session.distiller, session.plan, 50)
    variables = [*session.model.variables, *session.distiller.optimizer.variables]
    store = backup.Backup(tmp_path, variables, 0.0)
    position = store.restore()
    assert position.step == 20 and len(position.means) == 4
    position.means = {}
    store.save(position)
    second = Session(tmp_path).run()
    assert_close(values(second.model), values(whole.model))
    assert second.position.history[1] == pytest.approx(whole.position.history[1], abs=1e-5)


SCRIPT = '''
"""Trains a tiny student: `python script.py folder [line to wait at]`."""

import sys
import time
from pathlib import Path

import keras
import numpy as np

from tfkd.data.batching import Batches
from tfkd.data.tokens import Tokens
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.optimizer import FusedAdamW
from tfkd.distillation.training import Plan, Validation, train
from tfkd.progress import Progress


class Log:
    def __init__(self, path, wait_at):
        self.path, self.wait_at, self.lines = path, wait_at, 0

    def scalars(self, step, values):
        with self.path.open("a") as stream:
            stream.write(f"{step} {sorted(values)[0]}\\n")
        self.lines += 1
        if self.lines == self.wait_at:
            time.sleep(300)

    def close(self):
        pass


def main(folder, wait_at=0):
    generator = np.random.default_rng(3)
    lengths = generator.integers(2, 9, 330)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = generator.integers(0, 40, offsets[-1]).astype(np.int32)
    labels = (ids[offsets[:-1]] % 3).astype(np.int32)
    tokens = Tokens(ids, offsets, lengths.astype(np.int32), labels, 0, "mark")
    keras.utils.set_random_seed(11)
    names = ("token_ids", "padding_mask")
    inputs = {name: keras.Input([None], dtype="int32", name=name) for name in names}
    hidden = keras.layers.Dropout(0.4)(keras.layers.Embedding(40, 8)(inputs["token_ids"]))
    mask = keras.ops.cast(inputs["padding_mask"], "bool")
    hidden = keras.layers.GlobalAveragePooling1D()(hidden, mask=mask)
    hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(8, activation="gelu")(hidden))
    student = keras.Model(inputs, keras.layers.Dense(3, name="logits")(hidden))
    logits = generator.normal(size=(330, 3)).astype(np.float32)
    # 42 steps an epoch, the last batch smaller.
    batches = Batches(tokens, names, 8, 1, logits)
    plan = Plan(epochs=6, batch_size=8, learning_rate=0.01, patience=6, backup_seconds=0.0)
    arrays = tokens.arrays(np.arange(330))
    arrays = {name: arrays[name] for name in names}

    def measure():
        found = np.argmax(student(arrays, training=False), axis=1)
        return {"accuracy": float(np.mean(found == labels))}

    train(
        Distiller(student=student), batches, plan,
        Validation(measure, "accuracy", lambda a, b: a > b), folder,
        lambda step: Log(folder / "log.txt", wait_at), (Progress(quiet=True), "student"),
    )
    return [np.array(variable.value) for variable in student.variables]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    main(folder, *map(int, sys.argv[2:]))
    (folder / "finished").touch()
'''


def start(script, folder, *arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, filter(None, sys.path))),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.Popen(
        [sys.executable, script, folder, *map(str, arguments)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def lines(folder):
    path = folder / "log.txt"
    return path.read_text().splitlines() if path.is_file() else []


def kill_after(process, folder, num_lines, seconds):
    """Kills a training some time after a line of its log, once it has backed up."""
    deadline = time.monotonic() + 120
    while len(lines(folder)) < num_lines or not (folder / "state.npz").is_file():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_killed_run_ends_like_a_whole_one(tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "run"
    script.write_text(SCRIPT, encoding="utf-8")
    generator = np.random.default_rng(20)
    # 18 lines in all, 3 an epoch; at the 12th it waits, should the kill come late.
    num_lines, delay_seconds = int(generator.integers(2, 8)), generator.uniform(0, 0.05)
    process = start(script, folder, 12)
    try:
        kill_after(process, folder, num_lines, delay_seconds)
    finally:
        process.kill()
        process.communicate()
    assert not (folder / "finished").exists()
    before = lines(folder)
    specification = importlib.util.spec_from_file_location("script_of_test", script)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    found = module.main(folder)
    # It went on where it was and did not start anew.
    again = [int(line.split()[0]) for line in lines(folder)[len(before) :]]
    assert again[0] > 20 and again[-1] == 252
    (tmp_path / "whole").mkdir()
    assert_close(found, module.main(tmp_path / "whole"), 1e-5)


def test_log_steps_of_the_tests():
    assert training.LOG_STEPS == 20
