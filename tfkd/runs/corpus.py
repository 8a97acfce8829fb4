"""The texts of a corpus, source by source: the files of a folder, or a data set's splits."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfkd.data.columns import ColumnNames, find_columns
from tfkd.data.readers import SUFFIXES, open_table
from tfkd.data.sources import load_texts
from tfkd.data.streams import placed
from tfkd.data.table_rows import id_of_row
from tfkd.errors import DatasetError
from tfkd.runs.scored_file import Row, row_of


class Survey(NamedTuple):
    """What the rows of a source come to."""

    num_rows: int
    num_empty: int
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Where texts are, in a fixed order.

    Attributes:
        place: A folder of tables, a file, or the name of a data set.
        sources: Files below the folder by their names, or the data set's splits.
        names: Columns of the files.
        num_texts: 1 for single texts, 2 for pairs.
        data_dir: Folder of data sets with names.
    """

    place: Path
    sources: tuple[str, ...]
    names: ColumnNames
    num_texts: int
    data_dir: Path | None = None

    @classmethod
    def of(
        cls, place: Path, names: ColumnNames, num_texts: int, data_dir: Path | None = None
    ) -> "Corpus":
        """A corpus by its path, or else by its name.

        Raises:
            ConfigError: There is neither such a path nor such a name.
            DatasetError: It holds no table, or texts where the model asks for pairs, or the like.
        """
        if place.is_dir():
            found = (path for path in place.rglob("*") if path.name.endswith(SUFFIXES))
            inside = (path.relative_to(place) for path in found if path.is_file())
            # Hidden ones are unfinished.
            tables = (path for path in inside if not any(part[0] == "." for part in path.parts))
            sources = tuple(sorted(path.as_posix() for path in tables))
            if not sources:
                raise DatasetError(
                    f"Expected files that end in one of {', '.join(SUFFIXES)} in {place}. "
                    "Received: none."
                )
            return cls(place, sources, names, num_texts)
        if place.is_file():
            return cls(place, (place.name,), names, num_texts)
        dataset = load_texts(str(place), data_dir)
        if dataset.num_texts != num_texts:
            raise DatasetError(
                f"Expected {num_texts} texts a row, as the model was trained. Received: "
                f"{dataset.num_texts} in {place}."
            )
        return cls(place, tuple(dataset.splits), names, num_texts, data_dir)

    def with_ids_there(self) -> "Corpus":
        """The same without a column of ids where the first file has none of its name."""
        if self.names.id is None or not self.place.exists():
            return self
        with open_table(self._path(self.sources[0])) as table:
            is_there = self.names.id in table.columns
        names = self.names if is_there else dataclasses.replace(self.names, id=None)
        return dataclasses.replace(self, names=names)

    def rows(self, source: str) -> Iterator[tuple[str, Row | None]]:
        """Id and texts of each row of a source; None for a row without a text.

        Rows of files without a column of ids are called `<file>:<number>`.

        Raises:
            DatasetError: For a bad row, when it is reached.
        """
        if not self.place.exists():
            split = load_texts(str(self.place), self.data_dir).splits[source]
            for number, row in enumerate(split, 1):
                yield row.id or f"{source}:{number}", row.texts
            return
        path = self._path(source)
        with open_table(path) as table:
            columns = find_columns(path, table.columns, self.names, self.num_texts, False)
            for number, values in enumerate(table.rows, 1):
                with placed(path, number):
                    texts = row_of([values[index] for index in columns.texts])
                    own = None if columns.id is None else id_of_row(values[columns.id])
                yield own or f"{source}:{number}", texts

    def _path(self, source: str) -> Path:
        return self.place / source if self.place.is_dir() else self.place

    def survey(self, source: str) -> Survey:
        """Reads all rows of a source, so that a bad one is found before the first answer.

        Raises:
            DatasetError: A row is bad.
        """
        num_rows = num_empty = 0
        digest = hashlib.sha256()
        for row_id, texts in self.rows(source):
            num_rows += 1
            num_empty += texts is None
            digest.update(json.dumps([row_id, texts]).encode())
        return Survey(num_rows, num_empty, digest.hexdigest()[:16])
