import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfkd.data.batching import POOL_BATCHES, Batches, scoring_batches
from tfkd.data.tokens import Tokens

NAMES = ("token_ids", "padding_mask")


def tokens_of(lengths, labels=None):
    """Rows whose tokens all are their own number."""
    lengths = np.asarray(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.arange(len(lengths))
    labels = rows.astype(np.int32) if labels is None else labels
    boundaries = (lengths // 2).astype(np.int32)
    ids = np.repeat(rows, lengths).astype(np.int32)
    return Tokens(ids, offsets, boundaries, labels, padding_id=-1, fingerprint="mark")


def random_tokens(rows, seed=0, longest=60):
    return tokens_of(np.random.default_rng(seed).integers(1, longest + 1, rows))


def row_lists(batches, epoch):
    return [rows.tolist() for rows in batches.rows(epoch)]


def as_lists(dataset):
    """Batches as plain lists, for comparison."""
    return [
        ({name: values.tolist() for name, values in inputs.items()}, labels.tolist())
        for inputs, labels in dataset.as_numpy_iterator()
    ]


def padding_share(tokens, batches):
    masks = [tokens.arrays(rows)["padding_mask"] for rows in batches]
    return 1 - sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)


SIZES = st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32), st.integers(0, 50)


@settings(max_examples=60)
@given(*SIZES)
def test_every_row_once_an_epoch(num_rows, batch_size, seed, epoch):
    batches = Batches(random_tokens(num_rows), NAMES, batch_size, seed)
    found = row_lists(batches, epoch)
    assert sorted(row for rows in found for row in rows) == list(range(num_rows))
    assert len(found) == batches.steps_per_epoch == -(-num_rows // batch_size)
    # All batches are full but one, which has what is left.
    left = num_rows % batch_size
    assert sorted(map(len, found)) == [left] * bool(left) + [batch_size] * (num_rows // batch_size)


def test_every_row_once_over_several_pools():
    num_rows = 2 * POOL_BATCHES * 4 + 7
    batches = Batches(random_tokens(num_rows), NAMES, 4)
    found = row_lists(batches, 0)
    assert sorted(row for rows in found for row in rows) == list(range(num_rows))
    assert sorted(map(len, found)) == [3] + [4] * (2 * POOL_BATCHES + 1)
    assert batches.steps_per_epoch == len(found)


def test_order_depends_on_seed_and_epoch_alone():
    tokens = random_tokens(90)
    first, again = (Batches(tokens, NAMES, 4, seed=3) for _ in range(2))
    later = row_lists(first, 1)
    assert row_lists(again, 0) == row_lists(first, 0)
    assert row_lists(again, 1) == later
    assert later != row_lists(first, 0)
    assert row_lists(Batches(tokens, NAMES, 4, seed=4), 0) != row_lists(first, 0)


def test_control_and_distilled_arm_see_the_same_batches():
    tokens = random_tokens(90)
    logits = np.zeros((90, 3), np.float32)
    distilled = Batches(tokens, NAMES, 4, seed=3, teacher_logits=logits)
    assert row_lists(distilled, 2) == row_lists(Batches(tokens, NAMES, 4, seed=3), 2)


def test_batch_holds_padded_rows_and_their_labels():
    tokens = tokens_of([3, 9, 3], labels=np.array([5, 6, 7], np.int32))
    batches = Batches(tokens, ("token_ids", "padding_mask", "segment_ids"), 2)
    found = as_lists(batches.dataset(0))
    assert len(found) == 2
    for rows, (inputs, labels) in zip(batches.rows(0), found, strict=True):
        expected = tokens.arrays(rows)
        assert sorted(inputs) == ["padding_mask", "segment_ids", "token_ids"]
        for name, values in inputs.items():
            assert values == expected[name].tolist()
        assert labels == [5 + row for row in rows]


@pytest.mark.parametrize("names", [("token_ids",), ("padding_mask", "token_ids")])
def test_only_the_inputs_the_model_takes(names):
    dataset = Batches(random_tokens(5), names, 2).dataset(0)
    assert sorted(dataset.element_spec[0]) == sorted(names)
    assert all(sorted(inputs) == sorted(names) for inputs, _ in as_lists(dataset))


@pytest.mark.parametrize("first_step", [0, 1, 7, 9, 10])
def test_a_later_start_is_the_tail_of_the_epoch(first_step):
    batches = Batches(random_tokens(39), NAMES, 4, seed=1)
    whole = as_lists(batches.dataset(5))
    assert len(whole) == 10
    assert as_lists(batches.dataset(5, first_step)) == whole[first_step:]


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.integers(0, 9), st.integers(1, 8))
def test_logits_and_labels_are_joined_to_their_rows(seed, epoch, batch_size):
    num_rows = 23
    logits = np.stack([np.arange(num_rows), -np.arange(num_rows)], axis=1).astype(np.float32)
    batches = Batches(random_tokens(num_rows), NAMES, batch_size, seed, logits)
    seen = []
    for inputs, targets in batches.dataset(epoch).as_numpy_iterator():
        rows = inputs["token_ids"][:, 0]
        assert sorted(targets) == ["label", "teacher_logits"]
        assert targets["label"].tolist() == rows.tolist()
        assert targets["teacher_logits"].tolist() == [[row, -row] for row in rows]
        seen += rows.tolist()
    assert sorted(seen) == list(range(num_rows))


def test_rows_without_an_answer_are_marked_and_those_without_a_label_as_well_left_out():
    logits = np.zeros((7, 2), np.float32)
    logits[[1, 4, 6]] = np.nan
    batches = Batches(tokens_of([3] * 7), NAMES, 3, 0, logits, num_labelled=4, num_examples=10)
    rows = np.concatenate(batches.rows(0))
    assert sorted(np.unique(rows, return_counts=True)[1]) == [2] * 5
    assert set(rows) == {0, 1, 2, 3, 5}
    for _, targets in batches.dataset(0).as_numpy_iterator():
        np.testing.assert_array_equal(targets["is_labelled"], targets["label"] < 4)
        np.testing.assert_array_equal(targets["is_answered"], targets["label"] != 1)
        np.testing.assert_array_equal(
            np.isnan(targets["teacher_logits"][:, 0]), targets["label"] == 1
        )
    # Labelled ones are all kept.
    assert set(np.concatenate(Batches(tokens_of([3] * 7), NAMES, 3, 0, logits).rows(0))) == {
        *range(7)
    }


def test_rows_behind_the_labelled_ones_are_marked():
    logits = np.zeros((7, 2), np.float32)
    batches = Batches(tokens_of([3] * 7), NAMES, 3, 0, logits, num_labelled=4)
    for _, targets in batches.dataset(0).as_numpy_iterator():
        np.testing.assert_array_equal(targets["is_labelled"], targets["label"] < 4)
    assert (
        "is_labelled"
        not in next(
            Batches(tokens_of([3] * 7), NAMES, 3, 0, logits).dataset(0).as_numpy_iterator()
        )[1]
    )


def test_repeated_rows_occur_equally_often_in_as_many_steps():
    repeated = Batches(random_tokens(10), NAMES, 4, num_examples=30)
    assert repeated.steps_per_epoch == Batches(random_tokens(30), NAMES, 4).steps_per_epoch == 8
    for epoch in range(3):
        rows = np.concatenate(repeated.rows(epoch))
        np.testing.assert_array_equal(np.bincount(rows), np.full(10, 3))


def test_rows_that_occur_once_more_are_others_each_epoch():
    repeated = Batches(random_tokens(10), NAMES, 4, num_examples=24)
    assert repeated.steps_per_epoch == 6
    counts = [np.bincount(np.concatenate(repeated.rows(epoch))) for epoch in range(20)]
    for count in counts:
        np.testing.assert_array_equal(np.sort(count), [2] * 6 + [3] * 4)
    assert len({tuple(count) for count in counts}) > 10
    assert np.sum(counts, axis=0).min() > 2 * 20


@pytest.mark.parametrize(
    "labels",
    [np.zeros(5, np.int32), np.zeros(5, np.float32), np.eye(5, 3).astype(np.uint8)],
    ids=["single_label", "regression", "multi_label"],
)
def test_labels_keep_shape_and_type(labels):
    batches = Batches(tokens_of([1, 2, 3, 4, 5], labels), NAMES, 2)
    for rows, (_, found) in zip(batches.rows(0), batches.dataset(0), strict=True):
        np.testing.assert_array_equal(found, labels[rows])
        assert found.dtype == labels.dtype.name


def test_no_thread_tunes_what_has_nothing_to_tune():
    """TensorFlow would let go of a long epoch only when its tuner wakes, up to 60 s later."""
    dataset = Batches(tokens_of([3, 5]), NAMES, 2).dataset(0)
    assert dataset.options().autotune.enabled is False


def test_rows_of_like_length_share_a_batch():
    tokens = random_tokens(800, longest=128)
    batches = Batches(tokens, NAMES, 16)
    shuffled = np.random.default_rng(0).permutation(800).reshape(-1, 16)
    ours, by_chance = padding_share(tokens, batches.rows(0)), padding_share(tokens, shuffled)
    assert by_chance > 0.4
    # What is left is mostly the rounding of widths up to a multiple of 8.
    assert ours < 0.09
    lengths = tokens.lengths
    assert max(np.ptp(lengths[rows]) for rows in batches.rows(0)) < 10


def test_long_batches_come_at_any_time():
    tokens = random_tokens(800, longest=128)
    batches = Batches(tokens, NAMES, 16)
    found = []
    for epoch in range(30):
        widths = [tokens.lengths[rows].mean() for rows in batches.rows(epoch)]
        found.append(np.corrcoef(widths, np.arange(len(widths)))[0, 1])
    # By chance one epoch's is 0.14, the mean of 30 epochs 0.026.
    assert abs(np.mean(found)) < 0.1


def test_logits_of_another_number_of_rows():
    message = "^Expected one row of teacher logits for each of 5 examples. Received: 4 rows.$"
    with pytest.raises(ValueError, match=message):
        Batches(random_tokens(5), NAMES, 2, teacher_logits=np.zeros((4, 2), np.float32))


@settings(max_examples=40)
@given(st.integers(0, 15), st.integers(1, 15), st.integers(1, 9))
def test_scoring_covers_each_row_once_shortest_first(start, count, batch_size):
    tokens = random_tokens(30, seed=start)
    found = list(scoring_batches(tokens, NAMES, start, start + count, batch_size))
    rows = np.concatenate([rows for rows, _ in found])
    assert sorted(rows) == list(range(start, start + count))
    assert (np.diff(tokens.lengths[rows]) >= 0).all()
    assert [len(rows) for rows, _ in found[:-1]] == [batch_size] * (len(found) - 1)
    for rows, inputs in found:
        assert list(inputs) == list(NAMES)
        assert inputs["token_ids"][:, 0].tolist() == rows.tolist()
        assert inputs["padding_mask"].sum(axis=1).tolist() == tokens.lengths[rows].tolist()
