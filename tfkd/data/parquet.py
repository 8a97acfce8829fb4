"""Parquet files, plain or gzipped, in record batches of Arrow that fit into memory."""

import contextlib
import gzip
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from tfkd.data.streams import LARGEST_ROW_CHARACTERS, RowFault, Rows, open_bytes, unreadable
from tfkd.errors import DatasetError

BATCH_ROWS, BATCH_BYTES = 1024, 2**24
# Of gzip around Parquet, which goes to a temporary file; a sound file shrinks much less than this.
MOST_UNPACKING, LEAST_UNPACKED_BYTES, BLOCK_BYTES = 50, 2**26, 2**20
# Record batches of Arrow, of at most so many rows.
Batches: TypeAlias = Callable[[int], Iterator[Any]]


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[tuple[Any, Batches]]:
    """Opens Parquet for one pass over its record batches.

    Yields:
        The file's `pyarrow.Schema`, and a function from a number of rows to batches of at most as
        many: fewer where rows are long.

    Raises:
        DatasetError: The file is missing, is no such file, or (while iterating) has a bad row.
    """
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(_stream(path, Rows(path)))
            schema, parquet = _file(path, stream)
        except OSError as error:
            raise unreadable(path, error) from error
        yield schema, lambda count: _batches(path, schema, parquet, count)


def parquet_rows(batches: Batches) -> Iterator[tuple[Any, ...]]:
    """The rows of an open file as Python values."""
    for batch in batches(BATCH_ROWS):
        yield from zip(*map(arrow_values, batch.columns), strict=True)


def arrow_values(column: Any) -> list[Any]:
    """The Python values of an Arrow array; of times with nanoseconds, which Python's lack, text.

    Without a cast, pyarrow would give times of pandas where that is installed.
    """
    import pyarrow

    try:
        if column.type == pyarrow.duration("ns"):
            column = column.cast(pyarrow.duration("us"))
        elif pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
            column = column.cast(pyarrow.timestamp("us", column.type.tz))
        return column.to_pylist()
    except ValueError:
        return column.cast("string").to_pylist()


@contextlib.contextmanager
def _stream(path: Path, rows: Rows) -> Iterator[IO[bytes]]:
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


def _file(path: Path, stream: IO[bytes]) -> tuple[Any, Any]:
    """Schema of a file, and the file as it is to be read."""
    import pyarrow
    import pyarrow.parquet

    try:
        parquet = pyarrow.parquet.ParquetFile(stream)
        schema = parquet.schema_arrow
        # As a file has them, once each: a long text may stand in a thousand rows.
        texts = [field.name for field in schema if _is_text(field.type)]
        return schema, pyarrow.parquet.ParquetFile(
            stream, metadata=parquet.metadata, read_dictionary=texts
        )
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"Expected a Parquet file in {path}. Received: {error}.") from error


def _batches(path: Path, schema: Any, parquet: Any, count: int) -> Iterator[Any]:
    import pyarrow

    row = 0
    try:
        for batch in parquet.iter_batches(batch_size=_batch_rows(path, parquet.metadata, count)):
            # Strings that are no UTF-8 would be found by whoever asks for one.
            batch.validate(full=True)
            for start, num_rows in _slices(path, batch, row):
                part = batch.slice(start, num_rows)
                columns = [
                    _as_written(column, kind)
                    for column, kind in zip(part.columns, schema.types, strict=True)
                ]
                yield pyarrow.RecordBatch.from_arrays(columns, schema=schema)
            row += batch.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise RowFault("readable Parquet data", str(error)).at(path, row + 1) from error


def _is_text(kind: Any) -> bool:
    import pyarrow

    return kind in (
        *(pyarrow.string(), pyarrow.large_string()),
        *(pyarrow.binary(), pyarrow.large_binary()),
    )


def _as_written(column: Any, kind: Any) -> Any:
    """A column of the file's own type, with each value where it stands."""
    return column if column.type == kind else column.dictionary_decode().cast(kind)


def _slices(path: Path, batch: Any, row: int) -> Iterator[tuple[int, int]]:
    """First row and number of rows of parts whose texts are few enough bytes, or one row.

    Raises:
        DatasetError: A row has more than `LARGEST_ROW_CHARACTERS`.
    """
    import pyarrow
    import pyarrow.compute

    sizes = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        if isinstance(column, pyarrow.DictionaryArray) and _is_text(column.type.value_type):
            found = pyarrow.compute.binary_length(column.dictionary).take(column.indices)
            sizes += found.fill_null(0).to_numpy(zero_copy_only=False)
    for index in np.flatnonzero(sizes > LARGEST_ROW_CHARACTERS)[:1]:
        expected = f"at most {LARGEST_ROW_CHARACTERS:,} bytes"
        found = RowFault(expected, f"{sizes[index]:,}", "Cut longer texts.")
        raise found.at(path, row + int(index) + 1)
    start = 0
    while start < len(sizes):
        fitting = np.searchsorted(np.cumsum(sizes[start:]), BATCH_BYTES, "right")
        yield start, max(int(fitting), 1)
        start += max(int(fitting), 1)


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
    return min(max(BATCH_BYTES // max(longest, 1), 1), count)
