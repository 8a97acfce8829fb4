"""Replacement of each Unicode code point before a text is split into words.

The table `code_points.json` holds what tensorflow-text 2.21's `FastBertTokenizer` does, the
operators that run inside a `.tflite` file and a SavedModel: a test compares it with them over all
1,114,112 code points. Lower-case vocabularies get the NFKC case folding of ICU without accents.
"""

import bisect
import functools
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("code_points.json")
_RULES: dict[str, Callable[[str], str]] = {
    "blank": lambda character: " ",
    "dropped": lambda character: "",
    # Punctuation and CJK characters are words of their own.
    "alone": lambda character: f" {character} ",
    # Hangul syllables become their letters.
    "decomposed": lambda character: unicodedata.normalize("NFD", character),
}


class CodePoints(dict[int, str]):
    """The table in the form `str.translate` takes; code points are looked up when first met.

    Args:
        table: Mapping of each rule to ranges of code points, both ends included, and of
            "replaced" to characters and their replacements.

    Example:

    >>> "Çà, 中文!".translate(code_points(lowercase=True)).split()
    ['ca', ',', '中', '文', '!']
    """

    def __init__(self, table: dict[str, Any]) -> None:
        super().__init__({ord(key): value for key, value in table["replaced"].items()})
        self._ranges = sorted((first, last, rule) for rule in _RULES for first, last in table[rule])
        self._firsts = [first for first, _, _ in self._ranges]

    def __missing__(self, point: int) -> str:
        character = chr(point)
        place = bisect.bisect_right(self._firsts, point) - 1
        if place >= 0:
            _, last, rule = self._ranges[place]
            if point <= last:
                character = _RULES[rule](character)
        self[point] = character
        return character


@functools.cache
def code_points(lowercase: bool) -> CodePoints:
    """The table of lower-case or of cased vocabularies."""
    tables = json.loads(PATH.read_text(encoding="utf-8"))
    return CodePoints(tables["uncased" if lowercase else "cased"])
