"""How alike two encoders' vectors of the same texts are: directions, and which texts are near."""

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

COSINE, CORRELATION = "cosine", "similarity_correlation"
# Of 500 texts 124,750 pairs.
COMPARED_TEXTS = 500


def similarity_figures(expected: np.ndarray, received: np.ndarray) -> dict[str, float]:
    """Figures of a student's vectors beside its teacher's.

    Args:
        expected: Float array, shape `[num_texts, width]`. The teacher's.
        received: Float array, same shape.

    Returns:
        Dictionary with `cosine`, the mean over the texts, and `similarity_correlation`: the rank
        correlation, over all pairs of the first 500 texts, of the two texts' cosine by the student
        with that by the teacher; 0 where one is constant, or there are no two pairs.

    Raises:
        ValueError: The shapes differ.

    Example:

    >>> similarity_figures(vectors, 2 * vectors)
    {'cosine': 1.0, 'similarity_correlation': 1.0}
    """
    if expected.shape != received.shape:
        raise ValueError(f"Expected vectors of shape {expected.shape}. Received: {received.shape}.")
    teacher, student = (_directions(vectors) for vectors in (expected, received))
    pairs = [pdist(vectors[:COMPARED_TEXTS], "sqeuclidean") for vectors in (teacher, student)]
    varies = all(len(distances) > 1 and np.ptp(distances) > 0 for distances in pairs)
    return {
        COSINE: float((teacher * student).sum(axis=1).mean()),
        CORRELATION: float(spearmanr(*pairs).statistic) if varies else 0.0,
    }


def _directions(vectors: np.ndarray) -> np.ndarray:
    """The vectors at length 1; one of zeros stays."""
    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
