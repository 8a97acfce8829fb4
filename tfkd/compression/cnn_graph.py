"""The lean inference graph of the CNN student.

A detector never answers below zero, so padding is taken out by one product: Keras, which does not
know that, looks for the smallest answer of each detector first and then selects. The same logits to
the last bit in a fifth (`cnn`) to a quarter (`cnn_small`) less time.
"""

from collections.abc import Mapping

import keras
import tensorflow as tf

from tfkd.compression.graph import TextGraph
from tfkd.data.examples import SINGLE_LABEL
from tfkd.models.pooling import MaxPooling

_WEIGHTS = {
    "token_embedding": keras.layers.Embedding,
    "trigrams": keras.layers.Conv1D,
    "pooling": MaxPooling,
    "logits": keras.layers.Dense,
}
# What Keras makes of the arithmetic on the mask, and what inference leaves out.
_WEIGHTLESS = {"InputLayer", "Cast", "ExpandDims", "Multiply", "Dropout"}


def is_cnn(model: keras.Model) -> bool:
    """Whether `tfkd.models.without_encoder.build_cnn` made a model."""
    steps = {step.name: step for step in getattr(model, "operations", ())}
    others = {type(step).__name__ for name, step in steps.items() if name not in _WEIGHTS}
    return others == _WEIGHTLESS and all(
        isinstance(steps.get(name), kind) for name, kind in _WEIGHTS.items()
    )


class CnnGraph(TextGraph):
    """A CNN student as functions of one text of a fixed length, all over the same weights.

    Raises:
        ValueError: It is another model.

    Example:

    ```python
    graph = CnnGraph(classifier.model)
    graph.endpoint(64)(classifier.encode(["Oil prices fell again."], 64))["logits"]
    ```
    """

    def __init__(self, model: keras.Model, task: str = SINGLE_LABEL) -> None:
        super().__init__(model, task)
        if not is_cnn(model):
            raise ValueError(f"Expected a model of build_cnn. Received: {model.name}")
        self._table, self._kernel, self._bias, self._head, self._head_bias = (
            tf.Variable(keras.ops.convert_to_numpy(weights), trainable=False)
            for weights in model.weights
        )

    def logits(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Logits of one text, float32 `[1, num_outputs]`."""
        is_real = tf.cast(inputs["padding_mask"], tf.float32)[:, :, None]
        vectors = tf.gather(self._table, inputs["token_ids"]) * is_real
        found = tf.nn.relu(tf.nn.conv1d(vectors, self._kernel, 1, "SAME") + self._bias)
        strongest = tf.reduce_max(found * is_real, axis=1)
        return tf.matmul(strongest, self._head) + self._head_bias
