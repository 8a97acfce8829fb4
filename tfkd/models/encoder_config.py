"""Sizes and arithmetic of a Hugging Face encoder, as its config.json gives them.

Every setting is read by the name that its family has for it, and checked against the shapes of the
folder's tensors, which are the truth about sizes.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tfkd.artifacts import JsonObject
from tfkd.errors import ModelError, shown
from tfkd.models.config_keys import CONFIG_KEYS
from tfkd.models.weights import Weights

FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta")
CLASSES = dict(zip(FAMILIES, ("Bert", "DistilBert", "Roberta", "XLMRoberta"), strict=True))
LARGEST = 10_000_000
# What transformers calls the activations that tfkd has, and their names here.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_accurate": "gelu_approximate",
    "gelu_fast": "gelu_approximate",
    "gelu_new": "gelu_approximate",
    "gelu_python_tanh": "gelu_approximate",
    "gelu_pytorch_tanh": "gelu_approximate",
    "relu": "relu",
    "relu6": "relu6",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
    "linear": "linear",
}
# Field, a family's setting for it, and transformers' default.
_KEYS: dict[str, dict[str, tuple[str, object]]] = {
    "bert": {
        "vocabulary_size": ("vocab_size", 30522),
        "num_layers": ("num_hidden_layers", 12),
        "num_heads": ("num_attention_heads", 12),
        "width": ("hidden_size", 768),
        "wide": ("intermediate_size", 3072),
        "num_positions": ("max_position_embeddings", 512),
        "num_types": ("type_vocab_size", 2),
        "activation": ("hidden_act", "gelu"),
        "epsilon": ("layer_norm_eps", 1e-12),
        "dropout": ("hidden_dropout_prob", 0.1),
    },
    "distilbert": {
        "vocabulary_size": ("vocab_size", 30522),
        "num_layers": ("n_layers", 6),
        "num_heads": ("n_heads", 12),
        "width": ("dim", 768),
        "wide": ("hidden_dim", 3072),
        "num_positions": ("max_position_embeddings", 512),
        "activation": ("activation", "gelu"),
        "dropout": ("dropout", 0.1),
    },
}
_KEYS["roberta"] = _KEYS["xlm-roberta"] = {
    **_KEYS["bert"],
    "vocabulary_size": ("vocab_size", 50265),
}
_TASK_KEYS = ("model_type", "architectures", "id2label", "num_labels", "problem_type")
# KerasHub's encoders have one rate for both.
_SECOND_DROPOUT = {"attention_probs_dropout_prob", "attention_dropout"}
_PARTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "output_norm": "output.LayerNorm",
}
_DISTILBERT_PARTS = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "attention_output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "wide": "ffn.lin1",
    "narrow": "ffn.lin2",
    "output_norm": "output_layer_norm",
}
TOKENS, POSITIONS, TYPES = (
    f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")
)
TABLES_NORM, POOLER = "embeddings.LayerNorm", "pooler.dense"
# Constants that old versions wrote beside the weights.
_BUFFERS = {"embeddings.position_ids", "embeddings.token_type_ids"}


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """An encoder as a config.json describes it.

    Attributes:
        family: One of `FAMILIES`.
        vocabulary_size: Rows of the token table.
        num_layers: Transformer layers.
        num_heads: Attention heads of each.
        width: Width of a token vector.
        wide: Width between the two products of a layer.
        num_positions: Rows of the position table.
        num_types: Rows of the table that tells first and second texts apart; 0 without one.
        activation: Between these products; one of `ACTIVATIONS`' values.
        epsilon: Added to the variance by every normalization.
        dropout: Share of numbers dropped in training.
        first_position: Row of the first token's position.
    """

    family: str
    vocabulary_size: int
    num_layers: int
    num_heads: int
    width: int
    wide: int
    num_positions: int
    num_types: int = 0
    activation: str = "gelu"
    epsilon: float = 1e-12
    dropout: float = 0.1
    first_position: int = 0

    @classmethod
    def read(cls, folder: Path, config: JsonObject) -> Self:
        """Reads a config.json.

        Raises:
            ModelError: A setting is out of range, or tfkd does not have what it asks for.
        """
        family, path = config["model_type"], folder / "config.json"
        keys = _KEYS[family].values()
        CONFIG_KEYS.check(path, config, {*dict(keys), *_TASK_KEYS, *_SECOND_DROPOUT})
        for key, default in keys:
            _check(path, key, config.get(key, default), default)
        values = {field: config.get(*key) for field, key in _KEYS[family].items()}
        found = cls(family, **{**values, "activation": ACTIVATIONS[values["activation"]]})
        if found.width % found.num_heads:
            raise ModelError(
                f"Expected a width that its heads divide in {path}. Received: a width of "
                f"{found.width} and {found.num_heads} heads."
            )
        return found._with_padding(path, config) if "roberta" in family else found

    def _with_padding(self, path: Path, config: JsonObject) -> Self:
        """The same with positions that are counted from the padding token's index on."""
        padding = config.get("pad_token_id", 1)
        _check(path, "pad_token_id", padding, 1)
        if padding + 1 >= self.num_positions:
            raise ModelError(
                f"Expected more than {padding + 1} max_position_embeddings in {path}, since "
                f"positions start behind pad_token_id. Received: {self.num_positions}."
            )
        return dataclasses.replace(self, first_position=padding + 1)

    @property
    def longest(self) -> int:
        """Positions that a text may have."""
        return self.num_positions - self.first_position

    @property
    def layer_prefix(self) -> str:
        """Before the number of a layer in its tensors' names."""
        return "transformer.layer." if self.family == "distilbert" else "encoder.layer."

    def part(self, layer: int, name: str) -> str:
        """Name of a part of a layer, as the tensors have it."""
        parts = _DISTILBERT_PARTS if self.family == "distilbert" else _PARTS
        return f"{self.layer_prefix}{layer}.{parts[name]}"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor of the encoder by its name without prefix, pooler left out."""
        tables = {TOKENS: self.vocabulary_size, POSITIONS: self.num_positions}
        if self.num_types:
            tables[TYPES] = self.num_types
        products = {"wide": (self.wide, self.width), "narrow": (self.width, self.wide)}
        dense, norms = {}, [TABLES_NORM]
        for layer in range(self.num_layers):
            for part in _PARTS:
                if part.endswith("norm"):
                    norms.append(self.part(layer, part))
                else:
                    dense[self.part(layer, part)] = products.get(part, (self.width, self.width))
        return {
            **{name: (rows, self.width) for name, rows in tables.items()},
            **dict(_with_biases(dense)),
            **{f"{name}.{end}": (self.width,) for name in norms for end in ("weight", "bias")},
        }


def _with_biases(dense: dict[str, tuple[int, int]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, shape in dense.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]


def _check(path: Path, key: str, value: object, default: object) -> None:
    """Refuses a setting of another type than its default's, or out of range."""
    if isinstance(default, str):
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise ModelError(
                f"Expected {key} in {path} to be one of {', '.join(ACTIVATIONS)}. Received: "
                f"{shown(value)}."
            )
    elif isinstance(default, float):
        most, what = (1.0, "a share below 1") if "dropout" in key else (math.inf, "above 0")
        least = 0.0 if "dropout" in key else math.ulp(0.0)
        number = math.nan if isinstance(value, (bool, str)) or value is None else value
        if not isinstance(number, (int, float)) or not least <= number < most:
            raise ModelError(f"Expected {key} in {path} to be {what}. Received: {shown(value)}.")
    elif type(value) is not int or not (key != "pad_token_id") <= value <= LARGEST:
        raise ModelError(
            f"Expected {key} in {path} to be a whole number from 1 to {LARGEST:,}. Received: "
            f"{shown(value)}."
        )


