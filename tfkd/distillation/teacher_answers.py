"""What any teacher said of texts, from a file: a language model's answers, an API's, a person's.

Every form becomes what a scored teacher gives, one row of logits for each text: log probabilities
of classes, log odds of labels, or a score. A row is known by an id or by its text, so the file may
hold its rows in any order, miss some and have more.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tfkd.config.fields import nearest
from tfkd.data.examples import MULTI_LABEL, REGRESSION, Dataset, Example
from tfkd.data.label_values import is_missing, number, spelled, spelled_out
from tfkd.data.readers import Table, object_of, open_table
from tfkd.data.streams import RowFault, placed
from tfkd.data.table_rows import id_of_row, is_blank, texts_of_row
from tfkd.distillation.mixture import weighted_average
from tfkd.errors import DatasetError, shown

TEXT_HASH = "text_sha256"
# Columns of an answer, the one that tells most first.
PROBABILITIES, LOGITS, LOGPROBS, SCORE = "probabilities", "logits", "logprobs", "score"
LABEL, CONFIDENCE = "label", "confidence"
# Before a class in the name of its own column, as `tfkd predict --all-classes` writes it.
CLASS_PREFIXES = ("probability:", "")
FORMS = (
    "a column for each class, or one of probabilities, logits, logprobs or label (with confidence)"
)
# What a probability of 0 is taken for: its logarithm is no number.
LEAST_PROBABILITY = 1e-6
# Probabilities are often written with two or three digits.
SUM_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class TeacherAnswers:
    """The answers of a file.

    Attributes:
        path: The file, or the folder of its parts.
        is_by_id: Whether its rows are known by ids; else by texts.
        numbers: Row of `logits` by the row's key.
        logits: float64 `[num_keys, num_outputs]`.
        num_empty: Rows of the file without an answer.
        num_averaged: Keys with several answers that differ; the mean is taken.
    """

    path: Path
    is_by_id: bool
    numbers: Mapping[str, int]
    logits: np.ndarray
    num_empty: int
    num_averaged: int

    def find(self, rows: Iterable[Example]) -> np.ndarray:
        """Row of `logits` for each example, -1 for those without an answer: int64 `[num_rows]`."""
        key = row_id if self.is_by_id else text_hash
        return np.array([self.numbers.get(key(row), -1) for row in rows], np.int64)

    def of(self, found: np.ndarray) -> np.ndarray:
        """The answers that `find` found: float64 `[num_rows, num_outputs]`, NaN where none."""
        return np.where(found[:, None] >= 0, self.logits[found], np.nan)


def row_id(row: Example) -> str:
    """An example's id, "" without one."""
    return row.id or ""


def text_hash(row: Example) -> str:
    """SHA-256 of a text in UTF-8, 64 hexadecimal digits; of a pair, of both with a tab between.

    >>> text_hash(Example(("Oil fell.",), 0))[:8]
    'ca73c306'
    """
    return hashlib.sha256("\t".join(row.texts).encode("utf-8", "surrogatepass")).hexdigest()


def answer_files(path: Path) -> list[Path]:
    """The files of answers at a path: itself, or the parts in a folder of `tfkd predict`."""
    return sorted(path.glob("part-*.parquet")) if path.is_dir() else [path]


def read_answers(path: Path, dataset: Dataset, columns: "KeyColumns") -> TeacherAnswers:
    """Reads a file of answers, or a folder of them.

    Several answers of one key are averaged: probabilities, or scores.

    Raises:
        DatasetError: There is no such file, or none of its columns is an answer or a key; or a row
            has an unknown class, or numbers that are none of its kind.
    """
    said: dict[str, list[np.ndarray]] = {}
    num_empty = 0
    is_by_id = False
    for file in answer_files(path):
        with open_table(file) as table:
            twice = next((name for name in table.columns if table.columns.count(name) > 1), None)
            if twice:
                raise DatasetError(f"Expected one column `{twice}` in {file}. Received: several.")
            key = columns.key(file, table.columns)
            is_by_id = key.is_id
            read = _form(file, table, dataset)
            for row, values in enumerate(table.rows, 1):
                with placed(file, row):
                    answer = read(values)
                    if answer is None:
                        num_empty += 1
                    else:
                        said.setdefault(key.read(values), []).append(answer)
    if not said:
        raise DatasetError(f"Expected answers in {path}. Received: rows without one.")
    logits = np.stack([_mean(dataset.task, answers) for answers in said.values()])
    numbers = {name: number for number, name in enumerate(said)}
    num_averaged = sum(np.ptp(answers, axis=0).any() for answers in said.values())
    return TeacherAnswers(path, is_by_id, numbers, logits, num_empty, int(num_averaged))


