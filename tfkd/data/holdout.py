"""Rows of train held out where a data set publishes no validation or test split: by their texts.

A row's text has a place in the order of hashes that the seed gives. Of each class the first rows in
this order are the one part and the last ones the other, so every part has its share of each class,
equal texts lie on one side, and rows that are added to a file move few of those that were there.
One byte a row says its part; hashes are kept, and no text.

Of fewer rows of train the first ones are taken, or where these are no fair part a sample of all.
Many files are shuffled, and then their first rows are as good as any and quick to look up. A file
that is sorted by class, or by time, needs rows from everywhere.
"""

import array
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from tfkd.data.examples import MULTI_LABEL, REGRESSION, Example, Reiterable, text_hash
from tfkd.errors import DatasetError

# Held out where nobody says how much: of many rows a share, of few ones more, since a part of fifty
# rows does not tell an epoch from the next one, nor a student from its control.
SHARE = 0.05
# The rows wanted of each part, and the most of few rows. A figure of 1,000 rows is known to 2 to 3
# points.
WANTED_ROWS = {"validation": (150, 0.15), "test": (1000, 0.2)}
# A class with fewer texts stays in train: one each to learn from, to choose by and to judge by.
FEWEST_TEXTS = 3
# Strata of scores, of equally many rows each, and the rows without which there is no further one.
NUM_BINS, BIN_ROWS = 10, 20
# Share of the first rows that may be of other classes than a stratified sample's.
MOST_ASTRAY = 0.1


def fitting_fraction(num_rows: int, split: str = "validation") -> float:
    """The share of so many rows for a held-out split, where nobody says how much.

    Example:

    >>> [fitting_fraction(num_rows) for num_rows in (400, 1500, 100_000)]
    [0.15, 0.1, 0.05]
    >>> [fitting_fraction(num_rows, "test") for num_rows in (400, 10_000, 100_000)]
    [0.2, 0.1, 0.05]
    """
    wanted, most = WANTED_ROWS[split]
    return min(max(SHARE, wanted / max(num_rows, 1)), most)


def strata(examples: Iterable[Example], task: str) -> np.ndarray:
    """The class that decides a row's stratum: its label, the rarest of its labels, or its bin.

    Returns:
        Integer array, shape `[num_rows]`; for regression the bin of the score, from low to high,
        -1 for rows without a label.
    """
    if task == REGRESSION:
        return score_bins(examples)
    flat, lengths = array.array("i"), array.array("i")
    for example in examples:
        labels = (example.label or (-1,)) if task == MULTI_LABEL else (example.label,)
        flat.extend(labels)  # type: ignore[arg-type]
        lengths.append(len(labels))  # type: ignore[arg-type]
    if task != MULTI_LABEL or not lengths:
        return np.asarray(flat, np.intc)
    names, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    by_count = counts.argsort(kind="stable")
    starts = np.cumsum(lengths, dtype=np.intp) - lengths
    return names[by_count[np.minimum.reduceat(by_count.argsort()[inverse], starts)]]


