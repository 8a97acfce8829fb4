"""Every model's answer to every test row, as `predictions.parquet` in a run.

A notebook, `tfkd errors` and the page read it: nothing has to be scored a second time.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.artifacts import atomic_file
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Dataset, Example
from tfkd.data.tokens import is_answered
from tfkd.errors import ArtifactError
from tfkd.evaluation.metrics import decisions, probabilities
from tfkd.seals import REMEDY, check_files, damage

NAME = "predictions.parquet"
ROW, ID, TEXT, SECOND_TEXT, LABEL = "row", "id", "text", "second_text", "label"
CONFIDENCE = "_confidence"
# Of the model that judges the labels, and whether it finds one wrong.
OF_LABEL, LABEL_ISSUE = "probability_of_label", "label_issue"
JUDGES = ("teacher", "model")


@dataclasses.dataclass(frozen=True)
class Answered:
    """A model's logits of the test rows.

    Attributes:
        logits: float32 `[num_rows, num_outputs]`; NaN in rows without an answer.
        thresholds: Of multi_label: the probability above which a label is given.
    """

    logits: np.ndarray
    thresholds: float | Sequence[float]


def write_predictions(
    run: Path, dataset: Dataset, labels: np.ndarray, models: Mapping[str, Answered]
) -> None:
    """Writes `predictions.parquet` into a run folder.

    Columns: `row` (the place in the test split), `id` if the data has it, `text`, perhaps
    `second_text`, `label`, and of each model its answer and `<model>_confidence`: the probability
    of the label it names, or where a row has several labels that of the least certain decision on
    one. A teacher, or a model without one, judges single labels: see `label_issues`.

    Args:
        run: Path of the run folder.
        dataset: `Dataset` with a test split.
        labels: Labels of its rows, as `metrics.evaluate` takes them.
        models: `Answered` by the model's name: an arm, a recipe or a baseline.
    """
    import pyarrow
    from pyarrow.parquet import write_table

    columns = _text_columns(list(dataset.splits["test"]))
    columns[LABEL] = _names(dataset, labels)
    for name, answered in models.items():
        columns |= _answer_columns(name, answered, dataset)
    judge = next((name for name in JUDGES if name in models), None)
    if judge is not None and dataset.task == SINGLE_LABEL:
        columns |= _judgement(models[judge].logits, labels)
    with atomic_file(run / NAME) as part:
        write_table(pyarrow.table(columns), part, compression="zstd")


def label_issues(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Rows whose label is probably wrong, by the probabilities of a model that has not seen them.

    A class counts as likely in a row where its probability is at least its mean over the rows that
    bear it as their label. A row is told of where the likeliest of these classes is another one
    than its label.

    Args:
        labels: Integer array `[num_rows]`, class indices.
        probabilities: Float array `[num_rows, num_classes]`.

    Returns:
        Boolean array `[num_rows]`.

    Example:

    >>> certain, torn = [0.9, 0.1], [0.6, 0.4]
    >>> label_issues(np.array([0, 0, 1, 1]), np.array([certain, torn, [0.2, 0.8], certain]))
    array([False, False, False,  True])

    Reference: [Northcutt et al., 2021](https://arxiv.org/abs/1911.00068)
    """
    rows = np.arange(len(labels))
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    own = np.bincount(labels, probabilities[rows, labels], minlength=probabilities.shape[1])
    # A class that no row bears is never likely.
    means = np.divide(own, counts, out=np.full(len(own), np.inf), where=counts > 0)
    likely = np.where(probabilities >= means, probabilities, -1.0)
    best = likely.argmax(axis=1)
    return (likely[rows, best] >= 0) & (best != labels)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The rows of `predictions.parquet`, whole.

    Attributes:
        columns: Values by the column's name: `[num_rows]`.
        models: Names of the models in the order they were written.
    """

    columns: Mapping[str, np.ndarray]
    models: tuple[str, ...]

    @classmethod
    def read(cls, run: Path) -> "Predictions | None":
        """Those of a finished run, or None where an older tfkd wrote none.

        Raises:
            ArtifactError: The file was changed or cannot be read.
        """
        return cls.load(run / NAME) if NAME in check_files(run / "metrics.json", NAME) else None

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Those of a file that `write_predictions` wrote.

        Raises:
            ArtifactError: It cannot be read.
        """
        import pyarrow
        from pyarrow.parquet import read_table

        try:
            table = read_table(path)
        except (pyarrow.ArrowException, OSError) as error:
            raise ArtifactError(damage(path, f"no Parquet: {error}", REMEDY)) from error
        columns = {name: _values(table[name]) for name in table.column_names}
        return cls(columns, _models(table.column_names))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.columns[ROW])

    @property
    def is_scores(self) -> bool:
        """Whether labels and answers are scores of a regression."""
        return self.columns[LABEL].dtype.kind == "f"

    def agree(self, one: str, two: str = LABEL) -> np.ndarray:
        """Rows in which a model says what another one says, or the label: boolean `[num_rows]`."""
        return np.asarray(self.columns[one] == self.columns[two], bool)

    def is_answered(self, model: str) -> np.ndarray:
        """Rows that a model has answered: boolean `[num_rows]`."""
        values = self.columns[model]
        # Not a number is not equal to itself.
        return np.asarray(values == values if self.is_scores else values != None, bool)  # noqa: E711


