"""Text to token arrays, the same way in training, prediction and beside every exported file.

A `Tokenizer` wraps the KerasHub preprocessor of its family (special tokens, truncation of pairs)
and cuts the padding away that its fixed length adds.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from tfkd import artifacts
from tfkd.errors import ArtifactError, ModelError

Texts = Sequence[str] | Sequence[tuple[str, ...]]
LENGTH_MULTIPLE = 8
RESERVED_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FILE_NAME = "preprocessor.json"
# Settings of a layer that say nothing on the tokens it gives; Keras counts names up in a process.
_UNRELATED = ("name", "trainable", "dtype", "config_file", "tokenizer", "vocabulary")


class Tokenizer:
    """Tokenizes single texts or pairs.

    Args:
        preprocessor: A `keras_hub.models.TextClassifierPreprocessor`.

    Example:

    >>> tokenizer.encode(["Oil prices fell again."])["token_ids"].shape
    (1, 8)
    """

    def __init__(self, preprocessor: keras_hub.models.TextClassifierPreprocessor) -> None:
        self._preprocessor = preprocessor

    @classmethod
    def learn(cls, texts: Iterable[str], vocabulary_size: int, sequence_length: int) -> Self:
        """A lower-case WordPiece tokenizer with a vocabulary learned from the texts."""
        vocabulary = keras_hub.tokenizers.compute_word_piece_vocabulary(
            tf.data.Dataset.from_generator(
                lambda: iter(texts), output_signature=tf.TensorSpec([], tf.string)
            ).batch(256),
            vocabulary_size,
            lowercase=True,
            strip_accents=True,
            reserved_tokens=RESERVED_TOKENS,
        )
        tokenizer = keras_hub.models.BertTokenizer(vocabulary, lowercase=True, strip_accents=True)
        return cls(keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length))

    @property
    def sequence_length(self) -> int:
        """Longest row in tokens, special tokens included."""
        return self._preprocessor.sequence_length

    @property
    def vocabulary(self) -> list[str]:
        """The tokens in index order."""
        tokenizer = self._preprocessor.tokenizer
        indices = getattr(tokenizer, "vocabulary", None)
        if isinstance(indices, Mapping):
            # A byte-pair tokenizer gives them in the order of its file.
            return sorted(indices, key=indices.__getitem__)
        return list(tokenizer.get_vocabulary())

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return self._preprocessor.tokenizer.vocabulary_size()

    @property
    def fingerprint(self) -> str:
        """Changes with the vocabulary, the normalisation and the length; with nothing else."""
        tokenizer = self._preprocessor.tokenizer
        return artifacts.fingerprint(
            {
                "preprocessor": _settings(self._preprocessor),
                "tokenizer": _settings(tokenizer),
                "vocabulary": self.vocabulary,
                "merges": list(getattr(tokenizer, "merges", ())),
            }
        )

    def with_length(self, sequence_length: int) -> "Tokenizer":
        """The same tokenizer for shorter or longer rows."""
        return Tokenizer(
            type(self._preprocessor)(self._preprocessor.tokenizer, sequence_length=sequence_length)
        )

    def with_vocabulary(self, vocabulary: Sequence[str]) -> "Tokenizer":
        """The same rules over another WordPiece vocabulary, its tokens in index order.

        Raises:
            ModelError: The tokenizer is no WordPiece tokenizer.
        """
        tokenizer = self._preprocessor.tokenizer
        if not isinstance(tokenizer, keras_hub.tokenizers.WordPieceTokenizer):
            raise ModelError(
                "Expected a WordPiece tokenizer to give another vocabulary. Received: "
                f"{type(tokenizer).__name__}. Leave the vocabulary whole for this model."
            )
        other = type(tokenizer)(
            list(vocabulary), lowercase=tokenizer.lowercase, strip_accents=tokenizer.strip_accents
        )
        return Tokenizer(type(self._preprocessor)(other, sequence_length=self.sequence_length))

    def encode(self, texts: Texts, length: int | None = None) -> dict[str, np.ndarray]:
        """Token arrays of a batch.

        Args:
            texts: `n` strings, or `n` pairs of strings.
            length: Integer. Width of the arrays. Default: the longest row of the batch rounded up
                to a multiple of 8, at most `sequence_length`.

        Returns:
            Mapping of `token_ids`, `padding_mask` and, for families that use it, `segment_ids`:
            int32 arrays of shape `[n, length]`.

        Raises:
            ValueError: There is no text.
        """
        if not texts:
            raise ValueError("Expected at least one text to encode. Received: none.")
        columns = (
            [list(texts)]
            if isinstance(texts[0], str)
            else list(map(list, zip(*texts, strict=True)))
        )
        features = columns[0] if len(columns) == 1 else tuple(columns)
        arrays = {
            name: np.asarray(values).astype("int32")
            for name, values in self._preprocessor(features, y=None).items()
        }
        longest = int(arrays["padding_mask"].sum(axis=1).max())
        if length is None:
            length = min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, self.sequence_length)
        padding = {"token_ids": self._preprocessor.tokenizer.pad_token_id}
        return {
            name: _resized(values, length, padding.get(name, 0)) for name, values in arrays.items()
        }

    def save(self, folder: Path) -> None:
        """Writes the settings as JSON and the vocabulary files."""
        folder.mkdir(parents=True, exist_ok=True)
        self._preprocessor.tokenizer.save_assets(str(folder))
        artifacts.write_json(
            folder / FILE_NAME, keras.saving.serialize_keras_object(self._preprocessor)
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: The folder holds no tokenizer.
        """
        config = artifacts.read_json(folder / FILE_NAME)
        try:
            preprocessor = keras.saving.deserialize_keras_object(config, safe_mode=True)
            preprocessor.tokenizer.load_assets(str(folder))
        except (TypeError, ValueError, OSError, AttributeError) as error:
            raise ArtifactError(
                f"Expected tokenizer files in {folder}. They cannot be read: {error}"
            ) from error
        return cls(preprocessor)


def _resized(values: np.ndarray, length: int, padding: int) -> np.ndarray:
    """Cuts columns off or adds columns of padding."""
    missing = max(length - values.shape[1], 0)
    return np.pad(values[:, :length], ((0, 0), (0, missing)), constant_values=padding)


def _settings(layer: keras.layers.Layer) -> dict[str, Any]:
    """The settings that decide on the tokens; KerasHub makes some lists from sets."""
    settings = {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in layer.get_config().items()
        if name not in _UNRELATED
    }
    return {"class_name": type(layer).__name__, **settings}
