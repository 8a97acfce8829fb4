"""Text without labels for the teacher to answer, from a file of lines or another data set's train.

What a student can take over from its teacher is bounded by what it hears it answer. Labelled text
is scarce, text of the same kind is not: the teacher's answer stands in for the label.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tfkd.data.examples import (
    EMBEDDING,
    MULTI_LABEL,
    REGRESSION,
    SINGLE_LABEL,
    Dataset,
    Example,
    Label,
    example_of,
)
from tfkd.errors import DatasetError

TEXT, SENTENCE = "text", "sentence"
HELD_OUT = ("validation", "test")
Load = Callable[[str], Dataset]
LINES_SUFFIX = ".txt"
# What stands where a label would; no loss reads it.
NO_LABEL: dict[str, Label] = {SINGLE_LABEL: 0, MULTI_LABEL: (), REGRESSION: 0.0, EMBEDDING: 0}
_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")


@dataclasses.dataclass(frozen=True)
class Lines:
    """The texts of a file, one a line; blank lines are passed over."""

    path: Path

    def __iter__(self) -> Iterator[str]:
        """Streams the texts.

        Raises:
            DatasetError: The file is not UTF-8, or has no text.
        """
        is_empty = True
        try:
            with self.path.open(encoding="utf-8-sig") as lines:
                for line in lines:
                    if line.strip():
                        is_empty = False
                        yield line.strip()
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"Expected UTF-8 text in {self.path}. Received: {error.reason}. Save the file as "
                "UTF-8."
            ) from error
        if is_empty:
            raise DatasetError(
                f"Expected a text a line in {self.path}. Received: blank lines only, or none."
            )


@dataclasses.dataclass(frozen=True)
class TextsOf:
    """The texts of each row of a split; of a pair, the blank one is passed over."""

    rows: Iterable[Example]

    def __iter__(self) -> Iterator[str]:
        """Streams the texts."""
        for row in self.rows:
            if len(row.texts) == 1:
                yield row.texts[0]
            else:
                yield from (text for text in row.texts if text.strip())


@dataclasses.dataclass(frozen=True)
class Unlabelled:
    """Texts as rows without a label of their own.

    Args:
        texts: Re-iterable of strings.
        task: String. One of `tfkd.data.examples.TASKS`, of the rows these are put behind.
        unit: String. "text", or "sentence": a text is cut behind each full stop, exclamation or
            question mark that a space follows, and its markup (`<br />`) is left out.
        num_rows: Integer or None. Only the first ones.

    Example:

    >>> rows = Unlabelled(["It rained.<br />We left! Why?"], "single_label", "sentence")
    >>> [row.texts[0] for row in rows]
    ['It rained.', 'We left!', 'Why?']
    """

    texts: Iterable[str]
    task: str
    unit: str = TEXT
    num_rows: int | None = None

    def __iter__(self) -> Iterator[Example]:
        """Streams the rows."""
        return itertools.islice(self._rows(), self.num_rows)

    def _rows(self) -> Iterator[Example]:
        label = NO_LABEL[self.task]
        if self.unit == TEXT and isinstance(self.texts, TextsOf):
            # Whole texts keep what their source calls them.
            for row in self.texts.rows:
                yield from (example_of((text,), label, row.id) for text in TextsOf([row]))
            return
        for text in self.texts:
            units = sentences(text) if self.unit == SENTENCE else (text,)
            yield from (Example((unit,), label) for unit in units)


@dataclasses.dataclass(frozen=True)
class Apart:
    """Rows without those whose texts a data set holds out.

    Attributes:
        rows: Re-iterable of examples.
        dataset: `Dataset`.
    """

    rows: Iterable[Example]
    dataset: Dataset

    def __iter__(self) -> Iterator[Example]:
        """Streams the rows."""
        held_out = self._held_out()
        return (row for row in self.rows if _key(row) not in held_out)

    @property
    def num_left_out(self) -> int:
        """Rows that are not among these."""
        held_out = self._held_out()
        return sum(_key(row) in held_out for row in self.rows)

    def _held_out(self) -> set[int]:
        splits = self.dataset.splits
        return {_key(row) for name in HELD_OUT if name in splits for row in splits[name]}


@dataclasses.dataclass(frozen=True)
class Joined:
    """The rows of several splits, one behind the other."""

    parts: tuple[Iterable[Example], ...]

    def __iter__(self) -> Iterator[Example]:
        """Streams the rows."""
        return itertools.chain.from_iterable(self.parts)


def _key(row: Example) -> int:
    """What stands for a row's texts in this process; blanks around them do not count."""
    return hash(tuple(text.strip() for text in row.texts))


def sentences(text: str) -> list[str]:
    """The sentences of a text by its punctuation alone: an abbreviation ends one, too."""
    pieces = _SENTENCE_END.split(_MARKUP.sub(" ", text))
    return [piece.strip() for piece in pieces if piece.strip()]


def unlabelled(
    source: str, dataset: Dataset, load: Load, unit: str, num_rows: int | None
) -> Unlabelled:
    """Rows without labels to put behind the training rows of a data set.

    What the data set holds out is left out of them.

    Raises:
        DatasetError: There is no such text, or one side is pairs.
    """
    if dataset.num_texts != 1:
        raise DatasetError(
            "Expected a data set of single texts for --unlabelled. Received: "
            f"{dataset.name}, of pairs. Leave --unlabelled out, or give --augmented-copies."
        )
    if not is_lines(source) and load(source).num_texts != 1:
        raise DatasetError(
            f"Expected single texts for --unlabelled. Received: {source}, of pairs. Give a "
            "data set of single texts, or a .txt file of one text a line."
        )
    texts = texts_of(source, load, "--unlabelled")
    if unit == SENTENCE:
        # Before the texts are cut: no sentence of a text that is held out is read.
        texts = TextsOf(Apart(Unlabelled(texts, dataset.task), dataset))
    return Unlabelled(texts, dataset.task, unit, num_rows)


def is_lines(source: str) -> bool:
    """Whether a name stands for a file of lines, not for a data set."""
    return Path(source).suffix == LINES_SUFFIX


def texts_of(source: str, load: Load, option: str) -> Iterable[str]:
    """Texts without labels; nothing is read yet.

    The source is a `.txt` file of one text a line, or what `load` takes.

    Raises:
        ConfigError: The data set's name is unknown.
        DatasetError: There is no such text.
    """
    if not is_lines(source):
        return TextsOf(load(source).splits["train"])
    path = Path(source).expanduser()
    if not path.is_file():
        raise DatasetError(
            f"Expected a text file for {option}. Received: {path}, which is not there. Correct the "
            "path."
        )
    return Lines(path)
