"""A row of a table as its number, texts, id, weight and label, or what is wrong with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfkd.data.columns import Columns
from tfkd.data.label_values import is_missing, number, plain, spelled, truth
from tfkd.data.missing_labels import is_unlabelled
from tfkd.data.streams import RowFault, fault
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
    path: Path, row: int, values: Sequence[Any] | RowFault, columns: Columns, drops: Drops
) -> tuple[Any, ...] | None:
    """Number, texts, id, weight and label of a row of a table.

    Args:
        path: Path. The file, for error messages.
        row: Integer. The row's number.
        values: Its values, or what is wrong with it already.
        columns: `Columns`.
        drops: `Drops`.

    Returns:
        The five, or None where it is left out as empty.

    Raises:
        RowFault: It is bad.
    """
    if isinstance(values, RowFault):
        raise values
    texts = texts_of_row([values[index] for index in columns.texts], path, row)
    labels = [plain(values[index], path, row) for index in columns.labels]
    label = labels[0] if len(labels) == 1 else list(map(truth, labels))
    if is_blank(texts) and not drops.empty:
        raise fault(path, row, "a text", "an empty one", NO_TEXT)
    is_empty = drops.unlabelled and is_unlabelled(label, drops.several)
    if drops.empty and (is_empty or is_blank(texts)):
        return None
    row_id = None if columns.id is None else id_of_row(values[columns.id], path, row)
    weight = 1.0 if columns.weight is None else _weight(values[columns.weight], path, row)
    return row, texts, row_id, weight, label


def id_of_row(value: Any, path: Path, row: int) -> str:
    """What names a row, as a string.

    Raises:
        DatasetError: It is missing.
    """
    if is_missing(value):
        raise fault(path, row, "an id", "an empty one" if isinstance(value, str) else "none")
    return spelled(plain(value, path, row))


def _weight(value: Any, path: Path, row: int) -> float:
    found = number(value)
    if found is None or found < 0:
        received = "none" if value in (None, "") else shown(value)
        raise fault(path, row, "a finite number of 0 or more as weight", received)
    return found


def texts_of_row(values: Sequence[Any], path: Path, row: int) -> list[str]:
    """The texts of a row, null as an empty one.

    Raises:
        DatasetError: One is no string, or no UTF-8.
    """
    texts = ["" if value is None else value for value in values]
    # Some programs write Parquet's strings as bytes.
    texts = [
        text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
        for text in texts
    ]
    for text in texts:
        if not isinstance(text, str):
            raise fault(path, row, "a string as text", shown(text))
        if has_lone_surrogate(text):
            raise fault(
                path,
                row,
                "UTF-8 text",
                f"a broken character in {shown(text)}",
                "Save the file as UTF-8.",
            )
    return texts


def is_blank(texts: Sequence[str]) -> bool:
    """Whether there is no text; one of a pair may be empty, as in GLUE's qqp."""
    return not any(text and not text.isspace() for text in texts)
