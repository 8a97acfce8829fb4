"""Asks a run's model: texts in, label and probability out, in the order of the texts.

Texts are read, answered and given back in chunks, so a file of any length takes the memory of one
chunk. The Keras model and its LiteRT files answer through the same call.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
from scipy.special import expit, softmax

from tfkd.artifacts import RunFolder
from tfkd.config.verbs import PredictConfig
from tfkd.data.examples import DEFAULT_THRESHOLD, MULTI_LABEL, REGRESSION
from tfkd.data.texts import GivenTexts, given_rows
from tfkd.errors import ArtifactError, DatasetError
from tfkd.evaluation.predictor import Predictor
from tfkd.keras_environment import settle_keras
from tfkd.models.description import Description
from tfkd.quiet import import_tensorflow

CHUNK_ROWS = 256
MAX_LINE_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Answer of the model to one text. As a string it is one tab-separated line.

    Attributes:
        texts: The text, or the two of a pair.
        task: One of `tfkd.data.examples.TASKS`.
        probabilities: Label name to probability in [0, 1], in index order. Empty for regression.
        score: The predicted score of a regression, else None.
        thresholds: Of multi_label: the probability above which a label is given, one for all or
            one a label.
    """

    texts: tuple[str, ...]
    task: str
    probabilities: dict[str, float]
    score: float | None = None
    thresholds: float | Sequence[float] = DEFAULT_THRESHOLD

    @property
    def labels(self) -> tuple[str, ...]:
        """The likeliest label; for multi-label every one with a probability above its threshold."""
        if self.task == MULTI_LABEL:
            given = np.array(list(self.probabilities.values())) > np.asarray(self.thresholds)
            return tuple(itertools.compress(self.probabilities, given))
        if self.task == REGRESSION:
            return ()
        return (max(self.probabilities, key=self.probabilities.__getitem__),)

    def __str__(self) -> str:
        if self.score is not None:
            return f"{self.score:.4f}"
        fields = [f"{name}\t{self.probabilities[name]:.4f}" for name in self.labels]
        return "\t".join(fields) or "(none)"

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain JSON values, with the probability of every label."""
        text = {"text": self.texts[0]} if len(self.texts) == 1 else {"texts": list(self.texts)}
        if self.score is not None:
            return {**text, "score": self.score}
        probabilities = {"probabilities": self.probabilities}
        if self.task == MULTI_LABEL:
            return {**text, "labels": list(self.labels), **probabilities}
        label = self.labels[0]
        return {**text, "label": label, "probability": self.probabilities[label], **probabilities}


def predict(config: PredictConfig, texts: GivenTexts) -> Iterator[Prediction]:
    """Answers texts with the model of a finished run.

    Args:
        config: `PredictConfig`. Which run, and which of its files.
        texts: Strings, streamed; one alone is one text. For pairs each holds two sentences
            with a tab between, or is a tuple or list of two.

    Returns:
        Iterator of `Prediction`, one a text, in order. The model is loaded before it is returned.

    Raises:
        ArtifactError: The folder is no run, or has no file of the recipe.
        DatasetError: A text is no pair where the model asks for pairs, or the reverse; raised when
            its chunk is reached.
        TypeError: It is no text.

    Example:

    >>> config = PredictConfig(run="saved_models/demo")
    >>> next(predict(config, ["Oil prices fell again."])).labels
    ('Business',)
    """
    run = RunFolder(config.run)
    run.read_config()
    description = Description.read(run.model)
    rows = given_rows(texts, description.num_texts)
    return _answers(_load(run, config.recipe), rows, description)


def read_texts(stream: IO[bytes], source: str) -> Iterator[str]:
    """The lines of a binary stream as texts.

    Args:
        stream: An open binary file.
        source: String. Name of the stream for error messages.

    Raises:
        DatasetError: A line is empty, is not UTF-8 or is longer than `MAX_LINE_BYTES`.
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
        yield text


def _load(run: RunFolder, recipe: str | None) -> Predictor:
    """The run's Keras model, or one of its LiteRT files."""
    path = run.model / ("model.keras" if recipe is None else f"{recipe}.tflite")
    if recipe is not None and not path.is_file():
        raise ArtifactError(
            f"Expected the file {path}. It does not exist. Make it with "
            f"`tfkd export {run.path} --recipe {recipe}`."
        )
    # Imported here: a missing file is told before TensorFlow's seconds of loading.
    if recipe is None:
        settle_keras()
    import_tensorflow()
    if recipe is None:
        from tfkd.models.classifier import TextClassifier

        return TextClassifier.load(run.model)
    from tfkd.compression.litert import LiteRTModel

    return LiteRTModel(path)


def _answers(
    model: Predictor, rows: Iterator[tuple[str, ...]], description: Description
) -> Iterator[Prediction]:
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        texts: Any = [row[0] for row in chunk] if len(chunk[0]) == 1 else chunk
        for row, logits in zip(chunk, model.predict(texts), strict=True):
            yield _prediction(row, logits, description)


def _prediction(row: tuple[str, ...], logits: np.ndarray, description: Description) -> Prediction:
    """One row's logits, float32 `[num_outputs]`, as label names and probabilities."""
    task = description.task
    if task == REGRESSION:
        return Prediction(row, task, {}, float(logits[0]))
    # In double precision, as the thresholds were tuned.
    exact = logits.astype(np.float64)
    values = expit(exact) if task == MULTI_LABEL else softmax(exact)
    probabilities = dict(zip(description.label_names, values.tolist(), strict=True))
    return Prediction(row, task, probabilities, thresholds=description.thresholds)
