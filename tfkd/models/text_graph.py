"""The tokenizer as a TensorFlow graph, for files that take text: LiteRT files and SavedModels."""

import tensorflow as tf
import tensorflow_text as tf_text

from tfkd.errors import ModelError
from tfkd.models.wordpiece import MAX_WORD_BYTES, UNKNOWN, WordPieceTokenizer


class TextEncoder(tf.Module):
    """Texts to the arrays of `WordPieceTokenizer.encode`, by tf_text's operators.

    Clients have to register these operators: LiteRT by
    `InterpreterWithCustomOps(path, SELECT_TFTEXT_OPS)`, TensorFlow by `import tensorflow_text`.
    Single texts only; pairs have no form of one string.

    Example:

    >>> TextEncoder(tokenizer, 64).encode_one(tf.constant(["Oil prices fell."]))["token_ids"].shape
    TensorShape([1, 64])
    """

    def __init__(self, tokenizer: WordPieceTokenizer, length: int | None = None) -> None:
        super().__init__()
        self.length = length or tokenizer.sequence_length
        self._start_id = tokenizer.start_id
        self._end_id = tokenizer.end_id
        self._padding_id = tokenizer.padding_id
        self._has_segments = tokenizer.has_segments
        self._tokenizer = tf_text.FastBertTokenizer(
            tokenizer.vocabulary,
            max_bytes_per_word=MAX_WORD_BYTES,
            token_out_type=tf.int32,
            unknown_token=UNKNOWN,
            lower_case_nfd_strip_accents=tokenizer.lowercase,
        )

    def encode_one(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Arrays of one text, with operators that a `.tflite` file can hold.

        Args:
            text: String tensor of shape `[1]`, UTF-8. Convert with `allow_custom_ops=True`.

        Returns:
            Mapping of `token_ids`, `padding_mask` and, for families that use it, `segment_ids`:
            int32 tensors of shape `[1, length]`.

        Raises:
            ModelError: The tensor has another rank: pairs of texts.
        """
        _check_singles(text)
        tokens = self._tokenizer.tokenize(text).flat_values[: self.length - 2]
        row = tf.concat([[self._start_id], tokens, [self._end_id]], axis=0)
        missing = self.length - tf.size(row)
        token_ids = tf.pad(row, [[0, missing]], constant_values=self._padding_id)
        padding_mask = tf.pad(tf.ones_like(row), [[0, missing]])
        return self._arrays(
            tf.reshape(token_ids, [1, self.length]), tf.reshape(padding_mask, [1, self.length])
        )

    def encode_batch(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Arrays of any number of texts, for TensorFlow alone.

        Returns:
            As `encode_one`, of shape `[n, width]`: the width is that of the longest row, at most
            `length`.
        """
        _check_singles(texts)
        tokens = self._tokenizer.tokenize(texts)[:, : self.length - 2]
        column = tf.ones([tf.shape(texts)[0], 1], tf.int32)
        rows = tf.concat([column * self._start_id, tokens, column * self._end_id], axis=1)
        return self._arrays(rows.to_tensor(self._padding_id), tf.ones_like(rows).to_tensor())

    def _arrays(self, token_ids: tf.Tensor, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        arrays = {"token_ids": token_ids, "padding_mask": padding_mask}
        if self._has_segments:
            arrays["segment_ids"] = tf.zeros_like(token_ids)
        return arrays


def _check_singles(texts: tf.Tensor) -> None:
    if texts.shape.rank != 1:
        raise ModelError(
            f"Expected single texts, a string tensor of shape [n]. Received: shape {texts.shape}. "
            "Pairs have no form of one string: use a file that takes tokens."
        )
