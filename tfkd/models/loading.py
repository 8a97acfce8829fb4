"""Builds the classifier a `Source` stands for, with its tokenizer, ready to train or to ask."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import keras_hub

from tfkd.data.examples import REGRESSION, Dataset, listing
from tfkd.errors import ModelError
from tfkd.models import encoder, huggingface, presets, published, sizes
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.depth import check_depth, keep_layers
from tfkd.models.head import Head
from tfkd.models.hub import loaded
from tfkd.models.initialization import start_anew
from tfkd.models.tokenizer_files import BytePairRules, Rules, WordPieceRules, read_rules
from tfkd.models.tokenizers import Tokenizer
from tfkd.models.without_encoder import build_bilstm, build_cnn

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


@dataclasses.dataclass(frozen=True)
class _Published:
    """A published model's parts.

    Attributes:
        backbone: Its encoder.
        head: Its head, if it has one.
        tokenizer: Its tokenizer.
        pooling: What it was trained with.
        with_pooler: Whether BERT's pooler is one that was trained for it.
        task: The task that the head was trained for, where the files say so.
    """

    backbone: keras_hub.models.Backbone
    head: Head | None
    tokenizer: Tokenizer
    pooling: str = "cls"
    with_pooler: bool = True
    task: str | None = None


def load_classifier(
    source: Source,
    dataset: Dataset,
    shape: Shape,
    tokenizer: Tokenizer | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> TextClassifier:
    """A classifier of the data set's classes.

    Args:
        source: `Source` from `tfkd.models.checkpoints.resolve`.
        dataset: `Dataset`: its task and label names, and texts to learn a vocabulary from when a
            size word comes without a tokenizer.
        shape: `Shape`.
        tokenizer: `Tokenizer` for a size word, usually the teacher's.
        say: Called with a line that the user should read: which class a head without names is
            taken to give by which output.

    Raises:
        ModelError: The files do not load, or the classes are not the data set's.
    """
    start_anew(shape.seed)
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
    return _pretrained(source, dataset, shape, say)


def check_fit(source: Source, dataset: Dataset, shape: Shape) -> None:
    """Refuses what `load_classifier` would refuse, as far as it is known before any loading.

    Raises:
        ModelError: The texts are longer than the positions, or the classes are not the data set's.
    """
    if source.kind is Kind.SIZE and sizes.SIZE_WORDS[source.name].num_heads:
        _check_length(source.name, encoder.MAX_POSITIONS, shape)
    if source.kind is not Kind.HUGGING_FACE:
        return
    folder = _folder(source)
    found = huggingface.read_folder(folder, huggingface.read_config(folder) or {})
    _check_length(source.name, found.encoder.longest, shape)
    if found.label_names:
        _check_head(found.label_names, found.task, dataset, source.name)


def load_encoder(source: Source, shape: Shape) -> tuple[keras_hub.models.Backbone, Tokenizer]:
    """The encoder of a pretrained model or of a finished classifier, without its head.

    Raises:
        ModelError: The files do not load, or there is no encoder in the classifier.
    """
    if source.kind not in (Kind.RUN, Kind.PRETRAINED):
        read = _read(source, shape)
        return read.backbone, read.tokenizer
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
    return f"{len(label_names)} classes ({listing(label_names)})"


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
    rules = None if config is None else read_rules(folder, config)
    return loaded(source.name, lambda: _tokenizer(folder, rules, sequence_length))


def learned_tokenizer(dataset: Dataset, sequence_length: int) -> Tokenizer:
    """A tokenizer with a vocabulary learned from the first training rows."""

    def texts() -> Iterable[str]:
        for row, example in enumerate(dataset.splits["train"]):
            if row == LEARNED_FROM_ROWS:
                return
            yield from example.texts

    return Tokenizer.learn(texts(), LEARNED_VOCABULARY_SIZE, sequence_length)


def _pretrained(
    source: Source, dataset: Dataset, shape: Shape, say: Callable[[str], object]
) -> TextClassifier:
    read = _read(source, shape)
    pooling = read.pooling if shape.pooling == "auto" else shape.pooling
    if read.head is not None:
        # A published head reads what it was trained on; its own label names decide the order.
        _check_head(read.head.label_names, read.task, dataset, source.name)
        _say_names(read.head.label_names, dataset, source.name, say)
        pooling = "cls"
    head = read.head and _in_order(read.head, dataset.label_names)
    model = encoder.build_encoder_classifier(
        read.backbone, dataset.num_outputs, pooling, head=head, with_pooler=read.with_pooler
    )
    return _classifier(model, read.tokenizer, dataset)


def _read(source: Source, shape: Shape) -> _Published:
    """Encoder, head if there is one, and tokenizer of a published model's files."""
    folder = _folder(source)
    config = huggingface.read_config(folder)
    if config is None:
        read = loaded(source.name, lambda: _preset(folder, shape))
    else:
        found = huggingface.read_folder(folder, config)
        read = loaded(source.name, lambda: _hugging_face(found, shape))
    return dataclasses.replace(read, backbone=_fitted(read.backbone, source.name, shape))


