"""`tfkd study`: arms x seeds x data sets from one TOML file, one table, a verdict on each question.

saved_models/<study>/
plan.json                        the TOML file's tables
<dataset>-<teacher>/             as `tfkd finetune` writes it
<dataset>-<arm>-seed<seed>/      as `tfkd distill` writes it, without a control inside
.../scores.npz, scores.json      its answers to the test rows
<dataset>-times.json             all kinds of files, timed in turns
cache/                           tokens and teacher logits, shared by all arms
study.json, README.md            the table and the verdicts; report.html, the same with pictures
"""

from pathlib import Path
from typing import Any

from tfkd import artifacts, cluster
from tfkd.artifacts import RunFolder
from tfkd.config.fields import nearest
from tfkd.config.verbs import StudyConfig
from tfkd.errors import ConfigError
from tfkd.progress import Progress
from tfkd.reports.card import CARD, PAGE
from tfkd.runs.costs import ModelFile, time_files
from tfkd.runs.material import Material, first_texts, prepare
from tfkd.runs.settings import settings_of
from tfkd.runs.student import check_student_fits
from tfkd.studies.form import read_plan
from tfkd.studies.making import (
    check_arm,
    check_rows,
    make_arm,
    make_teacher,
    read_frozen,
    student_source,
)
from tfkd.studies.page import study_page
from tfkd.studies.plan import PlanResult, StudyPlan, state
from tfkd.studies.pool import make_arms
from tfkd.studies.scores import Scores, is_scored
from tfkd.studies.table import RESULTS, StudyResult, collect, time_key, times_path

ROUNDS = 3


def study(
    config: StudyConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> StudyResult | PlanResult:
    """Makes what is missing of a study, then its table.

    Every teacher and arm is a run folder of its own, so the same call goes on after an
    interruption, and more seeds or students added to the file add only their own runs.

    Args:
        config: `StudyConfig`.
        progress: `Progress` that shows what is done. Default: standard error, unless
            `config.quiet`.
        **given: The settings as keywords instead.

    Returns:
        `StudyResult`, or `PlanResult` when `config.plan` or while other data sets are missing.

    Raises:
        TfkdError: Anything the user can fix.

    Example:

    ```python
    result = tfkd.study(tfkd.StudyConfig(study="configs/demo_study.toml"))
    result.sentences("demo")
    ```
    """
    config = settings_of(StudyConfig, config, given)
    progress = progress or Progress(config.quiet)
    plan = read_plan(config)
    if config.plan:
        return PlanResult(plan)
    if config.ray is not None and config.jobs > 1:
        raise ConfigError(
            "Expected --jobs or --ray: Ray makes as many arms at a time as its machines have "
            f"cores. Received: --jobs {config.jobs} --ray {config.ray}. Leave one out."
        )
    asked = _asked(config, plan)
    # A cluster that is not there is told before a teacher is trained.
    with cluster.joined(config.ray):
        plan.write()
        for dataset in asked:
            _run(plan.of(dataset), config, progress)
    if not all(_is_done(plan.of(dataset)) for dataset in plan.datasets):
        return PlanResult(plan)
    result = collect(plan)
    artifacts.write_json(plan.path / RESULTS, result.to_dict())
    artifacts.write_text(plan.path / CARD, result.markdown())
    if config.report:
        artifacts.write_text(plan.path / PAGE, study_page(result).html())
    return result


def _asked(config: StudyConfig, plan: StudyPlan) -> tuple[str, ...]:
    """The data sets to make.

    Raises:
        ConfigError: The study has no such data set.
    """
    for name in config.datasets:
        if name not in plan.datasets:
            raise ConfigError(
                f"Expected a data set of {config.study}. Received: {name!r}. "
                f"{nearest(name, plan.datasets)}"
            )
    return config.datasets or plan.datasets


def _is_made(plan: StudyPlan, test_fingerprint: str | None = None) -> bool:
    """Whether all models of one data set are there, scored on these rows if they are named."""
    return all(is_scored(item.path, test_fingerprint) for item in plan.teachers) and all(
        RunFolder(arm.path).is_finished for arm in plan.arms
    )


def _is_done(plan: StudyPlan) -> bool:
    """Whether nothing of one data set is missing."""
    return _is_made(plan) and _is_timed(plan)


def _run(plan: StudyPlan, config: StudyConfig, progress: Progress) -> None:
    """Everything of one data set that is not there yet."""
    plans = {teacher.name: teacher for teacher in plan.teachers}
    for arm in plan.arms:
        check_arm(arm, plans)
    # Before a teacher is trained for nothing.
    unfinished = [arm for arm in plan.arms if not RunFolder(arm.path).is_finished]
    students = {arm.student: (arm.config, student_source(arm.config)) for arm in unfinished}
    material = prepare(plan.arms[0].config, plan.path, progress)
    check_rows(plan, material)
    for arm in plan.arms:
        arm.mixing.check_task(material.dataset.task)
    for arm in unfinished:
        material.unlabelled_rows(arm.config)
    for settings, source in students.values():
        check_student_fits(settings, source, material)
    if not _is_made(plan, material.summaries["test"].fingerprint):
        teachers = {name: make_teacher(item, material) for name, item in plans.items()}
        read_frozen(plan.arms, teachers, material)
        if config.jobs > 1 or config.ray:
            make_arms(plan, config.jobs, config.ray is not None, teachers, material)
        else:
            for number, arm in enumerate(plan.arms, 1):
                progress.say(f"{number}/{len(plan.arms)} {arm.path.name}: {state(arm.path)}")
                make_arm(arm, plans, teachers, material)
    _time(plan, material)


def _is_timed(plan: StudyPlan) -> bool:
    """Whether the times that are asked for were taken."""
    if not plan.terms.timed_texts:
        return True
    path = times_path(plan)
    if not path.is_file():
        return False
    kept = artifacts.read_record(path)
    files, texts = sorted(_timed_files(plan)), plan.terms.timed_texts
    return bool((kept.get("files"), kept.get("texts")) == (files, texts))


def _time(plan: StudyPlan, material: Material) -> None:
    """Times one file of every kind, all in turns: seeds and teachers do not change the time."""
    if _is_timed(plan):
        return
    files = _timed_files(plan)
    texts = first_texts(material.dataset.splits["test"], plan.terms.timed_texts)
    material.progress.say(f"time {len(files)} models on {len(texts)} texts")
    timed = {name: file.timed() for name, file in files.items()}
    found = time_files(timed, texts, ROUNDS, material.progress)
    artifacts.write_record(
        times_path(plan),
        {
            "files": sorted(files),
            "texts": plan.terms.timed_texts,
            "rounds": ROUNDS,
            "times": {name: latency.to_dict() for name, latency in found.items()},
            "versions": artifacts.versions(),
        },
    )


def _timed_files(plan: StudyPlan) -> dict[str, ModelFile]:
    """Each teacher's file, and each student's in its first seed, by `time_key`."""
    files: dict[str, ModelFile] = {}
    for item in plan.items:
        scores = Scores.read(item.path)
        # Answers in a file take no time.
        for kind in scores.logits if scores.model_folder else ():
            key = time_key(item, kind)
            files.setdefault(key, ModelFile(key, Path(str(scores.model_folder)), kind))
    return files
