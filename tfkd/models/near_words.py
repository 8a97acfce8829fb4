"""Words that a trained encoder holds for near each other, from its token table alone.

They bring a text words that no training text has, where a word drawn by chance brings it nonsense.
"""

from collections.abc import Iterable, Sequence

import keras
import keras_hub
import numpy as np

from tfkd.models.token_table import token_table
from tfkd.models.tokenizers import RESERVED_TOKENS
from tfkd.models.wordpiece import CONTINUATION

NEAR = 10
# What byte pairs and SentencePiece write before the first piece of a word.
_FIRST_PIECE = ("Ġ", "▁")
_SHORTEST = 2
_AT_ONCE = 256


def near_words(
    model: keras.Model, vocabulary: Sequence[str], words: Iterable[str], count: int = NEAR
) -> dict[str, tuple[str, ...]]:
    """The whole words of a vocabulary whose rows point most in the direction of a word's own.

    Args:
        model: `keras.Model` on an encoder. The table of a model without one was trained on its
            task alone, and knows no more words than those texts.
        vocabulary: Its tokens in index order.
        words: Words as the tokenizer spells them. One that is no token has no near words.
        count: Integer. Near words of each.

    Returns:
        Dictionary from word to near words, the nearest first; empty without an encoder.

    Example:

    >>> near_words(minilm, vocabulary, ["movie"], count=3)
    {'movie': ('movies', 'film', 'films')}

    Reference: [Jiao et al., 2020](https://arxiv.org/abs/1909.10351), whose augmentation replaces
    words so.
    """
    is_encoder = any(isinstance(layer, keras_hub.models.Backbone) for layer in model.layers)
    table = token_table(model) if is_encoder else None
    rows = {word: row for row, word in _whole_words(vocabulary)}
    asked = [word for word in dict.fromkeys(words) if word in rows]
    if table is None or len(rows) <= count or not asked:
        return {}
    known = list(rows)
    directions = _directions(np.asarray(table.embeddings)[list(rows.values())])
    place = {word: position for position, word in enumerate(known)}
    found = {}
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        own = [place[word] for word in part]
        cosines = directions[own] @ directions.T
        cosines[np.arange(len(part)), own] = -np.inf
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(cosines, nearest, axis=1), axis=1, kind="stable")
        for word, columns in zip(part, np.take_along_axis(nearest, order, axis=1), strict=True):
            found[word] = tuple(known[column] for column in columns)
    return found


def _whole_words(vocabulary: Sequence[str]) -> Iterable[tuple[int, str]]:
    """Row and spelling of the tokens that are words of letters."""
    # In a WordPiece vocabulary of many languages the marks of others are letters: Maltese has a Ġ.
    is_word_piece = any(token.startswith(CONTINUATION) for token in vocabulary)
    has_marks = not is_word_piece and any(token.startswith(_FIRST_PIECE) for token in vocabulary)
    for row, token in enumerate(vocabulary):
        is_first = token.startswith(_FIRST_PIECE) if has_marks else token not in RESERVED_TOKENS
        # A piece that goes on with a word begins with a sign, which is no letter.
        word = token[1:] if has_marks else token
        if is_first and word.isalpha() and len(word) >= _SHORTEST:
            yield row, word


def _directions(rows: np.ndarray) -> np.ndarray:
    """Rows without what all have in common, at length 1.

    In float64: with other threads a product rounds otherwise, and the same words have to be near.
    """
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(lengths > 0, lengths, 1)
