"""Result rows as JSON, as a Markdown table and as a console table.

A row is one model file of one arm on one data set, with its figures. Every table is made from the
rows by the same list of columns, so the console and a run's README agree.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfkd.errors import ArtifactError
from tfkd.evaluation.metrics import METRICS
from tfkd.evaluation.table import Column, Table, figures, words

TEACHER, BASELINE = "teacher", "baseline"
# Figures of `Latency`: one text a call, tokenized in the call or before it.
WITH_TOKENS, WITHOUT_TOKENS = "p50_ms", "encoded_p50_ms"
TIME_TITLE = "p50, ms"
STAGE_NOTE = "Wall clock. Trainings count all their sessions, other stages the last one."
SECONDARY_METRICS = ("macro_f1", "ece", "nll", "agreement")
# Benchmarks that name two figures, such as GLUE, show the second beside the headline.
SECOND_METRICS = {"f1": "accuracy", "pearson": "spearman", "spearman": "pearson"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one model file.

    Attributes:
        dataset: Name of the data set.
        arm: "teacher", "control", "student" or "baseline" (or a rival's name).
        model: Preset, size word or folder of the model, or what the baseline is.
        recipe: "keras", "scikit-learn", or the LiteRT recipe.
        seed: Seed of the run.
        metrics: Figures as `metrics.evaluate` returns them.
        size_bytes: Bytes of the model file, or None if not measured.
        parameters: Number of weights, or None.
        latency: `Latency.to_dict()`, empty if the user wanted no times, or None.
        command: Command line that gives this row.
    """

    dataset: str
    arm: str
    model: str
    recipe: str
    seed: int
    metrics: Mapping[str, Any]
    size_bytes: int | None
    parameters: int | None
    latency: Mapping[str, float] | None
    command: str

    def to_dict(self) -> dict[str, object]:
        """The row as plain JSON values; `from_dict` gives it back."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Row":
        """The row of a JSON object.

        Raises:
            ArtifactError: The object has other fields than a row.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if sorted(values) != sorted(names):
            raise ArtifactError(
                f"Expected a result row with the fields {', '.join(names)}. "
                f"Received: {', '.join(values)}. Run the command that wrote it again."
            )
        return cls(**values)


def result_table(rows: Sequence[Row], metric: str) -> Table:
    """The rows as a table; a figure that is missing is "-".

    Columns: arm, model, file, the headline metric, its second (see `SECOND_METRICS`), macro F1,
    ECE, NLL, agreement with the teacher, parameters, size in MB (10^6 bytes), median milliseconds
    and speed-up over the teacher of the same data set and seed. Data set and seed come first where
    the rows differ in them. A column for which no row has a figure is left out, but for the
    headline metric and for a time that was not wanted.

    Args:
        rows: Rows in the order to show.
        metric: String. Headline metric, a name of `metrics.METRICS`.

    Returns:
        `Table`.

    Raises:
        ValueError: The metric is unknown.

    Example:
    >>> print(result_table(rows, "accuracy").markdown())
    | Arm | Model | File | Accuracy | Size, MB |
    | :--- | :--- | :--- | ---: | ---: |
    | teacher | bert_base | keras | 0.9410 | 438.01 |
    | student | bert_tiny | dynamic_int8 | 0.9280 | 4.61 |
    """
    if metric not in METRICS:
        raise ValueError(
            f"Expected `metric` to be one of {', '.join(METRICS)}. Received: metric={metric!r}."
        )
    second = [SECOND_METRICS[metric]] if metric in SECOND_METRICS else []
    sizes = [None if row.size_bytes is None else row.size_bytes / 1e6 for row in rows]
    columns = [
        words("Arm", [row.arm for row in rows]),
        words("Model", [row.model for row in rows]),
        words("File", [row.recipe for row in rows]),
        *(
            figures(METRICS[name].title, [row.metrics.get(name) for row in rows], "{:.4f}")
            for name in dict.fromkeys((metric, *second, *SECONDARY_METRICS))
        ),
        figures("Parameters", [row.parameters for row in rows], "{:,}"),
        figures("Size, MB", sizes, "{:.2f}"),
        *_time_columns(rows, WITH_TOKENS, TIME_TITLE, "Speed-up"),
        *_time_columns(rows, WITHOUT_TOKENS, "Model only, ms", "Model speed-up"),
    ]
    for column in (
        words("Seed", [row.seed for row in rows]),
        words("Dataset", [row.dataset for row in rows]),
    ):
        if len(set(column.cells)) > 1:
            columns.insert(0, column)
    unwanted = [TIME_TITLE] if any(row.latency == {} for row in rows) else []
    return Table(columns).without_empty(METRICS[metric].title, *unwanted)


