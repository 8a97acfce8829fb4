"""Which columns of a file hold texts, label and id: those a user names, or those of known names.

Nothing is guessed. Where the known names are missing, the error offers the option with the column
that other people's files have in their place.
"""

import dataclasses
import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfkd.config.data import ColumnConfig, ReadingConfig
from tfkd.data.examples import listing
from tfkd.data.labels import LabelForm
from tfkd.errors import ConfigError, DatasetError, shown

TEXT, PAIR, LABEL, LABELS = "text", ("sentence1", "sentence2"), "label", "labels"
# As rows in memory have it; in a file it is named.
WEIGHT = "weight"
TEXT_OPTIONS = ("--text-column", "--second-text-column")
LABEL_OPTION, ID_OPTION, WEIGHT_OPTION = "--label-column", "--id-column", "--weight-column"
# What text and label are called elsewhere, the likelier first; small letters and digits alone.
TEXTS_ELSEWHERE = (
    *("body", "content", "review", "reviewtext", "reviewbody", "comment", "commenttext", "tweet"),
    *("message", "sentence", "document", "description", "utterance", "utt", "question", "query"),
    *("post", "article", "abstract", "summary", "reviews", "comments", "texts", "input"),
    *("headline", "title", "subject"),
)
PAIRS_ELSEWHERE = (
    *(("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence")),
    *(("text1", "text2"), ("texta", "textb"), ("sentencea", "sentenceb"), ("query", "passage")),
)
LABELS_ELSEWHERE = (
    *("category", "target", "class", "sentiment", "intent", "topic", "emotion", "labeltext"),
    *("labelname", "categories", "classes", "tags", "tag", "type", "rating", "stars", "score"),
    *("polarity", "genre", "output", "y"),
)


@dataclasses.dataclass(frozen=True)
class ColumnNames:
    """Columns as a user names them; None, and no labels, where the known names are to be taken.

    Attributes:
        text: Column of the text, or of a pair's first.
        second_text: Column of a pair's second text.
        labels: One column, or several of 0 and 1, each a label.
        id: Column of what names a row.
        weight: Column of how much a row of train counts.
    """

    text: str | None = None
    second_text: str | None = None
    labels: tuple[str, ...] = ()
    id: str | None = None
    weight: str | None = None

    @classmethod
    def of(cls, settings: ColumnConfig | Mapping[str, Any]) -> "ColumnNames":
        """Those of a verb's settings, or of a run's config.json.

        Raises:
            ConfigError: A column is named twice, or the second of two texts without the first.
        """
        given: Mapping[str, Any] = settings if isinstance(settings, Mapping) else settings.to_dict()
        text, second = given.get("text_column"), given.get("second_text_column")
        labels = tuple(given.get("label_columns") or ())
        weight = given.get("weight_column")
        found = cls(text, second, labels, given.get("id_column"), weight)
        if second is not None and text is None:
            raise ConfigError(
                "Expected --text-column beside --second-text-column. Received: the second alone."
            )
        named = [name for name in (text, second, *labels, weight) if name is not None]
        for name in named:
            if named.count(name) > 1:
                raise ConfigError(
                    f"Expected a column of its own for each text and label. Received: `{name}` "
                    "twice. Correct the options of columns."
                )
        return found

    def over(self, other: "ColumnNames") -> "ColumnNames":
        """These, and those of another where nothing is named here; its weight is its train's."""
        if self.text is not None:
            other = dataclasses.replace(other, text=self.text, second_text=self.second_text)
        return dataclasses.replace(
            other, labels=self.labels or other.labels, id=self.id or other.id, weight=self.weight
        )


KNOWN_NAMES = ColumnNames()


