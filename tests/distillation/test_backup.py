import json
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfkd.distillation import backup
from tfkd.distillation.backup import Backup, Position, load_variables, save_variables
from tfkd.errors import ArtifactError

INPUTS = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
TARGETS = INPUTS @ np.float32([[1.0], [-2.0], [0.5]])


def model_of(width=4):
    """A compiled model with dropout and an optimizer with two slots a weight."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(width),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.AdamW(0.01)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, loss="mse")
    return model


def variables(model):
    return [*model.variables, *model.optimizer.variables]


def values(model):
    return [np.array(variable.value) for variable in variables(model)]


def train(model, steps):
    for _ in range(steps):
        model.train_on_batch(INPUTS, TARGETS)


def same(left, right):
    return [np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(left, right, strict=True)]


def test_round_trip_is_bit_for_bit(tmp_path):
    model = model_of()
    train(model, 3)
    stored = values(model)
    paths = [variable.path for variable in variables(model)]
    assert any("seed_generator_state" in path for path in paths)
    assert any("velocity" in path for path in paths)
    Backup(tmp_path, variables(model), 60.0).save(Position(epoch=1))
    train(model, 2)
    after = values(model)
    # Weights, slots, the step counter and dropout's state have moved on.
    moved = [not equal for equal in same(stored, after)]
    assert sum(moved) >= 4 * 3 + 2
    Backup(tmp_path, variables(model), 60.0).restore()
    assert all(same(values(model), stored))
    train(model, 2)
    assert all(same(values(model), after))


def test_another_process_gets_the_same(tmp_path):
    model = model_of()
    train(model, 3)
    Backup(tmp_path, variables(model), 60.0).save(Position())
    fresh = model_of()
    Backup(tmp_path, variables(fresh), 60.0).restore()
    assert all(same(values(fresh), values(model)))
    train(model, 2)
    train(fresh, 2)
    assert all(same(values(fresh), values(model)))


def test_position_round_trip(tmp_path):
    position = Position(
        epoch=2,
        step=41,
        best_epoch=1,
        seconds=12.5,
        means={"loss": [1 / 3, 8.0]},
        history=[{"epoch": 1, "loss": 0.1}, {"epoch": 2, "loss": 1e-300}],
    )
    model = model_of()
    Backup(tmp_path, variables(model), 60.0).save(position)
    save_variables(tmp_path / "best.npz", variables(model))
    assert Backup(tmp_path, variables(model), 60.0).restore() == position


def test_without_a_backup_it_is_the_start(tmp_path):
    model = model_of()
    before = values(model)
    found = Backup(tmp_path, variables(model), 60.0).restore()
    assert found == Position(epoch=0, step=0, best_epoch=0, history=[], seconds=0.0, means={})
    assert all(same(values(model), before))


@pytest.mark.parametrize("width", [3, 5])
def test_backup_of_another_model_is_refused(tmp_path, width):
    Backup(tmp_path, variables(model_of()), 60.0).save(Position())
    other = model_of(width)
    before = values(other)
    message = (
        f"^Expected the backup of this model in {re.escape(str(tmp_path / 'state.npz'))}. "
        "Received: one of another model. Add --overwrite to start anew.$"
    )
    with pytest.raises(ArtifactError, match=message):
        Backup(tmp_path, variables(other), 60.0).restore()
    assert all(same(values(other), before))


def test_backup_of_a_model_with_more_variables_is_refused(tmp_path):
    model = model_of()
    save_variables(tmp_path / "best.npz", model.variables)
    for subset in (model.variables[:-1], variables(model)):
        with pytest.raises(ArtifactError, match="one of another model"):
            load_variables(tmp_path / "best.npz", subset)


def test_note_is_kept_beside_the_variables(tmp_path):
    variable = keras.Variable(np.float32([1.0, np.nan]))
    save_variables(tmp_path / "x.npz", [variable], {"name": "β", "rows": [1, 2]})
    variable.assign([0.0, 0.0])
    assert load_variables(tmp_path / "x.npz", [variable]) == {"name": "β", "rows": [1, 2]}
    np.testing.assert_array_equal(variable.value, [1.0, np.nan])


class Clock:
    """Seconds that pass when the test says so, and while a backup is written."""

    def __init__(self, monkeypatch, cost_seconds):
        self.now = 0.0
        savez = np.savez

        def slow_savez(*arguments, **arrays):
            self.now += cost_seconds
            savez(*arguments, **arrays)

        monkeypatch.setattr(backup, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(backup.np, "savez", slow_savez)


def saving_times(tmp_path, clock, seconds, interval_seconds):
    """The seconds at which a question, asked each second, led to a backup."""
    store = Backup(tmp_path, [keras.Variable(np.zeros(2, np.float32))], interval_seconds)
    times = []
    while clock.now < seconds:
        asked_at = clock.now
        store.save_if_due(Position(step=int(asked_at)))
        if (tmp_path / "state.npz").is_file():
            (tmp_path / "state.npz").unlink()
            times.append(asked_at)
        clock.now += 1.0
    return times


def test_it_saves_once_an_interval(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, cost_seconds=0.0)
    assert saving_times(tmp_path, clock, 250.0, 60.0) == [60.0, 120.0, 180.0, 240.0]


def test_interval_zero_saves_whenever_asked(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, cost_seconds=0.0)
    assert saving_times(tmp_path, clock, 5.0, 0.0) == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_slow_backup_takes_a_twentieth_of_the_time_at_most(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, cost_seconds=5.0)
    # Each starts 100 s after the last one's end.
    assert saving_times(tmp_path, clock, 400.0, 60.0) == [60.0, 165.0, 270.0, 375.0]


def test_a_backup_cut_short_leaves_the_last_whole_one(tmp_path, monkeypatch):
    model = model_of()
    store = Backup(tmp_path, variables(model), 0.0)
    store.save(Position(step=20))
    stored = values(model)
    whole = (tmp_path / "state.npz").read_bytes()
    train(model, 2)

    def cut_short(stream, **arrays):
        stream.write(whole[: len(whole) // 2])
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(backup.np, "savez", cut_short)
        with pytest.raises(OSError, match="^No space left on device$"):
            store.save(Position(step=40))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json", "state.npz"]
    assert (tmp_path / "state.npz").read_bytes() == whole
    assert Backup(tmp_path, variables(model), 0.0).restore().step == 20
    assert all(same(values(model), stored))


def test_what_a_kill_left_half_written_is_not_looked_at(tmp_path):
    model = model_of()
    Backup(tmp_path, variables(model), 0.0).save(Position(step=20))
    (tmp_path / ".part-abc123.npz").write_bytes(b"PK\x03\x04 half")
    assert Backup(tmp_path, variables(model), 0.0).restore().step == 20


def test_state_is_plain_arrays_and_json(tmp_path):
    Backup(tmp_path, variables(model_of()), 0.0).save(Position(step=3))
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        assert json.loads(arrays["note"].tobytes())["step"] == 3


def permuted(path):
    """Two arrays in the place of each other, all whole."""
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["variable_0"] = arrays["variable_0"][::-1]
    np.savez(path, **arrays)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path):
    path.write_bytes(b"")


def cut_off_before_there_were_seals(path):
    path.with_suffix(".json").unlink()
    cut_off(path)


@pytest.mark.parametrize("name", ["state.npz", "best.npz"])
@pytest.mark.parametrize(
    "damage", [permuted, cut_off, emptied, cut_off_before_there_were_seals, Path.unlink]
)
def test_damaged_backup_is_told_and_the_training_starts_anew(name, damage, tmp_path):
    model = model_of()
    save_variables(tmp_path / "best.npz", variables(model))
    Backup(tmp_path, variables(model), 60.0).save(Position(epoch=2, best_epoch=1))
    train(model, 2)
    before, told = values(model), []
    damage(tmp_path / name)
    assert Backup(tmp_path, variables(model), 60.0).restore(told.append) == Position()
    # A first start has no state either, and need not be told.
    assert len(told) == (damage is not Path.unlink or name == "best.npz")
    for line in told:
        assert line.startswith(f"Expected {tmp_path / name} as tfkd wrote it. Received: ")
        assert line.endswith(" It is made anew.")
    assert all(same(values(model), before))


def test_best_weights_that_are_damaged_at_the_end_are_named(tmp_path):
    save_variables(tmp_path / "best.npz", variables(model_of()))
    emptied(tmp_path / "best.npz")
    message = f"^Expected {tmp_path / 'best.npz'} as tfkd wrote it. Received: an empty file. "
    with pytest.raises(ArtifactError, match=message):
        load_variables(tmp_path / "best.npz", variables(model_of()))
