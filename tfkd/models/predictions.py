"""Logits as labels and probabilities: text by text, or as columns of a table."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.special import expit, softmax

from tfkd.data.examples import DEFAULT_THRESHOLD, MULTI_LABEL, REGRESSION

# Between the labels of a row, where a file has one cell for all of them.
SEPARATORS = "|;,#"


class Described(Protocol):
    """What is known of a model: `Description`, or a `TextClassifier`."""

    @property
    def task(self) -> str:
        """One of `tfkd.data.examples.TASKS`."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names in index order."""

    @property
    def num_texts(self) -> int:
        """1 for single texts, 2 for pairs."""

    @property
    def thresholds(self) -> float | Sequence[float]:
        """Of multi_label: the probability above which a label is given."""


@dataclasses.dataclass(frozen=True, repr=False)
class Prediction:
    """Answer of the model to one text. As a string it is one tab-separated line.

    Attributes:
        texts: The text, or the two of a pair.
        task: One of `tfkd.data.examples.TASKS`.
        probabilities: Label name to probability in [0, 1], in index order. Empty for regression.
        score: The predicted score of a regression, else None.
        thresholds: Of multi_label: the probability above which a label is given, one for all or
            one a label.

    Example:

    >>> prediction = tfkd.predict("saved_models/demo", "Oil prices fell again.")[0]
    >>> prediction.label, round(prediction.probability, 2)
    ('Business', 0.97)
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

    @property
    def label(self) -> str | None:
        """The likeliest label. None for multi-label, which has `labels`, and for regression."""
        return None if self.task in (MULTI_LABEL, REGRESSION) else self.labels[0]

    @property
    def probability(self) -> float | None:
        """Probability of `label`, in [0, 1]; None where that is None."""
        return None if self.label is None else self.probabilities[self.label]

    def __str__(self) -> str:
        if self.score is not None:
            return f"{self.score:.4f}"
        fields = [f"{name}\t{self.probabilities[name]:.4f}" for name in self.labels]
        return "\t".join(fields) or "(none)"

    def __repr__(self) -> str:
        if self.score is not None:
            return f"Prediction(score={self.score:.4f})"
        given = ", ".join(f"{name!r}: {self.probabilities[name]:.4f}" for name in self.labels)
        return f"Prediction({given})"

    def to_dict(self) -> dict[str, Any]:
        """The prediction as plain JSON values, with the probability of every label."""
        text = {"text": self.texts[0]} if len(self.texts) == 1 else {"texts": list(self.texts)}
        if self.score is not None:
            return {**text, "score": self.score}
        probabilities = {"probabilities": self.probabilities}
        if self.task == MULTI_LABEL:
            return {**text, "labels": list(self.labels), **probabilities}
        return {**text, "label": self.label, "probability": self.probability, **probabilities}


def predictions(
    rows: Iterable[tuple[str, ...]], logits: np.ndarray, model: Described
) -> Iterator[Prediction]:
    """Logits, float32 `[n, num_outputs]`, as a `Prediction` for each row of texts."""
    task, names = model.task, model.label_names
    for row, values in zip(rows, _values(logits, task).tolist(), strict=True):
        if task == REGRESSION:
            yield Prediction(row, task, {}, values[0])
        else:
            probabilities = dict(zip(names, values, strict=True))
            yield Prediction(row, task, probabilities, thresholds=model.thresholds)


def answer_names(model: Described, all_classes: bool = False) -> tuple[str, ...]:
    """Names of the columns that `answer_columns` gives.

    >>> answer_names(description, all_classes=True)
    ('label', 'probability', 'probability:no', 'probability:yes')
    """
    if model.task == REGRESSION:
        return ("score",)
    names = ("labels", "probabilities") if model.task == MULTI_LABEL else ("label", "probability")
    classes = (f"probability:{name}" for name in model.label_names)
    return (*names, *(classes if all_classes else ()))


def answer_columns(
    logits: np.ndarray, model: Described, all_classes: bool = False
) -> list[Sequence[Any]]:
    """Answers as columns of a table, with six significant digits.

    Returns:
        Columns of `n` values, as `answer_names` calls them: strings and floats; for multi_label
        the labels of a row, and their probabilities, are a list.
    """
    values = _values(logits, model.task)
    columns = [[float(f"{value:.6g}") for value in column] for column in values.T.tolist()]
    if model.task == REGRESSION:
        return [columns[0]]
    names = model.label_names
    if model.task == MULTI_LABEL:
        given = (values > np.asarray(model.thresholds)).tolist()
        rows = [list(row) for row in zip(*columns, strict=True)]
        labels: Sequence[Any] = [list(itertools.compress(names, row)) for row in given]
        likely: Sequence[Any] = [
            list(itertools.compress(row, kept)) for row, kept in zip(rows, given, strict=True)
        ]
    else:
        best = values.argmax(axis=1).tolist()
        labels = [names[index] for index in best]
        likely = [columns[index][row] for row, index in enumerate(best)]
    return [labels, likely, *(columns if all_classes else ())]


def _values(logits: np.ndarray, task: str) -> np.ndarray:
    """Probabilities, or scores of a regression: float64 `[n, num_outputs]`."""
    # In double precision, as the thresholds were tuned.
    exact = logits.astype(np.float64)
    if task == REGRESSION:
        return exact
    return expit(exact) if task == MULTI_LABEL else softmax(exact, axis=1)
