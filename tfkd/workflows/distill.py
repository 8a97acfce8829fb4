"""`tfkd distill`: from text to a student, its control, its LiteRT files and the table."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.data.tokens import is_answered
from tfkd.evaluation.rows import STAGE_NOTE, TEACHER, Row, result_table, stage_table, table_note
from tfkd.evaluation.table import Shown, Table
from tfkd.evaluation.verdict import Comparison
from tfkd.locks import held
from tfkd.models.checkpoints import Source
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.reports.predictions import Answered
from tfkd.reports.sentences import standing
from tfkd.runs.answers import keep_answers, prepare_answers
from tfkd.runs.arm import train_arm
from tfkd.runs.baselines import Baseline, baseline_row, embeddings_row, word_baseline
from tfkd.runs.choices import choose, put_back_if_refused, run_name
from tfkd.runs.comparisons import FEWEST_SCORED, Decides, compare_arms, few_rows_warning, warning
from tfkd.runs.costs import measure_costs, model_files
from tfkd.runs.files import ExportResult, StudentFiles
from tfkd.runs.folds import Folds, in_folds
from tfkd.runs.known_texts import check_held_out, keep_texts
from tfkd.runs.lesson import AnyTeacher, Lesson, lesson
from tfkd.runs.material import RUNS, Material, first_texts, prepare
from tfkd.runs.outcome import Costs, arm_rows, headlines, next_commands, write_logs
from tfkd.runs.record import finish_run
from tfkd.runs.routes import Demand
from tfkd.runs.scoring import file_logits, split_logits
from tfkd.runs.search import Search, fitting_forms, search
from tfkd.runs.settings import settings_of
from tfkd.runs.strategy import gathered
from tfkd.runs.student import check_student_fits, student_maker, student_plan
from tfkd.runs.teacher import prepare_teacher
from tfkd.runs.training import Objective, training_record, training_sentence

TIMED_TEXTS, TIMED_ROUNDS, TIMED_SECONDS = 100, 3, 4.0
SCORING = Path("training") / "scoring.json"


@dataclasses.dataclass(frozen=True, repr=False)
class DistillResult(Shown):
    """Result of a run.

    Attributes:
        path: The run folder.
        rows: One `Row` for teacher, baselines, control, student and each LiteRT file.
        metric: Headline metric of the data set.
        comparisons: Paired tests on the test rows: student against control, teacher and words.
        sentences: The same in words.
        seconds: Seconds of each stage by its name.
        standing: Where the student's smallest file stands: below what, above what, its bytes.
        warning: What to know first: the test rows are few, or on the validation rows the student is
            not ahead of its control. None where neither is so.
        folds: Figures of parts of the rows that took turns as test, if they were asked for.
        search: The students within a budget, if one was given.
    """

    path: Path
    rows: tuple[Row, ...]
    metric: str
    comparisons: dict[str, Comparison]
    sentences: tuple[str, ...]
    seconds: dict[str, float]
    standing: str
    warning: str | None = None
    folds: Folds | None = None
    search: Search | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics of the Keras student on the test split."""
        return dict(next(row.metrics for row in self.rows if row.arm == "student"))

    @functools.cached_property
    def student(self) -> TextClassifier:
        """The trained student, loaded from the run folder."""
        return TextClassifier.load(self.path / "student")

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "path": str(self.path),
            "metric": self.metric,
            "rows": [row.to_dict() for row in self.rows],
            "comparisons": {name: item.to_dict() for name, item in self.comparisons.items()},
            "sentences": list(self.sentences),
            "seconds": self.seconds,
            "standing": self.standing,
            "warning": self.warning,
            **({"folds": self.folds.to_dict()} if self.folds else {}),
            **({"search": dataclasses.asdict(self.search)} if self.search else {}),
        }

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        return [
            *(self.folds.render() if self.folds else []),
            *([self.search.table()] if self.search else []),
            *([self.warning] if self.warning else []),
            self.standing,
            result_table(self.rows, self.metric),
            table_note(self.rows, self.metric),
            *self.sentences,
            stage_table(self.seconds),
            STAGE_NOTE,
            next_commands(self.path),
        ]


