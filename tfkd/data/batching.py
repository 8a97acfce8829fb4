"""Batches of like length from tokenized rows, in an order that a seed and an epoch decide alone.

Whole examples are shuffled; then rows of like length share a batch, so that little is padding.
Because the order needs no state, a run can go on in the middle of an epoch and sees the very
batches it would have seen.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfkd.data.tokens import is_answered

POOL_BATCHES = 50


class Rows(Protocol):
    """Rows of a split, each of its own length: `Tokens`, or what was read in their place."""

    @property
    def labels(self) -> np.ndarray:
        """One a row, as in `tfkd.data.tokens.Tokens`."""

    @property
    def lengths(self) -> np.ndarray:
        """int64, shape `[num_rows]`."""

    def __len__(self) -> int: ...

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Padded int32 arrays of some rows, shape `[n, length, ...]`."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Some rows of a split, as a split of their own.

    Attributes:
        whole: `Rows`.
        chosen: Integers, shape `[n]`. Row i of this is row `chosen[i]` of the whole.
    """

    whole: Rows
    chosen: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """See `Rows`."""
        return self.whole.labels[self.chosen]

    @property
    def lengths(self) -> np.ndarray:
        """See `Rows`."""
        return self.whole.lengths[self.chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def arrays(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """See `Rows`."""
        return self.whole.arrays(self.chosen[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Batches:
    """Training batches of a split.

    Args:
        tokens: `Rows` of the split, for example `Tokens`.
        input_names: Names of the arrays the model takes, e.g. `("token_ids", "padding_mask")`.
        batch_size: Integer. The last batch of an epoch may be smaller.
        seed: Integer. Seed of the order.
        teacher_logits: Optional float32 array, shape `[num_rows, num_outputs]`, joined by row; NaN
            in the rows that have no answer.
        num_labelled: Integer. Number of first rows with a label of their own. Default: all. A row
            with neither label nor answer is left out.
        num_examples: Integer. Examples of an epoch: as many as there are rows (default), or
            more, for which rows occur again, none twice as often before all have occurred so.
        weights: Optional float32 array, shape `[num_rows]`: Keras' sample weights.
    """

    tokens: Rows
    input_names: Sequence[str]
    batch_size: int
    seed: int = 0
    teacher_logits: np.ndarray | None = None
    num_labelled: int | None = None
    num_examples: int | None = None
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, given in (("teacher logits", self.teacher_logits), ("weights", self.weights)):
            if given is not None and len(given) != len(self.tokens):
                raise ValueError(
                    f"Expected one row of {name} for each of {len(self.tokens)} examples. "
                    f"Received: {len(given)} rows."
                )

    @functools.cached_property
    def _is_answered(self) -> np.ndarray | None:
        """Which rows have an answer; None where all have, or none is asked for."""
        found = None if self.teacher_logits is None else is_answered(self.teacher_logits)
        return None if found is None or found.all() else found

    @functools.cached_property
    def _used(self) -> np.ndarray:
        """The rows to learn from."""
        rows = np.arange(len(self.tokens))
        if self._is_answered is None or self.num_labelled is None:
            return rows
        return rows[self._is_answered | (rows < self.num_labelled)]

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch."""
        return -(-self._num_drawn // self.batch_size)

    @property
    def _num_drawn(self) -> int:
        return self.num_examples or len(self.tokens)

    def rows(self, epoch: int) -> list[np.ndarray]:
        """The row numbers of each batch of an epoch; rows occur equally often, give or take one."""
        generator = np.random.default_rng((self.seed, epoch))
        order = generator.permutation(self._num_drawn) % len(self._used)
        if self._num_drawn % len(self._used):
            # Which rows occur once more is another matter each epoch.
            order = generator.permutation(len(self._used))[order]
        order, lengths = self._used[order], self.tokens.lengths
        batches = []
        for start in range(0, len(order), POOL_BATCHES * self.batch_size):
            pool = order[start : start + POOL_BATCHES * self.batch_size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches += [
                pool[first : first + self.batch_size]
                for first in range(0, len(pool), self.batch_size)
            ]
        return [batches[index] for index in generator.permutation(len(batches))]

    def dataset(self, epoch: int, first_step: int = 0) -> tf.data.Dataset:
        """The batches of an epoch from a step on, as `(inputs, targets)`, and perhaps weights.

        `targets` is the labels, or a mapping of `label`, `teacher_logits` and, where rows without
        a label or an answer occur, `is_labelled` or `is_answered`.
        """
        dataset = tf.data.Dataset.from_generator(
            lambda: self._generate(epoch, first_step), output_signature=self._signature()
        )
        options = tf.data.Options()
        # There is nothing to tune, and TensorFlow may wait for its tuner's next minute before it
        # lets go of an epoch: a stall of up to 60 s after each epoch longer than that.
        options.autotune.enabled = False
        return dataset.prefetch(4).with_options(options)

    def _generate(self, epoch: int, first_step: int) -> Iterator[Any]:
        for rows in self.rows(epoch)[first_step:]:
            arrays = self.tokens.arrays(rows)
            inputs = {name: arrays[name] for name in self.input_names}
            weights = () if self.weights is None else (self.weights[rows],)
            labels = self.tokens.labels[rows]
            if self.teacher_logits is None:
                yield inputs, labels, *weights
                continue
            targets = {"label": labels, "teacher_logits": self.teacher_logits[rows]}
            if self.num_labelled is not None:
                targets["is_labelled"] = rows < self.num_labelled
            if self._is_answered is not None:
                targets["is_answered"] = self._is_answered[rows]
            yield inputs, targets, *weights

    def _signature(self) -> Any:
        arrays = self.tokens.arrays(np.zeros(1, int))
        inputs = {
            name: tf.TensorSpec([None, None, *arrays[name].shape[2:]], tf.int32)
            for name in self.input_names
        }
        weights = () if self.weights is None else (tf.TensorSpec([None], tf.float32),)
        labels = self.tokens.labels
        label = tf.TensorSpec([None, *labels.shape[1:]], labels.dtype)
        if self.teacher_logits is None:
            return inputs, label, *weights
        logits = tf.TensorSpec([None, self.teacher_logits.shape[1]], tf.float32)
        targets = {"label": label, "teacher_logits": logits}
        if self.num_labelled is not None:
            targets["is_labelled"] = tf.TensorSpec([None], tf.bool)
        if self._is_answered is not None:
            targets["is_answered"] = tf.TensorSpec([None], tf.bool)
        return inputs, targets, *weights


def scoring_batches(
    tokens: Rows, input_names: Sequence[str], start: int, stop: int, batch_size: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Row numbers and inputs of the rows `[start, stop)`, longest last, each row once."""
    order = start + np.argsort(tokens.lengths[start:stop], kind="stable")
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        arrays = tokens.arrays(rows)
        yield rows, {name: arrays[name] for name in input_names}
