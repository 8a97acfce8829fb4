"""Backup from which a killed training goes on as if nothing had happened: variables and position.

The state is one file, replaced atomically, so a kill at any moment leaves the last whole one. It
holds the model with the state of its dropout, the optimizer, and where in which epoch it was.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from tfkd import seals
from tfkd.artifacts import sealed_file
from tfkd.errors import ArtifactError

# A backup may take this share of the time at most, however large the model.
LARGEST_TIME_SHARE = 0.05
STATE, BEST = "state.npz", "best.npz"


@dataclasses.dataclass
class Position:
    """Position of a training.

    Attributes:
        epoch: Epochs finished.
        step: Steps finished in the epoch under way.
        best_epoch: Epoch, counted from 1, whose weights are kept; 0 before the first, and where
            none is better than the start.
        history: Figures of each finished epoch.
        seconds: Time trained in all sessions.
        means: Sum and count behind each running mean of the epoch under way.
        start: Validation figures of the start, where it is judged like an epoch; else empty.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    means: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    start: dict[str, float] = dataclasses.field(default_factory=dict)


class Backup:
    """Stores and restores a training; where it is another process' to keep, it only restores."""

    def __init__(
        self,
        folder: Path,
        variables: Sequence[keras.Variable],
        interval_seconds: float,
        is_kept_here: bool = True,
    ) -> None:
        self._path, self._is_kept_here = folder / STATE, is_kept_here
        self._variables, self._interval_seconds = list(variables), interval_seconds
        self._last_at, self._pause_seconds = time.monotonic(), interval_seconds

    def save_if_due(self, position: Position) -> None:
        """Stores the state when the interval is over."""
        if time.monotonic() - self._last_at >= self._pause_seconds:
            self.save(position)

    def save(self, position: Position) -> None:
        """Stores the state now."""
        if not self._is_kept_here:
            return
        started_at = time.monotonic()
        save_variables(self._path, self._variables, dataclasses.asdict(position))
        self._last_at = time.monotonic()
        cost_seconds = self._last_at - started_at
        self._pause_seconds = max(self._interval_seconds, cost_seconds / LARGEST_TIME_SHARE)

    def restore(self, tell: Callable[[str], object] = lambda damage: None) -> Position:
        """Brings the variables back; the position is the start when there is no whole backup.

        Raises:
            ArtifactError: The backup is of another model.
        """
        stored = seals.kept(self._path, Stored.read, tell)
        if stored is None:
            return Position()
        position = Position(**stored.note)
        # Without them the training could not end.
        best = self._path.with_name(BEST)
        if (position.best_epoch or position.start) and seals.kept(best, Stored.read, tell) is None:
            if not best.is_file():
                tell(seals.damage(best, "no such file", seals.ANEW))
            return Position()
        stored.assign(self._variables, self._path)
        return position


@dataclasses.dataclass(frozen=True)
class Stored:
    """What `save_variables` wrote.

    Attributes:
        arrays: Values in the order of the variables.
        note: JSON value.
    """

    arrays: list[np.ndarray]
    note: Any

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads all of a file."""
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            values = [arrays[f"variable_{i}"] for i in range(len(arrays.files) - 1)]
            return cls(values, json.loads(arrays["note"].tobytes()))

    def assign(self, variables: Sequence[keras.Variable], path: Path) -> None:
        """Gives variables their values.

        Raises:
            ArtifactError: They are of another model.
        """
        if [a.shape for a in self.arrays] != [tuple(v.shape) for v in variables]:
            raise ArtifactError(
                f"Expected the backup of this model in {path}. Received: one of another model. "
                "Add --overwrite to start anew."
            )
        for variable, value in zip(variables, self.arrays, strict=True):
            variable.assign(value)


def save_variables(path: Path, variables: Sequence[keras.Variable], note: object = None) -> None:
    """Writes the values of variables, in order, with a JSON note."""
    arrays: dict[str, Any] = {f"variable_{i}": np.asarray(v) for i, v in enumerate(variables)}
    with sealed_file(path) as part, part.open("wb") as stream:
        np.savez(stream, note=np.frombuffer(json.dumps(note).encode(), np.uint8), **arrays)


def load_variables(path: Path, variables: Sequence[keras.Variable]) -> Any:
    """Assigns what `save_variables` wrote and returns the note.

    Raises:
        ArtifactError: The file was changed, or is of another model.
    """
    damages: list[str] = []
    stored = seals.kept(path, Stored.read, damages.append)
    if stored is None:
        raise ArtifactError(" ".join(damages) or f"Expected the file {path}. It does not exist.")
    stored.assign(variables, path)
    return stored.note
