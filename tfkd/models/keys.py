"""The keys of a bottleneck, found in unlabelled texts: a moving average of what is nearest to each.

Every codebook starts from vectors of the data. Batch by batch, a key becomes the mean of the
vectors nearest to it, older ones counting less; a key that nothing was nearest to in a whole pass
starts again from another vector. It is the vector quantization of van den Oord et al., 2017
(https://arxiv.org/abs/1711.00937), appendix A.1, without a gradient.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfkd.errors import ModelError
from tfkd.models.bottleneck import NearestKeys, find_bottleneck, set_keys
from tfkd.progress import Progress

PASSES = 3
DECAY = 0.99
BATCH_VECTORS = 4096


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys of all codebooks.

    Attributes:
        keys: float32 `[num_codebooks, num_keys, slice_width]`.
        num_vectors: Vectors they were found in.
        reseeded: Keys that started again, in each pass over all codebooks.
    """

    keys: np.ndarray
    num_vectors: int
    reseeded: tuple[int, ...]

    def sentence(self) -> str:
        """A sentence on the search, for a log."""
        codebooks, keys, width = self.keys.shape
        return (
            f"keys: {codebooks} codebooks of {keys:,} keys of {width} numbers, from "
            f"{self.num_vectors:,} token vectors; started again in each pass: "
            f"{', '.join(f'{count:,}' for count in self.reseeded)}"
        )


def initialize_keys(
    model: keras.Model,
    batches: Sequence[Mapping[str, np.ndarray]],
    progress: Progress,
    passes: int = PASSES,
    decay: float = DECAY,
    seed: int = 0,
) -> Keys:
    """Sets the keys of a model from texts without labels. The same seed gives the same keys.

    The encoder reads each batch once; its vectors stay in memory, four bytes a number.

    Args:
        model: `keras.Model` of `build_bottleneck_classifier`.
        batches: Token arrays, int32 `[n, length]` by input name.
        progress: `Progress` that shows what is done.
        passes: Integer. Passes over all vectors, at least 1.
        decay: Float in [0, 1]. Share of the averages that a batch leaves.
        seed: Integer. Chooses vectors to start from and the order of the batches.

    Raises:
        ModelError: The texts have fewer real tokens than a codebook has keys.

    Example:

    ```python
    arrays = student.encode(texts)
    initialize_keys(student.model, [arrays], Progress())
    ```
    """
    encoder, layer = encoder_of(model)
    parts = []
    with progress.task("encode texts for the keys", len(batches)) as task:
        for arrays in batches:
            vectors = encoder.predict_on_batch({name: arrays[name] for name in model.input})
            parts.append(vectors[arrays["padding_mask"].astype(bool)])
            task.advance()
    found = fit_keys(np.concatenate(parts), layer, progress, passes, decay, seed)
    set_keys(model, found.keys)
    return found


def encoder_of(model: keras.Model) -> tuple[keras.Model, NearestKeys]:
    """Encoder of a model with a bottleneck, and the layer that takes its vectors."""
    bottleneck = find_bottleneck(model)
    if bottleneck is None:
        raise ValueError("Expected a model with a bottleneck. Received: one without")
    return keras.Model(model.input, bottleneck.keys.input), bottleneck.keys


def fit_keys(
    vectors: np.ndarray,
    layer: NearestKeys,
    progress: Progress,
    passes: int = PASSES,
    decay: float = DECAY,
    seed: int = 0,
    batch_vectors: int = BATCH_VECTORS,
) -> Keys:
    """Finds keys for a layer; it is not changed.

    Arguments as for `initialize_keys`.

    Raises:
        ModelError: There are fewer vectors than keys.
    """
    if len(vectors) < layer.num_keys:
        raise ModelError(
            f"Expected at least {layer.num_keys} tokens to find as many keys in. Received: "
            f"{len(vectors)}. Give more texts, or fewer keys with --bottleneck-keys."
        )
    keys, reseeded = [], np.zeros(passes, int)
    with progress.task("find keys", layer.num_codebooks) as task:
        for index, part in enumerate(np.split(vectors, layer.num_codebooks, axis=1)):
            random = np.random.default_rng((seed, index))
            start = part[random.choice(len(part), layer.num_keys, replace=False)]
            codebook = Codebook(np.array(start, np.float32), decay)
            for number in range(passes):
                order = random.permutation(len(part))
                for first in range(0, len(part), batch_vectors):
                    codebook.update(part[order[first : first + batch_vectors]])
                reseeded[number] += codebook.reseed(part, random)
            keys.append(codebook.keys)
            task.advance()
    return Keys(np.stack(keys), len(vectors), tuple(map(int, reseeded)))


class Codebook:
    """The keys of one codebook while they are being found."""

    def __init__(self, keys: np.ndarray, decay: float) -> None:
        self.keys, self._decay = keys, decay
        self._counts = np.zeros(len(keys))
        self._sums = np.zeros(keys.shape)
        self._was_read = np.zeros(len(keys), bool)

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """Number of the nearest key of each vector: integers `[num_vectors]`."""
        squares = np.sum(self.keys * self.keys, axis=1)
        # NumPy takes three to fifty times as long, the more the busier the machine is.
        return tf.argmin(squares - 2 * tf.matmul(vectors, self.keys, transpose_b=True), 1).numpy()

    def update(self, vectors: np.ndarray) -> None:
        """One step of the moving average: `sum of sums / sum of counts` of each cell.

        Both are decayed, so a key is a weighted mean of real vectors at every step.
        """
        cells = self.nearest(vectors)
        counts = np.bincount(cells, minlength=len(self.keys))
        sums = np.stack(
            [np.bincount(cells, column, len(self.keys)) for column in vectors.T], axis=1
        )
        self._counts = self._decay * self._counts + counts
        self._sums = self._decay * self._sums + sums
        is_read = counts > 0
        self.keys[is_read] = self._sums[is_read] / self._counts[is_read, None]
        self._was_read |= is_read

    def reseed(self, vectors: np.ndarray, random: np.random.Generator) -> int:
        """Ends a pass: keys that nothing was nearest to start again. How many they were."""
        dead = np.flatnonzero(~self._was_read)
        self.keys[dead] = vectors[random.choice(len(vectors), len(dead), replace=False)]
        self._counts[dead], self._sums[dead] = 0, 0
        self._was_read[:] = False
        return len(dead)
