"""The models of a study: a teacher, made once for all arms, and one arm of one seed."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.data.tokens import is_answered
from tfkd.distillation.mixing import LEARNED, Mixing
from tfkd.distillation.mixture import learned, mixture
from tfkd.errors import ArtifactError, ConversionError, DatasetError
from tfkd.locks import held
from tfkd.models.checkpoints import Source, resolve
from tfkd.models.classifier import TextClassifier
from tfkd.reports.predictions import NAME as PREDICTIONS
from tfkd.reports.predictions import Answered, write_predictions
from tfkd.runs.answers import AnswerTeacher, keep_answers, prepare_answers
from tfkd.runs.arm import train_arm
from tfkd.runs.choices import check_student, default_model, put_back_if_refused
from tfkd.runs.comparisons import FEWEST_SCORED
from tfkd.runs.files import ExportResult, StudentFiles
from tfkd.runs.known_texts import check_held_out, keep_texts
from tfkd.runs.lesson import AnyTeacher
from tfkd.runs.material import Material
from tfkd.runs.record import KeptMixture, shared_record
from tfkd.runs.routes import Demand, Route
from tfkd.runs.scoring import file_logits, split_logits
from tfkd.runs.student import new_student, student_maker, student_objective, student_plan
from tfkd.runs.teacher import finetuned, prepare_teacher
from tfkd.runs.trained_part import read_together
from tfkd.runs.training import training_record
from tfkd.studies.plan import ArmPlan, StudyPlan, TeacherPlan
from tfkd.studies.scores import KERAS, Scores, is_scored

ARM = "student"


def make_teacher(teacher: TeacherPlan, material: Material) -> AnyTeacher:
    """Fine-tunes a teacher or takes a ready one, and has it score the rows; or reads its answers.

    Args:
        teacher: `TeacherPlan`.
        material: `Material` of its data set.

    Raises:
        ArtifactError: The folder holds a teacher made with other settings.
        ModelError: The model is unknown or answers other classes.
    """
    found: AnyTeacher
    if teacher.answers:
        found = _answered(teacher, material)
    else:
        ready = teacher.ready
        if teacher.settings is not None:
            ready = str(finetuned(teacher.settings, material.of(teacher.settings)))
        source = resolve(str(ready))
        check_held_out(source, material)
        config = DistillConfig(dataset=teacher.dataset, **teacher.shape)
        found = prepare_teacher(config, source, material, RunFolder(teacher.path))
    if not is_scored(teacher.path, material.summaries["test"].fingerprint):
        model = found if isinstance(found, AnswerTeacher) else found.classifier
        _scores(model, found.folder, {KERAS: found.test_logits}, material).write(teacher.path)
    return found


def _answered(teacher: TeacherPlan, material: Material) -> AnswerTeacher:
    """A teacher whose answers are in files, of which one at least is of a row of test."""
    if not isinstance(material.config, DistillConfig):
        raise ValueError(f"Expected rows of a study's arm. Received: {material.config}")
    found = prepare_answers(teacher.answers, material.config, material, RunFolder(teacher.path))
    if is_answered(found.test_logits).sum() < FEWEST_SCORED:
        raise DatasetError(
            f"Expected answers of {teacher.name} to rows of test, which the study compares with. "
            f"Received none in {', '.join(map(str, teacher.answers))}. Have them answered, too."
        )
    return found


def read_frozen(
    arms: Sequence[ArmPlan], teachers: Mapping[str, AnyTeacher], material: Material
) -> None:
    """Has each frozen encoder read the texts once for the keys of all seeds of a student.

    Args:
        arms: `ArmPlan` of one data set. Those without a bottleneck, or made before, need nothing.
        teachers: `Teacher` by name.
        material: `Material` of the data set.
    """
    seeds: dict[str, dict[int, ArmPlan]] = {}
    for arm in arms:
        if arm.config.bottleneck and not RunFolder(arm.path).is_finished:
            seeds.setdefault(arm.student, {})[arm.config.seed] = arm
    for by_seed in seeds.values():
        unfinished = list(by_seed.values())
        # Arms of a student have the same texts and, seed by seed, the same keys.
        first = unfinished[0]
        wider = material.with_transfer(first.config, teachers[first.start].classifier)
        students = [
            new_student(
                arm.config, student_source(arm.config), teachers[arm.start].start(wider), wider
            )
            for arm in unfinished
        ]
        read_together(students, wider)


def make_arm(
    arm: ArmPlan,
    plans: Mapping[str, TeacherPlan],
    teachers: Mapping[str, AnyTeacher],
    material: Material,
) -> None:
    """Trains, exports and scores a student into its run folder, or goes on with one.

    A control sees the same batches with the same weights to start from, and labels alone.

    Args:
        arm: `ArmPlan`.
        plans: `TeacherPlan` by name, of the arm's data set.
        teachers: `Teacher` by name.
        material: `Material` of the data set.

    Raises:
        ArtifactError: The folder holds an arm made with other settings.
    """
    config, run = arm.config, RunFolder(arm.path)
    if run.is_finished:
        return
    material = material.with_transfer(config, teachers[arm.start].classifier)
    source = student_source(config)
    config = config.replace(student=source.name)
    check_held_out(source, material)
    with held(run.path, "study"):
        with put_back_if_refused(run):
            run.start("distill", arm_settings(arm, plans), False, material.record())
            start = teachers[arm.start].start(material)
            untrained = student_maker(config, source, start, material, run)()
        keep_texts(run, material, source)
        _make(dataclasses.replace(arm, config=config), untrained, teachers, material, run)


def _make(
    arm: ArmPlan,
    untrained: TextClassifier,
    teachers: Mapping[str, AnyTeacher],
    material: Material,
    run: RunFolder,
) -> None:
    """All of an arm that has begun; metrics.json comes last and marks it done."""
    config, source = arm.config, student_source(arm.config)
    asked = [teachers[name] for name in arm.teachers or (arm.start,)]
    mixing = used_mixing(arm.mixing, asked, material)
    logits, routes = _logits(config, asked, mixing, material)
    objective = student_objective(config, logits, [item.sha256 for item in asked])
    if any(item.classifier is None for item in asked):
        keep_answers(run, logits[: material.summaries["train"].num_rows])
    budget = student_plan(config, source, material)
    student = train_arm(ARM, untrained, objective, budget, material, run)
    exported, refused = _files(config, student, logits, material, run)
    tokens = material.tokens("test", student.tokenizer)
    answers = {KERAS: split_logits(student, "test", material)}
    for recipe, path in exported.paths.items():
        answers[recipe] = file_logits(path, tokens, material.progress)
    scores = _scores(student, run.model, answers, material)
    dataclasses.replace(scores, refused=refused).write(run.path)
    heard = {
        ARM if name == KERAS else name: Answered(values, student.thresholds)
        for name, values in answers.items()
    }
    if len(arm.teachers) == 1:
        heard["teacher"] = Answered(asked[0].test_logits, asked[0].thresholds)
    write_predictions(run.path, material.dataset, scores.labels, heard)
    run.finish(
        {
            "arm": arm.name,
            # Recipes that train and are added later ask the teachers again.
            **teachers_record(arm, asked, mixing, run),
            "metric": material.dataset.metric,
            "training": training_record(run, ARM),
            "scoring": [route.to_dict() for route in routes],
            "exports": exported.to_dict(),
            **shared_record(material, config.seed),
        },
        [PREDICTIONS],
    )


def _logits(
    config: DistillConfig, teachers: Sequence[AnyTeacher], mixing: Mixing, material: Material
) -> tuple[np.ndarray, list[Route]]:
    """The teachers' answers to the rows a student learns from, mixed, and how each was had."""
    demand = Demand.of(dataclasses.asdict(config), mixing.temperatures)
    taught = [item.answers(material.transfer, material, demand) for item in teachers]
    logits = [answers.logits for answers in taught]
    mixed = mixture(material.dataset.task, logits, config.temperature, mixing)
    return mixed, [answers.route for answers in taught]


