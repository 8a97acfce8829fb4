"""A student with a discrete key-value bottleneck on a frozen encoder: only values are trained.

The vector of every token is cut into contiguous slices, one a codebook. Of each codebook the
nearest key's value is read, and the values of the real tokens are averaged. What a text teaches
changes only the values that its own tokens read.

After Träuble et al., 2023 (https://arxiv.org/abs/2207.11240), for text after Diera et al., 2024
(https://arxiv.org/abs/2412.08528). Of their variants this is the one with slices of the hidden
vector and pooling behind the bottleneck: a thousand keys a codebook tell many tokens apart, but few
texts. Padding is left out of the mean.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd.errors import ModelError
from tfkd.models.pooling import pool

if TYPE_CHECKING:
    import keras_hub

MLP, VALUES = "mlp", "values"
DECODERS = (MLP, VALUES)
KEYS_LAYER, VALUES_LAYER = "nearest_keys", "values"
KEY_NUMBERS = "key_numbers"
KEY_WIDTH = 12
NUM_KEYS = 1024


class Bottleneck(NamedTuple):
    """The two layers of a bottleneck, between which a token is `num_codebooks` integers."""

    keys: "NearestKeys"
    values: "ValueTable"


@keras.saving.register_keras_serializable(package="tfkd")
class NearestKeys(keras.layers.Layer):
    """Number of the key nearest to each slice: `[..., width] -> int32 [..., num_codebooks]`.

    Keys are set from unlabelled texts (`tfkd.models.keys`) and never trained; there is no gradient
    to the input. Distances are Euclidean; of equal ones the first key is taken.

    Args:
        num_codebooks: Integer. Slices of the input's last axis, which it must divide.
        num_keys: Integer. Keys in each codebook.

    Attributes:
        keys: float32 `[num_codebooks, num_keys, slice_width]`, not trainable.

    Raises:
        ValueError: The slices are not equal.
    """

    def __init__(self, num_codebooks: int, num_keys: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.num_codebooks, self.num_keys = num_codebooks, num_keys
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes keys for inputs of one width."""
        width = input_shape[-1]
        if width % self.num_codebooks:
            raise ValueError(
                "Expected `num_codebooks` to divide the width of the input. Received: "
                f"num_codebooks={self.num_codebooks}, width={width}"
            )
        shape = (self.num_codebooks, self.num_keys, width // self.num_codebooks)
        self.keys = self.add_weight(
            name="keys", shape=shape, initializer="random_normal", trainable=False
        )
        self.built = True

    def call(self, vectors: tf.Tensor) -> tf.Tensor:
        """Numbers of the keys nearest to the slices."""
        found = []
        for part, keys in zip(
            ops.split(vectors, self.num_codebooks, axis=-1), ops.unstack(self.keys), strict=True
        ):
            # The slice's own square is the same for all keys. One codebook at a time: all
            # distances of a batch would be gigabytes.
            distances = ops.sum(keys * keys, axis=-1) + ops.matmul(-2 * part, ops.transpose(keys))
            # Not Keras' argmin, which reads all distances twice more to tell -0.0 from 0.0.
            found.append(tf.argmin(distances, axis=-1, output_type=tf.int32))
        return ops.stack(found, axis=-1)

    def compute_output_spec(self, vectors: keras.KerasTensor) -> keras.KerasTensor:
        """Integers, one a codebook."""
        return keras.KerasTensor((*vectors.shape[:-1], self.num_codebooks), dtype="int32")

    def compute_mask(self, *args: object, **kwargs: object) -> None:
        """The mean behind the values takes the padding mask itself."""

    def get_config(self) -> dict[str, object]:
        """Arguments of `from_config`."""
        return {
            **super().get_config(),
            "num_codebooks": self.num_codebooks,
            "num_keys": self.num_keys,
        }


@keras.saving.register_keras_serializable(package="tfkd")
class ValueTable(keras.layers.Layer):
    """The values of keys by their numbers: `int32 [..., codebooks] -> float32 [..., out]`.

    Args:
        num_keys: Integer. Values in each codebook.
        value_width: Integer. Numbers in a value.
        decoder: String. "mlp": values side by side, `num_codebooks * value_width` numbers.
            "values": their mean over the codebooks, `value_width` numbers.

    Attributes:
        values: float32 `[num_codebooks * num_keys, value_width]`, one table for all codebooks.

    Raises:
        ValueError: The decoder is unknown.
    """

    def __init__(
        self, num_keys: int, value_width: int, decoder: str = MLP, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        if decoder not in DECODERS:
            raise ValueError(f"Expected `decoder` in {DECODERS}. Received: decoder={decoder!r}")
        self.num_keys, self.value_width, self.decoder = num_keys, value_width, decoder

    def build(self, input_shape: Any) -> None:
        """Makes the values for a number of codebooks."""
        self.num_codebooks = input_shape[-1]
        # As logits, a value that no text has read yet must say nothing.
        is_logits = self.decoder == VALUES
        self.values = self.add_weight(
            name="values",
            shape=(self.num_codebooks * self.num_keys, self.value_width),
            initializer="zeros" if is_logits else "random_normal",
        )
        self.built = True

    def call(self, key_numbers: tf.Tensor) -> tf.Tensor:
        """Values of the keys, put together as the decoder asks."""
        starts = self.num_keys * ops.arange(self.num_codebooks, dtype="int32")
        values = tf.gather(self.values, key_numbers + starts)
        if self.decoder == VALUES:
            return ops.mean(values, axis=-2)
        return ops.reshape(values, (*ops.shape(values)[:-2], self.num_codebooks * self.value_width))

    def compute_output_spec(self, key_numbers: keras.KerasTensor) -> keras.KerasTensor:
        """The decoder's width."""
        factor = 1 if self.decoder == VALUES else key_numbers.shape[-1]
        return keras.KerasTensor(
            (*key_numbers.shape[:-1], factor * self.value_width), dtype=self.compute_dtype
        )

    def get_config(self) -> dict[str, object]:
        """Arguments of `from_config`."""
        return {
            **super().get_config(),
            "num_keys": self.num_keys,
            "value_width": self.value_width,
            "decoder": self.decoder,
        }


def build_bottleneck_classifier(
    backbone: "keras_hub.models.Backbone",
    num_outputs: int,
    num_codebooks: int | None = None,
    num_keys: int = NUM_KEYS,
    decoder: str = MLP,
    dropout: float = 0.1,
) -> keras.Model:
    """Puts a bottleneck on a frozen copy of an encoder.

    Args:
        backbone: `keras_hub.models.Backbone`; it stays as it is.
        num_outputs: Integer. Width of the logits.
        num_codebooks: Integer. Slices of a token's vector. Default: of 12 numbers each.
        num_keys: Integer. Keys in each codebook. They are random until they are set.
        decoder: String. "mlp": values as wide as their slices, side by side, dropout and a dense
            layer. "values": the mean of the values is the logits; nothing else is trained.
        dropout: Float. Share of the pooled values dropped before the dense layer.

    Returns:
        Functional model from the backbone's inputs to float32 logits `[batch, num_outputs]`.

    Raises:
        ModelError: The encoder's width is not a multiple of the number of codebooks.

    Reference: [Träuble et al., 2023](https://arxiv.org/abs/2207.11240)
    """
    encoder = _frozen(backbone)
    outputs = encoder(encoder.input)
    vectors = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    width = vectors.shape[-1]
    num_codebooks = num_codebooks or max(width // KEY_WIDTH, 1)
    if width % num_codebooks:
        raise ModelError(
            f"Expected a number of codebooks that divides {width}, the encoder's width. Received: "
            f"{num_codebooks}. Give --bottleneck-codebooks."
        )
    value_width = num_outputs if decoder == VALUES else width // num_codebooks
    nearest = NearestKeys(num_codebooks, num_keys, dtype="float32", name=KEYS_LAYER)
    table = ValueTable(num_keys, value_width, decoder, dtype="float32", name=VALUES_LAYER)
    pooled = pool(table(nearest(vectors)), encoder.input["padding_mask"], "mean")
    if decoder == VALUES:
        logits = keras.layers.Identity(dtype="float32", name="logits")(pooled)
    else:
        logits = keras.layers.Dense(num_outputs, dtype="float32", name="logits")(
            keras.layers.Dropout(dropout, name="head_dropout")(pooled)
        )
    return keras.Model(encoder.input, logits, name="key_value_bottleneck")


def find_bottleneck(model: keras.Model) -> Bottleneck | None:
    """The layers of a classifier's bottleneck, or None."""
    layers = {type(layer): layer for layer in model.layers}
    if NearestKeys not in layers:
        return None
    return Bottleneck(layers[NearestKeys], layers[ValueTable])


def frozen_half(model: keras.Model) -> keras.Model:
    """The part of a classifier that no training changes: what it finds can be kept.

    Returns:
        From the model's inputs to key numbers, int32 `[batch, length, num_codebooks]`.

    Raises:
        ValueError: The model has no bottleneck.
    """
    return keras.Model(model.input, _bottleneck(model).keys.output)


def frozen_halves(models: Sequence[keras.Model]) -> keras.Model:
    """The frozen halves of models that differ in keys and values alone: one pass of their encoder.

    Returns:
        From the models' inputs to the key numbers of all, side by side in their order: int32
        `[batch, length, codebooks of all]`.

    Raises:
        ValueError: A model has no bottleneck.
    """
    vectors, found = _bottleneck(models[0]).keys.input, []
    for number, model in enumerate(models):
        layer = _bottleneck(model).keys
        copy = NearestKeys.from_config({**layer.get_config(), "name": f"{KEYS_LAYER}_{number}"})
        found.append(copy(vectors))
        copy.set_weights(layer.get_weights())
    return keras.Model(models[0].input, ops.concatenate(found, axis=-1))


def trained_half(model: keras.Model) -> keras.Model:
    """The rest of a classifier, with its layers: training this model trains the classifier.

    Returns:
        From `{"key_numbers", "padding_mask"}`, int32 `[batch, length, num_codebooks]` and
        `[batch, length]`, to the classifier's logits.

    Raises:
        ValueError: The model has no bottleneck.
    """
    table = _bottleneck(model).values
    numbers = keras.Input((None, table.num_codebooks), dtype="int32", name=KEY_NUMBERS)
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    pooling = model.get_layer("pooling")
    logits = pooling(table(numbers), mask)
    for layer in model.layers[model.layers.index(pooling) + 1 :]:
        logits = layer(logits)
    return keras.Model({KEY_NUMBERS: numbers, "padding_mask": mask}, logits)


def _bottleneck(model: keras.Model) -> Bottleneck:
    found = find_bottleneck(model)
    if found is None:
        raise ValueError("Expected a model with a bottleneck. Received: one without")
    return found


def set_keys(model: keras.Model, keys: np.ndarray) -> None:
    """Gives a classifier its keys; values of decoder `mlp` start as their keys.

    So the dense layer starts from the encoder's own vectors, rounded to the keys, and the values
    learn what to change. Random values would have to learn what near keys have in common.

    Args:
        model: `keras.Model` of `build_bottleneck_classifier`.
        keys: float32 `[num_codebooks, num_keys, slice_width]`.
    """
    layer, table = _bottleneck(model)
    layer.keys.assign(keys)
    if table.decoder == MLP:
        table.values.assign(np.reshape(keys, table.values.shape))


def carry_keys(student: keras.Model, teacher: keras.Model) -> None:
    """Gives a student the keys of its teacher.

    Raises:
        ModelError: The teacher has no bottleneck, or one of another shape.
    """
    target, source = find_bottleneck(student), find_bottleneck(teacher)
    if target is None:
        raise ValueError("Expected a student with a bottleneck. Received: one without")
    expected = tuple(target.keys.keys.shape)
    if source is None or tuple(source.keys.keys.shape) != expected:
        received = "one without" if source is None else f"keys {tuple(source.keys.keys.shape)}"
        raise ModelError(
            f"Expected a teacher with a bottleneck of keys {expected} (codebooks, "
            f"keys, width). Received: {received}. Give --bottleneck-key-source data."
        )
    set_keys(student, np.asarray(source.keys.keys))


def _frozen(backbone: "keras_hub.models.Backbone") -> "keras_hub.models.Backbone":
    """A copy that is not trained, and whose dropout is none: `training` makes no difference."""
    copy = type(backbone).from_config({**backbone.get_config(), "dropout": 0.0})
    copy.set_weights(backbone.get_weights())
    copy.trainable = False
    return copy
