"""Builds the classifier a `Source` stands for, with its tokenizer, ready to train or to ask."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import keras
import keras_hub

from tfkd.artifacts import JsonObject
from tfkd.data.examples import Dataset
from tfkd.errors import ModelError
from tfkd.models import encoder, huggingface, presets, sizes
from tfkd.models.bilstm import build_bilstm
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.cnn import build_cnn
from tfkd.models.depth import check_depth, keep_layers
from tfkd.models.hub import loaded
from tfkd.models.tokenizers import Tokenizer

LEARNED_VOCABULARY_SIZE = 8000
LEARNED_FROM_ROWS = 20000
_WORD_PIECE = {
    "bert": keras_hub.models.BertTokenizer,
    "distilbert": keras_hub.models.DistilBertTokenizer,
}


@dataclasses.dataclass(frozen=True)
class Shape:
    """Shape of a classifier on an encoder.

    Attributes:
        sequence_length: Longest text in tokens.
        pooling: "auto", "cls", "mean" or "max".
        seed: Seed of untrained weights.
        layers: Layers of a pretrained encoder that stay; None for all.
    """

    sequence_length: int
    pooling: str = "auto"
    seed: int = 0
    layers: tuple[int, ...] | None = None


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
    check_depth(source, shape.layers)
    if source.kind is Kind.RUN:
        return check_classes(TextClassifier.load(_folder(source)), dataset, source.name)
    if source.kind is Kind.SIZE:
        tokenizer = tokenizer or learned_tokenizer(dataset, shape.sequence_length)
        tokenizer = tokenizer.with_length(shape.sequence_length)
        model = _from_scratch(sizes.SIZE_WORDS[source.name], tokenizer, dataset, shape)
        return _classifier(model, tokenizer, dataset)
    if source.kind is Kind.PRETRAINED:
        student = TextClassifier.load(_folder(source))
        model = _with_head(student.model, dataset.num_outputs)
        return _classifier(model, student.tokenizer.with_length(shape.sequence_length), dataset)
    return _pretrained(source, dataset, shape)


def load_encoder(source: Source, shape: Shape) -> tuple[keras_hub.models.Backbone, Tokenizer]:
    """The encoder of a pretrained model or of a finished classifier, without its head.

    Args:
        source: `Source` with a folder.
        shape: `Shape`, of which the sequence length and the layers count.

    Raises:
        ModelError: The files do not load, or there is no encoder in the classifier.
    """
    if source.kind not in (Kind.RUN, Kind.PRETRAINED):
        backbone, _, tokenizer = _read(source, shape)
        return backbone, tokenizer
    classifier = TextClassifier.load(_folder(source))
    found = [
        layer for layer in classifier.model.layers if isinstance(layer, keras_hub.models.Backbone)
    ]
    if not found:
        raise ModelError(
            f"Expected a model with an encoder. Received: {source.name} with "
            f"{classifier.model.name}. Give an encoder, or a run with one."
        )
    tokenizer = classifier.tokenizer.with_length(shape.sequence_length)
    return _fitted(found[0], source.name, shape), tokenizer


def check_classes(classifier: TextClassifier, dataset: Dataset, name: str) -> TextClassifier:
    """The classifier, if it answers the data set's question.

    Raises:
        ModelError: Task, number of texts or classes differ.
    """
    expected = (dataset.task, dataset.num_texts, dataset.label_names)
    received = (classifier.task, classifier.num_texts, classifier.label_names)
    if expected != received:
        raise ModelError(
            f"Expected a classifier of {dataset.name}: {_description(*expected)}. "
            f"Received: {name}: {_description(*received)}. "
            "Give a model of these classes or an encoder to fine-tune."
        )
    return classifier


def _description(task: str, num_texts: int, label_names: tuple[str, ...]) -> str:
    texts = "texts" if num_texts == 1 else "pairs of texts"
    return f"{task} of {texts}, {_listed(label_names)}"


def _listed(label_names: tuple[str, ...]) -> str:
    """The number of classes and their first names."""
    more = ", ..." if len(label_names) > 8 else ""
    return f"{len(label_names)} classes ({', '.join(label_names[:8])}{more})"


def _classifier(model: keras.Model, tokenizer: Tokenizer, dataset: Dataset) -> TextClassifier:
    return TextClassifier(model, tokenizer, dataset.task, dataset.label_names, dataset.num_texts)


def _folder(source: Source) -> Path:
    if source.folder is None:
        raise ValueError(f"Expected a source with a folder. Received: {source}")
    return source.folder


def _from_scratch(
    entry: sizes.ModelEntry, tokenizer: Tokenizer, dataset: Dataset, shape: Shape
) -> keras.Model:
    sizes = tokenizer.vocabulary_size, dataset.num_outputs
    if entry.kind == "bilstm":
        return build_bilstm(*sizes, width=entry.hidden_dim, units=entry.units)
    if entry.kind == "cnn":
        return build_cnn(*sizes, width=entry.hidden_dim, filters=entry.filters)
    _check_length(entry.name, encoder.MAX_POSITIONS, shape)
    backbone = encoder.encoder_from_scratch(entry, tokenizer.vocabulary_size)
    pooling = "cls" if shape.pooling == "auto" else shape.pooling
    return encoder.build_encoder_classifier(backbone, dataset.num_outputs, pooling)


def _with_head(model: keras.Model, num_outputs: int) -> keras.Model:
    """A general student with untrained logits of a task in place of its vectors."""
    vectors = model.get_layer("logits")
    logits = vectors.from_config({**vectors.get_config(), "units": num_outputs})
    return keras.Model(model.input, logits(vectors.input), name=model.name)


def load_tokenizer(source: Source, sequence_length: int) -> Tokenizer:
    """The tokenizer of a model that has one.

    Args:
        source: `Source` from `tfkd.models.checkpoints.resolve`.
        sequence_length: Integer. Longest text in tokens.

    Raises:
        ModelError: The source is a size word, or its files do not load.
    """
    if source.kind is Kind.SIZE:
        raise ModelError(
            f"Expected a model with a tokenizer. Received: {source.name}, a size word, which takes "
            "any. Give a preset, a folder or a finished run."
        )
    folder = _folder(source)
    if source.kind in (Kind.RUN, Kind.PRETRAINED):
        return Tokenizer.load(folder / "tokenizer").with_length(sequence_length)
    config = huggingface.read_config(folder)
    return loaded(source.name, lambda: _tokenizer(folder, config, Shape(sequence_length)))


def learned_tokenizer(dataset: Dataset, sequence_length: int) -> Tokenizer:
    """A tokenizer with a vocabulary learned from the first training rows."""

    def texts() -> Iterable[str]:
        for row, example in enumerate(dataset.splits["train"]):
            if row == LEARNED_FROM_ROWS:
                return
            yield from example.texts

    return Tokenizer.learn(texts(), LEARNED_VOCABULARY_SIZE, sequence_length)


def _pretrained(source: Source, dataset: Dataset, shape: Shape) -> TextClassifier:
    backbone, head, tokenizer = _read(source, shape)
    pooling = shape.pooling
    if pooling == "auto":
        pooling = "mean" if huggingface.uses_mean_pooling(_folder(source)) else "cls"
    if head is not None:
        # A published head reads what it was trained on; its own label names decide the order.
        dataset = dataclasses.replace(dataset, label_names=_aligned(head, dataset, source.name))
        pooling = "cls"
    model = encoder.build_encoder_classifier(backbone, dataset.num_outputs, pooling, head=head)
    return _classifier(model, tokenizer, dataset)


def _read(
    source: Source, shape: Shape
) -> tuple[keras_hub.models.Backbone, encoder.Head | None, Tokenizer]:
    """Encoder, head if there is one, and tokenizer of a published model's files."""
    folder = _folder(source)
    config = huggingface.read_config(folder)
    backbone, head = loaded(source.name, lambda: _encoder(folder, config))
    tokenizer = loaded(source.name, lambda: _tokenizer(folder, config, shape))
    return _fitted(backbone, source.name, shape), head, tokenizer


