"""One pass over each split before anything slow starts: rows counted, checked and fingerprinted.

A fault found here costs seconds; found by a trainer it costs hours. The fingerprint covers every
text, label and weight in order, so stored teacher logits can be tied to exactly these rows.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence

import numpy as np

from tfkd.data.examples import (
    EMBEDDING,
    MULTI_LABEL,
    REGRESSION,
    SINGLE_LABEL,
    Dataset,
    Example,
    classes_of,
)
from tfkd.data.streams import RowFault
from tfkd.data.transfer import HELD_OUT
from tfkd.errors import DatasetError
from tfkd.progress import Progress

# Largest class by smallest, from which on each class counts alike in the headline metric; and the
# rows of a class that is counted there.
UNEVEN, FEWEST_COUNTED = 10, 10


@dataclasses.dataclass(frozen=True)
class SplitSummary:
    """Findings of a pass over one split.

    Attributes:
        num_rows: Number of examples.
        fingerprint: SHA-256 over all texts and labels in order, and of what is learned from over
            weights that are not 1; 64 hexadecimal digits.
        class_counts: Rows of each class, in index order; empty for tasks without any.
    """

    num_rows: int
    fingerprint: str
    class_counts: tuple[int, ...]

    @property
    def balanced_weights(self) -> np.ndarray:
        """Weight of a row of each class by which all classes count alike: `n / (k * count)`.

        float64 `[num_classes]`, as scikit-learn has it: k is the number of classes with rows, the
        mean over rows is 1, and classes without rows have 0.

        Example:

        >>> SplitSummary(8, "", (6, 2)).balanced_weights
        array([0.66666667, 2.        ])
        """
        counts = np.array(self.class_counts, np.float64)
        total = np.count_nonzero(counts) * counts
        return np.divide(counts.sum(), total, out=np.zeros_like(counts), where=counts > 0)

    @property
    def uneven(self) -> tuple[int, int] | None:
        """The classes with the most and the fewest rows, if the one has over 10 times the other's.

        Accuracy then hardly changes with the small class. Classes of fewer than 10 rows are passed
        over: no figure of so few rows says anything.
        """
        counts = np.array(self.class_counts)
        counted = np.flatnonzero(counts >= FEWEST_COUNTED)
        if len(counted) < 2:
            return None
        most, fewest = (int(counted[find(counts[counted])]) for find in (np.argmax, np.argmin))
        return (most, fewest) if counts[most] > UNEVEN * counts[fewest] else None


def check(
    dataset: Dataset, splits: Sequence[str] = ("train", "validation", "test")
) -> dict[str, SplitSummary]:
    """Reads each split once and refuses bad rows.

    Raises:
        DatasetError: A split is missing or empty, or a row has no text, or a label that does not
            fit the task.

    Example:

    >>> check(dataset, ["test"])["test"].num_rows
    7600
    """
    return {split: _check_split(dataset, split) for split in splits}


def with_headline(
    dataset: Dataset, train: SplitSummary, progress: Progress, is_balanced: bool
) -> Dataset:
    """A data set of the user's own, judged by macro F1 where its classes are very uneven."""
    if dataset.task != SINGLE_LABEL or train.uneven is None:
        return dataset
    (most, name), (fewest, rare) = (
        (train.class_counts[k], dataset.label_names[k]) for k in train.uneven
    )
    untried = "; --class-weight balanced has all classes count alike in training, too"
    progress.say(
        f"headline metric: macro F1, since {name} has {most:,} rows of train and {rare} has "
        f"{fewest:,}, which accuracy would hardly see" + ("" if is_balanced else untried)
    )
    return dataclasses.replace(dataset, metric="macro_f1")


def _check_split(dataset: Dataset, split: str) -> SplitSummary:
    digest = hashlib.sha256()
    counts = [0] * dataset.num_outputs
    encode = json.JSONEncoder(ensure_ascii=False).encode
    row, heaviest = 0, 0.0
    for row, example in enumerate(dataset.splits[split], start=1):
        fault = _fault(dataset, example)
        if fault:
            raise RowFault(*fault).at(f"`{dataset.name}`, {split}", row)
        is_weighed = example.weight != 1 and split not in HELD_OUT
        heaviest = max(heaviest, example.weight)
        values = (*example, example.weight) if is_weighed else example
        digest.update(encode(values).encode("utf-8", "surrogatepass") + b"\n")
        for label in classes_of(dataset.task, example):
            counts[label] += 1
    if row == 0:
        raise DatasetError(
            f"Expected rows in `{dataset.name}`, split {split}. Received: an empty split."
        )
    if not heaviest and split not in HELD_OUT:
        raise DatasetError(
            f"Expected a weight above 0 in `{dataset.name}`, split {split}. Received: 0 in all of "
            f"{row:,} rows. Correct the column of --weight-column, or leave it out."
        )
    has_classes = dataset.task in (SINGLE_LABEL, MULTI_LABEL)
    return SplitSummary(row, digest.hexdigest(), tuple(counts) if has_classes else ())


def _fault(dataset: Dataset, example: Example) -> tuple[str, str] | None:
    """The expected and the received value of a bad row, or None for a good row."""
    texts, label = example
    if len(texts) != dataset.num_texts:
        return f"{dataset.num_texts} texts", f"{len(texts)}"
    # One side of a pair may be empty: GLUE's qqp has such rows.
    if not any(text and not text.isspace() for text in texts):
        return "a text", "an empty one"
    if dataset.task == EMBEDDING:
        return None
    if dataset.task == REGRESSION:
        is_score = isinstance(label, float) and math.isfinite(label)
        return None if is_score else ("a finite float as label", repr(label))
    last = dataset.num_outputs - 1
    if dataset.task == SINGLE_LABEL:
        is_class = type(label) is int and 0 <= label <= last
        return None if is_class else (f"a label from 0 to {last}", repr(label))
    if not isinstance(label, tuple) or not all(type(item) is int for item in label):
        return "a tuple of class indices as labels", repr(label)
    if label and not (0 <= min(label) and max(label) <= last):
        return f"labels from 0 to {last}", repr(label)
    if any(left >= right for left, right in zip(label, label[1:], strict=False)):
        return "labels in rising order", repr(label)
    return None
