"""What the frozen half of a bottleneck finds in a split: the nearest keys of every token, on disk.

Nothing before the values changes in training, so the encoder reads every text once, for all
epochs, arms and teachers. A shard is written whole or not at all and left alone when it is there,
so a killed reading goes on where it was.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from tfkd.artifacts import atomic_file, fingerprint, locked
from tfkd.data.tokens import Tokens
from tfkd.models.bottleneck import KEY_NUMBERS, frozen_half
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress

SHARD_ROWS = 2048


@dataclasses.dataclass(frozen=True)
class Readings:
    """Key numbers in the place of tokens; row i is row i of the split.

    Attributes:
        tokens: `Tokens` of the split.
        shards: uint16 `[tokens of the shard, num_codebooks]` for every `SHARD_ROWS` rows.
    """

    tokens: Tokens
    shards: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def labels(self) -> np.ndarray:
        """Those of the tokens."""
        return self.tokens.labels

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row: int64, shape `[num_rows]`."""
        return self.tokens.lengths

    def arrays(self, rows: np.ndarray, multiple: int = 8) -> dict[str, np.ndarray]:
        """Padded arrays of some rows.

        Args:
            rows: Integers, shape `[n]`.
            multiple: Integer. The width is a multiple of it, so that few shapes occur.

        Returns:
            `key_numbers`, int32 `[n, length, num_codebooks]`, and `padding_mask`, int32
            `[n, length]`.
        """
        found = [self._of(int(row)) for row in rows]
        lengths = np.array([len(numbers) for numbers in found])
        width = -(-int(lengths.max()) // multiple) * multiple
        padded = np.zeros((len(rows), width, found[0].shape[1]), np.int32)
        for target, numbers in zip(padded, found, strict=True):
            target[: len(numbers)] = numbers
        mask = np.arange(width) < lengths[:, None]
        return {KEY_NUMBERS: padded, "padding_mask": mask.astype(np.int32)}

    def _of(self, row: int) -> np.ndarray:
        shard, first = row // SHARD_ROWS, self.tokens.offsets[row - row % SHARD_ROWS]
        start, stop = self.tokens.offsets[row : row + 2] - first
        return self.shards[shard][start:stop]


def load_or_read(
    classifier: TextClassifier, tokens: Tokens, folder: Path, progress: Progress
) -> Readings:
    """The nearest keys of all tokens of a split, reading what is missing.

    Costs two bytes a token and codebook.

    Args:
        classifier: `TextClassifier` with a bottleneck.
        tokens: `Tokens` of the split, made with its tokenizer.
        folder: Path that holds readings of many splits and encoders.
        progress: Where to show it.

    Returns:
        Memory-mapped `Readings`.

    Example:

    ```python
    readings = load_or_read(student, tokens, folder, Progress())
    readings.arrays(np.arange(8))["key_numbers"].shape  # (8, 16, 32)
    ```
    """
    frozen = frozen_half(classifier.model)
    reader = dataclasses.replace(classifier, model=frozen, _folder=None, _functions={})
    mark = fingerprint({"tokens": tokens.fingerprint, "reader": weights_sha256(frozen)})
    paths = [
        folder / mark / f"numbers-{shard:05d}.npy" for shard in range(-(-len(tokens) // SHARD_ROWS))
    ]
    with locked(folder / mark):
        missing = [shard for shard, path in enumerate(paths) if not path.is_file()]
        with progress.task("read the nearest keys", len(paths), len(paths) - len(missing)) as task:
            for shard in missing:
                with atomic_file(paths[shard]) as part:
                    np.save(part, _read(reader, tokens, shard))
                task.advance()
    return Readings(tokens, [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths])


def weights_sha256(model: keras.Model) -> str:
    """Changes with any weight of a model, and with their shapes."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(str(weight.shape).encode())
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


def _read(reader: TextClassifier, tokens: Tokens, shard: int) -> np.ndarray:
    """Key numbers of a shard's tokens: uint16 `[num_tokens, num_codebooks]`."""
    start, stop = shard * SHARD_ROWS, min((shard + 1) * SHARD_ROWS, len(tokens))
    offsets = tokens.offsets[start : stop + 1] - tokens.offsets[start]
    numbers = np.zeros((offsets[-1], reader.model.output.shape[-1]), np.uint16)
    for rows, found in reader.score(tokens, start, stop):
        for row, values in zip(rows - start, found, strict=True):
            numbers[offsets[row] : offsets[row + 1]] = values[: offsets[row + 1] - offsets[row]]
    return numbers
