"""The parts of a Hugging Face folder that KerasHub leaves out: heads, label names, token types.

KerasHub converts the backbone and ignores the head of a `...ForSequenceClassification` checkpoint
without a word; with the head a published classifier is a ready teacher.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfkd.artifacts import JsonObject, read_json
from tfkd.errors import ModelError
from tfkd.models.head import Head

if TYPE_CHECKING:
    import keras_hub

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta")
# Family -> names of the layer before the logits and of the logits, and the former's activation.
_HEADS = {
    "bert": (None, "classifier", "tanh"),
    "distilbert": ("pre_classifier", "classifier", "relu"),
    "roberta": ("classifier.dense", "classifier.out_proj", "tanh"),
    "xlm-roberta": ("classifier.dense", "classifier.out_proj", "tanh"),
}


def read_config(folder: Path) -> JsonObject | None:
    """The folder's transformers config, or None when it is not such a folder."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    config = read_json(path)
    return config if "model_type" in config else None


def has_head(config: JsonObject) -> bool:
    """Whether the checkpoint is a fine-tuned classifier."""
    architecture = (config.get("architectures") or [""])[0]
    return architecture.endswith("ForSequenceClassification")


def check_files(folder: Path, config: JsonObject) -> None:
    """Refuses what cannot be loaded, before TensorFlow is asked to.

    Raises:
        ModelError: The family is not supported, or the safetensors file is missing.
    """
    if config["model_type"] not in FAMILIES:
        raise ModelError(
            f"Expected a Hugging Face folder of family {', '.join(FAMILIES)}. Received: "
            f"{folder} with model_type={config['model_type']!r}."
        )
    if not any((folder / name).is_file() for name in WEIGHT_FILES):
        raise ModelError(
            f"Expected {folder / WEIGHT_FILES[0]}. It does not exist. Save the model with "
            "safe_serialization=True; pickled weights are not loaded."
        )


def uses_mean_pooling(folder: Path) -> bool:
    """Whether the folder is a sentence-transformers one, trained with mean pooling."""
    pooling = folder / "1_Pooling" / "config.json"
    return pooling.is_file() and bool(read_json(pooling).get("pooling_mode_mean_tokens"))


def normalization(folder: Path) -> dict[str, bool]:
    """Normalization of text for the folder's WordPiece vocabulary: `lowercase`, `strip_accents`.

    As transformers reads `tokenizer_config.json`: an uncased vocabulary has no accents unless that
    is said. Where the file says nothing, a vocabulary without capital letters is uncased.
    """
    path = folder / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    lowercase, strip_accents = settings.get("do_lower_case"), settings.get("strip_accents")
    if lowercase is None:
        words = (folder / "vocab.txt").read_text(encoding="utf-8").split()
        lowercase = all(word == word.lower() or word.startswith("[") for word in words)
    if strip_accents is None:
        strip_accents = lowercase
    return {"lowercase": bool(lowercase), "strip_accents": bool(strip_accents)}


def add_token_type(backbone: "keras_hub.models.Backbone", folder: Path, config: JsonObject) -> None:
    """Adds RoBERTa's single token type to the positions, as KerasHub does for XLM-RoBERTa alone.

    It is zero in the published encoders and moves with fine-tuning.
    """
    if config["model_type"] == "roberta":
        token_types = _tensor(folder, "roberta.embeddings.token_type_embeddings.weight")
        if token_types is not None:
            positions = backbone.embeddings.position_embedding.position_embeddings
            positions.assign(positions + token_types[0])


def read_head(folder: Path, config: JsonObject) -> Head | None:
    """The classification head of a fine-tuned checkpoint, or None when it has none.

    Raises:
        ModelError: The checkpoint claims a head that its file does not hold.
    """
    if not has_head(config):
        return None
    pooler_name, logits_name, activation = _HEADS[config["model_type"]]
    logits = _dense(folder, logits_name)
    names = config.get("id2label") or {}
    label_names = tuple(
        str(names.get(str(index), f"LABEL_{index}")) for index in range(logits[1].shape[0])
    )
    pooler = None if pooler_name is None else _dense(folder, pooler_name)
    return Head(pooler, activation, logits, label_names)


def _dense(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `[in, out]` and bias `[out]` of a PyTorch linear layer."""
    kernel, bias = _tensor(folder, f"{name}.weight"), _tensor(folder, f"{name}.bias")
    if kernel is None or bias is None:
        raise ModelError(
            f"Expected the classification head `{name}` in {folder}. Its weights do not hold it, "
            "though config.json names a ...ForSequenceClassification architecture."
        )
    return np.ascontiguousarray(kernel.T), bias


def _tensor(folder: Path, name: str) -> np.ndarray | None:
    """A float32 tensor of the folder's weights, in one file or in several; None without it."""
    # Needed only for checkpoints; keeps `import tfkd` free of it.
    from safetensors import safe_open

    path = folder / WEIGHT_FILES[0]
    if not path.is_file():
        shard = read_json(folder / WEIGHT_FILES[1])["weight_map"].get(name)
        if shard is None:
            return None
        path = folder / shard
    with safe_open(path, framework="np") as tensors:
        return tensors.get_tensor(name).astype(np.float32) if name in tensors.keys() else None
