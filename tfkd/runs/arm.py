"""One arm of a run: a classifier trained, or found trained, and saved."""

import dataclasses

from tfkd import artifacts
from tfkd.config.training import TrainingConfig
from tfkd.data.batching import Batches
from tfkd.distillation.tensorboard import RunLog
from tfkd.distillation.training import HELD_OUT, Plan
from tfkd.models.classifier import TextClassifier
from tfkd.runs.material import TRANSFER, Material
from tfkd.runs.strategy import train_together
from tfkd.runs.trained_part import trained_part, trained_part_rows
from tfkd.runs.training import Objective, Training, training_record, with_thresholds
from tfkd.written_files import remove_backup


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
    part, config = trained_part(classifier), material.config
    training = Training(
        classifier,
        part,
        objective,
        plan,
        _batches(classifier, part.input_names, objective, plan, material),
        trained_part_rows(classifier, "validation", material),
        material.dataset.metric,
        material.class_weights,
    )
    backup, logs = work / mark, run.logs / name
    if isinstance(config, TrainingConfig) and config.strategy is not None:
        train_together(config, training, (backup, logs), name, material.progress)
    position = training.run(backup, lambda step: RunLog(logs, step), (material.progress, name))
    material.progress.took(position.seconds)
    judge = training.judge
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
