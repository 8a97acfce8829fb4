"""Keys found in vectors: true means of cells, an average that forgets, no key left without one."""

import keras
import numpy as np
import pytest

from tests.toys import QUIET, tiny_backbone
from tfkd.errors import ModelError
from tfkd.models.bottleneck import NearestKeys, build_bottleneck_classifier
from tfkd.models.keys import Codebook, encoder_of, fit_keys, initialize_keys


def layer(num_codebooks=2, num_keys=5, width=6):
    keras.utils.set_random_seed(0)
    made = NearestKeys(num_codebooks, num_keys)
    made.build((None, width))
    return made


def vectors(count=400, width=6):
    return np.random.default_rng(1).normal(size=(count, width)).astype(np.float32)


def cells(keys, points):
    return np.linalg.norm(points[:, None] - keys, axis=-1).argmin(1)


def test_keys_are_the_means_of_their_cells_after_one_pass():
    """With one batch: the cells are those of the vectors that the keys started from."""
    points = vectors()
    found = fit_keys(points, layer(), QUIET, passes=1, batch_vectors=400, seed=3)
    for index, part in enumerate(np.split(points, 2, axis=1)):
        random = np.random.default_rng((3, index))
        start = part[random.choice(400, 5, replace=False)]
        nearest = cells(start, part)
        means = [part[nearest == key].mean(axis=0) for key in range(5)]
        np.testing.assert_allclose(found.keys[index], means, atol=1e-5)
    assert (found.num_vectors, found.reseeded) == (400, (0,))


def test_key_is_a_mean_not_a_sum():
    """However many vectors a cell holds, its key lies among them."""
    codebook = Codebook(np.array([[0.0, 0.0], [9.0, 9.0]], np.float32), decay=0.8)
    for _ in range(5):
        codebook.update(np.ones((1000, 2), np.float32))
    np.testing.assert_allclose(codebook.keys, [[1, 1], [9, 9]])


def test_moving_average_of_two_batches_by_hand():
    """Key 0 sees 1 and 3, then 6: (0.5 * (1 + 3) + 6) / (0.5 * 2 + 1) = 4."""
    codebook = Codebook(np.array([[0.0], [100.0]], np.float32), decay=0.5)
    codebook.update(np.array([[1.0], [3.0]], np.float32))
    np.testing.assert_array_equal(codebook.keys, [[2.0], [100.0]])
    codebook.update(np.array([[6.0]], np.float32))
    np.testing.assert_array_equal(codebook.keys, [[4.0], [100.0]])


def test_without_forgetting_the_key_is_the_mean_of_all():
    codebook = Codebook(np.zeros((1, 2), np.float32), decay=1.0)
    points = vectors(90, 2)
    for part in np.split(points, 9):
        codebook.update(part)
    np.testing.assert_allclose(codebook.keys[0], points.mean(axis=0), atol=1e-6)


def test_key_that_nothing_was_nearest_to_starts_again_from_a_vector():
    points = vectors(50, 2)
    codebook = Codebook(np.array([[0, 0], [1e3, 1e3], [-1e3, 0]], np.float32), decay=0.9)
    codebook.update(points)
    first = codebook.keys[0].copy()
    assert codebook.reseed(points, np.random.default_rng(0)) == 2
    np.testing.assert_array_equal(codebook.keys[0], first)
    for key in codebook.keys[1:]:
        assert (points == key).all(axis=1).any()
    assert not np.array_equal(codebook.keys[1], codebook.keys[2])
    codebook.update(points)
    assert codebook.reseed(points, np.random.default_rng(0)) == 0


def test_reseeded_key_forgets_where_it_was():
    codebook = Codebook(np.array([[0.0], [10.0]], np.float32), decay=1.0)
    codebook.update(np.array([[0.0], [10.0]], np.float32))
    codebook.reseed(np.array([[0.0]], np.float32), np.random.default_rng(0))
    codebook.update(np.array([[0.0]], np.float32))
    codebook.reseed(np.array([[4.0]], np.float32), np.random.default_rng(0))
    codebook.update(np.array([[5.0]], np.float32))
    np.testing.assert_array_equal(codebook.keys, [[0.0], [5.0]])


def test_more_passes_bring_keys_nearer():
    points = vectors(2000)

    def error(passes):
        found = fit_keys(points, layer(num_keys=16), QUIET, passes=passes, seed=2)
        return sum(
            np.linalg.norm(part[:, None] - keys, axis=-1).min(1).mean()
            for part, keys in zip(np.split(points, 2, axis=1), found.keys, strict=True)
        )

    assert error(4) < error(1)


def test_same_seed_gives_the_same_keys_and_another_others():
    first, again, other = (
        fit_keys(vectors(), layer(), QUIET, seed=seed, batch_vectors=64) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.keys, again.keys)
    assert first.reseeded == again.reseeded
    assert not np.array_equal(first.keys, other.keys)


def test_too_few_tokens():
    message = (
        "^Expected at least 5 tokens to find as many keys in. Received: 4. Give more texts, or "
        "fewer keys with --bottleneck-keys.$"
    )
    with pytest.raises(ModelError, match=message):
        fit_keys(vectors(4), layer(), QUIET)


def test_keys_of_a_model_come_from_its_real_tokens_alone():
    keras.utils.set_random_seed(0)
    model = build_bottleneck_classifier(tiny_backbone(30, "DistilBert", hidden_dim=12), 2, 3, 6)
    mask = (np.arange(8) < np.array([8, 3, 5])[:, None]).astype(np.int32)
    ids = np.random.default_rng(0).integers(0, 30, (3, 8), dtype=np.int32)
    batches = [{"token_ids": ids, "padding_mask": mask, "segment_ids": mask}]
    found = initialize_keys(model, batches, QUIET, seed=4)
    encoder, keys = encoder_of(model)
    np.testing.assert_array_equal(keys.keys, found.keys)
    assert found.num_vectors == 16
    read = encoder({"token_ids": ids, "padding_mask": mask}, training=False)
    expected = fit_keys(np.asarray(read)[mask == 1], keys, QUIET, seed=4)
    np.testing.assert_allclose(found.keys, expected.keys, atol=1e-5)
    assert found.sentence() == (
        "keys: 3 codebooks of 6 keys of 4 numbers, from 16 token vectors; started again in each "
        f"pass: {', '.join(map(str, found.reseeded))}"
    )
    with pytest.raises(ValueError, match="^Expected a model with a bottleneck"):
        initialize_keys(keras.Sequential([keras.layers.Input((2,))]), batches, QUIET)
