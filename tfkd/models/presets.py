"""The head of a KerasHub text classifier's preset folder, which `Backbone.from_preset` leaves out.

With it a classifier saved by `save_to_preset` is a ready teacher, as a published one is.
"""

from pathlib import Path
from typing import Any

import keras
import keras_hub

from tfkd.artifacts import read_json
from tfkd.models.encoder import Head

TASK_FILE = "task.json"
TASK_WEIGHTS_FILE = "task.weights.h5"


def is_preset(folder: Path) -> bool:
    """Whether the folder was written by KerasHub's `save_to_preset`."""
    path = folder / "config.json"
    return path.is_file() and "registered_name" in read_json(path)


def has_head(folder: Path) -> bool:
    """Whether the preset is a text classifier with its trained head, not an encoder alone."""
    path = folder / TASK_FILE
    if not path.is_file() or not (folder / TASK_WEIGHTS_FILE).is_file():
        return False
    return str(read_json(path).get("class_name")).endswith("TextClassifier")


def load_with_head(folder: Path) -> tuple[keras_hub.models.Backbone, Head]:
    """The encoder of a text classifier, and its head; KerasHub keeps no label names."""
    task = keras_hub.models.TextClassifier.from_preset(str(folder))
    dense = {layer.name: layer for layer in task.layers if isinstance(layer, keras.layers.Dense)}
    kernel, bias = dense["logits"].get_weights()
    # BERT has its pooler inside the encoder; the other families have it in the head.
    pooler: Any = dense.get("pooled_dense")
    head = Head(
        pooler=None if pooler is None else tuple(pooler.get_weights()),
        pooler_activation="tanh" if pooler is None else pooler.activation.__name__,
        logits=(kernel, bias),
        label_names=tuple(f"LABEL_{index}" for index in range(len(bias))),
    )
    return task.backbone, head
