"""The first step of a twin whose table rows go straight into an integer product."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from tfkd.compression.qat.legacy import KerasTensor, tf_keras
from tfkd.compression.qat.scheme import Placement

# The student's own, by name.
Layers = Mapping[str, keras.layers.Layer]


class Masked(tf_keras.layers.Layer):
    """Table rows with zeros in the place of padding.

    A table of four bits gives float rows, which are rounded for the product behind it. Without an
    operator between the two the converter would round the table itself.
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Multiplies float32 `[batch, length, width]` by int32 `[batch, length]`."""
        rows, padding_mask = inputs
        return rows * tf.expand_dims(tf.cast(padding_mask, rows.dtype), -1)


def token_inputs() -> dict[str, KerasTensor]:
    """`token_ids` and `padding_mask`, int32 `[batch, length]`."""
    names = ("token_ids", "padding_mask")
    return {name: tf_keras.Input((None,), dtype="int32", name=name) for name in names}


def look_up(
    inputs: Mapping[str, KerasTensor], table: keras.layers.Embedding, place: Placement
) -> KerasTensor:
    """Rows of the twin's token table, which is as large as the student's.

    Returns:
        float32 `[batch, length, width]`; what stands for padding is for nobody to read.
    """
    twin = tf_keras.layers.Embedding(table.input_dim, table.output_dim, name="token_embedding")
    rows = place(twin, ["embeddings"])(inputs["token_ids"])
    if place.scheme is None or place.scheme.table_bits == 8:
        return rows
    return place(Masked(name="vectors"), (), "range")([rows, inputs["padding_mask"]])


def arrays_of(model: keras.Model, names: Iterable[str]) -> dict[str, list[np.ndarray]]:
    """The weights of some layers of a student by the layer's name."""
    return {
        name: [keras.ops.convert_to_numpy(weight) for weight in model.get_layer(name).weights]
        for name in names
    }
