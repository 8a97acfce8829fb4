"""Rows of a slow source, each taken from it once, however often they are asked for.

Checking, holding out, tokenizing and comparing all pass over the same rows. To parse a file, ask
TFDS or generate text anew for each of them takes longer than much else that is done with them.
"""

import dataclasses
import itertools
import json
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

from tfkd.data.examples import Example
from tfkd.errors import DatasetError

CHUNK_ROWS = 512


class KeptRows:
    """A re-iterable of rows that takes as many from its source as the furthest pass has asked for.

    Rows that were taken lie in a temporary file of this process as lines of JSON, so memory stays
    flat. A fault of the source comes in every pass, at its own row.

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
        self._num_kept = 0
        self._fault: DatasetError | None = None

    def __iter__(self) -> Iterator[list]:
        """Streams all rows, those first that are kept."""
        if self._rest is None:
            self._rest = iter(self._source())
            self._file = tempfile.NamedTemporaryFile(prefix="tfkd-rows-")
            weakref.finalize(self, self._file.close)
        with open(self._file.name, "rb") as kept:
            for row in itertools.count():
                if row == self._num_kept and not self._keep_more(self._rest):
                    return
                yield json.loads(kept.readline())

    def _keep_more(self, rest: Iterator[Sequence[object]]) -> bool:
        """Takes the next rows; whether there were any."""
        lines: list[str] = []
        try:
            if self._fault is None:
                for row in itertools.islice(rest, CHUNK_ROWS):
                    # As ASCII: a broken file may hold characters that UTF-8 does not.
                    lines.append(json.dumps(row, default=str) + "\n")
        except DatasetError as fault:
            self._fault = fault
        if not lines and self._fault is not None:
            raise self._fault
        self._file.write("".join(lines).encode())
        self._file.flush()
        self._num_kept += len(lines)
        return bool(lines)


@dataclasses.dataclass(frozen=True)
class KeptExamples:
    """The examples of a split, each taken from its source once.

    Attributes:
        rows: `KeptRows` of examples.
    """

    rows: KeptRows

    @classmethod
    def of(cls, split: Iterable[Example]) -> "KeptExamples":
        """Those of a re-iterable split."""
        return cls(KeptRows(lambda: split))

    def __iter__(self) -> Iterator[Example]:
        """Streams the examples."""
        for texts, label in self.rows:
            yield Example(tuple(texts), tuple(label) if isinstance(label, list) else label)
