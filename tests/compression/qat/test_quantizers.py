"""What each quantizer makes of numbers, by hand; what it keeps; that gradients pass."""

import numpy as np
import pytest
import tensorflow as tf

from tfkd.compression.qat.legacy import tf_keras
from tfkd.compression.qat.quantizers import (
    ActivationRange,
    BlockRange,
    FixedRange,
    MaskedRange,
    StoredRange,
    WeightRange,
)
from tfkd.errors import ModelError

TABLE = np.random.default_rng(0).standard_normal((6, 64)).astype(np.float32)
TABLE[2, 32:] = 0.0


class Followed:
    """A quantizer with its variables, as a layer would hold them."""

    def __init__(self, quantizer, shape=(None,)):
        self.layer = tf_keras.layers.Layer(name="followed")
        self.quantizer = quantizer
        self.variables = quantizer.build(tf.TensorShape(shape), "output", self.layer)

    def __call__(self, values, training=True):
        rounded = self.quantizer(tf.constant(values, tf.float32), training, self.variables)
        return rounded.numpy()

    @property
    def range(self):
        return [self.variables[name].numpy() for name in ("low", "high")]


def rounded(quantizer, values):
    return quantizer(tf.constant(values, tf.float32), training=False, weights={}).numpy()


def test_kernel_has_a_range_for_each_output():
    kernel = [[1.27, 0.127], [-0.504, 0.002], [0.0, -0.0604]]
    expected = [[1.27, 0.127], [-0.5, 0.002], [0.0, -0.06]]
    np.testing.assert_allclose(rounded(WeightRange(per_channel=True), kernel), expected, atol=1e-7)


def test_table_has_one_range():
    expected = [[1.27, 0.13], [-0.5, 0.0]]
    values = rounded(WeightRange(per_channel=False), [[1.27, 0.127], [-0.504, 0.002]])
    np.testing.assert_allclose(values, expected, atol=1e-7)


@pytest.mark.parametrize("per_channel", [True, False])
def test_rounded_weights_stay_as_they_are(per_channel):
    once = rounded(WeightRange(per_channel), TABLE)
    np.testing.assert_allclose(rounded(WeightRange(per_channel), once), once, rtol=0, atol=1e-6)
    assert len(np.unique(once)) < TABLE.size


def test_weights_of_zero_stay_zero():
    assert np.all(rounded(WeightRange(per_channel=True), np.zeros((3, 2))) == 0)


def test_blocks_hold_the_numbers_of_an_int4_file():
    """By numpy, as ai-edge-quantizer computes them."""
    blocks = TABLE.reshape(-1, 32)
    scale = tf.cast(np.abs(blocks).max(1, keepdims=True) / 7, tf.bfloat16)
    scale = np.array(tf.cast(scale, tf.float16), np.float32)
    integers = np.round(np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0))
    expected = (integers * scale).reshape(TABLE.shape)
    values = rounded(BlockRange(), TABLE)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(rounded(BlockRange(), values), values)
    assert len(np.unique(integers)) == 15  # -7 to 7
    assert np.all(values[2, 32:] == 0)


def test_rows_that_blocks_do_not_fill_are_refused():
    layer = tf_keras.layers.Layer(name="tokens")
    message = (
        "^Expected a table with a multiple of 32 columns for 4 bits. Received: tokens with 48. "
        "Choose qat_int8.$"
    )
    with pytest.raises(ModelError, match=message):
        BlockRange().build(tf.TensorShape([60, 48]), "embeddings", layer)


@pytest.mark.parametrize(
    "quantizer", [WeightRange(per_channel=True), WeightRange(per_channel=False), BlockRange()]
)
def test_gradients_pass_straight_through_weights(quantizer):
    weights = tf.Variable(TABLE)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantizer(weights, training=True, weights={}) * TABLE)
    np.testing.assert_array_equal(tape.gradient(loss, weights), TABLE)


def test_first_batch_sets_the_range_and_others_move_it():
    followed = Followed(ActivationRange())
    followed([-1.0, 3.0])
    assert followed.range == [-1.0, 3.0]
    followed([-2.0, 1.0])
    np.testing.assert_allclose(followed.range, [-1.01, 2.98], rtol=1e-6)
    followed([50.0], training=False)
    np.testing.assert_allclose(followed.range, [-1.01, 2.98], rtol=1e-6)


