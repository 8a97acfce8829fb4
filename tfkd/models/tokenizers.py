"""Text to token arrays, the same way in training, prediction and beside every exported file.

A `Tokenizer` is described by the KerasHub preprocessor of its family. WordPiece families (BERT,
DistilBERT) are tokenized by `WordPieceTokenizer`, byte pairs (RoBERTa) by KerasHub itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import keras
import keras_hub
import numpy as np
import tensorflow as tf

from tfkd import artifacts
from tfkd.data.examples import Texts
from tfkd.errors import ArtifactError, ModelError
from tfkd.models import code_points
from tfkd.models.wordpiece import WordPieceTokenizer, fitting_length
from tfkd.models.wordpiece_files import SETTINGS_FILE, UNREADABLE, fast_options, read_settings

RESERVED_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Settings of a layer that say nothing on the tokens it gives; Keras counts names up in a process.
_UNRELATED = ("name", "trainable", "dtype", "config_file", "tokenizer", "vocabulary")


class Tokenizer:
    """Tokenizes single texts or pairs.

    A lower-case vocabulary has no accents, as BERT's was made. Only a preprocessor that keeps
    accents beside lower case (`lowercase=True, strip_accents=False`) is run by KerasHub as it is.

    Args:
        preprocessor: A `keras_hub.models.TextClassifierPreprocessor`.

    Example:

    >>> tokenizer.encode(["Oil prices fell again."])["token_ids"].shape
    (1, 8)
    """

    def __init__(self, preprocessor: keras_hub.models.TextClassifierPreprocessor) -> None:
        self._preprocessor = preprocessor
        options = fast_options(keras.saving.serialize_keras_object(preprocessor))
        try:
            self._word_piece = (
                None if options is None else WordPieceTokenizer(self.vocabulary, **options)
            )
        except ValueError as error:
            raise ModelError(str(error)) from error

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
    def preprocessor(self) -> keras_hub.models.TextClassifierPreprocessor:
        """The KerasHub preprocessor that describes the tokenizer."""
        return self._preprocessor

    @property
    def word_piece(self) -> WordPieceTokenizer:
        """The tokenizer that needs no TensorFlow and whose graph goes into exported files.

        Raises:
            ModelError: Only KerasHub can run this tokenizer.
        """
        if self._word_piece is None:
            raise ModelError(
                "Expected a WordPiece tokenizer, lower case without accents or cased. Received: "
                f"{type(self._preprocessor.tokenizer).__name__} with other rules. Use a form that "
                "takes tokens."
            )
        return self._word_piece

    @property
    def fingerprint(self) -> str:
        """Changes with the vocabulary, the normalisation and the length; with nothing else."""
        tokenizer = self._preprocessor.tokenizer
        rules = {
            "preprocessor": _settings(self._preprocessor),
            "tokenizer": _settings(tokenizer),
            "vocabulary": self.vocabulary,
            "merges": list(getattr(tokenizer, "merges", ())),
        }
        if self._word_piece is not None:
            rules["code_points"] = artifacts.file_sha256(code_points.PATH)
        return artifacts.fingerprint(rules)

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

    def encode(
        self, texts: Texts, length: int | Sequence[int] | None = None
    ) -> dict[str, np.ndarray]:
        """Token arrays of a batch, as `WordPieceTokenizer.encode` describes them."""
        if self._word_piece is not None:
            return self._word_piece.encode(texts, length)
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
        width = fitting_length(longest, length, self.sequence_length)
        padding = {"token_ids": self._preprocessor.tokenizer.pad_token_id}
        return {
            name: _resized(values, width, padding.get(name, 0)) for name, values in arrays.items()
        }

    def save(self, folder: Path) -> None:
        """Writes the settings as JSON and the vocabulary files."""
        folder.mkdir(parents=True, exist_ok=True)
        self._preprocessor.tokenizer.save_assets(str(folder))
        settings = keras.saving.serialize_keras_object(self._preprocessor)
        assets = sorted(file.name for file in folder.iterdir() if file.name != SETTINGS_FILE)
        artifacts.write_record(folder / SETTINGS_FILE, settings, assets)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: The folder holds no tokenizer, or a file in it was changed.
        """
        config = read_settings(folder)
        try:
            preprocessor = keras.saving.deserialize_keras_object(config, safe_mode=True)
            preprocessor.tokenizer.load_assets(str(folder))
            return cls(preprocessor)
        except UNREADABLE as error:
            raise ArtifactError(
                f"Expected tokenizer files in {folder}. They cannot be read: {error}"
            ) from error


def _resized(values: np.ndarray, length: int, padding: int) -> np.ndarray:
    """Cuts columns off or adds columns of padding."""
    missing = max(length - values.shape[1], 0)
    return np.pad(values[:, :length], ((0, 0), (0, missing)), constant_values=padding)


def _settings(layer: keras.layers.Layer) -> dict[str, object]:
    """The settings that decide on the tokens; KerasHub makes some lists from sets."""
    settings = {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in layer.get_config().items()
        if name not in _UNRELATED
    }
    return {"class_name": type(layer).__name__, **settings}
