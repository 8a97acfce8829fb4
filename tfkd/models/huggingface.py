"""The parts of a Hugging Face folder that KerasHub leaves out: classification heads, label names.

KerasHub converts the backbone and ignores the head of a `...ForSequenceClassification` checkpoint
without a word; with the head a published classifier is a ready teacher.
"""

from pathlib import Path
from typing import Any

import numpy as np

from tfkd.artifacts import read_json
from tfkd.errors import ModelError
from tfkd.models.encoder import Head

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta")
# Family -> names of the layer before the logits and of the logits, and the former's activation.
_HEADS = {
    "bert": (None, "classifier", "tanh"),
    "distilbert": ("pre_classifier", "classifier", "relu"),
    "roberta": ("classifier.dense", "classifier.out_proj", "tanh"),
    "xlm-roberta": ("classifier.dense", "classifier.out_proj", "tanh"),
}


def read_config(folder: Path) -> dict[str, Any] | None:
    """The folder's transformers config, or None when it is not such a folder."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    config = read_json(path)
    return config if "model_type" in config else None


def check_files(folder: Path, config: dict[str, Any]) -> None:
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


def read_head(folder: Path, config: dict[str, Any]) -> Head | None:
    """The classification head of a fine-tuned checkpoint, or None when it has none.

    Raises:
        ModelError: The checkpoint claims a head that its file does not hold.
    """
    architecture = (config.get("architectures") or [""])[0]
    if not architecture.endswith("ForSequenceClassification"):
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
    # Needed only for checkpoints; keeps `import tfkd` free of it.
    from safetensors import safe_open

    path = folder / WEIGHT_FILES[0]
    if not path.is_file():
        index = read_json(folder / WEIGHT_FILES[1])["weight_map"]
        path = folder / index.get(f"{name}.weight", WEIGHT_FILES[0])
    with safe_open(path, framework="np") as tensors:
        if f"{name}.weight" not in tensors.keys():
            raise ModelError(
                f"Expected the classification head `{name}` in {path}. The file does not hold it, "
                "though config.json names a ...ForSequenceClassification architecture."
            )
        kernel = tensors.get_tensor(f"{name}.weight").T
        return np.ascontiguousarray(kernel, np.float32), tensors.get_tensor(f"{name}.bias")
