"""A folder or a file of CSV, TSV, JSONL or Parquet as splits of examples.

A folder holds train, validation (also valid, val or dev) and test files and may hold labels.txt,
one class name a line in index order. A file is parsed once a process, whatever passes over its
rows.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfkd.data.catalog import DatasetSpec
from tfkd.data.columns import (
    KNOWN_NAMES,
    LABELS,
    ColumnNames,
    Columns,
    Reading,
    find_columns,
    listed_columns,
)
from tfkd.data.examples import (
    EMBEDDING,
    MULTI_LABEL,
    REGRESSION,
    SINGLE_LABEL,
    Dataset,
    Example,
    Label,
    Reiterable,
    example_of,
    listing,
)
from tfkd.data.kept_rows import KeptRows
from tfkd.data.label_columns import of_columns, understood
from tfkd.data.label_values import check_name
from tfkd.data.labels import BLANKS, LabelForm, LabelReader
from tfkd.data.readers import FORMATS, SUFFIXES, open_table
from tfkd.data.streams import RowFault, unreadable
from tfkd.data.table_rows import Drops, is_unlabelled, parsed_row
from tfkd.data.transfer import NO_LABEL
from tfkd.errors import DatasetError

SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
# Rows of train that have no label, where they may be there.
TRAIN, UNLABELLED = "train", "unlabelled"
# Files whose rows a process keeps at the same time.
KEPT_FILES = 16
# A small packed file may hold more text than the disk does; a sound one shrinks much less.
MOST_GROWTH, LEAST_KEPT = 200, 2**30
METRICS = {
    SINGLE_LABEL: "accuracy",
    MULTI_LABEL: "macro_f1",
    REGRESSION: "pearson",
    EMBEDDING: "",
}


class Version(NamedTuple):
    """A file as it is now: one that is written again has another version."""

    path: Path
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "Version":
        """The file's.

        Raises:
            DatasetError: There is no such file, or it cannot be read.
        """
        try:
            found = path.stat()
        except OSError as error:
            raise unreadable(path, error) from error
        return cls(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclasses.dataclass(frozen=True)
class FileSplit:
    """The examples of one file, which is parsed once a process.

    Attributes:
        path: The file.
        rows: Re-iterable of number, texts, id, weight and what stands in the label column.
        read: From what stands in the label column to a label.
        faults: Takes what is wrong with a bad row, by its number; None to raise it.
    """

    path: Path
    rows: Iterable[Sequence[Any]]
    read: Callable[[Any], Label]
    faults: dict[int, str] | None = None

    def __iter__(self) -> Iterator[Example]:
        """Streams the rows.

        Raises:
            DatasetError: For the first bad row, with file and row, or when there is none.
        """
        row = 0
        for row, texts, row_id, weight, label in self.rows:
            try:
                read = self.read(label)
            except RowFault as error:
                if self.faults is None:
                    error.at(self.path, row)
                    raise
                self.faults[row] = error.reason
            else:
                yield example_of(texts, read, row_id, weight)
        if row == 0 and not self.faults:
            raise DatasetError(f"Expected rows in {self.path}. Received: a header only.")


@functools.lru_cache(KEPT_FILES)
def _head(
    version: Version, names: ColumnNames, num_texts: int | None, has_labels: bool
) -> tuple[Columns, str]:
    """Columns of a file by its header, and its form."""
    with open_table(version.path) as table:
        found = find_columns(version.path, table.columns, names, num_texts, has_labels)
        return found, table.form


class FileRows(NamedTuple):
    """Number, texts, id, weight and label of a file's rows, and what was left out so far."""

    kept: KeptRows
    counts: Counter[str]
    faults: dict[int, str]


