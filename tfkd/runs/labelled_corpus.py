"""A corpus with a model's answers, in Parquet parts that `--teacher-answers` reads.

A part holds the next rows of one source and is written whole or not at all, whoever writes it: a
loop here, or workers elsewhere. So each row is answered once, however often the work is killed.
What is there is not made again, and `_manifest.json` says what it was made of.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tfkd import artifacts, cluster
from tfkd.artifacts import JsonObject
from tfkd.data.examples import Example
from tfkd.data.tables import UserTable
from tfkd.data.writers import table_writer
from tfkd.distillation.teacher_answers import TEXT_HASH, answer_files, text_hash
from tfkd.errors import ArtifactError, DatasetError
from tfkd.evaluation.table import Shown
from tfkd.models.description import DESCRIPTION_FILE
from tfkd.progress import Progress
from tfkd.runs.answering import KERAS, Answering, of_folder
from tfkd.runs.corpus import Corpus, Survey
from tfkd.runs.scored_file import Row, added_columns, answered

# Readers of a folder of Parquet pass over what begins so.
MANIFEST = "_manifest.json"
ROW_ID = "id"
# Read, answered and written at a time.
CHUNK_ROWS = 1024


class Part(NamedTuple):
    """Rows of one source that become a file."""

    name: str
    source: str
    first: int
    num_rows: int


@dataclasses.dataclass(frozen=True)
class Labelling:
    """Which model is to answer which texts, and where the parts go.

    Attributes:
        corpus: `Corpus`.
        folder: Folder of the parts.
        model: Model folder.
        recipe: LiteRT file that answers, or `KERAS`.
        parts: All parts of the corpus.
    """

    corpus: Corpus
    folder: Path
    model: Path
    recipe: str
    parts: tuple[Part, ...] = ()

    def cut(self, surveys: Mapping[str, Survey], part_rows: int) -> "Labelling":
        """The same with its parts; no part has rows of two sources."""
        cuts = (
            (source, first, min(part_rows, survey.num_rows - first))
            for source, survey in surveys.items()
            for first in range(0, survey.num_rows, part_rows)
        )
        parts = (Part(f"part-{number:05d}.parquet", *cut) for number, cut in enumerate(cuts))
        return dataclasses.replace(self, parts=tuple(parts))

    def missing(self) -> list[int]:
        """Numbers of the parts that are not there."""
        there = {path.name for path in answer_files(self.folder)}
        return [number for number, part in enumerate(self.parts) if part.name not in there]

    def record(self, surveys: Mapping[str, Survey], part_rows: int) -> JsonObject:
        """All that decides what stands in the parts."""
        is_keras = self.recipe == KERAS
        file = self.model / (DESCRIPTION_FILE if is_keras else f"{self.recipe}.tflite")
        rows = {source: [survey.num_rows, survey.fingerprint] for source, survey in surveys.items()}
        model = {"recipe": self.recipe, "sha256": artifacts.file_sha256(file)}
        return {"model": model, "rows of a part": part_rows, "input": rows}


class PartWriter:
    """Writes parts, in one process; it goes on in a source where its last part ended."""

    def __init__(self, labelling: Labelling) -> None:
        self._labelling = labelling
        self._answering: Answering = of_folder(labelling.model, labelling.recipe)
        self._source, self._next = "", 0
        self._rows: Iterator[tuple[str, Row | None]] = iter(())

    def __call__(self, number: int) -> int:
        """Writes a part and gives the number of its rows.

        Raises:
            DatasetError: Its source has other rows than it had.
        """
        part = self._labelling.parts[number]
        if self._source != part.source or part.first < self._next:
            self._rows = self._labelling.corpus.rows(part.source)
            self._source, self._next = part.source, 0
        skipped = part.first - self._next
        rows = itertools.islice(self._rows, skipped, skipped + part.num_rows)
        self._next = part.first + part.num_rows
        path = self._labelling.folder / part.name
        names = key_names(self._labelling.corpus)
        table = UserTable(path, names)
        added, _ = added_columns(table, self._answering.model, all_classes=True)
        num_rows = 0
        with table_writer(path, table, added) as write:
            while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
                ids, texts = zip(*chunk, strict=True)
                columns: list[Sequence[object]] = [ids]
                if TEXT_HASH in names:
                    columns.append([row and text_hash(Example(row, 0)) for row in texts])
                write([*columns, *answered(texts, self._answering, all_classes=True)])
                num_rows += len(chunk)
            if num_rows < part.num_rows:
                raise DatasetError(
                    f"Expected {part.num_rows} rows of {part.source} from row {part.first + 1} on. "
                    f"Received: {num_rows}. Leave the input as it is until all is answered."
                )
        return num_rows


def key_names(corpus: Corpus) -> tuple[str, ...]:
    """Columns by which an answer is joined: rows without ids of their own have hashes as well."""
    return (ROW_ID,) if corpus.names.id else (ROW_ID, TEXT_HASH)


@dataclasses.dataclass(frozen=True, repr=False)
class LabelledCorpus(Shown):
    """What was written.

    Attributes:
        path: Folder of the parts.
        source: The corpus.
        model: What answered.
        num_rows: Rows of all parts.
        num_empty: Rows without a text, which have no answer.
        num_parts: Files.
        num_found: Those that were there before.
        seconds: Seconds of the scoring.
        rows_a_second: Of the parts that were made now.
    """

    path: Path
    source: Path
    model: str
    num_rows: int
    num_empty: int
    num_parts: int
    num_found: int
    seconds: float
    rows_a_second: float

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return dataclasses.asdict(self) | {"path": str(self.path), "source": str(self.source)}

    def render(self) -> list[str]:
        """Lines for the console."""
        lines = [
            f"{self.path}: {self.num_rows:,} rows in {self.num_parts:,} parts, answered by "
            f"{self.model}; {self.num_parts - self.num_found:,} parts made now in "
            f"{self.seconds:.1f} s ({self.rows_a_second:,.0f} rows a second)."
        ]
        if self.num_empty:
            lines.append(f"Rows without a text, which have no answer: {self.num_empty:,}.")
        return [*lines, f"Teach with them: tfkd distill --teacher-answers {self.path}"]


def label_corpus(
    labelling: Labelling, part_rows: int, overwrite: bool, ray: str | None, progress: Progress
) -> LabelledCorpus:
    """Writes the parts of a corpus that are not there yet.

    Args:
        labelling: `Labelling`.
        part_rows: Integer. Rows of a part.
        overwrite: Boolean. Begin anew whatever parts there are.
        ray: String. Address of a Ray cluster that does the work, or "local" for one of its own.
            None: a loop in this process.
        progress: `Progress`.

    Raises:
        ArtifactError: The folder holds other files, or parts of another model or other rows.
        ConfigError: Ray is not installed, or there is no such cluster.
        DatasetError: A row is bad, or there is none.
    """
    if ray is not None:
        cluster.check_installed()
    corpus, folder = labelling.corpus, labelling.folder
    progress.say(f"read and check {corpus.place}")
    surveys = {source: corpus.survey(source) for source in corpus.sources}
    num_rows = sum(survey.num_rows for survey in surveys.values())
    if not num_rows:
        raise DatasetError(f"Expected rows in {corpus.place}. Received: none.")
    labelling = labelling.cut(surveys, part_rows)
    _begin(folder, labelling.record(surveys, part_rows), overwrite)
    missing = labelling.missing()
    to_do = sum(labelling.parts[number].num_rows for number in missing)
    progress.say(f"score {to_do:,} of {num_rows:,} rows with {labelling.recipe}")
    started_at = time.monotonic()
    with progress.task("score", num_rows, num_rows - to_do) as task:
        _write(labelling, missing, ray, task.advance)
    seconds = time.monotonic() - started_at
    return LabelledCorpus(
        path=folder,
        source=corpus.place,
        model=labelling.recipe,
        num_rows=num_rows,
        num_empty=sum(survey.num_empty for survey in surveys.values()),
        num_parts=len(labelling.parts),
        num_found=len(labelling.parts) - len(missing),
        seconds=seconds,
        rows_a_second=to_do / max(seconds, 1e-9),
    )


def _write(
    labelling: Labelling, missing: Sequence[int], ray: str | None, done: Callable[[int], object]
) -> None:
    """Makes parts here or on Ray; `done` is told the rows of each."""
    if not missing:
        return
    if ray is None:
        for count in map(PartWriter(labelling), missing):
            done(count)
        return
    with cluster.joined(ray):
        for count in cluster.mapped(PartWriter, labelling, missing):
            done(count)
    if left := labelling.missing():
        raise ArtifactError(
            f"Expected all parts in {labelling.folder}. Received: none of {len(left)} that workers "
            "wrote. Give an --output on a disk that all machines share."
        )


def _begin(folder: Path, record: JsonObject, overwrite: bool) -> None:
    """Makes the folder, or finds it fit to go on with.

    Raises:
        ArtifactError: It is not.
    """
    manifest = folder / MANIFEST
    if overwrite and manifest.is_file():
        for path in (*answer_files(folder), manifest):
            path.unlink()
    if not manifest.is_file():
        if folder.exists() and any(folder.iterdir()):
            raise ArtifactError(
                f"Expected a new or empty folder for the answers, or one begun before. Received: "
                f"{folder}, which holds other files. Give another --output."
            )
        artifacts.write_record(manifest, record)
        return
    before = artifacts.read_record(manifest, "Add --overwrite to begin anew.")
    for name, value in record.items():
        if before.get(name) != value:
            raise ArtifactError(
                f"Expected the {name} that {folder} was begun with"
                f"{_differing(before.get(name), value)}. Give the same to go on, --overwrite to "
                "begin anew, or another --output."
            )


def _differing(before: object, now: object) -> str:
    """What one was and is: of sources the first that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in (*before, *now):
            if before.get(key) != now.get(key):
                was, found = before.get(key, "nothing"), now.get(key, "nothing")
                return f": {key} {was}. Received: {found}"
    return f": {before}. Received: {now}"
