"""Hugging Face's BERT in PyTorch with the weights of a Keras student."""

from typing import Any

import numpy as np
import torch
import transformers

from tfkd.errors import ModelError
from tfkd.models.classifier import TextClassifier
from tfkd.models.pooling import MeanPooling

INPUT_NAMES = ("token_ids", "padding_mask", "segment_ids")
# Keras' names of a layer's parts, and Hugging Face's.
ATTENTION = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
}
DENSE = {
    "feedforward_intermediate_dense": "intermediate.dense",
    "feedforward_output_dense": "output.dense",
}
NORMS = {
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "feedforward_layer_norm": "output.LayerNorm",
}


class Network(torch.nn.Module):
    """Hugging Face's BERT with the student's head: int64 `[n, length]` to logits.

    Args:
        classifier: `TextClassifier` with a BERT backbone.

    Attributes:
        has_pooler: Whether the head reads BERT's pooler of the first token; else the mean.

    Raises:
        ModelError: The classifier has another shape.
    """

    def __init__(self, classifier: TextClassifier) -> None:
        super().__init__()
        backbone, self.has_pooler = _parts(classifier)
        config = transformers.BertConfig(
            vocab_size=backbone.vocabulary_size,
            hidden_size=backbone.hidden_dim,
            num_hidden_layers=backbone.num_layers,
            num_attention_heads=backbone.num_heads,
            intermediate_size=backbone.intermediate_dim,
            max_position_embeddings=backbone.max_sequence_length,
            # The GELU of KerasHub's BERT.
            hidden_act="gelu_pytorch_tanh",
        )
        self.bert = transformers.BertModel(config, add_pooling_layer=self.has_pooler)
        self.logits = torch.nn.Linear(backbone.hidden_dim, classifier.model.output.shape[-1])
        weights = _weights(classifier)
        self.bert.load_state_dict(_state(weights, backbone.num_layers, self.has_pooler))
        self.logits.load_state_dict(_linear("", weights, "logits"))
        self.eval()

    def forward(
        self, token_ids: torch.Tensor, padding_mask: torch.Tensor, segment_ids: torch.Tensor
    ) -> torch.Tensor:
        """Logits, float32 `[n, num_outputs]`."""
        outputs = self.bert(
            input_ids=token_ids, attention_mask=padding_mask, token_type_ids=segment_ids
        )
        if self.has_pooler:
            return self.logits(outputs.pooler_output)
        vectors = outputs.last_hidden_state
        shares = padding_mask.unsqueeze(-1).to(vectors.dtype)
        return self.logits((vectors * shares).sum(1) / shares.sum(1))

    @property
    def size_bytes(self) -> int:
        """Bytes of the weights."""
        return sum(weight.numel() * weight.element_size() for weight in self.parameters())


def _parts(classifier: TextClassifier) -> tuple[Any, bool]:
    """The backbone, and whether the head reads its pooler."""
    layers = {layer.name: layer for layer in classifier.model.layers}
    backbone, pooling = layers.get("bert_backbone"), layers.get("pooling")
    is_known = pooling is None or isinstance(pooling, MeanPooling)
    if backbone is None or not is_known or "pooler" in layers:
        raise ModelError(
            "Expected a student with a BERT backbone, its own pooler or mean pooling, and a dense "
            f"layer. Received: layers {', '.join(layers)}. Give a run with a bert_* student."
        )
    return backbone, pooling is None


def _weights(classifier: TextClassifier) -> dict[str, np.ndarray]:
    return {weight.path: np.asarray(weight) for weight in classifier.model.weights}


def _state(
    weights: dict[str, np.ndarray], num_layers: int, has_pooler: bool
) -> dict[str, torch.Tensor]:
    """The backbone's weights under Hugging Face's names."""
    state = _norm("embeddings.LayerNorm", weights, "embeddings_layer_norm")
    for ours, theirs in (("token", "word"), ("position", "position"), ("segment", "token_type")):
        table = weights[f"{ours}_embedding/embeddings"]
        state[f"embeddings.{theirs}_embeddings.weight"] = torch.tensor(table)
    for number in range(num_layers):
        ours, theirs = f"transformer_layer_{number}", f"encoder.layer.{number}"
        for name, other in ATTENTION.items():
            path = f"{ours}/self_attention_layer/{name}"
            state |= _linear(f"{theirs}.{other}", weights, path)
        for name, other in DENSE.items():
            state |= _linear(f"{theirs}.{other}", weights, f"{ours}/{name}")
        for name, other in NORMS.items():
            state |= _norm(f"{theirs}.{other}", weights, f"{ours}/{name}")
    if has_pooler:
        state |= _linear("pooler.dense", weights, "pooled_dense")
    return state


def _linear(name: str, weights: dict[str, np.ndarray], path: str) -> dict[str, torch.Tensor]:
    """A dense layer's weights; Keras keeps an attention's heads apart and inputs first."""
    bias = weights[f"{path}/bias"].reshape(-1)
    kernel = weights[f"{path}/kernel"].reshape(-1, bias.size)
    prefix = f"{name}." if name else ""
    return {
        f"{prefix}weight": torch.tensor(kernel.T),
        f"{prefix}bias": torch.tensor(bias),
    }


def _norm(name: str, weights: dict[str, np.ndarray], path: str) -> dict[str, torch.Tensor]:
    return {
        f"{name}.weight": torch.tensor(weights[f"{path}/gamma"]),
        f"{name}.bias": torch.tensor(weights[f"{path}/beta"]),
    }