def distill(
    config: DistillConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> DistillResult:
    """Trains a student from a teacher beside an equal control, and proves what it cost.

    Every step leaves whole files, so the same call goes on after an interruption.

    Args:
        config: `DistillConfig`, or the data set's name or path.
        progress: `Progress` that shows what is done. Default: standard error, unless
            `config.quiet`.
        **given: The settings as keywords instead. Rows that are in memory take the place of
            `dataset`: `texts` and `labels`, perhaps `weights`, `validation_texts`,
            `validation_labels`, `test_texts`, `test_labels` and `label_names`; see docs/python.md.

    Returns:
        `DistillResult`.

    Raises:
        TfkdError: Anything the user can fix.

    Example:

    ```python
    result = tfkd.distill("demo")
    result = tfkd.distill(texts=frame["body"], labels=frame["category"], epochs=3)
    result.metrics["accuracy"], result.student.predict(["some text"])
    ```
    """
    config = settings_of(DistillConfig, config, given)
    progress = progress or Progress(config.quiet)
    with progress.stage("other"), gathered(config):
        return _distill(config, progress)


def _distill(config: DistillConfig, progress: Progress) -> DistillResult:
    """The stages one after the other."""
    sources = choose(config)
    named = {role: source.name for role, source in sources.items()}
    if config.is_bounded and config.student is None:
        del named["student"]
    config = config.replace(**named)
    run = RunFolder(config.output_dir or RUNS / run_name(config, sources["student"]))
    folds = in_folds(config, run, progress, _distill) if config.folds else None
    labelled = prepare(config, run.path.parent, progress)
    labelled.check_transfer(config)
    check_student_fits(config, sources["student"], labelled)
    for source in sources.values():
        check_held_out(source, labelled)
    with held(run.path, "distill"):
        with put_back_if_refused(run, config.overwrite) as aside:
            run.start("distill", config.to_dict(), config.overwrite, labelled.record(), aside)
            teacher: AnyTeacher = (
                prepare_answers(config.teacher_answers, config, labelled, run)
                if config.teacher_answers
                else prepare_teacher(config, sources["teacher"], labelled, run)
            )
            material = labelled.with_transfer(config, teacher.classifier)
            start = teacher.start(material)
            if config.is_bounded:
                forms = fitting_forms(config, start, material, run)
            else:
                untrained = student_maker(config, sources["student"], start, material, run)
        keep_texts(run, labelled, sources["student"])
        if config.is_bounded:
            config, sources["student"] = search(config, forms, start, teacher, material, run)
            untrained = student_maker(config, sources["student"], start, material, run)
        return _make(config, sources["student"], teacher, untrained, material, run, folds)


def _make(
    config: DistillConfig,
    source: Source,
    teacher: AnyTeacher,
    untrained: Callable[[], TextClassifier],
    material: Material,
    run: RunFolder,
    folds: Folds | None,
) -> DistillResult:
    """All of a run whose teacher and student are known to be good."""
    demand = Demand.of(dataclasses.asdict(config))
    answers, route = teacher.answers(material.transfer, material, demand)
    artifacts.write_record(run.path / SCORING, route.to_dict())
    arms, told = _train_arms(config, source, untrained, (teacher, answers), material, run)
    # Recipes that train see the texts with labels alone.
    labelled_answers = told.logits[: material.summaries["train"].num_rows]
    if teacher.classifier is None:
        keep_answers(run, labelled_answers)
    files = StudentFiles(
        run, arms["student"], material, config, config.seed, lambda: labelled_answers
    )
    with material.progress.stage("convert and check files"):
        exported = files.make(config.recipes)
    return finish(config, material, run, (teacher, told), arms, exported, folds)


def _train_arms(
    config: DistillConfig,
    source: Source,
    untrained: Callable[[], TextClassifier],
    taught: tuple[AnyTeacher, np.ndarray],
    material: Material,
    run: RunFolder,
) -> tuple[dict[str, TextClassifier], Lesson]:
    """Control and student, of the same initial weights, and what the student was told."""

    def trained(name: str, logits: np.ndarray, weight: float) -> TextClassifier:
        loss = config.distillation_loss
        objective = Objective(logits, config.temperature, weight, loss, (teacher.sha256,))
        plan = student_plan(config.replace(student_loss_weight=weight), source, material)
        material.progress.say(training_sentence(name, plan))
        with material.progress.stage(f"train {name}"):
            return train_arm(name, untrained(), objective, plan, material, run)

    teacher, answers = taught
    arms = {}
    if config.control:
        arms["control"] = trained("control", answers, 1.0)
    told = lesson(config, material, teacher, answers, arms.get("control"), run)
    arms["student"] = trained("student", told.logits, config.student_loss_weight)
    return arms, told


def _costs(material: Material, run: RunFolder, teacher: AnyTeacher) -> dict[str, dict[str, Any]]:
    """Size, memory and latency of teacher, student and LiteRT files."""
    files = model_files(run, teacher.folder)
    texts = first_texts(material.dataset.splits["test"], TIMED_TEXTS)
    costs = measure_costs(
        files,
        texts,
        TIMED_ROUNDS,
        material.progress,
        budget_seconds=TIMED_SECONDS,
        kept=material.cache / "memory",
    )
    return {
        ("teacher" if file.folder == teacher.folder else file.kind): dataclasses.asdict(cost)
        for file, cost in zip(files, costs, strict=True)
    }


def finish(
    config: DistillConfig,
    material: Material,
    run: RunFolder,
    taught: tuple[AnyTeacher, Lesson],
    arms: dict[str, TextClassifier],
    exported: ExportResult,
    folds: Folds | None,
) -> DistillResult:
    """Scores everything on the test split and writes metrics.json, README.md and the last logs."""
    teacher, told = taught
    costs: Costs = _costs(material, run, teacher) if config.timing else {}
    logits = {"teacher": teacher.test_logits, **_test_logits(material, arms, exported)}
    words = word_baseline(material)
    with material.progress.stage("compare"):
        rows = arm_rows(config, material, teacher, arms, logits, exported, costs)
        # A teacher's answers to some rows of test have no place among figures of all.
        first, is_whole = int(rows[0].arm == TEACHER), is_answered(teacher.test_logits).all()
        rows[first:first] = _baseline_rows(rows[-1], words, teacher, material)
        models = {"teacher": teacher, **arms}
        comparisons, sentences = _comparisons(material, models, logits, config, words)
        warned = _warning(config, material, arms, logits["student"], rows)
    write_logs(config, run, rows, material.dataset.metric)
    found = Search.read(run)
    result = DistillResult(
        run.path,
        tuple(rows),
        material.dataset.metric,
        comparisons,
        _sentences(found, teacher, told, sentences),
        material.progress.seconds,
        standing(rows if is_whole else rows[first:], material.dataset.metric, comparisons),
        warned,
        folds,
        found,
    )
    record = {
        **result.to_dict(),
        **teacher.record(run),
        **told.record,
        "training": {name: training_record(run, name) for name in arms},
        "scoring": artifacts.read_record(run.path / SCORING),
        "exports": exported.to_dict(),
        "costs": costs,
    }
    finish_run(run, record, _answered(teacher, words, arms, logits), material, config)
    return result


def _sentences(
    found: Search | None, teacher: AnyTeacher, told: Lesson, compared: Sequence[str]
) -> tuple[str, ...]:
    """What is said below the table, in the order of what was done."""
    teachers = [f"{line[0].upper()}{line[1:]}." for line in teacher.sentences]
    searched = [found.sentence()] if found else []
    return *searched, *teachers, *told.sentences, *compared


def _answered(
    teacher: AnyTeacher,
    words: Baseline | None,
    arms: Mapping[str, Decides],
    logits: Mapping[str, np.ndarray],
) -> dict[str, Answered]:
    """What teacher, words, arms and files answer to the test rows; files decide as the student."""
    found = {
        name: Answered(values, arms.get(name, arms["student"]).thresholds)
        for name, values in logits.items()
    }
    found["teacher"] = Answered(teacher.test_logits, teacher.thresholds)
    if words is not None:
        found["words"] = Answered(words.logits, words.thresholds)
    if not is_answered(teacher.test_logits).any():
        del found["teacher"]
    return found


def _warning(
    config: DistillConfig,
    material: Material,
    arms: dict[str, TextClassifier],
    logits: np.ndarray,
    rows: list[Row],
) -> str | None:
    """What to know first: the test rows are few, or the student is not ahead of its control."""
    few = few_rows_warning(material, "test", "student", arms["student"], logits)
    lags = warning(config, material, arms, headlines(rows, material.dataset.metric))
    return " ".join(filter(None, [few, lags])) or None


def _test_logits(
    material: Material, arms: dict[str, TextClassifier], exported: ExportResult
) -> dict[str, np.ndarray]:
    """What each arm and each file of the student answers to the test rows."""
    logits = {}
    with material.progress.stage("score the test rows"):
        for name, arm in arms.items():
            logits[name] = split_logits(arm, "test", material)
        for recipe, path in exported.paths.items():
            tokens = material.tokens("test", arms["student"].tokenizer)
            logits[recipe] = file_logits(path, tokens, material.progress)
    return logits


def _baseline_rows(
    shared: Row, words: Baseline | None, teacher: AnyTeacher, material: Material
) -> list[Row]:
    """Rows of the encoder as it was before its fine-tuning, and of the words' linear model."""
    found = [embeddings_row(teacher.folder, shared, material)]
    if words is not None:
        found.append(baseline_row(words, shared, material, teacher, teacher.test_logits))
    return [row for row in found if row is not None]


def _comparisons(
    material: Material,
    models: Mapping[str, Decides],
    logits: dict[str, np.ndarray],
    config: DistillConfig,
    words: Baseline | None = None,
) -> tuple[dict[str, Comparison], list[str]]:
    """The student against words, control and teacher on the same test rows, and in words."""
    comparisons, sentences = {}, []
    names = {name: name for name in ("control", "teacher")}
    if words is not None:
        models, logits = {**models, "words": words}, {**logits, "words": words.logits}
        names = {"words": words.name, **names}
    for other, called in names.items():
        if other not in models or is_answered(logits[other]).sum() < FEWEST_SCORED:
            continue
        one, two = ((models[name], logits[name]) for name in ("student", other))
        found = compare_arms(material, "test", one, two, config.seed)
        comparisons[f"student_vs_{other}"] = found
        sentences.append(found.sentence("student", called, material.dataset.metric) + ".")
    return comparisons, sentences
