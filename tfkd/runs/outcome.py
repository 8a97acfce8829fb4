"""What a training came to: the rows of its table, and where its model stands among them."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.data.tokens import is_answered
from tfkd.distillation.tensorboard import RunLog
from tfkd.evaluation import metrics
from tfkd.evaluation.rows import STAGE_NOTE, Row, result_table, stage_table, table_note
from tfkd.evaluation.table import Shown, Table
from tfkd.models.classifier import TextClassifier
from tfkd.reports.card import PAGE
from tfkd.reports.sentences import standing
from tfkd.runs.comparisons import FEWEST_SCORED, Decides
from tfkd.runs.files import ExportResult
from tfkd.runs.material import Material

Costs: TypeAlias = Mapping[str, Mapping[str, Any]]
# TensorBoard sorts by name, and a figure of the end is a single dot: below the curves.
FINAL = "when finished: test/"
LAYOUT = {
    "What training lowers": {
        "loss": "train/loss",
        "distance to the teacher": "train/distillation_loss",
        "distance to the labels": "train/student_loss",
    },
    "What it is for": {
        # Several labels are judged by the second while they are trained.
        "metric on held-out rows": "validation/({metric}|average_precision)$",
        "negative log-likelihood on held-out rows": "validation/nll",
    },
}
# What the file of a teacher is that is no model.
ANSWERS = "answers"


class Teaches(Decides, Protocol):
    """A teacher, as far as its row is concerned."""

    @property
    def name(self) -> str:
        """As the user calls it."""

    @property
    def classifier(self) -> TextClassifier | None:
        """Its model; None where files have answered."""

    @property
    def test_logits(self) -> np.ndarray:
        """float32 `[num_test_rows, num_outputs]`; NaN in rows without an answer."""


@dataclasses.dataclass(frozen=True, repr=False)
class FinetuneResult(Shown):
    """Folder of the fine-tuned model, and its figures.

    Attributes:
        path: The run folder.
        metrics: Metrics on the test split.
        num_parameters: Number of weights.
        seconds: Seconds of each stage by its name.
        rows: `Row` of the model and of each baseline.
        metric: Headline metric of the data set.
        warning: What to know first: the test rows are few. None where they are not.
    """

    path: Path
    metrics: dict[str, Any]
    num_parameters: int
    seconds: Mapping[str, float]
    rows: tuple[Row, ...]
    metric: str
    warning: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        figures = ", ".join(
            f"{name} {value:.4f}"
            for name, value in self.metrics.items()
            if isinstance(value, float)
        )
        return [
            *([self.warning] if self.warning else []),
            standing(self.rows, self.metric),
            f"test: {figures}",
            result_table(self.rows, self.metric),
            table_note(self.rows, self.metric),
            stage_table(self.seconds),
            STAGE_NOTE,
            f"{self.path}: {self.num_parameters:,} parameters",
        ]


def headlines(rows: Sequence[Row], metric: str) -> dict[str, float]:
    """The headline metric of each arm's Keras model."""
    return {row.arm: row.metrics[metric] for row in rows if row.recipe in ("keras", ANSWERS)}


def arm_rows(
    config: DistillConfig,
    material: Material,
    teacher: Teaches,
    arms: Mapping[str, TextClassifier],
    logits: Mapping[str, np.ndarray],
    exported: ExportResult,
    costs: Costs,
) -> list[Row]:
    """One row for teacher, control, student and each file of the student.

    Args:
        config: `DistillConfig`.
        material: `Material`.
        teacher: `Teacher` or `AnswerTeacher`; it has a row if it has answered rows of test.
        arms: `TextClassifier` by name: the student, the control if there is one.
        logits: float32 `[num_test_rows, num_outputs]` of teacher, arms and files by name.
        exported: The student's files.
        costs: What was measured of teacher and student, by "teacher", "keras" or recipe.
    """
    untimed: dict[str, float] | None = None if config.timing else {}
    labels, heard = material.labels("test"), is_answered(teacher.test_logits)
    models = {"teacher": teacher.classifier, **arms}
    order = ["teacher"] if heard.sum() >= FEWEST_SCORED else []
    order += ["control"] * ("control" in arms) + ["student"]
    rows = []
    for name in [*order, *(key for key in logits if key not in (*order, "teacher"))]:
        arm = name if name in models else "student"
        key, model = "keras" if name == "student" else name, models[arm]
        is_teacher = arm == "teacher"
        asked = heard if is_teacher else np.full_like(heard, True)
        figures = metrics.evaluate(
            material.dataset.task,
            logits[name][asked],
            labels[asked],
            material.dataset.label_names,
            None if is_teacher else teacher.test_logits,
            teacher.thresholds if is_teacher else arms[arm].thresholds,
            teacher.thresholds,
        )
        rows.append(
            Row(
                dataset=material.dataset.name,
                arm=arm,
                model=teacher.name if is_teacher else str(config.student),
                recipe=name if name not in models else ANSWERS if model is None else "keras",
                seed=config.seed,
                metrics=figures,
                size_bytes=_size(name, models, exported),
                parameters=None if model is None else model.num_parameters,
                latency=costs[key]["latency"] if key in costs else untimed,
                command=config.command_line("distill"),
            )
        )
    return rows


def _size(
    name: str, models: Mapping[str, TextClassifier | None], exported: ExportResult
) -> int | None:
    """Bytes of a model or a file; None for a teacher that is neither."""
    if name not in models:
        return exported.paths[name].stat().st_size
    model = models[name]
    return None if model is None else model.size_bytes


def write_logs(config: DistillConfig, run: RunFolder, rows: Sequence[Row], metric: str) -> None:
    """Final figures of each arm in TensorBoard, beside the settings that are not the defaults.

    Args:
        config: `DistillConfig`.
        run: `RunFolder`.
        rows: `Row` of each arm and file; files are left out.
        metric: String. Headline metric of the data set.
    """
    layout = {
        heading: {title: tag.format(metric=metric) for title, tag in charts.items()}
        for heading, charts in LAYOUT.items()
    }
    chosen = config.chosen().items()
    settings = {name: value for name, value in chosen if name not in artifacts.WITHOUT_EFFECT}
    for row in (row for row in rows if row.recipe == "keras"):
        with RunLog(run.logs / row.arm) as log:
            log.layout(layout)
            if "confusion_matrix" in row.metrics:
                matrix = np.asarray(row.metrics["confusion_matrix"])
                log.confusion_matrix(
                    f"{FINAL}confusion matrix", matrix, list(row.metrics["f1_per_class"])
                )
            numbers = {k: v for k, v in row.metrics.items() if isinstance(v, float)}
            log.hparams(
                {**settings, "seed": row.seed, "arm": row.arm},
                {FINAL + k: v for k, v in numbers.items()},
            )
            lines = [f"- {key}: {value}" for key, value in config.to_dict().items()]
            log.text("config", "\n".join(lines))


def next_commands(path: Path) -> str:
    """What to do with a finished run, as commands to copy.

    Args:
        path: Path of the run folder.
    """
    run, logs = (shlex.quote(str(place)) for place in (path, path / "logs"))
    page = path / PAGE
    seen = f"; open {page} in a browser" if page.is_file() else ""
    return (
        f"Everything is in {path}{seen}. Next:\n"
        f'  tfkd predict {run} "your text"\n'
        f"  tfkd quantize {run} --max-drop 0.5\n"
        f"  tensorboard --logdir {logs}"
    )
