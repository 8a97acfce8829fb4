"""`tfkd distill`: from text to a student, its control, its LiteRT files and the table."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import parity, recipes
from tfkd.config import BenchmarkConfig, ExportConfig
from tfkd.models import catalog, initialization
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.models.vocabulary import Trim, trim
from tfkd.progress import Progress
from tfkd.training_config import DistillConfig
from tfkd.workflows.arms import Objective, plan, train_arm
from tfkd.workflows.aware import AwareTraining
from tfkd.workflows.benchmark import first_texts, measure_costs, model_files
from tfkd.workflows.bottleneck import bottleneck_student
from tfkd.workflows.choices import choose, slug
from tfkd.workflows.export import PARITY_TEXTS, ExportResult, calibration, export_files
from tfkd.workflows.preparation import RUNS, Material, prepare
from tfkd.workflows.summary import DistillResult, finish
from tfkd.workflows.teacher import Teacher, prepare_teacher

COMPARED_TEXTS = 2000


def distill(config: DistillConfig, progress: Progress | None = None) -> DistillResult:
    """Trains a student from a teacher beside an equal control, and proves what it cost.

    Every step leaves whole files, so the same call goes on after an interruption.

    Args:
        config: `DistillConfig`.
        progress: Where to show it. Default: standard error, unless `config.quiet`.

    Returns:
        `DistillResult`.

    Raises:
        TfkdError: Anything the user can fix.

    Example:

    ```python
    result = tfkd.distill(tfkd.DistillConfig(dataset="demo"))
    result.metrics["accuracy"], result.student.predict(["some text"])
    ```
    """
    progress = progress or Progress(config.quiet)
    sources = choose(config)
    config = config.replace(**{role: source.name for role, source in sources.items()})
    run = RunFolder(config.output_dir or RUNS / _name(config, sources["student"]))
    material = prepare(config, run.path.parent, progress).with_transfer(config)
    run.start("distill", config.to_dict(), config.overwrite)
    teacher = prepare_teacher(config, sources["teacher"], material, run)
    smaller = smaller_vocabulary(config, sources["student"], teacher.classifier, material, run)
    answers = teacher.answers(material.transfer, material)
    untrained = partial(
        new_student, config, sources["student"], teacher.classifier, material, smaller
    )
    arms = _train_arms(config, untrained, answers, material, run)
    exported = write_files(config, arms["student"], answers, material, run)
    costs = _costs(material, run, teacher)
    return finish(config, material, run, teacher, arms, exported, costs)


def _name(config: DistillConfig, student: Source) -> str:
    """The folder of a run that is given none."""
    end = "-bottleneck" if config.bottleneck else ""
    return f"{slug(config.dataset)}-{student.slug}{end}"


def smaller_vocabulary(
    config: DistillConfig,
    source: Source,
    teacher: TextClassifier,
    material: Material,
    run: RunFolder,
) -> Trim | None:
    """The student's smaller vocabulary, if one is asked for; its report goes into the run folder.

    Raises:
        ConfigError: The size is too small for the tokens that must stay.
        ModelError: The teacher's tokenizer is no WordPiece tokenizer.
    """
    if config.vocabulary_size is None and config.min_count is None:
        return None
    tokenizer = teacher.tokenizer.with_length(config.sequence_length)
    found = trim(
        tokenizer,
        material.tokens("train", tokenizer),
        first_texts(material.dataset.splits["validation"], COMPARED_TEXTS),
        catalog.CATALOG[source.name].hidden_dim,
        config.vocabulary_size,
        config.min_count or 1,
    )
    artifacts.write_json(run.path / "vocabulary.json", found.report.to_dict())
    material.progress.say(found.report.sentence())
    return found


def new_student(
    config: DistillConfig,
    source: Source,
    teacher: TextClassifier,
    material: Material,
    smaller: Trim | None = None,
) -> TextClassifier:
    """The untrained student; the same seed gives the same weights, for control and student alike.

    Args:
        config: `DistillConfig`: length, pooling, initialization, bottleneck and seed.
        source: `Source` of the student.
        teacher: `TextClassifier` to start from and to take the tokenizer of.
        material: `Material`.
        smaller: The student's smaller vocabulary. Default: the teacher's.
    """
    if config.bottleneck:
        return bottleneck_student(config, source, teacher, material)
    shape = Shape(config.sequence_length, config.pooling, config.seed, config.layers)
    tokenizer = smaller.tokenizer if smaller else teacher.tokenizer
    student = load_classifier(source, material.dataset, shape, tokenizer)
    if source.kind is Kind.SIZE and config.initialization != "random":
        initialization.start_table(student.model, teacher.model, smaller.rows if smaller else None)
        if config.initialization in ("auto", "layers"):
            initialization.start_layers(student.model, teacher.model)
    return student


def learning_rate(config: DistillConfig) -> float:
    """The one that is asked for, or the default for what is trained of the student."""
    if config.bottleneck:
        return config.learning_rate or catalog.BOTTLENECK_LEARNING_RATES[config.bottleneck]
    return config.learning_rate or catalog.default_learning_rate(str(config.student))


def _train_arms(
    config: DistillConfig,
    untrained: Callable[[], TextClassifier],
    teacher_logits: np.ndarray,
    material: Material,
    run: RunFolder,
) -> dict[str, TextClassifier]:
    """Student and control: same initial weights, batches, steps and schedule."""
    budget = plan(config, learning_rate(config))
    weights = {"student": config.student_loss_weight, "control": 1.0}
    if not config.control:
        del weights["control"]
    return {
        name: train_arm(
            name,
            untrained(),
            Objective(teacher_logits, config.temperature, weight, config.distillation_loss),
            budget,
            material,
            run,
        )
        for name, weight in weights.items()
    }


def write_files(
    config: DistillConfig,
    student: TextClassifier,
    teacher_logits: np.ndarray,
    material: Material,
    run: RunFolder,
) -> ExportResult:
    """The student's LiteRT files, or their reports when an earlier session wrote them.

    Args:
        config: `DistillConfig`: recipes, and how those that train do it.
        student: `TextClassifier`, trained.
        teacher_logits: float32 `[num_rows, num_outputs]`, the training rows first. For recipes that
            train; they see the texts with labels alone.
        material: `Material`.
        run: `RunFolder` with the student.
    """
    texts = first_texts(material.dataset.splits["validation"], PARITY_TEXTS)
    train_logits = teacher_logits[: material.summaries["train"].num_rows]
    aware = AwareTraining(run, student, material, config, lambda: train_logits)
    trained = [name for name in config.recipes if recipes.find(name).trained]
    missing = [
        name
        for name in config.recipes
        if name not in trained and not parity.is_kept(run.model, name)
    ]
    if missing:
        rows = calibration(missing, student, material, config.seed)
        settings = ExportConfig(run=run.path, recipes=tuple(missing))
        export_files(run.model, student, texts, settings, rows, material.progress)
    for name in trained:
        if not aware.is_kept(name):
            aware.write(name, texts)
    paths = {name: run.model / f"{name}.tflite" for name in config.recipes}
    reports = {name: artifacts.read_json(p.with_suffix(".json")) for name, p in paths.items()}
    return ExportResult(paths, reports)


def _costs(material: Material, run: RunFolder, teacher: Teacher) -> dict[str, dict[str, Any]]:
    """Size, memory and latency of teacher, student and LiteRT files."""
    settings = BenchmarkConfig(runs=(run.path,), texts=100, rounds=3)
    files = model_files(run, teacher.folder)
    texts = first_texts(material.dataset.splits["test"], settings.texts)
    costs = measure_costs(files, texts, settings, material.progress)
    return {
        ("teacher" if file.folder == teacher.folder else file.kind): dataclasses.asdict(cost)
        for file, cost in zip(files, costs, strict=True)
    }