def _values(column: Any) -> np.ndarray:
    """A column of strings, numbers or, as tuples, lists of strings."""
    from pyarrow import types

    if not types.is_list(column.type):
        return column.to_numpy()
    values = np.empty(len(column), object)
    values[:] = [None if item is None else tuple(item) for item in column.to_pylist()]
    return values


def _models(names: Sequence[str]) -> tuple[str, ...]:
    known = (ROW, ID, TEXT, SECOND_TEXT, LABEL, OF_LABEL, LABEL_ISSUE)
    return tuple(name for name in names if name not in known and not name.endswith(CONFIDENCE))


def _text_columns(rows: Sequence[Example]) -> dict[str, Any]:
    columns: dict[str, Any] = {ROW: np.arange(len(rows))}
    if any(row.id is not None for row in rows):
        columns[ID] = [row.id for row in rows]
    for place, name in enumerate((TEXT, SECOND_TEXT)[: len(rows[0].texts)]):
        # Half a character is no Unicode, which Parquet's strings are.
        columns[name] = [row.texts[place].encode("utf-8", "replace").decode() for row in rows]
    return columns


def _names(dataset: Dataset, values: np.ndarray) -> Any:
    """Labels or decisions, as `metrics.decisions` gives them, by their names."""
    if dataset.task == REGRESSION:
        return np.asarray(values, np.float64).reshape(-1)
    names = np.array(dataset.label_names, object)
    if dataset.task == MULTI_LABEL:
        return [list(names[np.asarray(row, bool)]) for row in values]
    return list(names[values])


def _answer_columns(name: str, answered: Answered, dataset: Dataset) -> dict[str, Any]:
    logits, task = answered.logits, dataset.task
    heard = is_answered(logits)
    if task == REGRESSION:
        return {name: np.where(heard, logits[:, 0].astype(np.float64), np.nan)}
    known = np.where(heard[:, None], logits, 0.0)
    likely = probabilities(task, known)
    sure = likely.max(axis=1)
    if task == MULTI_LABEL:
        sure = np.maximum(likely, 1 - likely).min(axis=1)
    labels = _names(dataset, decisions(task, known, answered.thresholds))
    return {
        name: [label if is_heard else None for label, is_heard in zip(labels, heard, strict=True)],
        f"{name}{CONFIDENCE}": np.where(heard, sure, np.nan).astype(np.float32),
    }


def _judgement(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    heard = is_answered(logits)
    likely = probabilities(SINGLE_LABEL, logits[heard])
    of_label, issue = np.full(len(labels), np.nan, np.float32), np.zeros(len(labels), bool)
    of_label[heard] = likely[np.arange(heard.sum()), labels[heard]]
    issue[heard] = label_issues(labels[heard], likely)
    return {OF_LABEL: of_label, LABEL_ISSUE: issue}
