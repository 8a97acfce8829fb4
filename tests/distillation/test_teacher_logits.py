import re

import keras
import numpy as np
import pytest

from tests.toys import QUIET
from tfkd.artifacts import read_json
from tfkd.data import shards
from tfkd.data.shards import Shards
from tfkd.data.tokens import Tokens
from tfkd.distillation.teacher_logits import load_or_score, score_shard
from tfkd.errors import ArtifactError
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress

NUM_ROWS, SHARD_ROWS = 27, 8


class CountingClassifier(TextClassifier):
    """Writes down which rows it was asked for, and may be stopped before a shard."""

    def score(self, tokens, start=0, stop=None, batch_size=3):
        if start == getattr(self, "stop_at", None):
            raise KeyboardInterrupt
        self.asked = [*getattr(self, "asked", []), (start, stop)]
        yield from super().score(tokens, start, stop, batch_size)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", SHARD_ROWS)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    names = ("token_ids", "padding_mask")
    inputs = {name: keras.Input([None], dtype="int32", name=name) for name in names}
    embedded = keras.layers.Embedding(100, 6)(inputs["token_ids"])
    mask = keras.ops.cast(inputs["padding_mask"], "bool")
    pooled = keras.layers.GlobalAveragePooling1D()(embedded, mask=mask)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(pooled))


@pytest.fixture
def teacher(model):
    return CountingClassifier(model, None, "single_label", ("a", "b", "c"))


@pytest.fixture(scope="module")
def tokens():
    return tokens_of(NUM_ROWS)


def tokens_of(num_rows):
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 20, num_rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = generator.integers(1, 100, offsets[-1]).astype(np.int32)
    labels = np.zeros(num_rows, np.int32)
    return Tokens(ids, offsets, lengths.astype(np.int32), labels, 0, "mark")


def scored(teacher, tokens, folder, fingerprint="mark"):
    return load_or_score(
        lambda: teacher, len(teacher.label_names), tokens, folder, fingerprint, QUIET
    )


def shard_times(folder):
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.glob("*.npy"))}


def test_row_i_is_the_teachers_answer_to_row_i(teacher, tokens, tmp_path):
    found = scored(teacher, tokens, tmp_path / "logits")
    assert found.shape == (NUM_ROWS, 3)
    assert found.dtype == np.float32
    for row in range(NUM_ROWS):
        ids = np.array(tokens.token_ids[tokens.offsets[row] : tokens.offsets[row + 1]])
        alone = teacher.model({"token_ids": ids[None], "padding_mask": np.ones_like(ids)[None]})
        np.testing.assert_allclose(found[row], alone[0], atol=1e-6)
    # No two rows look alike, so that a mix-up would have shown.
    assert len(np.unique(found.round(5), axis=0)) == NUM_ROWS


def test_shards_cover_the_rows(teacher, tokens, tmp_path):
    found = scored(teacher, tokens, tmp_path)
    assert teacher.asked == [(0, 8), (8, 16), (16, 24), (24, 27)]
    names = sorted(path.name for path in tmp_path.glob("*.npy"))
    assert names == [f"logits-{shard:05d}.npy" for shard in range(4)]
    shards = [np.load(tmp_path / name) for name in names[:4]]
    assert [len(shard) for shard in shards] == [8, 8, 8, 3]
    np.testing.assert_array_equal(np.concatenate(shards), found)


def test_what_is_there_is_not_scored_again(teacher, tokens, tmp_path):
    first = scored(teacher, tokens, tmp_path)
    times = shard_times(tmp_path)
    teacher.asked = []
    np.testing.assert_array_equal(scored(teacher, tokens, tmp_path), first)
    assert teacher.asked == []
    assert shard_times(tmp_path) == times