class Key(NamedTuple):
    """What the rows of an open file are known by."""

    positions: tuple[int, ...]
    is_id: bool
    is_hash: bool

    def read(self, values: Sequence[Any]) -> str:
        """The key of a row.

        Raises:
            DatasetError: It is empty, or no string.
        """
        found = [values[position] for position in self.positions]
        if self.is_id:
            return id_of_row(found[0])
        texts = tuple(texts_of_row(found))
        if is_blank(texts):
            raise RowFault("a text", "none")
        return texts[0].strip().lower() if self.is_hash else text_hash(Example(texts, 0))


@dataclasses.dataclass(frozen=True)
class KeyColumns:
    """Columns that an answer's row may be known by.

    Attributes:
        ids: Names of a column of ids, the first that is there; none where the data's rows have no
            ids.
        texts: Names of the columns of the texts, the first ones that are all there.
    """

    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]

    def key(self, path: Path, columns: Sequence[str]) -> Key:
        """The key of a file: its ids, else its texts, else their hashes.

        Raises:
            DatasetError: It has neither.
        """
        for name in self.ids:
            if name in columns:
                return Key((columns.index(name),), True, False)
        for names in self.texts:
            if set(names) <= set(columns):
                return Key(tuple(map(columns.index, names)), False, False)
        if TEXT_HASH in columns:
            return Key((columns.index(TEXT_HASH),), False, True)
        known = [*self.ids, *(" and ".join(names) for names in self.texts), TEXT_HASH]
        advice = (
            "" if self.ids else " Name the data's column of ids by --id-column to join by that."
        )
        raise DatasetError(
            f"Expected one of the columns {', '.join(dict.fromkeys(known))} in {path}, to know "
            f"whose answer a row is. Received: {', '.join(columns)}.{advice}"
        )


# From the values of a row to its answer; None where it has none.
Read: TypeAlias = Callable[[Sequence[Any]], np.ndarray | None]


def _form(path: Path, table: Table, dataset: Dataset) -> Read:
    """The function that reads the answer of a row, None where it has none."""
    columns = {name: index for index, name in enumerate(table.columns)}
    if dataset.task == REGRESSION:
        if SCORE not in columns:
            raise DatasetError(
                f"Expected a column `{SCORE}` in {path}. Received: {', '.join(columns)}."
            )
        return lambda values: _scored(values[columns[SCORE]])
    classes = _Classes(dataset)
    for prefix in CLASS_PREFIXES:
        own = [columns.get(f"{prefix}{name}", -1) for name in dataset.label_names]
        if -1 in own:
            continue
        return lambda values: classes.probabilities([values[index] for index in own])
    for name in (PROBABILITIES, LOGITS, LOGPROBS):
        if name in columns and not (name == LOGPROBS and dataset.task == MULTI_LABEL):
            read, index = getattr(classes, name), columns[name]
            return lambda values: read(values[index])
    if LABEL in columns and dataset.task != MULTI_LABEL:
        label, sure = columns[LABEL], columns.get(CONFIDENCE)
        return lambda values: classes.label(values[label], 1.0 if sure is None else values[sure])
    raise DatasetError(f"Expected {FORMS} in {path}. Received: {', '.join(columns)}.")


def _scored(value: Any) -> np.ndarray | None:
    if is_missing(value):
        return None
    score = number(value)
    if score is None:
        raise RowFault("a finite number as score", shown(value))
    return np.array([score])


