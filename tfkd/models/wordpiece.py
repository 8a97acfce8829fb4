"""WordPiece tokens in plain Python, the same as those of tf_text's operators, without TensorFlow.

Training, Keras predictions and LiteRT files in Python are tokenized here; files that take text hold
`FastBertTokenizer`, which gives the same tokens (see `tfkd.models.text_graph`). A word met before
costs one look-up: faster than Hugging Face's tokenizer, 0.04 ms for a text of 47 words.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypedDict

import numpy as np

from tfkd import artifacts
from tfkd.data.examples import Texts
from tfkd.errors import ArtifactError, ModelError
from tfkd.models.code_points import code_points

LENGTH_MULTIPLE = 8
CONTINUATION = "##"
UNKNOWN = "[UNK]"
SPECIAL_TOKENS = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]")
# As in tf_text: a longer word is unknown. Bytes of UTF-8, after accents are gone.
MAX_WORD_BYTES = 100
REMEMBERED_WORDS = 1 << 16
SETTINGS_FILE, VOCABULARY_FILE = "preprocessor.json", "vocabulary.txt"
# Preprocessors of KerasHub, and whether their models take segment ids.
FAMILIES = {
    "BertTextClassifierPreprocessor": True,
    "DistilBertTextClassifierPreprocessor": False,
}
PAIR_TRUNCATION = "round_robin"
# Settings of KerasHub that nothing but its own code follows when they differ.
_TOKENIZER_SETTINGS = {
    "split": True,
    "suffix_indicator": CONTINUATION,
    "oov_token": UNKNOWN,
    "special_tokens_in_strings": False,
}


class WordPieceTokenizer:
    """Tokenizes single texts or pairs with a BERT or DistilBERT vocabulary.

    Characters become words by the table of `tfkd.models.code_points`, words become the longest
    tokens that fit from left to right. A special token written out in a text is no special token.

    Args:
        vocabulary: Strings. The tokens in index order.
        sequence_length: Integer. Longest row in tokens, special tokens included.
        lowercase: Boolean. Whether capitals and accents are taken away.
        has_segments: Boolean. Whether the model takes segment ids: BERT does, DistilBERT does not.

    Raises:
        ModelError: A special token is missing.

    Example:

    >>> WordPieceTokenizer(vocabulary, 64).encode(["Oil prices fell."])["token_ids"]
    array([[ 101, 3514, 7597, 3062, 1012,  102,    0,    0]], dtype=int32)
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        sequence_length: int,
        lowercase: bool = True,
        has_segments: bool = True,
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.sequence_length = sequence_length
        self.lowercase = lowercase
        self.has_segments = has_segments
        self._indices = {token: index for index, token in enumerate(self.vocabulary)}
        missing = [token for token in SPECIAL_TOKENS if token not in self._indices]
        if missing:
            raise ModelError(
                f"Expected a vocabulary with {', '.join(SPECIAL_TOKENS)}. Received: one without "
                f"{', '.join(missing)}. Give the vocab.txt the model was trained with."
            )
        self.padding_id, self.unknown_id, self.start_id, self.end_id = (
            self._indices[token] for token in SPECIAL_TOKENS
        )
        self._longest_token = max(map(len, self.vocabulary))
        self._pieces = _Remembered(self._cut)

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return len(self.vocabulary)

    def with_length(self, sequence_length: int) -> "WordPieceTokenizer":
        """The same tokenizer for shorter or longer rows."""
        return WordPieceTokenizer(
            self.vocabulary, sequence_length, self.lowercase, self.has_segments
        )

    def encode(
        self, texts: Texts, length: int | Sequence[int] | None = None
    ) -> dict[str, np.ndarray]:
        """Token arrays of a batch.

        Args:
            texts: `n` strings, or `n` pairs of strings. Long texts are cut before their end token,
                pairs in turn, so that each keeps half when both are long.
            length: Integer. Width of the arrays; of several, rising, the first that holds the
                longest row. Default: the longest row of the batch rounded up to a multiple of 8,
                at most `sequence_length`.

        Returns:
            Mapping of `token_ids`, `padding_mask` and, for families that use it, `segment_ids`:
            int32 arrays of shape `[n, length]`.

        Raises:
            ValueError: There is no text.
        """
        if not texts:
            raise ValueError("Expected at least one text to encode. Received: none.")
        if len(texts) == 1:
            return self._one(*self._row(texts[0]), length)
        rows, boundaries = zip(*map(self._row, texts), strict=True)
        sizes = np.array([len(row) for row in rows])
        length = fitting_length(int(sizes.max()), length, self.sequence_length)
        token_ids = np.full((len(rows), length), self.padding_id, np.int32)
        for target, row in zip(token_ids, rows, strict=True):
            target[: len(row)] = row[:length]
        columns = np.arange(length)
        padding_mask = columns < sizes[:, None]
        arrays = {"token_ids": token_ids, "padding_mask": padding_mask.astype(np.int32)}
        if self.has_segments:
            second = padding_mask & (columns >= np.array(boundaries)[:, None])
            arrays["segment_ids"] = second.astype(np.int32)
        return arrays

    def _one(
        self, row: list[int], boundary: int, length: int | Sequence[int] | None
    ) -> dict[str, np.ndarray]:
        """The arrays of a batch of one, without the arithmetic on columns: a third of the time."""
        length = fitting_length(len(row), length, self.sequence_length)
        size = min(len(row), length)
        arrays = {"token_ids": np.full((1, length), self.padding_id, np.int32)}
        arrays["token_ids"][0, :size] = row[:size]
        arrays["padding_mask"] = np.zeros((1, length), np.int32)
        arrays["padding_mask"][0, :size] = 1
        if self.has_segments:
            arrays["segment_ids"] = np.zeros((1, length), np.int32)
            arrays["segment_ids"][0, boundary:size] = 1
        return arrays

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads the tokenizer of a model folder, as `tfkd.models.tokenizers.Tokenizer` saved it.

        Raises:
            ArtifactError: The folder holds no tokenizer, or one of another kind.
        """
        tokenizer = cls.load_if_fast(folder)
        if tokenizer is None:
            raise ArtifactError(
                f"Expected a WordPiece tokenizer in {folder}. Received: another kind. Byte-pair "
                "tokenizers need `tfkd.models.tokenizers.Tokenizer` and TensorFlow."
            )
        return tokenizer

    @classmethod
    def load_if_fast(cls, folder: Path) -> Self | None:
        """The tokenizer of a model folder, or None when it is one that only KerasHub can run.

        Raises:
            ArtifactError: The folder holds no tokenizer.
        """
        settings = artifacts.read_json(folder / SETTINGS_FILE)
        try:
            options = fast_options(settings)
            if options is None:
                return None
            with (folder / VOCABULARY_FILE).open(encoding="utf-8") as lines:
                return cls([line.rstrip() for line in lines], **options)
        except (KeyError, TypeError, OSError, UnicodeDecodeError) as error:
            raise ArtifactError(
                f"Expected tokenizer files in {folder}. They cannot be read: {error}"
            ) from error

    def _row(self, text: str | tuple[str, ...]) -> tuple[list[int], int]:
        """Tokens with special tokens, and where the second text starts."""
        if isinstance(text, str):
            row = [self.start_id, *self._tokens(text, self.sequence_length - 2), self.end_id]
            return row, len(row)
        limit = self.sequence_length - 3
        first, second = (self._tokens(part, limit) for part in text)
        first = first[: max(-(-limit // 2), limit - len(second))]
        second = second[: limit - len(first)]
        row = [self.start_id, *first, self.end_id, *second, self.end_id]
        return row, len(first) + 2

    def _tokens(self, text: str, limit: int) -> list[int]:
        """The first tokens of a text."""
        # A word one character too long is unknown, whatever follows: only short ones are kept.
        words = [
            word[: MAX_WORD_BYTES + 1]
            for word in text.translate(code_points(self.lowercase)).split()
        ]
        return list(
            itertools.islice(
                itertools.chain.from_iterable(map(self._pieces.__getitem__, words)), limit
            )
        )

    def _cut(self, written: str) -> tuple[int, ...]:
        """Tokens of what stands between two blanks."""
        words = written.translate(code_points(self.lowercase)).split()
        return tuple(index for word in words for index in self._split(word))

    def _split(self, word: str) -> tuple[int, ...]:
        """Longest tokens first; a word that does not come out is unknown as a whole."""
        if len(word.encode("utf-8", "surrogatepass")) > MAX_WORD_BYTES:
            return (self.unknown_id,)
        pieces, start, prefix = [], 0, ""
        while start < len(word):
            for stop in range(min(len(word), start + self._longest_token), start, -1):
                index = self._indices.get(prefix + word[start:stop])
                if index is not None:
                    break
            else:
                return (self.unknown_id,)
            pieces.append(index)
            start, prefix = stop, CONTINUATION
        return tuple(pieces)


def fitting_length(longest: int, length: int | Sequence[int] | None, most: int) -> int:
    """The columns of a batch; see `WordPieceTokenizer.encode`.

    Args:
        longest: Integer. Tokens of its longest row.
        length: Integer, rising integers, or None.
        most: Integer. The tokenizer's sequence length.
    """
    if isinstance(length, int):
        return length
    if length is not None:
        return next((known for known in length if known >= longest), length[-1])
    return min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, most)


class _Remembered(dict[str, tuple[int, ...]]):
    """Words and their tokens. Not `functools.lru_cache`, whose order costs a third of the time.

    Args:
        cut: From a word to its tokens.
    """

    def __init__(self, cut: Callable[[str], tuple[int, ...]]) -> None:
        super().__init__()
        self._cut = cut

    def __missing__(self, word: str) -> tuple[int, ...]:
        if len(self) >= REMEMBERED_WORDS:
            self.clear()
        pieces = self[word] = self._cut(word)
        return pieces


class FastOptions(TypedDict):
    """Options of `WordPieceTokenizer` besides the vocabulary."""

    sequence_length: int
    lowercase: bool
    has_segments: bool


def fast_options(settings: artifacts.JsonObject) -> FastOptions | None:
    """Options of `WordPieceTokenizer` besides the vocabulary, or None for another tokenizer.

    Args:
        settings: JSON object. A KerasHub preprocessor as Keras serializes it.
    """
    if settings["class_name"] not in FAMILIES:
        return None
    config = settings["config"]
    tokenizer = config["tokenizer"]["config"]
    same = all(tokenizer.get(name, value) == value for name, value in _TOKENIZER_SETTINGS.items())
    same = same and config.get("truncate", PAIR_TRUNCATION) == PAIR_TRUNCATION
    # Capitals without accents, or accents without capitals, is no form of tf_text's operator.
    if not same or tokenizer["lowercase"] != tokenizer["strip_accents"]:
        return None
    return {
        "sequence_length": config["sequence_length"],
        "lowercase": tokenizer["lowercase"],
        "has_segments": FAMILIES[settings["class_name"]],
    }
