"""Texts that come more than once: found by their hashes, and left out where that is asked for.

Eight bytes a row are kept, and no text, however large a data set is.
"""

import array
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tfkd.data.examples import Example, Label

# Of two splits with the same text the first keeps it: what is judged by stays as it was published.
KEEPERS = ("test", "validation", "train")


# What is said of the rows that `Dataset.repairs` counts.
REPAIRS = {
    "empty": "without a text or a label",
    "duplicates": "whose text comes before",
    "leaks": "whose text test or validation has",
}


def said_of(repairs: Mapping[str, Counter[str]]) -> list[str]:
    """What was left out of each split or read otherwise, a line each.

    Example:

    >>> said_of({"train": Counter(duplicates=40, conflicts=1)})
    ['left out of train: 40 whose text comes before; 1 with another label']
    """
    lines = []
    for split, counts in repairs.items():
        found = [f"{counts[kind]:,} {said}" for kind, said in REPAIRS.items() if counts[kind]]
        other = f"; {counts['conflicts']:,} with another label" if counts["conflicts"] else ""
        lines += [f"left out of {split}: {', '.join(found)}{other}"] if found else []
        if counts["folded"]:
            lines.append(f"labels of {split} spelled as most of their class: {counts['folded']:,}")
    return lines


def text_hash(texts: Iterable[str]) -> int:
    """A hash of a text or pair of texts, the same whatever its case and blanks.

    Example:

    >>> text_hash(["Oil  fell."]) == text_hash(["oil fell. "])
    True
    """
    content = json.dumps([" ".join(text.casefold().split()) for text in texts])
    return int.from_bytes(hashlib.blake2b(content.encode("ascii"), digest_size=8).digest(), "big")


class Repeats:
    """Which rows repeat the text of an earlier one, over all splits in the order of `KEEPERS`.

    Attributes:
        counts: Of each split, rows that repeat one of the same split (`duplicates`) or of another
            (`leaks`), and how many of both have another label than that one (`conflicts`).
        first: Of each split with such rows, number of the first one that repeats another split's.
    """

    def __init__(self) -> None:
        self._hashes = array.array("Q")
        self._labels = array.array("q")
        self._ends: dict[str, int] = {}
        self.counts: dict[str, Counter[str]] = {}
        self.first: dict[str, int] = {}

    def add(self, split: str, texts: Iterable[str], label: Label | str | None) -> None:
        """Takes in the next row; splits come one after the other in the order of `KEEPERS`."""
        self._hashes.append(text_hash(texts))
        self._labels.append(hash(label))
        self._ends[split] = len(self._hashes)

    def found(self) -> dict[str, np.ndarray]:
        """Which rows of each split repeat no earlier one: boolean arrays, shape `[num_rows]`."""
        hashes, labels = np.asarray(self._hashes), np.asarray(self._labels)
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        origin = first[inverse.reshape(-1)] if len(hashes) else np.zeros(0, np.int64)
        is_repeat = origin != np.arange(len(hashes))
        is_conflict = is_repeat & (labels[origin] != labels)
        kept, start = {}, 0
        for split, end in self._ends.items():
            part = slice(start, end)
            leaks = is_repeat[part] & (origin[part] < start)
            self.counts[split] = +Counter(
                duplicates=int((is_repeat[part] & ~leaks).sum()),
                leaks=int(leaks.sum()),
                conflicts=int(is_conflict[part].sum()),
            )
            if leaks.any():
                self.first[split] = int(leaks.argmax()) + 1
            kept[split] = ~is_repeat[part]
            start = end
        return kept


class Distinct:
    """The splits of a data set without rows that repeat a text; decided on first use.

    Args:
        splits: Split name to re-iterable of `Example`.
    """

    def __init__(self, splits: Mapping[str, Iterable[Example]]) -> None:
        self._splits = splits
        self._repeats = Repeats()
        self._kept: dict[str, np.ndarray] | None = None

    def splits(self) -> dict[str, "DistinctSplit"]:
        """Each split's rows that are left."""
        return {split: DistinctSplit(self, split) for split in self._splits}

    def counts(self) -> dict[str, Counter[str]]:
        """Rows of each split that were left out, by the reason; none before a row was read."""
        return self._repeats.counts

    def rows(self, split: str) -> Iterator[Example]:
        """Streams the rows of a split that are left."""
        if self._kept is None:
            for name in filter(self._splits.__contains__, KEEPERS):
                for example in self._splits[name]:
                    self._repeats.add(name, example.texts, example.label)
            self._kept = self._repeats.found()
        kept = self._kept.get(split, ())
        for is_kept, example in zip(kept, self._splits[split], strict=True):
            if is_kept:
                yield example


class DistinctSplit:
    """One split of `Distinct`; streams its rows anew in every pass."""

    def __init__(self, distinct: Distinct, split: str) -> None:
        self._distinct, self._split = distinct, split

    def __iter__(self) -> Iterator[Example]:
        """The rows that are left."""
        return self._distinct.rows(self._split)
