"""So many rows of train: the first where they are a fair part, else a stratified sample."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfkd.data import sources
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Example
from tfkd.data.holdout import chosen_rows, sample


def examples(labels):
    return [Example((f"row {row}",), label) for row, label in enumerate(labels)]


def test_a_file_sorted_by_class_gives_every_class_its_share():
    rows = examples([0] * 120 + [1] * 60 + [2] * 20)
    found = sample(rows, SINGLE_LABEL, 100, seed=0)
    assert not found.is_first_rows
    assert Counter(row.label for row in found) == {0: 60, 1: 30, 2: 10}
    assert list(found) == [row for row in rows if row in set(found)] == list(found)
    assert list(sample(rows, SINGLE_LABEL, 100, seed=0)) == list(found)
    assert list(sample(rows, SINGLE_LABEL, 100, seed=1)) != list(found)


@pytest.mark.parametrize("num_rows", [1, 2, 5, 10, 99])
@pytest.mark.parametrize("counts", [(50, 50), (5, 95), (95, 5), (40, 30, 30)])
def test_of_any_sorted_file_no_class_is_missing_that_has_a_share(num_rows, counts):
    classes = np.repeat(np.arange(len(counts)), counts)
    chosen = chosen_rows(classes, num_rows, seed=3)
    assert chosen.sum() == num_rows
    found = np.bincount(classes[chosen], minlength=len(counts))
    assert (np.abs(found - np.array(counts) * num_rows / 100) <= 1).all()


def test_of_a_shuffled_file_the_first_rows_are_taken():
    labels = np.random.default_rng(0).choice(4, 2000, p=[0.4, 0.3, 0.2, 0.1])
    rows = examples(labels.tolist())
    for num_rows in (300, 1000, 1999):
        found = sample(rows, SINGLE_LABEL, num_rows, seed=0)
        assert found.is_first_rows
        assert list(found) == rows[:num_rows]
    assert list(sample(rows, SINGLE_LABEL, 3000, seed=0)) == rows


@pytest.mark.parametrize("astray", [0, 9, 11, 20])
def test_a_tenth_of_the_first_rows_may_be_of_other_classes(astray):
    first = [0] * (50 + astray) + [1] * (50 - astray)
    classes = np.array(first + [0] * (50 - astray) + [1] * (50 + astray))
    chosen = chosen_rows(classes, 100, seed=0)
    is_first = bool(chosen[:100].all())
    assert is_first == (astray <= 10)
    assert (classes[chosen] == 0).sum() == (50 + astray if is_first else 50)


def test_a_class_with_less_than_half_its_share_is_no_fair_part():
    # 2 of 40 rows should be of class 1, and one is.
    classes = np.array([0] * 39 + [1] + [0] * 740 + [1] * 40)[:800]
    assert chosen_rows(classes, 40, seed=0)[:40].all()
    classes[39] = 0
    chosen = chosen_rows(classes, 40, seed=0)
    assert np.bincount(classes[chosen]).tolist() == [39, 1]


def test_scores_are_sampled_from_low_to_high():
    rows = examples([float(row) for row in range(200)])
    found = [row.label for row in sample(rows, REGRESSION, 20, seed=0)]
    assert [score // 20 for score in found] == [part for part in range(10) for _ in range(2)]
    assert list(sample([], REGRESSION, 20, seed=0)) == []


def test_several_labels_are_sampled_by_the_first():
    rows = examples([(0, 1)] * 40 + [(1,)] * 40 + [()] * 20)
    found = Counter(row.label for row in sample(rows, MULTI_LABEL, 10, seed=0))
    assert found == {(0, 1): 4, (1,): 4, (): 2}


@settings(max_examples=100)
@given(
    classes=st.lists(st.integers(-1, 4), min_size=1, max_size=120),
    num_rows=st.integers(1, 130),
    seed=st.integers(0, 5),
)
def test_as_many_rows_as_asked_for(classes, num_rows, seed):
    array = np.array(classes)
    chosen = chosen_rows(array, num_rows, seed)
    assert chosen.sum() == min(num_rows, len(classes))
    share = min(num_rows / len(classes), 1.0)
    for name, count in Counter(classes).items():
        found = (chosen & (array == name)).sum()
        assert np.floor(count * share / 2) <= found <= count


def test_a_sorted_file_from_the_source(tmp_path):
    path = tmp_path / "train.csv"
    lines = [f"text {row},{'neg' if row < 150 else 'pos'}\n" for row in range(200)]
    path.write_text("text,label\n" + "".join(lines))
    dataset = sources.load(str(path), fractions={"validation": 0.1, "test": 0.1}, max_train_rows=80)
    assert dataset.is_sampled
    counts = {
        split: Counter(dataset.label_names[row.label] for row in rows)
        for split, rows in dataset.splits.items()
    }
    assert sum(counts.values(), Counter()) == {"neg": 60, "pos": 20}
    assert counts["test"] == counts["validation"] == {"neg": 6, "pos": 2}
    assert not sources.load(str(path), max_train_rows=300).is_sampled