def table_note(rows: Sequence[Row], metric: str) -> str:
    """A note for the reader of the rows' table: directions, units, and how time was taken.

    Example:
    >>> table_note(rows, "accuracy")
    'ECE: expected calibration error; lower is better. MB: 10^6 bytes of the model file.'
    """
    titles = [column.title for column in result_table(rows, metric).columns]
    notes = []
    if any(row.arm == "control" for row in rows):
        notes.append("Control: the same student, trained without the teacher.")
    if any(row.arm == BASELINE for row in rows):
        notes.append(
            "Baseline: a linear model of words and word pairs, or of the vectors of an encoder "
            "before it is trained."
        )
    names = {one.title: one.full_name for one in METRICS.values() if not one.higher_is_better}
    shown = [f"{title}: {names[title]}" for title in titles if title in names]
    if shown:
        notes.append(f"{'; '.join(shown)}; lower is better.")
    if METRICS["agreement"].title in titles:
        notes.append("Agreement: share of answers that are also the teacher's.")
    if "Size, MB" in titles:
        notes.append("MB: 10^6 bytes of the model file.")
    if any(_time_ms(row, WITH_TOKENS) is not None for row in rows):
        notes.append(
            "p50: median time of one text, warm, tokenization included. Speed-up: the teacher's "
            "p50 divided by the row's."
        )
    if "Model only, ms" in titles:
        notes.append("Model only: the same without tokenization.")
    return " ".join(notes)


def stage_table(seconds: Mapping[str, float]) -> Table:
    """The stages of a command, with their seconds and their share of all seconds.

    Args:
        seconds: Mapping of names to seconds, such as `Progress.seconds`.

    Example:
    >>> print(stage_table({"tokenize": 1.5, "train student": 4.5}).markdown())
    | Stage | Seconds | Share |
    | :--- | ---: | ---: |
    | tokenize | 1.5 | 25% |
    | train student | 4.5 | 75% |
    """
    total = sum(seconds.values())
    return Table(
        [
            words("Stage", seconds),
            figures("Seconds", seconds.values(), "{:.1f}"),
            figures(
                "Share", [value / total if total else None for value in seconds.values()], "{:.0%}"
            ),
        ]
    )


def _time_columns(rows: Sequence[Row], figure: str, time: str, speed_up: str) -> list[Column]:
    """Milliseconds of one kind of call, and how many times the teacher's they are less."""
    return [
        figures(time, [_time_ms(row, figure) for row in rows], "{:.2f}"),
        figures(speed_up, [_speed_up(row, rows, figure) for row in rows], "{:.1f}x"),
    ]


def _time_ms(row: Row, figure: str) -> float | None:
    return None if row.latency is None else row.latency.get(figure)


def _speed_up(row: Row, rows: Sequence[Row], figure: str) -> float | None:
    """The time of the teacher of the same data set and seed, divided by the row's."""
    own = _time_ms(row, figure)
    if own is None:
        return None
    for other in rows:
        same = (other.dataset, other.seed) == (row.dataset, row.seed)
        teacher = _time_ms(other, figure)
        if other.arm == TEACHER and same and teacher is not None:
            return teacher / own
    return None
