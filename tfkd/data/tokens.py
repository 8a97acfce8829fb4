"""The tokens of a split on disk: written once in a stream, read back as memory-mapped arrays.

Rows lie end to end without padding, so a million texts cost their tokens and no memory. Row i is
row i of the split; teacher logits and predictions are joined by it.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import seals
from tfkd.artifacts import atomic_folder, write_record
from tfkd.data.examples import MULTI_LABEL, REGRESSION, Example
from tfkd.errors import ArtifactError
from tfkd.progress import Progress

CHUNK_ROWS = 512
MANIFEST, TOKEN_IDS = "manifest.json", "token_ids.int32"
Encode = Callable[[Sequence[Any]], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Tokenized rows of one split.

    Attributes:
        token_ids: int32, shape `[total_tokens]`: all rows end to end.
        offsets: int64, shape `[num_rows + 1]`: where each row starts.
        boundaries: int32, shape `[num_rows]`: tokens before the second text of a pair; the row's
            length for single texts.
        labels: Shape `[num_rows]` int32 (single label) or float32 (regression), or
            `[num_rows, num_classes]` uint8 (multi-label).
        padding_id: Token that fills short rows.
        fingerprint: Changes with the texts, labels or tokenizer.
    """

    token_ids: np.ndarray
    offsets: np.ndarray
    boundaries: np.ndarray
    labels: np.ndarray
    padding_id: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row: int64, shape `[num_rows]`."""
        return np.diff(self.offsets)

    def arrays(self, rows: np.ndarray, multiple: int = 8) -> dict[str, np.ndarray]:
        """Padded arrays of some rows.

        Args:
            rows: Integers, shape `[n]`.
            multiple: Integer. The width is a multiple of it, so that few shapes occur.

        Returns:
            `token_ids`, `padding_mask` and `segment_ids`: int32, shape `[n, length]`.
        """
        starts, stops = self.offsets[rows], self.offsets[rows + 1]
        length = -(-int((stops - starts).max()) // multiple) * multiple
        columns = np.arange(length)
        mask = columns < (stops - starts)[:, None]
        token_ids = np.full((len(rows), length), self.padding_id, np.int32)
        for row, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            token_ids[row, : stop - start] = self.token_ids[start:stop]
        segment_ids = mask & (columns >= self.boundaries[rows][:, None])
        return {
            "token_ids": token_ids,
            "padding_mask": mask.astype(np.int32),
            "segment_ids": segment_ids.astype(np.int32),
        }

    @classmethod
    def load(cls, folder: Path, fingerprint: str, remedy: str = "Delete that folder.") -> "Tokens":
        """Opens what `write` wrote.

        Raises:
            ArtifactError: The folder holds other tokens than those asked for, or a file of it was
                changed.
        """
        manifest = seals.read_record(folder / MANIFEST, remedy)
        if manifest.get("fingerprint") != fingerprint:
            raise ArtifactError(
                f"Expected tokens {fingerprint} in {folder / MANIFEST}. Received: "
                f"{manifest.get('fingerprint')}. {remedy}"
            )
        seals.check_files(folder / MANIFEST, remedy=remedy)
        try:
            opened = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r")
                for name in ("offsets", "boundaries", "labels")
            }
            token_ids = np.memmap(folder / TOKEN_IDS, np.int32, mode="r")
            padding_id = int(manifest["padding_id"])
            if len(token_ids) != opened["offsets"][-1]:
                raise ValueError(f"{len(token_ids)} tokens for {opened['offsets'][-1]}")
        except (FileNotFoundError, *seals.UNREADABLE) as error:
            raise ArtifactError(
                f"Expected tokens in {folder}. They cannot be read: {error}. {remedy}"
            ) from error
        return cls(token_ids, **opened, padding_id=padding_id, fingerprint=fingerprint)


def kept(folder: Path, fingerprint: str, tell: Callable[[str], object]) -> Tokens | None:
    """The tokens of a folder; None where there are none, or damaged ones, of which it is told."""
    try:
        return Tokens.load(folder, fingerprint, seals.ANEW) if folder.is_dir() else None
    except ArtifactError as damage:
        tell(str(damage))
        return None


def write(
    folder: Path,
    split: Iterable[Example],
    encode: Encode,
    task: str,
    num_outputs: int,
    fingerprint: str,
    progress: tuple[Progress, int],
) -> Tokens:
    """Tokenizes a split into a folder, whole or not at all, and opens it.

    The fingerprint says what the tokens are made of; `load` compares it.
    """
    offsets, boundaries, labels = [np.zeros(1, np.int64)], [], []
    padding_id = 0
    with atomic_folder(folder, MANIFEST) as part:
        with (
            (part / TOKEN_IDS).open("wb") as stream,
            progress[0].task("tokenize", progress[1]) as task_bar,
        ):
            for chunk in _chunks(split):
                arrays = encode([_texts(example) for example in chunk])
                mask = arrays["padding_mask"].astype(bool)
                stream.write(arrays["token_ids"][mask].astype(np.int32).tobytes())
                lengths = mask.sum(axis=1)
                offsets.append(offsets[-1][-1] + np.cumsum(lengths))
                boundaries.append(_boundaries(arrays, lengths))
                labels.append(label_array([row.label for row in chunk], task, num_outputs))
                if not mask.all():
                    padding_id = int(arrays["token_ids"][~mask][0])
                task_bar.advance(len(chunk))
        np.save(part / "offsets.npy", np.concatenate(offsets))
        np.save(part / "boundaries.npy", np.concatenate(boundaries))
        np.save(part / "labels.npy", np.concatenate(labels))
        names = sorted(file.name for file in part.iterdir())
        manifest = {"fingerprint": fingerprint, "padding_id": padding_id}
        write_record(part / MANIFEST, manifest, names)
    return Tokens.load(folder, fingerprint)


def label_array(labels: Sequence[Any], task: str, num_outputs: int) -> np.ndarray:
    """Labels as an array: class index, multi-hot row or score.

    >>> label_array([(0, 2), ()], "multi_label", 3).tolist()
    [[1, 0, 1], [0, 0, 0]]
    """
    if task == MULTI_LABEL:
        rows = np.zeros((len(labels), num_outputs), np.uint8)
        for row, classes in enumerate(labels):
            rows[row, list(classes)] = 1
        return rows
    return np.asarray(labels, np.float32 if task == REGRESSION else np.int32)


def is_answered(logits: np.ndarray) -> np.ndarray:
    """Which rows have an answer: booleans `[num_rows]`; a row of NaN has none.

    >>> is_answered(np.array([[1.0, 0.0], [np.nan, np.nan]])).tolist()
    [True, False]
    """
    return ~np.isnan(logits).any(axis=-1)


def _chunks(split: Iterable[Example]) -> Iterator[list[Example]]:
    rows = iter(split)
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        yield chunk


def _texts(example: Example) -> str | tuple[str, ...]:
    return example.texts[0] if len(example.texts) == 1 else example.texts


def _boundaries(arrays: Mapping[str, np.ndarray], lengths: np.ndarray) -> np.ndarray:
    if "segment_ids" not in arrays:
        return lengths.astype(np.int32)
    second = arrays["segment_ids"].astype(bool)
    return np.where(second.any(axis=1), second.argmax(axis=1), lengths).astype(np.int32)
