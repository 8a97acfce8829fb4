"""WordPiece tokens in plain Python, the same as those of tf_text's operators, without TensorFlow.

Training, Keras predictions and LiteRT files in Python are tokenized here; files that take text hold
`FastBertTokenizer`, which gives the same tokens (see `tfkd.models.text_graph`). What stands between
two blanks and was met before costs one look-up: a sixth of the time of Hugging Face's tokenizer.
Goes into exported folders as it is, so it knows NumPy and nothing else of other people's.
"""

import array
import bisect
from collections.abc import Callable, Sequence

import numpy as np

from tfkd.models.code_points import code_points

LENGTH_MULTIPLE = 8
CONTINUATION = "##"
UNKNOWN = "[UNK]"
SPECIAL_TOKENS = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]")
# As in tf_text: a longer word is unknown. Bytes of UTF-8, after accents are gone.
MAX_WORD_BYTES = 100
REMEMBERED_WORDS, LONGEST_REMEMBERED = 1 << 16, 64
# Rows are bytes until they are arrays: joined, cut and padded in a tenth of the time of lists.
INDEX_BYTES = array.array("i").itemsize
_ZERO, _ONE = (array.array("i", [value]).tobytes() for value in (0, 1))


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
        ValueError: A special token is missing.

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
            raise ValueError(
                f"Expected a vocabulary with {', '.join(SPECIAL_TOKENS)}. Received: one without "
                f"{', '.join(missing)}. Give the vocab.txt the model was trained with."
            )
        self.padding_id, self.unknown_id, self.start_id, self.end_id = (
            self._indices[token] for token in SPECIAL_TOKENS
        )
        self._padding, self._start, self._end = (
            _packed([index]) for index in (self.padding_id, self.start_id, self.end_id)
        )
        self._longest_token = max(map(len, self.vocabulary))
        self._code_points = code_points(lowercase)
        self._words = _Remembered(self._split)
        self._written = _Remembered(self._cut)

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens."""
        return len(self.vocabulary)

    def with_length(self, sequence_length: int) -> "WordPieceTokenizer":
        """The same tokenizer for shorter or longer rows."""
        return WordPieceTokenizer(
            self.vocabulary, sequence_length, self.lowercase, self.has_segments
        )

    def without_segments(self) -> "WordPieceTokenizer":
        """The same tokenizer for a model that does not read segment ids."""
        if not self.has_segments:
            return self
        return WordPieceTokenizer(self.vocabulary, self.sequence_length, self.lowercase, False)

    def encode(
        self,
        texts: Sequence[str | tuple[str, ...]],
        length: int | Sequence[int] | None = None,
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
        rows = [self._row(text) for text in texts]
        longest = max([len(row) for row, _ in rows]) // INDEX_BYTES
        length = fitting_length(longest, length, self.sequence_length)
        size = length * INDEX_BYTES
        padding, ones, zeros = self._padding * length, _ONE * length, _ZERO * length
        # Not bytes: arrays over bytes cannot be written to.
        token_ids, padding_mask, segment_ids = bytearray(), bytearray(), bytearray()
        for row, start in rows:
            token_ids += (row + padding)[:size]
            padding_mask += (ones[: len(row)] + zeros)[:size]
            if self.has_segments:
                segment_ids += (zeros[:start] + ones[: len(row) - start] + zeros)[:size]
        shape = len(rows), length
        arrays = {
            "token_ids": np.ndarray(shape, np.int32, token_ids),
            "padding_mask": np.ndarray(shape, np.int32, padding_mask),
        }
        if self.has_segments:
            arrays["segment_ids"] = np.ndarray(shape, np.int32, segment_ids)
        return arrays

    def _row(self, text: str | tuple[str, ...]) -> tuple[bytes, int]:
        """Tokens with special tokens, and the byte where the second text starts."""
        if isinstance(text, str):
            tokens = self._tokens(text, self.sequence_length - 2)
            row = b"".join((self._start, tokens, self._end))
            return row, len(row)
        limit = self.sequence_length - 3
        first, second = (self._tokens(part, limit) for part in text)
        half, room = -(-limit // 2) * INDEX_BYTES, limit * INDEX_BYTES
        first = first[: max(half, room - len(second))]
        second = second[: room - len(first)]
        row = b"".join((self._start, first, self._end, second, self._end))
        return row, len(first) + 2 * INDEX_BYTES

    def _tokens(self, text: str, limit: int) -> bytes:
        """The first tokens of a text."""
        size = limit * INDEX_BYTES
        # Nearly always `limit` parts are as many tokens or more, and what follows is not looked at.
        parts = text.split(" ", limit)
        rest = parts.pop() if len(parts) > limit else ""
        tokens = b"".join(map(self._written.__getitem__, parts))
        if rest and len(tokens) < size:
            tokens += self._cut(rest)
        return tokens[:size]

    def _cut(self, written: str) -> bytes:
        """Tokens of any text; most often of what stands between two blanks."""
        # A word one character too long is unknown, whatever follows: only short ones are kept.
        words = [
            word[: MAX_WORD_BYTES + 1] for word in written.translate(self._code_points).split()
        ]
        return b"".join(map(self._words.__getitem__, words))

    def _split(self, word: str) -> bytes:
        """Longest tokens first; a word that does not come out is unknown as a whole."""
        if len(word.encode("utf-8", "surrogatepass")) > MAX_WORD_BYTES:
            return _packed([self.unknown_id])
        pieces, start, prefix = [], 0, ""
        while start < len(word):
            for stop in range(min(len(word), start + self._longest_token), start, -1):
                index = self._indices.get(prefix + word[start:stop])
                if index is not None:
                    break
            else:
                return _packed([self.unknown_id])
            pieces.append(index)
            start, prefix = stop, CONTINUATION
        return _packed(pieces)


def fitting_length(longest: int, length: int | Sequence[int] | None, most: int) -> int:
    """The columns of a batch; see `WordPieceTokenizer.encode`."""
    if isinstance(length, int):
        return length
    if length is not None:
        return length[min(bisect.bisect_left(length, longest), len(length) - 1)]
    return min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, most)


def _packed(indices: Sequence[int]) -> bytes:
    """Indices as bytes of int32."""
    return array.array("i", indices).tobytes()


class _Remembered(dict[str, bytes]):
    """Words and their tokens. Not `functools.lru_cache`, whose order costs a third of the time."""

    def __init__(self, cut: Callable[[str], bytes]) -> None:
        super().__init__()
        self._cut = cut

    def __missing__(self, word: str) -> bytes:
        tokens = self._cut(word)
        # Text without blanks may be long and does not come again.
        if len(word) <= LONGEST_REMEMBERED:
            if len(self) >= REMEMBERED_WORDS:
                self.clear()
            self[word] = tokens
        return tokens
