"""Near words by hand, and which tokens are words at all."""

import numpy as np
import pytest

from tests.toys import tiny_backbone, vocabulary_of
from tfkd.models.cnn import build_cnn
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.near_words import near_words
from tfkd.models.token_table import token_table

# Directions in degrees; pieces, numbers and single letters lie right beside "oil".
ANGLES = {"oil": 0, "gas": 20, "fuel": 45, "rain": 180, "snow": 190, "sun": 140}
OTHERS = ["##il", "x", "12", "o'il"]
VOCABULARY = vocabulary_of([*ANGLES, *OTHERS])


def model_of(vocabulary, angles):
    model = build_encoder_classifier(tiny_backbone(len(vocabulary), hidden_dim=4), 2)
    table = np.zeros((len(vocabulary), 4), np.float32)
    for row, token in enumerate(vocabulary):
        angle = np.radians(angles.get(token, 1))
        table[row, :2] = 3 * np.cos(angle), 3 * np.sin(angle)
    # Centred, so that directions are as written.
    known = [row for row, token in enumerate(vocabulary) if token in angles]
    table -= table[known].mean(axis=0)
    token_table(model).embeddings.assign(table)
    return model, table[known]


def test_nearest_first_and_never_itself():
    model, rows = model_of(VOCABULARY, ANGLES)
    found = near_words(model, VOCABULARY, ["rain", "oil", "oil", "unknown", "12", "x"], count=2)
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = directions @ directions.T
    names = list(ANGLES)
    for word in ("rain", "oil"):
        others = [name for name in names if name != word]
        others.sort(key=lambda other, word=word: -cosines[names.index(word), names.index(other)])
        assert found[word] == tuple(others[:2])
    assert found["oil"][0] == "gas"
    assert list(found) == ["rain", "oil"]


def test_first_pieces_of_byte_pairs_are_words():
    vocabulary = ["<s>", "</s>", *(f"Ġ{word}" for word in ANGLES), "oil", "il"]
    model, _ = model_of(vocabulary, {f"Ġ{word}": angle for word, angle in ANGLES.items()})
    found = near_words(model, vocabulary, ["oil", "il"], count=1)
    assert found == {"oil": ("gas",)}


def test_a_letter_of_another_vocabularys_mark_is_a_letter():
    """Maltese names in a WordPiece vocabulary of many languages."""
    vocabulary = [*VOCABULARY, "Ġorġ"]
    model, _ = model_of(vocabulary, ANGLES | {"Ġorġ": 12})
    found = near_words(model, vocabulary, ["oil", "Ġorġ", "orġ"], count=1)
    assert found == {"oil": ("Ġorġ",), "Ġorġ": ("gas",)}


@pytest.mark.parametrize("count", [6, 7])
def test_too_few_words_to_choose_from(count):
    model, _ = model_of(VOCABULARY, ANGLES)
    assert near_words(model, VOCABULARY, ["oil"], count) == {}


def test_a_table_of_a_task_alone_has_none():
    cnn = build_cnn(len(VOCABULARY), 2, width=8, filters=4)
    assert near_words(cnn, VOCABULARY, ["oil"], count=1) == {}
