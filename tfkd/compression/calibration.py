"""Calibration data: encoded training texts from which activations get their fixed ranges."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Rows of the training split, and how they were chosen.

    Attributes:
        arrays: Mapping of the model's inputs to int32 arrays of shape `[num_texts, width]`.
        seed: Integer. Seed that chose the rows; recorded beside every file made with them.

    Raises:
        ValueError: There are no rows, or the arrays differ in shape.

    Example:

    ```python
    rows = np.random.default_rng(0).choice(len(texts), 200, replace=False)
    Calibration(student.encode([texts[row] for row in rows]), seed=0)
    ```
    """

    arrays: Mapping[str, np.ndarray]
    seed: int

    def __post_init__(self) -> None:
        shapes = {values.shape for values in self.arrays.values()}
        if len(shapes) != 1 or len(min(shapes)) != 2 or not min(shapes)[0]:
            raise ValueError(
                "Expected arrays of one shape [num_texts, width], num_texts at least 1. Received: "
                f"{sorted(shapes)}"
            )

    @property
    def num_texts(self) -> int:
        """Number of rows."""
        return len(next(iter(self.arrays.values())))

    def of_inputs(self, names: Sequence[str]) -> Self:
        """The same rows with only the arrays a model takes."""
        return dataclasses.replace(self, arrays={name: self.arrays[name] for name in names})

    def rows(self, length: int) -> Iterator[dict[str, np.ndarray]]:
        """Every row as a signature takes it: int32 `[1, length]`, padded or cut."""
        for row in range(self.num_texts):
            inputs = {}
            for name, values in self.arrays.items():
                cut = values[row : row + 1, :length]
                inputs[name] = np.pad(cut, ((0, 0), (0, length - cut.shape[1]))).astype(np.int32)
            yield inputs

    def to_dict(self) -> dict[str, object]:
        """Record for the files made with it."""
        return calibration_record(self.num_texts, self.seed)

    def save(self, path: Path) -> None:
        """Writes an `.npz` file for another process."""
        stored: dict[str, Any] = {f"input_{name}": values for name, values in self.arrays.items()}
        np.savez(path, seed=self.seed, **stored)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = {
                name.removeprefix("input_"): stored[name] for name in stored.files if name != "seed"
            }
            return cls(arrays, int(stored["seed"]))


def calibration_record(num_texts: int, seed: int) -> dict[str, object]:
    """Record for files made with so many training rows, chosen by a seed."""
    return {"split": "train", "num_texts": num_texts, "seed": seed}
