"""BERT's family as a tf_keras twin that is fast as an integer file.

The structure is that of the lean graph: one over the root of the head width is folded into the
query, the first segment's row into the positions, and of the last layer only the row that the head
reads has a query. Sums of residuals, normalization, softmax and GELU stay in float.
"""

import dataclasses
from collections.abc import Mapping

from tfkd.compression.graph import MASK_BIAS, find_backbone, find_head, why_not_lean
from tfkd.compression.qat import layers
from tfkd.compression.qat.encoder_weights import position_table, read, segment_table
from tfkd.compression.qat.layers import CUSTOM_LAYERS
from tfkd.compression.qat.legacy import KerasTensor, tf_keras
from tfkd.compression.qat.scheme import INTEGER_MASK_BIAS, Placement
from tfkd.errors import ModelError
from tfkd.models.bottleneck import find_bottleneck
from tfkd.models.classifier import TextClassifier

__all__ = ["CUSTOM_LAYERS", "Shape", "build", "read", "parts_of"]

_IS_APPROXIMATE = {"gelu": False, "gelu_approximate": True}


@dataclasses.dataclass(frozen=True)
class HeadLayer:
    """A dense layer between the encoder and the logits, or theirs."""

    name: str
    width: int
    activation: str


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of an encoder.

    Attributes:
        input_names: Arrays the student takes.
        tells_segments: Whether second texts differ from first ones.
        vocabulary_size: Rows of the token table.
        num_positions: Rows of the position table.
        width: Columns of both.
        wide: Columns between the two products of a layer's second half.
        num_layers: Layers.
        num_heads: Heads of each.
        epsilons: Numbers added to variances: after the tables, after attention, after the layer.
        is_approximate: Whether GELU is the tanh form.
        pooling: "cls", "mean" or "max".
        head: `HeadLayer`s from the pooled row to the logits.
    """

    input_names: tuple[str, ...]
    tells_segments: bool
    vocabulary_size: int
    num_positions: int
    width: int
    wide: int
    num_layers: int
    num_heads: int
    epsilons: tuple[float, float, float]
    is_approximate: bool
    pooling: str
    head: tuple[HeadLayer, ...]


def parts_of(classifier: TextClassifier) -> Shape | None:
    """The sizes of a BERT, DistilBERT or RoBERTa classifier; None for another kind.

    Raises:
        ModelError: It is one, but with a layer that the twin does not know.
    """
    backbone = find_backbone(classifier.model)
    if backbone is None or find_bottleneck(classifier.model) is not None:
        return None
    first = backbone.transformer_layers[0]
    activation = first._feedforward_intermediate_dense.activation.__name__
    reason = why_not_lean(classifier.model)
    if activation not in _IS_APPROXIMATE:
        reason = f"{first.name} has the activation {activation}, not gelu"
    if reason is not None:
        raise ModelError(
            f"Expected an encoder that can be trained under quantization. Received: {reason}. "
            "Quantize it after training: --recipe dynamic_int8."
        )
    norms = (
        backbone.embeddings_layer_norm,
        first._self_attention_layer_norm,
        first._feedforward_layer_norm,
    )
    segments = segment_table(backbone)
    pooling, head = find_head(classifier.model)
    return Shape(
        input_names=classifier.input_names,
        tells_segments=classifier.num_texts > 1 and segments is not None,
        vocabulary_size=backbone.token_embedding.embeddings.shape[0],
        # Longer texts are cut, so the rows beyond would only make the file larger.
        num_positions=min(position_table(backbone).shape[0], classifier.tokenizer.sequence_length),
        width=backbone.token_embedding.embeddings.shape[1],
        wide=first._feedforward_intermediate_dense.units,
        num_layers=len(backbone.transformer_layers),
        num_heads=first._self_attention_layer.num_heads,
        epsilons=tuple(norm.epsilon for norm in norms),
        is_approximate=_IS_APPROXIMATE[activation],
        pooling=pooling,
        head=tuple(HeadLayer(one.name, one.units, one.activation.__name__) for one in head),
    )


def build(shape: Shape, place: Placement) -> tf_keras.Model:
    """The untrained twin.

    Returns:
        Functional model from a mapping of the input names to int32 `[batch, length]` to float32
        logits `[batch, num_outputs]`.
    """
    inputs = {name: tf_keras.Input((None,), dtype="int32", name=name) for name in shape.input_names}
    mask = inputs["padding_mask"]
    bias = _mask_bias(place, mask)
    vectors = _embedded(shape, place, inputs)
    for index in range(shape.num_layers):
        rows = vectors
        if shape.pooling == "cls" and index == shape.num_layers - 1:
            rows = layers.FirstRow(name="first_row")(vectors)
        block = _Block(shape, place, f"layer_{index}")
        vectors = block.feedforward(block.attention(rows, vectors, bias))
    pooled = layers.Pool(shape.pooling, name="pool")
    # Rows that are normalized are rounded already; what a mean or a maximum gives is not.
    pooled = place(pooled, output=None if shape.pooling == "cls" else "range")([vectors, mask])
    return tf_keras.Model(inputs, _head_layers(shape, place, pooled))


def _embedded(shape: Shape, place: Placement, inputs: Mapping[str, KerasTensor]) -> KerasTensor:
    """Rows of the tables, summed and normalized."""
    tables = {
        "token_embedding": (shape.vocabulary_size, inputs["token_ids"]),
        "position_embedding": (
            shape.num_positions,
            layers.Positions(name="positions")(inputs["padding_mask"]),
        ),
    }
    parts = [
        place(tf_keras.layers.Embedding(size, shape.width, name=name), ["embeddings"])(indices)
        for name, (size, indices) in tables.items()
    ]
    if shape.tells_segments:
        shift = layers.SegmentShift(shape.width, name="segment_shift")
        parts.append(shift(inputs["segment_ids"]))
    total = tf_keras.layers.Add(name="embedding_sum")(parts)
    return place(layers.Norm(shape.epsilons[0], name="embedding_norm"), output="range")(total)


def _mask_bias(place: Placement, mask: KerasTensor) -> KerasTensor:
    """Bias on the scores of padding."""
    if _has_integer_softmax(place):
        return place(layers.MaskBias(INTEGER_MASK_BIAS, name="mask_bias"), output="mask")(mask)
    return layers.MaskBias(MASK_BIAS, name="mask_bias")(mask)


def _has_integer_softmax(place: Placement) -> bool:
    return place.scheme is not None and place.scheme.integer_softmax


class _Block:
    """A transformer layer, its parts named after it."""

    def __init__(self, shape: Shape, place: Placement, name: str) -> None:
        self._shape = shape
        self._place = place
        self._name = name

    def attention(self, rows: KerasTensor, vectors: KerasTensor, bias: KerasTensor) -> KerasTensor:
        """The first half: `rows` look at all vectors; `[batch, queries, width]`, normalized."""
        query = self._heads("query", rows, "range")
        # LiteRT's fast batched product wants a right operand whose zero is the integer 0.
        key = self._heads("key", vectors, "symmetric")
        value = self._heads("value", vectors, "symmetric")
        scores = self._put(layers.Scores, "scores", "range")([query, key])
        kind = "masked" if _has_integer_softmax(self._place) else None
        scores = self._put(tf_keras.layers.Add, "masked_scores", kind)([scores, bias])
        weights = self._put(tf_keras.layers.Softmax, "weights", "probabilities")(scores)
        context = self._put(layers.Mix, "context", "range")([weights, value])
        context = self._put(layers.MergeHeads, "merged")(context)
        output = self._dense("attention_output", self._shape.width)(context)
        return self._normalized("attention", [rows, output], self._shape.epsilons[1])

    def feedforward(self, rows: KerasTensor) -> KerasTensor:
        """The second half: each row by itself."""
        wide = self._dense("wide", self._shape.wide)(rows)
        gelu = self._place(
            layers.NegativeGelu(self._shape.is_approximate, name=f"{self._name}_gelu"),
            output="range",
        )(wide)
        narrow = self._dense("narrow", self._shape.width)(gelu)
        return self._normalized("output", [rows, narrow], self._shape.epsilons[2])

    def _heads(self, name: str, vectors: KerasTensor, output: str) -> KerasTensor:
        split = layers.SplitHeads(self._shape.num_heads, name=f"{self._name}_{name}_heads")
        return split(self._dense(name, self._shape.width, output)(vectors))

    def _normalized(self, name: str, parts: list[KerasTensor], epsilon: float) -> KerasTensor:
        total = self._put(tf_keras.layers.Add, f"{name}_sum")(parts)
        norm = layers.Norm(epsilon, name=f"{self._name}_{name}_norm")
        return self._place(norm, output="range")(total)

    def _dense(self, name: str, width: int, output: str = "range") -> tf_keras.layers.Layer:
        # Dense on rows of rows leaves reshapes between the integers of a file; this does not.
        dense = tf_keras.layers.EinsumDense(
            "btw,wv->btv", (None, width), bias_axes="v", name=f"{self._name}_{name}"
        )
        return self._place(dense, ["kernel"], output)

    def _put(
        self, layer: type[tf_keras.layers.Layer], name: str, output: str | None = None
    ) -> tf_keras.layers.Layer:
        return self._place(layer(name=f"{self._name}_{name}"), output=output)


def _head_layers(shape: Shape, place: Placement, pooled: KerasTensor) -> KerasTensor:
    """From the pooled row to the logits."""
    for one in shape.head:
        # The converter joins relu with the product before it, but not tanh.
        is_tanh = one.activation == "tanh"
        dense = tf_keras.layers.Dense(
            one.width, activation=None if is_tanh else one.activation, name=one.name
        )
        pooled = place(dense, ["kernel"], "range")(pooled)
        if is_tanh:
            tanh = tf_keras.layers.Activation("tanh", name=f"{one.name}_tanh")
            pooled = place(tanh, output="tanh")(pooled)
    return pooled
