"""`tfkd analyze`: size and time of architectures, with weights or without, side by side.

Every model is built, saved and converted into a temporary folder, since all are timed in turns;
the folder goes with the block, however it ends.
"""

import bisect
import dataclasses
import functools
import itertools
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras

from tfkd import artifacts
from tfkd.compression.comparison import largest_difference
from tfkd.compression.conversion import convert
from tfkd.compression.litert import LiteRTModel
from tfkd.config import AnalyzeConfig
from tfkd.data import sources
from tfkd.data.examples import Dataset
from tfkd.errors import ConfigError, ConversionError, ModelError
from tfkd.evaluation.latency import Latency
from tfkd.evaluation.memory import fresh_start
from tfkd.evaluation.predictor import Texts
from tfkd.evaluation.timing import time_models
from tfkd.models import catalog
from tfkd.models.checkpoints import Kind, Source, resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.initialization import token_table
from tfkd.models.loading import Shape, learned_tokenizer, load_classifier, load_tokenizer
from tfkd.models.tokenizers import Tokenizer
from tfkd.progress import Progress
from tfkd.workflows.analysis_table import AnalyzeResult, Architecture, Conditions, FileFigures
from tfkd.workflows.benchmark import ModelFile, first_texts

DEFAULT_LENGTH = 128
KERAS = "keras"
COLD_TEXTS, COMPARED_TEXTS = 5, 20
REPORT, PAGE = "analysis.json", "analysis.md"


def analyze(config: AnalyzeConfig, progress: Progress | None = None) -> AnalyzeResult:
    """Measures parameters, bytes, memory, first call and warm times of models.

    Args:
        config: `AnalyzeConfig`.
        progress: Where to show it. Default: standard error, unless `config.quiet`.

    Returns:
        `AnalyzeResult`.

    Raises:
        TfkdError: Anything the user can fix.

    Example:

    ```python
    result = tfkd.analyze(tfkd.AnalyzeConfig(models=("bert_base", "bert_tiny"), litert=False))
    result.architectures[1].parameters
    ```
    """
    progress = progress or Progress(config.quiet)
    report = artifacts.report_file(config.output_dir, REPORT)
    models = [resolve(name) for name in dict.fromkeys(config.models)]
    dataset = sources.load(config.dataset, config.data_dir)
    texts = first_texts(dataset.splits["test"], config.texts)
    if config.lengths and dataset.num_texts != 1:
        raise ConfigError(
            f"Expected a data set of single texts to fill to --length. Received: {dataset.name}, "
            "pairs of texts. Leave --length out."
        )
    material = _Material(config, dataset, texts, progress)
    with tempfile.TemporaryDirectory(prefix="tfkd-analyze-") as folder:
        with progress.task("build and convert", len(models)) as task:
            built = []
            for index, source in enumerate(models):
                built.append(_build(source, material, Path(folder) / str(index)))
                task.advance(status=source.name)
        architectures = _measure(built, material)
    conditions = Conditions(
        dataset.name, artifacts.fingerprint({"texts": list(texts)}), len(texts), config.rounds,
        config.threads, config.lengths, material.tokenizer_origin,
    )  # fmt: skip
    result = AnalyzeResult(architectures, conditions, config.command_line("analyze"))
    if report is not None:
        artifacts.write_text(report.with_name(PAGE), result.markdown())
        artifacts.write_json(report, result.to_dict())
    return result


@dataclasses.dataclass(frozen=True)
class _Material:
    """What every model is built from and asked."""

    config: AnalyzeConfig
    dataset: Dataset
    texts: Texts
    progress: Progress

    @property
    def sequence_length(self) -> int:
        return max(self.config.lengths, default=DEFAULT_LENGTH)

    @property
    def tokenizer_origin(self) -> str:
        return self.config.tokenizer or f"a vocabulary learned from {self.dataset.name}"

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The size words' tokenizer, before it is filled up."""
        if self.config.tokenizer is None:
            self.progress.say(f"learn a vocabulary from {self.dataset.name}")
            return learned_tokenizer(self.dataset, self.sequence_length)
        return load_tokenizer(resolve(self.config.tokenizer), self.sequence_length)


@dataclasses.dataclass(frozen=True)
class _Built:
    """A model in its temporary folder.

    Attributes:
        source: What it is.
        folder: Its model folder; LiteRT files lie in it.
        classifier_figures: Parameters, and those of the token table.
        tokenizer: `Tokenizer`.
        differences: Largest difference of logits to the Keras model, by kind of file.
        graphs: Route of each kind of file.
    """

    source: Source
    folder: Path
    parameters: int
    table_parameters: int
    tokenizer: Tokenizer
    differences: dict[str, float]
    graphs: dict[str, str]

    def file(self, kind: str) -> ModelFile:
        return ModelFile(self.source.name, self.folder, kind)


def _build(source: Source, material: _Material, folder: Path) -> _Built:
    """Saves a model, and its LiteRT files when they are asked for.

    Raises:
        ConversionError: A file cannot be written, or gives NaN.
        ModelError: The model cannot be had or takes another number of texts.
    """
    # A model that was saved is no longer needed; BERT-base is 440 MB.
    keras.backend.clear_session()
    classifier = _classifier(source, material)
    classifier.save(folder)
    table = token_table(classifier.model)
    differences, graphs = {KERAS: 0.0}, {KERAS: KERAS}
    if material.config.litert:
        logits = classifier.predict(material.texts[:COMPARED_TEXTS])
        files = convert(folder, material.config.recipes, material.config.lengths, folder)
        for kind, path in files.items():
            found = LiteRTModel(path).predict(material.texts[:COMPARED_TEXTS])
            differences[kind] = largest_difference(logits, found)
            graphs[kind] = artifacts.read_json(path.with_suffix(".json"))["name"]
            if not math.isfinite(differences[kind]):
                raise ConversionError(
                    f"Expected finite logits from {kind} of {source.name}. Received: NaN or "
                    "infinite ones. Leave that recipe out."
                )
    rows = 0 if table is None else math.prod(table.embeddings.shape)
    return _Built(
        source, folder, classifier.num_parameters, rows, classifier.tokenizer, differences, graphs
    )


