"""Asks a run's model: texts in, label and probability out, in the order of the texts.

Texts are read, answered and given back in chunks, so a file of any length takes the memory of one
chunk. The Keras model and its LiteRT files answer through the same call.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, overload

from tfkd.artifacts import RunFolder
from tfkd.config.fields import option
from tfkd.config.verbs import PredictConfig
from tfkd.data.columns import ColumnNames
from tfkd.data.readers import SUFFIXES, format_of
from tfkd.data.texts import GivenTexts, given_rows
from tfkd.errors import ArtifactError, ConfigError, DatasetError
from tfkd.models.description import Description
from tfkd.models.predictions import Prediction, predictions
from tfkd.progress import Progress
from tfkd.runs.answering import KERAS, Answering, Asked, of_any, of_folder, quick_recipe
from tfkd.runs.corpus import Corpus
from tfkd.runs.labelled_corpus import LabelledCorpus, Labelling, label_corpus
from tfkd.runs.scored_file import ScoredFile, TextTable, score_file
from tfkd.runs.settings import settings_of

CHUNK_ROWS = 256
MAX_LINE_BYTES = 1_000_000
FOLDER_SETTINGS = ("ray", "id_column", "part_rows", "data_dir")


@overload
def predict(run: PredictConfig, texts: GivenTexts) -> Iterator[Prediction]: ...
@overload
def predict(run: Asked, texts: GivenTexts, recipe: str | None = None) -> list[Prediction]: ...
def predict(
    run: PredictConfig | Asked, texts: GivenTexts, recipe: str | None = None
) -> Iterator[Prediction] | list[Prediction]:
    """Labels and probabilities of texts.

    Args:
        run: Path or string of a run, of a model folder in one or of a `.tflite` file in that; or a
            `TextClassifier`, a `LiteRTModel`, or the result of `distill` or `finetune`. Or a
            `PredictConfig`, for texts that are streamed.
        texts: A string is one text. Else strings in a list, an array, a column of pandas or polars,
            or another iterable. For pairs each holds two sentences with a tab between, or is a
            tuple or list of two.
        recipe: String. Of a folder: the LiteRT file to ask, or "keras" for the Keras model.
            Default: the first there is of dynamic_int8, float32 and keras; a file loads no
            TensorFlow.

    Returns:
        List of `Prediction`, one a text, in order. With a `PredictConfig` an iterator that reads
        and answers them in chunks, by the Keras model unless `config.recipe` says otherwise; the
        model is loaded before it is returned.

    Raises:
        ArtifactError: The folder is no run, or has no file of the recipe.
        DatasetError: A text is no pair where the model asks for pairs, or the reverse; raised when
            its chunk is reached.
        TypeError: It is no text, or no model.

    Example:

    >>> [prediction] = tfkd.predict("saved_models/demo", ["Oil prices fell again."])
    >>> prediction.label, prediction.probabilities["Sports"]
    ('Business', 0.0021)
    """
    if isinstance(run, PredictConfig):
        folder = RunFolder(run.run)
        folder.read_config()
        rows = given_rows(texts, Description.read(folder.model).num_texts)
        return _answers(of_folder(folder.model, run.recipe or KERAS), rows)
    answering = of_any(run, recipe)
    return list(_answers(answering, given_rows(texts, answering.model.num_texts)))


def predict_file(
    config: PredictConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> ScoredFile | LabelledCorpus:
    """Writes a user's table with the answers behind its columns, or a corpus' answers as parts.

    CSV, TSV, JSONL and Parquet, plain or .gz, by the ending of each name. The file is there when it
    is whole. Rows without a text have empty answers and are counted. Where the output's name has no
    ending, it becomes a folder that a killed command goes on with; see docs/scale.md.

    Args:
        config: `PredictConfig` with `input` and `output`; or the run's path.
        progress: `Progress` that shows what is done.
        **given: The settings as keywords instead.

    Returns:
        `ScoredFile`, or `LabelledCorpus` of a folder.

    Raises:
        ArtifactError: The folder is no run, has no file of the recipe, or the output is there.
        ConfigError: Input or output is not given, or they are one file.
        DatasetError: The input cannot be read, has no such column, or a row is bad.

    Example:

    ```python
    tfkd.predict_file("saved_models/demo", input="backlog.csv", output="scored.csv")
    ```
    """
    config = settings_of(PredictConfig, config, given)
    progress = progress or Progress(config.quiet)
    source, path = _given(config)
    run = RunFolder(config.run)
    trained = ColumnNames.of(run.read_config())
    num_texts = Description.read(run.model).num_texts
    names = ColumnNames(config.text_column, config.second_text_column, id=config.id_column)
    recipe = config.recipe or quick_recipe(run.model)
    if path.is_dir() or not path.suffix:
        corpus = Corpus.of(source, names.over(trained), num_texts, config.data_dir)
        if config.id_column is None:
            corpus = corpus.with_ids_there()
        labelling = Labelling(corpus, path, run.model, recipe)
        return label_corpus(labelling, config.part_rows, config.overwrite, config.ray, progress)
    _check_file(source, path, config)
    table = TextTable.of(source, names.over(trained), num_texts)
    return score_file(table, path, of_folder(run.model, recipe), config.all_classes, progress)


def is_table(config: PredictConfig) -> bool:
    """Whether settings ask for a file of answers, not for lines.

    Raises:
        ConfigError: They do not, and others are for such a file.
    """
    if config.output is not None or (config.input and config.input.name.endswith(SUFFIXES)):
        return True
    idle = [name for name in config.chosen() if name not in ("run", "input", "recipe", "quiet")]
    if idle:
        raise ConfigError(
            f"Expected --input and --output, of a table, with {option(idle[0], False)}. Received: "
            "no table. Leave it out for lines of text."
        )
    return False


def read_texts(stream: IO[bytes], source: str) -> Iterator[str]:
    """The lines of a binary stream as texts.

    Args:
        stream: An open binary file.
        source: String. Name of the stream for error messages.

    Raises:
        DatasetError: A line is empty, is not UTF-8 text or is longer than `MAX_LINE_BYTES`.
    """
    # Read with a limit: a file without line ends would fill the memory first.
    for row, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), 1):
        if len(line) > MAX_LINE_BYTES:
            raise DatasetError(
                f"Expected lines of at most {MAX_LINE_BYTES} bytes in {source}. Received: more "
                f"in row {row}. Write one text a line."
            )
        try:
            # Only the first line may begin with a byte-order mark.
            text = line.decode("utf-8-sig" if row == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"Expected UTF-8 in {source}, row {row}. Received: {error.reason} at byte "
                f"{error.start}. Save the file as UTF-8."
            ) from error
        if not text.strip():
            raise DatasetError(
                f"Expected a text in {source}, row {row}. Received: an empty line. Remove it."
            )
        # Lines of an old Mac would be one text; UTF-16 and archives are full of zeros.
        for mark, name in (("\r", "a carriage return"), ("\0", "a zero byte")):
            if mark in text:
                raise DatasetError(
                    f"Expected lines of text in {source}, row {row}. Received: {name} inside the "
                    "line. Save the file as UTF-8 text with a line feed behind each text."
                )
        yield text


def _given(config: PredictConfig) -> tuple[Path, Path]:
    """Input and output, both given, and neither the input nor in it what is written."""
    source, path = config.input, config.output
    if source is None or path is None:
        given = f"--output {path} alone" if source is None else f"--input {source} alone"
        raise ConfigError(
            "Expected --input and --output, a table and the file to write. Received: "
            f"{given}. Give both, such as --input backlog.csv --output scored.csv."
        )
    if source.is_dir() and path.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"Expected --output outside of the folder that is read. Received: {path} in {source}."
        )
    return source, path


def _check_file(source: Path, path: Path, config: PredictConfig) -> None:
    """Refuses a file that cannot be written, or settings that are for a folder."""
    format_of(path)
    idle = [name for name in FOLDER_SETTINGS if name in config.chosen()]
    if idle or source.is_dir():
        given = option(idle[0], False) if idle else f"a folder as --input, {source}"
        raise ConfigError(
            f"Expected --output FOLDER, a name without an ending, with {given}. Received: "
            f"--output {path}, a file."
        )
    if path.exists():
        if source.exists() and path.samefile(source):
            raise ConfigError(
                f"Expected another file for --output than the input. Received: {path} for both."
            )
        if not config.overwrite:
            raise ArtifactError(
                f"Expected no file {path}. It exists. Add --overwrite, or give another --output."
            )


def _answers(answering: Answering, rows: Iterator[tuple[str, ...]]) -> Iterator[Prediction]:
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        yield from predictions(chunk, answering.logits(chunk), answering.model)
