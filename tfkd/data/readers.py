"""Rows of CSV, TSV, JSONL and Parquet files, plain or gzipped, one at a time.

Every reader gives the same thing: the column names and an iterator over rows as tuples, so that
nothing above knows a file format. A fault in the file is a `DatasetError` with its row; row 1 is
the first row of data.
"""

import contextlib
import csv
import gzip
import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

from tfkd.data.streams import LARGEST_ROW_CHARACTERS, UTF_8, Rows, fault, open_bytes, open_text
from tfkd.errors import DatasetError, shown

FORMATS = ("csv", "tsv", "jsonl", "parquet")
SUFFIXES = tuple(f".{name}{ending}" for name in FORMATS for ending in ("", ".gz"))
PARQUET_BATCH_ROWS, PARQUET_BATCH_BYTES = 1024, 2**24
# Of gzip around Parquet, which goes to a temporary file; a sound file shrinks much less than this.
MOST_UNPACKING, LEAST_UNPACKED_BYTES, BLOCK_BYTES = 50, 2**26, 2**20
# A quote that opens behind a separator and blanks; inside a quoted text it would be doubled.
BLANK_QUOTE = re.compile(r'[,;] +"(?![",;\r\n])')
QUOTED = re.compile(r'"(?:[^"]|"")*"')


class Table(NamedTuple):
    """An open file: its column names, its rows as values in the order of those, and its form.

    `delimiter` is what stands between the fields of CSV.
    """

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]
    form: str = "Parquet"
    delimiter: str = ","


# Record batches of Arrow, of at most so many rows.
Batches: TypeAlias = Callable[[int], Iterator[Any]]


def unreadable(path: Path, error: OSError) -> DatasetError:
    """The error for a file that cannot be opened."""
    return DatasetError(f"Expected a readable file. Received: {path}: {error.strerror or error}.")


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
        if kind == "parquet":
            parquet, batches = stack.enter_context(open_parquet(path))
            columns = tuple(parquet.schema_arrow.names)
            table = Table(columns, _parquet_rows(batches(PARQUET_BATCH_ROWS)))
        else:
            text, rows = stack.enter_context(_open_lines(path))
            try:
                table = TABLES[kind](path, text, rows)
            except OSError as error:
                raise unreadable(path, error) from error
        yield table


@contextlib.contextmanager
def open_objects(path: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """Opens JSONL for one pass over its objects, each with the fields it has.

    Raises:
        DatasetError: As `open_table`.
    """
    with _open_lines(path) as (text, rows):
        yield _json_objects(path, text, rows)


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[tuple[Any, Batches]]:
    """Opens Parquet for one pass over its record batches.

    Yields:
        `pyarrow.parquet.ParquetFile`, and a function from a number of rows to batches of at most
        as many: fewer where rows are long.

    Raises:
        DatasetError: As `open_table`.
    """
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(_parquet_stream(path, Rows(path)))
            parquet = _parquet_file(path, stream)
        except OSError as error:
            raise unreadable(path, error) from error
        yield parquet, lambda count: _parquet_batches(path, parquet, count)


@contextlib.contextmanager
def _open_lines(path: Path) -> Iterator[tuple[IO[str], Rows]]:
    rows = Rows(path)
    with contextlib.ExitStack() as stack:
        try:
            text = stack.enter_context(open_text(path, rows))
        except OSError as error:
            raise unreadable(path, error) from error
        yield text, rows


def _csv_table(path: Path, stream: IO[str], rows: Rows) -> Table:
    lines = rows.lines(stream)
    with rows.faults():
        first, second = next(lines, ""), next(lines, "")
    # Excel writes semicolons where the comma is the decimal point, and tabs into UTF-16.
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    if delimiter == "\t":
        return _tsv_table(path, stream, rows, [first, second])
    # Blanks that begin a text are its own where the file does not write them everywhere.
    skips = delimiter + " " in first or bool(BLANK_QUOTE.search(second))
    reader = _reader(itertools.chain([first, second], lines), delimiter, skips)
    columns = _header(path, reader, rows)
    form = f"CSV, {_encoding(stream)}, '{delimiter}' between columns"
    return Table(columns, _csv_rows(path, reader, len(columns), rows), form, delimiter)


def _tsv_table(path: Path, stream: IO[str], rows: Rows, first: Sequence[str] = ()) -> Table:
    lines = itertools.chain(filter(None, first), rows.lines(stream))
    columns = _header(path, _reader(lines, "\t"), rows)
    form = f"TSV, {_encoding(stream)}"
    return Table(columns, _tsv_rows(path, lines, len(columns), rows), form, "\t")


def _encoding(stream: IO[str]) -> str:
    return str(getattr(stream, "encoding", UTF_8)).removesuffix("-sig").upper()


def _reader(lines: Iterable[str], delimiter: str, skips: bool = True) -> Iterator[list[str]]:
    csv.field_size_limit(LARGEST_ROW_CHARACTERS)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=skips, strict=True)