def _files(
    config: DistillConfig,
    student: TextClassifier,
    logits: np.ndarray,
    material: Material,
    run: RunFolder,
) -> tuple[ExportResult, dict[str, str]]:
    """The LiteRT files that pass their gate, and of the other recipes why they gave none."""
    paths: dict[str, Path] = {}
    reports: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    train_logits = logits[: material.summaries["train"].num_rows]
    files = StudentFiles(run, student, material, config, config.seed, lambda: train_logits)
    for recipe in config.recipes:
        try:
            found = files.make([recipe])
        except ConversionError as error:
            # One file that is not good enough says nothing against the student.
            refused[recipe] = str(error)
            material.progress.say(refused[recipe])
        else:
            paths |= found.paths
            reports |= found.reports
    return ExportResult(paths, reports), refused


def used_mixing(mixing: Mixing, teachers: Sequence[AnyTeacher], material: Material) -> Mixing:
    """The rule with its weights learned where it asks for it; each teacher then scores once more.

    Args:
        mixing: `Mixing`.
        teachers: `Teacher` in the order of the weights.
        material: `Material`. The weights suit its validation rows.
    """
    if mixing.weighting != LEARNED:
        return mixing
    logits = [item.answers("validation", material, Demand()).logits for item in teachers]
    rows = is_answered(np.stack(logits)).all(axis=0)
    labels = material.labels("validation")[rows]
    return learned(material.dataset.task, [one[rows] for one in logits], labels, mixing)


