"""Quantizers: they round numbers while a model learns to live with it.

Each class is TF-MOT's `Quantizer`: `build` makes the variables it keeps in a layer, the call rounds
a tensor to the values its integer file can hold, with a gradient that passes straight through.
"""

import inspect
from collections.abc import Mapping
from typing import TypeAlias

import tensorflow as tf

from tfkd.compression.qat.legacy import tf_keras, tfmot
from tfkd.errors import ModelError

MOMENTUM = 0.99
BLOCK_SIZE = 32
_SMALLEST_LIMIT = 1e-8

Variables = Mapping[str, tf.Variable]

# A layer's variable, or what its graph reads of it.
Weight: TypeAlias = tf.Tensor | tf.Variable


class Quantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """Base of the others: equality by settings, as of TF-MOT's own, and nothing to keep."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self).__name__, *self.get_config().items()))

    def build(
        self, tensor_shape: tf.TensorShape | None, name: str, layer: tf_keras.layers.Layer
    ) -> Variables:
        """Keeps nothing."""
        return {}

    def get_config(self) -> dict[str, object]:
        """The arguments of the constructor, which are attributes of the same names."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}


class WeightRange(Quantizer):
    """Weights as symmetric integers from -127 to 127.

    The range is that of the weights as they are, so nothing is kept and nothing lags behind.

    Args:
        per_channel: Boolean. A range for each index of the last axis, a kernel's outputs; else one
            for all.

    Example:

    >>> WeightRange(per_channel=True)(tf.constant([[1.27, 0.127], [-0.504, 0.002]]), False, {})
    [[1.27, 0.127], [-0.5, 0.002]]
    """

    def __init__(self, per_channel: bool) -> None:
        self.per_channel = per_channel

    def __call__(
        self, inputs: Weight, training: bool, weights: Variables, **kwargs: object
    ) -> tf.Tensor:
        """The nearest values the integers stand for."""
        inputs = tf.convert_to_tensor(inputs)
        axes = list(range(len(inputs.shape) - 1)) if self.per_channel else None
        limit = tf.maximum(tf.reduce_max(tf.abs(inputs), axis=axes), _SMALLEST_LIMIT)
        scale = limit / 127.0
        return tf.grad_pass_through(lambda values: tf.round(values / scale) * scale)(inputs)


class StoredRange(Quantizer):
    """The range of weights that are rounded already, for the converter, which wants constants.

    Its variable `limit` is the largest size; `tfkd.compression.qat.mirror.load` sets it.
    """

    def build(
        self, tensor_shape: tf.TensorShape | None, name: str, layer: tf_keras.layers.Layer
    ) -> Variables:
        """Makes `<name>_limit`, a float32 scalar."""
        return {"limit": _scalar(layer, f"{name}_limit", 1.0)}

    def __call__(
        self, inputs: Weight, training: bool, weights: Variables, **kwargs: object
    ) -> tf.Tensor:
        """The same values, by constants."""
        limit = weights["limit"]
        return tf.quantization.fake_quant_with_min_max_vars(
            inputs, -limit, limit, num_bits=8, narrow_range=True
        )


class BlockRange(Quantizer):
    """A table's rows in blocks of 32 with a scale each: the very numbers of an int4 file.

    The steps are those of ai-edge-quantizer's BLOCKWISE_32 (0.10): a scale is rounded to bfloat16,
    then to float16, and is zero for a block of zeros.
    """

    def build(
        self, tensor_shape: tf.TensorShape, name: str, layer: tf_keras.layers.Layer
    ) -> Variables:
        """Keeps nothing; refuses rows that blocks do not fill.

        Raises:
            ModelError: The rows are no multiple of the block.
        """
        if tensor_shape[-1] % BLOCK_SIZE:
            raise ModelError(
                f"Expected a table with a multiple of {BLOCK_SIZE} columns for 4 "
                f"bits. Received: {layer.name} with {tensor_shape[-1]}. Choose qat_int8."
            )
        return {}

    def __call__(
        self, inputs: Weight, training: bool, weights: Variables, **kwargs: object
    ) -> tf.Tensor:
        """The nearest values of each block."""
        return tf.grad_pass_through(self._rounded)(tf.convert_to_tensor(inputs))

    def _rounded(self, rows: tf.Tensor) -> tf.Tensor:
        blocks = tf.reshape(rows, [-1, BLOCK_SIZE])
        scale = tf.reduce_max(tf.abs(blocks), axis=1, keepdims=True) / 7.0
        for dtype in (tf.bfloat16, tf.float16, tf.float32):
            scale = tf.cast(scale, dtype)
        steps = tf.round(tf.math.divide_no_nan(blocks, scale))
        return tf.reshape(tf.clip_by_value(steps, -8.0, 7.0) * scale, tf.shape(rows))


