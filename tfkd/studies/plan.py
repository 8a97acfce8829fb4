"""Plan of a study: teachers and arms, each with its settings and its folder."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.data import MAX_SEED
from tfkd.config.fields import Config, setting
from tfkd.config.training import RECIPE_NAMES, DistillConfig, FinetuneConfig
from tfkd.distillation.mixing import Mixing
from tfkd.errors import ArtifactError, ConfigError
from tfkd.evaluation.table import Shown, Table, words

PLAN = "plan.json"
CONTROL = "control"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms(Config):
    """Settings of the whole study."""

    seeds: tuple[int, ...] = setting((0, 1, 2), "Seeds of the students.", 0, MAX_SEED)
    recipes: tuple[str, ...] = setting(
        (), "LiteRT files of each distilled student.", choices=RECIPE_NAMES
    )
    timed_texts: int = setting(100, "Texts to time every kind of file with; 0: none.", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(
                f"Expected `seeds` to be one or more different numbers. Received: "
                f"seeds={list(self.seeds)}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published(Config):
    """A figure of somebody else; it never mixes with measured ones."""

    dataset: str = setting(dataclasses.MISSING, "Name of the data set in the study.")
    arm: str = setting(dataclasses.MISSING, "Name of the arm or teacher it stands beside.")
    value: float = setting(dataclasses.MISSING, "The figure, in the data set's headline metric.")
    source: str = setting(dataclasses.MISSING, "Who published it, and what it is of.")


@dataclasses.dataclass(frozen=True)
class TeacherPlan:
    """A teacher of one data set.

    Attributes:
        dataset: Name of the data set in the study.
        name: Name of the teacher in the study.
        path: Its folder.
        settings: Settings of its fine-tuning, or None for one that is ready.
        ready: Name or folder of a ready classifier, or None.
        shape: Of a ready one: `teacher_sequence_length` and `teacher_pooling`, if given.
        answers: Files of answers, of a teacher that is no model.
    """

    dataset: str
    name: str
    path: Path
    settings: FinetuneConfig | None
    ready: str | None
    shape: Mapping[str, Any]
    answers: tuple[Path, ...] = ()

    @property
    def mark(self) -> str:
        """Changes with every setting that decides what it knows."""
        # Not the defaults, so that a teacher older than a setting keeps its mark.
        values = self.settings.chosen() if self.settings else {"ready": self.ready, **self.shape}
        if self.answers:
            values = {"answers": list(map(str, self.answers))}
        values = {key: v for key, v in values.items() if key not in artifacts.WITHOUT_EFFECT}
        return artifacts.fingerprint(values)


@dataclasses.dataclass(frozen=True)
class ArmPlan:
    """One student of one seed on one data set.

    Attributes:
        dataset: Name of the data set in the study.
        name: Student and teachers in one word, or the name the file gives.
        student: Name of the student in the study.
        teachers: Those it learns from, in the order of the file; none for a control.
        mixing: `Mixing` of several teachers.
        start: The teacher whose token table and tokenizer a student by size word starts from:
            the data set's first, so that all arms of a student start alike.
        path: Its run folder.
        config: `DistillConfig` of its training.
    """

    dataset: str
    name: str
    student: str
    teachers: tuple[str, ...]
    mixing: Mixing
    start: str
    path: Path
    config: DistillConfig


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """A study, read and checked.

    Attributes:
        name: The study's name.
        path: The study's folder.
        content: The TOML file's tables.
        terms: `Terms`.
        teachers: By data set, in the order of the file.
        arms: Controls before their students, seed after seed.
        published: Figures of others.
    """

    name: str
    path: Path
    content: Mapping[str, Any]
    terms: Terms
    teachers: tuple[TeacherPlan, ...]
    arms: tuple[ArmPlan, ...]
    published: tuple[Published, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets in the order of the file."""
        return tuple(dict.fromkeys(teacher.dataset for teacher in self.teachers))

    @property
    def items(self) -> tuple[TeacherPlan | ArmPlan, ...]:
        """Teachers, then arms."""
        return *self.teachers, *self.arms

    def of(self, dataset: str) -> "StudyPlan":
        """The part of one data set."""
        return dataclasses.replace(
            self,
            teachers=tuple(item for item in self.teachers if item.dataset == dataset),
            arms=tuple(item for item in self.arms if item.dataset == dataset),
            published=tuple(item for item in self.published if item.dataset == dataset),
        )

    def seeds_of(self) -> dict[str, list[ArmPlan]]:
        """The arms of one data set by name, each with its seeds in order."""
        found: dict[str, list[ArmPlan]] = {}
        for arm in self.arms:
            found.setdefault(arm.name, []).append(arm)
        return found

    def write(self) -> None:
        """Keeps the form in the study's folder, for `tfkd report`.

        Raises:
            ArtifactError: The folder holds other files than a study's.
        """
        kept = artifacts.read_json(self.path / PLAN) if (self.path / PLAN).is_file() else None
        is_ours = isinstance(kept, dict) and kept.keys() == {"name", "content"}
        if not is_ours and self.path.exists() and any(self.path.iterdir()):
            raise ArtifactError(
                f"Expected a new or empty folder for the study, or its own. Received: {self.path}, "
                "which holds other files. Give another --output-dir."
            )
        artifacts.write_record(self.path / PLAN, {"name": self.name, "content": self.content})


@dataclasses.dataclass(frozen=True, repr=False)
class PlanResult(Shown):
    """Plan of a study, with the state of each teacher and arm."""

    plan: StudyPlan

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {"study": self.plan.name, "path": str(self.plan.path), "steps": self.steps()}

    def steps(self) -> list[dict[str, str]]:
        """Every teacher and arm: data set, what it is, folder, state."""
        made = [(item.dataset, f"teacher {item.name}", item.path) for item in self.plan.teachers]
        made += [
            (arm.dataset, f"{arm.name}, seed {arm.config.seed}", arm.path) for arm in self.plan.arms
        ]
        return [
            {"dataset": dataset, "step": step, "folder": path.name, "state": state(path)}
            for name in self.plan.datasets
            for dataset, step, path in made
            if dataset == name
        ]

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        steps = self.steps()
        titles = {"dataset": "Data set", "step": "Step", "folder": "Folder", "state": "State"}
        table = Table(
            [words(title, [step[key] for step in steps]) for key, title in titles.items()]
        )
        done = sum(step["state"] == "done" for step in steps)
        return [table, f"{done} of {len(steps)} done in {self.plan.path}"]


def state(path: Path) -> str:
    """State of a teacher or arm: "done", "begun" or "to do"."""
    run = RunFolder(path)
    if run.is_finished:
        return "done"
    return "begun" if run.is_run else "to do"
