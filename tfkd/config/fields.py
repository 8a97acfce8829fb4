"""Declaration, checks and spelling of a setting; `tfkd.config` holds the settings themselves.

Construction checks names, types and ranges, so a bad setting fails before any slow step.
"""

import dataclasses
import difflib
import shlex
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from tfkd.errors import ConfigError

# Arguments of the command line, not options.
POSITIONAL = ("run", "runs", "study", "folders", "data", "folder")
# Options of several values that are named by what one of them holds many of.
PLURAL = ("teacher_answers",)
# Names that a message lists: all, or of more the first ones.
MOST_LISTED, FIRST_LISTED = 20, 10


def setting(
    default: object,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] | None = None,
    old_name: str | None = None,
) -> Any:
    """A dataclass field with its own help text and limits (both ends included), and a former name.

    A former name is still an option and a TOML key.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    metadata["old_name"] = old_name
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def option(name: str, is_many: bool) -> str:
    """A setting as an option; one that takes several values is given once for each of them.

    Example:

    >>> option("sequence_length", False), option("recipes", True)
    ('--sequence-length', '--recipe')
    """
    dashed = name.replace("_", "-")
    return f"--{dashed.removesuffix('s') if is_many and name not in PLURAL else dashed}"


def nearest(name: str, known: Sequence[str], command: str = "") -> str:
    """A sentence that offers the known name nearest to `name`, or lists them.

    Args:
        name: String.
        known: Names.
        command: String. What lists all of them, where they may be many.
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean `{close[0]}`?"
    if len(known) <= MOST_LISTED:
        return f"Known: {', '.join(known)}."
    more = f"{len(known) - FIRST_LISTED} more" + (f", which `{command}` lists" if command else "")
    return f"Known: {', '.join(known[:FIRST_LISTED])} and {more}."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all settings: checks itself, reads TOML, turns into plain values.

    Attributes:
        heading: Where the settings that a class declares stand in `--help`.
        first: Those of a verb with many that come before all headings.
    """

    heading: ClassVar[str] = "Options"
    first: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = _converted(field.name, getattr(self, field.name), hints[field.name])
            _check_limits(field, value)
            object.__setattr__(self, field.name, value)

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], source: str = "the settings") -> Self:
        """Settings from a mapping; an unknown key is refused with the nearest known one.

        Raises:
            ConfigError: For an unknown key, a wrong type or a value out of range.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"Expected a table of settings in {source}. Received: {values!r:.100}."
            )
        values = cls.renamed(values, source)
        known = [field.name for field in dataclasses.fields(cls)]
        # Other classes than those of verbs have few.
        listed_by = f"tfkd {cls.__name__.removesuffix('Config').lower()} --help"
        for key in values:
            if key not in known:
                raise ConfigError(
                    f"Expected only known settings in {source}. Received: `{key[:100]}`. "
                    f"{nearest(key[:100], known, listed_by)}"
                )
        missing = [
            field.name
            for field in dataclasses.fields(cls)
            if field.default is dataclasses.MISSING and field.name not in values
        ]
        if missing:
            is_many = typing.get_origin(typing.get_type_hints(cls)[missing[0]]) is tuple
            raise ConfigError(
                f"Expected `{missing[0]}` to be given. Received nothing. Add "
                f"{option(missing[0], is_many)} to the command or `{missing[0]}` to the TOML table."
            )
        return cls(**values)

    @classmethod
    def renamed(cls, values: Mapping[str, Any], source: str) -> dict[str, Any]:
        """The values by the names that settings have now.

        Raises:
            ConfigError: One is given by its old name and its new one.
        """
        found = dict(values)
        for field in dataclasses.fields(cls):
            old = field.metadata["old_name"]
            if old in found and field.name in found:
                raise ConfigError(
                    f"Expected `{field.name}` once in {source}. Received: also `{old}`, its old "
                    "name. Leave that out."
                )
            if old in found:
                found[field.name] = found.pop(old)
        return found

    def to_dict(self) -> dict[str, object]:
        """The settings as plain JSON values; `from_mapping(to_dict())` gives them back."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def check_values(cls, values: Mapping[str, object]) -> None:
        """Checks types and ranges of those settings that are there, and of no other key.

        Raises:
            ConfigError: A type is wrong or a value out of range.
        """
        hints = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if field.name in values:
                value = _converted(field.name, values[field.name], hints[field.name])
                _check_limits(field, value)

    @classmethod
    def defaults(cls) -> dict[str, object]:
        """The default of every setting that has one, as a plain JSON value."""
        return {
            field.name: _plain(field.default)
            for field in dataclasses.fields(cls)
            if field.default is not dataclasses.MISSING
        }

    def chosen(self) -> dict[str, object]:
        """The settings that are not at their default, as plain JSON values."""
        defaults = self.defaults()
        return {
            name: value
            for name, value in self.to_dict().items()
            if name not in defaults or value != defaults[name]
        }

    def command_line(self, verb: str) -> str:
        """The command that gives these settings; only those unlike the defaults are spelled out.

        Where data and results lie, `quiet` and `overwrite` are left out: they change no result.
        """
        left_out = ("data_dir", "output_dir", "quiet", "overwrite")
        parts = [f"python -m tfkd {verb}"]
        for name, value in self.chosen().items():
            if name in left_out:
                continue
            if name in POSITIONAL:
                items = value if isinstance(value, list) else [value]
                parts += [shlex.quote(str(item)) for item in items]
            elif isinstance(value, bool):
                parts.append(option(name if value else f"no_{name}", False))
            elif isinstance(value, list):
                parts += [f"{option(name, True)} {shlex.quote(str(item))}" for item in value]
            else:
                parts.append(f"{option(name, False)} {shlex.quote(str(value))}")
        return " ".join(parts)

    def replace(self, **changes: object) -> Self:
        """A copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)


