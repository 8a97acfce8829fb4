"""The TOML form of a study, read into its plan.

seeds = [0, 1, 2]
recipes = ["dynamic_int8"]           files of each distilled student, beside Keras' own
[settings]                           of `tfkd distill`, for every student
[teachers.NAME]                      of `tfkd finetune`, with `model`; or `ready`, a classifier; or
                                     `answers`, files as --teacher-answers has them
[students.NAME]                      of `tfkd distill`; `student` if it is not NAME
[datasets.NAME]                      of `tfkd distill`; `dataset` if it is not NAME
[datasets.NAME.teachers.NAME]        the same on this data set alone; so `students.NAME`
[[arms]]                             `student`, `teachers`, how they are weighed, `name`; default:
                                     each student x each teacher
[[published]]                        `dataset`, `arm`, `value`, `source`: figures of others

The later table wins: settings, data set, student, student on the data set.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfkd import seals
from tfkd.config.data import DataConfig
from tfkd.config.fields import nearest
from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.config.verbs import StudyConfig, toml_content
from tfkd.errors import ArtifactError, ConfigError
from tfkd.studies.arm_table import NAME, ArmForm, arm_forms
from tfkd.studies.plan import (
    PLAN,
    ArmPlan,
    Published,
    StudyPlan,
    TeacherPlan,
    Terms,
)

RUNS = Path("saved_models")
PLAN_REMEDY = "Start `tfkd study` again."
TABLES = ("settings", "teachers", "students", "datasets", "arms", "published")
# Decided by the study itself.
TAKEN = (
    *("teacher", "teacher_answers", "control", "recipes", "timing", "folds", "seed"),
    *("quiet", "overwrite", "output_dir", "data_dir", "max_mb", "max_ms", "strategy", "ray"),
)
DATA_SETTINGS = tuple(
    field.name for field in dataclasses.fields(DataConfig) if field.name not in TAKEN
)


def read_plan(config: StudyConfig) -> StudyPlan:
    """The plan of a TOML file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or does not describe a study.
    """
    content = toml_content(config.study)
    name = config.study.stem
    path = config.output_dir or RUNS / name
    return make_plan(name, path, content, {"data_dir": config.data_dir, "quiet": config.quiet})


def kept_plan(path: Path) -> StudyPlan:
    """The plan of a study's folder.

    Raises:
        ArtifactError: The folder was not written by `tfkd study`.
    """
    kept = seals.read_record(path / PLAN)
    name, content = kept.get("name"), kept.get("content")
    if not (isinstance(name, str) and isinstance(content, dict)):
        raise ArtifactError(seals.damage(path / PLAN, "no plan of a study", PLAN_REMEDY))
    return make_plan(name, path, content, {})


def make_plan(
    name: str, path: Path, content: Mapping[str, Any], session: Mapping[str, Any]
) -> StudyPlan:
    """The plan of a study's tables.

    Args:
        name: String. Name of the study.
        path: Path. Folder of the study.
        content: Mapping. What the TOML file holds.
        session: Mapping. Settings that change no result: `data_dir`, `quiet`.

    Raises:
        ConfigError: A table or setting is unknown, missing or out of range.
    """
    known = [*TABLES, *(field.name for field in dataclasses.fields(Terms))]
    for key in content:
        if key not in known:
            raise ConfigError(
                f"Expected the tables of a study in {name}. Received: `{key}`. "
                f"{nearest(key, known)}"
            )
    for key in ("teachers", "students", "datasets"):
        if not content.get(key):
            raise ConfigError(f"Expected at least one table [{key}.NAME] in {name}. Received none.")
    _check_shapes(content, name)
    terms = Terms.from_mapping({k: v for k, v in content.items() if k not in TABLES}, name)
    _check_tables(content, name)
    _check_special(content, name)
    form = _Form(path, content, terms, session)
    teachers = {
        dataset: {key: form.teacher(dataset, key) for key in form.teachers}
        for dataset in form.datasets
    }
    forms = arm_forms(content, name)
    arms = tuple(
        form.arm(dataset, arm, seed, teachers[dataset])
        for dataset in form.datasets
        for seed in terms.seeds
        for arm in forms
    )
    published = tuple(Published.from_mapping(v, name) for v in content.get("published", ()))
    every = tuple(item for made in teachers.values() for item in made.values())
    plan = StudyPlan(name, path, content, terms, every, arms, published)
    _check_names(plan)
    _check_published(plan)
    return plan


@dataclasses.dataclass(frozen=True)
class _Form:
    """The tables of a study, asked for one teacher or arm at a time."""

    path: Path
    content: Mapping[str, Any]
    terms: Terms
    session: Mapping[str, Any]

    @property
    def datasets(self) -> list[str]:
        return list(self.content["datasets"])

    @property
    def teachers(self) -> list[str]:
        return list(self.content["teachers"])

    def teacher(self, dataset: str, name: str) -> TeacherPlan:
        given = self._settings(dataset)
        own = {**self.content["teachers"][name], **self._special(dataset, "teachers", name)}
        path = self.path / f"{dataset}-{name}"
        source = f"[teachers.{name}]"
        if "ready" in own:
            allowed = ("ready", "sequence_length", "pooling")
            for key in own:
                if key not in allowed:
                    raise ConfigError(
                        f"Expected only {', '.join(allowed)} in {source} of a ready teacher. "
                        f"Received: `{key}`."
                    )
            shape = {f"teacher_{key}": own[key] for key in allowed[1:] if key in own}
            return TeacherPlan(dataset, name, path, None, own["ready"], shape)
        if "answers" in own:
            config = DistillConfig.from_mapping(
                {"dataset": dataset, "teacher_answers": own.pop("answers")}, source
            )
            if own:
                raise ConfigError(
                    f"Expected `answers` alone in {source}. Received: also `{next(iter(own))}`."
                )
            return TeacherPlan(dataset, name, path, None, None, {}, config.teacher_answers)
        if "model" not in own:
            expected = "Expected `model`, `ready` or `answers`"
            raise ConfigError(f"{expected} in {source}. Received none of them.")
        shared = {key: given[key] for key in DATA_SETTINGS if key in given}
        settings = FinetuneConfig.from_mapping(
            {**shared, **own, **self.session, "output_dir": path}, source
        )
        return TeacherPlan(dataset, name, path, settings, None, {})

    def arm(
        self, dataset: str, form: ArmForm, seed: int, teachers: Mapping[str, TeacherPlan]
    ) -> ArmPlan:
        student, names = form.student, form.teachers
        given = {
            "student": student,
            **self._settings(dataset),
            **self.content["students"][student],
            **self._special(dataset, "students", student),
        }
        start = next(iter(teachers))
        made = [teachers[name] for name in names or (start,)]
        control: dict[str, Any] = {} if names else {"student_loss_weight": 1.0}
        if teachers[start].answers:
            # Nobody could answer them.
            control["augmented_copies"] = 0
        path = self.path / f"{dataset}-{form.arm_name}-seed{seed}"
        fixed = {
            "teacher": "+".join(item.path.name for item in made),
            "control": False,
            "recipes": self.terms.recipes if names else (),
            "seed": seed,
            "output_dir": path,
        }
        config = DistillConfig.from_mapping(
            {**given, **made[0].shape, **control, **fixed, **self.session}, f"[students.{student}]"
        )
        return ArmPlan(dataset, form.arm_name, student, names, form.mixing, start, path, config)

    def _settings(self, dataset: str) -> dict[str, Any]:
        own = {
            key: value
            for key, value in self.content["datasets"][dataset].items()
            if key not in ("teachers", "students")
        }
        return {"dataset": dataset, **self.content.get("settings", {}), **own}

    def _special(self, dataset: str, kind: str, name: str) -> Mapping[str, Any]:
        return self.content["datasets"][dataset].get(kind, {}).get(name, {})


def _check_shapes(content: Mapping[str, Any], name: str) -> None:
    """Refuses what is no table where one stands, or no list of tables."""
    tables = [("settings", content.get("settings", {}))]
    for kind in ("teachers", "students", "datasets"):
        tables.append((kind, content[kind]))
        tables += [(f"{kind}.{key}", table) for key, table in _items(content[kind])]
    for key, table in _items(content["datasets"]):
        for kind in ("teachers", "students"):
            special = dict(_items(table)).get(kind, {})
            tables.append((f"datasets.{key}.{kind}", special))
            tables += [(f"datasets.{key}.{kind}.{own}", value) for own, value in _items(special)]
    for kind in ("arms", "published"):
        listed = content.get(kind, [])
        if not isinstance(listed, list):
            raise ConfigError(f"Expected `{kind}` in {name} as tables. Write each as [[{kind}]].")
        tables += [(f"[{kind}]", table) for table in listed]
    for title, table in tables:
        if not isinstance(table, dict):
            raise ConfigError(
                f"Expected [{title}] in {name} to be a table. Received: {table!r:.100}."
            )


def _items(table: object) -> list[tuple[str, Any]]:
    return list(table.items()) if isinstance(table, dict) else []


def _check_tables(content: Mapping[str, Any], name: str) -> None:
    """Refuses settings the study decides itself, and names no folder can have."""
    tables: list[tuple[str, Mapping[str, Any]]] = [("settings", content.get("settings", {}))]
    for kind in ("teachers", "students", "datasets"):
        tables += [(f"{kind}.{key}", table) for key, table in content[kind].items()]
        for key in content[kind]:
            if not re.fullmatch(NAME, key):
                raise ConfigError(
                    f"Expected names of letters, digits, `_`, `.` and `-` in {name}. Received: "
                    f"[{kind}.{key!r}]. Give the data set or model inside the table."
                )
    for title, table in tables:
        for key in table:
            # A teacher has a seed of its own.
            if key in TAKEN and not (key == "seed" and title.startswith("teachers.")):
                raise ConfigError(
                    f"Expected [{title}] in {name} to leave `{key}` to the study. Received: "
                    f"{key}={table[key]!r}. Take it out."
                )


def _check_special(content: Mapping[str, Any], name: str) -> None:
    """Refuses settings for a teacher or student on one data set when there is no such one."""
    for dataset, table in content["datasets"].items():
        for kind in ("teachers", "students"):
            for key in table.get(kind, {}):
                if key not in content[kind]:
                    raise ConfigError(
                        f"Expected [datasets.{dataset}.{kind}.{key}] in {name} to belong to a "
                        f"table [{kind}.{key}]. There is none. "
                        f"{nearest(key, list(content[kind]))}"
                    )


def _check_names(plan: StudyPlan) -> None:
    """Refuses two models of one name, which would share a folder and a row of the table."""
    for dataset in plan.datasets:
        part = plan.of(dataset)
        names = [item.name for item in part.teachers]
        names += [arm.name for arm in part.arms if arm.config.seed == plan.terms.seeds[0]]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(
                    f"Expected a name of its own for every model in {plan.name}. Received: "
                    f"`{name}` twice. Give an arm another `name`."
                )


def _check_published(plan: StudyPlan) -> None:
    """Refuses a published figure that would stand beside nothing."""
    known = sorted({(item.dataset, item.name) for item in plan.items})
    for figure in plan.published:
        if (figure.dataset, figure.arm) not in known:
            names = [name for dataset, name in known if dataset == figure.dataset]
            raise ConfigError(
                "Expected every published figure beside a teacher or arm of the study. Received: "
                f"{figure.arm} on {figure.dataset}. {nearest(figure.arm, names)}"
            )
