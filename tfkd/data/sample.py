"""So many rows of train: the first ones, or where these are no fair part, a sample of all.

Many files are shuffled, and then their first rows are as good as any and quick to look up. A file
that is sorted by class, or by time, needs rows from everywhere.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from tfkd.data.examples import Example
from tfkd.data.holdout import allot, strata

# Share of the first rows that may be of other classes than a stratified sample's.
MOST_ASTRAY = 0.1


@dataclasses.dataclass(frozen=True)
class Sample:
    """Chosen rows of a split, in their order.

    Attributes:
        examples: Re-iterable of `Example`.
        chosen: Boolean array, shape `[num_rows]`.
    """

    examples: Iterable[Example]
    chosen: np.ndarray

    @property
    def is_first_rows(self) -> bool:
        """Whether nothing before the last chosen row is left out."""
        return bool(self.chosen[: self.chosen.sum()].all())

    def __iter__(self) -> Iterator[Example]:
        """Streams the chosen rows, and reads none behind the last."""
        last = np.flatnonzero(self.chosen)[-1:].sum()
        for is_chosen, example in zip(self.chosen[: last + 1], self.examples, strict=False):
            if is_chosen:
                yield example


def sample(examples: Iterable[Example], task: str, num_rows: int, seed: int) -> Sample:
    """So many rows with every class in its share; of scores, low and high ones in theirs."""
    return Sample(examples, chosen_rows(strata(examples, task), num_rows, seed))


def chosen_rows(classes: np.ndarray, num_rows: int, seed: int) -> np.ndarray:
    """Which rows are taken: the first ones, or as many of each class as its share asks for.

    Example:

    >>> chosen_rows(np.array([0, 0, 0, 0, 1, 1]), 3, seed=0).tolist()
    [False, False, True, True, True, False]
    """
    first = np.arange(len(classes)) < num_rows
    if first.all():
        return first
    names, of_rows, counts = np.unique(classes, return_inverse=True, return_counts=True)
    expected = counts * (num_rows / len(classes))
    found = np.bincount(of_rows[first], minlength=len(names))
    astray = np.abs(found - expected).sum() / 2
    least = np.maximum(np.floor(expected / 2), expected >= 1)
    if astray <= MOST_ASTRAY * num_rows and (found >= least).all():
        return first
    chosen = np.zeros(len(classes), bool)
    generator = np.random.default_rng(seed)
    for position, share in enumerate(allot(counts, counts, num_rows / len(classes))):
        rows = np.flatnonzero(of_rows == position)
        chosen[generator.choice(rows, share, replace=False)] = True
    return chosen
