"""Batches of like length from tokenized rows, in an order that a seed and an epoch decide alone.

Whole examples are shuffled; then rows of like length share a batch, so that little is padding.
Because the order needs no state, a run can go on in the middle of an epoch and sees the very
batches it would have seen.
"""

import dataclasses
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
    """

    def __init__(
        self,
        tokens: Rows,
        input_names: Sequence[str],
        batch_size: int,
        seed: int = 0,
        teacher_logits: np.ndarray | None = None,
        num_labelled: int | None = None,
        num_examples: int | None = None,
    ) -> None:
        if teacher_logits is not None and len(teacher_logits) != len(tokens):
            raise ValueError(
                f"Expected one row of teacher logits for each of {len(tokens)} examples. "
                f"Received: {len(teacher_logits)} rows."
            )
        self._tokens, self._input_names = tokens, tuple(input_names)
        self.batch_size, self._seed, self._teacher_logits = batch_size, seed, teacher_logits
        self._num_labelled, self._num_examples = num_labelled, num_examples or len(tokens)
        self._is_answered = None if teacher_logits is None else is_answered(teacher_logits)
        if self._is_answered is not None and self._is_answered.all():
            self._is_answered = None
        self._used = self._rows_to_learn_from()

    def _rows_to_learn_from(self) -> np.ndarray:
        rows = np.arange(len(self._tokens))
        if self._is_answered is None or self._num_labelled is None:
            return rows
        return rows[self._is_answered | (rows < self._num_labelled)]

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one epoch."""
        return -(-self._num_examples // self.batch_size)

    def rows(self, epoch: int) -> list[np.ndarray]:
        """The row numbers of each batch of an epoch; rows occur equally often, give or take one."""
        generator = np.random.default_rng((self._seed, epoch))
        order = generator.permutation(self._num_examples) % len(self._used)
        if self._num_examples % len(self._used):
            # Which rows occur once more is another matter each epoch.
            order = generator.permutation(len(self._used))[order]
        order, lengths = self._used[order], self._tokens.lengths
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
        """The batches of an epoch from a step on, as `(inputs, targets)`.

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
            arrays = self._tokens.arrays(rows)
            inputs = {name: arrays[name] for name in self._input_names}
            labels = self._tokens.labels[rows]
            if self._teacher_logits is None:
                yield inputs, labels
                continue
            targets = {"label": labels, "teacher_logits": self._teacher_logits[rows]}
            if self._num_labelled is not None:
                targets["is_labelled"] = rows < self._num_labelled
            if self._is_answered is not None:
                targets["is_answered"] = self._is_answered[rows]
            yield inputs, targets

    def _signature(self) -> Any:
        arrays = self._tokens.arrays(np.zeros(1, int))
        inputs = {
            name: tf.TensorSpec([None, None, *arrays[name].shape[2:]], tf.int32)
            for name in self._input_names
        }
        labels = self._tokens.labels
        label = tf.TensorSpec([None, *labels.shape[1:]], labels.dtype)
        if self._teacher_logits is None:
            return inputs, label
        logits = tf.TensorSpec([None, self._teacher_logits.shape[1]], tf.float32)
        targets = {"label": label, "teacher_logits": logits}
        if self._num_labelled is not None:
            targets["is_labelled"] = tf.TensorSpec([None], tf.bool)
        if self._is_answered is not None:
            targets["is_answered"] = tf.TensorSpec([None], tf.bool)
        return inputs, targets


def scoring_batches(
    tokens: Rows, input_names: Sequence[str], start: int, stop: int, batch_size: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Row numbers and inputs of the rows `[start, stop)`, longest last, each row once."""
    order = start + np.argsort(tokens.lengths[start:stop], kind="stable")
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        arrays = tokens.arrays(rows)
        yield rows, {name: arrays[name] for name in input_names}
