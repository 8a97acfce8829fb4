"""Rows that a program holds in memory, written once as a data set that every verb can read.

Lists, arrays, columns and tables of other libraries (numpy, pandas, polars, Arrow, datasets,
TensorFlow) are asked by the methods they have; none of these libraries is imported. The folder is
named by its rows, so the same rows are the same data set, today and when a run goes on.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfkd.artifacts import write_record
from tfkd.data.columns import LABEL, LABELS, PAIR, TEXT, ColumnNames, find_columns
from tfkd.data.texts import plain_value, text_row
from tfkd.parts import part_folder, sync
from tfkd.seals import check_files

MANIFEST, LABEL_NAMES = "manifest.json", "labels.txt"


def write_rows(
    folder: Path,
    splits: Mapping[str, tuple[Any, Any]],
    names: ColumnNames,
    label_names: Sequence[str] | None = None,
) -> Path:
    """Writes splits as a data set in a folder of their own, unless it is there.

    Args:
        folder: Path of the folder that it goes into.
        splits: Split name to texts and labels; or to both in one, and None: a table by the names of
            its columns, or an iterable of `(text, label)` or of rows by name.
        names: `ColumnNames` of tables.
        label_names: Names of the classes in index order. Default: what a table says, if anything.

    Returns:
        Path of the data set's folder.

    Raises:
        DatasetError: A table has no such columns, or a text is no Unicode.
        TypeError: They are no texts.
        ValueError: There are none, or not as many labels as texts.

    Example:

    >>> write_rows(Path("cache"), {"train": (["Rain.", "A goal."], [0, 1])}, KNOWN_NAMES)
    PosixPath('cache/texts-8c5ff1a40f6d')
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with part_folder(folder / "texts") as part:
        contents: dict[str, Iterator[bytes]] = {}
        for split, (texts, labels) in splits.items():
            if labels is None:
                label_names = label_names or _class_names(texts, names)
            contents[f"{split}.jsonl"] = _lines(texts, labels, names)
        if label_names:
            contents[LABEL_NAMES] = (f"{name}\n".encode() for name in label_names)
        for name, lines in contents.items():
            digest.update(name.encode())
            with (part / name).open("wb") as stream:
                for line in lines:
                    digest.update(line)
                    stream.write(line)
        path = folder / f"texts-{digest.hexdigest()[:12]}"
        if path.is_dir():
            check_files(path / MANIFEST, remedy="Delete its folder.")
        else:
            write_record(part / MANIFEST, {}, list(contents))
            sync(part)
            os.replace(part, path)
    return path


def _lines(texts: Any, labels: Any, names: ColumnNames) -> Iterator[bytes]:
    """The rows as JSONL, with columns of the known names."""
    rows = _table_rows(texts, names) if labels is None else _joined(texts, labels)
    first = next(rows, None)
    if first is None:
        raise ValueError("Expected texts with labels. Received: no row")
    is_single = isinstance(plain_value(first[0]), str | bytes)
    text_names = (TEXT,) if is_single else PAIR
    columns = column_names(texts) if labels is None else None
    label_name = LABELS if columns and _found(columns, names)[1] == (LABELS,) else LABEL
    for number, (text, label) in enumerate(itertools.chain([first], rows), 1):
        label = plain_value(label)
        if isinstance(label, list | tuple | set | frozenset):
            label_name, label = LABELS, list(label)
        row = dict(zip(text_names, text_row(text, number, len(text_names)), strict=True))
        yield json.dumps({**row, label_name: label}, ensure_ascii=False, default=_decoded).encode()
        yield b"\n"


def _decoded(value: object) -> object:
    """A value inside a label that JSON does not know: bytes, or a scalar of another library."""
    plain = plain_value(value)
    if isinstance(plain, bytes):
        return plain.decode()
    if plain is value:
        raise TypeError(
            f"Expected a label as a name, a number or a list of them. Received: {value!r:.100}"
        )
    return plain


def _joined(texts: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    rows, answers = _listed(texts, "texts"), _listed(labels, "labels")
    if len(rows) != len(answers):
        raise ValueError(
            f"Expected as many labels as texts. Received: {len(answers)} labels for {len(rows)} "
            "texts"
        )
    yield from zip(rows, answers, strict=True)


def _listed(values: Any, what: str) -> list[Any]:
    values = plain_value(values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(
            f"Expected {what} in a list, an array or a column. Received: {values!r:.100}"
        )
    return list(values)


def _table_rows(table: Any, names: ColumnNames) -> Iterator[tuple[Any, Any]]:
    """Text and label of the rows of a table, or of an iterable of rows."""
    columns = column_names(table)
    if columns is not None:
        texts, labels = _found(columns, names)
        parts = [_listed(table[name], name) for name in (*texts, *labels)]
        yield from (_split(row, len(texts)) for row in zip(*parts, strict=True))
        return
    for row in table.as_numpy_iterator() if hasattr(table, "as_numpy_iterator") else table:
        if isinstance(row, Mapping):
            texts, labels = _found(list(row), names)
            text, label = _split([row[name] for name in (*texts, *labels)], len(texts))
        elif isinstance(row, tuple) and len(row) == 2:
            text, label = row
        else:
            raise TypeError(
                "Expected labels beside the texts, or rows of a text and its label. Received: "
                f"{row!r:.100}"
            )
        # A batch of rows; a text alone has no dimension.
        is_batch = getattr(text, "ndim", 0) == 1
        yield from zip(text, label, strict=True) if is_batch else [(text, label)]


def _found(columns: Sequence[str], names: ColumnNames) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the columns of texts and labels."""
    found = find_columns(Path("the table"), columns, names)
    return tuple(columns[index] for index in found.texts), found.label_names


def _split(row: Sequence[Any], num_texts: int) -> tuple[Any, Any]:
    """Texts and labels, each alone where there is one."""
    texts, labels = tuple(row[:num_texts]), list(row[num_texts:])
    return (texts if num_texts > 1 else texts[0]), (labels if len(labels) > 1 else labels[0])


def column_names(table: Any) -> list[str] | None:
    """Names of a table's columns, or None for what is no table."""
    if isinstance(table, Mapping):
        return list(table)
    columns = getattr(table, "column_names", getattr(table, "columns", None))
    return None if columns is None else list(map(str, columns))


def _class_names(table: Any, names: ColumnNames) -> Sequence[str] | None:
    """Names of the classes, as tables of `datasets` and several columns of labels have them."""
    columns = column_names(table)
    if columns is None:
        return None
    _, labels = _found(columns, names)
    if len(labels) > 1:
        return labels
    features = getattr(table, "features", None)
    feature = features[labels[0]] if isinstance(features, Mapping) else None
    return getattr(getattr(feature, "feature", feature), "names", None)
