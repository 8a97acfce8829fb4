"""A KerasHub encoder with a classification head: pooling, the family's own pooler, logits."""

import keras
import keras_hub

from tfkd.models.head import Head
from tfkd.models.pooling import pool
from tfkd.models.sizes import ModelEntry

MAX_POSITIONS = 512


_BACKBONES: dict[str, type[keras_hub.models.Backbone]] = {
    "bert": keras_hub.models.BertBackbone,
    "distil_bert": keras_hub.models.DistilBertBackbone,
    "roberta": keras_hub.models.RobertaBackbone,
}


def encoder_from_scratch(entry: ModelEntry, vocabulary_size: int) -> keras_hub.models.Backbone:
    """An untrained encoder of a size word, over any vocabulary: a student has its teacher's."""
    return _BACKBONES[entry.kind](
        vocabulary_size=vocabulary_size,
        num_layers=entry.num_layers,
        num_heads=entry.num_heads,
        hidden_dim=entry.hidden_dim,
        intermediate_dim=entry.intermediate_dim or 4 * entry.hidden_dim,
        max_sequence_length=MAX_POSITIONS,
    )


def positions(model: keras.Model, most: int) -> int:
    """Positions that the encoders in a model know, itself one or not."""
    encoders = [
        layer for layer in (model, *model.layers) if isinstance(layer, keras_hub.models.Backbone)
    ]
    return min([getattr(encoder, "max_sequence_length", most) for encoder in encoders] + [most])


def build_encoder_classifier(
    backbone: keras_hub.models.Backbone,
    num_outputs: int,
    pooling: str = "cls",
    dropout: float = 0.1,
    head: Head | None = None,
    with_pooler: bool = True,
) -> keras.Model:
    """Puts a head on a backbone.

    Args:
        backbone: `keras_hub.models.Backbone` whose inputs are `token_ids`, `padding_mask` and, for
            BERT, `segment_ids`.
        num_outputs: Integer. Width of the logits.
        pooling: "cls" (with BERT's own pooler where there is one), "mean" or "max".
        dropout: Float. Share of the pooled vector dropped before the logits.
        head: A published classifier's `Head` to take over.
        with_pooler: Boolean. False reads the first token without BERT's pooler, where that was
            not trained.

    Returns:
        Functional model from the backbone's inputs to float32 logits `[batch, num_outputs]`.
    """
    outputs = backbone(backbone.input)
    has_pooler = with_pooler and isinstance(outputs, dict) and "pooled_output" in outputs
    if pooling == "cls" and has_pooler:
        pooled = outputs["pooled_output"]
    else:
        vectors = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
        _freeze_pooler(backbone)
        pooled = pool(vectors, backbone.input["padding_mask"], pooling)
    if head is not None and head.pooler is not None:
        pooled = keras.layers.Dense(
            head.pooler[0].shape[1], activation=head.pooler_activation, name="pooler"
        )(pooled)
    logits = keras.layers.Dense(
        num_outputs,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        dtype="float32",
        name="logits",
    )(keras.layers.Dropout(dropout, name="head_dropout")(pooled))
    model = keras.Model(backbone.input, logits, name="classifier")
    if head is not None:
        model.get_layer("logits").set_weights(list(head.logits))
        if head.pooler is not None:
            model.get_layer("pooler").set_weights(list(head.pooler))
    return model


def _freeze_pooler(backbone: keras_hub.models.Backbone) -> None:
    """BERT's pooler gets no gradient when it is not read; Keras would warn at every step."""
    for layer in backbone.layers:
        if layer.name == "pooled_dense":
            layer.trainable = False
