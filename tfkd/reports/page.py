"""A report as one HTML page that needs nothing beside it, and the same in Markdown."""

import dataclasses
import importlib.resources
from collections.abc import Sequence
from typing import Any

from tfkd.evaluation.table import Table
from tfkd.reports.plots import Picture

TEMPLATES = importlib.resources.files("tfkd.reports")


@dataclasses.dataclass(frozen=True)
class Code:
    """Lines that stay as they are, such as a command.

    Attributes:
        text: String.
        language: String. What they are written in.
    """

    text: str
    language: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what is below it; on the page it is folded.

    Attributes:
        title: String.
        parts: Sentences, `Table`s and `Code`.
    """

    title: str
    parts: Sequence[str | Table | Code]


@dataclasses.dataclass(frozen=True)
class Browser:
    """Test texts to search, sort and filter.

    Attributes:
        names: Strings. Titles of the columns.
        rows: Values of each row, in the order of the columns.
        filters: Title of a choice of rows to their places in `rows`, in the order to read them.
        note: String. What was left out, and where labels are doubted how.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    filters: Sequence[tuple[str, Sequence[int]]]
    note: str


@dataclasses.dataclass(frozen=True)
class Page:
    """What a report says, however it is shown.

    Attributes:
        title: String.
        lead: String. What came out.
        notes: Strings. What to know beside it.
        table: `Table` of few columns.
        table_note: String. How to read it.
        pictures: `Picture`s.
        sections: `Section`s.
        browser: `Browser`, or None.
    """

    title: str
    lead: str
    notes: Sequence[str]
    table: Table
    table_note: str
    pictures: Sequence[Picture] = ()
    sections: Sequence[Section] = ()
    browser: Browser | None = None

    def html(self) -> str:
        """The page: it opens from a disk, asks for nothing, and shows texts as they are."""
        from jinja2 import Environment, StrictUndefined

        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        template, style, script = (
            TEMPLATES.joinpath(f"page.{end}").read_text(encoding="utf-8")
            for end in ("html", "css", "js")
        )
        return environment.from_string(template).render(
            page=self,
            style=style,
            script=script,
            is_table=lambda part: isinstance(part, Table),
            is_code=lambda part: isinstance(part, Code),
            browser=self.browser and dataclasses.asdict(self.browser),
        )

    def markdown(self) -> str:
        """Its words and tables; pictures and texts are on the page alone."""
        parts = [f"# {self.title}", self.lead, *self.notes, self.table.markdown(), self.table_note]
        for section in self.sections:
            parts += [f"## {section.title}", *map(_markdown, section.parts)]
        return "\n\n".join(filter(None, parts)) + "\n"


def _markdown(part: str | Table | Code) -> str:
    if isinstance(part, Code):
        return f"```{part.language}\n{part.text}\n```"
    return part if isinstance(part, str) else part.markdown()
