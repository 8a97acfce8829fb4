"""One arm of a run: a classifier trained (or found trained), saved, scored on the test split."""

import contextlib
import dataclasses
import shutil
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.compression.litert import LiteRTModel
from tfkd.config import TrainingConfig
from tfkd.data.batching import Batches
from tfkd.data.tokens import Tokens
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.tensorboard import RunLog
from tfkd.distillation.training import Plan, Validation, train
from tfkd.evaluation import metrics
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.workflows.preparation import TRANSFER, Material

ROWS_PER_REPORT = 256


@dataclasses.dataclass(frozen=True)
class Objective:
    """What an arm is trained on.

    Attributes:
        teacher_logits: float32 `[num_rows, num_outputs]`, of the rows of the material's transfer
            split, or None for labels alone.
        temperature: Softens teacher and student.
        student_loss_weight: Weight of the label loss; 1 makes a control.
        distillation_loss: "kl" or "mse".
    """

    teacher_logits: np.ndarray | None = None
    temperature: float = 1.0
    student_loss_weight: float = 1.0
    distillation_loss: str = "kl"


def plan(config: TrainingConfig, learning_rate: float) -> Plan:
    """The training plan of a config with the learning rate decided."""
    names = {field.name for field in dataclasses.fields(Plan)} - {"learning_rate"}
    return Plan(learning_rate=learning_rate, **{name: getattr(config, name) for name in names})


def train_arm(
    name: str, classifier: TextClassifier, objective: Objective, plan: Plan, material: Material,
    run: artifacts.RunFolder,
) -> TextClassifier:  # fmt: skip
    """Trains an arm into `<run>/<name>`, or loads it when an earlier session finished it.

    Args:
        name: String. "model", "student" or "control".
        classifier: `TextClassifier` with its initial weights.
        objective: `Objective`.
        plan: `Plan`.
        material: `Material`.
        run: `RunFolder`.

    Returns:
        The trained `TextClassifier`, with the weights of its best epoch.
    """
    folder, work = run.path / name, run.path / "unfinished" / name
    if (folder / "classifier.json").is_file():
        return TextClassifier.load(folder)
    distiller = Distiller(
        classifier.model, task=classifier.task, temperature=objective.temperature,
        student_loss_weight=objective.student_loss_weight,
        distillation_loss=objective.distillation_loss,
    )  # fmt: skip
    position = train(
        distiller, _batches(classifier, objective, plan, material), plan,
        validation(classifier, material), work,
        lambda step: RunLog(run.logs / name, step), (material.progress, name),
    )  # fmt: skip
    artifacts.write_json(
        run.path / "training" / f"{name}.json",
        {"plan": dataclasses.asdict(plan), **dataclasses.asdict(position)},
    )
    classifier.save(folder)
    shutil.rmtree(work)
    with contextlib.suppress(OSError):
        # The last arm leaves an empty folder.
        work.parent.rmdir()
    # As saved: what was traced while training still computes in the training's precision.
    return TextClassifier.load(folder)


def _batches(
    classifier: TextClassifier, objective: Objective, plan: Plan, material: Material
) -> Batches:
    """The rows that teachers answer; for labels alone, those with labels as many times."""
    num_labelled = material.summaries["train"].num_rows
    num_rows = material.summaries[material.transfer].num_rows
    answers, split, repeats = objective.teacher_logits, material.transfer, 1
    if objective.student_loss_weight == 1:
        split, repeats = "train", num_rows // num_labelled
        answers = None if answers is None else answers[:num_labelled]
    return Batches(
        material.tokens(split, classifier.tokenizer), classifier.input_names, plan.batch_size,
        plan.seed, answers, num_labelled if split == TRANSFER else None, repeats,
    )  # fmt: skip


def training_record(run: artifacts.RunFolder, name: str) -> dict[str, Any]:
    """Plan, history and seconds of an arm."""
    return artifacts.read_json(run.path / "training" / f"{name}.json")


def test_figures(
    logits: np.ndarray, tokens: Tokens, classifier: TextClassifier,
    teacher_logits: np.ndarray | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All metrics of logits on a tokenized split."""
    return metrics.evaluate(
        classifier.task, logits, np.asarray(tokens.labels), classifier.label_names, teacher_logits
    )


def file_logits(model: LiteRTModel, tokens: Tokens, progress: Progress) -> np.ndarray:
    """A LiteRT file's logits of all rows: float32, shape `[num_rows, num_outputs]`."""
    logits = np.zeros((len(tokens), model.num_outputs), np.float32)
    with progress.task(f"score {model.path.name}", len(tokens)) as task:
        for start in range(0, len(tokens), ROWS_PER_REPORT):
            rows = np.arange(start, min(start + ROWS_PER_REPORT, len(tokens)))
            logits[rows] = model.predict_encoded(tokens.arrays(rows))
            task.advance(len(rows))
    return logits


def validation(classifier: TextClassifier, material: Material) -> Validation:
    """How an epoch of a classifier under training is judged: by the data set's own metric."""
    tokens = material.tokens("validation", classifier.tokenizer)

    def measure() -> dict[str, float]:
        figures = test_figures(classifier.logits(tokens), tokens, classifier)
        return {key: value for key, value in figures.items() if isinstance(value, float)}

    metric = material.dataset.metric
    return Validation(measure, metric, lambda a, b: metrics.is_better(metric, a, b))
