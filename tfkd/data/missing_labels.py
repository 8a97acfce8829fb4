"""Rows of a file that lack a label, where a teacher may have answered: a split of their own."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfkd.data.examples import Label
from tfkd.data.label_values import is_missing
from tfkd.data.transfer import NO_LABEL


def is_unlabelled(label: Any, several: bool) -> bool:
    """Whether a row has no label where it must have one.

    Args:
        label: What stands in the label column, or a list of what stands in several.
        several: Boolean. Whether a blank label says that a row has none of several.
    """
    if isinstance(label, list):
        return any(map(is_missing, label))
    return is_missing(label) and not (several and isinstance(label, str))


@dataclasses.dataclass(frozen=True)
class ByLabel:
    """Parsed rows with a label, or those without one.

    Attributes:
        rows: Re-iterable of parsed rows, their label last.
        several: See `is_unlabelled`.
        has_label: Which of the two.
    """

    rows: Iterable[Sequence[Any]]
    several: bool
    has_label: bool = True

    def __iter__(self) -> Iterator[Sequence[Any]]:
        """Streams the rows."""
        return (row for row in self.rows if is_unlabelled(row[-1], self.several) != self.has_label)


@dataclasses.dataclass(frozen=True)
class NoLabels:
    """Reads a column without labels; what it gives, no loss reads."""

    task: str

    def read(self, value: Any, path: Path, row: int) -> Label:
        """What stands where a label would."""
        return NO_LABEL[self.task]
