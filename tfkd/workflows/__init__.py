"""The verbs: settings in, result out, one module each, named like the verb.

`tfkd/workflows/<verb>.py` holds `<verb>(config, progress) -> <Verb>Result`. A workflow joins the
parts below it, says what it does through `progress` and prints nothing: its result knows how it is
shown, and the command line shows it.
"""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType


class Result(Protocol):
    """Result of a verb: the same figures for programs and for people."""

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""

    def render(self) -> "list[RenderableType]":
        """Tables and lines, in the order they are shown."""