def _classifier(source: Source, material: _Material) -> TextClassifier:
    """The model of a source; a finished run may answer any question about as many texts."""
    length, dataset = material.sequence_length, material.dataset
    if source.kind is Kind.SIZE:
        rows = catalog.CATALOG[source.name].vocabulary_size
        tokenizer = filled_vocabulary(material.tokenizer, rows)
        return load_classifier(source, dataset, Shape(length), tokenizer)
    if source.kind is not Kind.RUN or source.folder is None:
        return load_classifier(source, dataset, Shape(length))
    run = TextClassifier.load(source.folder)
    if run.num_texts != dataset.num_texts:
        raise ModelError(
            f"Expected models of {dataset.num_texts} text(s), as {dataset.name} has. Received: "
            f"{source.name}, which takes {run.num_texts}. Give another --dataset."
        )
    return dataclasses.replace(run, tokenizer=run.tokenizer.with_length(length))


def filled_vocabulary(tokenizer: Tokenizer, rows: int) -> Tokenizer:
    """The tokenizer with tokens that no text has, up to the rows of a published table.

    Args:
        tokenizer: `Tokenizer` with a WordPiece vocabulary.
        rows: Integer. Tokens of the result.

    Raises:
        ModelError: It has more tokens already, or is no WordPiece tokenizer.
    """
    vocabulary = tokenizer.vocabulary
    if len(vocabulary) > rows:
        raise ModelError(
            f"Expected a tokenizer of at most {rows:,} tokens for the size words. Received: "
            f"{len(vocabulary):,}. Give another --tokenizer."
        )
    unused = [f"[unused{index}]" for index in range(len(vocabulary), rows)]
    return tokenizer.with_vocabulary([*vocabulary, *unused])


def filled_texts(texts: Sequence[str], length: int, tokenizers: Sequence[Tokenizer]) -> list[str]:
    """Texts of as many words as fit into a length for every tokenizer, from those given.

    Args:
        texts: Strings. Each result begins with one of them and goes on with those after it.
        length: Integer. Tokens, special tokens included.
        tokenizers: `Tokenizer` of each model.

    Returns:
        As many strings as `texts` has.
    """
    longer = [tokenizer.with_length(4 * length) for tokenizer in tokenizers]
    filled = []
    for index in range(len(texts)):
        following = itertools.cycle([*texts[index:], *texts[:index]])
        # A word is at least one token.
        words = list(
            itertools.islice((word for text in following for word in text.split()), length)
        )

        def tokens(count: int, words: list[str] = words) -> int:
            text = " ".join(words[:count])
            return max(int(one.encode([text])["padding_mask"].sum()) for one in longer)

        count = bisect.bisect_right(range(1, length + 1), length, key=tokens)
        filled.append(" ".join(words[:count]))
    return filled


def _measure(built: Sequence[_Built], material: _Material) -> tuple[Architecture, ...]:
    """Warm times of all files in turns, for each length, then each file in a fresh process."""
    config, progress = material.config, material.progress
    kinds = list(built[0].graphs)
    latencies = []
    for texts in _asked(built, material):
        progress.say(f"time {len(built) * len(kinds)} files, {config.rounds} rounds")
        timed = {
            f"{index}/{kind}": item.file(kind).timed(config.threads)
            for index, item in enumerate(built)
            for kind in kinds
        }
        latencies.append(time_models(timed, texts, config.rounds, config.threads))
    measured = []
    with progress.task("measure first calls and memory", len(built) * len(kinds)) as task:
        for index, item in enumerate(built):
            files = []
            for kind in kinds:
                found = [latency[f"{index}/{kind}"] for latency in latencies]
                files.append(_figures(item, kind, tuple(found), material))
                task.advance(status=item.source.name)
            is_trained = item.source.kind is not Kind.SIZE
            measured.append(
                Architecture(
                    item.source.name, is_trained, item.parameters, item.table_parameters,
                    tuple(files),
                )
            )  # fmt: skip
    return tuple(measured)


def _figures(
    item: _Built, kind: str, latencies: tuple[Latency, ...], material: _Material
) -> FileFigures:
    """All figures of one file."""
    threads, file = material.config.threads, item.file(kind)
    start = fresh_start(file.timed(threads), material.texts[:COLD_TEXTS], threads)
    return FileFigures(
        kind=kind,
        size_bytes=file.path.stat().st_size,
        graph=item.graphs[kind],
        logit_difference=item.differences[kind],
        first_call_ms=start.first_call_ms,
        peak_memory_bytes=start.peak_memory_bytes,
        latencies=latencies,
    )


def _asked(built: Sequence[_Built], material: _Material) -> list[Texts]:
    """The texts of each length; without lengths the texts as they are."""
    if not material.config.lengths:
        return [material.texts]
    tokenizers = {item.tokenizer.fingerprint: item.tokenizer for item in built}
    singles = [text for text in material.texts if isinstance(text, str)]
    return [
        filled_texts(singles, length, list(tokenizers.values()))
        for length in material.config.lengths
    ]
