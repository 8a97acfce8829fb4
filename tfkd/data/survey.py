"""One look at all rows of a data set: what is wrong with them, all of it at once.

A fault that would stop a reader is a finding here, and so is what stops none and spoils the
figures: texts that test and train share, classes spelled in two ways, classes of a row or two.
"""

import array
import collections
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfkd.data.duplicates import KEEPERS, Repeats
from tfkd.data.examples import MULTI_LABEL, SINGLE_LABEL, Dataset, classes_of, listing
from tfkd.data.holdout import FEWEST_TEXTS
from tfkd.data.label_values import folded
from tfkd.errors import DatasetError

# With fewer rows of test, one answer moves a class's recall by ten points and more.
FEWEST_TESTED = 10
# What is said of rows by the kind they are counted as, and what to do.
COUNTED = {
    "empty": ("Rows without a text or a label", "--drop-empty leaves them out."),
    "leaks": (
        "Rows with a text that a split to judge by has as well",
        "The figures are too good; --drop-duplicates leaves these rows out.",
    ),
    "conflicts": (
        "Rows with the text of an earlier row and another label",
        "Decide on one label; --drop-duplicates keeps the first.",
    ),
    "duplicates": (
        "Rows with the text of an earlier row of the same split",
        "--drop-duplicates leaves them out.",
    ),
    "ids": ("Rows whose id comes before", "Nothing can be joined to them by it."),
    "weightless": ("Rows of weight 0", "They teach nothing; a train of such rows only is refused."),
}
# Of the rows that cannot be read, so many are told of one by one.
SHOWN_FAULTS = 5
# Kinds that a training says before it starts; the others it says by itself, or fails.
SAID_BEFORE_TRAINING = ("leaks", "conflicts", "duplicates", "spellings")


class Finding(NamedTuple):
    """Something that is wrong, and what to do about it.

    Attributes:
        kind: One word, for programs.
        found: What was found.
        advice: What to do.
    """

    kind: str
    found: str
    advice: str

    def __str__(self) -> str:
        return f"{self.found}. {self.advice}"