class Columns(NamedTuple):
    """Columns of a file.

    Attributes:
        texts: Positions of the texts in a row.
        labels: Positions of the label, or of several columns of 0 and 1.
        id: Position of the id, or None.
        weight: Position of the weight, or None.
        names: Names of all columns, in their order.
    """

    texts: tuple[int, ...]
    labels: tuple[int, ...]
    id: int | None
    weight: int | None
    names: tuple[str, ...]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the columns of labels."""
        return tuple(self.names[index] for index in self.labels)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the columns that are not read."""
        read = {*self.texts, *self.labels, self.id, self.weight}
        return tuple(name for index, name in enumerate(self.names) if index not in read)

    @property
    def as_named(self) -> ColumnNames:
        """The columns by their names, as another file of the same data must have them."""
        text, second = (*(self.names[index] for index in self.texts), None)[:2]
        row_id, weight = (None if at is None else self.names[at] for at in (self.id, self.weight))
        return ColumnNames(text, second, self.label_names, row_id, weight)

    @property
    def line(self) -> str:
        """What was taken for what, and what is ignored."""
        texts = " and ".join(self.names[index] for index in self.texts)
        said = [f"{texts} as text"]
        said += [f"{listing(self.label_names)} as label"] if self.labels else []
        notes = {"id": self.id, "weight": self.weight}
        said += [f"{self.names[at]} as {note}" for note, at in notes.items() if at is not None]
        # pandas writes an index without a name.
        others = [name or "one without a name" for name in self.ignored]
        return ", ".join(said) + (f"; ignored: {listing(others)}" if others else "")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the files of a data set are to be read.

    Attributes:
        columns: `ColumnNames`.
        labels: `LabelForm`. What is known of the labels beyond what their column shows.
        drop_empty: Whether rows of files without a text or a label are left out.
        drop_duplicates: Whether rows whose text comes before are left out.
        texts_only: Whether there need not be a label; the task is then `EMBEDDING`, each label 0.
        goes_on: Whether a bad row is noted in `Dataset.faults` and left out.
    """

    columns: ColumnNames = KNOWN_NAMES
    labels: LabelForm = LabelForm()
    drop_empty: bool = False
    drop_duplicates: bool = False
    texts_only: bool = False
    goes_on: bool = False

    @classmethod
    def of(cls, config: ReadingConfig) -> "Reading":
        """That of a verb's settings.

        Raises:
            ConfigError: The columns do not go together.
        """
        form = LabelForm(config.task, config.label_separator, folds_case=config.fold_case)
        # What has no label may have an answer.
        form = form.replace(may_be_missing=bool(getattr(config, "teacher_answers", ())))
        return cls(ColumnNames.of(config), form, config.drop_empty, config.drop_duplicates)


def find_columns(
    path: Path,
    columns: Sequence[str],
    names: ColumnNames = KNOWN_NAMES,
    num_texts: int | None = None,
    has_labels: bool = True,
) -> Columns:
    """The columns of texts, label, id and weight of a file.

    Of `num_texts`, None takes what is there.

    Raises:
        DatasetError: A column is missing or is there twice; the message says which option names it.

    Example:

    >>> find_columns(path, ["id", "text", "label"]).ignored
    ('id',)
    """
    known = () if names.labels or not has_labels else ((LABEL,) if LABEL in columns else (LABELS,))
    labels = (names.labels or known) if has_labels else ()
    texts = _wanted(columns, names, num_texts)
    _check_known(path, columns, () if names.text else texts, known)
    return Columns(
        _text_positions(path, columns, texts, num_texts),
        tuple(_position(path, columns, name, LABEL_OPTION) for name in labels),
        _noted(path, columns, names.id, ID_OPTION),
        _noted(path, columns, names.weight, WEIGHT_OPTION),
        tuple(columns),
    )


def listed_columns(columns: Sequence[str]) -> str:
    """The first names of columns; of what is no table at all they may be anything."""
    return listing([name if name.isprintable() else shown(name) for name in columns])


def find_texts(
    path: Path,
    columns: Sequence[str],
    names: ColumnNames = KNOWN_NAMES,
    num_texts: int | None = None,
) -> tuple[int, ...]:
    """Positions of the texts alone, in a file that may have no label; else as `find_columns`."""
    names = dataclasses.replace(names, id=None, weight=None)
    return find_columns(path, columns, names, num_texts, has_labels=False).texts


def _noted(path: Path, columns: Sequence[str], name: str | None, option: str) -> int | None:
    """Position of a column beside texts and labels, or None where none is asked for."""
    return None if name is None else _position(path, columns, name, option)


def _wanted(columns: Sequence[str], names: ColumnNames, num_texts: int | None) -> tuple[str, ...]:
    """Names of the columns of texts."""
    if names.text is not None:
        return (names.text,) if names.second_text is None else (names.text, names.second_text)
    if num_texts is None:
        return PAIR if TEXT not in columns and set(PAIR) & set(columns) else (TEXT,)
    return (TEXT,) if num_texts == 1 else PAIR


def _text_positions(
    path: Path, columns: Sequence[str], texts: Sequence[str], num_texts: int | None
) -> tuple[int, ...]:
    if num_texts not in (None, len(texts)):
        advice = "Leave --second-text-column out."
        if num_texts == 2:
            advice = "Name the second with --second-text-column."
        raise DatasetError(
            f"Expected {num_texts} columns of text in {path}. Received: {', '.join(texts)}. "
            f"{advice}"
        )
    options = zip(texts, TEXT_OPTIONS, strict=False)
    return tuple(_position(path, columns, name, option) for name, option in options)


def _position(path: Path, columns: Sequence[str], name: str, option: str) -> int:
    if name not in columns:
        close = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
        advice = f"Did you mean `{close[0]}`?" if close else f"Correct {option}."
        raise DatasetError(
            f"Expected a column `{name}` in {path}. Received: {listed_columns(columns)}. {advice}"
        )
    if columns.count(name) > 1:
        raise DatasetError(f"Expected one column `{name}` in {path}. Received: several.")
    return columns.index(name)


def _check_known(
    path: Path, columns: Sequence[str], texts: Sequence[str], labels: Sequence[str]
) -> None:
    """Refuses a file without the columns of known names, and says what may stand for them.

    There are no `texts` where the user named them, and no `labels` where there need be none, too.
    """
    has_texts, has_label = set(texts) <= set(columns), set(labels) <= set(columns)
    if has_texts and has_label:
        return
    wanted = {(TEXT,): "`text` (or `sentence1`, `sentence2`)", PAIR: "`sentence1`, `sentence2`"}
    expected = [wanted[tuple(texts)]] if texts else []
    expected += ["`label` (or `labels`)"] if labels else []
    options = [] if has_texts else _likely_texts(columns, len(texts))
    is_known = bool(options) or has_texts
    if not has_label:
        likely = _likely(columns, LABELS_ELSEWHERE, LABEL)
        options += [] if likely is None else [f"{LABEL_OPTION} {shlex.quote(likely)}"]
        is_known = is_known and likely is not None
    advice = f"Perhaps {' '.join(options)}?" if options else ""
    if not is_known:
        missing = [TEXT_OPTIONS[0]] * (not has_texts) + [LABEL_OPTION] * (not has_label)
        advice = f"Name the columns: {' and '.join(missing)}. {advice}".rstrip()
    if not all(map(str.isprintable, columns)):
        advice = "Is it the right file?"
    raise DatasetError(
        f"Expected the column{'s' * (len(expected) > 1 or PAIR == texts)} "
        f"{' and '.join(expected)} in {path}. Received: {listed_columns(columns)}. {advice}"
    )


def _likely_texts(columns: Sequence[str], num_texts: int) -> list[str]:
    """Options with the columns that are likely to hold the texts, or none."""
    plain = {_plain(name): name for name in reversed(columns)}
    for pair in PAIRS_ELSEWHERE:
        if set(pair) <= set(plain):
            options = zip(TEXT_OPTIONS, pair, strict=True)
            return [f"{option} {shlex.quote(plain[name])}" for option, name in options]
    likely = _likely(columns, TEXTS_ELSEWHERE, TEXT) if num_texts == 1 else None
    return [] if likely is None else [f"{TEXT_OPTIONS[0]} {shlex.quote(likely)}"]


def _likely(columns: Sequence[str], elsewhere: Sequence[str], known: str) -> str | None:
    """The column that is likely to stand for one of a known name, or None."""
    plain = {_plain(name): name for name in reversed(columns)}
    close = difflib.get_close_matches(known, plain, n=1, cutoff=0.75)
    for name in (known, *elsewhere, *close):
        if name in plain:
            return plain[name]
    return None


def _plain(name: str) -> str:
    """A name without capitals, blanks and marks."""
    return re.sub(r"[\W_]+", "", name.casefold())
