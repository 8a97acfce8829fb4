"""A folder or a file of CSV, TSV, JSONL or Parquet as splits of examples.

A folder holds train, validation (also valid, val or dev) and test files and may hold labels.txt,
one class name a line in index order. Columns are `text` or `sentence1,sentence2`, and `label` or
`labels` (several labels a row). A file is parsed once a process, whatever passes over its rows.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfkd.data.catalog import DatasetSpec
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Dataset, Example
from tfkd.data.kept_rows import KeptRows
from tfkd.data.label_columns import understood
from tfkd.data.label_values import check_name, plain
from tfkd.data.labels import BLANKS, LabelForm, LabelReader
from tfkd.data.readers import FORMATS, SUFFIXES, Table, fault, open_table, unreadable
from tfkd.errors import DatasetError, shown

SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
# Files whose rows a process keeps at the same time.
KEPT_FILES = 16
METRICS = {SINGLE_LABEL: "accuracy", MULTI_LABEL: "macro_f1", REGRESSION: "pearson"}


class Columns(NamedTuple):
    """Positions of texts and label in a file's rows."""

    texts: tuple[int, ...]
    label: int
    label_name: str


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
        rows: `KeptRows` of its texts and, behind them, what stands in its label column.
        labels: Reads the label column.
    """

    path: Path
    rows: KeptRows
    labels: LabelReader

    def __iter__(self) -> Iterator[Example]:
        """Streams the rows.

        Raises:
            DatasetError: For the first bad row, with file and row, or when there is none.
        """
        row = 0
        for row, (*texts, label) in enumerate(self.rows, start=1):
            yield Example(tuple(texts), self.labels.read(label, self.path, row))
        if row == 0:
            raise DatasetError(f"Expected rows in {self.path}. Received: a header only.")


@functools.lru_cache(KEPT_FILES)
def _columns(version: Version, num_texts: int | None) -> Columns:
    """Columns of a file by its header."""
    with open_table(version.path) as table:
        return find_columns(version.path, table, num_texts)


@functools.lru_cache(KEPT_FILES)
def _rows(version: Version, num_texts: int) -> KeptRows:
    """Texts and label of each row of a file."""
    path = version.path

    def parsed() -> Iterator[tuple[Any, ...]]:
        with open_table(path) as table:
            columns = find_columns(path, table, num_texts)
            for row, values in enumerate(table.rows, start=1):
                texts = _texts([values[index] for index in columns.texts], path, row)
                yield *texts, plain(values[columns.label], path, row)

    return KeptRows(parsed)


def _texts(values: Sequence[Any], path: Path, row: int) -> Sequence[str]:
    """The texts of a row; of a pair one may be empty, as in GLUE's qqp."""
    texts = ["" if value is None and len(values) > 1 else value for value in values]
    for text in texts:
        if not isinstance(text, str):
            raise fault(path, row, "a string as text", shown(text))
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise fault(
                    path,
                    row,
                    "UTF-8 text",
                    f"a broken character in {shown(text)}",
                    "Save the file as UTF-8.",
                ) from error
    if not any(text and not text.isspace() for text in texts):
        raise fault(path, row, "a text", "an empty one", "Drop the row or fill it in.")
    return texts


def find_columns(path: Path, table: Table, num_texts: int | None = None) -> Columns:
    """Finds the text and label columns of an open file.

    Args:
        path: Path of the file, for error messages.
        table: The open file.
        num_texts: 1 or 2 when known, None to take what is there.

    Raises:
        DatasetError: A column is missing; the message lists those found.
    """
    names = list(table.columns)
    pair = ["sentence1", "sentence2"]
    wanted = {1: ["text"], 2: pair, None: ["text"] if "text" in names else pair}[num_texts]
    label = "label" if "label" in names else "labels"
    for name in (*wanted, label):
        if name not in names:
            texts = {1: "`text`", 2: "`sentence1`, `sentence2`"}.get(
                num_texts or 0, "`text` (or `sentence1`, `sentence2`)"
            )
            raise DatasetError(
                f"Expected the columns {texts} and `label` (or `labels`) in {path}. "
                f"Received: {', '.join(names)}. Rename the columns in the file."
            )
        if names.count(name) > 1:
            raise DatasetError(f"Expected one column `{name}` in {path}. Received: several.")
    return Columns(tuple(names.index(name) for name in wanted), names.index(label), label)


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
    folder: Path, name: str, spec: DatasetSpec | None = None, form: LabelForm | None = None
) -> Dataset:
    """The data set in a folder, with the splits that have a file.

    Args:
        folder: Path. Holds the split files and perhaps labels.txt.
        name: String. The data set's name.
        spec: Catalog entry when the data set is known; gives task, metric and, without
            labels.txt, the label names.
        form: `LabelForm`. What else is known of the labels.

    Raises:
        DatasetError: No split file, a column is missing or the labels cannot be understood.

    Example:

    >>> read_folder(Path("reviews"), "reviews").label_names
    ('negative', 'positive')
    """
    form, label_path = form or LabelForm(), folder / "labels.txt"
    if spec is not None:
        form = form.named(spec.label_names, f"the data set `{spec.name}`")
        form = form.replace(task=spec.task, separator=form.separator or BLANKS)
    if label_path.is_file():
        form = form.named(_read_label_names(label_path), str(label_path))
    return _dataset(split_files(folder), name, form, spec)


def read_file(path: Path, name: str, form: LabelForm | None = None) -> Dataset:
    """The data set in a single file: one split, train."""
    return _dataset({"train": path}, name, form or LabelForm(), None)


def _dataset(
    paths: dict[str, Path], name: str, form: LabelForm, spec: DatasetSpec | None
) -> Dataset:
    # Columns and class names are those of train; without one, of whatever there is.
    versions = {split: Version.of(path) for split, path in paths.items()}
    first = versions.get("train") or next(iter(versions.values()))
    columns = _columns(first, spec.num_texts if spec else None)
    num_texts = len(columns.texts)
    if spec is None:
        form = understood(form, _rows(first, num_texts), columns.label_name, first.path)
    labels = LabelReader(form)
    splits = {
        split: FileSplit(version.path, _rows(version, num_texts), labels)
        for split, version in versions.items()
    }
    task, names = str(form.task), form.names or ()
    metric = spec.metric if spec else METRICS[task]
    return Dataset(name, task, names, num_texts, metric, splits, form.note)


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
