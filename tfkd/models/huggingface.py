"""Hugging Face folders: what is refused before anything is built, heads, label names, poolings.

KerasHub's own converter passes over settings, and over the head of a `...ForSequenceClassification`
checkpoint, without a word. With its head a published classifier is a ready teacher.
"""

import dataclasses
from pathlib import Path

import numpy as np

from tfkd.artifacts import JsonObject
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.errors import ModelError, shown
from tfkd.models.config_keys import read_object, read_settings
from tfkd.models.encoder_config import (
    CLASSES,
    FAMILIES,
    POOLER,
    EncoderConfig,
    check_tensors,
    encoder_prefix,
)
from tfkd.models.head import Head
from tfkd.models.tokenizer_files import Rules, WordPieceRules, read_rules
from tfkd.models.weights import INDEX_FILE, WEIGHTS_FILE, Weights

CLASSIFIER = "ForSequenceClassification"
# Family -> names of the layer before the logits and of the logits, and the former's activation.
_HEADS = {
    "bert": (None, "classifier", "tanh"),
    "distilbert": ("pre_classifier", "classifier", "relu"),
    "roberta": ("classifier.dense", "classifier.out_proj", "tanh"),
    "xlm-roberta": ("classifier.dense", "classifier.out_proj", "tanh"),
}
_TASKS = {
    "single_label_classification": SINGLE_LABEL,
    "multi_label_classification": MULTI_LABEL,
    "regression": REGRESSION,
}
# Modules of sentence-transformers that leave a text's tokens and vectors as tfkd makes them, or,
# like a length of 1, as a new head may have them.
_MODULES = ("Transformer", "Pooling", "Normalize", "Dropout")
_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder that was read and found right.

    Attributes:
        path: Its path.
        config: Its config.json.
        encoder: `EncoderConfig`.
        weights: `Weights`.
        rules: Of its tokenizer.
    """

    path: Path
    config: JsonObject
    encoder: EncoderConfig
    weights: Weights
    rules: Rules

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of its head's outputs in their order; empty without a head."""
        if not has_head(self.config):
            return ()
        shape = self.weights.shape(f"{_outside(self, _HEADS[self.encoder.family][1])}.bias")
        names = self.config.get("id2label") or {}
        number = shape[0] if shape else 0
        found = [str(names.get(str(index), f"LABEL_{index}")) for index in range(number)]
        # They are only compared with the data set's, and shown.
        return tuple(name if name.isprintable() else repr(name)[1:-1] for name in found)

    @property
    def task(self) -> str | None:
        """The task that its head was trained for, where it says so."""
        return _TASKS.get(str(self.config.get("problem_type")))


def read_config(folder: Path) -> JsonObject | None:
    """The folder's transformers config, or None when it is not such a folder."""
    config = read_settings(folder / "config.json")
    return config if isinstance(config, dict) and "model_type" in config else None


def has_head(config: JsonObject) -> bool:
    """Whether the checkpoint is a fine-tuned classifier."""
    return _architecture(config).endswith(CLASSIFIER)


def _architecture(config: JsonObject) -> str:
    names = config.get("architectures")
    # Some folders have the name alone.
    names = [names] if isinstance(names, str) else names
    return str(names[0]) if isinstance(names, list) and names else ""


def check_files(folder: Path, config: JsonObject) -> None:
    """Refuses what cannot be loaded, before TensorFlow is asked to.

    Raises:
        ModelError: The family is not supported, or the safetensors file is missing.
    """
    if config["model_type"] not in FAMILIES:
        raise ModelError(
            f"Expected a Hugging Face folder of family {', '.join(FAMILIES)}. Received: "
            f"{folder} with model_type={shown(config['model_type'])}."
        )
    if not any((folder / name).is_file() for name in (WEIGHTS_FILE, INDEX_FILE)):
        raise ModelError(
            f"Expected {folder / WEIGHTS_FILE}. It does not exist. Save the model with "
            "safe_serialization=True; pickled weights are not loaded."
        )


def read_folder(folder: Path, config: JsonObject) -> Folder:
    """Reads and checks all of a folder but the values of its weights.

    Raises:
        ModelError: It does not load, or would compute other numbers here than in transformers.
    """
    check_files(folder, config)
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"Expected a whole model. Received: {folder} with adapter_config.json, whose adapter "
            "is not loaded. Merge the adapter into the model, and save that."
        )
    encoder = EncoderConfig.read(folder, config)
    rules = read_rules(folder, config)
    _check_modules(folder, rules)
    weights = Weights.of(folder)
    check_tensors(encoder, weights)
    found = Folder(folder, config, encoder, weights, rules)
    _check_vocabulary(found)
    if has_head(config):
        _check_head(found)
    return found


def _check_vocabulary(found: Folder) -> None:
    tokens = getattr(found.rules, "vocabulary", ())
    if len(tokens) > found.encoder.vocabulary_size:
        raise ModelError(
            f"Expected at most {found.encoder.vocabulary_size:,} tokens in {found.path}, its "
            f"vocab_size. Received: {len(tokens):,}."
        )
    # Without positions behind it, padding is masked by its own, whatever its index.
    padding = tokens["<pad>"] if isinstance(tokens, dict) else 1
    if "roberta" in found.encoder.family and padding + 1 != found.encoder.first_position:
        raise ModelError(
            f"Expected pad_token_id of {padding}, the index of <pad>, in "
            f"{found.path / 'config.json'}. Received: {found.encoder.first_position - 1}."
        )


