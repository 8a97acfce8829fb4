"""AdamW of a token table that leaves the rows alone that no text reads, and makes up for it later.

AdamW moves every weight at every step: what a row's momentum still moves, and its decay, go on
without a gradient. For a batch that reads a hundredth of a small student's largest array that is
most of the work. But a row without gradients moves by what is known beforehand. After `k` such
steps its momentum is `beta_1**k` and its velocity `beta_2**k` of what they were, and

    weight_k = kept * weight - motion * momentum / (sqrt(velocity) + epsilon)

with two sums over the steps that are the same for every weight of the row. So each row has four
numbers, and catches up when a text reads it again.
"""

import keras
import tensorflow as tf

# Of a row that owes nothing: momentum by the root of velocity, velocity, weight, motion.
_NOTHING_OWED = (1.0, 1.0, 1.0, 0.0)


class LazyTable:
    """The steps of a table's rows that are read, and those that the others owe.

    Numbers are those of `FusedAdamW` up to rounding and to `epsilon`, whose share does not shrink
    with the velocity of a row that owes steps.

    Args:
        optimizer: `keras.optimizers.AdamW`, built. It keeps what rows owe among its variables.
        table: `keras.Variable` `[num_rows, width]`, float32, one of the optimizer's.
    """

    def __init__(self, optimizer: keras.optimizers.AdamW, table: keras.Variable) -> None:
        index = optimizer._get_variable_index(table)
        self._optimizer, self.table = optimizer, table
        self._arrays = [
            variable.value
            for variable in (table, optimizer._momentums[index], optimizer._velocities[index])
        ]
        owed = optimizer.add_variable([table.shape[0], 4], "ones", name="owed_steps")
        owed.assign(tf.tile([_NOTHING_OWED], [table.shape[0], 1]))
        self._owed = owed.value
        self._decay = optimizer.weight_decay if optimizer._use_weight_decay(table) else 0.0

    def catch_up(self, token_ids: tf.Tensor | None = None) -> None:
        """Brings rows to what they are after all steps until now.

        Args:
            token_ids: Optional integers of any shape: the rows. Default: all.
        """
        if token_ids is None:
            rows = tf.range(self.table.shape[0])
        else:
            rows, _ = tf.unique(tf.reshape(token_ids, [-1]))
        table, momentum, velocity = self._arrays
        ratio, share, kept, motion = tf.split(tf.gather(self._owed, rows), 4, axis=1)
        weights, first, second = (tf.gather(array, rows) for array in self._arrays)
        moved = motion * first / (tf.sqrt(second) + self._optimizer.epsilon)
        self._assign(table, rows, kept * weights - moved)
        self._assign(momentum, rows, ratio * tf.sqrt(share) * first)
        self._assign(velocity, rows, share * second)
        self._owe_nothing(rows)

    def step(self, rows: tf.Tensor, slices: tf.Tensor, learning_rate: tf.Tensor) -> None:
        """One step of AdamW: the rows, which have caught up, take it, all others owe it.

        Args:
            rows: int `[num_read]`, each row once.
            slices: float32 `[num_read, width]`. Their gradients.
            learning_rate: float32 scalar.
        """
        beta_1, beta_2 = self._optimizer.beta_1, self._optimizer.beta_2
        number = tf.cast(self._optimizer.iterations, tf.float32) + 1.0
        correction = tf.sqrt(1.0 - tf.pow(beta_2, number)) / (1.0 - tf.pow(beta_1, number))
        rate, kept = learning_rate * correction, 1.0 - learning_rate * self._decay
        ratio = beta_1 / beta_2**0.5
        columns = [[ratio, 0, 0, rate * ratio], [0, beta_2, 0, 0], [0, 0, kept, 0], [0, 0, 0, kept]]
        self._owed.assign(tf.matmul(self._owed, tf.stack(columns)))
        table, momentum, velocity = self._arrays
        weights, first, second = (tf.gather(array, rows) for array in self._arrays)
        first += (1.0 - beta_1) * (slices - first)
        second += (1.0 - beta_2) * (tf.square(slices) - second)
        moved = rate * first / (tf.sqrt(second) + self._optimizer.epsilon)
        self._assign(table, rows, kept * weights - moved)
        self._assign(momentum, rows, first)
        self._assign(velocity, rows, second)
        self._owe_nothing(rows)

    def _owe_nothing(self, rows: tf.Tensor) -> None:
        self._assign(self._owed, rows, tf.tile([_NOTHING_OWED], [tf.size(rows), 1]))

    @staticmethod
    def _assign(array: tf.Variable, rows: tf.Tensor, values: tf.Tensor) -> None:
        array.scatter_update(tf.IndexedSlices(values, rows))
