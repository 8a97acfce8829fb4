"""Held-out parts: disjoint, covering, stratified, seeded, in order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Example
from tfkd.data.holdout import Holdout, part_of_rows, strata
from tfkd.errors import DatasetError


def examples(labels):
    return [Example((f"row {row}",), label) for row, label in enumerate(labels)]


def test_strata_of_each_task():
    assert strata(examples([2, 0, 1]), SINGLE_LABEL).tolist() == [2, 0, 1]
    assert strata(examples([(1, 2), (), (0,)]), MULTI_LABEL).tolist() == [1, -1, 0]
    assert strata(examples([0.5, 4.0]), REGRESSION).tolist() == [0, 0]
    assert strata([], SINGLE_LABEL).tolist() == []


def test_shares_of_every_class():
    classes = np.repeat([0, 1, 2], [1000, 400, 20]).astype(np.int32)
    parts = part_of_rows(classes, [0.05], seed=3)
    assert np.bincount(classes[parts == 1]).tolist() == [50, 20, 1]


def test_largest_remainders_are_rounded_up():
    # A tenth of 14, 13 and 13 rows: 1.4, 1.3 and 1.3 make 4 in all.
    classes = np.repeat([0, 1, 2], [14, 13, 13]).astype(np.int32)
    parts = part_of_rows(classes, [0.1], seed=0)
    assert np.bincount(classes[parts == 1]).tolist() == [2, 1, 1]


@settings(deadline=None, max_examples=100)
@given(
    classes=st.lists(st.integers(-1, 5), min_size=12, max_size=200),
    fractions=st.lists(st.floats(0.01, 0.4), min_size=1, max_size=2),
    seed=st.integers(0, 1000),
)
def test_properties(classes, fractions, seed):
    array = np.array(classes, np.int32)
    counts = dict(zip(*np.unique(array, return_counts=True), strict=True))
    if sum(count - 1 for count in counts.values()) < 2 + len(array) * sum(fractions):
        return  # Too few rows to hold so many out.
    parts = part_of_rows(array, fractions, seed)
    assert parts.shape == array.shape
    assert set(parts.tolist()) == set(range(len(fractions) + 1))
    assert parts.tolist() == part_of_rows(array, fractions, seed).tolist()
    for part, fraction in enumerate(fractions, start=1):
        total = max(round(len(array) * fraction), 1)
        assert total - len(counts) <= (parts == part).sum() <= total
    for name in counts:
        assert ((array == name) & (parts == 0)).any()
    for name, count in counts.items():
        assert abs(((array == name) & (parts == 1)).sum() - count * fractions[0]) <= 2


def test_another_seed_gives_other_rows():
    classes = np.zeros(1000, np.int32)
    first, second = (part_of_rows(classes, [0.1], seed) for seed in (0, 1))
    assert first.sum() == second.sum() == 100
    assert (first != second).any()


def test_a_class_of_one_row_stays_in_train():
    classes = np.array([0] * 9 + [1], np.int32)
    for seed in range(20):
        assert part_of_rows(classes, [0.5], seed)[9] == 0


def test_too_few_rows():
    message = (
        r"^Expected rows enough to hold some out of train for validation\. Received: 2 rows of 2 "
        r"classes\. Add rows, or give a validation file\.$"
    )
    with pytest.raises(DatasetError, match=message):
        part_of_rows(np.array([0, 1], np.int32), [0.5], seed=0)


def test_parts_cover_every_row_once_and_keep_the_order():
    rows = examples([row % 3 for row in range(90)])
    holdout = Holdout(rows, SINGLE_LABEL, [0.1, 0.2], seed=5)
    parts = [list(holdout.part(index)) for index in range(3)]
    assert [len(part) for part in parts] == [63, 9, 18]
    assert sorted(row for part in parts for row in part) == sorted(rows)
    for part in parts:
        assert part == [row for row in rows if row in part]
    assert list(holdout.part(0)) == parts[0]


@pytest.mark.parametrize(
    ("num_rows", "held_out"), [(40, 6), (1_000, 150), (1_500, 150), (3_000, 150), (10_000, 500)]
)
def test_a_part_of_no_given_share_suits_the_number_of_rows(num_rows, held_out):
    rows = examples([row % 2 for row in range(num_rows)])
    holdout = Holdout(rows, SINGLE_LABEL, [None, 0.1], seed=0)
    parts = [len(list(holdout.part(index))) for index in range(3)]
    assert parts == [num_rows - held_out - num_rows // 10, held_out, num_rows // 10]


@pytest.mark.parametrize(("after", "received"), [(9, "9"), (11, "11 or more")])
def test_rows_that_change_in_between_are_noticed(after, received):
    rows = examples([0, 1] * 5)
    holdout = Holdout(rows, SINGLE_LABEL, [0.2], seed=0)
    list(holdout.part(1))
    rows[:] = examples([0, 1] * 6)[:after]
    message = rf"^Expected 10 rows as in the first pass over train\. Received: {received}\. "
    with pytest.raises(DatasetError, match=message):
        list(holdout.part(0))
