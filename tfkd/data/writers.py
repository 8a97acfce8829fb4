"""Tables to CSV, TSV, JSONL and Parquet, plain or gzipped: the counterpart of the readers.

A file is written whole: what a killed process leaves has a name that nobody takes for a table's.
"""

import contextlib
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

from tfkd.artifacts import atomic_file
from tfkd.data.readers import format_of
from tfkd.data.tables import ABSENT, Column, UserTable, plain, raw
from tfkd.errors import DatasetError
from tfkd.parts import remove_parts

# Before the type of the elements.
LIST_OF = "list of "
# Takes the columns of some rows.
Write: TypeAlias = Callable[[Sequence[Column]], object]


@contextlib.contextmanager
def table_writer(path: Path, table: UserTable, added: Mapping[str, str]) -> Iterator[Write]:
    """Writes a table's columns with others behind them, in the format that the name says.

    Args:
        path: Path. The file is there when the block ends without an error, and not before.
        table: `UserTable` whose columns come first. CSV made of its CSV has its separator.
        added: Names of the other columns, each with its type in Parquet: "string", "double", or
            `LIST_OF` one of them.

    Yields:
        Function that takes the columns of some rows: the table's, then the others.

    Raises:
        DatasetError: The name is that of no such file, a string is no Unicode, or JSONL would have
            two fields of one name.

    Example:

    >>> with table_writer(Path("scored.csv"), table, {"label": "string"}) as write:
    ...     for columns in table.chunks():
    ...         write([*columns, labels_of(columns)])
    """
    kind, names = format_of(path), (*table.names, *added)
    if path.parent.is_dir():
        # Those of processes that were killed.
        remove_parts(path.parent)
    with atomic_file(path) as part, _opened(part, is_packed=path.suffix == ".gz") as stream:
        if kind == "parquet":
            opened = _parquet_write(stream, table, added)
        elif kind == "jsonl":
            _check_once(table, names)
            opened = _json_write(stream, names)
        else:
            is_same = format_of(table.path) == kind == "csv"
            delimiter = table.delimiter if is_same else {"tsv": "\t", "csv": ","}[kind]
            opened = _csv_write(stream, names, delimiter)
        with opened as write, _unicode_only(path):
            yield write


def _check_once(table: UserTable, names: Sequence[str]) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DatasetError(
            f"Expected columns of different names in {table.path} for JSONL. Received: "
            f"`{twice[0]}` twice. Rename one."
        )


@contextlib.contextmanager
def _unicode_only(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        start = max(error.start - 20, 0)
        raise DatasetError(
            f"Expected Unicode for {path}. Received: half a character in "
            f"{error.object[start : error.end]!a}. Save the input as UTF-8."
        ) from error


@contextlib.contextmanager
def _opened(part: Path, is_packed: bool) -> Iterator[IO[bytes]]:
    with part.open("wb") as stream:
        if not is_packed:
            yield stream
            return
        # Without name and time in it: the same rows are the same bytes.
        with gzip.GzipFile("", "wb", fileobj=stream, mtime=0, compresslevel=6) as packed:
            yield packed  # type: ignore[misc]


@contextlib.contextmanager
def _csv_write(stream: IO[bytes], names: Sequence[str], delimiter: str) -> Iterator[Write]:
    # Broken bytes, which the readers pass as surrogates, become the same bytes again.
    with io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="") as text:
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        writer.writerow(names)
        yield lambda columns: writer.writerows(
            zip(*(map(_cell, plain(column)) for column in columns), strict=True)
        )


def _cell(value: Any) -> Any:
    """A value as CSV has it; the writer's own for strings, numbers and None, which is empty."""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


@contextlib.contextmanager
def _json_write(stream: IO[bytes], names: Sequence[str]) -> Iterator[Write]:
    def lines(columns: Sequence[Column]) -> Iterator[str]:
        for row in zip(*map(raw, columns), strict=True):
            pairs = zip(names, row, strict=True)
            found = {name: value for name, value in pairs if value is not ABSENT}
            yield json.dumps(found, ensure_ascii=False, default=str) + "\n"

    with io.TextIOWrapper(stream, "utf-8", newline="") as text:
        yield lambda columns: text.writelines(lines(columns))


@contextlib.contextmanager
def _parquet_write(
    stream: IO[bytes], table: UserTable, added: Mapping[str, str]
) -> Iterator[Write]:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = table.schema or _schema(table)
    for name, kind in added.items():
        element = pyarrow.field("element", kind.removeprefix(LIST_OF)).type
        is_list = kind.startswith(LIST_OF)
        schema = schema.append(pyarrow.field(name, pyarrow.list_(element) if is_list else element))

    def arrays(columns: Sequence[Column]) -> Iterator[Any]:
        for column, field in zip(columns, schema, strict=True):
            if isinstance(column, pyarrow.Array):
                yield column
            elif field.type == pyarrow.string():
                yield pyarrow.array(map(_string, plain(column)), field.type)
            else:
                yield pyarrow.array(plain(column), field.type)

    with ParquetWriter(stream, schema) as writer:
        yield lambda columns: writer.write_batch(
            pyarrow.RecordBatch.from_arrays(list(arrays(columns)), schema=schema)
        )


def _string(value: Any) -> str | None:
    """A value of a column that holds strings and others; the others as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _schema(table: UserTable) -> Any:
    """Arrow's types of a table that has none: strings, and of JSONL what its values have."""
    import pyarrow

    types = dict.fromkeys(table.names, pyarrow.string())
    if format_of(table.path) == "jsonl":
        types = dict.fromkeys(table.names, pyarrow.null())
        for columns in table.chunks():
            for name, column in zip(table.names, columns, strict=True):
                types[name] = _common_type(types[name], plain(column))
    return pyarrow.schema(list(types.items()))


def _common_type(known: Any, values: Sequence[Any]) -> Any:
    """The type that holds those before and these; strings where there is no other."""
    import pyarrow

    try:
        found = pyarrow.array(values).type
        schemas = [pyarrow.schema([("", kind)]) for kind in (known, found)]
        return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError):
        return pyarrow.string()
