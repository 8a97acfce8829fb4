"""A key-value bottleneck in the lean graph: products with the keys, the smallest, one gather."""

import keras
import numpy as np
import tensorflow as tf

from tfkd.models.bottleneck import MLP, Bottleneck


class KeyValueLookup(tf.Module):
    """The bottleneck over the rows of one text: float32 `[length, width] -> [length, out]`.

    Args:
        bottleneck: `Bottleneck`.
    """

    def __init__(self, bottleneck: Bottleneck) -> None:
        super().__init__()
        keys = keras.ops.convert_to_numpy(bottleneck.keys.keys)
        self._kernels = [_variable(-2 * book.T) for book in keys]
        self._squares = [_variable(np.sum(book * book, axis=1)) for book in keys]
        table = bottleneck.values
        self._values = _variable(keras.ops.convert_to_numpy(table.values))
        self._num_keys, self._is_joined = table.num_keys, table.decoder == MLP

    def __call__(self, vectors: tf.Tensor) -> tf.Tensor:
        """Values of the nearest keys, side by side or averaged."""
        slices = tf.split(vectors, len(self._kernels), axis=-1)
        nearest = [
            tf.argmin(tf.matmul(part, kernel) + squares, axis=-1, output_type=tf.int32)
            for part, kernel, squares in zip(slices, self._kernels, self._squares, strict=True)
        ]
        starts = self._num_keys * np.arange(len(nearest), dtype=np.int32)
        values = tf.gather(self._values, tf.stack(nearest, axis=-1) + starts)
        if self._is_joined:
            return tf.reshape(values, [vectors.shape[0], -1])
        return tf.reduce_mean(values, axis=1)


def _variable(values: np.ndarray) -> tf.Variable:
    return tf.Variable(values.astype(np.float32), trainable=False)
