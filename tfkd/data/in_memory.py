"""Rows that a program holds in memory, written once as a data set that every verb can read.

Lists, arrays, columns and tables of other libraries (numpy, pandas, polars, Arrow, datasets,
TensorFlow) are asked by the methods they have; none of these libraries is imported. The folder is
named by its rows, so the same rows are the same data set, today and when a run goes on.
"""

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfkd.artifacts import write_record
from tfkd.data.columns import LABEL, LABELS, PAIR, TEXT, WEIGHT, ColumnNames, find_columns
from tfkd.data.texts import plain_value, text_row
from tfkd.parts import part_folder, sync
from tfkd.seals import check_files

MANIFEST, LABEL_NAMES = "manifest.json", "labels.txt"


def write_rows(
    folder: Path,
    splits: Mapping[str, Sequence[Any]],
    names: ColumnNames,
    label_names: Sequence[str] | None = None,
) -> Path:
    """Writes splits as a data set in a folder of their own, unless it is there.

    Args:
        folder: Path of the folder that it goes into.
        splits: Split name to texts and labels, of train perhaps weights; or to all in one, and
            None: a table by the names of its columns, or an iterable of `(text, label)` or of rows
            by name.
        names: `ColumnNames` of tables.
        label_names: Names of the classes in index order. Default: what a table says, if anything.

    Raises:
        DatasetError: A table has no such columns, or a text is no Unicode.
        TypeError: They are no texts, or weights are given beside a table.
        ValueError: There are none, or not as many labels or weights as texts.

    Example:

    >>> write_rows(Path("cache"), {"train": (["Rain.", "A goal."], [0, 1])}, KNOWN_NAMES)
    PosixPath('cache/texts-8c5ff1a40f6d')
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with part_folder(folder / "texts") as part:
        contents: dict[str, Iterator[bytes]] = {}
        for split, (texts, labels, *weights) in splits.items():
            known = names if split == "train" else dataclasses.replace(names, weight=None)
            if labels is None:
                label_names = label_names or _class_names(texts, known)
            contents[f"{split}.jsonl"] = _lines(texts, labels, known, weights)
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


def _lines(texts: Any, labels: Any, names: ColumnNames, weights: Sequence[Any]) -> Iterator[bytes]:
    """The rows as JSONL, with columns of the known names."""
    if weights and labels is None:
        raise TypeError("Expected a table's weights by `weight_column`. Received: `weights`")
    rows = _table_rows(texts, names) if labels is None else _joined(texts, labels, *weights)
    first = next(rows, None)
    if first is None:
        raise ValueError("Expected texts with labels. Received: no row")
    is_single = isinstance(plain_value(first[0]), str | bytes)
    text_names = (TEXT,) if is_single else PAIR
    columns = column_names(texts) if labels is None else None
    label_name = LABELS if columns and _found(columns, names)[1] == (LABELS,) else LABEL
    for number, (text, label, *weight) in enumerate(itertools.chain([first], rows), 1):
        label = plain_value(label)
        if isinstance(label, list | tuple | set | frozenset):
            label_name, label = LABELS, list(label)
        row = dict(zip(text_names, text_row(text, number, len(text_names)), strict=True))
        row |= {label_name: label, **dict(zip((WEIGHT,), weight, strict=False))}
        yield json.dumps(row, ensure_ascii=False, default=_decoded).encode()
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


def _joined(texts: Any, labels: Any, *weights: Any) -> Iterator[tuple[Any, ...]]:
    given = zip(("texts", "labels", "weights"), (texts, labels, *weights), strict=False)
    parts = {name: _listed(values, name) for name, values in given}
    count = len(parts["texts"])
    for name, values in parts.items():
        if len(values) != count:
            raise ValueError(
                f"Expected as many {name} as texts. Received: {len(values)} {name} for {count} "
                "texts"
            )
    yield from zip(*parts.values(), strict=True)


def _listed(values: Any, what: str) -> list[Any]:
    values = plain_value(values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(
            f"Expected {what} in a list, an array or a column. Received: {values!r:.100}"
        )
    return list(values)


def _table_rows(table: Any, names: ColumnNames) -> Iterator[tuple[Any, ...]]:
    """Text, label and perhaps weight of the rows of a table, or of an iterable of rows."""
    columns = column_names(table)
    if columns is not None:
        found = _found(columns, names)
        parts = [_listed(table[name], name) for name in itertools.chain(*found)]
        yield from (_split(row, found) for row in zip(*parts, strict=True))
        return
    for row in table.as_numpy_iterator() if hasattr(table, "as_numpy_iterator") else table:
        if isinstance(row, Mapping):
            found = _found(list(row), names)
            row = _split([row[name] for name in itertools.chain(*found)], found)
        elif isinstance(row, tuple) and len(row) == 2:
            pass
        else:
            raise TypeError(
                "Expected labels beside the texts, or rows of a text and its label. Received: "
                f"{row!r:.100}"
            )
        # A batch of rows; a text alone has no dimension.
        is_batch = getattr(row[0], "ndim", 0) == 1
        yield from zip(*row, strict=True) if is_batch else [row]


def _found(columns: Sequence[str], names: ColumnNames) -> tuple[tuple[str, ...], ...]:
    """Names of the columns of texts, of labels, and of a weight or of none."""
    found = find_columns(Path("the table"), columns, names)
    weight = () if names.weight is None else (names.weight,)
    return tuple(columns[index] for index in found.texts), found.label_names, weight


def _split(row: Sequence[Any], found: Sequence[Sequence[str]]) -> tuple[Any, ...]:
    """Texts and labels, each alone where there is one, and perhaps a weight."""
    ends = len(found[0]), len(found[0]) + len(found[1])
    texts, labels = tuple(row[: ends[0]]), list(row[ends[0] : ends[1]])
    text, label = (part if len(part) > 1 else part[0] for part in (texts, labels))
    return text, label, *row[ends[1] :]


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
    _, labels, _ = _found(columns, names)
    if len(labels) > 1:
        return labels
    features = getattr(table, "features", None)
    feature = features[labels[0]] if isinstance(features, Mapping) else None
    return getattr(getattr(feature, "feature", feature), "names", None)
