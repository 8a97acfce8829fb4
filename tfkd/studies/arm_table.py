"""The tables [[arms]] of a study's TOML file: which student learns from whom, and how weighed."""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tfkd.config.fields import setting
from tfkd.distillation.mixing import Mixing
from tfkd.errors import ConfigError
from tfkd.studies.plan import CONTROL

# What a folder may be called.
NAME = r"\w[\w.-]*"
OF_EACH_TEACHER = ("teachers", "weights", "temperatures")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmForm(Mixing):
    """One table: a student, its teachers and their `Mixing`."""

    student: str = setting(dataclasses.MISSING, "Name of a student of the study.")
    teachers: tuple[str, ...] = setting((), "Names of its teachers; none: the control alone.")
    name: str | None = setting(None, "Stands after the student's name in place of the teachers'.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("weights", "temperatures"):
            values = getattr(self, key)
            if values and len(values) != len(self.teachers):
                raise ConfigError(
                    f"Expected one of `{key}` for each of {len(self.teachers)} teachers of an arm. "
                    f"Received: {key}={list(values)}."
                )
        for key in ("weights", "weighting", "average"):
            if getattr(self, key) and len(self.teachers) < 2:
                raise ConfigError(
                    f"Expected several `teachers` in an arm with `{key}`. Received: "
                    f"teachers={list(self.teachers)}."
                )
        if len(set(self.teachers)) < len(self.teachers):
            raise ConfigError(
                f"Expected different `teachers` in an arm. Received: {list(self.teachers)}."
            )
        if self.name is not None and (
            not self.teachers or self.name == CONTROL or not re.fullmatch(NAME, self.name)
        ):
            raise ConfigError(
                "Expected the `name` of an arm with teachers to be letters, digits, `_`, `.` and "
                f"`-`, and not {CONTROL}. Received: name={self.name!r}, "
                f"teachers={list(self.teachers)}."
            )

    @property
    def arm_name(self) -> str:
        """Student and teachers in one word, or student and `name`."""
        return f"{self.student}-{self.name or '+'.join(self.teachers) or CONTROL}"

    @property
    def mixing(self) -> Mixing:
        """Weighing of the teachers."""
        return Mixing(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(Mixing)}
        )

    def in_order(self, teachers: Sequence[str]) -> "ArmForm":
        """The same arm with its teachers in the order of the study's, whatever the table's was."""
        order = sorted(
            range(len(self.teachers)), key=lambda place: teachers.index(self.teachers[place])
        )
        return self.replace(
            **{
                key: tuple(getattr(self, key)[place] for place in order)
                for key in OF_EACH_TEACHER
                if getattr(self, key)
            }
        )


def arm_forms(content: Mapping[str, Any], name: str) -> list[ArmForm]:
    """The arms of a study, those of a student together and its control first.

    Args:
        content: Mapping. What the TOML file holds.
        name: String. Name of the study.

    Raises:
        ConfigError: A table names no student or teacher of the study, holds an unknown setting,
            or one that does not fit its teachers.
    """
    students, teachers = list(content["students"]), list(content["teachers"])
    asked = content.get("arms") or [
        {"student": student, "teachers": [teacher]}
        for student, teacher in itertools.product(students, teachers)
    ]
    forms = []
    for table in asked:
        form = ArmForm.from_mapping(table, f"[[arms]] of {name}")
        _check_known("student", [form.student], students, name)
        _check_known("teachers", form.teachers, teachers, name)
        forms.append(form.in_order(teachers))
    chosen = [student for student in students if any(form.student == student for form in forms)]
    return [
        form
        for student in chosen
        for form in (
            ArmForm(student=student),
            *(form for form in forms if form.student == student and form.teachers),
        )
    ]


def _check_known(role: str, names: Sequence[str], known: Sequence[str], study: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"Expected `{role}` of an arm in {study} to be one of {', '.join(known)}. "
                f"Received: {name!r}."
            )