def _check_modules(folder: Path, rules: Rules) -> None:
    """Refuses parts of a sentence-transformers model that tfkd leaves out."""
    path = folder / "modules.json"
    modules = read_settings(path) or []
    for module in modules if isinstance(modules, list) else [modules]:
        kind = str(module.get("type") if isinstance(module, dict) else module).split(".")[-1]
        if kind not in _MODULES:
            raise ModelError(
                f"Expected modules {', '.join(_MODULES)} in {path}. Received: {shown(kind)}, which "
                "tfkd does not load. Take modules.json away to use the encoder alone."
            )
    path = folder / "sentence_bert_config.json"
    lower = read_object(path).get("do_lower_case")
    if lower and not (isinstance(rules, WordPieceRules) and rules.lowercase):
        raise ModelError(
            f"Expected do_lower_case of false in {path} for a tokenizer with capitals. Received: "
            "true. Take it out to use the encoder on text as it is."
        )


def pooling_of(folder: Path) -> str | None:
    """The pooling that a sentence-transformers folder was trained with; None for other folders.

    Raises:
        ModelError: It is none of tfkd's.
    """
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    settings = read_object(path)
    modes = [key for key in settings if key.startswith("pooling_mode_") and settings[key] is True]
    name = settings.get("pooling_mode")
    found = [_POOLINGS.get(mode) for mode in modes] or [name]
    if len(found) != 1 or found[0] not in _POOLINGS.values():
        raise ModelError(
            f"Expected one pooling of mean, cls or max in {path}. Received: "
            f"{', '.join(modes) or shown(name)}. Choose one by --pooling, or --teacher-pooling."
        )
    return found[0]


def _check_head(found: Folder) -> None:
    """Refuses a head that is not transformers' own, or not the one config.json describes."""
    family, architecture = found.encoder.family, _architecture(found.config)
    if architecture != CLASSES[family] + CLASSIFIER:
        raise ModelError(
            f"Expected the head of {CLASSES[family]}{CLASSIFIER} in {found.path}. Received: "
            f"{shown(architecture)}. Give a model of that class, or an encoder to fine-tune."
        )
    problem = found.config.get("problem_type")
    if problem is not None and problem not in _TASKS:
        raise ModelError(
            f"Expected problem_type of {', '.join(_TASKS)} in {found.path / 'config.json'}. "
            f"Received: {shown(problem)}."
        )
    pooler, logits, _ = _HEADS[family]
    width = found.encoder.width
    if family == "bert":
        _check_dense(found, encoder_prefix(found.weights) + POOLER, width, width)
    elif pooler is not None:
        _check_dense(found, _outside(found, pooler), width, width)
    kernel = found.weights.shape(f"{_outside(found, logits)}.weight")
    num_outputs = kernel[0] if kernel else 0
    _check_dense(found, _outside(found, logits), num_outputs, width)
    _check_labels(found, num_outputs)


def _outside(found: Folder, name: str) -> str:
    """Name of a layer behind the encoder, as the weights have it."""
    base = "roberta." if "roberta" in found.encoder.family else f"{found.encoder.family}."
    return encoder_prefix(found.weights).removesuffix(base) + name


def _check_dense(found: Folder, name: str, *shape: int) -> None:
    received = found.weights.shape(f"{name}.weight"), found.weights.shape(f"{name}.bias")
    if None in received:
        raise ModelError(
            f"Expected the classification head `{name}` in {found.path}. Its weights do not hold "
            f"it, though config.json names a ...{CLASSIFIER} architecture."
        )
    if received != (shape, shape[:1]):
        raise ModelError(
            f"Expected `{name}` of {list(shape)} in {found.path}. Received: "
            f"{list(received[0] or ())} and a bias of {list(received[1] or ())}."
        )


def _check_labels(found: Folder, num_outputs: int) -> None:
    """Refuses names or a number of labels that are not those of the head."""
    path, names = found.path / "config.json", found.config.get("id2label") or {}
    number = found.config.get("num_labels")
    if number is not None and number != num_outputs:
        raise ModelError(
            f"Expected num_labels of {num_outputs} in {path}, the outputs of its head. Received: "
            f"{shown(number)}."
        )
    if names and (
        not isinstance(names, dict) or set(names) != {str(index) for index in range(num_outputs)}
    ):
        raise ModelError(
            f"Expected a name for each of the {num_outputs} outputs of the head as id2label in "
            f"{path}. Received: {shown(names)}."
        )


def read_head(found: Folder) -> Head | None:
    """The classification head of a fine-tuned checkpoint, or None when it has none."""
    if not has_head(found.config):
        return None
    pooler_name, logits_name, activation = _HEADS[found.encoder.family]
    pooler = None if pooler_name is None else _dense(found, pooler_name)
    return Head(pooler, activation, _dense(found, logits_name), found.label_names)


def _dense(found: Folder, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `[in, out]` and bias `[out]` of a PyTorch linear layer."""
    name = _outside(found, name)
    kernel, bias = found.weights.read(f"{name}.weight"), found.weights.read(f"{name}.bias")
    return np.ascontiguousarray(kernel.T), bias
