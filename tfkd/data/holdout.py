"""Rows of train held out by a seed, where a data set publishes no validation (or test) split.

The labels are streamed once into a compact array, and every row gets one byte: the part it
belongs to. Parts are disjoint, cover every row once and keep the rows' order.
"""

import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tfkd.data.examples import MULTI_LABEL, REGRESSION, Example
from tfkd.errors import DatasetError

# Held out where nobody says how much: of many rows a share, of few ones more, since a part of fifty
# rows does not tell an epoch from the next one, nor a student from its control.
SHARE, MOST, WANTED_ROWS = 0.05, 0.15, 150


def fitting_fraction(num_rows: int) -> float:
    """The share of so many rows for a held-out part, where nobody says how much.

    Example:

    >>> [fitting_fraction(num_rows) for num_rows in (400, 1500, 100_000)]
    [0.15, 0.1, 0.05]
    """
    return min(max(SHARE, WANTED_ROWS / max(num_rows, 1)), MOST)


def strata(examples: Iterable[Example], task: str) -> np.ndarray:
    """The class that decides a row's stratum: its label, its first label, or none.

    Args:
        examples: Iterable of `Example`, read once.
        task: String. One of `tfkd.data.examples.TASKS`.

    Returns:
        Int32 array, shape `[num_rows]`; all 0 for regression, -1 for rows without a label.
    """
    classes = array.array("i")
    for example in examples:
        label = example.label
        if task == REGRESSION:
            classes.append(0)
        elif task == MULTI_LABEL:
            classes.append(label[0] if label else -1)  # type: ignore[index]
        else:
            classes.append(label)  # type: ignore[arg-type]
    return np.frombuffer(classes, np.intc) if classes else np.zeros(0, np.intc)


def part_of_rows(classes: np.ndarray, fractions: Sequence[float], seed: int) -> np.ndarray:
    """Part of each row: 0 stays in train, part i+1 takes `fractions[i]` of the rows.

    Every part gets its share of each class as nearly as whole rows allow (the largest remainders
    are rounded up), at least one row in all, and no class loses its last row of train.
    scikit-learn's stratified split is not used: it refuses classes with a single row.

    Args:
        classes: Int32 array, shape `[num_rows]`. The stratum of each row.
        fractions: Shares of the held-out parts, each in (0, 1).
        seed: Integer. The same seed gives the same parts.

    Returns:
        UInt8 array, shape `[num_rows]`.

    Raises:
        DatasetError: There are too few rows to hold any out.

    Example:

    >>> part_of_rows(np.array([0, 0, 1, 1], np.int32), [0.5], seed=0).sum()
    2
    """
    parts = np.zeros(len(classes), np.uint8)
    names, counts = np.unique(classes, return_counts=True)
    generator = np.random.default_rng(seed)
    left = counts.copy()
    allotted = []
    for fraction in fractions:
        share = allot(counts, left - 1, fraction)
        left -= share
        allotted.append(share)
    if any(share.sum() == 0 for share in allotted):
        raise DatasetError(
            "Expected rows enough to hold some out of train for validation. Received: "
            f"{len(classes)} rows of {len(names)} classes. Add rows, or give a validation file."
        )
    for position, name in enumerate(names):
        sizes = [int(share[position]) for share in allotted]
        members = np.flatnonzero(classes == name)
        chosen = generator.choice(members, sum(sizes), replace=False)
        ends = np.cumsum(sizes)[:-1]
        for part, rows in enumerate(np.split(chosen, ends), start=1):
            parts[rows] = part
    return parts


def allot(counts: np.ndarray, most: np.ndarray, fraction: float) -> np.ndarray:
    """Rows to take of each class: floors, then the largest remainders up to the total."""
    ideal = counts * fraction
    share = np.minimum(np.floor(ideal).astype(np.int64), most)
    total = max(round(float(counts.sum()) * fraction), 1)
    for position in np.argsort(share - ideal, kind="stable"):
        if share.sum() >= total:
            break
        share[position] += share[position] < most[position]
    return share


class Holdout:
    """The parts of a split, decided on first use.

    Args:
        examples: Re-iterable of `Example`.
        task: String. One of `tfkd.data.examples.TASKS`.
        fractions: Shares of the held-out parts; None for one that suits the number of rows.
        seed: Integer.
    """

    def __init__(
        self, examples: Iterable[Example], task: str, fractions: Sequence[float | None], seed: int
    ) -> None:
        self._examples, self._task = examples, task
        self._fractions, self._seed = tuple(fractions), seed
        self._parts: np.ndarray | None = None

    def part(self, index: int) -> "Part":
        """The rows of one part, as a re-iterable; 0 is what stays in train."""
        return Part(self, index)

    def rows(self, index: int) -> Iterator[Example]:
        """Streams the rows of one part in their order.

        Raises:
            DatasetError: Too few rows, or the split gave another number of rows than before.
        """
        if self._parts is None:
            classes = strata(self._examples, self._task)
            fitting = fitting_fraction(len(classes))
            shares = [fitting if share is None else share for share in self._fractions]
            self._parts = part_of_rows(classes, shares, self._seed)
        row = 0
        for row, example in enumerate(self._examples, start=1):
            if row > len(self._parts):
                break
            if self._parts[row - 1] == index:
                yield example
        if row != len(self._parts):
            raise DatasetError(
                f"Expected {len(self._parts)} rows as in the first pass over train. Received: "
                f"{row}{' or more' if row > len(self._parts) else ''}. Do not change the data "
                "while it is read."
            )


class Part:
    """One part of a `Holdout`; streams its rows anew in every pass."""

    def __init__(self, holdout: Holdout, index: int) -> None:
        self._holdout, self._index = holdout, index

    def __iter__(self) -> Iterator[Example]:
        """The rows of this part."""
        return self._holdout.rows(self._index)
