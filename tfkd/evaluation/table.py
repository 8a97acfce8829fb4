"""Every table of tfkd, on the console and in Markdown: columns of words and of figures.

A result gives its columns; how they are drawn is decided here alone. A cell is shown as it is,
whatever Markdown or rich would make of it.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table as ConsoleTable
from rich.text import Text

MISSING = "-"
# Narrower columns of words are harder to read than a line the console breaks.
WRAPPED_WIDTH = 24
# No table is as wide.
WIDEST = 10_000


@dataclasses.dataclass(frozen=True)
class Column:
    """A heading and the cells below it; `words` and `figures` make one.

    Attributes:
        title: The heading.
        cells: One for each row.
        is_number: Whether the cells stand to the right, as figures do.
        wraps: Whether a narrow console may wrap the cells; others stay on one line.
    """

    title: str
    cells: tuple[str, ...]
    is_number: bool = False
    wraps: bool = False


def words(title: str, values: Iterable[object], wraps: bool = False) -> Column:
    """A column of names or sentences, to the left.

    Example:
    >>> words("Seed", [0, 1]).cells
    ('0', '1')
    """
    return Column(title, tuple(map(str, values)), wraps=wraps)


def figures(title: str, values: Iterable[object], template: str = "{}") -> Column:
    """A column of figures, to the right; None is shown as "-".

    Args:
        title: The heading.
        values: One for each row.
        template: Format of a value, for `str.format`.

    Example:
    >>> figures("Size, MB", [4.6, None], "{:.2f}").cells
    ('4.60', '-')
    """
    cells = (MISSING if value is None else template.format(value) for value in values)
    return Column(title, tuple(cells), is_number=True)


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of equal length, ready to be shown.

    `rich.console.Console.print` draws it. Print it with `soft_wrap=True`: where it is wider than
    the console its lines are broken there, and a file gets them whole.

    Attributes:
        columns: `Column`s from left to right.

    Example:
    >>> table = Table([words("File", ["keras"]), figures("Size, MB", [17.65], "{:.2f}")])
    >>> print(table.markdown())
    | File | Size, MB |
    | :--- | ---: |
    | keras | 17.65 |
    """

    columns: Sequence[Column]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells row by row, without the headings."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    def without_empty(self, *kept: str) -> "Table":
        """The same without columns of figures that hold none, but for those of the titles kept."""
        return Table(
            [
                column
                for column in self.columns
                if not column.is_number or column.title in kept or set(column.cells) - {MISSING}
            ]
        )

    def markdown(self) -> str:
        """The table in Markdown, without a line end after the last row."""
        titles = [column.title for column in self.columns]
        rule = ["---:" if column.is_number else ":---" for column in self.columns]
        lines = ([cell.replace("|", "\\|") for cell in line] for line in (titles, rule, *self.rows))
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = self._drawn()
        # On a narrower console rich would cut cells and drop columns.
        least = Measurement.get(console, options.update(width=WIDEST), drawn).minimum
        yield from console.render(drawn, options.update(width=max(least, options.max_width)))

    def _drawn(self) -> ConsoleTable:
        drawn = ConsoleTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for column in self.columns:
            width = max(Text(cell).cell_len for cell in (column.title, *column.cells))
            drawn.add_column(
                Text(column.title),
                justify="right" if column.is_number else "left",
                no_wrap=not column.wraps,
                min_width=min(width, WRAPPED_WIDTH) if column.wraps else width,
            )
        for row in self.rows:
            drawn.add_row(*map(Text, row))
        return drawn
