"""The nearest keys of every token of a split, found by the frozen half of a bottleneck, on disk.

Nothing before the values changes in training, so the encoder reads every text once, for all
epochs, arms and teachers, and for several sets of keys together. A killed reading goes on where it
was.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from tfkd.artifacts import fingerprint
from tfkd.data.shards import Shards, shard_of
from tfkd.data.tokens import Tokens
from tfkd.locks import locked
from tfkd.models.bottleneck import KEY_NUMBERS, frozen_half, frozen_halves
from tfkd.models.classifier import TextClassifier
from tfkd.models.keys import encoder_of
from tfkd.progress import Progress


@dataclasses.dataclass(frozen=True)
class Readings:
    """Key numbers in the place of tokens; row i is row i of the split.

    Attributes:
        tokens: `Tokens` of the split.
        shards: uint16 `[tokens of the shard, num_codebooks]` for every `shards.SHARD_ROWS` rows.
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
        shard, first_row = shard_of(row)
        start, stop = self.tokens.offsets[row : row + 2] - self.tokens.offsets[first_row]
        return self.shards[shard][start:stop]


def load_or_read(
    classifiers: Sequence[TextClassifier], tokens: Tokens, folder: Path, progress: Progress
) -> list[Readings]:
    """The nearest keys of all tokens of a split, reading what is missing.

    One pass of the encoder finds those of all classifiers. Costs two bytes a token and codebook.

    Raises:
        ValueError: Something is to be read, and their encoders differ.

    Example:

    ```python
    (readings,) = load_or_read([student], tokens, folder, Progress())
    readings.arrays(np.arange(8))["key_numbers"].shape  # (8, 16, 32)
    ```
    """
    stores = [_store(item, tokens, folder) for item in classifiers]
    readers = dict(zip(stores, classifiers, strict=True))
    with contextlib.ExitStack() as locks:
        # In one order for all processes, so that none waits for another in a circle.
        for place in sorted(store.folder for store in readers):
            locks.enter_context(locked(place))
        for store in readers:
            store.remove_damaged(progress.say)
        _read_missing(readers, tokens, progress)
    return [Readings(tokens, store.load()) for store in stores]


def weights_sha256(model: keras.Model) -> str:
    """Changes with any weight of a model, and with their shapes."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(str(weight.shape).encode())
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()


def _store(classifier: TextClassifier, tokens: Tokens, folder: Path) -> Shards:
    """The shards of one classifier's keys for a split."""
    reader = weights_sha256(frozen_half(classifier.model))
    mark = fingerprint({"tokens": tokens.fingerprint, "reader": reader})
    return Shards(folder / mark, "numbers", len(tokens))


def _read_missing(
    readers: Mapping[Shards, TextClassifier], tokens: Tokens, progress: Progress
) -> None:
    """Writes the shards that are not there, each into the folder of its classifier."""
    stores = [store for store in readers if store.missing()]
    missing = sorted({shard for store in stores for shard in store.missing()})
    count = max(store.count for store in readers)
    with progress.task("read the nearest keys", count, count - len(missing)) as task:
        if not missing:
            return
        models = [readers[store].model for store in stores]
        if len({weights_sha256(encoder_of(model)[0]) for model in models}) > 1:
            raise ValueError("Expected bottlenecks on one encoder. Received: several encoders.")
        reader = readers[stores[0]].with_model(frozen_halves(models))
        ends = np.cumsum([encoder_of(model)[1].num_codebooks for model in models])
        for shard in missing:
            rows = stores[0].rows(shard)
            numbers = np.split(_read(reader, tokens, *rows), ends[:-1], axis=1)
            for store, part in zip(stores, numbers, strict=True):
                store.write(shard, part)
            task.advance()


def _read(reader: TextClassifier, tokens: Tokens, start: int, stop: int) -> np.ndarray:
    """Key numbers of the tokens of some rows: uint16 `[num_tokens, num_codebooks]`."""
    offsets = tokens.offsets[start : stop + 1] - tokens.offsets[start]
    numbers = np.zeros((offsets[-1], reader.model.output.shape[-1]), np.uint16)
    for rows, found in reader.score(tokens, start, stop):
        for row, values in zip(rows - start, found, strict=True):
            numbers[offsets[row] : offsets[row + 1]] = values[: offsets[row + 1] - offsets[row]]
    return numbers
