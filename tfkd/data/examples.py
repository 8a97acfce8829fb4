"""Examples of any source of text, in a fixed order and in named splits.

Row i of a split is row i for ever: teacher logits, token arrays and predictions are joined by it.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

SINGLE_LABEL = "single_label"
MULTI_LABEL = "multi_label"
REGRESSION = "regression"
TASKS = (SINGLE_LABEL, MULTI_LABEL, REGRESSION)
# What a student of no task yet gives: its encoder's vector of a text. No data set has labels of it.
EMBEDDING = "embedding"
# Of a multi_label classifier that was not tuned: what is likelier than not is given.
DEFAULT_THRESHOLD = 0.5

Label = int | float | tuple[int, ...]
# What is given to a model: texts, or pairs of texts.
Texts = Sequence[str] | Sequence[tuple[str, ...]]
Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Reiterable(Generic[Item]):
    """Streams what a function gives, which is called anew for every pass."""

    begin: Callable[[], Iterator[Item]]

    def __iter__(self) -> Iterator[Item]:
        """Begins a pass."""
        return self.begin()


class Example(NamedTuple):
    """One row: a text or a pair of texts, and what is to be predicted.

    Attributes:
        texts: One string, or two for a sentence pair.
        label: Class index (single_label), class indices in rising order (multi_label, may be
            empty) or score (regression).
    """

    texts: tuple[str, ...]
    label: Label

    @property
    def id(self) -> str | None:
        """What its source calls the row, or None. It is no part of the row's values."""
        return None

    @property
    def weight(self) -> float:
        """How much it counts in a training's losses. It is no part of the row's values."""
        return 1.0


class NotedExample(Example):
    """An example that its source has a name or a weight for, equal to the same without them."""

    _notes: tuple[str | None, float]

    @property
    def id(self) -> str | None:
        """See `Example`."""
        return self._notes[0]

    @property
    def weight(self) -> float:
        """See `Example`."""
        return self._notes[1]


def example_of(
    texts: Sequence[str], label: Label, row_id: str | None, weight: float = 1.0
) -> Example:
    """An example with what its source calls it and how much it counts, if that is anything.

    Example:

    >>> row = example_of(["Oil prices fell again."], 2, "T-1047", 0.5)
    >>> row.id, row.weight, row == (("Oil prices fell again.",), 2)
    ('T-1047', 0.5, True)
    """
    if row_id is None and weight == 1:
        return Example(tuple(texts), label)
    example = NotedExample(tuple(texts), label)
    example._notes = row_id, weight
    return example


def classes_of(task: str, example: Example) -> tuple[int, ...]:
    """Indices of a row's classes; a score has none."""
    if task == SINGLE_LABEL:
        return (example.label,)  # type: ignore[return-value]
    return example.label if task == MULTI_LABEL else ()  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Splits of one task. A split may be iterated any number of times and streams its rows.

    Attributes:
        name: The name or path the user gave.
        task: One of `TASKS`.
        label_names: Class names in index order; one name for regression.
        num_texts: 1 for single texts, 2 for pairs.
        metric: Name of the headline metric, as in `tfkd.evaluation.metrics`.
        splits: Split name (train, validation, test) to re-iterable of `Example`.
        note: What was a guess in reading the labels, and how to say it otherwise.
        is_sampled: Whether train is a sample of its rows, from everywhere.
        form: Format, encoding and separator of its files, or nothing.
        columns: What the columns of its files were taken for, where there is something to say.
        repairs: Gives the rows of each split that were left out or read otherwise on request, by
            the reason, once they were read.
        findings: Gives what is to be said of the rows, once they were read.
        faults: Where bad rows do not end the reading, what is wrong with each one so far, by split
            and number.
    """

    name: str
    task: str
    label_names: tuple[str, ...]
    num_texts: int
    metric: str
    splits: Mapping[str, Iterable[Example]]
    note: str = ""
    is_sampled: bool = False
    form: str = ""
    columns: str = ""
    repairs: Callable[[], dict[str, Counter[str]]] = dict
    findings: Callable[[], tuple[str, ...]] = tuple
    faults: Mapping[str, Mapping[int, str]] = dataclasses.field(default_factory=dict)

    @property
    def num_outputs(self) -> int:
        """Width of the logits."""
        return len(self.label_names)

    @property
    def labels(self) -> str:
        """Task, classes and how they were found, as one line."""
        noun = {SINGLE_LABEL: "classes", MULTI_LABEL: "labels"}.get(self.task)
        what = self.task
        if noun:
            what += f", {self.num_outputs} {noun}: {listing(self.label_names)}"
        return f"{what} ({self.note})" if self.note else what


def listing(names: Sequence[str]) -> str:
    """The first of some names as they stand in a line or a message, long ones cut."""
    first = [name if len(name) <= 60 else f"{name[:57]}..." for name in names[:8]]
    return ", ".join(first) + (", ..." if len(names) > 8 else "")


def text_hash(texts: Iterable[str], seed: int = 0) -> int:
    """A hash of a text or pair of texts, the same whatever its case and blanks.

    Example:

    >>> text_hash(["Oil  fell."]) == text_hash(["oil fell. "]), text_hash(["oil fell."], seed=1)
    (True, 1692007219741038627)
    """
    content = json.dumps([seed, *(" ".join(text.casefold().split()) for text in texts)])
    return int.from_bytes(hashlib.blake2b(content.encode("ascii"), digest_size=8).digest(), "big")
