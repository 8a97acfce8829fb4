"""Rows of CSV, TSV, JSONL and Parquet files, plain or gzipped, one at a time.

Every reader gives the same thing: the column names and an iterator over rows as tuples, so that
nothing above knows a file format. A fault in the file is a `DatasetError` with its row; row 1 is
the first row of data.
"""

import contextlib
import csv
import functools
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tfkd.data.parquet import open_parquet, parquet_rows
from tfkd.data.streams import (
    LARGEST_ROW_CHARACTERS,
    UTF_8,
    RowFault,
    Rows,
    open_text,
    unreadable,
)
from tfkd.errors import DatasetError, shown

FORMATS = ("csv", "tsv", "jsonl", "parquet")
SUFFIXES = tuple(f".{name}{ending}" for name in FORMATS for ending in ("", ".gz"))
# A quote that opens behind a separator and blanks; inside a quoted text it would be doubled.
BLANK_QUOTE = re.compile(r'[,;] +"(?![",;\r\n])')
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
# Objects whose fields together are the columns: the first may lack what is empty.
FIRST_OBJECTS = 10
ONE_EACH = "Write one object a line: pandas' to_json(orient='records', lines=True)."
QUOTED = re.compile(r'"(?:[^"]|"")*"')


class Table(NamedTuple):
    """An open file: its column names, its rows as values in the order of those, and its form.

    `delimiter` is what stands between the fields of CSV. In the place of a bad row, behind which
    others can be read, stands its `RowFault`.
    """

    columns: tuple[str, ...]
    rows: Iterator[Any]
    form: str = "Parquet"
    delimiter: str = ","


def format_of(path: Path) -> str:
    """The file's format by its name, one of `FORMATS`.

    Raises:
        DatasetError: The name ends otherwise.
    """
    for name in FORMATS:
        if path.name.lower().endswith((f".{name}", f".{name}.gz")):
            return name
    raise DatasetError(
        f"Expected a file that ends in one of {', '.join(SUFFIXES)}. Received: {path}. "
        "Rename or convert it."
    )


