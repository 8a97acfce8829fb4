import keras
import numpy as np
import pytest
import tensorflow as tf

from tfkd.distillation.optimizer import FusedAdamW
from tfkd.distillation.schedule import WarmupSchedule


def variables(dtype="float32"):
    generator = np.random.default_rng(0)
    shapes = {"table": (50, 4), "kernel": (4, 3), "bias": (3,)}
    return [
        keras.Variable(generator.normal(size=shape), name=name, dtype=dtype)
        for name, shape in shapes.items()
    ]


def optimized(kind, dtype="float32", steps=40, **options):
    """Weights, momenta and velocities after steps of which most leave most rows alone."""
    found = variables(dtype)
    schedule = WarmupSchedule(0.05, total_steps=60, warmup_steps=5)
    optimizer = kind(schedule, weight_decay=0.1, global_clipnorm=1.0, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(found)

    @tf.function
    def step(rows, values):
        table = tf.math.unsorted_segment_sum(values, rows, 50)
        gradients = [table, tf.ones([4, 3]) * values[0, 0], tf.ones([3]) * values[0, 1]]
        gradients = [tf.cast(gradient, dtype) for gradient in gradients]
        optimizer.apply_gradients(zip(gradients, found, strict=True))

    generator = np.random.default_rng(1)
    for _ in range(steps):
        step(generator.integers(0, 50, 6), generator.normal(size=(6, 4)).astype("float32"))
    return [np.array(variable.value) for variable in [*found, *optimizer.variables]]


def test_numbers_are_those_of_keras():
    for ours, theirs in zip(optimized(FusedAdamW), optimized(keras.optimizers.AdamW), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_norm_of_a_table_is_that_of_its_rows():
    """Two slices of one row add up: 3 and 4 of one and of two rows have norms 7 and 5."""
    for rows, norm in (([1, 1], 7.0), ([0, 1], 5.0)):
        table = keras.Variable(np.zeros([3, 1]), name="table")
        optimizer = FusedAdamW(0.1, global_clipnorm=0.7)
        optimizer.build([table])
        slices = tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant(rows), [3, 1])
        optimizer.apply_gradients([(slices, table)])
        expected = np.zeros([3, 1])
        np.add.at(expected, rows, [[3.0], [4.0]])
        momentum = optimizer.variables[2]
        np.testing.assert_allclose(momentum, 0.1 * expected * 0.7 / norm, rtol=1e-6)


@pytest.mark.parametrize("clip_norm", [None, 0.5, 1e6])
def test_slices_and_dense_gradients_are_one(clip_norm):
    found = []
    for is_dense in (True, False):
        table = keras.Variable(np.ones([4, 2]), name="table")
        optimizer = FusedAdamW(0.1, global_clipnorm=clip_norm)
        optimizer.build([table])
        for rows in ([0, 2, 2], [3, 3, 3]):
            values = tf.constant([[1.0, -1.0], [2.0, 0.5], [0.25, 4.0]])
            gradient = tf.IndexedSlices(values, tf.constant(rows), [4, 2])
            if is_dense:
                gradient = tf.convert_to_tensor(gradient)
            optimizer.apply_gradients([(gradient, table)])
        found.append(np.array(table.value))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_first_step_moves_every_weight_by_the_rate_against_its_sign():
    """Adam's first step is the learning rate times the sign; the decay comes before it."""
    weight = keras.Variable([1.0, -2.0, 3.0], name="weight")
    optimizer = FusedAdamW(0.01, weight_decay=0.5)
    optimizer.build([weight])
    optimizer.apply_gradients([(tf.constant([0.3, -20.0, 0.1]), weight)])
    decayed = np.array([1.0, -2.0, 3.0]) * (1 - 0.5 * 0.01)
    np.testing.assert_allclose(weight.value, decayed - 0.01 * np.array([1, -1, 1]), rtol=1e-5)
    assert int(optimizer.iterations) == 1


@pytest.mark.parametrize(
    ("dtype", "options"), [("float64", {}), ("float32", {"amsgrad": True})], ids=["64", "amsgrad"]
)
def test_what_the_kernel_does_not_know_is_keras_own(dtype, options):
    for ours, theirs in zip(
        optimized(FusedAdamW, dtype, **options),
        optimized(keras.optimizers.AdamW, dtype, **options),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_it_is_saved_and_loaded_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile(FusedAdamW(0.02, weight_decay=0.3), loss="mse")
    model.fit(np.ones([4, 2]), np.ones([4, 1]), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert type(loaded) is FusedAdamW
    assert loaded.weight_decay == 0.3
    for ours, theirs in zip(loaded.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
