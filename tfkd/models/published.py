"""A Hugging Face encoder as KerasHub's, with the activation and the epsilon it was trained with.

KerasHub's encoders have one activation and one epsilon each, and its BERT has the tanh form of GELU
where nearly all published ones have the exact one.
"""

from typing import TYPE_CHECKING, Any

import keras
import keras_hub

from tfkd.models.encoder_config import (
    POOLER,
    POSITIONS,
    TABLES_NORM,
    TOKENS,
    TYPES,
    EncoderConfig,
    encoder_prefix,
)
from tfkd.models.weights import Weights

if TYPE_CHECKING:
    from keras_hub.models import Backbone as _Mixed
else:
    # Keras puts its own class between a model's bases at the first model made, and only once.
    _Mixed = object


@keras.saving.register_keras_serializable(package="tfkd")
def gelu_approximate(values: keras.KerasTensor) -> keras.KerasTensor:
    """The tanh form of GELU."""
    return keras.activations.gelu(values, approximate=True)


def _activation(name: str) -> Any:
    return gelu_approximate if name == "gelu_approximate" else keras.activations.get(name)


class _Settings(_Mixed):
    """Settings that KerasHub's encoders lack."""

    def __init__(
        self, activation: str = "gelu", layer_norm_epsilon: float = 1e-12, **sizes: object
    ) -> None:
        super().__init__(**sizes)
        self.activation, self.layer_norm_epsilon = activation, layer_norm_epsilon
        self.embeddings_layer_norm.epsilon = layer_norm_epsilon
        for layer in self.transformer_layers:
            layer.activation = _activation(activation)
            layer.layer_norm_epsilon = layer_norm_epsilon
            layer._feedforward_intermediate_dense.activation = layer.activation
            layer._self_attention_layer_norm.epsilon = layer_norm_epsilon
            layer._feedforward_layer_norm.epsilon = layer_norm_epsilon

    def get_config(self) -> dict[str, Any]:
        """The arguments, as Keras keeps them in a file."""
        return {
            **super().get_config(),
            "activation": self.activation,
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }


@keras.saving.register_keras_serializable(package="tfkd")
class BertEncoder(_Settings, keras_hub.models.BertBackbone):
    """BERT's encoder with an activation and an epsilon of its own."""


@keras.saving.register_keras_serializable(package="tfkd")
class DistilBertEncoder(_Settings, keras_hub.models.DistilBertBackbone):
    """DistilBERT's encoder with an activation and an epsilon of its own."""


@keras.saving.register_keras_serializable(package="tfkd")
class RobertaEncoder(_Settings, keras_hub.models.RobertaBackbone):
    """RoBERTa's encoder with an activation and an epsilon of its own."""


@keras.saving.register_keras_serializable(package="tfkd")
class XLMRobertaEncoder(_Settings, keras_hub.models.XLMRobertaBackbone):
    """XLM-RoBERTa's encoder with an activation and an epsilon of its own."""


# Our class, KerasHub's, and the settings that the latter has built in.
_CLASSES: dict[str, tuple[type, type, tuple[str, float]]] = {
    "bert": (BertEncoder, keras_hub.models.BertBackbone, ("gelu_approximate", 1e-12)),
    "distilbert": (DistilBertEncoder, keras_hub.models.DistilBertBackbone, ("gelu", 1e-12)),
    "roberta": (RobertaEncoder, keras_hub.models.RobertaBackbone, ("gelu", 1e-5)),
    "xlm-roberta": (XLMRobertaEncoder, keras_hub.models.XLMRobertaBackbone, ("gelu", 1e-5)),
}


def build_encoder(config: EncoderConfig, weights: Weights) -> keras_hub.models.Backbone:
    """The encoder of a folder whose tensors were checked.

    Returns:
        `keras_hub.models.Backbone`: KerasHub's own class where that computes the same, which needs
        no tfkd to be loaded.
    """
    ours, theirs, built_in = _CLASSES[config.family]
    sizes = {
        "vocabulary_size": config.vocabulary_size,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "hidden_dim": config.width,
        "intermediate_dim": config.wide,
        "dropout": config.dropout,
        "max_sequence_length": config.longest,
    }
    if config.family == "bert":
        # A second text is one of type 1, also for an encoder that was trained without such.
        sizes["num_segments"] = max(2, config.num_types)
    if (config.activation, config.epsilon) == built_in:
        backbone = theirs(**sizes)
    else:
        backbone = ours(config.activation, config.epsilon, **sizes)
    _Filler(backbone, config, weights).fill()
    return backbone


class _Filler:
    """Puts a folder's tensors into an encoder."""

    def __init__(self, backbone: Any, config: EncoderConfig, weights: Weights) -> None:
        self._backbone, self._config, self._weights = backbone, config, weights
        self._prefix = encoder_prefix(weights)

    def fill(self) -> None:
        """All of them; BERT's pooler only where the folder has one."""
        self._tables()
        self._norm(self._backbone.embeddings_layer_norm, TABLES_NORM)
        for index, layer in enumerate(self._backbone.transformer_layers):
            attention = layer._self_attention_layer
            dense = {
                "query": attention._query_dense,
                "key": attention._key_dense,
                "value": attention._value_dense,
                "attention_output": attention._output_dense,
                "wide": layer._feedforward_intermediate_dense,
                "narrow": layer._feedforward_output_dense,
            }
            norms = {
                "attention_norm": layer._self_attention_layer_norm,
                "output_norm": layer._feedforward_layer_norm,
            }
            for part, target in dense.items():
                self._dense(target, self._config.part(index, part))
            for part, target in norms.items():
                self._norm(target, self._config.part(index, part))
        if has_pooler(self._config, self._weights):
            self._dense(self._backbone.pooled_dense, POOLER)

    def _tables(self) -> None:
        backbone = self._backbone
        backbone.token_embedding.embeddings.assign(self._read(TOKENS))
        positions = self._read(POSITIONS)[self._config.first_position :]
        if self._config.family == "bert":
            types = self._read(TYPES)
            backbone.position_embedding.position_embeddings.assign(positions)
            backbone.segment_embedding.embeddings.assign(
                types if len(types) > 1 else types.repeat(2, axis=0)
            )
            return
        if self._weights.shape(self._prefix + TYPES) is not None:
            # KerasHub's RoBERTa has no types; all texts are of the first.
            positions = positions + self._read(TYPES)[0]
        backbone.embeddings.position_embedding.position_embeddings.assign(positions)

    def _dense(self, layer: keras.layers.Layer, name: str) -> None:
        kernel, bias = self._read(f"{name}.weight").T, self._read(f"{name}.bias")
        layer.kernel.assign(kernel.reshape(layer.kernel.shape))
        layer.bias.assign(bias.reshape(layer.bias.shape))

    def _norm(self, layer: keras.layers.Layer, name: str) -> None:
        layer.gamma.assign(self._read(f"{name}.weight"))
        layer.beta.assign(self._read(f"{name}.bias"))

    def _read(self, name: str) -> Any:
        return self._weights.read(self._prefix + name)


def has_pooler(config: EncoderConfig, weights: Weights) -> bool:
    """Whether the folder has BERT's pooler; masked-LM training leaves it out."""
    shape = weights.shape(f"{encoder_prefix(weights)}{POOLER}.weight")
    return config.family == "bert" and shape == (config.width, config.width)