@contextlib.contextmanager
def open_table(path: Path, kind: str | None = None, with_faults: bool = False) -> Iterator[Table]:
    """Opens a file for one pass over its rows.

    The name tells the format, or else `kind`. With faults, a bad row is given as what is wrong with
    it, and not raised.

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
            schema, batches = stack.enter_context(open_parquet(path))
            table = Table(tuple(schema.names), parquet_rows(batches))
        else:
            text, rows = stack.enter_context(_open_lines(path))
            try:
                table = TABLES[kind](path, text, rows)
            except OSError as error:
                raise unreadable(path, error) from error
        yield table if with_faults else table._replace(rows=_sound(table.rows))


def _sound(rows: Iterator[Any]) -> Iterator[Any]:
    """The rows; a bad one is raised."""
    for values in rows:
        if isinstance(values, RowFault):
            raise values
        yield values


@contextlib.contextmanager
def open_objects(path: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """Opens JSONL for one pass over its objects, each with the fields it has.

    Raises:
        DatasetError: As `open_table`.
    """
    with _open_lines(path) as (text, rows):
        yield _sound(_json_objects(path, text, rows))


@contextlib.contextmanager
def _open_lines(path: Path) -> Iterator[tuple[IO[str], Rows]]:
    rows = Rows(path)
    with contextlib.ExitStack() as stack:
        try:
            text = stack.enter_context(open_text(path, rows))
        except OSError as error:
            raise unreadable(path, error) from error
        yield text, rows


def _text_table(path: Path, stream: IO[str], rows: Rows, marks: str = ",;\t|") -> Table:
    lines = rows.lines(stream)
    with rows.faults():
        first, second = next(lines, ""), next(lines, "")
        # Excel's own way to say which mark separates.
        said = SEPARATOR_LINE.fullmatch(first)
        if said:
            first, second = second, next(lines, "")
    # Excel writes semicolons where the comma is the decimal point, and tabs into UTF-16.
    delimiter = said[1] if said else next((mark for mark in marks if mark in first), marks[0])
    if delimiter == "\t":
        return _tsv_table(path, stream, rows, [first, second])
    # Blanks that begin a text are its own where the file does not write them everywhere.
    skips = delimiter + " " in first or bool(BLANK_QUOTE.search(second))
    reader = _reader(itertools.chain([first, second], lines), delimiter, skips)
    columns = _header(path, reader, rows)
    form = f"CSV, {_encoding(stream)}, '{delimiter}' between columns"
    return Table(columns, _csv_rows(path, reader, len(columns), rows), form, delimiter)


def _tsv_table(path: Path, stream: IO[str], rows: Rows, first: Sequence[str]) -> Table:
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
    # Some programs write the byte-order mark twice.
    return tuple(name.strip().lstrip("\ufeff") for name in header)


def _csv_rows(
    path: Path, reader: Iterator[list[str]], num_fields: int, rows: Rows
) -> Iterator[list[str] | RowFault]:
    with rows.faults():
        while True:
            try:
                for values in reader:
                    if values:
                        yield _fields(path, values, num_fields, rows)
                    else:
                        rows.num_characters = 0  # A blank line is no row.
                return
            except csv.Error as error:
                # The next line begins a row.
                yield _bad_quotes(path, rows, error)
                rows.next()


def _fields(path: Path, values: list[str], num_fields: int, rows: Rows) -> list[str] | RowFault:
    row = rows.next()
    if len(values) != num_fields:
        received = f"{len(values)} fields, the first {shown(values[0])}"
        advice = "Quote texts that hold the separator, quotes or line breaks."
        return RowFault(f"{num_fields} fields as in the header", received, advice).at(path, row)
    return values


def _bad_quotes(path: Path, rows: Rows, error: csv.Error) -> RowFault:
    advice = 'Put texts that hold quotes in quotes and double those inside: "a ""b"" c".'
    return RowFault("standard quoting", str(error), advice).at(path, rows.count + 1)


def _tsv_rows(
    path: Path, lines: Iterator[str], num_fields: int, rows: Rows
) -> Iterator[list[str] | RowFault]:
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
        received = f"a quote that is closed {len(more)} lines below, behind whole rows"
        advice = "Remove the quote, or double it and put the text in quotes."
        expected = f"{num_fields} fields as in the header"
        raise RowFault(expected, received, advice).at(path, rows.count + 1)
    return values


def _jsonl_table(path: Path, stream: IO[str], rows: Rows) -> Table:
    objects = _json_objects(path, stream, rows)
    first = list(itertools.islice(objects, FIRST_OBJECTS))
    sound = [values for values in first if isinstance(values, dict)]
    if not sound:
        empty = DatasetError(f"Expected rows in {path}. Received: an empty file.")
        raise next(iter(first), empty)
    # A field that a row lacks is null: many writers leave out what is empty.
    columns = tuple(dict.fromkeys(itertools.chain.from_iterable(sound)))
    every = itertools.chain(first, objects)
    found = (
        tuple(map(values.get, columns)) if isinstance(values, dict) else values for values in every
    )
    return Table(columns, found, f"JSONL, {_encoding(stream)}")


def _json_objects(path: Path, stream: IO[str], rows: Rows) -> Iterator[Any]:
    with rows.faults():
        for line in rows.lines(stream):
            if line.strip():
                value = _json_object(line)
                row = rows.next()
                yield value.at(path, row) if isinstance(value, RowFault) else value
            else:
                rows.num_characters = 0


def _json_object(line: str) -> dict[str, Any] | RowFault:
    try:
        value = json.loads(line, object_pairs_hook=object_of)
    except RowFault as error:
        return error
    except json.JSONDecodeError as error:
        return RowFault("a JSON object", f"{error}", ONE_EACH)
    except ValueError:
        return RowFault("a JSON object", "a number of thousands of digits")
    except RecursionError:
        return RowFault("a JSON object", "one of too many levels")
    return value if isinstance(value, dict) else RowFault("a JSON object", shown(value), ONE_EACH)


def object_of(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, for `object_pairs_hook`.

    Raises:
        DatasetError: A key stands in it twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        (name, times), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise RowFault("each key of an object once", f"{shown(name)} {times} times")
    return found


TABLES: dict[str, Callable[[Path, IO[str], Rows], Table]] = {
    "csv": _text_table,
    "tsv": functools.partial(_text_table, marks="\t,;|"),
    "jsonl": _jsonl_table,
}
