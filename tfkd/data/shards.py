"""Arrays on disk: whole ones, and those of a split in shards, so that a killed pass goes on."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfkd import seals
from tfkd.artifacts import sealed_file
from tfkd.locks import locked

SHARD_ROWS = 2048


def write_array(path: Path, values: np.ndarray) -> None:
    """Writes an array, whole or not at all; its hash is in the `.json` beside it."""
    with sealed_file(path) as part:
        np.save(part, values)


def kept_array(
    path: Path, make: Callable[[], np.ndarray], tell: Callable[[str], object]
) -> np.ndarray:
    """An array that is there, or is made once for all processes; a damaged one is made anew."""
    with locked(path):
        found = seals.kept(path, np.load, tell)
        if found is None:
            found = make()
            write_array(path, found)
    return found


def shard_of(row: int) -> tuple[int, int]:
    """Number of the shard that holds a row, and its first row."""
    return row // SHARD_ROWS, row - row % SHARD_ROWS


@dataclasses.dataclass(frozen=True)
class Shards:
    """Files `<name>-00000.npy` and so on, each of the next `SHARD_ROWS` rows of a split.

    A shard is written whole or not at all and is left alone when it is there, so several processes
    may share a folder; `artifacts.locked` keeps two from making the same. Its hash is in the
    `.json` beside it.

    Attributes:
        folder: Path. Belongs to one array of one split.
        name: Name of the values, such as "logits".
        num_rows: Rows of the split.
    """

    folder: Path
    name: str
    num_rows: int

    @property
    def count(self) -> int:
        """Number of shards of the whole split."""
        return -(-self.num_rows // SHARD_ROWS)

    def path(self, shard: int) -> Path:
        """File of a shard."""
        return self.folder / f"{self.name}-{shard:05d}.npy"

    def rows(self, shard: int) -> tuple[int, int]:
        """First row of a shard, and the first behind it."""
        return shard * SHARD_ROWS, min((shard + 1) * SHARD_ROWS, self.num_rows)

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there, in rising order."""
        return [shard for shard in range(self.count) if not self.path(shard).is_file()]

    def write(self, shard: int, values: np.ndarray) -> None:
        """Writes a shard unless it is there."""
        if not self.path(shard).is_file():
            write_array(self.path(shard), values)

    def remove_damaged(self, tell: Callable[[str], object]) -> None:
        """Removes the shards that are not as they were written, so that they are missing."""
        for shard in range(self.count):
            path = self.path(shard)
            if path.is_file() and seals.kept(path, _opened, tell) is None:
                path.unlink()

    def load(self) -> list[np.ndarray]:
        """All shards, memory-mapped."""
        return [_opened(self.path(shard)) for shard in range(self.count)]


def _opened(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)
