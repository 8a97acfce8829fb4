"""Task, class names and separator that a label column shows, where nobody says them.

What can be understood in two ways is asked for, with the row; what is a guess is noted, with the
option that says it otherwise.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfkd.data.class_names import ClassNames
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, listing
from tfkd.data.label_values import (
    OBJECT_ADVICE,
    check_names,
    is_missing,
    is_object,
    listed,
    number,
    whole,
)
from tfkd.data.labels import BLANKS, LabelForm, LabelReader, bit, is_bit, items_of, parts_of
from tfkd.data.streams import RowFault, placed
from tfkd.errors import ConfigError, DatasetError, shown

SCORE_NAME = "score"
SEVERAL = "labels"
SEPARATORS = ("|", ";", ",", "#")
# They stand between labels at times, and within names more often.
RARE_SEPARATORS = ("/", "+", "&", ":", "、", "，", "；")
# Different values that are looked at for the separator: more of them tell nothing new.
LOOKED_AT = 10_000
ONE_EACH = "one in each row of `labels`; --task multi_label takes them for several"
HOT = "a 0 or a 1 for each label in every row"
WHOLE = "whole numbers; --task regression takes them as scores"
SCORES = "numbers; --task single_label takes each for a class"


def understood(
    form: LabelForm, rows: Iterable[Sequence[Any]], column: str, path: Path
) -> LabelForm:
    """The form completed: task, names, and the separator of several labels.

    The rows, their label last, are read only where something is not known.

    Raises:
        DatasetError: A label is missing, there is only one class or there are too many, or the
            column can be understood in two ways.
    """
    if form.task == MULTI_LABEL or (form.task is None and column == SEVERAL):
        shape = _shape(form, rows, path)
        if form.task or not shape.is_one_each or len(form.names or SEPARATORS) == 1:
            return _several(form, shape, rows, path)
        form = form.replace(note=ONE_EACH)
    if form.names is None:
        return _one_each(form, rows, path)
    if form.task != REGRESSION and len(form.names) == 1:
        _check_one_name(form, next(_labels(rows, path)), path)
    return form.replace(task=form.task or (SINGLE_LABEL if len(form.names) > 1 else REGRESSION))


def _check_one_name(form: LabelForm, first: tuple[int, Any], path: Path) -> None:
    """Refuses a single name for classes; it may be that of a score.

    Raises:
        DatasetError: Classes are asked for, or the name holds a separator, or the label of the
            first row is no number.
    """
    row, value = first
    (name,) = form.names or ()
    is_list = any(mark in name for mark in SEPARATORS)
    if form.task or is_list or (number(value) is None and not is_missing(value)):
        raise DatasetError(
            f"Expected one class name a line in {form.origin}, at least two, or the name of a "
            f"score. Received: one class, {shown(name)}, and the label {shown(value)} in {path}, "
            f"row {row}. Write each class on a line of its own, or give --task regression."
        )


def of_columns(form: LabelForm, columns: Sequence[str], path: Path) -> LabelForm:
    """The form of several columns of 0 and 1, each a label of the column's name.

    Names that are known already have the order of the labels.

    Raises:
        ConfigError: Another task is asked for.
        DatasetError: The labels that are known are others.
    """
    if form.task not in (None, MULTI_LABEL):
        raise ConfigError(
            f"Expected one --label-column for {form.task}. Received: {len(columns)}, "
            f"{', '.join(columns)}. Leave out all but one, or --task."
        )
    if form.names is None:
        check_names(columns, str(path))
        form = form.replace(names=tuple(columns), origin=str(path))
    elif sorted(form.names) != sorted(columns):
        raise DatasetError(
            f"Expected a --label-column for each label of {form.origin} ({listing(form.names)}). "
            f"Received: {', '.join(columns)}. Name those."
        )
    return form.replace(task=MULTI_LABEL, is_hot=True)


def _one_each(form: LabelForm, rows: Iterable[Sequence[Any]], path: Path) -> LabelForm:
    if form.task == REGRESSION:
        return form.replace(names=(SCORE_NAME,))
    found = ClassNames(path, form.folds_case)
    for row, value in _labels(rows, path):
        with placed(path, row):
            if is_object(value):
                raise RowFault("a label", f"an object, {shown(value)}", OBJECT_ADVICE)
            if listed(value) is not None:
                advice = "Name the column `labels`, or give --task multi_label, for several labels."
                raise RowFault("one label", shown(value), advice)
            found.add(value, row)
    found.refuse_missing_words()
    if form.task is None and found.is_numeric:
        found.refuse_what_has_two_meanings()
        if not found.is_whole:
            return form.replace(task=REGRESSION, names=(SCORE_NAME,), note=SCORES)
    if len(found.rows) < 2:
        raise _too_few(found.rows, str(path), "two classes")
    names = found.sorted()
    may_be_scores = form.task is None and None not in map(whole, names)
    notes = [form.note or (WHOLE if may_be_scores else found.mixture())]
    notes.append("" if form.task else _may_be_several(names))
    note = "; ".join(filter(None, notes))
    form = form.replace(task=SINGLE_LABEL, names=names, origin=str(path), note=note)
    return form.replace(num_folded=found.num_folded)


def _several(
    form: LabelForm, shape: "Shape", rows: Iterable[Sequence[Any]], path: Path
) -> LabelForm:
    form = form.replace(task=MULTI_LABEL, separator=shape.separator, note=shape.note)
    if form.names is not None:
        return form.replace(is_hot=shape.width > 0)
    if shape.width:
        names = tuple(str(index) for index in range(shape.width))
        return form.replace(is_hot=True, names=names, origin=str(path))
    found = ClassNames(path, form.folds_case)
    for row, value in _labels(rows, path):
        with placed(path, row):
            for item in items_of(value, shape.separator):
                if isinstance(item, float) and not item.is_integer():
                    raise RowFault("names or whole numbers as labels", shown(value))
                found.add(item, row)
    found.refuse_missing_words()
    if not found.rows:
        raise _too_few(found.rows, str(path), "one class")
    form = form.replace(names=found.sorted(), origin=str(path))
    return form.replace(num_folded=found.num_folded)


def _labels(rows: Iterable[Sequence[Any]], path: Path) -> Iterator[tuple[int, Any]]:
    """What stands in the label column, with its row.

    Raises:
        DatasetError: There is no row.
    """
    row = None
    for row, *_, value in rows:
        yield row, value
    if row is None:
        raise DatasetError(f"Expected rows with a label in {path}. Received: none.")


def _too_few(names: Iterable[str], origin: str, wanted: str) -> DatasetError:
    return DatasetError(
        f"Expected at least {wanted} in {origin}. Received: {', '.join(names) or 'none'}. "
        "Add rows of other classes, or a labels.txt with one class name a line."
    )


class Shape(NamedTuple):
    """How the values of a column hold several labels.

    Attributes:
        separator: What stands between labels of a string; `BLANKS` for any blanks.
        is_one_each: Whether each row has one label, and no list.
        width: Length of rows of 0 and 1, or 0.
        note: What of this is a guess.
    """

    separator: str
    is_one_each: bool
    width: int
    note: str


def _shape(form: LabelForm, rows: Iterable[Sequence[Any]], path: Path) -> Shape:
    """The shape that a column of several labels shows.

    Raises:
        DatasetError: A value is missing, or there are two separators.
    """
    distinct: dict[str, tuple[int, Any]] = {}
    for row, value in _labels(rows, path):
        distinct.setdefault(repr(value), (row, value))
        if len(distinct) == LOOKED_AT:
            break
    names = form.names or ()
    words = {
        value: row
        for row, value in distinct.values()
        if isinstance(value, str) and listed(value) is None and value not in names
    }
    separator = form.separator or _separator(form, words, path)
    items = []
    for row, value in distinct.values():
        with placed(path, row):
            items.append([value] if value in names else items_of(value, separator))
    widths = {len(found) for found in items}
    has_lists = any(listed(value) is not None for _, value in distinct.values())
    is_hot = (
        len(widths) == 1
        and max(widths) > 1
        and widths <= {len(names) or max(widths)}
        and all(is_bit(item) for found in items for item in found)
    )
    is_bits = has_lists and all(is_bit(item) for found in items for item in found)
    for (row, value), found in zip(distinct.values(), items, strict=True):
        if is_bits and not is_hot and len(set(map(bit, found))) < len(found):
            expected = "equally many 0 and 1 in each row, or no number twice"
            raise RowFault(expected, shown(value)).at(path, row)
    note = HOT if is_hot else ""
    if any(parts_of(word, separator)[1:] for word in words) and not is_hot and not form.separator:
        between = "blanks" if separator == BLANKS else repr(separator)
        note = f"{between} between them; --label-separator says otherwise"
    # Blanks in names of which none is found in two values are no separators.
    may_be_names = separator == BLANKS and not form.separator and 0 not in widths
    is_named = may_be_names and not is_hot and len(words) > 1 and not _recurring(words, BLANKS)
    is_one_each = not has_lists and (widths <= {1} or is_named)
    return Shape(separator, is_one_each, widths.pop() if is_hot else 0, note)


def _recurring(words: Iterable[str], separator: str) -> str | None:
    """A value with several parts of which one is a part of another value, too, or a number."""
    parts = {word: parts_of(word, separator) for word in words}
    counts = collections.Counter(itertools.chain.from_iterable(map(set, parts.values())))
    for word, found in parts.items():
        if len(found) > 1 and any(counts[part] > 1 or whole(part) is not None for part in found):
            return word
    return None


def _may_be_several(names: Sequence[str]) -> str:
    """A note on a class whose name holds another's; empty where there is none."""
    found = next(filter(None, (_recurring(names, mark) for mark in SEPARATORS)), None)
    return f"{shown(found, 40)} is one; --task multi_label takes it for several" if found else ""


