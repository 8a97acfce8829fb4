"""From what stands in a label column to class indices or a score.

A `LabelForm` says how a column is to be understood, as far as that is known: by the user, by
labels.txt, by the catalog or by a run. `tfkd.data.label_columns` finds out the rest; a
`LabelReader` then turns each value into an `Example`'s label.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfkd.data.examples import REGRESSION, SINGLE_LABEL, Label, listing
from tfkd.data.label_values import folded, is_missing, is_object, listed, number, spelled, whole
from tfkd.data.streams import RowFault
from tfkd.errors import shown

MOST_CLASSES = 10_000
BLANKS = " "


@dataclasses.dataclass(frozen=True)
class LabelForm:
    """How a label column is to be understood; what is None is for the column to show.

    Attributes:
        task: One of `tfkd.data.examples.TASKS`.
        separator: What stands between the labels of a row; `BLANKS` for any blanks.
        names: Class names in index order.
        origin: Where the names come from, for error messages.
        takes_indices: Whether a whole number that is no name counts as an index.
        may_be_missing: Whether rows of train may have none; those are a split of their own.
        is_hot: Whether a row has a 0 or a 1 for each label.
        folds_case: Whether names that differ in case and blanks only are one.
        num_folded: Rows of the column whose name was taken for another one so.
        note: What was a guess, and the option that says it otherwise.
    """

    task: str | None = None
    separator: str | None = None
    names: tuple[str, ...] | None = None
    origin: str = ""
    takes_indices: bool = False
    may_be_missing: bool = False
    is_hot: bool = False
    folds_case: bool = False
    num_folded: int = 0
    note: str = ""

    def replace(self, **changes: Any) -> "LabelForm":
        """A copy with some attributes changed."""
        return dataclasses.replace(self, **changes)

    def named(self, names: Sequence[str], origin: str) -> "LabelForm":
        """A copy with class names from outside the column.

        An index counts as a class then, but not beside names that are whole numbers themselves.
        """
        takes_indices = not any(whole(name) is not None for name in names)
        return self.replace(names=tuple(names), origin=origin, takes_indices=takes_indices)


class LabelReader:
    """Turns values of a label column into labels.

    Example:

    >>> form = LabelForm("single_label").named(("cat", "dog"), "labels.txt")
    >>> LabelReader(form).read("dog")
    1
    """

    def __init__(self, form: LabelForm) -> None:
        self._form, self._names = form, form.names or ()
        self._indices = {self._key(name): index for index, name in enumerate(self._names)}
        self._wholes = {whole(name): index for index, name in enumerate(self._names)}
        self._known: dict[Any, Label] = {}

    def read(self, value: Any) -> Label:
        """The label of one value.

        Raises:
            RowFault: The value is no label of this task.
        """
        if self._form.task == REGRESSION:
            score = number(value)
            if score is None:
                advice = "Write numbers with a point, and nothing between thousands."
                raise RowFault("a finite number as label", shown(value), advice)
            return score
        # Few values fill a column, so each is understood once.
        is_plain = isinstance(value, (str, int)) and not isinstance(value, bool)
        if is_plain and value in self._known:
            return self._known[value]
        label = self._understood(value)
        if is_plain and len(self._known) < MOST_CLASSES:
            self._known[value] = label
        return label

    def _key(self, name: str) -> str:
        return folded(name) if self._form.folds_case else name

    def _understood(self, value: Any) -> Label:
        if self._form.task == SINGLE_LABEL:
            return self._index(value)
        name = self._key(spelled(value)) if isinstance(value, str) else None
        if name in self._indices:
            return (self._indices[name],)
        items = items_of(value, self._form.separator)
        if not self._form.is_hot:
            return tuple(sorted({self._index(item) for item in items}))
        if len(items) != len(self._names) or not all(is_bit(item) for item in items):
            expected = f"a 0 or a 1 for each of {len(self._names)} labels"
            raise RowFault(expected, shown(value))
        return tuple(index for index, item in enumerate(items) if bit(item))

    def _index(self, value: Any) -> int:
        refuse_missing(value)
        name = self._key(spelled(value))
        if name in self._indices:
            return self._indices[name]
        index = whole(value)
        if index is not None and index in self._wholes:
            return self._wholes[index]
        if self._form.takes_indices:
            index = int(value) if isinstance(value, bool) else index
            if index is not None and 0 <= index < len(self._names):
                return index
        expected = f"a label of {self._form.origin} ({listing(self._names)})"
        if self._form.takes_indices:
            expected += f" or an index 0 to {len(self._names) - 1}"
        near = next((known for known in self._names if folded(known) == folded(name)), None)
        received = shown(value) if near is None else f"{name!a}, which is not {near!a}"
        raise RowFault(expected, received, "Correct the label, or drop the row.")


def refuse_missing(value: Any) -> None:
    """Refuses a value that is no label at all.

    Raises:
        RowFault: It is null, blank, or a number that is not finite.
    """
    if is_missing(value):
        received = "an empty one" if isinstance(value, str) else "none"
        if isinstance(value, float):
            received = str(value)
        advice = "Fill it in, or leave such rows out: --drop-empty."
        raise RowFault("a label", received, advice)


def items_of(value: Any, separator: str | None) -> Sequence[Any]:
    """The labels of a value: those of a list, or the parts of a string, by default at blanks.

    Raises:
        RowFault: The value is missing, or begins as a list and is none.
    """
    found = listed(value)
    if found is not None:
        return found
    if not isinstance(value, str):
        refuse_missing(value)
        return [value]
    if value.lstrip().startswith("[") or is_object(value):
        raise RowFault("a JSON list of labels", shown(value))
    return parts_of(value, separator or BLANKS)


def parts_of(word: str, separator: str) -> list[str]:
    """The parts of a string between separators, without blanks around them; empty ones are none."""
    parts = word.split(separator) if separator.strip() else word.split()
    return [part.strip() for part in parts if part.strip()]


def is_bit(item: Any) -> bool:
    """Whether a value is, or spells, 0 or 1 or a truth value."""
    return isinstance(item, bool) or whole(item) in (0, 1)


def bit(item: Any) -> bool:
    """Which of the two an `is_bit` value is."""
    return item if isinstance(item, bool) else bool(whole(item))
