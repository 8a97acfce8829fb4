"""A recurrent student: a bidirectional LSTM over a token table, max pooling over time.

After Tang et al., 2019 (https://arxiv.org/abs/1903.12136): one layer, distilled from BERT. They put
a hidden layer over the last states and read whole words; here the logits read the largest state of
each unit, and tokens are the teacher's, so that the table can start from its.
"""

import keras

from tfkd.models.pooling import pool


def build_bilstm(
    vocabulary_size: int,
    num_outputs: int,
    width: int = 128,
    units: int = 128,
    dropout: float = 0.3,
) -> keras.Model:
    """The untrained model.

    Args:
        vocabulary_size: Integer. Rows of the token table.
        num_outputs: Integer. Width of the logits.
        width: Integer. Columns of the token table.
        units: Integer. LSTM units in each direction.
        dropout: Float. Share of inputs dropped before the LSTM and before the logits.

    Returns:
        Functional model: `token_ids`, `padding_mask` (int32 `[batch, length]`) to logits.
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
    vectors = keras.layers.Embedding(vocabulary_size, width, name="token_embedding")(token_ids)
    vectors = keras.layers.Dropout(dropout)(vectors)
    states = keras.layers.Bidirectional(
        keras.layers.LSTM(units, return_sequences=True), name="bilstm"
    )(vectors, mask=keras.ops.cast(padding_mask, "bool"))
    pooled = pool(states, padding_mask, "max")
    logits = keras.layers.Dense(num_outputs, dtype="float32", name="logits")(
        keras.layers.Dropout(dropout)(pooled)
    )
    inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
    return keras.Model(inputs, logits, name="bilstm")