def _hugging_face(found: huggingface.Folder, shape: Shape) -> _Published:
    """The parts of a Hugging Face folder."""
    with_pooler = published.has_pooler(found.encoder, found.weights)
    head = huggingface.read_head(found)
    # What masked-LM training leaves: no vector of a text was ever trained.
    pooling = "mean" if found.encoder.family == "bert" and not with_pooler else "cls"
    if head is None and shape.pooling == "auto":
        trained = huggingface.pooling_of(found.path)
        # sentence-transformers reads the first token itself, not what BERT's pooler makes of it.
        pooling, with_pooler = trained or pooling, with_pooler and trained is None
    return _Published(
        published.build_encoder(found.encoder, found.weights),
        head,
        _tokenizer(found.path, found.rules, shape.sequence_length),
        pooling,
        with_pooler,
        found.task,
    )


def _preset(folder: Path, shape: Shape) -> _Published:
    """The parts of a KerasHub preset; a classifier's brings its head."""
    tokenizer = _tokenizer(folder, None, shape.sequence_length)
    if presets.has_head(folder):
        return _Published(*presets.load_with_head(folder), tokenizer)
    return _Published(keras_hub.models.Backbone.from_preset(str(folder)), None, tokenizer)


def _fitted(
    backbone: keras_hub.models.Backbone, name: str, shape: Shape
) -> keras_hub.models.Backbone:
    """The encoder with the layers asked for, if it knows as many positions."""
    limit = getattr(backbone, "max_sequence_length", shape.sequence_length)
    _check_length(name, limit, shape)
    return backbone if shape.layers is None else keep_layers(backbone, shape.layers, name)


def _check_length(name: str, limit: int, shape: Shape) -> None:
    if shape.sequence_length > limit:
        raise ModelError(
            f"Expected a sequence length of at most {limit}, the positions {name} knows. "
            f"Received: {shape.sequence_length}."
        )


def _check_head(theirs: tuple[str, ...], task: str | None, dataset: Dataset, name: str) -> None:
    """Refuses a head whose names stand for other classes."""
    if task is not None and task != dataset.task:
        raise ModelError(
            f"Expected a head for {dataset.task}, the task of {dataset.name}. Received: {name}, "
            f"whose problem_type is one for {task}. Give another model, or an encoder."
        )
    ours = dataset.label_names
    known = _is_nameless(theirs) or sorted(_casefolded(theirs)) == sorted(_casefolded(ours))
    if len(theirs) != dataset.num_outputs or not known:
        raise ModelError(
            f"Expected a head with the {_listed(ours)} of {dataset.name}. Received: {name} with "
            f"{_listed(theirs)}."
        )


def _in_order(head: Head, ours: tuple[str, ...]) -> Head:
    """The head with its outputs in the order of the data set's classes, where it names them."""
    theirs, names = _casefolded(head.label_names), _casefolded(ours)
    if sorted(theirs) != sorted(names) or len(set(theirs)) < len(theirs):
        return head
    order = [theirs.index(name) for name in names]
    kernel, bias = head.logits
    return dataclasses.replace(head, logits=(kernel[:, order], bias[order]), label_names=ours)


def _say_names(
    theirs: tuple[str, ...], dataset: Dataset, name: str, say: Callable[[str], object]
) -> None:
    """Says which class is taken for which output of a head without names."""
    ours = dataset.label_names
    if dataset.task != REGRESSION and sorted(_casefolded(theirs)) != sorted(_casefolded(ours)):
        taken = ", ".join(f"{a} for {b}" for a, b in zip(theirs, ours, strict=True))
        say(f"{name} has no names for its classes. Taken in the order of {dataset.name}: {taken}.")


def _is_nameless(label_names: tuple[str, ...]) -> bool:
    """Whether they are those that transformers and KerasHub's presets have by default."""
    return all(label == f"LABEL_{index}" for index, label in enumerate(label_names))


def _casefolded(label_names: tuple[str, ...]) -> list[str]:
    return [label.casefold() for label in label_names]


def _tokenizer(folder: Path, rules: Rules | None, sequence_length: int) -> Tokenizer:
    """The tokenizer of a Hugging Face folder by its rules, or of a KerasHub preset.

    KerasHub's presets leave accents on in lower case, so that "café" becomes [UNK] in an uncased
    vocabulary; here they have none.
    """
    models = keras_hub.models
    if isinstance(rules, WordPieceRules):
        tokenizer = _WORD_PIECE[rules.family](
            rules.vocabulary, lowercase=rules.lowercase, strip_accents=rules.strip_accents
        )
    elif isinstance(rules, BytePairRules):
        tokenizer = models.RobertaTokenizer(
            rules.vocabulary, rules.merges, add_prefix_space=rules.add_prefix_space
        )
    elif rules is not None:
        tokenizer = models.XLMRobertaTokenizer(rules.path.read_bytes())
    else:
        tokenizer = models.Tokenizer.from_preset(str(folder))
        if isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer) and tokenizer.lowercase:
            tokenizer = type(tokenizer)(
                tokenizer.get_vocabulary(), lowercase=True, strip_accents=True
            )
    for kind in models.TextClassifierPreprocessor.__subclasses__():
        if kind.tokenizer_cls is type(tokenizer):
            return Tokenizer(kind(tokenizer, sequence_length=sequence_length))
    raise ModelError(
        f"Expected an encoder with a text classification preprocessor. Received: {folder} with "
        f"{type(tokenizer).__name__}."
    )
