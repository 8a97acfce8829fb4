"""A BERT-family student's weights as those of its twin, and back.

Folded into one another going there: one over the root of the head width into the query, the first
segment's row into the positions. The sign of the second product belongs to the twin's GELU.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import keras
import numpy as np

from tfkd.compression.graph import find_backbone, find_head


def read(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """The student's weights as the twin's.

    Args:
        model: `keras.Model` of the student.

    Returns:
        Mapping of layer names to arrays in the layer's own order.
    """
    weights = {name: part.read() for name, part in _parts(model)}
    segments = segment_table(find_backbone(model))
    if segments is not None:
        rows = keras.ops.convert_to_numpy(segments)
        weights["position_embedding"] = [weights["position_embedding"][0] + rows[0]]
        if len(rows) > 1:
            weights["segment_shift"] = [rows[1] - rows[0]]
    return weights


def write(model: keras.Model, weights: Mapping[str, list[np.ndarray]]) -> None:
    """Puts the twin's weights into the student, whose first segment keeps its row.

    Args:
        model: `keras.Model` of the student.
        weights: Mapping of all layer names of its twin to arrays.
    """
    weights = dict(weights)
    backbone = find_backbone(model)
    segments = segment_table(backbone)
    positions = weights["position_embedding"][0]
    if segments is not None:
        rows = keras.ops.convert_to_numpy(segments)
        positions = positions - rows[0]
        if "segment_shift" in weights:
            rows[1] = rows[0] + weights["segment_shift"][0]
            segments.assign(rows)
    beyond = keras.ops.convert_to_numpy(position_table(backbone))[len(positions) :]
    weights["position_embedding"] = [np.concatenate([positions, beyond])]
    for name, part in _parts(model):
        part.write(weights[name])


@dataclasses.dataclass(frozen=True)
class _Part:
    """Variables of the student that are one layer of the twin, times a factor each."""

    variables: tuple[keras.Variable, ...]
    factors: tuple[float, ...] = (1.0, 1.0)

    def read(self) -> list[np.ndarray]:
        arrays = [keras.ops.convert_to_numpy(variable) for variable in self.variables]
        if arrays[0].ndim != arrays[-1].ndim:
            # A kernel of attention is split by heads; the twin has them side by side.
            width = arrays[-1].size
            arrays = [arrays[0].reshape(-1, width), arrays[1].reshape(width)]
        return [array * factor for array, factor in zip(arrays, self.factors, strict=False)]

    def write(self, arrays: list[np.ndarray]) -> None:
        for variable, array, factor in zip(self.variables, arrays, self.factors, strict=False):
            variable.assign((array / factor).reshape(variable.shape))


def _parts(model: keras.Model) -> Iterator[tuple[str, _Part]]:
    """The twin's layers by name, as they stand in the student."""
    backbone = find_backbone(model)
    yield "token_embedding", _Part((backbone.token_embedding.embeddings,))
    yield "position_embedding", _Part((position_table(backbone),))
    yield "embedding_norm", _norm(backbone.embeddings_layer_norm)
    for index, layer in enumerate(backbone.transformer_layers):
        attention = layer._self_attention_layer
        scale = attention._inverse_sqrt_key_dim
        parts = {
            "query": _dense(attention._query_dense, (scale, scale)),
            "key": _dense(attention._key_dense),
            "value": _dense(attention._value_dense),
            "attention_output": _dense(attention._output_dense),
            "attention_norm": _norm(layer._self_attention_layer_norm),
            "wide": _dense(layer._feedforward_intermediate_dense),
            # Behind a GELU of the other sign.
            "narrow": _dense(layer._feedforward_output_dense, (-1.0, 1.0)),
            "output_norm": _norm(layer._feedforward_layer_norm),
        }
        for name, part in parts.items():
            yield f"layer_{index}_{name}", part
    for layer in find_head(model)[1]:
        yield layer.name, _dense(layer)


def _dense(
    layer: keras.layers.Dense | keras.layers.EinsumDense, factors: tuple[float, float] = (1.0, 1.0)
) -> _Part:
    return _Part((layer.kernel, layer.bias), factors)


def _norm(layer: keras.layers.LayerNormalization) -> _Part:
    return _Part((layer.gamma, layer.beta))


def position_table(backbone: keras.Model) -> keras.Variable:
    """The variable `[positions, width]`."""
    layer = getattr(backbone, "position_embedding", None)
    return (layer or backbone.embeddings.position_embedding).position_embeddings


def segment_table(backbone: keras.Model) -> keras.Variable | None:
    """The variable `[segments, width]`, or None."""
    layer = getattr(backbone, "segment_embedding", None)
    return None if layer is None else layer.embeddings