@functools.lru_cache(KEPT_FILES)
def _rows(version: Version, names: ColumnNames, first: Path, drops: Drops) -> FileRows:
    """The rows of a file with the columns of the first one of its folder."""
    path, counts, faults = version.path, Counter[str](), dict[int, str]()

    def parsed() -> Iterator[tuple[Any, ...]]:
        most = max(LEAST_KEPT, MOST_GROWTH * version.size_bytes)
        with open_table(path, with_faults=True) as table:
            columns = _same_columns(path, table.columns, names, first)
            for row, values in enumerate(table.rows, start=1):
                try:
                    found = parsed_row(values, columns, drops)
                except RowFault as error:
                    if not drops.bad:
                        error.at(path, row)
                        raise
                    faults[row] = error.reason
                    continue
                if found is None:
                    counts["empty"] += 1
                    continue
                most -= sum(map(len, found[0]))
                if most < 0:
                    expected = f"texts of at most {MOST_GROWTH} times the file's bytes"
                    advice = "Unpack it yourself if it is sound."
                    raise RowFault(expected, "more", advice).at(path, row)
                yield row, *found

    return FileRows(KeptRows(parsed), counts, faults)


def _same_columns(path: Path, columns: Sequence[str], names: ColumnNames, first: Path) -> Columns:
    """Columns of a file that has those of the first one of its folder."""
    wanted = (names.text, names.second_text, *names.labels, names.id, names.weight)
    missing = [name for name in wanted if name and name not in columns]
    if missing and path != first:
        advice = "Give the files of a folder the same columns."
        if set(missing) <= set(names.labels):
            advice = "Move a file without labels out of the folder: nothing can be scored on it."
        raise DatasetError(
            f"Expected the column{'s' * (len(missing) > 1)} {listing(missing)} of {first.name} in "
            f"{path}. Received: {listed_columns(columns)}. {advice}"
        )
    return find_columns(path, columns, names, has_labels=bool(names.labels))


def split_files(folder: Path) -> dict[str, Path]:
    """The file of each split that a folder holds.

    Raises:
        DatasetError: There is none, or two for the same split.
    """
    found: dict[str, Path] = {}
    for split, stems in SPLIT_NAMES.items():
        paths = [
            folder / f"{stem}{suffix}"
            for stem in stems
            for suffix in SUFFIXES
            if (folder / f"{stem}{suffix}").is_file()
        ]
        if len(paths) > 1:
            raise DatasetError(
                f"Expected one file for {split} in {folder}. Received: "
                f"{', '.join(path.name for path in paths)}. Remove all but one."
            )
        if paths:
            found[split] = paths[0]
    if not found:
        inside = sorted(path.name for path in folder.iterdir())
        raise DatasetError(
            f"Expected train, validation or test with one of the endings {', '.join(FORMATS)} "
            f"(or .gz behind it) in {folder}. Received: {', '.join(inside[:8]) or 'nothing'}."
        )
    return found


def read_folder(
    folder: Path, name: str, spec: DatasetSpec | None = None, reading: Reading | None = None
) -> Dataset:
    """The data set in a folder, with the splits that have a file.

    A data set that is known has task, metric and, without labels.txt, label names from its `spec`.

    Raises:
        ConfigError: Several columns of labels are named for another task.
        DatasetError: No split file, a column is missing or the labels cannot be understood.

    Example:

    >>> read_folder(Path("reviews"), "reviews").label_names
    ('negative', 'positive')
    """
    reading, label_path = reading or Reading(), folder / "labels.txt"
    form = reading.labels
    if spec is not None:
        form = form.named(spec.label_names, f"the data set `{spec.name}`")
        form = form.replace(task=spec.task, separator=form.separator or BLANKS)
    if label_path.is_file() and not reading.texts_only:
        form = form.named(_read_label_names(label_path), str(label_path))
    return _dataset(split_files(folder), name, dataclasses.replace(reading, labels=form), spec)


def read_file(path: Path, name: str, reading: Reading | None = None) -> Dataset:
    """The data set in a single file: one split, train."""
    return _dataset({"train": path}, name, reading or Reading(), None)


def names_there(path: Path, names: ColumnNames) -> ColumnNames:
    """Those of the names of texts and id that a file, or a folder's first file, has."""
    head = next(iter(split_files(path).values())) if path.is_dir() else path
    with open_table(head) as table:
        columns = set(table.columns)
    names = dataclasses.replace(names, labels=(), weight=None)
    if names.text not in columns:
        names = dataclasses.replace(names, text=None, second_text=None)
    return names if names.id in columns else dataclasses.replace(names, id=None)