@pytest.mark.parametrize("missing", [[1], [0, 3]])
def test_only_missing_shards_are_scored_again(teacher, tokens, tmp_path, missing):
    first = scored(teacher, tokens, tmp_path)
    times = shard_times(tmp_path)
    for shard in missing:
        (tmp_path / f"logits-{shard:05d}.npy").unlink()
        del times[f"logits-{shard:05d}.npy"]
    teacher.asked = []
    np.testing.assert_array_equal(scored(teacher, tokens, tmp_path), first)
    assert [start // SHARD_ROWS for start, _ in teacher.asked] == missing
    assert times.items() < shard_times(tmp_path).items()


def test_a_stopped_scoring_goes_on_where_it_was(teacher, tokens, tmp_path):
    expected = scored(teacher, tokens, tmp_path / "uninterrupted")
    teacher.stop_at, teacher.asked = 16, []
    with pytest.raises(KeyboardInterrupt, match="^$"):
        scored(teacher, tokens, tmp_path / "stopped")
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == [
        "logits-00000.json",
        "logits-00000.npy",
        "logits-00001.json",
        "logits-00001.npy",
        "manifest.json",
    ]
    teacher.stop_at = None
    np.testing.assert_array_equal(scored(teacher, tokens, tmp_path / "stopped"), expected)
    assert teacher.asked == [(0, 8), (8, 16), (16, 24), (24, 27)]


def test_a_shard_cut_short_while_writing_is_not_taken(teacher, tokens, tmp_path, monkeypatch):
    def cut_short(path, logits):
        path.write_bytes(b"\x93NUMPY half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", cut_short)
        with pytest.raises(OSError, match="^No space left on device$"):
            scored(teacher, tokens, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    assert np.isfinite(scored(teacher, tokens, tmp_path)).all()


def test_a_shard_alone(teacher, tokens, tmp_path):
    store = Shards(tmp_path, "logits", NUM_ROWS)
    score_shard(teacher, tokens, store, 3)
    assert [path.name for path in tmp_path.glob("*.npy")] == ["logits-00003.npy"]
    shard = np.load(tmp_path / "logits-00003.npy")
    assert shard.shape == (3, 3)
    score_shard(teacher, tokens, store, 3)
    assert teacher.asked == [(24, 27)]
    # Another machine may have scored it: the rest is added.
    np.testing.assert_array_equal(scored(teacher, tokens, tmp_path)[24:], shard)
    assert teacher.asked == [(24, 27), (0, 8), (8, 16), (16, 24)]


def test_manifest_states_the_bytes_of_a_row(teacher, tokens, tmp_path):
    scored(teacher, tokens, tmp_path, "0123abcd")
    assert read_json(tmp_path / "manifest.json") == {
        "fingerprint": "0123abcd",
        "num_rows": 27,
        "num_outputs": 3,
        "shard_rows": 8,
        "bytes_per_row": 12,
    }
    headers = 4 * 128
    assert sum(path.stat().st_size for path in tmp_path.glob("*.npy")) == 27 * 12 + headers


def refused(teacher, tokens, folder, expected, received, fingerprint="mark"):
    message = (
        f"^Expected teacher logits with {re.escape(expected)} in {re.escape(str(folder))}/manifest."
        "json. "
        f"Received: {re.escape(received)}. Delete that folder to score again.$"
    )
    before = shard_times(folder)
    with pytest.raises(ArtifactError, match=message):
        scored(teacher, tokens, folder, fingerprint)
    assert shard_times(folder) == before


def test_another_fingerprint_is_refused(teacher, tokens, tmp_path):
    scored(teacher, tokens, tmp_path)
    refused(
        teacher, tokens, tmp_path, "fingerprint='other'", "fingerprint='mark'", fingerprint="other"
    )


@pytest.mark.parametrize("num_rows", [26, 28])
def test_another_number_of_rows_is_refused(teacher, tokens, tmp_path, num_rows):
    scored(teacher, tokens, tmp_path)
    refused(teacher, tokens_of(num_rows), tmp_path, f"num_rows={num_rows}", "num_rows=27")


def test_another_number_of_outputs_is_refused(teacher, model, tokens, tmp_path):
    scored(teacher, tokens, tmp_path)
    other = CountingClassifier(model, None, "single_label", ("a", "b", "c", "d"))
    refused(other, tokens, tmp_path, "num_outputs=4", "num_outputs=3")


def test_shards_of_another_size_are_refused(teacher, tokens, tmp_path, monkeypatch):
    scored(teacher, tokens, tmp_path)
    monkeypatch.setattr(shards, "SHARD_ROWS", 9)
    refused(teacher, tokens, tmp_path, "shard_rows=9", "shard_rows=8")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(teacher, tokens, tmp_path, bad):
    scored(teacher, tokens, tmp_path)
    shard = np.load(tmp_path / "logits-00001.npy")
    shard[2, 1], shard[5] = bad, bad
    np.save(tmp_path / "logits-00001.npy", shard)
    # As before there were seals.
    (tmp_path / "logits-00001.json").unlink()
    message = (
        f"^Expected 27 rows of finite teacher logits in {re.escape(str(tmp_path))}. Received: "
        r"shape \(27, 3\), 2 rows with NaN or infinity. Delete that folder to score again.$"
    )
    with pytest.raises(ArtifactError, match=message):
        scored(teacher, tokens, tmp_path)


def test_a_shard_of_too_few_rows_is_refused(teacher, tokens, tmp_path):
    scored(teacher, tokens, tmp_path)
    np.save(tmp_path / "logits-00003.npy", np.zeros((2, 3), np.float32))
    (tmp_path / "logits-00003.json").unlink()
    message = (
        f"^Expected 27 rows of finite teacher logits in {re.escape(str(tmp_path))}. Received: "
        r"shape \(26, 3\), 0 rows with NaN or infinity. Delete that folder to score again.$"
    )
    with pytest.raises(ArtifactError, match=message):
        scored(teacher, tokens, tmp_path)


def test_damaged_shards_and_manifest_are_told_and_made_anew(teacher, tokens, tmp_path):
    expected = scored(teacher, tokens, tmp_path)
    path, manifest = tmp_path / "logits-00001.npy", tmp_path / "manifest.json"
    np.save(path, np.load(path)[::-1])
    manifest.write_text(manifest.read_text().replace("27", "28"))
    teacher.asked, said = [], []
    progress = Progress(quiet=True)
    progress.say = said.append
    found = load_or_score(lambda: teacher, 3, tokens, tmp_path, "mark", progress)
    np.testing.assert_array_equal(found, expected)
    assert teacher.asked == [(8, 16)]
    assert said == [
        f"Expected {damaged} as tfkd wrote it. Received: another content. It is made anew."
        for damaged in (manifest, path)
    ]
    np.testing.assert_array_equal(scored(teacher, tokens, tmp_path), expected)
