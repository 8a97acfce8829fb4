"""A row of a table as its texts, id, weight and label, or what is wrong with it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tfkd.data.columns import Columns
from tfkd.data.label_values import is_missing, number, plain, spelled, truth
from tfkd.data.streams import RowFault
from tfkd.data.texts import has_lone_surrogate
from tfkd.errors import shown

NO_TEXT = "Fill it in, or leave such rows out: --drop-empty."


class Drops(NamedTuple):
    """Which rows are left out.

    Attributes:
        empty: Whether those without a text or a label.
        several: Whether a blank label says that a row has none of several.
        unlabelled: Whether a row without a label counts as empty.
        bad: Whether those that cannot be read.
    """

    empty: bool
    several: bool
    unlabelled: bool
    bad: bool


def parsed_row(
    values: Sequence[Any] | RowFault, columns: Columns, drops: Drops
) -> tuple[Any, ...] | None:
    """Texts, id, weight and label of a row of a table, or None where it is left out as empty.

    Raises:
        RowFault: It is bad.
    """
    if isinstance(values, RowFault):
        raise values
    texts = texts_of_row([values[index] for index in columns.texts])
    labels = [plain(values[index]) for index in columns.labels]
    label = labels[0] if len(labels) == 1 else list(map(truth, labels))
    if is_blank(texts) and not drops.empty:
        raise RowFault("a text", "an empty one", NO_TEXT)
    is_empty = drops.unlabelled and is_unlabelled(label, drops.several)
    if drops.empty and (is_empty or is_blank(texts)):
        return None
    row_id = None if columns.id is None else id_of_row(values[columns.id])
    weight = 1.0 if columns.weight is None else _weight(values[columns.weight])
    return texts, row_id, weight, label


def is_unlabelled(label: Any, several: bool) -> bool:
    """Whether a row has no label where it must have one.

    Of several labels in one column, a blank says that the row has none of them.
    """
    if isinstance(label, list):
        return any(map(is_missing, label))
    return is_missing(label) and not (several and isinstance(label, str))


def id_of_row(value: Any) -> str:
    """What names a row, as a string.

    Raises:
        RowFault: It is missing.
    """
    if is_missing(value):
        raise RowFault("an id", "an empty one" if isinstance(value, str) else "none")
    return spelled(plain(value))


def _weight(value: Any) -> float:
    found = number(value)
    if found is None or found < 0:
        received = "none" if value in (None, "") else shown(value)
        raise RowFault("a finite number of 0 or more as weight", received)
    return found


def texts_of_row(values: Sequence[Any]) -> list[str]:
    """The texts of a row, null as an empty one.

    Raises:
        RowFault: One is no string, or no UTF-8.
    """
    texts = ["" if value is None else value for value in values]
    # Some programs write Parquet's strings as bytes.
    texts = [
        text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        for text in texts
    ]
    for text in texts:
        if not isinstance(text, str):
            raise RowFault("a string as text", shown(text))
        if has_lone_surrogate(text):
            received = f"a broken character in {shown(text)}"
            raise RowFault("UTF-8 text", received, "Save the file as UTF-8.")
    return texts


def is_blank(texts: Sequence[str]) -> bool:
    """Whether there is no text; one of a pair may be empty, as in GLUE's qqp."""
    return not any(text and not text.isspace() for text in texts)
