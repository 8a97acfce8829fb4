"""What one value of a label column is: missing, a name, a whole number, a score or several labels.

A string is a name as it is written: "01" and "1" are two. Only a plain whole number such as "1",
"1.0" or JSON's 1.0 compares as a number, and as a whole one, so that no digit is lost.
"""

import ast
import contextlib
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from tfkd.data.streams import RowFault
from tfkd.data.texts import has_lone_surrogate
from tfkd.errors import DatasetError, shown

# What programs write for a missing number. In a column of words they are words.
MISSING_WORDS = frozenset(
    ("nan", "-nan", "none", "null", "nil", "na", "n/a", "#n/a", "<na>", "nat", "?", "-")
    + ("inf", "+inf", "-inf", "infinity", "-infinity")
)
# Invisible in a terminal, or changing what stands beside them there.
UNSHOWN_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
UNSHOWN = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.0+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
# One thousand two hundred, or a little more than one: nobody can tell.
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+")
# NumPy writes no commas between strings, and Python joins those.
_JOINED = re.compile(r"""['"]\s+['"]""")
LONGEST_NAME = 1000
OBJECT_ADVICE = "Write the class alone, by its name or its number."


def plain(value: Any) -> Any:
    """A value as it is kept: a string, number, boolean, None, or a list of these.

    Raises:
        DatasetError: It is an object, a list of lists or bytes that are no UTF-8.
    """
    if isinstance(value, (list, tuple)):
        for item in value:
            if isinstance(item, (list, tuple, dict)):
                raise RowFault("a list of labels", "a list of lists or objects")
        return [plain(item) for item in value]
    if isinstance(value, dict):
        raise RowFault("a label", f"an object, {shown(value)}", OBJECT_ADVICE)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)  # Dates and decimals of Parquet.


def is_missing(value: Any) -> bool:
    """Whether a value is none at all: null, not a finite number, or blank."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or (isinstance(value, str) and not value.strip())


def is_missing_word(name: str) -> bool:
    """Whether a name is what programs write for a missing number."""
    return name.lower() in MISSING_WORDS


def spelled(value: Any) -> str:
    """The spelling of a label: a string without surrounding blanks, 1.0 as "1", true as "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def truth(value: Any) -> Any:
    """A truth value that a string spells, as pandas writes one; any other value as it is."""
    word = value.strip().lower() if isinstance(value, str) else None
    return {"true": True, "false": False}.get(word, value) if word else value


def whole(value: Any) -> int | None:
    """The whole number that a value is or plainly spells, or None: "1.0" is 1, "01" is a word."""
    if isinstance(value, (bool, int)):
        return None if isinstance(value, bool) else value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    found = _WHOLE.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(found[1]) if found and len(found[1]) < 1000 else None


def number(value: Any) -> float | None:
    """The finite number a value is or spells, with a point or a comma, or None.

    >>> number("1,25"), number("1,250")
    (1.25, None)
    """
    if isinstance(value, str):
        value = value.strip()
        if is_grouped(value):
            return None
        if is_decimal_comma(value):
            value = value.replace(",", ".")
        elif not _NUMBER.fullmatch(value):
            return None
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def is_decimal_comma(value: Any) -> bool:
    """Whether a value is a number with a comma for its point."""
    return isinstance(value, str) and bool(_DECIMAL_COMMA.fullmatch(value.strip()))


def is_grouped(value: Any) -> bool:
    """Whether a value is a number whose commas may stand between thousands."""
    return isinstance(value, str) and bool(_GROUPED.fullmatch(value.strip()))


def listed(value: Any) -> Sequence[Any] | None:
    """The list that a value is or spells, as JSON or Python write one, or None.

    Python's tuples and sets count as well.
    """
    found = spelled_out(value)
    if isinstance(found, (set, frozenset)):
        return sorted(found, key=str)
    return found if isinstance(found, (list, tuple)) else None


def is_object(value: Any) -> bool:
    """Whether a string spells an object of JSON or a dictionary of Python."""
    return isinstance(spelled_out(value), dict)


def spelled_out(value: Any) -> Any:
    """What a string with brackets around it spells, or None; what is no string as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    if _JOINED.search(text) is None:
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return ast.literal_eval(text)
    return None


def folded(name: str) -> str:
    """What is left of a name without case, blanks, and the ways to write an accented letter.

    >>> folded("Fast  food") == folded("fast food")
    True
    """
    plain = unicodedata.normalize("NFKC", name).casefold()
    return " ".join("".join(c for c in plain if unicodedata.category(c) != "Cf").split())


def check_names(names: Iterable[str], place: str) -> None:
    """Refuses class names as `check_name` does, all of one place."""
    for name in names:
        check_name(name, place)


def check_name(name: str, place: str) -> None:
    """Refuses a class name that would break a line or a terminal it is shown in.

    Raises:
        DatasetError: It holds a control character, or one that is not UTF-8, or is too long.
    """
    if len(name) > LONGEST_NAME:
        raise DatasetError(
            f"Expected class names of at most {LONGEST_NAME:,} characters in {place}. Received: "
            f"one of {len(name):,}, {shown(name, 40)}. Is the label column right?"
        )
    if has_lone_surrogate(name):
        raise DatasetError(
            f"Expected UTF-8 text in {place}. Received: a broken character in {shown(name)}. Save "
            "the file as UTF-8."
        )
    for character in name:
        is_unshown = unicodedata.category(character) in UNSHOWN_CATEGORIES
        if is_unshown or character in UNSHOWN:
            raise DatasetError(
                f"Expected a class name of visible characters in {place}. Received: "
                f"{ascii(name[:60])}, with {ascii(character)}. Remove that character."
            )
