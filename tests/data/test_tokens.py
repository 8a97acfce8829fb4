import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfkd.artifacts import write_json
from tfkd.data import tokens as tokens_module
from tfkd.data.examples import Example
from tfkd.data.tokens import Tokens, kept, label_array, write
from tfkd.errors import ArtifactError
from tfkd.progress import Progress

PADDING_ID = 1
START, END = 2, 3


def encode(texts):
    """A token a letter, between start and end; pairs with an end after each text."""
    parts = [[text] if isinstance(text, str) else list(text) for text in texts]
    rows = [[START, *[i for part in row for i in [*map(ord, part), END]]] for row in parts]
    length = max(map(len, rows))
    arrays = {
        "token_ids": [row + [PADDING_ID] * (length - len(row)) for row in rows],
        "padding_mask": [[1] * len(row) + [0] * (length - len(row)) for row in rows],
    }
    if len(parts[0]) == 2:
        arrays["segment_ids"] = [
            [int(len(part[0]) + 2 <= i < len(row)) for i in range(length)]
            for part, row in zip(parts, rows, strict=True)
        ]
    return {name: np.array(values, np.int32) for name, values in arrays.items()}


def singles(*texts):
    return [Example((text,), index % 2) for index, text in enumerate(texts)]


def written(folder, split, task="single_label", num_outputs=2, encode=encode):
    return write(folder, split, encode, task, num_outputs, "mark", (Progress(True), len(split)))


def test_single_texts(tmp_path):
    found = written(tmp_path / "train", singles("ab", "c", "defgh"))
    assert len(found) == 3
    assert found.lengths.tolist() == [4, 3, 7]
    assert found.offsets.tolist() == [0, 4, 7, 14]
    assert found.boundaries.tolist() == [4, 3, 7]
    assert found.labels.tolist() == [0, 1, 0]
    assert (found.padding_id, found.fingerprint) == (PADDING_ID, "mark")
    assert found.token_ids.tolist() == [2, 97, 98, 3, 2, 99, 3, 2, 100, 101, 102, 103, 104, 3]
    assert [found.token_ids.dtype, found.offsets.dtype] == [np.int32, np.int64]
    assert [found.boundaries.dtype, found.labels.dtype] == [np.int32, np.int32]


