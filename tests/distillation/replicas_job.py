"""A small training, alone or as one of several processes, which tells what it found."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tests.toys import QUIET
from tfkd.data.batching import Batches
from tfkd.data.tokens import Tokens
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.replicas import Replicas
from tfkd.distillation.training import Plan, Validation, train
from tfkd.errors import ModelError
from tfkd.process import answer

# The last batch of 16 has one row, fewer than there are processes.
NUM_ROWS, NUM_TOKENS, NUM_CLASSES = 65, 40, 3


class Silence:
    """The log of nobody."""

    def scalars(self, step, values):
        pass

    def close(self):
        pass


def student():
    """Embedding, mean and logits; of one seed the same weights."""
    keras.utils.set_random_seed(5)
    inputs = {"token_ids": keras.Input([None], dtype="int32", name="token_ids")}
    hidden = keras.layers.Embedding(NUM_TOKENS, 8, name="token_embedding")(inputs["token_ids"])
    pooled = keras.layers.GlobalAveragePooling1D()(hidden)
    return keras.Model(inputs, keras.layers.Dense(NUM_CLASSES)(pooled))


def batches():
    """Rows of 3 to 9 tokens with weights; 50 have labels, all have a teacher's answer."""
    random = np.random.default_rng(3)
    lengths = random.integers(3, 10, NUM_ROWS)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = Tokens(
        random.integers(1, NUM_TOKENS, offsets[-1]).astype(np.int32),
        offsets,
        lengths.astype(np.int32),
        random.integers(0, NUM_CLASSES, NUM_ROWS).astype(np.int32),
        0,
        "toy",
    )
    logits = random.normal(size=(NUM_ROWS, NUM_CLASSES)).astype(np.float32)
    weights = random.uniform(0.5, 2, NUM_ROWS).astype(np.float32)
    return Batches(tokens, ("token_ids",), 16, 1, logits, 50, None, weights)


def trained(folder, replicas=None):
    """Weights after two epochs, and the losses of each."""
    distiller = Distiller(student=student(), class_weight=[1.0, 2.0, 0.5])
    distiller.replicas = replicas
    judged = iter((0.1, 0.2))
    position = train(
        distiller,
        batches(),
        Plan(epochs=2, batch_size=16, learning_rate=0.01),
        Validation(lambda: {"accuracy": next(judged)}, "accuracy", lambda a, b: a > b),
        Path(folder),
        lambda step: Silence(),
        (QUIET, "student"),
    )
    weights = [np.asarray(each).tolist() for each in distiller.student.trainable_variables]
    return {"weights": weights, "history": position.history, "best_epoch": position.best_epoch}


def disagreement(replicas):
    """What is said where the processes have other numbers."""
    try:
        replicas.agree("count alike", [7, replicas.rank])
    except ModelError as error:
        return str(error)


def sums(replicas):
    """Of a batch of five rows, and of a table's gradient in which each process read other rows."""

    @tf.function
    def found():
        rows, share = replicas.portion({"x": tf.range(5), "y": tf.range(10, 15)})
        table = tf.IndexedSlices(
            tf.ones([1 + replicas.rank, 2]), tf.range(1 + replicas.rank), tf.constant([9, 2])
        )
        parts = {"loss": share, "rows": tf.cast(tf.reduce_sum(rows["y"]), tf.float32)}
        parts, (dense, slices) = replicas.summed(parts, [tf.fill([3], share), table])
        return rows["x"], parts, dense, tf.convert_to_tensor(slices)

    return tf.nest.map_structure(lambda tensor: tensor.numpy().tolist(), list(found()))


if __name__ == "__main__":
    job = json.load(sys.stdin)
    replicas = Replicas()
    answer(
        {
            "place": [replicas.rank, replicas.size],
            "heard": replicas.text_from_chief("größer" if replicas.rank == 0 else "other"),
            "disagreement": disagreement(replicas),
            "sums": sums(replicas),
            **trained(job["folder"], replicas),
        }
    )
