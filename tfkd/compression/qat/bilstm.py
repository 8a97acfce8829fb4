"""The BiLSTM student as a tf_keras twin whose products, all of them, become integers.

Both directions read the same projected table rows, the backward one from the text's last token on,
and run as one loop that keeps the largest state so far. So nothing is masked, padding is never
walked over, and LiteRT gets a loop of few operators. Cell states, gates and their sums are float.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfkd.compression.qat.inputs import Layers, Masked, arrays_of, look_up, token_inputs
from tfkd.compression.qat.legacy import tf_keras
from tfkd.compression.qat.quantizers import ActivationRange, FixedRange
from tfkd.compression.qat.scheme import Placement
from tfkd.models.classifier import TextClassifier

# Input, forget, output, candidate: the three that share a function stand side by side. Keras has
# the candidate third; the order is its own inverse.
_GATES = (0, 1, 3, 2)
_STATE = FixedRange(-1.0, 127 / 128)
# The converter rounds sigmoids so wherever a file has fixed ranges; the training must know.
_GATE = FixedRange(0.0, 255 / 256)


class Steps(tf_keras.layers.Layer):
    """Input of the loop at each step: float32 `[length, 2 * batch, 4 * units]`.

    Takes `[projected, padding_mask]`, float32 `[batch, length, 8 * units]` and int32
    `[batch, length]`. Of a step the first half is the forward direction of every text, the second
    the backward one.
    """

    def __init__(self, units: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.units = units

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Puts rows in the order of the loop; behind a text's end they are never used."""
        projected, padding_mask = inputs
        batch, length = tf.unstack(tf.shape(padding_mask))
        sizes = tf.reduce_sum(padding_mask, axis=1)
        steps, texts = tf.expand_dims(tf.range(length), 1), tf.range(batch) * length
        forward = texts + steps + tf.zeros_like(sizes)
        backward = texts + tf.maximum(sizes - 1 - steps, 0)
        rows = tf.reshape(projected, [-1, 4 * self.units])
        return tf.gather(rows, tf.concat([2 * forward, 2 * backward + 1], axis=1))