def _header(path: Path, reader: Iterator[list[str]], rows: Rows) -> tuple[str, ...]:
    with rows.faults():
        try:
            header = next(reader, None)
        except csv.Error as error:
            raise DatasetError(f"Expected a header line in {path}. Received: {error}.") from error
    if not header:
        raise DatasetError(
            f"Expected a header line such as text,label in {path}. Received: an empty first line."
        )
    rows.num_characters = 0
    return tuple(name.strip() for name in header)


def _csv_rows(
    path: Path, reader: Iterator[list[str]], num_fields: int, rows: Rows
) -> Iterator[list[str]]:
    with rows.faults():
        try:
            for values in reader:
                if values:
                    yield _fields(path, values, num_fields, rows)
                else:
                    rows.num_characters = 0  # A blank line is no row.
        except csv.Error as error:
            raise _bad_quotes(path, rows, error) from error


def _fields(path: Path, values: list[str], num_fields: int, rows: Rows) -> list[str]:
    row = rows.next()
    if len(values) != num_fields:
        raise fault(
            path,
            row,
            f"{num_fields} fields as in the header",
            f"{len(values)} fields, the first {shown(values[0])}",
            "Quote texts that hold the separator, quotes or line breaks.",
        )
    return values


def _bad_quotes(path: Path, rows: Rows, error: csv.Error) -> DatasetError:
    return fault(
        path,
        rows.count + 1,
        "standard quoting",
        str(error),
        'Put texts that hold quotes in quotes and double those inside: "a ""b"" c".',
    )


def _tsv_rows(path: Path, lines: Iterator[str], num_fields: int, rows: Rows) -> Iterator[list[str]]:
    """Rows of a TSV file, of which many quote nothing: a quote may stand in a text by itself.

    A line with as many fields as the header is a row, and a field that is quoted as a whole is
    freed of its quotes. Only for other lines quotes may hold tabs and line ends.
    """
    with rows.faults():
        for line in lines:
            values = line.rstrip("\r\n").split("\t")
            if values == [""]:
                rows.num_characters = 0  # A blank line is no row.
            elif len(values) == num_fields:
                rows.next()
                yield [_unquoted(value) for value in values]
            else:
                values = _quoted_row(path, line, lines, num_fields, rows)
                yield _fields(path, values, num_fields, rows)


def _unquoted(value: str) -> str:
    if '"' in value and QUOTED.fullmatch(value.strip(" ")):
        return value.strip(" ")[1:-1].replace('""', '"')
    return value


def _quoted_row(
    path: Path, line: str, lines: Iterator[str], num_fields: int, rows: Rows
) -> list[str]:
    """A row whose quotes hold tabs or line ends; it begins with a line that was read already."""
    more: list[str] = []

    def taken() -> Iterator[str]:
        yield line
        for another in lines:
            more.append(another)
            yield another

    try:
        values = next(_reader(taken(), "\t"))
    except csv.Error as error:
        raise _bad_quotes(path, rows, error) from error
    if any(another.count("\t") == num_fields - 1 for another in more[:-1]):
        raise fault(
            path,
            rows.count + 1,
            f"{num_fields} fields as in the header",
            f"a quote that is closed {len(more)} lines below, behind whole rows",
            "Remove the quote, or double it and put the text in quotes.",
        )
    return values


