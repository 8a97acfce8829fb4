"""Texts that come more than once: found by their hashes, and left out where that is asked for.

Eight bytes a row are kept, and no text, however large a data set is.
"""

import array
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from tfkd.data.examples import Example, Label, text_hash
from tfkd.data.holdout import Sample

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

    def begin(self, split: str) -> None:
        """The rows that are added next are this split's; splits come in the order of `KEEPERS`."""
        self._split = split
        self._ends[split] = len(self._hashes)

    def add(self, texts: Iterable[str], label: Label) -> None:
        """Takes in the next row."""
        self._hashes.append(text_hash(texts))
        self._labels.append(hash(label))
        self._ends[self._split] += 1

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


def distinct(
    splits: Mapping[str, Iterable[Example]],
) -> tuple[dict[str, Iterable[Example]], dict[str, Counter[str]]]:
    """The splits without rows that repeat a text, all read once now, and `Repeats.counts`."""
    repeats = Repeats()
    for split in filter(splits.__contains__, KEEPERS):
        repeats.begin(split)
        for example in splits[split]:
            repeats.add(example.texts, example.label)
    kept = repeats.found()
    return {split: Sample(splits[split], kept[split]) for split in splits}, repeats.counts
