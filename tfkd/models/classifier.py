"""A text classifier as one thing: model, tokenizer, label names; it answers `predict(texts)`.

The Keras student, its teacher and its control are all of this class; the LiteRT file answers the
same call.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import keras
import numpy as np
import tensorflow as tf

from tfkd import artifacts
from tfkd.data.batching import Rows, scoring_batches
from tfkd.data.examples import DEFAULT_THRESHOLD, MULTI_LABEL, Texts
from tfkd.data.label_values import check_names
from tfkd.data.texts import GivenTexts, given_texts
from tfkd.models import bottleneck, pooling, published  # noqa: F401  (a saved model names them)
from tfkd.models.description import (
    DESCRIPTION_FILE,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    Description,
    check_folder,
)
from tfkd.models.keras_file import read_model, write_model
from tfkd.models.tokenizers import Tokenizer

SCORING_BATCH_SIZE = 64

# From token arrays to logits.
Answer = Callable[[Mapping[str, np.ndarray]], tf.Tensor]


@dataclasses.dataclass
class TextClassifier:
    """A Keras model together with everything needed to ask it.

    Attributes:
        model: `keras.Model` from a mapping of int32 `[batch, length]` arrays to float32 logits
            `[batch, num_outputs]`.
        tokenizer: `Tokenizer` that makes these arrays.
        task: One of `tfkd.data.examples.TASKS`.
        label_names: Class names in index order.
        num_texts: 1 for single texts, 2 for pairs.
        thresholds: Of multi_label: the probability above which a label is given, one for all or
            one a label in index order.

    Example:

    ```python
    classifier = TextClassifier.load("saved_models/demo-bert_tiny/student")
    logits = classifier.predict(["Oil prices fell again."])  # float32, shape [1, num_outputs]
    ```
    """

    model: keras.Model
    tokenizer: Tokenizer
    task: str
    label_names: tuple[str, ...]
    num_texts: int = 1
    thresholds: float | Sequence[float] = DEFAULT_THRESHOLD
    _folder: Path | None = None
    _functions: dict[str, Answer] = dataclasses.field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_names(self.label_names, "the label names of a classifier")

    @property
    def input_names(self) -> tuple[str, ...]:
        """The arrays the model takes."""
        return tuple(self.model.input)

    @property
    def size_bytes(self) -> int:
        """Bytes of `model.keras` in the folder it was saved to or loaded from."""
        if self._folder is None:
            raise ValueError("Expected a saved classifier. Received: one in memory only.")
        return (self._folder / "model.keras").stat().st_size

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return self.model.count_params()

    @property
    def label_thresholds(self) -> list[float]:
        """One threshold for each label; empty for tasks that have none."""
        if self.task != MULTI_LABEL:
            return []
        return np.broadcast_to(self.thresholds, len(self.label_names)).tolist()

    def encode(self, texts: GivenTexts, length: int | None = None) -> dict[str, np.ndarray]:
        """Token arrays of the texts, only those the model takes."""
        arrays = self.tokenizer.encode(given_texts(texts, self.num_texts), length)
        return {name: arrays[name] for name in self.input_names}

    def predict_encoded(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits of encoded texts: float32, shape `[n, num_outputs]`."""
        # A graph keeps the precision it was traced in, which training changes for a while.
        precision = self.model.dtype_policy.name
        if precision not in self._functions:
            self._functions[precision] = _compiled(self.model)
        return self._functions[precision]({name: arrays[name] for name in self.input_names}).numpy()

    def predict(self, texts: GivenTexts) -> np.ndarray:
        """Logits of texts or pairs of texts: float32, shape `[n, num_outputs]`.

        Args:
            texts: A string, or any iterable of strings; for pairs of two strings each.

        Raises:
            TypeError: It is no text.
            DatasetError: A row is no pair where the model asks for pairs, or is one where it does
                not.
        """
        texts = given_texts(texts, self.num_texts)
        parts = [
            self.predict_encoded(self.encode(texts[start : start + SCORING_BATCH_SIZE]))
            for start in range(0, len(texts), SCORING_BATCH_SIZE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.label_names)), np.float32)

    def score(
        self,
        tokens: Rows,
        start: int = 0,
        stop: int | None = None,
        batch_size: int = SCORING_BATCH_SIZE,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and logits, batch by batch, of the rows `[start, stop)`."""
        stop = len(tokens) if stop is None else stop
        for rows, arrays in scoring_batches(tokens, self.input_names, start, stop, batch_size):
            yield rows, self.predict_encoded(arrays)

    def logits(
        self, tokens: Rows, scored: Callable[[int], object] = lambda count: None
    ) -> np.ndarray:
        """Logits of all rows in their own order: float32, shape `[num_rows, num_outputs]`.

        Args:
            tokens: `Rows`.
            scored: Called with the rows of each batch once they are scored.
        """
        logits = np.zeros((len(tokens), len(self.label_names)), np.float32)
        for rows, values in self.score(tokens):
            logits[rows] = values
            scored(len(rows))
        return logits

    def reader(self) -> Self:
        """The same up to the vector that the logits layer reads: float32, shape `[n, width]`."""
        vector = self.model.get_layer("logits").input
        return self.with_model(keras.Model(self.model.input, vector))

    def with_model(self, model: keras.Model) -> Self:
        """The same tokenizer and labels around another model, which no folder holds yet."""
        return dataclasses.replace(self, model=model, _folder=None, _functions={})

    def save(self, folder: Path) -> None:
        """Writes the model folder, whole or not at all; other files that are in it stay."""
        tuned = {"thresholds": self.label_thresholds} if self.label_thresholds else {}
        with artifacts.atomic_folder(folder, DESCRIPTION_FILE) as part:
            write_model(self.model, part / WEIGHTS_FILE)
            self.tokenizer.save(part / "tokenizer")
            artifacts.write_text(part / "labels.txt", "\n".join(self.label_names) + "\n")
            written = [file for file in sorted(part.rglob("*")) if file.is_file()]
            artifacts.write_record(
                part / DESCRIPTION_FILE,
                {
                    "format_version": FORMAT_VERSION,
                    "task": self.task,
                    "label_names": list(self.label_names),
                    "num_texts": self.num_texts,
                    **tuned,
                    "sequence_length": self.tokenizer.sequence_length,
                    "num_parameters": self.num_parameters,
                    "model_sha256": artifacts.file_sha256(part / WEIGHTS_FILE),
                },
                [file.relative_to(part).as_posix() for file in written],
            )
        self._folder = folder

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Reads a model folder.

        Raises:
            ArtifactError: A file is missing, was changed or cannot be read.
        """
        folder = Path(folder)
        description = Description.read(folder)
        check_folder(folder, description)
        model = read_model(folder / WEIGHTS_FILE)
        description.check_outputs(folder, model.output_shape[-1])
        return cls(
            model=model,
            tokenizer=Tokenizer.load(folder / "tokenizer"),
            task=description.task,
            label_names=description.label_names,
            num_texts=description.num_texts,
            thresholds=description.thresholds,
            _folder=folder,
        )


def batch_texts(rows: Sequence[tuple[str, ...]]) -> Texts:
    """Texts of examples in the form `predict` takes: strings, or pairs."""
    return [row[0] for row in rows] if len(rows[0]) == 1 else [tuple(row) for row in rows]


def _compiled(model: keras.Model) -> Answer:
    """The model as a graph that takes any batch size and length without a new trace."""
    specs = {
        name: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name)
        for name, tensor in model.input.items()
    }
    return tf.function(lambda inputs: model(inputs, training=False), input_signature=[specs])
