"""What a training came to: the rows of its table."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from tfkd.config.training import DistillConfig
from tfkd.data.tokens import is_answered
from tfkd.evaluation import metrics
from tfkd.evaluation.rows import Row
from tfkd.models.classifier import TextClassifier
from tfkd.runs.comparisons import FEWEST_SCORED
from tfkd.runs.files import ExportResult
from tfkd.runs.lesson import AnyTeacher
from tfkd.runs.material import Material

Costs: TypeAlias = dict[str, dict[str, Any]]
# What the file of a teacher is that is no model.
ANSWERS = "answers"


def headlines(rows: list[Row], metric: str) -> dict[str, float]:
    """The headline metric of each arm's Keras model."""
    return {row.arm: row.metrics[metric] for row in rows if row.recipe in ("keras", ANSWERS)}


def arm_rows(
    config: DistillConfig,
    material: Material,
    teacher: AnyTeacher,
    arms: dict[str, TextClassifier],
    logits: dict[str, np.ndarray],
    exported: ExportResult,
    costs: Costs,
) -> list[Row]:
    """One row for teacher, control, student and each file of the student."""
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
