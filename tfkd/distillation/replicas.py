"""Processes that train one student together: each has its rows of a batch, all take its one step.

Each holds the whole student and gets the whole batch. The gradients of the rows are added over all
processes by TensorFlow's MultiWorkerMirroredStrategy before the optimizer sees them. So the steps
are those of one process up to rounding, and the processes' students stay equal to the last bit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfkd.cluster import place
from tfkd.errors import ModelError

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices
# Of a path that the chief tells; a system's own limit.
TEXT_BYTES = 4096
# As Keras calls what a dropout draws by: a seed, and how often it drew.
SEED_STATE = "seed_generator_state"


class Replicas:
    """The processes that `TF_CONFIG` names, of which this is one.

    It has to be made before anything else is asked of TensorFlow, and waits until all are there. Of
    several GPUs a process takes the first that it sees.

    Attributes:
        rank: Integer. 0 is the chief, which alone writes files.
        size: Integer. Number of processes.

    Raises:
        ConfigError: `TF_CONFIG` is not there, or says no such thing.

    Reference: [Goyal et al., 2017](https://arxiv.org/abs/1706.02677)
    """

    def __init__(self) -> None:
        self.rank, self.size = place()
        tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:1], "GPU")
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy()

    def portion(self, batch: Any) -> tuple[Any, tf.Tensor]:
        """This process's rows of a batch, and their share of its mean loss.

        Of a batch of fewer rows than there are processes each has all, and an equal share.

        Args:
            batch: Tensors with the rows as first axis, nested.
        """
        num_rows = tf.shape(tf.nest.flatten(batch)[0])[0]
        is_short = num_rows < self.size
        mine = tf.range(
            tf.where(is_short, 0, self.rank), num_rows, tf.where(is_short, 1, self.size)
        )
        whole = tf.where(is_short, self.size, 1) * num_rows
        rows = tf.nest.map_structure(lambda tensor: tf.gather(tensor, mine), batch)
        return rows, tf.cast(tf.size(mine), tf.float32) / tf.cast(whole, tf.float32)

    def summed(
        self, parts: Mapping[str, tf.Tensor], gradients: Sequence[Gradient]
    ) -> tuple[dict[str, tf.Tensor], list[Gradient]]:
        """The sums over all processes of the parts of a loss and of its gradients.

        Slices of a table are put side by side, for they are of other rows in each process.
        """
        dense = [gradient for gradient in gradients if isinstance(gradient, tf.Tensor)]

        def added(*tensors: tf.Tensor) -> list[tf.Tensor]:
            # In here a tensor has a device, which adding asks for.
            here = [tf.identity(tensor) for tensor in tensors]
            return tf.distribute.get_replica_context().all_reduce("SUM", here)

        sums = self._strategy.run(added, args=(*parts.values(), *dense))
        found, sums = dict(zip(parts, sums, strict=False)), iter(sums[len(parts) :])
        return found, [
            next(sums) if isinstance(gradient, tf.Tensor) else self._joined(gradient)
            for gradient in gradients
        ]

    def _joined(self, slices: tf.IndexedSlices) -> tf.IndexedSlices:
        """The slices of all processes."""
        width = slices.values.shape[-1] or slices.dense_shape[-1]
        with self._strategy.scope():
            # Gathering asks for a rank, which a graph does not always know.
            return tf.IndexedSlices(
                self._strategy.gather(tf.reshape(slices.values, [-1, width]), axis=0),
                self._strategy.gather(tf.reshape(slices.indices, [-1]), axis=0),
                slices.dense_shape,
            )

    def set_apart(self, variables: Sequence[keras.Variable]) -> None:
        """Has this process drop out others than its neighbours do, from what the chief would."""
        for variable in variables:
            if variable.name == SEED_STATE:
                variable.assign_add([self.rank, 0])

    def from_chief(self, numbers: Sequence[int]) -> list[int]:
        """What the chief says; the others have to say as many numbers."""
        said = np.array(numbers if self.rank == 0 else [0] * len(numbers), np.int64)
        total = self._strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.constant(said))
        )
        return [int(number) for number in np.asarray(total)]

    def text_from_chief(self, text: str) -> str:
        """A short text that the chief says."""
        said = text.encode().ljust(TEXT_BYTES, b"\0")
        return bytes(self.from_chief(list(said))).rstrip(b"\0").decode()

    def agree(self, what: str, numbers: Sequence[int]) -> None:
        """Refuses to go on where another process has other numbers than the chief.

        Raises:
            ModelError: They differ in any process.
        """
        chiefs = self.from_chief(numbers)
        differs = self._strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce(
                "SUM", tf.constant(int(list(numbers) != chiefs))
            )
        )
        if int(np.asarray(differs)):
            raise ModelError(
                f"Expected all processes of a training to {what}. Received: {list(numbers)} in "
                f"process {self.rank}, {chiefs} in the first. Give all machines the same shared "
                "folder."
            )
