"""Rows of CSV, TSV, JSONL and Parquet files, plain or gzipped, one at a time.

Every reader gives the same thing: the column names and an iterator over rows as tuples, so that
nothing above knows a file format. A fault in the file is a `DatasetError` with its row; row 1 is
the first row of data.
"""

import contextlib
import csv
import gzip
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tfkd.errors import DatasetError

FORMATS = ("csv", "tsv", "jsonl", "parquet")
SUFFIXES = tuple(f".{name}{ending}" for name in FORMATS for ending in ("", ".gz"))
# The csv module refuses fields over 128 KiB; without any limit one lost quote reads a whole file.
LARGEST_FIELD_CHARACTERS = 2**27
PARQUET_BATCH_ROWS = 1024


class Table(NamedTuple):
    """An open file: its column names, and its rows as values in the order of those."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


def fault(path: Path, row: int, expected: str, received: str, advice: str = "") -> DatasetError:
    """The error for a bad row, in the wording all data errors share."""
    return DatasetError(
        f"Expected {expected} in {path}, row {row} (row 1 is the first row of data). "
        f"Received: {received}. {advice}".rstrip()
    )


def unreadable(path: Path, error: OSError) -> DatasetError:
    """The error for a file that cannot be opened."""
    return DatasetError(f"Expected a readable file. Received: {path}: {error.strerror or error}.")


def shown(value: Any, length: int = 60) -> str:
    """A value as it stands in an error message: quoted and cut."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} of many levels"
    return text if len(text) <= length else text[: length - 3] + "..."


def format_of(path: Path) -> str:
    """The file's format by its name, one of `FORMATS`.

    Raises:
        DatasetError: The name ends otherwise.
    """
    for name in FORMATS:
        if path.name.endswith((f".{name}", f".{name}.gz")):
            return name
    raise DatasetError(
        f"Expected a file that ends in one of {', '.join(SUFFIXES)}. Received: {path}. "
        "Rename or convert it."
    )


@contextlib.contextmanager
def open_table(path: Path, kind: str | None = None) -> Iterator[Table]:
    """Opens a file for one pass over its rows.

    Args:
        path: Path of a file that ends in one of `SUFFIXES`.
        kind: String. One of `FORMATS` when the name does not tell.

    Yields:
        A `Table`. Its rows stream: memory does not grow with the file.

    Raises:
        DatasetError: The file is missing, is no such file, or (while iterating) has a bad row.

    Example:

    >>> with open_table(Path("train.csv.gz")) as table:
    ...     table.columns
    ('text', 'label')
    """
    kind = kind or format_of(path)
    with contextlib.ExitStack() as stack:
        try:
            if kind == "parquet":
                table = _parquet_table(path, stack.enter_context(_parquet_stream(path)))
            else:
                text = stack.enter_context(_text_stream(path))
                table = _jsonl_table(path, text) if kind == "jsonl" else _csv_table(path, text)
        except OSError as error:
            raise unreadable(path, error) from error
        yield table


def _text_stream(path: Path) -> IO[str]:
    binary: Any = gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    # Broken bytes pass as surrogates, so that they are found in their row and not somewhere in
    # a block read ahead.
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")


@contextlib.contextmanager
def _read_faults(path: Path, counter: list[int]) -> Iterator[None]:
    """Turns what gzip raises on damaged files into a data error behind the last good row."""
    try:
        yield
    except EOFError as error:
        raise DatasetError(
            f"Expected a whole gzip file in {path}. Received: one cut short after row {counter[0]} "
            "(row 1 is the first row of data). Copy or download it again."
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(
            f"Expected a sound gzip file in {path}. Received: {error}, after row {counter[0]} "
            "(row 1 is the first row of data). Copy or download it again."
        ) from error


def _csv_table(path: Path, stream: IO[str]) -> Table:
    csv.field_size_limit(LARGEST_FIELD_CHARACTERS)
    dialect = "excel" if format_of(path) == "csv" else "excel-tab"
    reader = csv.reader(stream, dialect=dialect, strict=True)
    counter = [0]
    with _read_faults(path, counter):
        try:
            header = next(reader, None)
        except csv.Error as error:
            raise DatasetError(f"Expected a header line in {path}. Received: {error}.") from error
    if not header:
        raise DatasetError(
            f"Expected a header line such as text,label in {path}. Received: an empty first line."
        )
    columns = tuple(name.strip() for name in header)
    return Table(columns, _csv_rows(path, reader, len(columns), counter))


def _csv_rows(
    path: Path, reader: Iterator[list[str]], num_fields: int, counter: list[int]
) -> Iterator[list[str]]:
    with _read_faults(path, counter):
        try:
            for values in reader:
                if not values:
                    continue  # A blank line is no row.
                counter[0] += 1
                if len(values) != num_fields:
                    raise fault(
                        path,
                        counter[0],
                        f"{num_fields} fields as in the header",
                        f"{len(values)} fields, the first {shown(values[0])}",
                        "Quote texts that hold the separator, quotes or line breaks.",
                    )
                yield values
        except csv.Error as error:
            raise fault(
                path,
                counter[0] + 1,
                "standard quoting",
                str(error),
                'Put texts that hold quotes in quotes and double those inside: "a ""b"" c".',
            ) from error


def _jsonl_table(path: Path, stream: IO[str]) -> Table:
    rows = _json_objects(path, stream)
    first = next(rows, None)
    if first is None:
        raise DatasetError(f"Expected rows in {path}. Received: an empty file.")
    columns = tuple(first)
    return Table(columns, _jsonl_rows(path, first, rows, columns))


def _jsonl_rows(
    path: Path, first: dict[str, Any], rest: Iterator[dict[str, Any]], columns: tuple[str, ...]
) -> Iterator[tuple[Any, ...]]:
    yield tuple(first.values())
    for row, values in enumerate(rest, start=2):
        try:
            yield tuple(values[name] for name in columns)
        except KeyError as error:
            raise fault(
                path,
                row,
                f"the fields of row 1, {', '.join(columns)}",
                f"only {', '.join(values) or 'none'}",
            ) from error


def _json_objects(path: Path, stream: IO[str]) -> Iterator[dict[str, Any]]:
    counter = [0]
    with _read_faults(path, counter):
        for line in stream:
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                raise fault(path, counter[0] + 1, "a JSON object", f"{error}") from error
            if not isinstance(value, dict):
                raise fault(path, counter[0] + 1, "a JSON object", shown(value))
            counter[0] += 1
            yield value


@contextlib.contextmanager
def _parquet_stream(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix != ".gz":
        with path.open("rb") as stream:
            yield stream
        return
    # Parquet is read from its end, which gzip cannot seek to.
    with tempfile.TemporaryFile() as plain, gzip.open(path) as packed:
        with _read_faults(path, [0]):
            shutil.copyfileobj(packed, plain)
        plain.seek(0)
        yield plain


def _parquet_table(path: Path, stream: IO[bytes]) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        parquet = pyarrow.parquet.ParquetFile(stream)
    except (pyarrow.ArrowException, OSError) as error:
        raise DatasetError(f"Expected a Parquet file in {path}. Received: {error}.") from error
    return Table(tuple(parquet.schema_arrow.names), _parquet_rows(path, parquet))


def _parquet_rows(path: Path, parquet: Any) -> Iterator[tuple[Any, ...]]:
    import pyarrow

    row = 0
    try:
        for batch in parquet.iter_batches(batch_size=PARQUET_BATCH_ROWS):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                row += 1
                yield values
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise fault(path, row + 1, "readable Parquet data", str(error)) from error