def test_range_is_a_moving_average():
    followed = Followed(ActivationRange())
    for high in [1.0, *[2.0] * 100]:
        followed([0.0, high])
    np.testing.assert_allclose(followed.range, [0.0, 2.0 - 0.99**100], rtol=1e-5)


def test_range_stays_after_the_last_moving_batch():
    followed = Followed(ActivationRange(freeze_after=2))
    for high in (1.0, 2.0):
        followed([0.0, high])
    held = followed.range
    followed([-5.0, 70.0])
    assert followed.range == held
    assert followed.variables["count"].numpy() == 3


def test_a_resumed_range_goes_on_where_it_was():
    batches = np.random.default_rng(0).standard_normal((6, 10)).astype(np.float32)
    whole, resumed = (Followed(ActivationRange(freeze_after=4)) for _ in range(2))
    for batch in batches[:3]:
        whole(batch)
    for name, variable in whole.variables.items():
        resumed.variables[name].assign(variable)
    for batch in batches[3:]:
        np.testing.assert_array_equal(resumed(batch), whole(batch))
    assert resumed.range == whole.range


def test_zero_is_always_a_value():
    followed = Followed(ActivationRange())
    followed([2.0, 3.0])
    assert followed.range == [0.0, 3.0]
    np.testing.assert_allclose(followed([0.0, 1.0], training=False), [0.0, 255 // 3 * 3 / 255])


def test_a_batch_of_zeros_gives_zeros():
    assert np.all(Followed(ActivationRange())([0.0, 0.0]) == 0)


@pytest.mark.parametrize(("values", "step"), [([-1.28, 0.3], 0.01), ([-0.1, 2.54], 0.02)])
def test_symmetric_range_has_zero_in_the_middle(values, step):
    followed = Followed(ActivationRange(symmetric=True))
    followed(values)
    np.testing.assert_allclose(followed.range, [-128 * step, 127 * step], rtol=1e-6)
    everything = followed(np.linspace(-9, 9, 20001), training=False)
    integers = np.unique(np.round(everything / step))
    np.testing.assert_array_equal(integers, np.arange(-128, 128))


def test_values_outside_the_range_get_no_gradient():
    followed = Followed(ActivationRange())
    followed([-1.0, 1.0])
    values = tf.Variable([-3.0, 0.5, 3.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(followed.quantizer(values, False, followed.variables))
    np.testing.assert_array_equal(tape.gradient(loss, values), [0.0, 1.0, 0.0])


def test_masked_scores_end_a_margin_below_the_others():
    followed = Followed(MaskedRange(bias=-32.0))
    scores = followed([-2.0, 1.5, -32.0, -31.0])
    assert followed.range == [-10.0, 1.5]
    # One step is 11.5 / 255, and zero is one of the values.
    np.testing.assert_allclose(scores, [-2.0, 1.5, -10.0, -10.0], atol=0.03)
    assert scores[2] == scores[3]


def test_fixed_range_holds_what_softmax_gives():
    values = rounded(FixedRange(0.0, 255 / 256), [0.0, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(values, [0.0, 26 / 256, 0.5, 255 / 256])


def test_stored_range_changes_nothing_that_is_rounded():
    table = rounded(WeightRange(per_channel=False), TABLE)
    followed = Followed(StoredRange(), TABLE.shape)
    followed.variables["limit"].assign(np.abs(table).max())
    np.testing.assert_allclose(followed(table), table, rtol=0, atol=1e-6)


def test_quantizers_are_equal_by_their_settings():
    assert WeightRange(True) == WeightRange(True) != WeightRange(False)
    assert ActivationRange(freeze_after=3) != ActivationRange(freeze_after=4)
    assert hash(FixedRange(0.0, 1.0)) == hash(FixedRange(0.0, 1.0))
    assert BlockRange() != StoredRange()
    for quantizer in (ActivationRange(True, 5), MaskedRange(-32.0, 5), FixedRange(0.0, 1.0)):
        assert type(quantizer).from_config(quantizer.get_config()) == quantizer