def test_arrays_of_single_texts(tmp_path):
    found = written(tmp_path / "train", singles("ab", "c", "defgh")).arrays(np.array([1, 0]))
    assert found["token_ids"].tolist() == [[2, 99, 3, 1, 1, 1, 1, 1], [2, 97, 98, 3, 1, 1, 1, 1]]
    assert found["padding_mask"].tolist() == [[1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]
    assert found["segment_ids"].tolist() == [[0] * 8] * 2
    assert {array.dtype.name for array in found.values()} == {"int32"}


def test_arrays_of_pairs(tmp_path):
    split = [Example(("a", "bc"), 0), Example(("def", "g"), 1)]
    tokens = written(tmp_path / "train", split)
    assert tokens.boundaries.tolist() == [3, 5]
    found = tokens.arrays(np.array([0, 1]))
    assert found["token_ids"].tolist() == [
        [2, 97, 3, 98, 99, 3, 1, 1],
        [2, 100, 101, 102, 3, 103, 3, 1],
    ]
    assert found["segment_ids"].tolist() == [[0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]]
    assert found["padding_mask"].sum(axis=1).tolist() == [6, 7]


@pytest.mark.parametrize(("multiple", "width"), [(1, 9), (2, 10), (8, 16), (9, 9), (32, 32)])
def test_width_is_the_longest_row_rounded_up(tmp_path, multiple, width):
    tokens = written(tmp_path / "train", singles("a", "abcdefg"))
    assert tokens.arrays(np.array([0, 1]), multiple)["token_ids"].shape == (2, width)


def test_rows_of_full_width_need_no_padding(tmp_path):
    tokens = written(tmp_path / "train", singles("abcdef", "ghijkl"))
    found = tokens.arrays(np.array([1, 0]))
    assert found["token_ids"].tolist() == [[2, *map(ord, "ghijkl"), 3], [2, *map(ord, "abcdef"), 3]]
    assert found["padding_mask"].min() == 1


def test_loaded_tokens_are_the_written_ones_and_lie_on_disk(tmp_path):
    before = written(tmp_path / "train", singles("ab", "c", "defgh"))
    after = Tokens.load(tmp_path / "train", "mark")
    assert isinstance(after.token_ids, np.memmap)
    for name in ("token_ids", "offsets", "boundaries", "labels"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.padding_id == PADDING_ID


ROWS = st.lists(
    st.tuples(st.lists(st.integers(4, 2**31 - 1), min_size=1, max_size=20), st.integers(0, 20)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40)
@given(ROWS, st.integers(1, 5), st.data())
def test_any_rows_come_back(rows, chunk_rows, data):
    """`texts` name the rows, whose tokens and boundaries are arbitrary."""

    def encode_rows(names):
        chosen = [rows[int(name)] for name in names]
        length = max(len(ids) for ids, _ in chosen) + 2
        columns = np.arange(length)
        lengths = np.array([len(ids) for ids, _ in chosen])[:, None]
        token_ids = np.full((len(chosen), length), PADDING_ID, np.int64)
        for row, (ids, _) in enumerate(chosen):
            token_ids[row, : len(ids)] = ids
        second = columns >= np.array([boundary for _, boundary in chosen])[:, None]
        mask = columns < lengths
        return {"token_ids": token_ids, "padding_mask": mask, "segment_ids": second & mask}

    split = [Example((str(index),), index) for index in range(len(rows))]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens_module, "CHUNK_ROWS", chunk_rows)
        tokens = written(Path(folder) / "train", split, encode=encode_rows)
        chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
        found = tokens.arrays(np.array(chosen))
        assert tokens.labels.tolist() == list(range(len(rows)))
    for row, index in enumerate(chosen):
        ids, boundary = rows[index]
        length = len(ids)
        assert found["token_ids"][row, :length].tolist() == ids
        assert (found["token_ids"][row, length:] == PADDING_ID).all()
        assert found["padding_mask"][row].tolist() == [1] * length + [0] * (
            found["padding_mask"].shape[1] - length
        )
        assert found["segment_ids"][row, :length].tolist() == [
            int(i >= boundary) for i in range(length)
        ]
        assert found["segment_ids"][row, length:].sum() == 0


def test_many_rows_pass_through_in_chunks(tmp_path):
    sizes = []

    def counting(texts):
        sizes.append(len(texts))
        return encode(texts)

    split = singles(*("x" * (index % 7) for index in range(1100)))
    tokens = written(tmp_path / "train", split, encode=counting)
    assert sizes == [512, 512, 76]
    assert tokens.lengths.tolist() == [index % 7 + 2 for index in range(1100)]


@pytest.mark.parametrize(
    ("task", "labels", "expected", "dtype"),
    [
        ("single_label", [2, 0, 1], [2, 0, 1], "int32"),
        ("regression", [0.5, -1, 3], [0.5, -1.0, 3.0], "float32"),
        ("multi_label", [(0, 2), (), (1,)], [[1, 0, 1], [0, 0, 0], [0, 1, 0]], "uint8"),
    ],
)
def test_labels(tmp_path, task, labels, expected, dtype):
    found = label_array(labels, task, 3)
    assert found.tolist() == expected
    assert found.dtype == dtype
    split = [Example((text,), label) for text, label in zip("abc", labels, strict=True)]
    stored = written(tmp_path / "train", split, task, 3).labels
    assert stored.tolist() == expected
    assert stored.dtype == dtype


def test_other_tokens_than_those_asked_for(tmp_path):
    folder = tmp_path / "train"
    written(folder, singles("ab"))
    message = (
        f"^Expected tokens other in {re.escape(str(folder))}/manifest.json. Received: mark. Delete "
        "that folder.$"
    )
    with pytest.raises(ArtifactError, match=message):
        Tokens.load(folder, "other")


def test_missing_tokens(tmp_path):
    path = tmp_path / "train" / "manifest.json"
    with pytest.raises(ArtifactError, match=f"^Expected the file {re.escape(str(path))}. It does"):
        Tokens.load(tmp_path / "train", "mark")


def test_nothing_half_written_stays(tmp_path):
    folder = tmp_path / "train"

    def failing(texts):
        if "x" in texts:
            raise RuntimeError("out of letters")
        return encode(texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens_module, "CHUNK_ROWS", 2)
        with pytest.raises(RuntimeError, match="^out of letters$"):
            written(folder, singles("ab", "c", "d", "x"), encode=failing)
    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_what_was_there(tmp_path):
    folder = tmp_path / "train"
    written(folder, singles("ab", "c"))
    write_json(folder / "stray.json", {})
    assert written(folder, singles("xyz")).lengths.tolist() == [5]
    # What tfkd did not write stays.
    assert (folder / "stray.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def permuted(path):
    path.write_bytes(path.read_bytes()[::-1])


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-4])


def emptied(path):
    path.write_bytes(b"")


FILES = ("token_ids.int32", "offsets.npy", "boundaries.npy", "labels.npy")


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("damage", [permuted, cut_off, emptied, Path.unlink])
def test_damaged_tokens_are_told_and_not_taken(name, damage, tmp_path):
    written(tmp_path / "train", singles("ab", "c", "def"))
    assert kept(tmp_path / "train", "mark", pytest.fail) is not None
    assert kept(tmp_path / "none", "mark", pytest.fail) is None
    damage(tmp_path / "train" / name)
    told = []
    assert kept(tmp_path / "train", "mark", told.append) is None
    (line,) = told
    assert str(tmp_path / "train" / name) in line
    # In their place, others are written.
    written(tmp_path / "train", singles("ab", "c", "def"))
    assert len(kept(tmp_path / "train", "mark", pytest.fail)) == 3


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut_off, emptied])
def test_tokens_of_before_that_were_cut_short(name, damage, tmp_path):
    written(tmp_path / "train", singles("ab", "c", "def"))
    write_json(
        tmp_path / "train" / "manifest.json", {"fingerprint": "mark", "padding_id": PADDING_ID}
    )
    assert len(Tokens.load(tmp_path / "train", "mark")) == 3
    damage(tmp_path / "train" / name)
    message = (
        f"^Expected tokens in {tmp_path / 'train'}. They cannot be read: .+ Delete that folder.$"
    )
    with pytest.raises(ArtifactError, match=message):
        Tokens.load(tmp_path / "train", "mark")