def _fitted(
    backbone: keras_hub.models.Backbone, name: str, shape: Shape
) -> keras_hub.models.Backbone:
    """The encoder with the layers asked for, if it knows as many positions."""
    limit = getattr(backbone, "max_sequence_length", shape.sequence_length)
    _check_length(name, limit, shape)
    return backbone if shape.layers is None else keep_layers(backbone, shape.layers, name)


def _encoder(
    folder: Path, config: JsonObject | None
) -> tuple[keras_hub.models.Backbone, encoder.Head | None]:
    """The encoder, and the head that a published classifier brings."""
    if config is None and presets.has_head(folder):
        return presets.load_with_head(folder)
    head = None
    if config is not None:
        huggingface.check_files(folder, config)
        head = huggingface.read_head(folder, config)
    backbone = keras_hub.models.Backbone.from_preset(str(folder))
    if config is not None:
        huggingface.add_token_type(backbone, folder, config)
    return backbone, head


def _check_length(name: str, limit: int, shape: Shape) -> None:
    if shape.sequence_length > limit:
        raise ModelError(
            f"Expected a sequence length of at most {limit}, the positions {name} knows. "
            f"Received: {shape.sequence_length}."
        )


def _aligned(head: encoder.Head, dataset: Dataset, name: str) -> tuple[str, ...]:
    """The data set's label names, when the head's stand for the same classes in the same order."""
    generic = all(label.startswith("LABEL_") for label in head.label_names)
    same = [a.casefold() for a in head.label_names] == [b.casefold() for b in dataset.label_names]
    if len(head.label_names) == dataset.num_outputs and (generic or same):
        return dataset.label_names
    raise ModelError(
        f"Expected a head with the {_listed(dataset.label_names)} of {dataset.name} in this "
        f"order. Received: {name} with {_listed(head.label_names)}."
    )


def _tokenizer(folder: Path, config: JsonObject | None, shape: Shape) -> Tokenizer:
    """The tokenizer, without accents for a lower-case vocabulary unless a folder says otherwise.

    KerasHub leaves accents on, so that "café" becomes [UNK] in an uncased vocabulary.
    """
    family = _WORD_PIECE.get(config["model_type"]) if config else None
    if family is not None and (folder / "vocab.txt").is_file():
        options = huggingface.normalization(folder)
        tokenizer = family(str(folder / "vocab.txt"), **options)
    else:
        tokenizer = keras_hub.models.Tokenizer.from_preset(str(folder))
        if isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer) and tokenizer.lowercase:
            tokenizer = type(tokenizer)(
                tokenizer.get_vocabulary(), lowercase=True, strip_accents=True
            )
    for kind in keras_hub.models.TextClassifierPreprocessor.__subclasses__():
        if kind.tokenizer_cls is type(tokenizer):
            return Tokenizer(kind(tokenizer, sequence_length=shape.sequence_length))
    raise ModelError(
        f"Expected an encoder with a text classification preprocessor. Received: {folder} with "
        f"{type(tokenizer).__name__}."
    )
