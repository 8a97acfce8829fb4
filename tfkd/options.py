"""Options of the command line, made from the settings of a verb.

Every field of the verb's dataclass becomes an option, with the field's help text, default and
limits, so a setting is declared once. Options have no default of their own: what the user did not
give stays open for the TOML file, and after that for the dataclass.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tfkd.config.fields import POSITIONAL, Config, option
from tfkd.config.verbs import VERBS, read_toml

HEADINGS = (Config.heading, "Data", "Teacher", "Student", "Model", "Training")
CLICK_TYPES = {
    str: click.STRING,
    int: click.INT,
    float: click.FLOAT,
    Path: click.Path(path_type=Path),
}


class VerbCommand(click.Command):
    """A verb. Of many options those that matter first stand first in its help, then headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options under their headings."""
        config_class = VERBS.get(self.name or "", Config)
        records: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        places = {name: place for place, name in enumerate(config_class.first)}
        options = [item for item in self.get_params(ctx) if isinstance(item, click.Option)]
        for parameter in sorted(options, key=lambda item: places.get(item.name or "", len(places))):
            record = parameter.get_help_record(ctx)
            if record is not None:
                heading = _heading(config_class, parameter.name or "")
                records.setdefault(heading, []).append(record)
        for heading, rows in records.items():
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def _heading(config_class: type[Config], name: str) -> str:
    """The heading of an option: that of the class which declares the setting first."""
    if not config_class.first or name in config_class.first:
        return Config.heading
    for declares in reversed(config_class.__mro__):
        if issubclass(declares, Config) and name in declares.__dict__.get("__annotations__", ()):
            return declares.heading
    return Config.heading


def parameters(verb: str) -> list[click.Parameter]:
    """The arguments and options of a verb, `--config` and `--json` last.

    Example:

    >>> [parameter.name for parameter in parameters("predict")]
    ['run', 'recipe', 'config_file', 'as_json']
    """
    config_class = VERBS[verb]
    hints = typing.get_type_hints(config_class)
    fields = dataclasses.fields(config_class)
    made = [_parameter(field, hints[field.name]) for field in fields]
    made += [
        click.Option([option(old, False), old], type=CLICK_TYPES[_plain_type(hint)], hidden=True)
        for field, hint in ((field, hints[field.name]) for field in fields)
        if (old := field.metadata["old_name"])
    ]
    from_file = click.Option(
        ["--config", "config_file"],
        type=CLICK_TYPES[Path],
        metavar="FILE.toml",
        help=f"Read settings from the file's table [{verb}]; options given here win.",
    )
    return [*made, from_file, json_option()]


def json_option() -> click.Option:
    """The option `--json`; its parameter is called `as_json`."""
    return click.Option(["--json", "as_json"], is_flag=True, help="Answer in JSON.")


def resolve(verb: str, config_file: Path | None, given: Mapping[str, object]) -> Config:
    """The settings of a verb: default, then the TOML file, then the command line.

    Raises:
        ConfigError: The file cannot be read, or a setting is unknown or out of range.
        click.UsageError: A setting without a default is given nowhere.
    """
    config_class = VERBS[verb]
    values = config_class.renamed(read_toml(config_file, verb) if config_file else {}, verb)
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    values |= config_class.renamed(chosen, "the command")
    for field in dataclasses.fields(config_class):
        if field.default is dataclasses.MISSING and field.name not in values:
            raise click.UsageError(
                f"Expected {_shown(config_class, field)}. Received none. See `tfkd {verb} --help`."
            )
    return config_class.from_mapping(values, str(config_file) if config_file else "the command")


def _parameter(field: dataclasses.Field, hint: Any) -> click.Parameter:
    kind = _plain_type(hint)
    is_many = typing.get_origin(kind) is tuple
    if is_many:
        kind = typing.get_args(kind)[0]
    if field.name in POSITIONAL:
        return click.Argument(
            [field.name],
            type=CLICK_TYPES[kind],
            # A TOML file may give it; `resolve` misses it otherwise.
            required=False,
            nargs=-1 if is_many else 1,
        )
    choices = field.metadata["choices"]
    return click.Option(
        _declarations(field.name, kind, is_many),
        type=None if kind is bool else CLICK_TYPES[kind],
        default=None,
        multiple=is_many,
        metavar=f"[{'|'.join(choices)}]" if choices else None,
        help=_help(field),
    )


def _plain_type(hint: Any) -> Any:
    """The type without `| None`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


def _declarations(name: str, kind: type, is_many: bool) -> list[str]:
    if kind is bool:
        return [f"{option(name, False)}/{option(f'no_{name}', False)}", name]
    return [option(name, is_many), name]


def _shown(config_class: type[Config], field: dataclasses.Field) -> str:
    """A setting as the user writes it."""
    if field.name in POSITIONAL:
        return field.name.upper()
    parameter = _parameter(field, typing.get_type_hints(config_class)[field.name])
    return parameter.opts[0]


def _help(field: dataclasses.Field) -> str:
    """The field's help text, then its default and limits."""
    notes = []
    if field.default is dataclasses.MISSING:
        notes.append("required")
    elif isinstance(field.default, bool):
        dashed = field.name.replace("_", "-")
        notes.append(f"default: {dashed if field.default else f'no-{dashed}'}")
    elif isinstance(field.default, tuple):
        if field.default:
            notes.append(f"default: {', '.join(str(item) for item in field.default)}")
    elif field.default is not None:
        notes.append(f"default: {field.default}")
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    if minimum is not None or maximum is not None:
        low = "" if minimum is None else f"{minimum:g}<="
        high = "" if maximum is None else f"<={maximum:g}"
        notes.append(f"{low}x{high}")
    text = field.metadata["help"]
    return f"{text}  [{'; '.join(notes)}]" if notes else text
