"""Rows of a slow source, each taken from it once, however often they are asked for.

Checking, holding out, tokenizing and comparing all pass over the same rows. To parse a file, ask
TFDS or generate text anew for each of them takes longer than much else that is done with them.
"""

import dataclasses
import itertools
import json
import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

from tfkd.data.examples import Example, example_of
from tfkd.errors import DatasetError

# A chunk ends at either; so few long rows fill no memory.
CHUNK_ROWS, CHUNK_BYTES = 512, 2**22
ENCODER = json.JSONEncoder(default=str)


class KeptRows:
    """A re-iterable of rows that takes as many from its source as the furthest pass has asked for.

    Rows that were taken lie in a temporary file without a name, so memory stays flat and a killed
    process leaves nothing. A fault of the source comes in every pass, at its own row.

    Args:
        source: Function that opens the source: an iterable of rows, each a sequence of JSON values.
            Of any other value the string is kept, and tuples become lists.

    Example:

    >>> rows = KeptRows(lambda: [("Oil prices fell.", 2), ("The striker scored.", 1)])
    >>> next(iter(rows)), len(list(rows))
    (['Oil prices fell.', 2], 2)
    """

    def __init__(self, source: Callable[[], Iterable[Sequence[object]]]) -> None:
        self._source = source
        self._rest: Iterator[Sequence[object]] | None = None
        # Bytes before each chunk, and behind the last.
        self._offsets = [0]
        self._fault: DatasetError | None = None

    def __iter__(self) -> Iterator[list]:
        """Streams all rows, those first that are kept."""
        if self._rest is None:
            self._rest = iter(self._source())
            self._file = tempfile.TemporaryFile(buffering=0)
            weakref.finalize(self, self._file.close)
        for chunk in itertools.count():
            if chunk + 1 == len(self._offsets) and not self._keep_more(self._rest):
                return
            start, stop = self._offsets[chunk : chunk + 2]
            # Not read: passes side by side would move each other.
            yield from json.loads(os.pread(self._file.fileno(), stop - start, start))

    def _keep_more(self, rest: Iterator[Sequence[object]]) -> bool:
        """Takes the next chunk; whether there was any."""
        rows: list[str] = []
        num_bytes = 0
        try:
            if self._fault is None:
                for row in itertools.islice(rest, CHUNK_ROWS):
                    rows.append(ENCODER.encode(row))
                    num_bytes += len(rows[-1])
                    if num_bytes > CHUNK_BYTES:
                        break
        except DatasetError as fault:
            self._fault = fault
        if not rows:
            if self._fault is not None:
                raise self._fault
            return False
        # As ASCII: a broken file may hold characters that UTF-8 does not.
        content = f"[{','.join(rows)}]".encode("ascii")
        try:
            unwritten = memoryview(content)
            while unwritten:
                unwritten = unwritten[self._file.write(unwritten) :]
        except OSError as error:
            # For all passes to come: these rows are taken and not kept.
            self._fault = DatasetError(
                f"Expected room for the data's rows in {tempfile.gettempdir()}. Received: "
                f"{error.strerror}. Free some, or set TMPDIR to another folder."
            )
            raise self._fault from error
        self._offsets.append(self._offsets[-1] + len(content))
        return True


@dataclasses.dataclass(frozen=True)
class KeptExamples:
    """The examples of a split, each taken from its source once.

    Attributes:
        rows: `KeptRows` of texts, label, id and weight.
    """

    rows: KeptRows

    @classmethod
    def of(cls, split: Iterable[Example]) -> "KeptExamples":
        """Those of a re-iterable split."""
        return cls(KeptRows(lambda: ((*row, row.id, row.weight) for row in split)))

    def __iter__(self) -> Iterator[Example]:
        """Streams the examples."""
        for texts, label, *notes in self.rows:
            yield example_of(texts, tuple(label) if isinstance(label, list) else label, *notes)