def score_bins(examples: Iterable[Example]) -> np.ndarray:
    """The stratum of each score, from low to high: an integer array, shape `[num_rows]`."""
    scores = np.array(array.array("d", (float(row.label) for row in examples)))  # type: ignore[arg-type]
    num_bins = min(NUM_BINS, max(len(scores) // BIN_ROWS, 1))
    if not len(scores):
        return np.zeros(0, np.intc)
    return np.searchsorted(np.quantile(scores, np.linspace(0, 1, num_bins + 1)[1:-1]), scores)


@dataclasses.dataclass(frozen=True)
class TextGroups:
    """Rows of equal texts, in the order of their hashes.

    Attributes:
        of_rows: Integer array, shape `[num_rows]`. The text of each row, by its place.
        sizes: Integer array, shape `[num_texts]`. Rows of each text.
        classes: Integer array, shape `[num_texts]`. The stratum of most of its rows.
    """

    of_rows: np.ndarray
    sizes: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(cls, hashes: np.ndarray, classes: np.ndarray) -> "TextGroups":
        """The groups of rows.

        Equal texts have equal hashes, made with the seed; the classes are the rows' strata.
        """
        order = np.lexsort((classes, hashes))
        hashes = hashes[order]
        is_new = np.ones(len(order), bool)
        is_new[1:] = hashes[1:] != hashes[:-1]
        of_rows = np.empty(len(order), np.int32)
        of_rows[order] = is_new.cumsum(dtype=np.int32) - 1
        starts = np.flatnonzero(is_new)
        sizes = np.diff(starts, append=len(order))
        ends = starts + sizes
        classes = classes[order]
        of_texts = classes[starts]
        for text in np.flatnonzero(of_texts != classes[ends - 1]):
            names, counts = np.unique(classes[starts[text] : ends[text]], return_counts=True)
            of_texts[text] = names[counts.argmax()]
        return cls(of_rows, sizes, of_texts)

    def by_class(self) -> list[np.ndarray]:
        """The texts of each class, in their order; none of no rows."""
        order = self.classes.argsort(kind="stable")
        ends = np.flatnonzero(np.diff(self.classes[order])) + 1
        return np.split(order, ends) if len(order) else []

    def of_fold(self, fold: int, num_folds: int) -> np.ndarray:
        """Whether each row is in one of so many parts that have equal shares of each class.

        Args:
            fold: Integer, counted from 1.
            num_folds: Integer. The only text of a class is in none of them.

        Example:

        >>> groups = TextGroups.of(np.arange(5, dtype=np.uint64), np.array([0, 0, 0, 1, 1]))
        >>> [groups.of_fold(fold, 2).tolist() for fold in (1, 2)]
        [[True, False, True, False, True], [False, True, False, True, False]]
        """
        by_class = [texts for texts in self.by_class() if len(texts) > 1]
        order = np.concatenate(by_class) if by_class else np.zeros(0, int)
        is_in = np.zeros(len(self.sizes), bool)
        is_in[order[fold - 1 :: num_folds]] = True
        return is_in[self.of_rows]


def part_of_rows(groups: TextGroups, fractions: Sequence[float]) -> np.ndarray:
    """Part of each row: 0 stays in train, part i+1 takes `fractions[i]` of the rows.

    Every part gets its share of each class as nearly as whole rows allow (the largest remainders
    are rounded up, those of classes with none yet first); of equal texts that would be more than
    the share none is taken, and others may make a class's share larger or smaller by half of their
    rows. At least one row in all is in each part, and one text of each class in train; a class of
    fewer than three texts stays there whole.

    Raises:
        DatasetError: There are too few rows to hold any out.

    Example:

    >>> hashes = np.arange(6, dtype=np.uint64)
    >>> part_of_rows(TextGroups.of(hashes, np.array([0, 1, 0, 1, 0, 1])), [0.3]).tolist()
    [1, 1, 0, 0, 0, 0]
    """
    of_classes = groups.by_class()
    counts = np.array([groups.sizes[texts].sum() for texts in of_classes], np.int64)
    is_enough = np.array([len(texts) >= FEWEST_TEXTS for texts in of_classes], bool)
    most = np.where(is_enough, counts - 1, 0)
    allotted = []
    for fraction in fractions:
        allotted.append(allot(counts, most, fraction))
        most = most - allotted[-1]
    parts = np.zeros(len(groups.sizes), np.uint8)
    for texts, *shares in zip(of_classes, *allotted, strict=True):
        for part, share in enumerate(shares, start=1):
            # A text of more rows than a part takes would be all of it.
            fitting = texts[(groups.sizes[texts] <= share) & (parts[texts] == 0)]
            # From either end, so that the share of the one part moves no row of the other.
            fitting = fitting if part == 1 else fitting[::-1]
            sizes = groups.sizes[fitting]
            parts[fitting[sizes.cumsum() - sizes / 2 < share]] = part
        if parts[texts].all():
            parts[texts[groups.sizes[texts].argmax()]] = 0
    if (np.bincount(parts, minlength=1 + len(allotted)) == 0).any():
        raise DatasetError(
            f"Expected {FEWEST_TEXTS} different texts of a class or more, to hold some out of "
            f"train. Received: {len(groups.of_rows)} rows of {len(counts)} classes. Add rows, or "
            "give files for validation and test."
        )
    return parts[groups.of_rows]


def allot(counts: np.ndarray, most: np.ndarray, fraction: float) -> np.ndarray:
    """Rows to take of each class: floors, then the largest remainders up to the total.

    Classes that have no row yet come first among the remainders.
    """
    ideal = counts * fraction
    share = np.minimum(np.floor(ideal).astype(np.int64), most)
    total = max(round(float(counts.sum()) * fraction), 1)
    for position in np.lexsort((share - ideal, share > 0)):
        if share.sum() >= total:
            break
        share[position] += share[position] < min(most[position], ideal[position])
    return share


class Holdout:
    """The parts of a split, decided on first use.

    Args:
        examples: Re-iterable of `Example`.
        task: String. One of `tfkd.data.examples.TASKS`.
        fractions: Shares of the held-out splits by name; None for one that suits the number of
            rows.
        seed: Integer.
        fold: None, or which of how many equal parts is the last of the splits, whatever its share.
    """

    def __init__(
        self,
        examples: Iterable[Example],
        task: str,
        fractions: Mapping[str, float | None],
        seed: int,
        fold: tuple[int, int] | None = None,
    ) -> None:
        self._examples, self._task = examples, task
        self._fractions, self._seed, self._fold = dict(fractions), seed, fold
        self._parts: np.ndarray | None = None

    def splits(self) -> dict[str, Reiterable[Example]]:
        """What stays in train and each held-out split, as re-iterables."""
        return {
            name: Reiterable(functools.partial(self.rows, part))
            for part, name in enumerate(["train", *self._fractions])
        }

    def _decide(self) -> np.ndarray:
        """The part of each row: uint8, shape `[num_rows]`."""
        hashes = array.array("Q")

        def noted() -> Iterator[Example]:
            for example in self._examples:
                hashes.append(text_hash(example.texts, self._seed))
                yield example

        classes = strata(noted(), self._task)
        groups = TextGroups.of(np.asarray(hashes), classes)
        fractions = [
            fitting_fraction(len(classes), split) if share is None else share
            for split, share in self._fractions.items()
        ]
        if self._fold is None:
            return part_of_rows(groups, fractions)
        parts = np.full(len(classes), len(fractions), np.uint8)
        rest = ~groups.of_fold(*self._fold)
        others = TextGroups.of(np.asarray(hashes)[rest], classes[rest])
        parts[rest] = part_of_rows(others, fractions[:-1])
        return parts

    def rows(self, index: int) -> Iterator[Example]:
        """Streams the rows of one part in their order; 0 is what stays in train.

        Raises:
            DatasetError: Too few rows, or the split gave another number of rows than before.
        """
        if self._parts is None:
            self._parts = self._decide()
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
