"""From what stands in a label column to class indices or a score.

`discover` finds the task and the class names in one streaming pass over the training rows;
`LabelReader` turns each value into an `Example`'s label. A value that is a class name wins over
one that is an index, so files may hold either.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Label
from tfkd.data.readers import fault, shown
from tfkd.errors import DatasetError

MOST_CLASSES = 10_000
SCORE_NAME = "score"


class LabelReader:
    """Turns values of a label column into labels.

    Args:
        task: String. One of `tfkd.data.examples.TASKS`.
        label_names: Class names in index order; ignored for regression.
        origin: String. Origin of the names, for error messages.

    Example:

    >>> LabelReader("single_label", ("cat", "dog"), "labels.txt").read("dog", path, row=1)
    1
    """

    def __init__(self, task: str, label_names: Sequence[str], origin: str) -> None:
        self._task, self._origin = task, origin
        self._names = tuple(label_names)
        self._indices = {name: index for index, name in enumerate(label_names)}
        self._known: dict[Any, Label] = {}

    def read(self, value: Any, path: Path, row: int) -> Label:
        """The label of one value.

        Raises:
            DatasetError: The value is no label of this task; names file and row.
        """
        if self._task == REGRESSION:
            score = number(value)
            if score is None:
                raise fault(path, row, "a finite number as label", shown(value))
            return float(score)
        # Few values fill a column, so each is understood once.
        is_plain = isinstance(value, (str, int)) and not isinstance(value, bool)
        if is_plain and value in self._known:
            return self._known[value]
        if self._task == SINGLE_LABEL:
            label: Label = self._index(value, path, row)
        else:
            items = split_labels(value, path, row)
            label = tuple(sorted({self._index(item, path, row) for item in items}))
        if is_plain and len(self._known) < MOST_CLASSES:
            self._known[value] = label
        return label

    def _index(self, value: Any, path: Path, row: int) -> int:
        name = canonical(value)
        if name in self._indices:
            return self._indices[name]
        index = number(value)
        if index is not None and index == int(index) and 0 <= index < len(self._names):
            return int(index)
        names = ", ".join(self._names[:8]) + (", ..." if len(self._names) > 8 else "")
        expected = f"a label of {self._origin} ({names}) or an index 0 to {len(self._names) - 1}"
        raise fault(path, row, expected, shown(value))


def number(value: Any) -> float | None:
    """The finite number a value is or spells, or None."""
    if isinstance(value, (str, int, float)):
        try:
            result = float(value)
        except (ValueError, OverflowError):
            return None
        return result if math.isfinite(result) else None
    return None


def canonical(value: Any) -> str:
    """The spelling of a label: without surrounding blanks, whole numbers without a point."""
    score = number(value)
    if score is not None and score == int(score):
        return str(int(score))
    return str(value).strip()


def split_labels(value: Any, path: Path, row: int) -> Sequence[Any]:
    """The labels of a multi-label value: a list, a JSON list, or words between blanks."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, int):
        return [value]
    if not isinstance(value, str):
        raise fault(path, row, "a list of labels", shown(value))
    if value.lstrip().startswith("["):
        try:
            return list(json.loads(value))
        except ValueError as error:
            raise fault(path, row, "a JSON list of labels", shown(value)) from error
    return value.split()


def discover(
    values: Iterable[tuple[int, Any]], is_multi_label: bool, path: Path
) -> tuple[str, tuple[str, ...]]:
    """The task and the class names that a label column shows.

    Names come sorted, whole numbers in numeric order. A column of numbers of which at least one
    is not whole is a regression.

    Args:
        values: Row number and value, one pass. Memory holds the distinct values only.
        is_multi_label: Boolean. Whether a value may hold several labels.
        path: Path. The file, for error messages.

    Returns:
        Pair of task and label names.

    Raises:
        DatasetError: A label is missing, there is only one class or there are too many.
    """
    names: set[str] = set()
    is_numeric, is_whole = True, True
    for row, value in values:
        for item in split_labels(value, path, row) if is_multi_label else (value,):
            name = canonical(item)
            if item is None or not name:
                raise fault(path, row, "a label", "an empty one")
            if name in names:
                continue
            score = number(item)
            is_numeric = is_numeric and score is not None
            is_whole = is_whole and score is not None and score == int(score)
            if len(names) < MOST_CLASSES or not is_numeric or is_whole:
                names.add(name)
        if len(names) > MOST_CLASSES and (is_whole or not is_numeric):
            raise fault(
                path,
                row,
                f"at most {MOST_CLASSES} classes",
                "more",
                "Is the label column right?",
            )
    if is_numeric and not is_whole and not is_multi_label:
        return REGRESSION, (SCORE_NAME,)
    if len(names) < (1 if is_multi_label else 2):
        raise DatasetError(
            f"Expected at least two classes in {path}. Received: {', '.join(names) or 'none'}. "
            "Add rows of other classes, or a labels.txt with one class name a line."
        )
    task = MULTI_LABEL if is_multi_label else SINGLE_LABEL
    return task, tuple(sorted(names, key=int if is_numeric and is_whole else str))