def _dataset(
    paths: dict[str, Path], name: str, reading: Reading, spec: DatasetSpec | None
) -> Dataset:
    # Columns and class names are those of train; without one, of whatever there is.
    versions = {split: Version.of(path) for split, path in paths.items()}
    head = next(iter(paths))  # Train, where there is one.
    first = versions[head]
    num_texts = spec.num_texts if spec else None
    columns, written = _head(first, reading.columns, num_texts, not reading.texts_only)
    form, names = reading.labels, columns.as_named
    if len(names.labels) > 1:
        form = of_columns(form, names.labels, first.path)
        names = dataclasses.replace(names, labels=form.names or ())
    # Without a word in it, a column of several labels says that there are none.
    several = form.task == MULTI_LABEL or (form.task is None and names.labels == (LABELS,))
    drops = Drops(reading.drop_empty, several, not form.may_be_missing, reading.goes_on)
    rows = _rows_of(versions, names, first.path, drops)
    sorted_out = _by_label(rows, several) if form.may_be_missing else {}
    labelled = {split: found.kept for split, found in rows.items()} | sorted_out
    if reading.texts_only:
        form = LabelForm(EMBEDDING)
    elif spec is None and not form.is_hot:
        form = understood(form, labelled[head], names.labels[0], first.path)
    read = _no_label(EMBEDDING) if reading.texts_only else LabelReader(form).read
    faults = {split: rows[split].faults for split in paths if reading.goes_on}
    splits = {
        split: FileSplit(path, labelled[split], read, faults.get(split))
        for split, path in paths.items()
    }
    if UNLABELLED in labelled:
        nothing = _no_label(str(form.task))
        splits[UNLABELLED] = FileSplit(first.path, labelled[UNLABELLED], nothing)

    def repairs() -> dict[str, Counter[str]]:
        folded = {head: Counter(folded=form.num_folded)}
        return {split: rows[split].counts + folded.get(split, Counter()) for split in paths}

    task, label_names = str(form.task), form.names or ()
    metric = spec.metric if spec else METRICS[task]
    said = columns.line if columns.ignored or reading.columns != KNOWN_NAMES else ""
    dataset = Dataset(name, task, label_names, len(columns.texts), metric, splits, form.note)
    return dataclasses.replace(dataset, form=written, columns=said, repairs=repairs, faults=faults)


def _no_label(task: str) -> Callable[[Any], Label]:
    """Reads a column without labels; what it gives, no loss reads."""
    return lambda value: NO_LABEL[task]


def _rows_of(
    versions: Mapping[str, Version], names: ColumnNames, first: Path, drops: Drops
) -> dict[str, FileRows]:
    """The rows of each split's file; those to judge by need a label and have no weight."""
    judged = dataclasses.replace(names, weight=None), first, drops._replace(unlabelled=True)
    return {
        split: _rows(version, *((names, first, drops) if split == TRAIN else judged))
        for split, version in versions.items()
    }


def _by_label(rows: Mapping[str, FileRows], several: bool) -> dict[str, Iterable[Sequence[Any]]]:
    """The rows of train that have a label and, where there are any, those that have none."""
    if TRAIN not in rows:
        return {}

    def parted(lacks_label: bool) -> Reiterable[list]:
        kept = rows[TRAIN].kept
        return Reiterable(
            lambda: (row for row in kept if is_unlabelled(row[-1], several) == lacks_label)
        )

    own, others = parted(False), parted(True)
    return {TRAIN: own, UNLABELLED: others} if next(iter(others), None) else {}


def _read_label_names(path: Path) -> tuple[str, ...]:
    try:
        # Not splitlines, which takes a form feed for the end of a line.
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        raise DatasetError(f"Expected UTF-8 text in {path}. Received: {error}.") from error
    while names and not names[-1]:
        names.pop()
    if not names or "" in names or len(set(names)) < len(names):
        raise DatasetError(
            f"Expected one class name a line in {path}, no blank line and no name twice. "
            f"Received: {', '.join(map(repr, names[:8])) or 'an empty file'}."
        )
    for line, name in enumerate(names, 1):
        check_name(name, f"{path}, line {line}")
    return tuple(names)
