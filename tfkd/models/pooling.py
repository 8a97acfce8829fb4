"""From one vector a token to one vector a text; padded positions never count."""

import keras
import tensorflow as tf
from keras import ops

NAMES = ("cls", "mean", "max")


class _Pooling(keras.layers.Layer):
    """Takes the padding mask as an argument, so a mask Keras attaches to its input is no news."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, *args: object, **kwargs: object) -> None:
        """Nothing is left to mask."""


@keras.saving.register_keras_serializable(package="tfkd")
class FirstToken(_Pooling):
    """The vector of the first token, BERT's `[CLS]`: `[batch, length, width] -> [batch, width]`."""

    def call(self, vectors: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
        """Takes position 0; the mask is not needed."""
        return vectors[:, 0, :]


@keras.saving.register_keras_serializable(package="tfkd")
class MeanPooling(_Pooling):
    """The mean over the real tokens: `[batch, length, width] -> [batch, width]`.

    Right for sentence-transformers checkpoints, which were trained with it.
    """

    def call(self, vectors: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
        """Averages where `padding_mask` (`[batch, length]`) is 1."""
        weights = ops.expand_dims(ops.cast(padding_mask, vectors.dtype), -1)
        return ops.sum(vectors * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), 1)


@keras.saving.register_keras_serializable(package="tfkd")
class MaxPooling(_Pooling):
    """The largest value over the real tokens: `[batch, length, width] -> [batch, width]`."""

    def call(self, vectors: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
        """Takes the maximum where `padding_mask` (`[batch, length]`) is 1."""
        is_real = ops.expand_dims(ops.cast(padding_mask, "bool"), -1)
        # Not a constant far below: fixed int8 ranges would hold nothing else.
        smallest = ops.stop_gradient(ops.min(vectors, axis=1, keepdims=True))
        return ops.max(ops.where(is_real, vectors, smallest), axis=1)


_LAYERS: dict[str, type[keras.layers.Layer]] = {
    "cls": FirstToken,
    "mean": MeanPooling,
    "max": MaxPooling,
}


def pool(
    vectors: keras.KerasTensor, padding_mask: keras.KerasTensor, pooling: str
) -> keras.KerasTensor:
    """Applies a pooling by its name.

    Raises:
        ValueError: The name is unknown.
    """
    if pooling not in _LAYERS:
        raise ValueError(f"Expected `pooling` in {NAMES}. Received: pooling={pooling!r}")
    return _LAYERS[pooling](name="pooling")(vectors, padding_mask)
