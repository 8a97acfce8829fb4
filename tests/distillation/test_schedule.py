import math

import keras
import numpy as np
import pytest

from tfkd.distillation.schedule import SHAPES, WarmupSchedule


def rates(steps, **settings):
    schedule = WarmupSchedule(**{"peak": 1e-3, "total_steps": 130, "warmup_steps": 10, **settings})
    return [float(schedule(step)) for step in steps]


@pytest.mark.parametrize("shape", SHAPES)
def test_warm_up_rises_by_equal_steps_and_ends_at_the_peak(shape):
    expected = [1e-3 * (step + 1) / 11 for step in range(11)]
    assert rates(range(11), shape=shape) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "quarter", "half", "last", "end"),
    [
        ("linear", 0.75e-3, 0.5e-3, 1e-3 / 120, 0.0),
        (
            "cosine",
            1e-3 * (0.5 + math.sqrt(0.125)),
            0.5e-3,
            0.5e-3 * (1 - math.cos(math.pi / 120)),
            0.0,
        ),
        ("constant", 1e-3, 1e-3, 1e-3, 1e-3),
    ],
)
def test_decay(shape, quarter, half, last, end):
    found = rates([10, 40, 70, 129, 130, 500], shape=shape)
    expected = [1e-3, quarter, half, last, end, end]
    # The cosine of nearly pi has few digits in float32.
    assert found == pytest.approx(expected, rel=1e-3 if shape == "cosine" else 1e-5, abs=1e-12)


def test_without_warm_up_the_first_step_is_at_the_peak():
    assert rates([0, 65], warmup_steps=0) == pytest.approx([1e-3, 0.5e-3])


def test_an_optimizer_follows_it():
    optimizer = keras.optimizers.SGD(WarmupSchedule(0.4, total_steps=4, warmup_steps=1))
    weight = keras.Variable(np.zeros(1, np.float32))
    seen = []
    for _ in range(4):
        before = float(weight[0])
        optimizer.apply([np.ones(1, np.float32)], [weight])
        seen.append(before - float(weight[0]))
    assert seen == pytest.approx([0.2, 0.4, 0.4 * 2 / 3, 0.4 / 3], rel=1e-5)


def test_config_round_trip():
    schedule = WarmupSchedule(2e-4, 50, 5, "cosine")
    config = schedule.get_config()
    assert config == {"peak": 2e-4, "total_steps": 50, "warmup_steps": 5, "shape": "cosine"}
    saved = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(saved, safe_mode=True)
    assert isinstance(again, WarmupSchedule)
    assert again.get_config() == config
    assert float(again(20)) == float(schedule(20))


def test_unknown_shape():
    message = (
        r"^Expected `shape` in \('linear', 'cosine', 'constant'\). Received: shape='exponential'$"
    )
    with pytest.raises(ValueError, match=message):
        WarmupSchedule(1e-3, 10, 0, "exponential")


@pytest.mark.parametrize("warmup_steps", [-1, 10, 11])
def test_warm_up_has_to_end_before_the_run(warmup_steps):
    message = rf"^Expected `warmup_steps` in \[0, 10\). Received: {warmup_steps}$"
    with pytest.raises(ValueError, match=message):
        WarmupSchedule(1e-3, 10, warmup_steps)
