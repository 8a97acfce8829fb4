"""The training of an arm: its objective, its plan, and all else that it is made of."""

import dataclasses
import functools
import operator
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from tfkd import artifacts
from tfkd.config.training import OptimizerConfig
from tfkd.data.batching import Batches, Rows
from tfkd.data.examples import MULTI_LABEL
from tfkd.distillation.backup import Position, load_variables, save_variables
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.replicas import Replicas
from tfkd.distillation.training import Plan, ScalarLog, Validation, train
from tfkd.errors import ArtifactError, shown
from tfkd.evaluation import metrics
from tfkd.evaluation.similarity import COSINE, similarity_figures
from tfkd.evaluation.thresholds import average_precision, tuned_thresholds
from tfkd.models.classifier import TextClassifier
from tfkd.models.precision import resolved
from tfkd.progress import Progress
from tfkd.runs.budget import Budget, patience
from tfkd.runs.material import Material
from tfkd.runs.scoring import split_figures
from tfkd.runs.trained_part import trained_part, trained_part_rows
from tfkd.seals import REMEDY, damage

AVERAGE_PRECISION = "average_precision"
# What a training written for other processes consists of.
START, REST = "start", "rest.pickle"
# What Keras writes in its own way; the rest are arrays and settings.
MODELS = ("classifier", "part")


@dataclasses.dataclass(frozen=True)
class Objective:
    """Training objective of an arm.

    Attributes:
        teacher_logits: float32 `[num_rows, num_outputs]`, of the rows of the material's transfer
            split, or None for labels alone.
        temperature: Softens teacher and student.
        student_loss_weight: Weight of the label loss; 1 makes a control.
        distillation_loss: "kl", "mse" or "hard".
        heard: SHA-256 of the models whose answers they are.
        held_out: The teacher's for the validation rows, float32 `[num_rows, num_outputs]`, where
            there are no labels to judge an epoch by.
        starts_ready: Whether the initial weights are an answer, to be kept if no epoch is better.
    """

    teacher_logits: np.ndarray | None = None
    temperature: float = 1.0
    student_loss_weight: float = 1.0
    distillation_loss: str = "kl"
    heard: tuple[str, ...] = ()
    held_out: np.ndarray | None = None
    starts_ready: bool = False