def _jsonl_table(path: Path, stream: IO[str], rows: Rows) -> Table:
    objects = _json_objects(path, stream, rows)
    first = next(objects, None)
    if first is None:
        raise DatasetError(f"Expected rows in {path}. Received: an empty file.")
    columns = tuple(first)
    every = itertools.chain([first], objects)
    # A field that a row lacks is null: many writers leave out what is empty.
    found = (tuple(values.get(name) for name in columns) for values in every)
    return Table(columns, found, f"JSONL, {_encoding(stream)}")


def _json_objects(path: Path, stream: IO[str], rows: Rows) -> Iterator[dict[str, Any]]:
    with rows.faults():
        for line in rows.lines(stream):
            if not line.strip():
                rows.num_characters = 0
                continue
            row = rows.next()
            try:
                value = json.loads(line)
            except ValueError as error:
                raise fault(path, row, "a JSON object", f"{error}") from error
            except RecursionError as error:
                raise fault(path, row, "a JSON object", "one of too many levels") from error
            if not isinstance(value, dict):
                raise fault(path, row, "a JSON object", shown(value))
            yield value


TABLES = {"csv": _csv_table, "tsv": _tsv_table, "jsonl": _jsonl_table}


@contextlib.contextmanager
def _parquet_stream(path: Path, rows: Rows) -> Iterator[IO[bytes]]:
    with open_bytes(path) as stream:
        if not isinstance(stream, gzip.GzipFile):
            yield stream
            return
        # Parquet is read from its end, which gzip cannot seek to.
        most = max(LEAST_UNPACKED_BYTES, MOST_UNPACKING * path.stat().st_size)
        with tempfile.TemporaryFile() as plain:
            with rows.faults():
                while block := stream.read(BLOCK_BYTES):
                    plain.write(block)
                    if plain.tell() > most:
                        raise DatasetError(
                            f"Expected at most {most:,} bytes when {path} is unpacked. Received: "
                            "more. Unpack it yourself if it is sound."
                        )
            plain.seek(0)
            yield plain


def _parquet_file(path: Path, stream: IO[bytes]) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        parquet = pyarrow.parquet.ParquetFile(stream)
        _ = parquet.schema_arrow
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"Expected a Parquet file in {path}. Received: {error}.") from error
    return parquet


def _parquet_batches(path: Path, parquet: Any, count: int) -> Iterator[Any]:
    import pyarrow

    row = 0
    try:
        for batch in parquet.iter_batches(batch_size=_batch_rows(path, parquet.metadata, count)):
            # Strings that are no UTF-8 would be found by whoever asks for one.
            batch.validate(full=True)
            yield batch
            row += batch.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise fault(path, row + 1, "readable Parquet data", str(error)) from error


def _parquet_rows(batches: Iterator[Any]) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*map(arrow_values, batch.columns), strict=True)


def arrow_values(column: Any) -> list[Any]:
    """The Python values of an Arrow array; of times with nanoseconds, which Python's lack, text."""
    try:
        return column.to_pylist()
    except ValueError:
        return column.cast("string").to_pylist()


def _batch_rows(path: Path, metadata: Any, count: int) -> int:
    """Rows to read at once: fewer where they are long.

    Raises:
        DatasetError: Rows are longer than `LARGEST_ROW_CHARACTERS` on average.
    """
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    longest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    if longest > LARGEST_ROW_CHARACTERS:
        raise DatasetError(
            f"Expected rows of at most {LARGEST_ROW_CHARACTERS:,} bytes in {path}. Received: "
            f"{longest:,} bytes a row. Cut longer texts."
        )
    return min(max(PARQUET_BATCH_BYTES // max(longest, 1), 1), count)
