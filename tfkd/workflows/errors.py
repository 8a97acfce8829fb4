"""`tfkd errors`: the test texts that a run's model has wrong, the most certain errors first."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.artifacts import RunFolder
from tfkd.config.verbs import ErrorsConfig
from tfkd.data.readers import format_of
from tfkd.data.tables import UserTable
from tfkd.data.writers import LIST_OF, table_writer
from tfkd.errors import ArtifactError, ConfigError
from tfkd.evaluation.table import Shown, Table, figures, words
from tfkd.progress import Progress
from tfkd.reports.mistakes import DISAGREE, WRONG, choices
from tfkd.reports.predictions import CONFIDENCE, LABEL, NAME, SECOND_TEXT, TEXT, Predictions
from tfkd.runs.record import finished
from tfkd.runs.settings import settings_of

SHOWN_ROWS, SHOWN_CHARACTERS = 20, 80


@dataclasses.dataclass(frozen=True, repr=False)
class ErrorsResult(Shown):
    """Test rows that a model has wrong, or sees otherwise than its teacher.

    Attributes:
        predictions: `Predictions` of all test rows.
        rows: Their indices, the first to read first.
        model: Name of the model: student, or model.
        other: What it is held against: label, or teacher.
        output: The file they were written to, or None.
    """

    predictions: Predictions
    rows: np.ndarray
    model: str
    other: str
    output: Path | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        names = list(self.columns)
        rows = zip(*self.columns.values(), strict=True)
        return {
            "model": self.model,
            "against": self.other,
            "num_test_rows": len(self.predictions),
            "rows": [dict(zip(names, row, strict=True)) for row in rows],
        }

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The columns of `predictions.parquet`, of these rows; None for what is not known."""
        return {
            name: [_value(value) for value in values[self.rows].tolist()]
            for name, values in self.predictions.columns.items()
        }

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        count, whole = len(self.rows), len(self.predictions)
        if self.predictions.is_scores:
            found = f"{count:,} test rows, those farthest from the {self.other} first."
        else:
            says = "answers wrong" if self.other == LABEL else "answers otherwise than its teacher"
            found = f"The {self.model} {says} {count:,} of {whole:,} test rows."
        parts: list[Table | str] = [found]
        if count:
            parts.append(self._table())
        if self.output is not None:
            parts.append(f"All of them are in {self.output}.")
        elif count > SHOWN_ROWS:
            parts.append(f"The first {SHOWN_ROWS}; --output errors.csv writes all of them.")
        return parts

    def _table(self) -> Table:
        first = self.rows[:SHOWN_ROWS]
        found = {name: values[first] for name, values in self.predictions.columns.items()}
        columns = [figures("Row", found["row"])]
        for name in (TEXT, SECOND_TEXT):
            if name in found:
                columns.append(words(name.replace("_", " ").capitalize(), map(_cut, found[name])))
        for name in dict.fromkeys((LABEL, self.model, "teacher")):
            if name in found:
                columns.append(words(name.capitalize(), map(_told, found[name])))
            if f"{name}{CONFIDENCE}" in found:
                columns.append(figures("Sure", found[f"{name}{CONFIDENCE}"], "{:.2f}"))
        return Table(columns)


def errors(
    config: ErrorsConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> ErrorsResult:
    """Finds the test rows that a finished run's model has wrong; nothing is scored again.

    Args:
        config: `ErrorsConfig`, or the run's path.
        progress: Not used: it takes no time.
        **given: The settings as keywords instead.

    Returns:
        `ErrorsResult`.

    Raises:
        ArtifactError: The folder is no finished run, an older tfkd made it, or the output exists.
        ConfigError: The run has no teacher to disagree with.

    Example:

    ```python
    from tfkd.workflows.errors import errors

    errors("saved_models/demo", output="errors.csv").columns["text"]
    ```
    """
    config = settings_of(ErrorsConfig, config, given)
    run = finished(RunFolder(config.run))
    if config.output is not None:
        format_of(config.output)
        if config.output.exists() and not config.overwrite:
            raise ArtifactError(
                f"Expected no file {config.output}. It exists. Add --overwrite, or give another "
                "--output."
            )
    predictions = Predictions.read(run.path)
    if predictions is None:
        raise ArtifactError(
            f"Expected {run.path / NAME}. The run is of an older tfkd, which wrote none. Make it "
            "again with --overwrite."
        )
    model = "student" if "student" in predictions.models else "model"
    other = "teacher" if config.disagreements else LABEL
    if other not in predictions.columns:
        raise ConfigError(
            f"Expected a run with a teacher for --disagreements. Received: {run.path}, which has "
            "none. Leave it out."
        )
    rows = choices(predictions, model)[DISAGREE if config.disagreements else WRONG]
    result = ErrorsResult(predictions, rows, model, other, config.output)
    if config.output is not None:
        _write(config.output, run.path / NAME, result)
    return result


def _write(path: Path, source: Path, result: ErrorsResult) -> None:
    """All columns of the rows, in the format that the name says."""
    kinds = {"i": "int64", "f": "double", "b": "bool"}
    types = {}
    for name, values in result.predictions.columns.items():
        is_list = any(isinstance(value, tuple) for value in values)
        types[name] = f"{LIST_OF}string" if is_list else kinds.get(values.dtype.kind, "string")
    with table_writer(path, UserTable(source, ()), types) as write:
        write(list(result.columns.values()))


def _value(value: Any) -> Any:
    """A value as programs take it: six digits, lists, and None for what is no number."""
    if isinstance(value, float):
        return None if value != value else float(f"{value:.6g}")
    return list(value) if isinstance(value, tuple) else value


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"


def _told(value: Any) -> str:
    """A label, the labels or the score of a row."""
    if isinstance(value, tuple):
        return ", ".join(value) or "(none)"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