@dataclasses.dataclass(frozen=True)
class Training:
    """All that the training of an arm is made of.

    Attributes:
        classifier: Untrained `TextClassifier`.
        part: Its trained part, of which the weights are its own.
        objective: `Objective`.
        plan: `Plan`.
        batches: `Batches` of the rows it learns from.
        held_out: `Rows` that judge its epochs.
        metric: String. The data set's.
        class_weights: Optional floats `[num_outputs]`.
    """

    classifier: TextClassifier
    part: TextClassifier
    objective: Objective
    plan: Plan
    batches: Batches
    held_out: Rows
    metric: str
    class_weights: np.ndarray | None = None

    @functools.cached_property
    def judge(self) -> Validation:
        """Judgement of an epoch."""
        if self.objective.held_out is not None:
            return likeness(self.part, self.held_out, self.objective.held_out)
        judge = validation(self.part, self.held_out, self.metric)
        # Few labelled rows are learned by heart, after which an epoch is worse; answers to other
        # texts beside them are not, and a later epoch is of a lower learning rate.
        hears_more = self.batches.num_labelled is not None
        return dataclasses.replace(
            judge,
            judges_start=self.objective.starts_ready,
            num_rows=len(self.held_out) if hears_more else None,
        )

    def run(
        self,
        folder: Path,
        open_log: Callable[[int], ScalarLog],
        progress: tuple[Progress, str],
        replicas: Replicas | None = None,
    ) -> Position:
        """Trains to the end, or for what a session before this left; see `train`."""
        distiller = Distiller(
            student=self.part.model,
            task=self.classifier.task,
            temperature=self.objective.temperature,
            student_loss_weight=self.objective.student_loss_weight,
            distillation_loss=self.objective.distillation_loss,
            class_weight=self.class_weights,
        )
        distiller.replicas = replicas
        return train(distiller, self.batches, self.plan, self.judge, folder, open_log, progress)

    def write(self, folder: Path) -> None:
        """Writes it into a folder, for other processes of the same command."""
        self.classifier.save(folder / START)
        # With what a dropout draws, which Keras leaves out.
        save_variables(folder / f"{START}.npz", self.part.model.variables)
        names = {field.name for field in dataclasses.fields(self)}.difference(MODELS)
        rest = {name: getattr(self, name) for name in names}
        (folder / REST).write_bytes(pickle.dumps(rest))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `write` wrote."""
        classifier = TextClassifier.load(folder / START)
        part = trained_part(classifier)
        load_variables(folder / f"{START}.npz", part.model.variables)
        return cls(classifier, part, **pickle.loads((folder / REST).read_bytes()))


def plan(config: OptimizerConfig, learning_rate: float, budget: Budget, num_rows: int) -> Plan:
    """The training plan of a config, with what it leaves open decided."""
    epochs = config.epochs or budget.epochs(num_rows)
    decided: dict[str, Any] = {
        "epochs": epochs,
        "patience": config.patience or patience(epochs),
        "learning_rate": learning_rate,
        "precision": resolved(config.precision),
        "epoch_rows": num_rows,
    }
    names = {field.name for field in dataclasses.fields(Plan)} - set(decided)
    return Plan(**decided, **{name: getattr(config, name) for name in names})


def training_sentence(name: str, plan: Plan) -> str:
    """What was decided for an arm, in words."""
    epochs = "1 epoch" if plan.epochs == 1 else f"{plan.epochs} epochs"
    steps = plan.epochs * -(-plan.epoch_rows // plan.batch_size)
    ends = (
        f", fewer if {plan.patience} of them bring nothing" if plan.patience < plan.epochs else ""
    )
    return (
        f"train {name} for {epochs} of {plan.epoch_rows:,} rows ({steps:,} steps of "
        f"{plan.batch_size}) at a learning rate of {plan.learning_rate:g} in {plan.precision}{ends}"
    )


def with_thresholds(classifier: TextClassifier, material: Material) -> TextClassifier:
    """A trained classifier with thresholds tuned on the validation rows, if its task has any."""
    if classifier.task != MULTI_LABEL:
        return classifier
    rows = trained_part_rows(classifier, "validation", material)
    found = tuned_thresholds(trained_part(classifier).logits(rows), np.asarray(rows.labels))
    return dataclasses.replace(classifier, thresholds=found.tolist())


def training_record(run: artifacts.RunFolder, name: str) -> dict[str, Any]:
    """Plan, history and seconds of an arm."""
    path = run.path / "training" / f"{name}.json"
    record = artifacts.read_record(path)
    for key, kind in (("plan", dict), ("history", list), ("seconds", int | float)):
        if not isinstance(record.get(key), kind):
            raise ArtifactError(damage(path, f"{key}={shown(record.get(key))}", REMEDY))
    return record


def validation(classifier: TextClassifier, rows: Rows, metric: str) -> Validation:
    """Judgement of an epoch of a classifier under training: by the data set's own metric.

    Multi-label has no thresholds before its end, and at 0.5 the F1 of rare labels stays 0 for
    epochs: it is judged by the mean average precision of its labels, which needs none.
    """
    is_multi_label = classifier.task == MULTI_LABEL

    def measure() -> dict[str, float]:
        logits = classifier.logits(rows)
        figures = split_figures(logits, rows, classifier)
        found = {key: value for key, value in figures.items() if isinstance(value, float)}
        if is_multi_label:
            found[AVERAGE_PRECISION] = average_precision(logits, np.asarray(rows.labels))
        return found

    if is_multi_label:
        return Validation(measure, AVERAGE_PRECISION, operator.gt)
    return Validation(measure, metric, lambda a, b: metrics.is_better(metric, a, b))


def likeness(student: TextClassifier, rows: Rows, vectors: np.ndarray) -> Validation:
    """Judges an epoch of a student that learns an encoder's vectors by their cosine to it."""
    return Validation(
        lambda: similarity_figures(vectors, student.logits(rows)), COSINE, operator.gt
    )
