"""An arm beside another on the same rows, and what to try where the teacher's help is not seen."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from tfkd.config.training import DistillConfig
from tfkd.data.tokens import is_answered
from tfkd.evaluation.intervals import size_warning
from tfkd.evaluation.metrics import is_better
from tfkd.evaluation.resampling import answers_of, columns
from tfkd.evaluation.verdict import FEWEST_JUDGED, WORSE, Comparison, compare_answers
from tfkd.models.classifier import TextClassifier
from tfkd.runs.material import Material
from tfkd.runs.scoring import split_logits

# A figure of one row is none.
FEWEST_SCORED = 2


class Decides(Protocol):
    """A model, as far as its answers are concerned."""

    @property
    def thresholds(self) -> float | Sequence[float]:
        """Probabilities above which a label is given, where a row has several."""


def compare_arms(
    material: Material,
    split: str,
    first: tuple[Decides, np.ndarray],
    second: tuple[Decides, np.ndarray],
    seed: int,
) -> Comparison:
    """The first arm against the second on the rows of a split, by the data set's metric.

    Each arm is a model and its logits of all rows. Rows that one has not answered are left out.
    """
    rows = is_answered(first[1]) & is_answered(second[1])
    labels, answers = _answers(material, split, first, rows)
    _, others = _answers(material, split, second, rows)
    return compare_answers(material.dataset.metric, labels, answers[None], others[None], seed)[0]


def few_rows_warning(
    material: Material, split: str, arm: str, model: Decides, logits: np.ndarray
) -> str | None:
    """What to say first of a model's figure where a split has too few rows, or None."""
    found = _answers(material, split, (model, logits), is_answered(logits))
    return size_warning(material.dataset.metric, *found, arm)


def _answers(
    material: Material, split: str, answered: tuple[Decides, np.ndarray], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and a model's answers as columns, of some rows."""
    model, logits = answered
    dataset = material.dataset
    labels = columns(dataset.task, material.labels(split)[rows], len(dataset.label_names))
    return labels, answers_of(dataset.task, logits[rows], model.thresholds)


def warning(
    config: DistillConfig,
    material: Material,
    arms: Mapping[str, TextClassifier],
    figures: Mapping[str, float],
) -> str | None:
    """What to say first of a student that is not ahead of its control, and what to try.

    The validation rows decide, so that nothing is chosen by the test rows.

    Returns:
        A sentence or two; None where the student is ahead, where there is no control, and where
        the validation rows are too few to tell.
    """
    if "control" not in arms or material.summaries["validation"].num_rows < FEWEST_JUDGED:
        return None
    student, control = (
        (arms[name], split_logits(arms[name], "validation", material))
        for name in ("student", "control")
    )
    found = compare_arms(material, "validation", student, control, config.seed)
    if found.difference > 0:
        return None
    does = "does harm" if found.verdict == WORSE else "is not seen"
    sentence = found.sentence("student", "control", material.dataset.metric)
    return (
        f"On the validation rows the teacher's help {does}: {sentence}. "
        f"{_advice(config, material, figures)}"
    )


def _advice(config: DistillConfig, material: Material, figures: Mapping[str, float]) -> str:
    metric = material.dataset.metric
    if "teacher" in figures and not is_better(metric, figures["teacher"], figures["control"]):
        if config.teacher_answers:
            return (
                f"The answers themselves ({metric} {figures['teacher']:.4f}) are no better than "
                f"the control ({figures['control']:.4f}): take others."
            )
        return (
            f"The teacher itself ({metric} {figures['teacher']:.4f}) is no better than the control "
            f"({figures['control']:.4f}): give it more --teacher-epochs, or take another --teacher."
        )
    untried = []
    has_copies = config.augmented_copies or material.transfer != "train"
    if not has_copies and not config.teacher_answers:
        untried.append("--augmented-copies 4")
    if config.unlabelled is None:
        untried.append("--unlabelled with texts of yours")
    untried.append("a better teacher")
    return f"Try {', '.join(untried[:-1])}{' or ' if len(untried) > 1 else ''}{untried[-1]}."
