"""The arithmetic of a model: float32, or products in bfloat16 where the processor has them.

Weights, normalizations, activations and sums stay float32. TensorFlow's kernels for such
elementwise work are twice as slow in bfloat16, while products are three to four times as fast on a
processor with bfloat16 matrix units.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TypeAlias

import keras
import tensorflow as tf

from tfkd.models import bottleneck
from tfkd.models.token_table import read_by_row
from tfkd.process import has_bfloat16

FLOAT32, BFLOAT16, AUTO = "float32", "bfloat16", "auto"
POLICIES = {FLOAT32: "float32", BFLOAT16: "mixed_bfloat16"}
# Logits, and distances to keys that lie close together.
ALWAYS_FLOAT32 = ("logits", bottleneck.KEYS_LAYER, bottleneck.VALUES_LAYER)
_PRODUCTS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.MultiHeadAttention,
    keras.layers.LSTM,
    keras.layers.LSTMCell,
)
# Activations of many operations, each a pass over memory; KerasHub's BERT has the second.
_MANY_PASSES = ("gelu", "gelu_approximate")

Activation: TypeAlias = Callable[[tf.Tensor], tf.Tensor]


def resolved(precision: str) -> str:
    """The precision that "auto" stands for on this machine.

    Example:

    >>> resolved("auto")  # on a processor with bfloat16
    'bfloat16'
    """
    if precision != AUTO:
        return precision
    return BFLOAT16 if has_bfloat16() else FLOAT32


def set_precision(model: keras.Model, precision: str) -> None:
    """Lets the products of a model compute in another precision; its weights stay float32."""
    # The model's own policy computes nothing: it tells which precision a graph was traced in.
    model.dtype_policy = POLICIES[precision]
    for layer in _products(model):
        layer.dtype_policy = POLICIES[precision]
    _set_activations(model, precision, fused=False)


@contextlib.contextmanager
def training_arithmetic(model: keras.Model, precision: str) -> Iterator[None]:
    """The fastest arithmetic for the training of a model, while the block runs; then float32."""
    set_precision(model, precision)
    _set_activations(model, precision, fused=True)
    try:
        with read_by_row(model):
            yield
    finally:
        set_precision(model, FLOAT32)


def _products(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model._flatten_layers(include_self=False):
        # Integers are looked up, not multiplied.
        is_product = isinstance(layer, _PRODUCTS) and layer.variable_dtype == "float32"
        if is_product and layer.name not in ALWAYS_FLOAT32:
            yield layer


def _set_activations(model: keras.Model, precision: str, fused: bool) -> None:
    """Gives dense layers activations of their own precision, or their own ones back."""
    for layer in _products(model):
        if not isinstance(layer, keras.layers.Dense):
            continue
        own = getattr(layer.activation, "activation", layer.activation)
        is_fused = fused and getattr(own, "__name__", "") in _MANY_PASSES
        is_rounded = precision != FLOAT32 and own is not keras.activations.linear
        layer.activation = _float32_activation(own, is_fused) if is_fused or is_rounded else own


class _Float32Activation:
    """An activation that computes in float32, whatever it is given.

    Args:
        activation: Function. The layer's own.
        fused: Boolean. Computes value and slope in one kernel of XLA each. A GELU and its gradient
            are else twenty passes over the widest array of a transformer layer; a compilation for
            every new shape is worth it in training alone.
    """

    def __init__(self, activation: Activation, fused: bool) -> None:
        self.activation, self._is_fused = activation, fused
        compiled = tf.function(jit_compile=True, reduce_retracing=True)
        self._value, self._slope = compiled(self._computed), compiled(self._gradient)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        return self._fused(values) if self._is_fused else self._computed(values)

    def _computed(self, values: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.activation(tf.cast(values, tf.float32)), values.dtype)

    def _gradient(self, values: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(values)
            found = self._computed(values)
        return tape.gradient(found, values, upstream)

    def _fused(self, values: tf.Tensor) -> tf.Tensor:
        differentiable = tf.custom_gradient(
            lambda given: (self._value(given), functools.partial(self._slope, given))
        )
        return differentiable(values)


@functools.cache
def _float32_activation(activation: Activation, fused: bool) -> _Float32Activation:
    """One for all layers, which then share what is compiled."""
    return _Float32Activation(activation, fused)
