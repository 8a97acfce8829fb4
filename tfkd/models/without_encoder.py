"""Students without an encoder: a recurrent and a convolutional one over a token table.

The BiLSTM is after Tang et al., 2019 (https://arxiv.org/abs/1903.12136): one layer, distilled from
BERT. They put a hidden layer over the last states and read whole words; here the logits read the
largest state of each unit, and tokens are the teacher's, so that the table can start from its.

The CNN is after Kim, 2014 (https://arxiv.org/abs/1408.5882), with one kernel size: on held-out rows
of ag_news many detectors of three tokens were better than fewer of two, three and four. It knows no
order beyond its kernel; its figures beside BERT-tiny's are in the README.
"""

import keras

from tfkd.models.pooling import pool

KERNEL_SIZE = 3


def build_bilstm(
    vocabulary_size: int,
    num_outputs: int,
    width: int = 128,
    units: int = 128,
    dropout: float = 0.3,
) -> keras.Model:
    """An untrained bidirectional LSTM of `units` in each direction, max pooling over time.

    Returns:
        Functional model: `token_ids`, `padding_mask` (int32 `[batch, length]`) to logits.
    """
    inputs, vectors = _embedded(vocabulary_size, width)
    vectors = keras.layers.Dropout(dropout)(vectors)
    states = keras.layers.Bidirectional(
        keras.layers.LSTM(units, return_sequences=True), name="bilstm"
    )(vectors, mask=keras.ops.cast(inputs["padding_mask"], "bool"))
    return _classifier(inputs, states, num_outputs, dropout, "bilstm")


def build_cnn(
    vocabulary_size: int,
    num_outputs: int,
    width: int = 128,
    filters: int = 512,
    table_dropout: float = 0.1,
    dropout: float = 0.3,
) -> keras.Model:
    """Untrained detectors of three tokens in a row, the strongest answer of each kept.

    Returns:
        Functional model: `token_ids`, `padding_mask` (int32 `[batch, length]`) to logits.
    """
    inputs, vectors = _embedded(vocabulary_size, width)
    # A kernel at the end of a text must see zeros, not the table's row of the padding token.
    is_real = keras.ops.cast(inputs["padding_mask"], "float32")
    vectors = keras.layers.Dropout(table_dropout)(vectors * keras.ops.expand_dims(is_real, -1))
    found = keras.layers.Conv1D(
        filters, KERNEL_SIZE, padding="same", activation="relu", name="trigrams"
    )(vectors)
    return _classifier(inputs, found, num_outputs, dropout, "cnn")


def _embedded(
    vocabulary_size: int, width: int
) -> tuple[dict[str, keras.KerasTensor], keras.KerasTensor]:
    """The inputs, and the rows of the table."""
    names = ("token_ids", "padding_mask")
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    table = keras.layers.Embedding(vocabulary_size, width, name="token_embedding")
    return inputs, table(inputs["token_ids"])


def _classifier(
    inputs: dict[str, keras.KerasTensor],
    states: keras.KerasTensor,
    num_outputs: int,
    dropout: float,
    name: str,
) -> keras.Model:
    """The model whose logits read the largest state of each unit."""
    pooled = pool(states, inputs["padding_mask"], "max")
    # Made before the dropout, which draws a seed as well.
    logits = keras.layers.Dense(num_outputs, dtype="float32", name="logits")
    return keras.Model(inputs, logits(keras.layers.Dropout(dropout)(pooled)), name=name)
