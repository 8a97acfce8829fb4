"""A BERT-family student's weights as those of its twin.

Folded into one another: one over the root of the head width into the query, the first segment's row
into the positions. The sign of the second product belongs to the twin's GELU.
"""

from collections.abc import Iterator

import keras
import numpy as np

from tfkd.compression.graph import find_backbone, find_head


def read(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """The student's weights as the twin's.

    Returns:
        Mapping of layer names to arrays in the layer's own order.
    """
    weights = dict(_parts(model))
    segments = segment_table(find_backbone(model))
    if segments is not None:
        rows = keras.ops.convert_to_numpy(segments)
        weights["position_embedding"] = [weights["position_embedding"][0] + rows[0]]
        if len(rows) > 1:
            weights["segment_shift"] = [rows[1] - rows[0]]
    return weights


def _parts(model: keras.Model) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The twin's layers by name, as they stand in the student."""
    backbone = find_backbone(model)
    yield "token_embedding", _arrays(backbone.token_embedding.embeddings)
    yield "position_embedding", _arrays(position_table(backbone))
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
        for name, arrays in parts.items():
            yield f"layer_{index}_{name}", arrays
    for layer in find_head(model)[1]:
        yield layer.name, _dense(layer)


def _arrays(*variables: keras.Variable) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _norm(layer: keras.layers.LayerNormalization) -> list[np.ndarray]:
    return _arrays(layer.gamma, layer.beta)


def _dense(
    layer: keras.layers.Dense | keras.layers.EinsumDense, factors: tuple[float, float] = (1.0, 1.0)
) -> list[np.ndarray]:
    """Kernel and bias times a factor each."""
    kernel, bias = _arrays(layer.kernel, layer.bias)
    # A kernel of attention is split by heads; the twin has them side by side.
    return [factors[0] * kernel.reshape(-1, bias.size), factors[1] * bias.reshape(-1)]


def position_table(backbone: keras.Model) -> keras.Variable:
    """The variable `[positions, width]`."""
    layer = getattr(backbone, "position_embedding", None)
    return (layer or backbone.embeddings.position_embedding).position_embeddings


def segment_table(backbone: keras.Model) -> keras.Variable | None:
    """The variable `[segments, width]`, or None."""
    layer = getattr(backbone, "segment_embedding", None)
    return None if layer is None else layer.embeddings
