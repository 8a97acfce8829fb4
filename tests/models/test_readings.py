"""Nearest keys of a split on disk: what the model would find, once, resumed, never mixed."""

import keras
import numpy as np
import pytest

from tests.toys import QUIET, classifier_of, tiny_backbone
from tfkd.compression.graph import find_backbone
from tfkd.data import shards
from tfkd.data.batching import Batches
from tfkd.data.tokens import Tokens
from tfkd.models import readings
from tfkd.models.bottleneck import build_bottleneck_classifier, find_bottleneck, frozen_half
from tfkd.models.classifier import TextClassifier
from tfkd.models.readings import load_or_read, weights_sha256

LENGTHS = (3, 9, 1, 12, 5, 2, 7)


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(2)
    model = build_bottleneck_classifier(tiny_backbone(30, "DistilBert", hidden_dim=12), 2, 3, 6)
    # Vectors of an untrained encoder are all alike: keys far apart would be one key.
    keys = np.random.default_rng(0).normal(size=(3, 6, 4))
    find_bottleneck(model).keys.keys.assign(keys)
    return classifier_of(model, ["oil prices fell"] * 3, 30, 16, ("a", "b"))


def with_keys(classifier, seed):
    """Another with keys of its own."""
    model = keras.models.clone_model(classifier.model)
    model.set_weights(classifier.model.get_weights())
    layer = find_bottleneck(model).keys
    layer.keys.assign(np.random.default_rng(seed).normal(size=layer.keys.shape))
    return classifier.with_model(model)


def tokens(seed=0, fingerprint="some"):
    random = np.random.default_rng(seed)
    lengths = np.array(LENGTHS)
    return Tokens(
        token_ids=random.integers(1, 30, lengths.sum(), dtype=np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        boundaries=lengths.astype(np.int32),
        labels=random.integers(0, 2, len(lengths)).astype(np.int32),
        padding_id=0,
        fingerprint=fingerprint,
    )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 3)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.npy"))}


def test_rows_hold_what_the_frozen_half_finds(classifier, tmp_path):
    split = tokens()
    (found,) = load_or_read([classifier], split, tmp_path, QUIET)
    rows = np.array([3, 0, 6, 2])
    arrays = found.arrays(rows)
    given = split.arrays(rows)
    expected = np.asarray(
        frozen_half(classifier.model)(
            {name: given[name] for name in classifier.input_names}, training=False
        )
    )
    mask = given["padding_mask"]
    np.testing.assert_array_equal(arrays["padding_mask"], mask)
    np.testing.assert_array_equal(arrays["key_numbers"][mask == 1], expected[mask == 1])
    assert not arrays["key_numbers"][mask == 0].any()
    assert np.unique(arrays["key_numbers"]).size > 2
    np.testing.assert_array_equal(found.labels, split.labels)
    np.testing.assert_array_equal(found.lengths, LENGTHS)
    assert len(found) == len(LENGTHS)


def test_numbers_lie_on_disk_two_bytes_each(classifier, tmp_path):
    (found,) = load_or_read([classifier], tokens(), tmp_path, QUIET)
    assert [shard.shape for shard in found.shards] == [(13, 3), (19, 3), (7, 3)]
    assert all(isinstance(shard, np.memmap) for shard in found.shards)
    assert {shard.dtype for shard in found.shards} == {np.dtype(np.uint16)}


def test_a_killed_reading_goes_on_where_it_was(classifier, tmp_path):
    (before,) = load_or_read([classifier], tokens(), tmp_path, QUIET)
    written = files(tmp_path)
    gone = list(written)[1]
    kept = np.array(before.shards[1])
    gone.unlink()
    (again,) = load_or_read([classifier], tokens(), tmp_path, QUIET)
    np.testing.assert_array_equal(again.shards[1], kept)
    for path, time in files(tmp_path).items():
        assert (time == written[path]) == (path != gone)


def test_nothing_half_written_stays(classifier, tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("killed")

    monkeypatch.setattr(readings, "_read", fail)
    with pytest.raises(RuntimeError, match="killed"):
        load_or_read([classifier], tokens(), tmp_path, QUIET)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_one_pass_of_the_encoder_finds_the_keys_of_several(classifier, tmp_path, monkeypatch):
    several = [classifier, with_keys(classifier, 1), with_keys(classifier, 2)]
    alone = [load_or_read([item], tokens(), tmp_path / "alone", QUIET)[0] for item in several]
    passes, score = [], TextClassifier.score
    monkeypatch.setattr(
        TextClassifier, "score", lambda self, *rest: passes.append(rest[1:]) or score(self, *rest)
    )
    # One was read before, another was killed in its second shard.
    load_or_read(several[:1], tokens(), tmp_path / "together", QUIET)
    load_or_read(several[1:2], tokens(), tmp_path / "together", QUIET)
    list(files(tmp_path / "together"))[-1].unlink()
    written = files(tmp_path / "together")
    passes.clear()
    together = load_or_read([*several, classifier], tokens(), tmp_path / "together", QUIET)
    assert passes == [(0, 3), (3, 6), (6, 7)]
    assert written.items() <= files(tmp_path / "together").items()
    assert len(together) == 4
    for found, expected in zip(together, [*alone, alone[0]], strict=True):
        for shard, numbers in zip(found.shards, expected.shards, strict=True):
            np.testing.assert_array_equal(shard, numbers)
    assert (alone[0].shards[0] != alone[1].shards[0]).any()
    passes.clear()
    load_or_read(several, tokens(), tmp_path / "together", QUIET)
    assert passes == []


def test_several_must_share_their_encoder(classifier, tmp_path):
    other = with_keys(classifier, 1)
    encoder = find_backbone(other.model)
    encoder.set_weights([weight + 1 for weight in encoder.get_weights()])
    with pytest.raises(ValueError, match=r"^Expected .* on one encoder. Received: several"):
        load_or_read([classifier, other], tokens(), tmp_path, QUIET)
    assert not list(tmp_path.iterdir())


def test_other_tokens_or_keys_have_a_folder_of_their_own(classifier, tmp_path):
    load_or_read([classifier], tokens(), tmp_path, QUIET)
    load_or_read([classifier], tokens(1, "other"), tmp_path, QUIET)
    assert len(list(tmp_path.iterdir())) == 2
    layer, marks = find_bottleneck(classifier.model), [weights_sha256(classifier.model)]
    for variable in layer.keys.keys, layer.values.values:
        before = np.array(variable)
        variable.assign(before + 1)
        load_or_read([classifier], tokens(), tmp_path, QUIET)
        marks.append(weights_sha256(classifier.model))
        variable.assign(before)
    # The keys decide what is nearest; the values do not.
    assert len(list(tmp_path.iterdir())) == 3
    assert len(set(marks)) == 3


def test_batches_take_them_like_tokens(classifier, tmp_path):
    split = tokens()
    (found,) = load_or_read([classifier], split, tmp_path, QUIET)
    names = ("key_numbers", "padding_mask")
    batches, expected = Batches(found, names, 2, 5), Batches(split, ("padding_mask",), 2, 5)
    for (arrays, labels), (others, targets) in zip(
        batches.dataset(0), expected.dataset(0), strict=True
    ):
        assert arrays["key_numbers"].shape == (*others["padding_mask"].shape, 3)
        np.testing.assert_array_equal(arrays["padding_mask"], others["padding_mask"])
        np.testing.assert_array_equal(labels, targets)