def encoder_prefix(weights: Weights) -> str:
    """What stands before the names of the encoder's tensors: "bert.", or nothing at all.

    Raises:
        ModelError: There is no encoder, or more than one.
    """
    tables = [name for name in weights if f".{name}".endswith(f".{TOKENS}")]
    if len(tables) != 1:
        raise ModelError(
            f"Expected the weights of one encoder in {weights.folder}. Received: "
            f"{', '.join(sorted(tables)[:3]) or f'no {TOKENS}'}. Save the encoder alone."
        )
    return tables[0].removesuffix(TOKENS)


def check_tensors(config: EncoderConfig, weights: Weights) -> None:
    """Refuses weights that are not those of config.json, before anything is built.

    Raises:
        ModelError: A tensor is missing, has another shape, or belongs to another arithmetic.
    """
    prefix, folder = encoder_prefix(weights), weights.folder
    held = {name.removeprefix(prefix) for name in weights if name.startswith(prefix)}
    layers = {_layer(name, config) for name in held} - {None}
    if config.num_layers > len(layers):
        raise ModelError(
            f"Expected the {config.num_layers} layers of {folder / 'config.json'} in its weights. "
            f"Received: {len(layers)}."
        )
    expected = config.shapes()
    if "roberta" in config.family:
        # One row is read of any number; where it was zero there may be none.
        rows = weights.shape(prefix + TYPES)
        expected |= {TYPES: (rows[0], config.width)} if rows else {}
        if not rows:
            del expected[TYPES]
    for name, shape in expected.items():
        received = weights.shape(prefix + name)
        if received != shape:
            what = "none" if received is None else f"one of {list(received)}"
            raise ModelError(
                f"Expected a tensor {prefix + name} of {list(shape)} in {folder}, as config.json "
                f"has it. Received: {what}."
            )
    unknown = sorted(name for name in held - set(expected) if _is_other(name, config))
    if unknown:
        raise ModelError(
            f"Expected the weights of a plain {CLASSES[config.family]} encoder in {folder}. "
            f"Received: {prefix + unknown[0]}, too, which tfkd does not compute with. Give another "
            "model, or merge what was added to it."
        )


def _layer(name: str, config: EncoderConfig) -> int | None:
    """Number of the layer that a tensor belongs to, or None."""
    number = name.removeprefix(config.layer_prefix).split(".")[0]
    return int(number) if name.startswith(config.layer_prefix) and number.isdecimal() else None


def _is_other(name: str, config: EncoderConfig) -> bool:
    """Whether a tensor is a part of the encoder that a plain one does not have."""
    # transformers, too, takes the first layers of more.
    layer = _layer(name, config)
    beyond = layer is not None and layer >= config.num_layers
    inside = name.startswith(("embeddings.", "encoder.", "transformer."))
    return inside and not beyond and name not in _BUFFERS
