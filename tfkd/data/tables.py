"""A user's table in chunks of columns, whatever its format, with nothing of it lost.

Strings of CSV and TSV stay as they are, values of JSONL keep their types, columns of Parquet are
Arrow's own.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tfkd.data.parquet import arrow_values, open_parquet
from tfkd.data.readers import format_of, open_objects, open_table

# A chunk ends at either; so few long rows fill no memory.
CHUNK_ROWS, CHUNK_CHARACTERS = 4096, 2**24
# Values of a column, or an Arrow array.
Column: TypeAlias = Any


class Absent:
    """In a column of JSONL: this row's object has no such field."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


@dataclasses.dataclass(frozen=True)
class UserTable:
    """A file of `FORMATS`, read in chunks as often as it is asked for.

    Attributes:
        path: The file.
        names: Its columns; of JSONL those of all rows, in the order they come up.
        delimiter: Between the fields of CSV.
        schema: Of Parquet: its Arrow schema.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str = ","
    schema: Any = None

    @classmethod
    def of(cls, path: Path) -> "UserTable":
        """The table of a file.

        Raises:
            DatasetError: It is missing or is no such file, or a row of JSONL is bad.
        """
        kind = format_of(path)
        if kind == "jsonl":
            with open_objects(path) as objects:
                # Not a set, which has no order.
                names: dict[str, None] = {}
                for values in objects:
                    names.update(dict.fromkeys(values))
            return cls(path, tuple(names))
        if kind == "parquet":
            with open_parquet(path) as (schema, _):
                return cls(path, tuple(schema.names), schema=schema)
        with open_table(path) as table:
            return cls(path, table.columns, table.delimiter)

    def chunks(self) -> Iterator[list[Column]]:
        """The columns of some rows at a time: values, or Arrow arrays of Parquet.

        Raises:
            DatasetError: For a bad row, when its chunk is reached.
        """
        kind = format_of(self.path)
        if kind == "parquet":
            with open_parquet(self.path) as (_, batches):
                yield from (batch.columns for batch in batches(CHUNK_ROWS))
        elif kind == "jsonl":
            with open_objects(self.path) as objects:
                rows = ([values.get(name, ABSENT) for name in self.names] for values in objects)
                yield from _columns(rows)
        else:
            with open_table(self.path) as table:
                yield from _columns(table.rows)


def plain(column: Column) -> Sequence[Any]:
    """A column's Python values; None for what is missing."""
    return [None if value is ABSENT else value for value in raw(column)]


def raw(column: Column) -> Sequence[Any]:
    """The same with `ABSENT` for what an object of JSONL does not have."""
    return arrow_values(column) if hasattr(column, "to_pylist") else column


def _columns(rows: Iterable[Sequence[Any]]) -> Iterator[list[Column]]:
    chunk: list[Sequence[Any]] = []
    num_characters = 0
    for row in rows:
        chunk.append(row)
        num_characters += sum(len(value) for value in row if isinstance(value, str))
        if len(chunk) == CHUNK_ROWS or num_characters > CHUNK_CHARACTERS:
            yield list(zip(*chunk, strict=True))
            chunk, num_characters = [], 0
    if chunk:
        yield list(zip(*chunk, strict=True))
