"""Builds the classifier a `Source` stands for, with its tokenizer, ready to train or to ask."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import keras_hub

from tfkd.data.examples import Dataset
from tfkd.errors import ModelError
from tfkd.models import catalog, encoder, huggingface
from tfkd.models.bilstm import build_bilstm
from tfkd.models.checkpoints import OFFLINE_CHOICES, Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.cnn import build_cnn
from tfkd.models.tokenizers import Tokenizer

LEARNED_VOCABULARY_SIZE = 8000
LEARNED_FROM_ROWS = 20000


@dataclasses.dataclass(frozen=True)
class Shape:
    """How a classifier is put on an encoder.

    Attributes:
        sequence_length: Longest text in tokens.
        pooling: "auto", "cls", "mean" or "max".
        seed: Seed of untrained weights.
    """

    sequence_length: int
    pooling: str = "auto"
    seed: int = 0


def load_classifier(
    source: Source, dataset: Dataset, shape: Shape, tokenizer: Tokenizer | None = None
) -> TextClassifier:
    """A classifier of the data set's classes.

    Args:
        source: `Source` from `tfkd.models.checkpoints.resolve`.
        dataset: `Dataset`: its task and label names, and texts to learn a vocabulary from when a
            size word comes without a tokenizer.
        shape: `Shape`.
        tokenizer: `Tokenizer` for a size word, usually the teacher's.

    Raises:
        ModelError: The files do not load, or the classes are not the data set's.
    """
    keras.utils.set_random_seed(shape.seed)
    if source.kind is Kind.RUN:
        return check_classes(TextClassifier.load(_folder(source)), dataset, source.name)
    if source.kind is Kind.SIZE:
        tokenizer = tokenizer or _learned_tokenizer(dataset, shape.sequence_length)
        tokenizer = tokenizer.with_length(shape.sequence_length)
        model = _from_scratch(catalog.CATALOG[source.name], tokenizer, dataset, shape)
        return _classifier(model, tokenizer, dataset)
    return _pretrained(source, dataset, shape)


def check_classes(classifier: TextClassifier, dataset: Dataset, name: str) -> TextClassifier:
    """The classifier, if it answers the data set's question.

    Raises:
        ModelError: Task, number of texts or classes differ.
    """
    expected = (dataset.task, dataset.num_texts, dataset.label_names)
    received = (classifier.task, classifier.num_texts, classifier.label_names)
    if expected != received:
        raise ModelError(
            f"Expected a classifier of {dataset.name}'s {dataset.task} classes "
            f"({', '.join(dataset.label_names[:8])}). Received: {name} with {classifier.task} "
            f"classes {', '.join(classifier.label_names[:8])}. Give a model of these classes or an "
            "encoder to fine-tune."
        )
    return classifier


def _classifier(model: keras.Model, tokenizer: Tokenizer, dataset: Dataset) -> TextClassifier:
    return TextClassifier(model, tokenizer, dataset.task, dataset.label_names, dataset.num_texts)


def _folder(source: Source) -> Path:
    if source.folder is None:
        raise ValueError(f"Expected a source with a folder. Received: {source}")
    return source.folder


def _from_scratch(
    entry: catalog.ModelEntry, tokenizer: Tokenizer, dataset: Dataset, shape: Shape
) -> keras.Model:
    builders: dict[str, Callable[..., keras.Model]] = {"cnn": build_cnn, "bilstm": build_bilstm}
    if entry.kind in builders:
        return builders[entry.kind](tokenizer.vocabulary_size, dataset.num_outputs)
    backbone = encoder.bert_from_scratch(entry, tokenizer.vocabulary_size)
    pooling = "cls" if shape.pooling == "auto" else shape.pooling
    return encoder.build_encoder_classifier(backbone, dataset.num_outputs, pooling)


def _learned_tokenizer(dataset: Dataset, sequence_length: int) -> Tokenizer:
    def texts() -> Iterable[str]:
        for row, example in enumerate(dataset.splits["train"]):
            if row == LEARNED_FROM_ROWS:
                return
            yield from example.texts

    return Tokenizer.learn(texts(), LEARNED_VOCABULARY_SIZE, sequence_length)


def _pretrained(source: Source, dataset: Dataset, shape: Shape) -> TextClassifier:
    preset = _local_copy(source) if source.name.startswith("hf://") else source.folder
    handle = source.name if preset is None else str(preset)
    config = huggingface.read_config(preset) if preset else None
    head = huggingface.read_head(preset, config) if preset and config else None
    backbone = _fetched(source.name, lambda: keras_hub.models.Backbone.from_preset(handle))
    tokenizer = _fetched(source.name, lambda: _tokenizer(handle, shape, preset, config))
    pooling = shape.pooling
    if pooling == "auto":
        mean = preset is not None and config is not None and huggingface.uses_mean_pooling(preset)
        pooling = "mean" if mean else "cls"
    if head is not None:
        # A published head reads what it was trained on; its own label names decide the order.
        dataset = dataclasses.replace(dataset, label_names=_aligned(head, dataset, source.name))
        pooling = "cls"
    model = encoder.build_encoder_classifier(backbone, dataset.num_outputs, pooling, head=head)
    return _classifier(model, tokenizer, dataset)


def _aligned(head: encoder.Head, dataset: Dataset, name: str) -> tuple[str, ...]:
    """The data set's label names, when the head's stand for the same classes in the same order."""
    generic = all(label.startswith("LABEL_") for label in head.label_names)
    same = [a.casefold() for a in head.label_names] == [b.casefold() for b in dataset.label_names]
    if len(head.label_names) == dataset.num_outputs and (generic or same):
        return dataset.label_names
    raise ModelError(
        f"Expected a head with {dataset.name}'s classes in order: "
        f"{', '.join(dataset.label_names[:8])}. Received: {name} with "
        f"{', '.join(head.label_names[:8])}."
    )


def _tokenizer(
    handle: str, shape: Shape, folder: Path | None, config: dict[str, Any] | None
) -> Tokenizer:
    tokenizer_class = keras_hub.models.Tokenizer
    options: dict[str, Any] = {}
    if config is not None and config["model_type"] in ("bert", "distilbert"):
        # KerasHub leaves accents on, so that "café" becomes [UNK] in an uncased vocabulary.
        options["strip_accents"] = _is_uncased(folder)
    tokenizer = tokenizer_class.from_preset(handle, **options)
    preprocessor_class = keras_hub.models.TextClassifierPreprocessor
    for kind in preprocessor_class.__subclasses__():
        if kind.tokenizer_cls is type(tokenizer):
            return Tokenizer(kind(tokenizer, sequence_length=shape.sequence_length))
    raise ModelError(
        f"Expected an encoder with a text classification preprocessor. Received: {handle} with "
        f"{type(tokenizer).__name__}."
    )


def _is_uncased(folder: Path | None) -> bool:
    """What tokenizer_config.json says, else whether the vocabulary has no capital letters."""
    if folder is None:
        return False
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        lowercase = huggingface.read_json(settings).get("do_lower_case")
        if lowercase is not None:
            return bool(lowercase)
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    return not any(word != word.lower() for word in words if not word.startswith("["))


def _local_copy(source: Source) -> Path:
    """Fetches the files of a Hugging Face repository that a classifier needs."""
    from huggingface_hub import snapshot_download

    return Path(
        _fetched(
            source.name,
            lambda: snapshot_download(
                source.name.removeprefix("hf://"),
                allow_patterns=[
                    "*.json", "*.safetensors", "vocab.txt", "merges.txt", "1_Pooling/*",
                ],
            ),
        )
    )  # fmt: skip


def _fetched(name: str, load: Callable[[], Any]) -> Any:
    """Calls a library's loader; what it raises becomes one line that names the offline choices."""
    try:
        return load()
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"Expected a loadable model. Received: {name!r}: {reason} {OFFLINE_CHOICES}"
        ) from error
