"""Backup from which a killed training goes on as if nothing had happened: variables and position.

The state is one file, replaced atomically, so a kill at any moment leaves the last whole one. It
holds the model with the state of its dropout, the optimizer, and where in which epoch it was.
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfkd.artifacts import atomic_file
from tfkd.errors import ArtifactError

# A backup may take this share of the time at most, however large the model.
LARGEST_TIME_SHARE = 0.05


@dataclasses.dataclass
class Position:
    """Position of a training.

    Attributes:
        epoch: Epochs finished.
        step: Steps finished in the epoch under way.
        best_epoch: Epoch, counted from 1, of the best validation; 0 before the first.
        history: Figures of each finished epoch.
        seconds: Time trained in all sessions.
        means: Sum and count behind each running mean of the epoch under way.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    means: dict[str, list[float]] = dataclasses.field(default_factory=dict)


class Backup:
    """Stores and restores a training.

    Args:
        folder: Path of the training's own folder.
        variables: The variables of model and optimizer, always in the same order.
        interval_seconds: Float. Time between two backups.
    """

    def __init__(
        self, folder: Path, variables: Sequence[keras.Variable], interval_seconds: float
    ) -> None:
        self._path = folder / "state.npz"
        self._variables, self._interval_seconds = list(variables), interval_seconds
        self._last_at, self._pause_seconds = time.monotonic(), interval_seconds

    def save_if_due(self, position: Position) -> None:
        """Stores the state when the interval is over."""
        if time.monotonic() - self._last_at >= self._pause_seconds:
            self.save(position)

    def save(self, position: Position) -> None:
        """Stores the state now."""
        started_at = time.monotonic()
        save_variables(self._path, self._variables, dataclasses.asdict(position))
        self._last_at = time.monotonic()
        cost_seconds = self._last_at - started_at
        self._pause_seconds = max(self._interval_seconds, cost_seconds / LARGEST_TIME_SHARE)

    def restore(self) -> Position:
        """Brings the variables back; the position is the start when there is no backup."""
        if not self._path.is_file():
            return Position()
        return Position(**load_variables(self._path, self._variables))


def save_variables(path: Path, variables: Sequence[keras.Variable], note: object = None) -> None:
    """Writes the values of variables, in order, with a JSON note."""
    arrays: dict[str, Any] = {f"variable_{i}": np.asarray(v) for i, v in enumerate(variables)}
    with atomic_file(path) as part, part.open("wb") as stream:
        np.savez(stream, note=np.frombuffer(json.dumps(note).encode(), np.uint8), **arrays)


def load_variables(path: Path, variables: Sequence[keras.Variable]) -> Any:
    """Assigns what `save_variables` wrote and returns the note.

    Raises:
        ArtifactError: The file is of another model.
    """
    with np.load(path, allow_pickle=False) as arrays:
        stored = [arrays[f"variable_{i}"] for i in range(len(arrays.files) - 1)]
        if [a.shape for a in stored] != [tuple(v.shape) for v in variables]:
            raise ArtifactError(
                f"Expected the backup of this model in {path}. Received: one of another model. "
                "Add --overwrite to start anew."
            )
        for variable, value in zip(variables, stored, strict=True):
            variable.assign(value)
        return json.loads(arrays["note"].tobytes())
