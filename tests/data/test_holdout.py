"""Held-out parts: disjoint, covering, stratified, seeded, in order, and by the texts alone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.messages import exactly
from tfkd.data import holdout
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Example
from tfkd.data.holdout import Holdout, TextGroups, score_bins, strata
from tfkd.errors import DatasetError

SPLITS = ("train", "validation", "test")


def examples(labels):
    return [Example((f"row {row}",), label) for row, label in enumerate(labels)]


def hashes(num_rows, seed=0):
    return np.random.default_rng(seed).integers(0, 2**63, num_rows).astype(np.uint64)


def part_of_rows(places, classes, fractions):
    return holdout.part_of_rows(TextGroups.of(places, classes), fractions)


def split(rows, task=SINGLE_LABEL, validation=None, test=None, seed=0):
    parts = Holdout(rows, task, {"validation": validation, "test": test}, seed).splits()
    return {name: list(part) for name, part in parts.items()}


def texts(rows):
    return {" ".join(row.texts[0].casefold().split()) for row in rows}


def test_strata_of_each_task():
    assert strata(examples([2, 0, 1]), SINGLE_LABEL).tolist() == [2, 0, 1]
    assert strata(examples([0.5, 4.0]), REGRESSION).tolist() == [0, 0]
    # 0 is in three rows, 1 in two, 2 in one; no label is in one.
    labels = [(0, 1), (), (0,), (0, 1, 2)]
    assert strata(examples(labels), MULTI_LABEL).tolist() == [1, -1, 0, 2]
    for task in (SINGLE_LABEL, MULTI_LABEL, REGRESSION):
        assert strata([], task).tolist() == []


def test_bins_of_scores():
    rows = examples([float(row) for row in range(200)])
    assert score_bins(rows).tolist() == [part for part in range(10) for _ in range(20)]
    assert score_bins(rows[:50]).tolist() == [0] * 25 + [1] * 25
    assert score_bins(examples([5.0] * 300)).tolist() == [0] * 300


def test_shares_of_every_class():
    classes = np.repeat([0, 1, 2], [1000, 400, 20])
    parts = part_of_rows(hashes(1420), classes, [0.05, 0.1])
    assert np.bincount(classes[parts == 1]).tolist() == [50, 20, 1]
    assert np.bincount(classes[parts == 2]).tolist() == [100, 40, 2]


def test_largest_remainders_are_rounded_up_and_first_those_of_classes_without_a_row():
    # A tenth of 14, 13 and 13 rows: 1.4, 1.3 and 1.3 make 4 in all.
    classes = np.repeat([0, 1, 2], [14, 13, 13])
    assert np.bincount(classes[part_of_rows(hashes(40), classes, [0.1]) == 1]).tolist() == [2, 1, 1]
    # Of 17, 18 and 5 rows: 1.7, 1.8 and 0.5.
    classes = np.repeat([0, 1, 2], [17, 18, 5])
    assert np.bincount(classes[part_of_rows(hashes(40), classes, [0.1]) == 1]).tolist() == [1, 2, 1]


WORDS = ("Oil", "oil ", " gas", "Gas", "rain")


def drawn_rows(task, num_rows, random):
    """Rows of which some have equal texts, if not in writing."""
    of_words = random.integers(0, len(WORDS), num_rows)
    numbers, kinds = random.integers(0, 10_000, num_rows), random.integers(0, 4, num_rows)
    labels = {
        SINGLE_LABEL: [int(kind) for kind in kinds],
        MULTI_LABEL: [tuple(range(int(kind), 3)) for kind in kinds],
        REGRESSION: [number / 2_000 for number in numbers],
    }[task]
    rows = zip(of_words, numbers, labels, strict=True)
    return [
        Example((WORDS[word] if number % 4 == 0 else str(number),), label)
        for word, number, label in rows
    ]


seeds = st.integers(0, 10**6)
shares = st.sampled_from([None, 0.02, 0.1, 0.3, 0.4])


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL, REGRESSION])
@settings(max_examples=30)
@given(num_rows=st.integers(40, 150), validation=shares, test=shares, seed=seeds)
def test_every_row_is_in_one_split_and_no_text_in_two(task, num_rows, validation, test, seed):
    rows = drawn_rows(task, num_rows, np.random.default_rng(seed))
    parts = split(rows, task, validation, test, seed)
    assert Counter(sum(parts.values(), [])) == Counter(rows)
    seen = [texts(part) for part in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen))
    assert all(seen)
    # The same seed, the same split, in whatever order the rows stand.
    again = split(rows[::-1], task, validation, test, seed)
    assert {name: part[::-1] for name, part in again.items()} == parts


@settings(max_examples=60)
@given(
    num_texts=st.integers(20, 200),
    most_equal=st.integers(1, 6),
    fractions=st.lists(st.floats(0.01, 0.4), min_size=1, max_size=2),
    seed=seeds,
)
def test_each_class_has_its_share_in_each_part(num_texts, most_equal, fractions, seed):
    """Within a row, and where texts are equal half of what is taken more; of few texts none."""
    random = np.random.default_rng(seed)
    times = random.integers(1, most_equal + 1, num_texts)
    kinds = random.choice(6, num_texts, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    classes = np.repeat(kinds, times)
    try:
        parts = part_of_rows(np.repeat(hashes(num_texts, seed), times), classes, fractions)
    except DatasetError:
        # All texts have more rows than a part takes.
        assert most_equal > 1 and len(classes) * min(fractions) < most_equal
        return
    for name in np.unique(classes):
        found = np.bincount(parts[classes == name], minlength=3)
        assert found[0] > 0
        if (kinds == name).sum() < 3:
            assert found[1] == found[2] == 0
            continue
        for held_out, fraction in zip(found[1:], fractions, strict=False):
            wanted = found.sum() * fraction
            if most_equal == 1:
                assert min(wanted, found.sum() - 2) - 1 <= held_out < wanted + 1
            else:
                assert held_out < 1.5 * (wanted + 1)


@settings(max_examples=60)
@given(
    num_rows=st.integers(60, 300),
    added=st.integers(1, 60),
    validation=shares,
    test=shares,
    seed=seeds,
)
def test_rows_that_are_added_move_few(num_rows, added, validation, test, seed):
    """At each of the two edges of a class at most as many as were added to it, and one more."""
    labels = np.random.default_rng(seed).choice(4, num_rows + added, p=[0.6, 0.2, 0.15, 0.05])
    rows = examples([int(label) for label in labels])
    before, after = (
        {row: name for name, part in parts.items() for row in part}
        for parts in (
            split(some, SINGLE_LABEL, validation, test, seed) for some in (rows[:num_rows], rows)
        )
    )
    moved = sum(after[row] != name for row, name in before.items())
    assert moved <= 2 * (added + 4)


def test_a_twentieth_more_rows_move_a_hundredth():
    labels = [row % 5 for row in range(843)]
    parts = [split(examples(labels[:count])) for count in (803, 843)]
    before, after = ({row: name for name in one for row in one[name]} for one in parts)
    assert Counter(before.values()) == {"train": 522, "validation": 120, "test": 161}
    assert sum(after[row] != name for row, name in before.items()) == 8


def test_the_share_of_one_part_moves_no_row_of_the_other():
    rows = examples([row % 3 for row in range(200)])
    first, second = (split(rows, validation=0.1, test=share) for share in (0.1, 0.3))
    assert first["validation"] == second["validation"]
    assert set(first["test"]) < set(second["test"])


def test_another_seed_gives_other_rows():
    first, second = (split(examples([0] * 1000), test=0.1, seed=seed) for seed in (0, 1))
    assert len(first["test"]) == len(second["test"]) == 100
    # About as many in both as chance puts there: a tenth of a hundred.
    assert len(set(first["test"]) & set(second["test"])) == 7


def test_golden_rows():
    # Of any process: the split of a run is read again by those that come after it.
    found = [row.texts[0] for row in split(examples([0, 1] * 50), test=0.05)["test"]]
    assert found == ["row 5", "row 8", "row 46", "row 48", "row 65"]


@pytest.mark.parametrize("num_rows", [1, 2])
def test_a_class_of_one_or_two_rows_stays_in_train(num_rows):
    classes = np.array([0] * 9 + [1] * num_rows)
    for seed in range(20):
        assert part_of_rows(hashes(len(classes), seed), classes, [0.4, 0.4])[9:].max() == 0


def test_two_rows_of_one_text_are_no_third_text():
    classes = np.array([0] * 9 + [1] * 3)
    places = hashes(12)
    places[10] = places[11]
    assert part_of_rows(places, classes, [0.4, 0.4])[9:].max() == 0


def test_equal_texts_count_for_the_class_of_most_rows():
    places = np.array([7, 7, 7, 3, 3, 9], np.uint64)
    groups = TextGroups.of(places, np.array([2, 1, 2, 4, 1, 0]))
    assert groups.of_rows.tolist() == [1, 1, 1, 0, 0, 2]
    assert groups.sizes.tolist() == [2, 3, 1]
    assert groups.classes.tolist() == [1, 2, 0]


def test_a_text_of_more_rows_than_a_part_takes_stays_in_train():
    places = np.concatenate([np.full(100, 2**62, np.uint64), hashes(100)])
    for seed in range(10):
        parts = part_of_rows(places + np.uint64(seed << 60), np.zeros(200, int), [0.15, 0.2])
        assert parts[:100].max() == 0
        assert np.bincount(parts).tolist() == [130, 30, 40]


def test_a_class_whose_texts_are_all_held_out_keeps_the_most_frequent():
    # Shares of 3 and 2 rows take the texts of 1 and 3 rows from one end, of 2 from the other.
    places = np.array([1, 2, 2, 2, 3, 3], np.uint64)
    assert part_of_rows(places, np.zeros(6, int), [0.5, 0.34]).tolist() == [1, 0, 0, 0, 2, 2]


@settings(max_examples=20)
@given(num_rows=st.integers(60, 200), num_folds=st.integers(2, 10), seed=seeds)
def test_folds_take_turns_as_test(num_rows, num_folds, seed):
    """Every row is tested once, but for the only text of a class; classes have their share."""
    rows = drawn_rows(SINGLE_LABEL, num_rows, np.random.default_rng(seed)) + [Example(("!",), 4)]
    tested = Counter()
    for fold in range(1, num_folds + 1):
        found = Holdout(
            rows, SINGLE_LABEL, {"validation": 0.2, "test": None}, seed, (fold, num_folds)
        )
        parts = {name: list(part) for name, part in found.splits().items()}
        assert Counter(sum(parts.values(), [])) == Counter(rows)
        seen = [texts(part) for part in parts.values()]
        assert sum(map(len, seen)) == len(set.union(*seen))
        tested.update(parts["test"])
        # A fold's texts of a class are a share of them, within one.
        labels = Counter(
            {row.texts[0]: row.label for row in rows if row.texts[0].isdigit()}.values()
        )
        of_fold = Counter({row.texts[0]: row.label for row in parts["test"]}.values())
        for label in range(4):
            assert abs(of_fold[label] - labels[label] / num_folds) <= 1 + len(WORDS)
    assert tested == Counter(rows[:-1])


def test_too_few_rows():
    message = (
        "Expected 3 different texts of a class or more, to hold some out of train. Received: 4 "
        "rows of 2 classes. Add rows, or give files for validation and test."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        part_of_rows(hashes(4), np.array([0, 1, 0, 1]), [0.5])
    with pytest.raises(DatasetError, match=exactly(message.replace("4 rows of 2", "0 rows of 0"))):
        part_of_rows(hashes(0), np.array([], int), [0.5])


def test_parts_cover_every_row_once_and_keep_the_order():
    rows = examples([row % 3 for row in range(90)])
    found = Holdout(rows, SINGLE_LABEL, {"validation": 0.1, "test": 0.2}, seed=5)
    parts = {name: list(part) for name, part in found.splits().items()}
    assert {name: len(part) for name, part in parts.items()} == dict(
        zip(SPLITS, (63, 9, 18), strict=True)
    )
    assert sorted(row for part in parts.values() for row in part) == sorted(rows)
    for part in parts.values():
        assert part == [row for row in rows if row in part]
    assert list(found.splits()["train"]) == parts["train"]


@pytest.mark.parametrize(
    ("num_rows", "validation", "test"),
    [(40, 6, 8), (803, 120, 161), (1_500, 150, 300), (8_000, 400, 1_000), (30_000, 1_500, 1_500)],
)
def test_a_part_of_no_given_share_suits_the_number_of_rows(num_rows, validation, test):
    parts = split(examples([row % 2 for row in range(num_rows)]))
    assert [len(parts[name]) for name in SPLITS[1:]] == [validation, test]


@pytest.mark.parametrize(("after", "received"), [(9, "9"), (11, "11 or more")])
def test_rows_that_change_in_between_are_noticed(after, received):
    rows = examples([0, 1] * 5)
    train, test = Holdout(rows, SINGLE_LABEL, {"test": 0.2}, seed=0).splits().values()
    list(test)
    rows[:] = examples([0, 1] * 6)[:after]
    message = rf"^Expected 10 rows as in the first pass over train\. Received: {received}\. "
    with pytest.raises(DatasetError, match=message):
        list(train)
