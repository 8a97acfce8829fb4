"""One arm of a run: a classifier trained (or found trained), saved, scored on the test split."""

import dataclasses
import operator
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.config.training import OptimizerConfig
from tfkd.data.batching import Batches, Rows
from tfkd.data.examples import MULTI_LABEL
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.tensorboard import RunLog
from tfkd.distillation.training import HELD_OUT, Plan, Validation, train
from tfkd.errors import ArtifactError, shown
from tfkd.evaluation import metrics
from tfkd.evaluation.similarity import COSINE, similarity_figures
from tfkd.evaluation.thresholds import average_precision, tuned_thresholds
from tfkd.models.classifier import TextClassifier
from tfkd.models.precision import resolved
from tfkd.runs.budget import Budget, patience
from tfkd.runs.material import TRANSFER, Material
from tfkd.runs.scoring import split_figures
from tfkd.runs.trained_part import trained_part, trained_part_rows
from tfkd.seals import REMEDY, damage
from tfkd.written_files import remove_backup

AVERAGE_PRECISION = "average_precision"


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


def train_arm(
    name: str,
    classifier: TextClassifier,
    objective: Objective,
    plan: Plan,
    material: Material,
    run: artifacts.RunFolder,
) -> TextClassifier:
    """Trains an arm into `<run>/<name>`, or loads it when an earlier session finished it.

    Returns:
        The trained `TextClassifier`, with the weights of its best epoch, or of its start, and its
        own thresholds.
    """
    folder, work = run.path / name, run.path / "unfinished" / name
    mark = _mark(classifier, objective, material)
    if _is_trained(name, mark, material, run):
        return TextClassifier.load(folder)
    part = trained_part(classifier)
    distiller = Distiller(
        student=part.model,
        task=classifier.task,
        temperature=objective.temperature,
        student_loss_weight=objective.student_loss_weight,
        distillation_loss=objective.distillation_loss,
        class_weight=material.class_weights,
    )
    batches = _batches(classifier, part.input_names, objective, plan, material)
    judge = _judge(classifier, part, objective, material)
    position = train(
        distiller,
        batches,
        plan,
        judge,
        work / mark,
        lambda step: RunLog(run.logs / name, step),
        (material.progress, name),
    )
    material.progress.took(position.seconds)
    if judge.judges_start and not position.best_epoch:
        material.progress.say(
            f"no epoch of {name} is better on the validation rows than its start ({judge.metric} "
            f"{position.start[HELD_OUT + judge.metric]:.4f}), which is kept"
        )
    artifacts.write_record(
        run.path / "training" / f"{name}.json",
        {"plan": dataclasses.asdict(plan), **dataclasses.asdict(position), "made_of": mark},
    )
    with_thresholds(classifier, material).save(folder)
    remove_backup(work)
    # As saved: what was traced while training still computes in the training's precision.
    return TextClassifier.load(folder)


def _judge(
    classifier: TextClassifier, part: TextClassifier, objective: Objective, material: Material
) -> Validation:
    """Judgement of an epoch of an arm's trained part."""
    rows = trained_part_rows(classifier, "validation", material)
    if objective.held_out is not None:
        return likeness(part, rows, objective.held_out)
    judge = validation(part, rows, material.dataset.metric)
    return dataclasses.replace(judge, judges_start=objective.starts_ready)


def _is_trained(name: str, mark: str, material: Material, run: artifacts.RunFolder) -> bool:
    """Whether an earlier session finished an arm, from the same rows and teachers."""
    if not (run.path / name / "classifier.json").is_file():
        return False
    record = training_record(run, name)
    is_same = bool(record.get("made_of") == mark)
    if is_same:
        material.progress.took(record["seconds"])
    else:
        where = run.path / name
        material.progress.say(f"{where} is of other rows or another teacher: it is trained anew")
    return is_same


def _mark(classifier: TextClassifier, objective: Objective, material: Material) -> str:
    """Changes with the rows an arm learns from, and with whose answers to them it hears.

    Settings are compared by `RunFolder.start`, which knows neither.
    """
    splits = dict.fromkeys(("train", "validation", material.transfer))
    return artifacts.fingerprint(
        {
            "rows": {name: material.summaries[name].fingerprint for name in splits},
            "tokenizer": classifier.tokenizer.fingerprint,
            "heard": objective.heard,
        }
    )


def _batches(
    classifier: TextClassifier,
    input_names: tuple[str, ...],
    objective: Objective,
    plan: Plan,
    material: Material,
) -> Batches:
    """Batches of an arm; one that learns from labels alone has fewer rows of a transfer split."""
    split = material.transfer if objective.student_loss_weight < 1 else "train"
    rows, answers = trained_part_rows(classifier, split, material), objective.teacher_logits
    return Batches(
        rows,
        input_names,
        plan.batch_size,
        plan.seed,
        None if answers is None else answers[: len(rows)],
        material.summaries["train"].num_rows if split == TRANSFER else None,
        plan.epoch_rows,
        material.weights(split),
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
