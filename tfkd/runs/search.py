"""The student for a budget of bytes and time: small trainings of those that fit, and the best one.

Most of a small student is its token table, so each architecture gets as many tokens as the bytes
leave it. All learn a while from the teacher's answers and become files; the one whose file does
best on the validation rows is trained whole.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import recipes
from tfkd.compression.conversion import convert
from tfkd.compression.quantizer import is_ready, table_row_bytes
from tfkd.config.training import DistillConfig
from tfkd.errors import ConfigError, ModelError
from tfkd.evaluation.budget import Budget, Candidate, frontier
from tfkd.evaluation.metrics import METRICS, is_better
from tfkd.evaluation.table import Table, figures, words
from tfkd.models import sizes
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.vocabulary import count_tokens, fitting_size
from tfkd.parts import temporary_folder
from tfkd.process import LITERT_LOADER, TimedModel
from tfkd.runs.arm import train_arm
from tfkd.runs.costs import time_files
from tfkd.runs.lengths import fitting_length
from tfkd.runs.lesson import AnyTeacher
from tfkd.runs.material import Material, first_texts
from tfkd.runs.routes import Demand
from tfkd.runs.scoring import file_logits, split_figures
from tfkd.runs.student import (
    Start,
    new_student,
    smaller_vocabulary,
    student_objective,
    student_plan,
)

# What a laptop trains in minutes; a larger one is named by --student.
STUDENTS = ("cnn_small", "cnn", "bert_tiny", "bert_mini")
RECIPES = ("dynamic_int8", "int4_tables")
# Of the steps of a whole training.
TRIAL_SHARE = 1 / 8
# Names of classes beside the tokens.
LABEL_BYTES = 1000
TIMED_TEXTS, TIMED_ROUNDS, TIMED_SECONDS = 50, 3, 3.0
RECORD = Path("training") / "search.json"


@dataclasses.dataclass(frozen=True)
class Form:
    """A student that keeps to the budget.

    Attributes:
        student: Size word.
        recipe: Of its file.
        vocabulary_size: Tokens that the bytes leave it.
        size_bytes: Of the file and its vocabulary.
        p50_ms: Median milliseconds of one text, tokenization included.
        figure: The data set's metric of the file on the validation rows, after its trial.
        nll: Its negative log-likelihood there, which decides between equal ones; None of scores.
    """

    student: str
    recipe: str
    vocabulary_size: int
    size_bytes: int
    p50_ms: float
    figure: float | None = None
    nll: float | None = None

    @property
    def name(self) -> str:
        """The form in words."""
        return f"{self.student} of {self.vocabulary_size:,} tokens as {self.recipe}"

    def has_all_of(self, other: "Form") -> bool:
        """Whether it is the same student with no fewer tokens."""
        return self.student == other.student and self.vocabulary_size >= other.vocabulary_size


@dataclasses.dataclass(frozen=True)
class Search:
    """The forms that were tried, and the best of them.

    Attributes:
        metric: The data set's metric.
        forms: `Form`s; while the search goes on, some without a figure.
    """

    metric: str
    forms: tuple[Form, ...]

    @property
    def best(self) -> Form:
        """The one with the best figure; of equal ones that with the smaller `nll`, or the first."""
        best = self.forms[0]
        for form in self.forms:
            mine, its = form.figure or 0.0, best.figure or 0.0
            if is_better(self.metric, mine, its) or (
                mine == its and (form.nll or 0.0) < (best.nll or 0.0)
            ):
                best = form
        return best

    @classmethod
    def read(cls, run: RunFolder) -> Self | None:
        """What a run's folder has of a search; None where there was none."""
        path = run.path / RECORD
        if not path.is_file():
            return None
        kept = artifacts.read_record(path)
        return cls(kept["metric"], tuple(Form(**form) for form in kept["forms"]))

    def write(self, run: RunFolder) -> None:
        """Keeps it in a run's folder."""
        artifacts.write_record(run.path / RECORD, dataclasses.asdict(self))

    def table(self) -> Table:
        """One line for each form, smallest file first."""
        unbeaten = {one.name for one in frontier([_candidate(form) for form in self.forms])}
        forms = sorted(self.forms, key=lambda form: form.size_bytes)
        return Table(
            [
                words("Student", [form.student for form in forms]),
                words("Recipe", [form.recipe for form in forms]),
                figures("Tokens", [form.vocabulary_size for form in forms], "{:,}"),
                figures("Size, MB", [form.size_bytes / 1e6 for form in forms], "{:.2f}"),
                figures("p50, ms", [form.p50_ms for form in forms], "{:.3f}"),
                figures(
                    f"{METRICS[self.metric].title} after the trial",
                    [form.figure for form in forms],
                    "{:.4f}",
                ),
                words("Beaten", ["no" if f.name in unbeaten else "yes" for f in forms]),
            ]
        )

    def sentence(self) -> str:
        """The choice in words."""
        return (
            f"Of {len(self.forms)} students within the budget, each trained for an eighth of the "
            f"steps, {self.best.name} did best on the validation rows and was trained whole."
        )