def _separator(form: LabelForm, words: dict[str, int], path: Path) -> str:
    """What stands between the labels of the strings of a column."""
    found: dict[str, str] = {}
    for word in words:
        for mark in SEPARATORS:
            if mark in word:
                found.setdefault(mark, word)
    # C# is a name, and so is #rain.
    if "#" in found and not all(part.strip() for word in words for part in word.split("#") if word):
        del found["#"]
    if form.names is not None:
        fitting = [mark for mark in found if _fits(form, mark, words)]
        foreign = [mark for mark in found if not any(mark in name for name in form.names)]
        found = {mark: found[mark] for mark in fitting or foreign}
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise DatasetError(
            f"Expected one separator between the labels of a row in {path}. Received: {one!r} in "
            f"row {words[first]} and {other!r} in row {words[second]} (row 1 is the first row of "
            "data). Give --label-separator."
        )
    for mark in () if found or form.names else RARE_SEPARATORS:
        compound = _recurring(words, mark)
        if compound is not None:
            expected = f"labels with {' '.join(SEPARATORS)} or blanks between them"
            advice = f"Give --label-separator '{mark}' if it is several, or '|' if it is one."
            raise RowFault(expected, shown(compound), advice).at(path, words[compound])
    return next(iter(found), BLANKS)


def _fits(form: LabelForm, mark: str, words: Iterable[str]) -> bool:
    """Whether a separator leaves known names only."""
    reader = LabelReader(form.replace(task=MULTI_LABEL, separator=mark))
    try:
        for word in words:
            reader.read(word)
    except RowFault:
        return False
    return True
