"""Whatever a user hands over as texts, as strings or pairs of strings: the one place that decides.

A string is one text, never a list of characters. Rows of other libraries (numpy, pandas, polars,
Arrow, TensorFlow) are asked for their plain values by the methods they have, so none is imported.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TypeAlias

from tfkd.data.examples import Texts
from tfkd.errors import DatasetError

# What `given_texts` takes.
GivenTexts: TypeAlias = str | bytes | Iterable[object]

PAIR = 2
# How containers and scalars of other libraries give plain Python values; the first one is asked.
_PLAIN_METHODS = ("to_pylist", "as_py", "numpy", "to_numpy")


def given_texts(texts: GivenTexts, num_texts: int | None = None) -> Texts:
    """The texts in a list: strings, or tuples for pairs.

    Args:
        texts: A string is one text. Else one row each of any iterable: a string, or bytes in UTF-8.
            For pairs a row is two of them in a list or tuple, or one with a tab between; a tuple of
            two strings without tabs is one pair.
        num_texts: Integer. 1 for single texts, 2 for pairs. Default: what the first row is.

    Raises:
        TypeError: It is neither text nor rows of text.
        DatasetError: A row has too few or too many texts, or is no valid Unicode.

    Example:

    >>> given_texts("Oil prices fell again.", 1)
    ['Oil prices fell again.']
    >>> given_texts(("Oil prices fell.", "Oil is cheaper."), 2)
    [('Oil prices fell.', 'Oil is cheaper.')]
    """
    if num_texts is None:
        texts = list(_values(texts, None))
        num_texts = 1 if not texts or isinstance(plain_value(texts[0]), (str, bytes)) else PAIR
    rows = given_rows(texts, num_texts)
    return [row[0] for row in rows] if num_texts == 1 else list(rows)


def given_rows(texts: GivenTexts, num_texts: int) -> Iterator[tuple[str, ...]]:
    """The same row by row, each a tuple of `num_texts` strings, read as they are asked for.

    Raises:
        TypeError: At once if there are no rows; for a row when it is reached.
        DatasetError: When the row is reached.
    """
    values = _values(texts, num_texts)
    return (text_row(value, number, num_texts) for number, value in enumerate(values, 1))


def has_lone_surrogate(text: str) -> bool:
    """Whether a text holds half a character, which no UTF-8 has: it came from bytes or JSON."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _values(texts: object, num_texts: int | None) -> Iterable[object]:
    """What is handed over row by row; a text alone is a row."""
    texts = plain_value(texts)
    if isinstance(texts, (str, bytes)):
        return [texts]
    # A mapping would give its keys, a set its texts in any order.
    if not isinstance(texts, Iterable) or isinstance(texts, (Mapping, Set)):
        raise TypeError(
            "Expected texts: a string, or strings in a list or another iterable that has an order. "
            f"Received: {_kind(texts)}"
        )
    return [texts] if num_texts == PAIR and _is_one_pair(texts) else texts


def _is_one_pair(texts: Iterable[object]) -> bool:
    return (
        isinstance(texts, tuple)
        and len(texts) == PAIR
        and all(isinstance(text, str) and "\t" not in text for text in texts)
    )


def text_row(value: object, number: int, num_texts: int) -> tuple[str, ...]:
    """One row of texts; `number` is for the error."""
    value = plain_value(value)
    if not isinstance(value, (list, tuple)):
        text = _text(value, number)
        parts = (text,) if num_texts == 1 else tuple(text.split("\t"))
        if len(parts) != num_texts:
            raise DatasetError(
                f"Expected {num_texts} sentences with a tab between them in text {number}. "
                f"Received: {len(parts)} in {text!r}."
            )
        return parts
    if len(value) != num_texts:
        texts = "text" if num_texts == 1 else "texts"
        raise DatasetError(
            f"Expected {num_texts} {texts} in row {number}. Received: {len(value)}. The model was "
            f"trained on {'single texts' if num_texts == 1 else 'pairs'}."
        )
    return tuple(_text(plain_value(part), number) for part in value)


def _text(value: object, number: int) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"Expected UTF-8 in text {number}. Received: {error.reason} at byte {error.start}. "
                "Decode the bytes in their own encoding first."
            ) from error
    if not isinstance(value, str):
        raise TypeError(f"Expected a string as text {number}. Received: {_kind(value)}")
    if has_lone_surrogate(value):
        raise DatasetError(
            f"Expected Unicode in text {number}. Received: half a surrogate pair in "
            f"{value[:100]!a}. Decode the text from UTF-8 again."
        )
    return value


def plain_value(value: object) -> object:
    """Strings, bytes, lists and tuples as they are; those of other libraries as Python's own."""
    if type(value) in (str, tuple, list):
        return value
    for name in _PLAIN_METHODS:
        if hasattr(value, name):
            value = getattr(value, name)()
            break
    # Arrays, and their scalars: str, bytes, and numbers, which are refused by what they are.
    return value.tolist() if hasattr(value, "tolist") else value


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r:.100}"
