"""The models of `tfkd analyze`: built, saved and converted, kept until all of them were timed.

Files of seven architectures are 2.9 GB and half an hour of conversions, so a call that was killed
takes up those that are whole.
"""

import dataclasses
import functools
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras

from tfkd import artifacts
from tfkd.compression.conversion import convert
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.parity import largest_difference
from tfkd.config.verbs import AnalyzeConfig
from tfkd.data.examples import Dataset, Texts
from tfkd.errors import ConversionError, ModelError
from tfkd.models import sizes
from tfkd.models.checkpoints import Kind, Source, resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, learned_tokenizer, load_classifier, load_tokenizer
from tfkd.models.token_table import token_table
from tfkd.models.tokenizers import Tokenizer
from tfkd.progress import Progress
from tfkd.runs.costs import ModelFile
from tfkd.runs.material import CACHE, RUNS

DEFAULT_LENGTH = 128
KERAS = "keras"
COMPARED_TEXTS = 20
TOKENIZER, RECORD = "tokenizer", "built.json"


@dataclasses.dataclass(frozen=True)
class Setup:
    """Data, texts and tokenizer that every model is measured with.

    Attributes:
        config: `AnalyzeConfig`.
        dataset: `Dataset` whose classes the models tell apart.
        texts: Strings, or pairs of strings, that are timed.
        progress: `Progress` that shows what is done.
    """

    config: AnalyzeConfig
    dataset: Dataset
    texts: Texts
    progress: Progress

    @property
    def sequence_length(self) -> int:
        """Longest text, in tokens."""
        return max(self.config.lengths, default=DEFAULT_LENGTH)

    @property
    def tokenizer_origin(self) -> str:
        """Origin of the size words' tokenizer."""
        return self.config.tokenizer or f"a vocabulary learned from {self.dataset.name}"

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The size words' tokenizer, before it is filled up."""
        if self.config.tokenizer is None:
            self.progress.say(f"learn a vocabulary from {self.dataset.name}")
            return learned_tokenizer(self.dataset, self.sequence_length)
        return load_tokenizer(resolve(self.config.tokenizer), self.sequence_length)

    def folder(self, sources: Sequence[Source]) -> Path:
        """Folder of the models until all are timed: the same for the same question."""
        mark = artifacts.fingerprint(
            {
                "models": [
                    (item.name, item.folder and item.folder.stat().st_mtime_ns) for item in sources
                ],
                "texts": list(self.texts),
                "dataset": [self.dataset.name, self.dataset.num_outputs],
                "tokenizer": self.config.tokenizer,
                "lengths": self.config.lengths,
                "recipes": self.config.recipes if self.config.litert else (),
                "versions": artifacts.versions(),
            }
        )
        return RUNS / CACHE / "analysis" / mark


@dataclasses.dataclass(frozen=True)
class Built:
    """A model in its folder.

    Attributes:
        source: `Source` of the model.
        folder: Its model folder; LiteRT files lie in it.
        parameters: Number of weights.
        table_parameters: Those that are rows of the token table.
        differences: Largest difference of logits to the Keras model, by kind of file.
        graphs: Route of each kind of file.
    """

    source: Source
    folder: Path
    parameters: int
    table_parameters: int
    differences: dict[str, float]
    graphs: dict[str, str]

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return Tokenizer.load(self.folder / TOKENIZER)

    def file(self, kind: str) -> ModelFile:
        """One of its files."""
        return ModelFile(self.source.name, self.folder, kind)


def build(source: Source, setup: Setup, folder: Path) -> Built:
    """Saves a model, and its LiteRT files when they are asked for, or finds it whole.

    Raises:
        ConversionError: A file cannot be written, or gives NaN.
        ModelError: The model cannot be had or takes another number of texts.
    """
    if not (folder / RECORD).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        artifacts.write_record(folder / RECORD, _write(source, setup, folder))
    return Built(source, folder, **artifacts.read_record(folder / RECORD))


def _write(source: Source, setup: Setup, folder: Path) -> dict[str, object]:
    """Writes all files of a model; its figures, as `Built` has them."""
    # A model that was saved is no longer needed; BERT-base is 440 MB.
    keras.backend.clear_session()
    classifier = _classifier(source, setup)
    classifier.save(folder)
    table = token_table(classifier.model)
    differences, graphs = {KERAS: 0.0}, {KERAS: KERAS}
    if setup.config.litert:
        logits = classifier.predict(setup.texts[:COMPARED_TEXTS])
        files = convert(folder, setup.config.recipes, setup.config.lengths, folder)
        for kind, path in files.items():
            found = LiteRTModel(path).predict(setup.texts[:COMPARED_TEXTS])
            differences[kind] = largest_difference(logits, found)
            graphs[kind] = artifacts.read_record(path.with_suffix(".json"))["name"]
            if not math.isfinite(differences[kind]):
                raise ConversionError(
                    f"Expected finite logits from {kind} of {source.name}. Received: NaN or "
                    "infinite ones. Leave that recipe out."
                )
    rows = 0 if table is None else math.prod(table.embeddings.shape)
    return {
        "parameters": classifier.num_parameters,
        "table_parameters": rows,
        "differences": differences,
        "graphs": graphs,
    }


def _classifier(source: Source, setup: Setup) -> TextClassifier:
    """The model of a source; a finished run may answer any question about as many texts."""
    length, dataset = setup.sequence_length, setup.dataset
    if source.kind is Kind.SIZE:
        rows = sizes.SIZE_WORDS[source.name].vocabulary_size
        tokenizer = filled_vocabulary(setup.tokenizer, rows)
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
