"""The steps of an encoder that tf_keras has no layer for, each a layer so that it can be placed.

Everything here computes in float32. Which results become integers is the placement's to say; the
forms were chosen so that LiteRT's converter and its fast kernels take the whole graph in one piece.
"""

import tensorflow as tf

from tfkd.compression.qat.legacy import tf_keras


class Positions(tf_keras.layers.Layer):
    """Rows of the position table: int32 `[batch, length]` to the same, from a padding mask.

    As indices that depend on the text, they let files of several lengths share one table. Padding
    reads row 0, which nothing reads in turn.
    """

    def call(self, padding_mask: tf.Tensor) -> tf.Tensor:
        """Counts from 0; padding is 0."""
        return tf.range(tf.shape(padding_mask)[1]) * padding_mask


class SegmentShift(tf_keras.layers.Layer):
    """Shift of a second text's tokens against the first's: int32 `[batch, length]` to float32."""

    def __init__(self, width: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.width = width

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes the difference of the segment table's rows, `[width]`."""
        self.difference = self.add_weight("difference", [self.width], initializer="zeros")
        super().build(input_shape)

    def call(self, segment_ids: tf.Tensor) -> tf.Tensor:
        """The difference where the id is 1, else 0: `[batch, length, width]`."""
        return tf.cast(segment_ids, tf.float32)[:, :, None] * self.difference


class Norm(tf_keras.layers.Layer):
    """Layer normalization over the last axis."""

    def __init__(self, epsilon: float, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes `gamma` and `beta`, `[width]`."""
        self.gamma = self.add_weight("gamma", [input_shape[-1]], initializer="ones")
        self.beta = self.add_weight("beta", [input_shape[-1]], initializer="zeros")
        super().build(input_shape)

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Sums in place of means, which the converter would turn into integers on its own.

        The variance's factor `1 / width` moves out of the root and into gamma, a constant.
        """
        width = vectors.shape[-1]
        centred = vectors - tf.reduce_sum(vectors, axis=-1, keepdims=True) * (1.0 / width)
        squares = tf.reduce_sum(centred * centred, axis=-1, keepdims=True)
        inverse = tf.math.rsqrt(squares + self.epsilon * width)
        return centred * inverse * (self.gamma * width**0.5) + self.beta


class NegativeGelu(tf_keras.layers.Layer):
    """`-gelu(x)`; the next kernel has the other sign.

    LiteRT's integer GELU is not among its fast kernels, and the converter makes one of every GELU
    between rounded tensors. The sign keeps it in float: a tenth of the whole time of a small model.
    """

    def __init__(self, approximate: bool, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.approximate = approximate

    def call(self, values: tf.Tensor) -> tf.Tensor:
        """Elementwise."""
        return -tf.nn.gelu(values, approximate=self.approximate)


class SplitHeads(tf_keras.layers.Layer):
    """`[batch, length, heads * width]` to `[batch, heads, length, width]`."""

    def __init__(self, num_heads: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Rows of a head side by side."""
        length = _size(vectors, 1)
        head_width = vectors.shape[2] // self.num_heads
        split = tf.reshape(vectors, [-1, length, self.num_heads, head_width])
        return tf.transpose(split, [0, 2, 1, 3])


class MergeHeads(tf_keras.layers.Layer):
    """`[batch, heads, length, width]` to `[batch, length, heads * width]`."""

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Heads side by side."""
        rows = tf.transpose(vectors, [0, 2, 1, 3])
        return tf.reshape(rows, [-1, _size(rows, 1), rows.shape[2] * rows.shape[3]])


class Scores(tf_keras.layers.Layer):
    """Products of queries and keys: `[batch, heads, queries, keys]`."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Takes `[query, key]`, both `[batch, heads, rows, width]`."""
        query, key = inputs
        return tf.matmul(query, key, transpose_b=True)


class MaskBias(tf_keras.layers.Layer):
    """Bias on attention scores: int32 `[batch, length]` to `[batch, 1, 1, length]`."""

    def __init__(self, bias: float, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.bias = bias

    def call(self, padding_mask: tf.Tensor) -> tf.Tensor:
        """The bias where the mask is 0."""
        return (1.0 - tf.cast(padding_mask, tf.float32))[:, None, None, :] * self.bias


class Mix(tf_keras.layers.Layer):
    """Values of all rows by attention weights: `[batch, heads, queries, width]`."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Takes `[weights, values]`."""
        weights, values = inputs
        return tf.matmul(weights, values)


class FirstRow(tf_keras.layers.Layer):
    """`[batch, length, width]` to `[batch, 1, width]`."""

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Row 0, still as a row."""
        return vectors[:, :1]


class Pool(tf_keras.layers.Layer):
    """One vector for the text, as `tfkd.models.pooling` makes it: `[batch, width]`.

    Takes `[vectors, padding_mask]`, float32 `[batch, length, width]` and int32 `[batch, length]`;
    for "cls" there is one vector, the first.
    """

    def __init__(self, pooling: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Padded positions never count."""
        vectors, padding_mask = inputs
        if self.pooling == "cls":
            return tf.squeeze(vectors, axis=1)
        is_real = tf.cast(padding_mask, tf.float32)[:, :, None]
        if self.pooling == "mean":
            total = tf.maximum(tf.reduce_sum(is_real, axis=1), 1.0)
            return tf.reduce_sum(vectors * is_real, axis=1) / total
        smallest = tf.reduce_min(vectors, axis=1, keepdims=True)
        return tf.reduce_max(vectors * is_real + smallest * (1.0 - is_real), axis=1)


def _size(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """A length that the converter can see where it is known."""
    return tensor.shape[axis] if tensor.shape[axis] is not None else tf.shape(tensor)[axis]


CUSTOM_LAYERS = (
    Positions,
    SegmentShift,
    Norm,
    NegativeGelu,
    SplitHeads,
    MergeHeads,
    Scores,
    MaskBias,
    Mix,
    FirstRow,
    Pool,
)
