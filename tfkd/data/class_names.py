"""Names of the classes that a label column shows, and what is to be said of them."""

import collections
from pathlib import Path
from typing import Any

from tfkd.data.label_values import (
    check_name,
    folded,
    is_decimal_comma,
    is_grouped,
    is_missing_word,
    number,
    spelled,
    whole,
)
from tfkd.data.labels import MOST_CLASSES, refuse_missing
from tfkd.data.streams import RowFault
from tfkd.errors import shown

ASK = (
    "Give --task regression to take it as a number, or --task single_label to take it as the name "
    "of a class."
)
UNGROUP = (
    "Write a number without it or with a point, or give --task single_label to take it as the name "
    "of a class."
)


class ClassNames:
    """The distinct labels of a column and the row where each comes first.

    Args:
        path: Path. The file, for error messages.
        folds_case: Whether labels that differ in case and blanks only are one, spelled as in most
            of its rows.
    """

    def __init__(self, path: Path, folds_case: bool = False) -> None:
        self._path, self._folds_case = path, folds_case
        self._spellings: dict[str, collections.Counter[str]] = {}
        self.rows: dict[str, int] = {}
        self.is_numeric = self.is_whole = True
        self.has_decimals = False
        self._missing: dict[str, int] = {}

    def add(self, value: Any, row: int) -> None:
        """Takes a label in.

        Raises:
            DatasetError: It is missing or cannot be shown, or there are too many.
        """
        refuse_missing(value)
        name = spelled(value)
        if self._folds_case:
            spellings = self._spellings.setdefault(folded(name), collections.Counter())
            spellings[name] += 1
            name = next(iter(spellings))
        if name in self.rows:
            return
        check_name(name, f"{self._path}, row {row}")
        if is_missing_word(name):
            self._missing.setdefault(name, row)
            return
        score = number(name.replace(",", "") if is_grouped(name) else value)
        self.has_decimals = self.has_decimals or (score is not None and not score.is_integer())
        self.is_numeric = self.is_numeric and score is not None
        self.is_whole = self.is_whole and score is not None and score.is_integer()
        if len(self.rows) < MOST_CLASSES:
            self.rows[name] = row
        elif self.is_whole or not self.is_numeric:
            advice = "Is the label column right?"
            advice += " With --task regression they are scores." if self.is_whole else ""
            raise RowFault(f"at most {MOST_CLASSES} classes", "more", advice)

    @property
    def num_folded(self) -> int:
        """Labels that were spelled otherwise than most of their class."""
        return sum(found.total() - max(found.values()) for found in self._spellings.values())

    def refuse_missing_words(self) -> None:
        """Settles words such as "NaN": missing among numbers, names among names.

        Raises:
            DatasetError: There is one among numbers.
        """
        if self._missing and self.rows and self.is_numeric:
            word, row = next(iter(self._missing.items()))
            expected = "a number as label, as in other rows"
            found = RowFault(expected, repr(word), "Drop the row or fill it in.")
            raise found.at(self._path, row)
        self.rows |= self._missing
        if self._missing:
            self.is_numeric = self.is_whole = False

    def mixture(self) -> str:
        """A note on numbers of which one name makes classes; empty where there are none."""
        if self.is_numeric or not self.has_decimals:
            return ""
        word = next(name for name in self.rows if number(name) is None)
        return f"{shown(word, 40)} is no number, so each is a class"

    def refuse_what_has_two_meanings(self) -> None:
        """Refuses numbers that may as well be names.

        Raises:
            DatasetError: One has a decimal comma, or two are one number, such as 1.1 and 1.10.
        """
        first: dict[float | None, str] = {}
        for name, row in self.rows.items():
            expected, other = "a class or a score as label", name
            if "." in name:
                other = first.setdefault(number(name), name)
            if is_grouped(name):
                received = f"{name!r}, with a comma of decimals or of thousands"
                raise RowFault(expected, received, UNGROUP).at(self._path, row)
            if is_decimal_comma(name) or other != name:
                received = repr(name)
                received += ", perhaps a decimal comma" if other == name else f" beside {other!r}"
                raise RowFault(expected, received, ASK).at(self._path, row)

    def sorted(self) -> tuple[str, ...]:
        """The names, whole numbers in numeric order, "1.0" as "1" where there are both."""
        numbers = {name: whole(name) for name in self.rows}
        if None in numbers.values():
            return tuple(sorted(map(self._spelling, self.rows)))
        values = sorted(set(numbers.values()))  # type: ignore[type-var]
        if len(values) < len(numbers) or any("." not in name for name in numbers):
            return tuple(map(str, values))
        return tuple(sorted(numbers, key=lambda name: numbers[name] or 0))

    def _spelling(self, name: str) -> str:
        """The spelling that most rows of a class have, the first of equally many."""
        found = self._spellings.get(folded(name))
        return found.most_common(1)[0][0] if found else name
