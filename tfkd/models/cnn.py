"""A convolutional student: detectors of three tokens in a row, the strongest answer of each kept.

After Kim, 2014 (https://arxiv.org/abs/1408.5882), with one kernel size: on held-out rows of ag_news
many detectors of three tokens were better than fewer of two, three and four. It knows no order
beyond its kernel; its figures beside BERT-tiny's are in the README.
"""

import keras

from tfkd.models.pooling import pool

KERNEL_SIZE = 3


def build_cnn(
    vocabulary_size: int,
    num_outputs: int,
    width: int = 128,
    filters: int = 512,
    table_dropout: float = 0.1,
    dropout: float = 0.3,
) -> keras.Model:
    """The untrained model.

    Args:
        vocabulary_size: Integer. Rows of the token table.
        num_outputs: Integer. Width of the logits.
        width: Integer. Columns of the token table.
        filters: Integer. Detectors.
        table_dropout: Float. Share of inputs dropped before the convolution.
        dropout: Float. Share of inputs dropped before the logits.

    Returns:
        Functional model: `token_ids`, `padding_mask` (int32 `[batch, length]`) to logits.
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
    vectors = keras.layers.Embedding(vocabulary_size, width, name="token_embedding")(token_ids)
    # A kernel at the end of a text must see zeros, not the table's row of the padding token.
    vectors = vectors * keras.ops.expand_dims(keras.ops.cast(padding_mask, "float32"), -1)
    vectors = keras.layers.Dropout(table_dropout)(vectors)
    found = keras.layers.Conv1D(
        filters, KERNEL_SIZE, padding="same", activation="relu", name="trigrams"
    )(vectors)
    pooled = pool(found, padding_mask, "max")
    logits = keras.layers.Dense(num_outputs, dtype="float32", name="logits")(
        keras.layers.Dropout(dropout)(pooled)
    )
    return keras.Model({"token_ids": token_ids, "padding_mask": padding_mask}, logits, name="cnn")
