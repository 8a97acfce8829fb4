"""The lean inference graph: a BERT-family classifier rebuilt for one text of a fixed length.

The same weights and the same function as the Keras model, with what inference never needs left
out: no batch, no dropout, no mask arithmetic in every layer, and of the last layer only the row
that the head reads. Products are of matrices, so LiteRT runs the whole graph in its fast kernels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd.compression.nearest_keys import KeyValueLookup
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.models.bottleneck import find_bottleneck
from tfkd.models.pooling import FirstToken, MaxPooling, MeanPooling

# By name, because `keras_hub` belongs to `tfkd.models`. All four are the same encoder but for
# activation, epsilon and segments, which are read from the layers.
FAMILIES = ("BertBackbone", "DistilBertBackbone", "RobertaBackbone", "XLMRobertaBackbone")
MASK_BIAS = -100.0
_HEAD_LAYERS = ("pooling", "pooler", "head_dropout", "logits")
_POOLINGS = {FirstToken: "cls", MeanPooling: "mean", MaxPooling: "max"}
SCORES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    SINGLE_LABEL: tf.nn.softmax,
    MULTI_LABEL: tf.sigmoid,
    REGRESSION: tf.identity,
}

Endpoint = Callable[..., Mapping[str, tf.Tensor]]


def why_not_lean(model: keras.Model) -> str | None:
    """Why a model has no lean graph, as an end of a sentence; None when it has one.

    Example:

    >>> why_not_lean(build_bilstm(2000, 4))
    'bilstm holds no encoder of BertBackbone, DistilBertBackbone, RobertaBackbone, ...'
    """
    backbone = find_backbone(model)
    if backbone is None:
        return f"{model.name} holds no encoder of {', '.join(FAMILIES)}"
    known = [backbone, *(find_bottleneck(model) or ())]
    for layer in model.layers:
        is_known = layer in known or layer.name in _HEAD_LAYERS
        if not is_known and not isinstance(layer, keras.layers.InputLayer):
            return f"{model.name} has a layer {layer.name} that the lean graph does not know"
    for layer in backbone.transformer_layers:
        if layer.normalize_first:
            return f"{layer.name} normalizes before its products, not after them"
    return None


class TextGraph(tf.Module):
    """A classifier as functions of one text of a fixed length: what all lean graphs share."""

    def __init__(self, model: keras.Model, task: str) -> None:
        super().__init__()
        self.input_names = tuple(model.input)
        self._score = SCORES[task]

    def logits(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Logits of one text, float32 `[1, num_outputs]`."""
        raise NotImplementedError

    def endpoint(self, length: int | None, output: str = "logits") -> Endpoint:
        """The function for texts of one length, ready to be a signature of a SavedModel.

        Args:
            length: Integer. Tokens, padding included. None: of any length.
            output: String. "logits", or "scores": probabilities, for regression the score itself.

        Returns:
            `tf.function` from a mapping of the model's input names to int32 tensors `[1, length]`
            to a mapping of `output` to a float32 tensor `[1, num_outputs]`. Padding stands where
            `padding_mask` is 0.

        Raises:
            ValueError: The output is unknown.
        """
        if output not in ("logits", "scores"):
            raise ValueError(f"Expected `output` in (logits, scores). Received: output={output!r}")
        specs = {name: tf.TensorSpec([1, length], tf.int32, name=name) for name in self.input_names}

        def answer(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            logits = self.logits(inputs)
            return {output: logits if output == "logits" else self._score(logits)}

        return tf.function(answer, input_signature=[specs])


class LeanGraph(TextGraph):
    """A classifier as functions of one text of a fixed length, all over the same weights.

    Args:
        model: `keras.Model` that `tfkd.models.encoder.build_encoder_classifier` made.
        num_texts: Integer. 1 for single texts: positions and the first segment's row are one
            table, and `segment_ids` is taken but not read. 2 for pairs.
        mask_bias: Float. Added to the attention scores of padded positions. Near zero the weights
            leak; far below, the int8 scale of static recipes holds nothing else.
        task: String. One of `tfkd.data.examples.TASKS`: what `scores` are.
        whole_last_layer: Boolean. Computes every row of the last layer even if the head reads one,
            as other runtimes do; for benchmarks.
        num_positions: Integer. Longest length that will be asked for; longer positions are left
            out. Default: all that the model has.

    Raises:
        ValueError: The model has no lean graph; see `why_not_lean`.

    Example:

    ```python
    graph = LeanGraph(classifier.model)
    graph.endpoint(64)(classifier.encode(["Oil prices fell again."], 64))["logits"]
    ```
    """

    def __init__(
        self,
        model: keras.Model,
        num_texts: int = 1,
        mask_bias: float = MASK_BIAS,
        task: str = SINGLE_LABEL,
        whole_last_layer: bool = False,
        num_positions: int | None = None,
    ) -> None:
        super().__init__(model, task)
        reason = why_not_lean(model)
        if reason is not None:
            raise ValueError(f"Expected a model that has a lean graph. Received: {reason}")
        backbone = find_backbone(model)
        self._mask_bias = mask_bias
        self._embedding = _Embedding(backbone, num_texts, num_positions)
        self._layers = [_Layer(layer) for layer in backbone.transformer_layers]
        bottleneck = find_bottleneck(model)
        self._lookup = KeyValueLookup(bottleneck) if bottleneck else tf.identity
        self._pooling, head = find_head(model)
        self._head = [_Dense(layer) for layer in head]
        self._reads_first_row = self._pooling == "cls" and not whole_last_layer

    def endpoint(self, length: int | None, output: str = "logits") -> Endpoint:
        """As `TextGraph.endpoint`.

        Raises:
            ValueError: The output is unknown, or the length is beyond the positions of the graph.
        """
        if length is not None and length > self._embedding.num_positions:
            raise ValueError(
                f"Expected `length` of at most {self._embedding.num_positions}, the positions of "
                f"the graph. Received: length={length}"
            )
        return super().endpoint(length, output)

    def logits(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Logits of one text, float32 `[1, num_outputs]`."""
        is_real = tf.cast(inputs["padding_mask"], tf.float32)
        bias = (1.0 - is_real) * self._mask_bias
        vectors = self._embedding(inputs)
        for layer in self._layers[:-1]:
            vectors = layer(vectors, bias)
        last = self._layers[-1]
        if self._reads_first_row:
            pooled = last.first_row(vectors, bias)
        else:
            pooled = _pooled(self._lookup(last(vectors, bias)), is_real, self._pooling)
        for dense in self._head:
            pooled = dense(pooled)
        return pooled


class _Embedding(tf.Module):
    """Rows of the token table, plus position and segment, normalized: float32 `[length, width]`.

    Normalization takes a row's mean away, and the mean of a sum is the sum of the means: the tables
    are centred once, here.
    """

    def __init__(self, backbone: keras.Model, num_texts: int, num_positions: int | None) -> None:
        super().__init__()
        layer = getattr(backbone, "position_embedding", None)
        layer = layer or backbone.embeddings.position_embedding
        positions = _array(layer.position_embeddings)[:num_positions]
        self._difference = None
        if hasattr(backbone, "segment_embedding"):
            segments = _array(backbone.segment_embedding.embeddings)
            positions = positions + segments[0]
            if num_texts > 1 and len(segments) > 1:
                self._difference = _variable(_centred(segments[1] - segments[0]))
        self._tokens = _variable(_centred(_array(backbone.token_embedding.embeddings)))
        self._positions = _variable(_centred(positions))
        self._norm = _Norm(backbone.embeddings_layer_norm)

    @property
    def num_positions(self) -> int:
        """Rows of the position table."""
        return self._positions.shape[0]

    def __call__(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        token_ids, padding_mask = inputs["token_ids"], inputs["padding_mask"]
        # Padded rows are never read. As ids that depend on the text, the positions stay one table
        # in the file; without the mask every length would get a float32 copy of its rows.
        positions = tf.range(tf.shape(token_ids)[1]) * padding_mask
        vectors = tf.gather(self._tokens, token_ids) + tf.gather(self._positions, positions)
        if self._difference is not None:
            is_second = tf.cast(inputs["segment_ids"], tf.float32)
            vectors += is_second[:, :, None] * self._difference
        return self._norm.of_centred(tf.squeeze(vectors, 0))


class _Layer(tf.Module):
    """A post-norm transformer layer over the rows of one text."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__()
        attention = layer._self_attention_layer
        self._num_heads = attention.num_heads
        self._query = _Dense(attention._query_dense, attention._inverse_sqrt_key_dim)
        self._key = _Dense(attention._key_dense)
        self._value = _Dense(attention._value_dense)
        self._output = _Dense(attention._output_dense)
        self._attention_norm = _Norm(layer._self_attention_layer_norm)
        self._wide = _Dense(layer._feedforward_intermediate_dense)
        self._narrow = _Dense(layer._feedforward_output_dense)
        self._norm = _Norm(layer._feedforward_layer_norm)

    def __call__(self, vectors: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """All rows: `[length, width]` to the same; `bias` is float32 `[1, length]`."""
        query, key, value = (
            self._heads(dense(vectors)) for dense in (self._query, self._key, self._value)
        )
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + bias)
        context = tf.transpose(tf.matmul(weights, value), [1, 0, 2])
        return self._after_attention(vectors, tf.reshape(context, [-1, self._value.width]))

    def first_row(self, vectors: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """Row 0 alone, `[1, width]`, without keys and values of the other rows.

        For rows X and kernels K, V one query needs no products of all rows with the kernels:
        `q (X K)' = (q K') X'` and `w (X V) = (w X) V`. The key's bias adds the same to all scores
        and drops out; the value's is added once, as the weights sum to one. Row h of `own` keeps
        the columns of head h.
        """
        first = vectors[:1]
        own = np.kron(np.eye(self._num_heads), np.ones([1, self._key.width // self._num_heads]))
        query = tf.matmul(self._query(first) * own, self._key.kernel, transpose_b=True)
        # With one more axis LiteRT makes it a batched product, which its fast kernels know.
        rows = tf.expand_dims(vectors, 0)
        scores = tf.matmul(tf.expand_dims(query, 0), rows, transpose_b=True)
        weights = tf.nn.softmax(tf.squeeze(scores, 0) + bias)
        context = self._value(tf.matmul(weights, vectors)) * own
        return self._after_attention(first, tf.reduce_sum(context, axis=0, keepdims=True))

    def _heads(self, vectors: tf.Tensor) -> tf.Tensor:
        head_width = vectors.shape[1] // self._num_heads
        split = tf.reshape(vectors, [-1, self._num_heads, head_width])
        return tf.transpose(split, [1, 0, 2])

    def _after_attention(self, vectors: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
        vectors = self._attention_norm(vectors + self._output(context))
        return self._norm(vectors + self._narrow(self._wide(vectors)))


class _Dense(tf.Module):
    """A dense layer of matrices, its result times `scale`; heads stand side by side."""

    def __init__(
        self, layer: keras.layers.Dense | keras.layers.EinsumDense, scale: float = 1.0
    ) -> None:
        super().__init__()
        bias = _array(layer.bias).reshape(-1)
        kernel = _array(layer.kernel)
        # An attention kernel is `[width, heads, head_width]`, its output's the other way round.
        self.width = bias.size
        self.kernel = _variable(kernel.reshape(-1, self.width) * scale)
        self._bias = _variable(bias * scale)
        self._activation = layer.activation

    def __call__(self, vectors: tf.Tensor) -> tf.Tensor:
        return self._activation(tf.matmul(vectors, self.kernel) + self._bias)


class _Norm(tf.Module):
    """Layer normalization of rows."""

    def __init__(self, layer: keras.layers.LayerNormalization) -> None:
        super().__init__()
        self._gamma, self._beta = _variable(_array(layer.gamma)), _variable(_array(layer.beta))
        self._epsilon = layer.epsilon

    def __call__(self, vectors: tf.Tensor) -> tf.Tensor:
        return self.of_centred(vectors - tf.reduce_mean(vectors, axis=-1, keepdims=True))

    def of_centred(self, vectors: tf.Tensor) -> tf.Tensor:
        """The same for rows whose mean is 0."""
        variance = tf.reduce_mean(tf.square(vectors), axis=-1, keepdims=True)
        return vectors * tf.math.rsqrt(variance + self._epsilon) * self._gamma + self._beta


def _pooled(vectors: tf.Tensor, is_real: tf.Tensor, pooling: str) -> tf.Tensor:
    """One row for the text, as `tfkd.models.pooling` makes it."""
    if pooling == "cls":
        return vectors[:1]
    if pooling == "mean":
        total = tf.reduce_sum(is_real, axis=1, keepdims=True)
        return tf.matmul(is_real, vectors) / tf.maximum(total, 1.0)
    smallest = tf.reduce_min(vectors, axis=0, keepdims=True)
    weights = tf.transpose(is_real)
    return tf.reduce_max(vectors * weights + smallest * (1.0 - weights), axis=0, keepdims=True)


def find_head(model: keras.Model) -> tuple[str, list[keras.layers.Dense]]:
    """The pooling's name, and the Keras layers from the pooled row to the logits."""
    layers = {layer.name: layer for layer in model.layers}
    pooling = _POOLINGS[type(layers["pooling"])] if "pooling" in layers else "cls"
    dense = [] if "pooling" in layers else [find_backbone(model).pooled_dense]
    dense += [layers[name] for name in ("pooler", "logits") if name in layers]
    # Values that are logits pass through a layer without weights.
    return pooling, [layer for layer in dense if isinstance(layer, keras.layers.Dense)]


def find_backbone(model: keras.Model) -> Any:
    """The KerasHub encoder inside a classifier, or None."""
    for layer in model.layers:
        if not {kind.__name__ for kind in type(layer).__mro__}.isdisjoint(FAMILIES):
            return layer
    return None


def _array(weights: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(weights)


def _centred(rows: np.ndarray) -> np.ndarray:
    return rows - rows.mean(axis=-1, keepdims=True)


def _variable(values: np.ndarray) -> tf.Variable:
    return tf.Variable(values.astype(np.float32), trainable=False)