class Recurrence(tf_keras.layers.Layer):
    """Both directions of the LSTM; the largest state of each unit over a text's tokens.

    Takes `[steps, padding_mask]`, float32 `[length, 2 * batch, 4 * units]` and int32
    `[batch, length]`; gives float32 `[batch, 2 * units]`.

    Args:
        units: Integer. LSTM units in each direction.
        is_float: Boolean. Rounds nothing; else states, their products and the gates are integers.
        freeze_after: Integer. See `ActivationRange`, by which products are rounded.
    """

    def __init__(
        self, units: int, is_float: bool = True, freeze_after: int | None = None, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.is_float = is_float
        self.quantizer = ActivationRange(freeze_after=freeze_after)

    def build(self, input_shape: list[tf.TensorShape]) -> None:
        """Makes a kernel for each direction."""
        for name in ("forward_kernel", "backward_kernel"):
            setattr(self, name, self.add_weight(name, [self.units, 4 * self.units]))
        if not self.is_float:
            self.product_range = self.quantizer.build(None, "product", self)
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Runs the loop up to the end of the longest text."""
        steps, padding_mask = inputs
        sizes = tf.tile(tf.reduce_sum(padding_mask, axis=1, keepdims=True), [2, 1])
        array = tf.TensorArray(tf.float32, tf.shape(steps)[0], element_shape=steps.shape[1:])
        array = array.unstack(steps)
        zeros = tf.zeros_like(steps[0, :, : self.units])

        def step(
            index: int | tf.Tensor,
            state: tf.Tensor,
            cell: tf.Tensor,
            strongest: tf.Tensor,
            bounds: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            product = self._product(state)
            if training and not self.is_float:
                bounds = _widened(bounds, product)
            state, cell = self._next(array.read(index) + self._rounded(product, training), cell)
            # The loop ends with a lone text: only shorter texts beside it must be held back.
            found = state if state.shape[0] == 2 else tf.where(index < sizes, state, -1.0)
            return index + 1, state, cell, tf.maximum(strongest, found), bounds

        *_, strongest, bounds = tf.while_loop(
            lambda index, *_: index < tf.reduce_max(sizes),
            step,
            (0, zeros, zeros, zeros - 1.0, tf.zeros([2])),
        )
        if training and not self.is_float:
            self.quantizer(bounds, True, self.product_range)
        return tf.concat(tf.split(strongest, 2), axis=1)

    def compute_output_shape(self, input_shape: list[tf.TensorShape]) -> tf.TensorShape:
        """`[batch, 2 * units]`."""
        return tf.TensorShape([None, 2 * self.units])

    def _product(self, state: tf.Tensor) -> tf.Tensor:
        """Each direction's states by its kernel: `[2 * batch, 4 * units]`."""
        if not self.is_float:
            state = _STATE(state, False, {})
        # Not `tf.split`: XNNPACK fails on an int8 SPLIT along the first axis (LiteRT 2.3.0).
        texts = tf.shape(state)[0] // 2
        forward, backward = state[:texts], state[texts:]
        return tf.concat([forward @ self.forward_kernel, backward @ self.backward_kernel], axis=0)

    def _rounded(self, product: tf.Tensor, training: bool | None) -> tf.Tensor:
        """The product as the file's integers, once a batch has told how large it gets."""
        if self.is_float:
            return product
        rounded = self.quantizer(product, False, self.product_range)
        return tf.where(self.product_range["count"] > 0, rounded, product) if training else rounded

    def _next(self, sums: tf.Tensor, cell: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """State and cell after a step, from what goes into the gates."""
        gates = tf.sigmoid(sums[:, : 3 * self.units])
        if not self.is_float:
            gates = _GATE(gates, False, {})
        entering, staying, leaving = tf.split(gates, 3, axis=1)
        cell = staying * cell + entering * tf.tanh(sums[:, 3 * self.units :])
        return leaving * tf.tanh(cell), cell


CUSTOM_LAYERS = (Masked, Steps, Recurrence)


def parts_of(classifier: TextClassifier) -> Layers | None:
    """The layers by name of a student that `build_bilstm` made; None for any other."""
    layers = {layer.name: layer for layer in classifier.model.layers}
    return layers if isinstance(layers.get("bilstm"), keras.layers.Bidirectional) else None


def build(layers: Layers, place: Placement) -> tf_keras.Model:
    """The twin of a student with these layers, untrained.

    Returns:
        Functional model: `token_ids`, `padding_mask` (int32 `[batch, length]`, padding at the end)
        to float32 logits `[batch, num_outputs]`.
    """
    inputs, units = token_inputs(), layers["bilstm"].forward_layer.units
    vectors = look_up(inputs, layers["token_embedding"], place)
    projection = tf_keras.layers.Dense(8 * units, name="projection")
    projected = place(projection, ["kernel"], "range")(vectors)
    steps = Steps(units, name="steps")([projected, inputs["padding_mask"]])
    freeze_after = None if place.scheme is None else place.scheme.freeze_after
    recurrence = Recurrence(units, place.scheme is None, freeze_after, name="bilstm")
    kernels = ["forward_kernel", "backward_kernel"]
    strongest = place(recurrence, kernels, "tanh")([steps, inputs["padding_mask"]])
    logits = tf_keras.layers.Dense(layers["logits"].units, name="logits")
    return tf_keras.Model(inputs, place(logits, ["kernel"], "range")(strongest), name="bilstm")


def read(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """The student's weights as the twin's: layer names to arrays."""
    weights = arrays_of(model, ("token_embedding", "bilstm", "logits"))
    arrays = _reordered(weights["bilstm"])
    (kernel, forward, bias), (other_kernel, backward, other_bias) = arrays[:3], arrays[3:]
    return {
        "token_embedding": weights["token_embedding"],
        "projection": [np.hstack([kernel, other_kernel]), np.hstack([bias, other_bias])],
        "bilstm": [forward, backward],
        "logits": weights["logits"],
    }


def _widened(bounds: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """The bounds `[low, high]`, moved apart as far as the values need."""
    values = tf.stop_gradient(values)
    low = tf.minimum(bounds[0], tf.reduce_min(values))
    return tf.stack([low, tf.maximum(bounds[1], tf.reduce_max(values))])


def _reordered(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Kernels and biases with the gates of Keras in the twin's order."""
    return [
        np.concatenate([np.split(array, 4, axis=-1)[gate] for gate in _GATES], axis=-1)
        for array in arrays
    ]
