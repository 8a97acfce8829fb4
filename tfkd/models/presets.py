"""KerasHub presets: which names there are, and the head that `Backbone.from_preset` leaves out.

With its head a classifier saved by `save_to_preset` is a ready teacher, as a published one is.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from tfkd.models.head import Head
from tfkd.seals import json_value

if TYPE_CHECKING:
    import keras_hub

FAMILIES = ("bert", "distil_bert", "roberta", "xlm_roberta")
TASK_FILE = "task.json"
TASK_WEIGHTS_FILE = "task.weights.h5"


def handles() -> dict[str, str]:
    """The encoder presets KerasHub knows: name to `kaggle://` handle.

    Read from KerasHub's own lists, which are plain mappings: importing KerasHub takes eight
    seconds, too long to say that a name is unknown.
    """
    package = importlib.util.find_spec("keras_hub")
    if package is None or not package.submodule_search_locations:
        raise ImportError(
            "Expected the package keras-hub. Install it with `pip install keras-hub`."
        )
    models = Path(package.submodule_search_locations[0]) / "src" / "models"
    found = {}
    for family in FAMILIES:
        path = models / family / f"{family}_presets.py"
        spec = importlib.util.spec_from_file_location(f"{family}_presets", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"Expected KerasHub's list of presets at {path}. Install 0.32.")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found.update({n: preset["kaggle_handle"] for n, preset in module.backbone_presets.items()})
    return found


def is_preset(folder: Path) -> bool:
    """Whether the folder was written by KerasHub's `save_to_preset`."""
    path = folder / "config.json"
    config = json_value(path) if path.is_file() else None
    return isinstance(config, dict) and "registered_name" in config


def has_head(folder: Path) -> bool:
    """Whether the preset is a text classifier with its trained head, not an encoder alone."""
    path = folder / TASK_FILE
    if not path.is_file() or not (folder / TASK_WEIGHTS_FILE).is_file():
        return False
    task = json_value(path)
    return isinstance(task, dict) and str(task.get("class_name")).endswith("TextClassifier")


def load_with_head(folder: Path) -> "tuple[keras_hub.models.Backbone, Head]":
    """The encoder of a text classifier, and its head; KerasHub keeps no label names."""
    import keras
    import keras_hub

    task = keras_hub.models.TextClassifier.from_preset(str(folder))
    dense = {layer.name: layer for layer in task.layers if isinstance(layer, keras.layers.Dense)}
    kernel, bias = dense["logits"].get_weights()
    # BERT has its pooler inside the encoder; the other families have it in the head.
    pooler: keras.layers.Dense | None = dense.get("pooled_dense")
    head = Head(
        pooler=None if pooler is None else tuple(pooler.get_weights()),
        pooler_activation="tanh" if pooler is None else pooler.activation.__name__,
        logits=(kernel, bias),
        label_names=tuple(f"LABEL_{index}" for index in range(len(bias))),
    )
    return task.backbone, head