def teachers_record(
    arm: ArmPlan, teachers: Sequence[AnyTeacher], mixing: Mixing, run: RunFolder
) -> dict[str, object]:
    """Entry of the teachers in metrics.json: nothing for a control, one folder, or a mixture."""
    if not arm.teachers:
        return {"teacher_folder": None}
    if len(teachers) == 1 and mixing == Mixing():
        return teachers[0].record(run)
    named = dict(zip(arm.teachers, teachers, strict=True))
    kept = KeptMixture(
        {name: run.noted(item.folder) for name, item in named.items()},
        mixing,
        {name: item.sha256 for name, item in named.items()},
    )
    return {"mixture": kept.to_dict()}


def arm_settings(arm: ArmPlan, plans: Mapping[str, TeacherPlan]) -> dict[str, object]:
    """All that decides an arm's outcome, as its config.json holds it."""
    marks = {name: plans[name].mark for name in dict.fromkeys((arm.start, *arm.teachers))}
    # A default is None, as a setting is that arms made before there was a choice do not have.
    rule = {key: value or None for key, value in arm.mixing.to_dict().items()}
    return {**arm.config.to_dict(), "started_from": arm.start, "teacher_marks": marks, **rule}


def student_source(config: DistillConfig) -> Source:
    """The student of an arm's settings, when it can have them.

    Raises:
        ConfigError: It cannot, for example a bottleneck on an untrained encoder.
        ModelError: It is unknown or cannot be had.
    """
    source = resolve(config.student or default_model(config.dataset, "student"))
    check_student(config, source)
    return source


def check_rows(plan: StudyPlan, material: Material) -> None:
    """Refuses what is there of a data set if it was made of other rows than it has now.

    Raises:
        ArtifactError: Something was.
    """
    # Teachers may see fewer rows than the arms; `make_teacher` compares those.
    for arm in plan.arms:
        run = RunFolder(arm.path)
        changed = run.changed_rows(material.describe()) if run.is_run else None
        if changed is not None:
            raise ArtifactError(
                f"Expected {run.path} to be made of the rows that {arm.dataset} has now. Received "
                f"others: {changed}. Delete it to have it made anew, or give another --output-dir."
            )


def check_arm(arm: ArmPlan, plans: Mapping[str, TeacherPlan]) -> None:
    """Refuses an arm that is there and was made with other settings than the plan's.

    Raises:
        ArtifactError: It was.
    """
    run = RunFolder(arm.path)
    if not run.is_run:
        return
    found = run.difference("distill", arm_settings(arm, plans))
    if found is not None:
        key, before, value = found
        raise ArtifactError(
            f"Expected {run.path} to be made with {key}={value!r}. Received: {key}={before!r}. "
            "Delete it to have it made anew, or give another --output-dir."
        )


def _scores(
    model: TextClassifier | AnswerTeacher,
    folder: Path,
    logits: Mapping[str, np.ndarray],
    material: Material,
) -> Scores:
    """What a model answers to the test rows; answers in files are no model and have no size."""
    dataset, files = material.dataset, {KERAS: "model.keras"}
    is_model = isinstance(model, TextClassifier)
    return Scores(
        labels=material.labels("test"),
        logits=logits,
        parameters=model.num_parameters if isinstance(model, TextClassifier) else None,
        size_bytes={
            name: (folder / files.get(name, f"{name}.tflite")).stat().st_size if is_model else None
            for name in logits
        },
        model_folder=str(folder) if is_model else None,
        dataset={
            "name": dataset.name,
            "task": dataset.task,
            "metric": dataset.metric,
            "label_names": list(dataset.label_names),
            "test_fingerprint": material.summaries["test"].fingerprint,
        },
        thresholds=model.thresholds,
    )