def fitting_forms(
    config: DistillConfig, start: Start, material: Material, run: RunFolder
) -> tuple[Form, ...]:
    """The students that keep to `max_mb` and `max_ms`, each with as many tokens as it may have.

    Those that an earlier session found stay, since times are never the same twice.

    Raises:
        ConfigError: There is none.
        ModelError: The tokenizer they start from is no WordPiece tokenizer.
    """
    if earlier := Search.read(run):
        return earlier.forms
    budget = Budget(config.max_mb, config.max_ms)
    fitting: list[Form] = []
    beyond = []
    for form in _forms(config, start, material):
        excesses = budget.excesses(_candidate(form))
        if excesses:
            beyond.append(f"{form.name} ({', '.join(excesses)})")
        elif not any(one.has_all_of(form) for one in fitting):
            fitting.append(form)
    if not fitting:
        raise ConfigError(
            "Expected --max-mb and --max-ms that some student keeps to. Received: a budget beyond "
            f"which are {'; '.join(beyond)}. Allow more."
        )
    return tuple(fitting)


def _forms(config: DistillConfig, start: Start, material: Material) -> list[Form]:
    """Each student in each recipe, untrained, with the tokens for which the bytes have room."""
    length = config.sequence_length or fitting_length(start.tokenizer, material)
    tokenizer = start.tokenizer.with_length(length)
    try:
        tokenizer.with_vocabulary(tokenizer.vocabulary)
    except ModelError as error:
        raise ModelError(
            "Expected a teacher with a WordPiece tokenizer for --max-mb and --max-ms, which fit "
            "its tokens into the bytes. Received: one with another. Name a --student instead."
        ) from error
    counts = count_tokens(material.tokens(material.transfer, tokenizer), tokenizer.vocabulary_size)
    room = functools.partial(fitting_size, tokenizer.vocabulary, counts)
    most = config.max_mb * 1e6 if config.max_mb else math.inf
    forms = []
    with temporary_folder() as folder:
        files = _files(config, start, material, lambda width: room(width, most / 2)[0], folder)
        for file, p50_ms in zip(files, _times(files, material), strict=True):
            row_bytes = table_row_bytes(recipes.find(file.recipe), _width(file.student))
            rest = file.path.stat().st_size - file.num_tokens * row_bytes + LABEL_BYTES
            num_tokens, taken = room(row_bytes, most - rest)
            forms.append(Form(file.student, file.recipe, num_tokens, rest + taken, p50_ms))
    return forms


class _File(NamedTuple):
    student: str
    recipe: str
    num_tokens: int
    path: Path


