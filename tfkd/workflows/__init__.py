"""The verbs: settings in, result out, one module each, named like the verb.

`tfkd/workflows/<verb>.py` holds `<verb>(config, progress) -> <Verb>Result`. A workflow joins the
parts below it, says what it does through `progress` and prints nothing: its result knows how it is
shown, and the command line shows it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tfkd.evaluation.table import Table


class Result(Protocol):
    """Result of a verb: the same figures for programs and for people."""

    def to_dict(self) -> Mapping[str, object]:
        """The result as plain JSON values."""

    def render(self) -> "Sequence[Table | str]":
        """Tables and lines, in the order they are shown."""
