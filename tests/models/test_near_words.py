"""Near words by hand, and which tokens are words at all."""

import numpy as np
import pytest

from tests.toys import tiny_backbone, vocabulary_of
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.near_words import known_words, near_words
from tfkd.models.without_encoder import build_cnn

# Directions in degrees.
ANGLES = {"oil": 0, "gas": 20, "fuel": 45, "rain": 180, "snow": 190, "sun": 140}
WORDS = list(ANGLES)
RADIANS = np.radians(list(ANGLES.values()))
VECTORS = 3 * np.stack([np.cos(RADIANS), np.sin(RADIANS)], axis=1)
VOCABULARY = vocabulary_of([*ANGLES, "##il", "x", "12", "o'il"])


def encoder_of(vocabulary):
    return build_encoder_classifier(tiny_backbone(len(vocabulary), hidden_dim=4), 2)


def test_nearest_first_and_never_itself():
    found = near_words(WORDS, VECTORS, ["rain", "oil", "oil", "unknown", "12", "x"], count=2)
    directions = VECTORS - VECTORS.mean(axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = directions @ directions.T
    for word in ("rain", "oil"):
        others = [name for name in WORDS if name != word]
        others.sort(key=lambda other, word=word: -cosines[WORDS.index(word), WORDS.index(other)])
        assert found[word] == tuple(others[:2])
    assert found["oil"][0] == "gas"
    assert list(found) == ["rain", "oil"]


def test_what_all_words_have_in_common_says_nothing():
    moved = VECTORS + np.array([100.0, -50.0])
    assert near_words(WORDS, moved, WORDS, 3) == near_words(WORDS, VECTORS, WORDS, 3)


@pytest.mark.parametrize("count", [6, 7])
def test_too_few_words_to_choose_from(count):
    assert near_words(WORDS, VECTORS, ["oil"], count) == {}


def test_no_words_no_near_words():
    assert near_words([], np.zeros((0, 2)), ["oil"]) == {}


def test_pieces_numbers_single_letters_and_reserved_tokens_are_no_words():
    assert known_words(encoder_of(VOCABULARY), VOCABULARY) == WORDS


def test_first_pieces_of_byte_pairs_are_words():
    vocabulary = ["<s>", "</s>", *(f"Ġ{word}" for word in ANGLES), "oil", "il"]
    assert known_words(encoder_of(vocabulary), vocabulary) == WORDS


def test_a_letter_of_another_vocabularys_mark_is_a_letter():
    """Maltese names in a WordPiece vocabulary of many languages."""
    vocabulary = [*VOCABULARY, "Ġorġ"]
    assert known_words(encoder_of(vocabulary), vocabulary) == [*WORDS, "Ġorġ"]


def test_a_model_of_a_task_alone_knows_none():
    cnn = build_cnn(len(VOCABULARY), 2, width=8, filters=4)
    assert known_words(cnn, VOCABULARY) == []