def _files(
    config: DistillConfig,
    start: Start,
    material: Material,
    num_tokens: Callable[[int], int],
    folder: Path,
) -> list[_File]:
    """Files of each student, with so many tokens for the width of its table."""
    students = [config.student] if config.student else STUDENTS
    found = []
    with material.progress.task("measure students", len(students)) as task:
        for student in students:
            width, place = _width(student), folder / student
            one = config.replace(student=student, vocabulary_size=num_tokens(width))
            untrained = _untrained(one, start, material)
            untrained.save(place)
            names = [name for name in RECIPES if is_ready(recipes.find(name), width)]
            for name, path in convert(place, names, (), place).items():
                found.append(_File(student, name, untrained.tokenizer.vocabulary_size, path))
            task.advance()
    return found


def _times(files: Sequence[_File], material: Material) -> list[float]:
    """Median milliseconds of one text, of each file."""
    texts = first_texts(material.dataset.splits["validation"], TIMED_TEXTS)
    models = {
        str(file.path): TimedModel(LITERT_LOADER, file.path, {"threads": 1}) for file in files
    }
    found = time_files(models, texts, TIMED_ROUNDS, material.progress, 1, TIMED_SECONDS)
    return [found[name].p50_ms for name in models]


def search(
    config: DistillConfig,
    forms: Sequence[Form],
    start: Start,
    teacher: AnyTeacher,
    material: Material,
    run: RunFolder,
) -> tuple[DistillConfig, Source]:
    """Trains each form a while and lets its file answer the validation rows.

    A call after a kill goes on with the forms that have no figure yet.

    Returns:
        The settings with the best form in place of the budget, and its `Source`.
    """
    answers = teacher.answers(material.transfer, material, Demand.of(dataclasses.asdict(config)))
    found = list(forms)
    Search(material.dataset.metric, tuple(found)).write(run)
    for place, form in enumerate(found):
        if form.figure is None:
            figures = _trial(with_form(config, form), answers.logits, start, teacher, material)
            form = dataclasses.replace(
                form, figure=float(figures[material.dataset.metric]), nll=figures.get("nll")
            )
            found[place] = form
            Search(material.dataset.metric, tuple(found)).write(run)
        material.progress.say(f"{form.name}: {form.figure:.4f} on the validation rows")
    best = with_form(config, Search(material.dataset.metric, tuple(found)).best)
    return best, _source(best)


def with_form(config: DistillConfig, form: Form) -> DistillConfig:
    """The settings with a form in place of the budget."""
    return config.replace(
        student=form.student,
        vocabulary_size=form.vocabulary_size,
        recipes=(form.recipe,),
        max_mb=None,
        max_ms=None,
    )


def _trial(
    config: DistillConfig,
    logits: np.ndarray,
    start: Start,
    teacher: AnyTeacher,
    material: Material,
) -> dict[str, Any]:
    """The figures of a form's file on the validation rows, after an eighth of its training."""
    source, recipe = _source(config), config.recipes[0]
    plan = student_plan(config, source, material)
    rows = math.ceil(plan.epochs * plan.epoch_rows * TRIAL_SHARE)
    objective = student_objective(config, logits, [teacher.sha256])
    with temporary_folder() as folder, material.progress.stage("search"):
        trial = RunFolder(folder)
        student = train_arm(
            "student",
            _untrained(config, start, material),
            objective,
            dataclasses.replace(plan, epochs=1, epoch_rows=rows),
            material,
            trial,
        )
        file = convert(folder / "student", [recipe], (), folder)[recipe]
        tokens = material.tokens("validation", student.tokenizer)
        return split_figures(file_logits(file, tokens, material.progress), tokens, student)


def _untrained(config: DistillConfig, start: Start, material: Material) -> TextClassifier:
    source = _source(config)
    smaller = smaller_vocabulary(config, source, start, material)
    return new_student(config, source, start, material, smaller)


def _source(config: DistillConfig) -> Source:
    return Source(config.student or "", Kind.SIZE)


def _width(student: str) -> int:
    return sizes.SIZE_WORDS[student].hidden_dim


def _candidate(form: Form) -> Candidate:
    return Candidate(form.name, form.size_bytes, form.p50_ms, -(form.figure or 0.0))
