"""A convolutional student: n-gram detectors over a token table, the strongest answer of each kept.

Kim, 2014 (https://arxiv.org/abs/1408.5882). It knows no order beyond its widest kernel;
its figures beside BERT-tiny's are in the README.
"""

import keras

from tfkd.models.pooling import pool

KERNEL_SIZES = (2, 3, 4)


def build_cnn(
    vocabulary_size: int, num_outputs: int, width: int = 128, filters: int = 128,
    dropout: float = 0.3,
) -> keras.Model:  # fmt: skip
    """The untrained model.

    Args:
        vocabulary_size: Integer. Rows of the token table.
        num_outputs: Integer. Width of the logits.
        width: Integer. Columns of the token table.
        filters: Integer. Detectors of each kernel size.
        dropout: Float. Share of inputs dropped before the convolutions and before the logits.

    Returns:
        Functional model: `token_ids`, `padding_mask` (int32 `[batch, length]`) to logits.
    """
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
    vectors = keras.layers.Embedding(vocabulary_size, width, name="token_embedding")(token_ids)
    # A kernel at the end of a text must see zeros, not the table's row of the padding token.
    vectors = vectors * keras.ops.expand_dims(keras.ops.cast(padding_mask, "float32"), -1)
    vectors = keras.layers.Dropout(dropout)(vectors)
    found = [
        keras.layers.Conv1D(
            filters, size, padding="same", activation="relu", name=f"ngrams_{size}"
        )(vectors)
        for size in KERNEL_SIZES
    ]
    pooled = pool(keras.layers.Concatenate()(found), padding_mask, "max")
    logits = keras.layers.Dense(num_outputs, dtype="float32", name="logits")(
        keras.layers.Dropout(dropout)(pooled)
    )
    return keras.Model({"token_ids": token_ids, "padding_mask": padding_mask}, logits, name="cnn")
