"""A user's table with a model's answers behind its columns, from file to file."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfkd.data.columns import ColumnNames, find_texts
from tfkd.data.readers import format_of
from tfkd.data.streams import placed
from tfkd.data.table_rows import is_blank, texts_of_row
from tfkd.data.tables import Column, UserTable, plain
from tfkd.data.writers import LIST_OF, table_writer
from tfkd.errors import DatasetError
from tfkd.evaluation.table import Shown
from tfkd.models.predictions import SEPARATORS, Described, answer_columns, answer_names
from tfkd.progress import Progress
from tfkd.runs.answering import Answering

PREFIX = "predicted_"
# Types of the columns in Parquet.
TYPES = {"label": "string", "labels": f"{LIST_OF}string", "probabilities": f"{LIST_OF}double"}
Row = tuple[str, ...]


@dataclasses.dataclass(frozen=True, repr=False)
class ScoredFile(Shown):
    """What was written.

    Attributes:
        path: The file.
        source: The user's file.
        model: What answered, in words.
        num_rows: Rows of both.
        num_empty: Rows without a text, which have no answer.
        columns: Names of the columns that were added.
        renamed: Whether these have a prefix, because the file has columns of their names.
        seconds: Seconds of the scoring, reading and writing included.
    """

    path: Path
    source: Path
    model: str
    num_rows: int
    num_empty: int
    columns: tuple[str, ...]
    renamed: bool
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return dataclasses.asdict(self) | {"path": str(self.path), "source": str(self.source)}

    def render(self) -> list[str]:
        """Lines for the console."""
        speed = self.num_rows / max(self.seconds, 1e-9)
        why = f" ({self.source.name} has a column of such a name)" if self.renamed else ""
        lines = [
            f"{self.path}: {self.num_rows:,} rows answered by {self.model} in {self.seconds:.1f} s "
            f"({speed:,.0f} a second).",
            f"Added columns: {', '.join(self.columns)}{why}.",
        ]
        if self.num_empty:
            lines.append(f"Rows without a text, which have no answer: {self.num_empty:,}.")
        return lines


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table of which some columns are texts.

    Attributes:
        table: `UserTable`.
        positions: Integers. The text columns.
    """

    table: UserTable
    positions: tuple[int, ...]

    @classmethod
    def of(cls, path: Path, names: ColumnNames, num_texts: int) -> "TextTable":
        """That of a file.

        Raises:
            DatasetError: It cannot be read, or has no such columns.
        """
        table = UserTable.of(path)
        return cls(table, find_texts(path, table.names, names, num_texts))

    def chunks(self) -> Iterator[tuple[list[Column], list[Row | None]]]:
        """The columns of some rows, and their texts; None for a row that has none.

        Raises:
            DatasetError: For a bad row.
        """
        start = 0
        for columns in self.table.chunks():
            texts = zip(*(plain(columns[index]) for index in self.positions), strict=True)
            rows = []
            for row, values in enumerate(texts, start + 1):
                with placed(self.table.path, row):
                    rows.append(row_of(values))
            yield columns, rows
            start += len(rows)

    def count(self) -> tuple[int, int]:
        """All rows, and those without a text, so that a bad one is found before the first answer.

        Raises:
            DatasetError: A row is bad, or there is none.
        """
        num_rows = num_empty = 0
        for _, rows in self.chunks():
            num_rows += len(rows)
            num_empty += rows.count(None)
        if num_rows == 0:
            raise DatasetError(f"Expected rows in {self.table.path}. Received: a header only.")
        return num_rows, num_empty


def row_of(values: Sequence[Any]) -> Row | None:
    """The texts of a row, None where there is none; of a pair one may be empty.

    Raises:
        RowFault: One is no text.
    """
    texts = texts_of_row(values)
    return None if is_blank(texts) else tuple(texts)


def score_file(
    texts: TextTable, path: Path, answering: Answering, all_classes: bool, progress: Progress
) -> ScoredFile:
    """Writes a table with the answers of a model behind its columns.

    Raises:
        DatasetError: A row is bad, or a name is taken.
    """
    table, model = texts.table, answering.model
    added, renamed = added_columns(table, model, all_classes)
    progress.say(f"read and check {table.path}")
    num_rows, num_empty = texts.count()
    progress.say(f"score {num_rows:,} rows with {answering.name}{answering.note}")
    separator = _separator(path, model)
    started_at = time.monotonic()
    with table_writer(path, table, added) as write, progress.task("score", num_rows) as task:
        for columns, rows in texts.chunks():
            task.advance(rows.count(None))
            answers = answered(rows, answering, all_classes, task.advance)
            write([*columns, *(_joined(column, separator) for column in answers)])
    return ScoredFile(
        path=path,
        source=table.path,
        model=answering.name,
        num_rows=num_rows,
        num_empty=num_empty,
        columns=tuple(added),
        renamed=renamed,
        seconds=time.monotonic() - started_at,
    )


def answered(
    rows: Sequence[Row | None],
    answering: Answering,
    all_classes: bool,
    done: Callable[[int], object] = lambda count: None,
) -> list[list[Any]]:
    """Columns of a model's answers, with None in rows without a text.

    Args:
        rows: Texts of each row.
        answering: `Answering`.
        all_classes: Boolean. Also a column a class.
        done: Told how many more were answered.
    """
    given = [row for row in rows if row is not None]
    columns = answer_columns(answering.logits(given, done), answering.model, all_classes)
    left = map(iter, columns)
    return [[None if row is None else next(answers) for row in rows] for answers in left]


def _joined(column: Sequence[Any], separator: str | None) -> Sequence[Any]:
    """A column whose lists are one cell each, if there is something to stand between."""
    if separator is None:
        return column
    return [
        separator.join(map(str, answer)) if isinstance(answer, list) else answer
        for answer in column
    ]


def _separator(path: Path, model: Described) -> str | None:
    """What stands between the labels of a cell: a mark that no name has; None for a list."""
    if format_of(path) not in ("csv", "tsv"):
        return None
    names = "".join(model.label_names)
    return next((mark for mark in SEPARATORS if mark not in names), None)


def added_columns(
    table: UserTable, model: Described, all_classes: bool
) -> tuple[dict[str, str], bool]:
    """Names of the answers' columns with their types in Parquet, and whether they got a prefix.

    Where the table has a column of one of these names, all of them begin with `PREFIX`.

    Raises:
        DatasetError: It has one of those as well.
    """
    names = answer_names(model, all_classes)
    types = [TYPES.get(name, "double") for name in names]
    renamed = not set(names).isdisjoint(table.names)
    if renamed:
        names = tuple(f"{PREFIX}{name}" for name in names)
        twice = [name for name in names if name in table.names]
        if twice:
            raise DatasetError(
                f"Expected no column `{twice[0]}` in {table.path}, beside one of the same name "
                f"without `{PREFIX}`. Received both. Rename or drop one of them."
            )
    return dict(zip(names, types, strict=True)), renamed
