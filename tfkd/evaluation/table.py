"""Every table of tfkd, on the console and in Markdown: columns of words and of figures.

A result gives its columns; how they are drawn is decided here alone. A cell is shown as it is,
whatever Markdown or rich would make of it, and whole, however narrow the terminal.
"""

import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, NewLine, RenderResult
from rich.measure import Measurement
from rich.table import Table as ConsoleTable
from rich.text import Text

MISSING = "-"
# Narrower columns of words are harder to read than a line the console breaks.
WRAPPED_WIDTH = 24
# No table is as wide.
WIDEST = 10_000
# Wide enough for every table when no terminal says how wide it is.
PIPED_WIDTH = 200
_HTML = '<pre style="line-height: normal; overflow-x: auto">{code}</pre>'


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

    `rich.console.Console.print` draws it. A terminal that is too narrow gets it in parts, one below
    the other, each with the names of the rows; one too narrow for that, row by row, a cell a line.
    Print it with `soft_wrap=True`: a file gets it whole, however wide.

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
        def least(table: Table) -> int:
            wide = options.update(width=WIDEST)
            return Measurement.get(console, wide, table._drawn()).minimum

        drawn = [self._drawn()]
        if console.is_terminal and least(self) > options.max_width:
            parts = self._parts(lambda table: least(table) <= options.max_width)
            drawn = [part._drawn() for part in parts] or self._blocks(options.max_width)
        for number, part in enumerate(drawn):
            if number:
                yield NewLine()
            # On a narrower console rich would cut cells and drop columns.
            width = Measurement.get(console, options.update(width=WIDEST), part).minimum
            yield from console.render(part, options.update(width=max(width, options.max_width)))

    def _parts(self, fits: Callable[["Table"], bool]) -> list["Table"]:
        """Tables of some columns each, all with those that name the rows.

        None if one is too wide, or if blocks take fewer lines.

        Args:
            fits: Whether a table is narrow enough.
        """
        are_numbers = [column.is_number for column in self.columns]
        named = max(are_numbers.index(True) if True in are_numbers else 1, 1)
        parts: list[Table] = []
        for column in self.columns[named:]:
            wider = Table([*(parts[-1].columns if parts else self.columns[:named]), column])
            if parts and not fits(wider):
                parts.append(Table([*self.columns[:named], column]))
            else:
                parts[-1:] = [wider]
        num_rows = len(self.rows)
        is_shorter = len(parts) * (num_rows + 3) <= num_rows * (len(self.columns) + 1)
        return parts if is_shorter and all(map(fits, parts)) else []

    def _blocks(self, width: int) -> list[ConsoleTable]:
        """A table for each row, with the titles to the left and the cells to the right."""
        titles = [column.title for column in self.columns]
        left = max(Text(title).cell_len for title in titles)
        figures = [cell for column in self.columns if column.is_number for cell in column.cells]
        least = max((Text(cell).cell_len for cell in figures), default=1)
        blocks = []
        for row in self.rows:
            block = ConsoleTable.grid(padding=(0, 2, 0, 0))
            block.add_column(no_wrap=True, min_width=left)
            right = max(width - left - 2, least, 1)
            block.add_column(overflow="fold", min_width=right, max_width=right)
            for title, cell in zip(titles, row, strict=True):
                block.add_row(Text(title, style="bold"), Text(cell))
            blocks.append(block)
        return blocks

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


class Shown:
    """A result that Python and notebooks show as its command does, not as a line of its fields."""

    def render(self) -> Sequence[Table | str]:
        """Tables and lines, in the order they are shown."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self._drawn().export_text().rstrip()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self._drawn().export_html(inline_styles=True, code_format=_HTML)

    def _drawn(self) -> Console:
        console = Console(
            file=io.StringIO(),
            record=True,
            width=PIPED_WIDTH,
            highlight=False,
            markup=False,
            emoji=False,
        )
        for item in self.render():
            console.print(item, soft_wrap=True)
        return console
