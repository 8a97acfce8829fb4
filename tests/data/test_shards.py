"""Rows on disk: every row once, whole shards only, what is there is left alone."""

import numpy as np
import pytest

from tfkd.data import shards
from tfkd.data.shards import Shards, shard_of

NUM_ROWS = 10


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)


@pytest.fixture
def store(tmp_path):
    return Shards(tmp_path / "split", "numbers", NUM_ROWS)


def write_all(store, values):
    for shard in store.missing():
        store.write(shard, values[slice(*store.rows(shard))])


def test_shards_hold_2048_rows_in_files_that_count_from_zero(tmp_path, monkeypatch):
    monkeypatch.undo()
    store = Shards(tmp_path, "logits", 2 * 2048 + 1)
    assert [store.rows(shard) for shard in store.missing()] == [
        (0, 2048),
        (2048, 4096),
        (4096, 4097),
    ]
    assert store.path(2) == tmp_path / "logits-00002.npy"


@pytest.mark.parametrize(("num_rows", "count"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_every_row_is_in_one_shard(tmp_path, num_rows, count):
    store = Shards(tmp_path, "numbers", num_rows)
    assert store.count == count
    rows = [(shard, row) for shard in range(count) for row in range(*store.rows(shard))]
    assert [row for _, row in rows] == list(range(num_rows))
    for shard, row in rows:
        assert shard_of(row) == (shard, store.rows(shard)[0])


def test_rows_come_back_memory_mapped(store):
    values = np.arange(2 * NUM_ROWS, dtype=np.uint16).reshape(NUM_ROWS, 2)
    write_all(store, values)
    found = store.load()
    assert [len(part) for part in found] == [4, 4, 2]
    assert all(isinstance(part, np.memmap) and part.dtype == np.uint16 for part in found)
    np.testing.assert_array_equal(np.concatenate(found), values)
    assert sorted(path.name for path in store.folder.iterdir()) == [
        f"numbers-0000{shard}.{ending}" for shard in range(3) for ending in ("json", "npy")
    ]


def test_what_is_there_is_left_alone(store):
    write_all(store, np.zeros(NUM_ROWS))
    store.path(1).unlink()
    assert store.missing() == [1]
    for shard in range(3):
        store.write(shard, np.ones(4))
    assert [float(part.mean()) for part in store.load()] == [0.0, 1.0, 0.0]
    assert store.missing() == []


def test_a_shard_cut_short_is_not_there(store, monkeypatch):
    def cut_short(path, values):
        path.write_bytes(b"\x93NUMPY half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", cut_short)
    with pytest.raises(OSError, match="^No space left on device$"):
        store.write(0, np.zeros(4))
    assert list(store.folder.iterdir()) == []


def test_no_shard_is_unpickled(store):
    write_all(store, np.zeros(NUM_ROWS))
    np.save(store.path(0), np.array([{"a": "pickle"}]), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects in dtype"):
        store.load()


def test_the_same_rows_are_the_same_store(store):
    other = Shards(store.folder, store.name, NUM_ROWS)
    assert {store: "reader"}[other] == "reader"


def swapped(store):
    """Two shards, each whole, in the place of the other."""
    first, second = store.path(0).read_bytes(), store.path(1).read_bytes()
    store.path(0).write_bytes(second)
    store.path(1).write_bytes(first)


def permuted(store):
    np.save(store.path(1), np.load(store.path(1))[::-1])


def cut_off(store):
    store.path(1).write_bytes(store.path(1).read_bytes()[:-4])


def emptied(store):
    store.path(1).write_bytes(b"")


def without_record(store):
    """As before there were seals."""
    store.path(1).with_suffix(".json").unlink()
    emptied(store)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (swapped, [0, 1]),
        (permuted, [1]),
        (cut_off, [1]),
        (emptied, [1]),
        (without_record, [1]),
    ],
)
def test_damaged_shards_are_told_and_missing(store, damage, expected):
    write_all(store, np.arange(NUM_ROWS))
    store.remove_damaged(pytest.fail)
    damage(store)
    told = []
    store.remove_damaged(told.append)
    assert store.missing() == expected
    assert [line.split(" as tfkd wrote it. ")[0] for line in told] == [
        f"Expected {store.path(shard)}" for shard in expected
    ]
    write_all(store, np.arange(NUM_ROWS))
    store.remove_damaged(pytest.fail)
    np.testing.assert_array_equal(np.concatenate(store.load()), np.arange(NUM_ROWS))
