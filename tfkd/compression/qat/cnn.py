"""The CNN student as a tf_keras twin that becomes integers from the table to the logits.

The convolution is one product over windows: the rows of neighbours side by side. A window over
padding is replaced by the text's first, which cannot change the largest answer, so that nothing has
to be masked once numbers are multiplied.
"""

import keras
import numpy as np
import tensorflow as tf

from tfkd.compression.qat.inputs import Layers, Masked, arrays_of, look_up, token_inputs
from tfkd.compression.qat.legacy import tf_keras
from tfkd.compression.qat.scheme import Placement
from tfkd.models.classifier import TextClassifier


class Windows(tf_keras.layers.Layer):
    """Rows of neighbours side by side: float32 `[batch, length, size * width]`.

    Takes `[vectors, padding_mask]`, float32 `[batch, length, width]` and int32 `[batch, length]`.
    Beyond the text a window sees zeros, as a kernel of Keras does with padding "same".
    """

    def __init__(self, size: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Reads the first window again for each position that is padding."""
        vectors, padding_mask = inputs
        before = (self.size - 1) // 2
        length = tf.shape(vectors)[1]
        positions = tf.range(length)
        # Row 0 is the zeros.
        rows = tf.pad(vectors, [[0, 0], [1, 0], [0, 0]])
        numbers = tf.pad((positions + 1) * padding_mask, [[0, 0], [before, self.size - 1 - before]])
        neighbours = tf.expand_dims(positions * padding_mask, -1) + tf.range(self.size)
        read = tf.gather(numbers, neighbours, batch_dims=1)
        windows = tf.gather(rows, read, batch_dims=1)
        return tf.reshape(windows, [-1, length, self.size * vectors.shape[2]])


class Strongest(tf_keras.layers.Layer):
    """The largest answer of each detector: `[batch, length, filters]` to `[batch, filters]`."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Takes the maximum over positions."""
        return tf.reduce_max(inputs, axis=1)


CUSTOM_LAYERS = (Masked, Windows, Strongest)


def parts_of(classifier: TextClassifier) -> Layers | None:
    """The layers by name of a student that `build_cnn` made; None for any other."""
    layers = {layer.name: layer for layer in classifier.model.layers}
    return layers if isinstance(layers.get("trigrams"), keras.layers.Conv1D) else None


def build(layers: Layers, place: Placement) -> tf_keras.Model:
    """The twin of a student with these layers, untrained.

    Returns:
        Functional model: `token_ids`, `padding_mask` (int32 `[batch, length]`, padding at the end)
        to float32 logits `[batch, num_outputs]`.
    """
    inputs = token_inputs()
    vectors = look_up(inputs, layers["token_embedding"], place)
    (window,), filters = layers["trigrams"].kernel_size, layers["trigrams"].filters
    windows = Windows(window, name="windows")([vectors, inputs["padding_mask"]])
    detectors = tf_keras.layers.Dense(filters, activation="relu", name="trigrams")
    found = place(detectors, ["kernel"], "range")(windows)
    strongest = Strongest(name="pooling")(found)
    logits = tf_keras.layers.Dense(layers["logits"].units, name="logits")
    return tf_keras.Model(inputs, place(logits, ["kernel"], "range")(strongest), name="cnn")


def read(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """The student's weights as the twin's: layer names to arrays."""
    weights = arrays_of(model, ("token_embedding", "trigrams", "logits"))
    kernel, bias = weights["trigrams"]
    return {**weights, "trigrams": [kernel.reshape(-1, len(bias)), bias]}
