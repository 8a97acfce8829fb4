"""An encoder's classifier that computes of its last layer the first token alone.

A head that reads `[CLS]` needs of the last layer no other row: the same function of the same
weights, and the same gradients, for little more than half the work of a two-layer encoder.
"""

import keras
import tensorflow as tf
from keras import ops

from tfkd.models import bottleneck
from tfkd.models.pooling import FirstToken

# From the pooled vector to the logits, in this order.
_HEAD = ("pooler", "head_dropout", "logits")


class FirstRow(keras.layers.Layer):
    """The first row of a post-norm transformer layer, with the layer's own weights."""

    def __init__(self, layer: keras.layers.Layer, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.built = True

    def call(
        self, vectors: tf.Tensor, padding_mask: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """`[batch, length, width]` and `[batch, length]` to `[batch, width]`."""
        layer, first = self.layer, vectors[:, :1]
        attended = layer._self_attention_layer(
            query=first,
            value=vectors,
            attention_mask=ops.cast(padding_mask[:, None, :], "bool"),
            training=training,
        )
        attended = layer._self_attention_dropout(attended, training=training)
        attended = layer._self_attention_layer_norm(attended + first)
        wide = layer._feedforward_intermediate_dense(attended)
        narrow = layer._feedforward_dropout(
            layer._feedforward_output_dense(wide), training=training
        )
        return layer._feedforward_layer_norm(narrow + attended)[:, 0]


def first_token_model(model: keras.Model) -> keras.Model | None:
    """The model without what its head does not read, over the same variables.

    Returns:
        A functional model of the same inputs and outputs; None where the head reads more than the
        first token, or the encoder is of a kind that is not known.

    Example:

    ```python
    shorter = first_token_model(classifier.model) or classifier.model
    ```
    """
    layers = {layer.name: layer for layer in model.layers}
    backbone = next((layer for layer in model.layers if hasattr(layer, "transformer_layers")), None)
    if backbone is None or "logits" not in layers or bottleneck.find_bottleneck(model) is not None:
        return None
    last = backbone.transformer_layers[-1]
    pooled_dense = getattr(backbone, "pooled_dense", None) if "pooling" not in layers else None
    reads_first = isinstance(layers.get("pooling"), FirstToken) or pooled_dense is not None
    if not reads_first or last.normalize_first:
        return None
    below = keras.Model(backbone.input, last.input[0], name="below_last_layer")
    pooled = FirstRow(last, name="first_row")(below(model.input), model.input["padding_mask"])
    if pooled_dense is not None:
        pooled = pooled_dense(pooled)
    for name in _HEAD:
        if name in layers:
            pooled = layers[name](pooled)
    return keras.Model(model.input, pooled, name=f"{model.name}_first_token")
