"""Likeness of vectors against closed forms."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tfkd.evaluation.similarity import similarity_figures

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(40, 6)).astype("f4")


def test_length_counts_nothing():
    lengths = RANDOM.uniform(0.1, 9, size=(40, 1))
    found = similarity_figures(VECTORS, VECTORS * lengths)
    assert found == {
        "cosine": pytest.approx(1.0),
        "similarity_correlation": pytest.approx(1.0),
    }


def test_opposite_vectors_have_the_same_neighbours():
    found = similarity_figures(VECTORS, -VECTORS)
    assert found["cosine"] == pytest.approx(-1.0)
    assert found["similarity_correlation"] == pytest.approx(1.0)


def test_figures_are_those_of_all_pairs():
    others = (VECTORS + RANDOM.normal(size=VECTORS.shape)).astype("f4")

    def cosines(vectors):
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return (directions @ directions.T)[np.triu_indices(len(vectors), k=1)]

    found = similarity_figures(VECTORS, others)
    mine = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(VECTORS, others, strict=True)
    ]
    assert found["cosine"] == pytest.approx(np.mean(mine), abs=1e-6)
    expected = spearmanr(cosines(VECTORS), cosines(others)).statistic
    assert found["similarity_correlation"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_texts_to_rank(count):
    assert similarity_figures(VECTORS[:count], VECTORS[:count])["similarity_correlation"] == 0.0


def test_vectors_of_zeros_are_like_nothing():
    found = similarity_figures(VECTORS, np.zeros_like(VECTORS))
    assert found == {"cosine": 0.0, "similarity_correlation": 0.0}


def test_other_shape_is_refused():
    message = r"^Expected vectors of shape \(40, 6\)\. Received: \(40, 5\)\.$"
    with pytest.raises(ValueError, match=message):
        similarity_figures(VECTORS, VECTORS[:, :5])
