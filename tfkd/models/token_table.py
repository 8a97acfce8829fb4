"""The layer that holds one row a token: where a model has it, and how a training reads it."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


def token_table(model: keras.Model) -> keras.layers.Layer | None:
    """The layer that holds one row a token, or None."""
    for layer in model._flatten_layers():
        if layer.name in ("token_embedding", "token_and_position_embedding_token_embedding"):
            return layer
    for layer in model._flatten_layers():
        if layer.name.startswith("token") and hasattr(layer, "embeddings"):
            return layer
    return None


@contextlib.contextmanager
def read_by_row(model: keras.Model) -> Iterator[None]:
    """Lets a model's token table be read row by row while the block runs.

    Keras reads the whole table to look rows up. TensorFlow copies for that what is written row by
    row, which costs more than the rows themselves.

    Args:
        model: `keras.Model`. One without a token table is left as it is.
    """
    table = token_table(model)
    # Where padding is masked by the table itself, Keras has more to do than to look up.
    if not isinstance(table, keras.layers.Embedding) or table.mask_zero:
        yield
        return
    table.call = lambda token_ids, reverse=False: tf.gather(table.embeddings.value, token_ids)
    try:
        yield
    finally:
        del table.call
