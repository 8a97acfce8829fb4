"""A data file as bytes and as lines: what it is by its first bytes, and how long a row may be.

Names lie: Excel saves UTF-16 under .csv, and downloads are gzip whatever they are called. Lines are
read with a limit, since a small gzip file may hold a row that fills the memory.
"""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Self

from tfkd.errors import DatasetError

LARGEST_ROW_CHARACTERS = 10_000_000
GZIP = b"\x1f\x8b"
UTF_8 = "utf-8-sig"
# What a file of text may be in truth, by its first bytes.
FOREIGN = {
    b"PK\x03\x04": "a ZIP archive, perhaps an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"%PDF": "a PDF file",
    GZIP: "a gzip file inside a gzip file",
}


class RowFault(DatasetError):
    """A row is bad; those behind it may be good. Who finds it need not know where the row is."""

    _place = ""

    def __init__(self, expected: str, received: str, advice: str = "") -> None:
        super().__init__(expected, received, advice)

    def __str__(self) -> str:
        expected, received, advice = self.args
        return f"Expected {expected}{self._place}. Received: {received}. {advice}".rstrip()

    @property
    def reason(self) -> str:
        """What is wrong with the row, without its place."""
        return f"expected {self.args[0]}, received {self.args[1]}"

    def at(self, where: Path | str, row: int) -> Self:
        """The same with its place, in the wording all data errors share, unless it has one."""
        self._place = self._place or f" in {where}, row {row} (row 1 is the first row of data)"
        return self


@contextlib.contextmanager
def placed(path: Path, row: int) -> Iterator[None]:
    """Gives the fault of a row its place."""
    try:
        yield
    except RowFault as error:
        error.at(path, row)
        raise


def unreadable(path: Path, error: OSError) -> DatasetError:
    """The error for a file that cannot be opened."""
    return DatasetError(f"Expected a readable file. Received: {path}: {error.strerror or error}.")


class Rows:
    """Counts the rows that were read, and the characters of the one under way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = self.num_characters = 0

    def next(self) -> int:
        """Begins another row and gives its number."""
        self.count += 1
        self.num_characters = 0
        return self.count

    def lines(self, stream: IO[str]) -> Iterator[str]:
        """The lines of a stream, with their ends.

        Raises:
            DatasetError: The row under way has more than `LARGEST_ROW_CHARACTERS`.
        """
        while line := stream.readline(LARGEST_ROW_CHARACTERS + 1):
            self.num_characters += len(line)
            if self.num_characters > LARGEST_ROW_CHARACTERS:
                advice = "A line end or a closing quote may be missing; cut longer texts."
                expected = f"at most {LARGEST_ROW_CHARACTERS:,} characters"
                raise RowFault(expected, "more", advice).at(self._path, self.count + 1)
            yield line

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Turns what is raised on damaged files into a data error behind the last good row."""
        try:
            yield
        except EOFError as error:
            raise DatasetError(
                f"Expected a whole gzip file in {self._path}. Received: one cut short "
                f"{self._where} Copy or download it again."
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DatasetError(
                f"Expected a sound gzip file in {self._path}. Received: {error}, {self._where} "
                "Copy or download it again."
            ) from error
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"Expected {error.encoding} text in {self._path}. Received: {error.reason}, "
                f"{self._where} Save the file as UTF-8."
            ) from error

    @property
    def _where(self) -> str:
        return f"after row {self.count} (row 1 is the first row of data)."


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[Any]:
    """Opens a file, unpacked where it is gzip by its name or by its first bytes."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(path.open("rb"))
        if path.suffix == ".gz" or stream.peek(2)[:2] == GZIP:
            yield stack.enter_context(gzip.GzipFile(fileobj=stream))
        else:
            yield stream


@contextlib.contextmanager
def open_text(path: Path, rows: Rows) -> Iterator[IO[str]]:
    """Opens a file of text in UTF-8 or in the UTF-16 of Excel, plain or gzipped.

    Raises:
        DatasetError: It is no text, but a file of another kind that is known.
    """
    with open_bytes(path) as stream:
        with rows.faults():
            head = stream.peek(8)[:8]
        for mark, kind in FOREIGN.items():
            if head.startswith(mark):
                raise DatasetError(
                    f"Expected text in {path}. Received: {kind}. Save it as CSV in UTF-8, or name "
                    "it after what it is."
                )
        encoding = encoding_of(head)
        # Broken bytes pass as surrogates, so that they are found in their row and not somewhere
        # in a block read ahead.
        errors = "surrogateescape" if encoding == UTF_8 else "strict"
        yield io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")


def encoding_of(head: bytes) -> str:
    r"""The encoding of a text by its first bytes: UTF-8, or UTF-16 with or without its mark.

    Example:

    >>> encoding_of(b"t\x00e\x00x\x00t\x00")
    'utf-16-le'
    """
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # A header or a JSON object begins with ASCII.
    zeros = [byte == 0 for byte in head[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else UTF_8