class _Classes:
    """Reads answers about the classes of a data set, whatever their form."""

    def __init__(self, dataset: Dataset) -> None:
        self._names, self._task = dataset.label_names, dataset.task
        self._data = dataset.name
        self._indices = {name: index for index, name in enumerate(dataset.label_names)}

    def probabilities(self, value: Any) -> np.ndarray | None:
        """Of probabilities by class or in the order of the classes; those not named share."""
        named = self._numbers(value, PROBABILITIES)
        return None if named is None else self._of(named, must_sum=True)

    def logprobs(self, value: Any) -> np.ndarray | None:
        """Of natural logarithms of probabilities, of the likeliest classes or of all."""
        named = self._numbers(value, LOGPROBS)
        if named is None:
            return None
        for logarithm in named.values():
            if logarithm > SUM_TOLERANCE:
                raise RowFault("logarithms of probabilities, at most 0", f"{logarithm:g}")
        chances = {index: math.exp(min(value, 0.0)) for index, value in named.items()}
        return self._of(chances, must_sum=False)

    def logits(self, value: Any) -> np.ndarray | None:
        """Of a logit for each class."""
        named = self._numbers(value, LOGITS)
        if named is None:
            return None
        if len(named) < len(self._names):
            expected = f"a logit for each of {len(self._names)} classes"
            raise RowFault(expected, f"{len(named)}", "Give logprobs for some of them.")
        return np.array([named[index] for index in range(len(self._names))])

    def label(self, value: Any, confidence: Any) -> np.ndarray | None:
        """Of a class and how sure it is; the others share the rest."""
        if is_missing(value):
            return None
        sure = number(confidence)
        if sure is None or not 0 < sure <= 1:
            raise RowFault("a confidence above 0, up to 1", shown(confidence))
        return self._of({self._index(value): sure}, must_sum=False)

    def _of(self, named: Mapping[int, float], must_sum: bool) -> np.ndarray:
        """Logits from the probabilities of some classes or all."""
        for chance in named.values():
            if not 0 <= chance <= 1 + SUM_TOLERANCE:
                raise RowFault("probabilities from 0 to 1", f"{chance:g}")
        chances = np.full(len(self._names), np.nan)
        chances[list(named)] = list(named.values())
        if self._task == MULTI_LABEL:
            chances = np.clip(np.nan_to_num(chances), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
            return np.log(chances) - np.log1p(-chances)
        total = sum(named.values())
        too_little = must_sum and len(named) == len(chances) and total < 1 - SUM_TOLERANCE
        if total > 1 + SUM_TOLERANCE or too_little or total <= 0:
            raise RowFault("probabilities of sum 1", f"a sum of {total:.4g}")
        return np.log(np.maximum(_spread(chances), LEAST_PROBABILITY))

    def _numbers(self, value: Any, what: str) -> dict[int, float] | None:
        """Numbers by the index of their class; None where there are none."""
        if isinstance(value, str) and value.lstrip().startswith("{"):
            with contextlib.suppress(ValueError, RecursionError):
                json.loads(value, object_pairs_hook=object_of)
        found = spelled_out(value)
        if isinstance(found, Mapping):
            pairs = [(self._index(name), item) for name, item in found.items()]
        elif isinstance(found, Sequence):
            pairs = list(enumerate(found))
            if pairs and len(pairs) != len(self._names):
                expected = f"{len(self._names)} {what}, one for each class"
                raise RowFault(expected, f"{len(pairs)}", "Name their classes.")
        elif is_missing(value):
            return None
        else:
            expected = f"{what} as an object by class, or as a list"
            raise RowFault(expected, shown(value))
        # A column of Parquet has all names in all rows.
        given = {index: item for index, item in pairs if not _is_nothing(item)}
        for item in given.values():
            if _number(item) is None:
                raise RowFault(f"numbers as {what}", shown(item))
        return {index: float(_number(item) or 0.0) for index, item in given.items()} or None

    def _index(self, value: Any) -> int:
        name = spelled(value)
        if name not in self._indices:
            advice = nearest(name, self._names, f"tfkd check {self._data}")
            raise RowFault("a class of the data", shown(name), advice)
        return self._indices[name]


def _spread(chances: np.ndarray) -> np.ndarray:
    """Probabilities of sum 1; classes that are NaN share what the others leave.

    They share it evenly, and none of them has more than the least likely of the others: those are
    the likeliest, or it is the one that was decided for.
    """
    is_named = ~np.isnan(chances)
    if not is_named.all():
        rest = max(1 - chances[is_named].sum(), 0.0) / (~is_named).sum()
        chances = np.where(is_named, chances, min(rest, chances[is_named].min()))
    return chances / chances.sum()


def _is_nothing(item: Any) -> bool:
    """Whether there is no number at all; a logarithm of 0 is one."""
    return is_missing(item) and item != -math.inf


def _number(item: Any) -> float | None:
    return -math.inf if item == -math.inf else number(item)


def _mean(task: str, answers: Sequence[np.ndarray]) -> np.ndarray:
    """Several answers to one text as one."""
    if len(answers) == 1:
        return answers[0]
    weights = np.full((len(answers), 1, 1), 1 / len(answers))
    return weighted_average(task, np.stack(answers)[:, None], weights, None)[0]