class ActivationRange(Quantizer):
    """A range that follows what flows through: 256 values from `low` to `high`, zero among them.

    The first training batch sets it, later ones move it by one part in a hundred, so that a few
    hundred steps are enough. Batches are counted in a variable, so a resumed training goes on where
    it was.

    Args:
        symmetric: Boolean. The integer for zero is 0: what LiteRT's fast batched product wants of
            its right operand.
        freeze_after: Integer. Training batches after which the range stays; None for never.
    """

    def __init__(self, symmetric: bool = False, freeze_after: int | None = None) -> None:
        self.symmetric = symmetric
        self.freeze_after = freeze_after

    def build(
        self, tensor_shape: tf.TensorShape | None, name: str, layer: tf_keras.layers.Layer
    ) -> Variables:
        """Makes `<name>_low`, `<name>_high` and `<name>_count`, scalars."""
        return {
            "low": _scalar(layer, f"{name}_low", 0.0),
            "high": _scalar(layer, f"{name}_high", 0.0),
            "count": _scalar(layer, f"{name}_count", 0, tf.int32),
        }

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: Variables, **kwargs: object
    ) -> tf.Tensor:
        """The nearest of the 256 values; training moves them first."""
        low, high = weights["low"], weights["high"]
        if training:
            low, high = self._follow(inputs, weights)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=8)

    def _follow(self, inputs: tf.Tensor, weights: Variables) -> tuple[tf.Tensor, tf.Tensor]:
        seen_low, seen_high = self._bounds(tf.stop_gradient(inputs))
        count = weights["count"].read_value()
        share = tf.where(count == 0, 1.0, 1.0 - MOMENTUM)
        if self.freeze_after is not None:
            share = tf.where(count < self.freeze_after, share, 0.0)
        low = weights["low"] + share * (seen_low - weights["low"])
        high = weights["high"] + share * (seen_high - weights["high"])
        for name, value in (("low", low), ("high", high), ("count", count + 1)):
            weights[name].assign(value)
        return low, high

    def _bounds(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The ends of a batch's range: zero is inside, and there is more than one value."""
        low = tf.minimum(tf.reduce_min(values), 0.0)
        high = tf.maximum(tf.reduce_max(values), 0.0)
        if self.symmetric:
            # 127 steps up, 128 down.
            high = tf.maximum(high, -low * (127 / 128))
            low = -high * (128 / 127)
        return low, tf.maximum(high, low + _SMALLEST_LIMIT)


class MaskedRange(ActivationRange):
    """The range of attention scores whose padded ones got a bias: that of the others, and a margin.

    Padded scores end up at the low end, `MARGIN` below the lowest other, where softmax makes next
    to nothing of them; the bias itself would take most of the 256 values.

    Args:
        bias: Float. Below half of it a score is taken for padding.
        freeze_after: Integer. As in `ActivationRange`.
    """

    MARGIN = 8.0

    def __init__(self, bias: float, freeze_after: int | None = None) -> None:
        super().__init__(freeze_after=freeze_after)
        self.bias = bias

    def _bounds(self, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        low, high = super()._bounds(tf.where(values > self.bias / 2, values, 0.0))
        return low - self.MARGIN, high


class FixedRange(Quantizer):
    """A range known beforehand, as LiteRT demands of softmax and tanh."""

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: Variables, **kwargs: object
    ) -> tf.Tensor:
        """The nearest of the 256 values."""
        return tf.quantization.fake_quant_with_min_max_args(inputs, self.low, self.high)


def _scalar(
    layer: tf_keras.layers.Layer, name: str, value: float, dtype: tf.DType = tf.float32
) -> tf.Variable:
    return layer.add_weight(
        name,
        shape=(),
        dtype=dtype,
        trainable=False,
        initializer=tf_keras.initializers.Constant(value),
    )