@dataclasses.dataclass(frozen=True)
class SplitSurvey:
    """What the rows of a split are.

    Attributes:
        num_words: UInt32 array, shape `[num_rows]`. Words of each row that could be read.
        class_counts: Int64 array, shape `[num_classes]`.
        counts: Rows by the kinds of `COUNTED`, and unreadable ones; these and empty ones are not
            among the rows.
        fault: What stopped the reading, or nothing.
    """

    num_words: np.ndarray
    class_counts: np.ndarray
    counts: Counter[str]
    fault: str

    @property
    def num_rows(self) -> int:
        """Rows that could be read."""
        return len(self.num_words)


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the rows of a data set are.

    Attributes:
        dataset: `Dataset`.
        splits: `SplitSurvey` by name, in the data set's order.
        first_leaks: Of each split with texts of another one, the number of the first such row.
    """

    dataset: Dataset
    splits: dict[str, SplitSurvey]
    first_leaks: dict[str, int]

    @property
    def has_classes(self) -> bool:
        """Whether rows are counted by class."""
        return self.dataset.task in (SINGLE_LABEL, MULTI_LABEL)

    def findings(self) -> list[Finding]:
        """All that is wrong, the worst first."""
        faults = [
            Finding("fault", found.fault.rstrip("."), f"No row of {split} behind it was read.")
            for split, found in self.splits.items()
            if found.fault
        ]
        faults += [_unreadable(*item) for item in self.dataset.faults.items() if item[1]]
        counted = filter(None, map(self._counted, COUNTED))
        return [*faults, *counted, *self._spellings(), *self._rare()]

    def _counted(self, kind: str) -> Finding | None:
        counts = {split: found.counts[kind] for split, found in self.splits.items()}
        where = ", ".join(f"{count:,} of {split}" for split, count in counts.items() if count)
        if not where:
            return None
        if kind == "leaks":
            split, row = next(iter(self.first_leaks.items()))
            where += f" (the first: row {row:,} of {split})"
        what, advice = COUNTED[kind]
        return Finding(kind, f"{what}: {where}", advice)

    def _spellings(self) -> list[Finding]:
        alike = collections.defaultdict(list)
        for name in self.dataset.label_names:
            alike[folded(name)].append(name)
        found = [" = ".join(map(ascii, names)) for names in alike.values() if len(names) > 1]
        if not found:
            return []
        what = f"Classes that look alike: {listing(found)}"
        return [Finding("spellings", what, "--fold-case takes them for one.")]

    def _rare(self) -> list[Finding]:
        if not self.has_classes or "train" not in self.splits:
            return []
        names = self.dataset.label_names
        every = np.sum([found.class_counts for found in self.splits.values()], axis=0)
        rare = [index for index, count in enumerate(every) if count < FEWEST_TEXTS]
        said = []
        if rare:
            what = f"Classes too rare to learn and to judge: {_numbered(names, every, rare)}"
            said.append(Finding("rare", what, "Add rows, or join them with other classes."))
        test = self.splits.get("test") or self.splits.get("validation")
        if test is None or not test.num_rows:
            return said
        few = [index for index, count in enumerate(test.class_counts) if count < FEWEST_TESTED]
        few = [index for index in few if index not in rare]
        if few:
            what = f"Classes with few rows of test: {_numbered(names, test.class_counts, few)}"
            said.append(Finding("untested", what, "Say nothing of each of them alone."))
        return said


def survey(dataset: Dataset) -> Survey:
    """Looks at each row of each split once; keeps hashes and lengths, and no text.

    Args:
        dataset: `Dataset`. One that leaves out empty rows counts them, where others stop.

    Example:

    >>> [finding.kind for finding in survey(dataset).findings()]
    ['empty', 'leaks']
    """
    repeats = Repeats()
    found = {
        split: _surveyed(dataset, split, repeats) for split in KEEPERS if split in dataset.splits
    }
    repeats.found()
    for split, item in found.items():
        item.counts.update(repeats.counts[split])
        item.counts["empty"] = dataset.repairs().get(split, Counter())["empty"]
        item.counts["unreadable"] = len(dataset.faults.get(split, ()))
    splits = {split: found[split] for split in dataset.splits if split in found}
    return Survey(dataset, splits, repeats.first)


def _unreadable(split: str, faults: Mapping[int, str]) -> Finding:
    first = [f"row {row}: {faults[row]}" for row in sorted(faults)[:SHOWN_FAULTS]]
    more = ["..."] * (len(faults) > SHOWN_FAULTS)
    what = f"Rows that cannot be read: {len(faults):,} of {split} ({'; '.join([*first, *more])})"
    return Finding("unreadable", what, "A training stops at the first; correct them or drop them.")


def _surveyed(dataset: Dataset, split: str, repeats: Repeats) -> SplitSurvey:
    words, ids, fault, weightless = array.array("I"), array.array("q"), "", 0
    classes = np.zeros(dataset.num_outputs, np.int64)
    repeats.begin(split)
    try:
        for example in dataset.splits[split]:
            words.append(sum(len(text.split()) for text in example.texts))
            repeats.add(example.texts, example.label)
            for label in classes_of(dataset.task, example):
                classes[label] += 1
            weightless += example.weight == 0
            if example.id is not None:
                ids.append(hash(example.id))
    except DatasetError as error:
        fault = str(error)
    repeated = len(ids) - len(np.unique(np.asarray(ids)))
    counts = Counter(ids=repeated, weightless=weightless)
    return SplitSurvey(np.asarray(words), classes, counts, fault)


def _numbered(names: Sequence[str], counts: np.ndarray, chosen: Sequence[int]) -> str:
    """Classes with their counts, the rarest first."""
    ordered = sorted(chosen, key=lambda index: counts[index])
    return listing([f"{names[index]} ({counts[index]:,})" for index in ordered])
