"""Words that a trained encoder holds for near each other, by what it says of each read alone.

They bring a text words that no training text has, where a word drawn by chance brings it nonsense.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import keras
import keras_hub
import numpy as np

from tfkd.artifacts import fingerprint
from tfkd.data.shards import kept_array
from tfkd.models.classifier import TextClassifier
from tfkd.models.readings import weights_sha256
from tfkd.models.tokenizers import RESERVED_TOKENS
from tfkd.models.wordpiece import CONTINUATION
from tfkd.progress import Progress

NEAR = 10
WORDS_AT_ONCE = 1024
# What byte pairs and SentencePiece write before the first piece of a word.
_FIRST_PIECE = ("Ġ", "▁")
_SHORTEST = 2
_AT_ONCE = 256


def known_words(model: keras.Model, vocabulary: Sequence[str]) -> list[str]:
    """The whole words among the tokens of an encoder.

    Args:
        model: `keras.Model`. One without an encoder was trained on its task alone, and knows no
            more words than those texts: it has none.
        vocabulary: Its tokens in index order.
    """
    has_encoder = any(isinstance(layer, keras_hub.models.Backbone) for layer in model.layers)
    return list(dict.fromkeys(_whole_words(vocabulary))) if has_encoder else []


def word_vectors(
    teacher: TextClassifier, words: Sequence[str], cache: Path, progress: Progress
) -> np.ndarray:
    """What a teacher's logits layer reads of each word, which is a text of its own.

    Returns:
        Float32 array, shape `[num_words, width]`, which the cache keeps.
    """

    def read() -> np.ndarray:
        # A word is one text, whatever the teacher reads else.
        reader, parts = dataclasses.replace(teacher.reader(), num_texts=1), []
        with progress.task("read single words", len(words)) as task:
            for start in range(0, len(words), WORDS_AT_ONCE):
                part = words[start : start + WORDS_AT_ONCE]
                parts.append(reader.predict(part))
                task.advance(len(part))
        return np.concatenate(parts)

    mark = fingerprint({"words": list(words), "model": weights_sha256(teacher.model)})
    return kept_array(cache / "words" / f"{mark}.npy", read, progress.say)


def near_words(
    known: Sequence[str], vectors: np.ndarray, words: Iterable[str], count: int = NEAR
) -> dict[str, tuple[str, ...]]:
    """The known words whose vectors point most in the direction of a word's own.

    Args:
        known: Words.
        vectors: Float array, shape `[num_known, width]`. What an encoder says of each, read as a
            text of its own: in its token table "exciting" is near "boring".
        words: Words that are asked for. One that is not known has no near words.
        count: Integer. Near words of each.

    Returns:
        Dictionary from word to near words, the nearest first.

    Example:

    >>> known = known_words(teacher.model, teacher.tokenizer.vocabulary)
    >>> near_words(known, teacher.reader().predict(known), ["terrible"], count=3)
    {'terrible': ('horrible', 'awful', 'dreadful')}

    Reference: [Jiao et al., 2020](https://arxiv.org/abs/1909.10351), whose augmentation replaces
    words by those of near vectors.
    """
    place = {word: position for position, word in enumerate(known)}
    asked = [word for word in dict.fromkeys(words) if word in place]
    if len(known) <= count:
        return {}
    directions = _directions(vectors)
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


def _whole_words(vocabulary: Sequence[str]) -> Iterator[str]:
    """Spelling of the tokens that are words of letters."""
    # In a WordPiece vocabulary of many languages the marks of others are letters: Maltese has a Ġ.
    is_word_piece = any(token.startswith(CONTINUATION) for token in vocabulary)
    has_marks = not is_word_piece and any(token.startswith(_FIRST_PIECE) for token in vocabulary)
    for token in vocabulary:
        is_first = token.startswith(_FIRST_PIECE) if has_marks else token not in RESERVED_TOKENS
        # A piece that goes on with a word begins with a sign, which is no letter.
        word = token[1:] if has_marks else token
        if is_first and word.isalpha() and len(word) >= _SHORTEST:
            yield word


def _directions(rows: np.ndarray) -> np.ndarray:
    """Rows without what all have in common, at length 1.

    In float64: with other threads a product rounds otherwise, and the same words have to be near.
    """
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return centred / np.where(lengths > 0, lengths, 1)