def _converted(name: str, value: object, hint: Any) -> object:
    """The value as the field's type: int to float, str to Path and back, list to tuple; no more."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    _check_sound(name, value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is str and isinstance(value, Path):
        return str(value)
    if typing.get_origin(hint) is tuple:
        items = [value] if isinstance(value, str | Path) else value
        if isinstance(items, (list, tuple)):
            kind = typing.get_args(hint)[0]
            return tuple(_converted(name, item, kind) for item in items)
    if typing.get_origin(hint) is None and isinstance(value, hint):
        if not (hint in (int, float) and isinstance(value, bool)):
            return value
    expected = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
    raise ConfigError(
        f"Expected `{name}` to be {expected.get(hint, str(hint))}. Received: {name}={value!r:.100}."
    )


def _check_sound(name: str, value: object) -> None:
    """Refuses what is of the right type, but nothing can be done with."""
    if isinstance(value, int) and value.bit_length() > 63:
        raise ConfigError(
            f"Expected `{name}` to be a number of at most 63 bits. Received: "
            f"{value.bit_length()} bits."
        )
    if isinstance(value, (str, Path)) and "\0" in str(value):
        raise ConfigError(
            f"Expected `{name}` to be text. Received: a zero character in {str(value)!r:.100}."
        )


def _check_limits(field: dataclasses.Field, value: Any) -> None:
    minimum, maximum = field.metadata.get("minimum"), field.metadata.get("maximum")
    choices = field.metadata.get("choices")
    if value is None:
        return
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, float) and item != item:
            raise ConfigError(
                f"Expected `{field.name}` to be a number. Received: {field.name}=nan."
            )
        if (minimum is not None and item < minimum) or (maximum is not None and item > maximum):
            low = "-inf" if minimum is None else minimum
            high = "inf" if maximum is None else maximum
            raise ConfigError(
                f"Expected `{field.name}` in [{low}, {high}]. Received: {field.name}={item}."
            )
        if choices and item not in choices:
            raise ConfigError(
                f"Expected `{field.name}` to be one of {', '.join(choices)}. "
                f"Received: {field.name}={item!r:.100}. {nearest(str(item)[:100], choices)}"
            )


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
