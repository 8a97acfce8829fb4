"""One pass over a split: counts, fingerprint, and what is refused."""

import dataclasses
import hashlib
import time

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tfkd.data.checks import SplitSummary, check
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Dataset, Example
from tfkd.errors import DatasetError

ROWS = [Example(("a cat",), 0), Example(("ein Hündchen",), 1), Example(("a cow",), 1)]


def dataset(rows, task=SINGLE_LABEL, label_names=("cat", "dog"), num_texts=1):
    return Dataset("pets", task, label_names, num_texts, "accuracy", {"test": rows})


def test_summary_of_a_split():
    lines = '[["a cat"], 0]\n[["ein Hündchen"], 1]\n[["a cow"], 1]\n'
    expected = SplitSummary(3, hashlib.sha256(lines.encode()).hexdigest(), (1, 2))
    assert check(dataset(ROWS), ["test"]) == {"test": expected}


def test_class_counts_of_other_tasks():
    rows = [Example(("one",), (0, 1)), Example(("two",), ()), Example(("three",), (1,))]
    assert check(dataset(rows, MULTI_LABEL), ["test"])["test"].class_counts == (1, 2)
    rows = [Example(("one", "uno"), 0.5), Example(("two", "dos"), 4.0)]
    summary = check(dataset(rows, REGRESSION, ("score",), 2), ["test"])["test"]
    assert (summary.num_rows, summary.class_counts) == (2, ())


def summary(*counts):
    return SplitSummary(sum(counts), "", counts)


def test_balanced_weights_are_scikit_learns():
    labels = np.repeat([0, 1, 3], [50, 5, 20])
    found = summary(50, 5, 0, 20).balanced_weights
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    np.testing.assert_allclose(found[[0, 1, 3]], expected)
    assert found[2] == 0.0
    assert found[labels].mean() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((950, 50), (0, 1)),
        ((30, 11, 301), (2, 1)),
        ((500, 50), None),
        # Fewer than ten rows say nothing, here and in a test split.
        ((500, 60, 9), None),
        ((990, 9), None),
        ((), None),
    ],
)
def test_classes_are_uneven_from_ten_to_one_on(counts, expected):
    assert summary(*counts).uneven == expected


def changed(rows, row, **values):
    return [example._replace(**values) if i == row else example for i, example in enumerate(rows)]


@pytest.mark.parametrize(
    "rows",
    [
        ROWS[::-1],
        ROWS[:2],
        changed(ROWS, 0, label=1),
        changed(ROWS, 0, texts=("a cat ",)),
        [Example(("a cat\n",), 0), *ROWS[1:]],
    ],
    ids=["order", "length", "label", "blank", "line break"],
)
def test_fingerprint_notices_a_change(rows):
    before = check(dataset(ROWS), ["test"])["test"].fingerprint
    assert check(dataset(rows), ["test"])["test"].fingerprint != before


def test_fingerprint_tells_a_pair_from_a_joined_text():
    pair = check(dataset([Example(("a", "b"), 0)], num_texts=2), ["test"])["test"]
    joined = check(dataset([Example(("a, b",), 0)]), ["test"])["test"]
    assert pair.fingerprint != joined.fingerprint


@pytest.mark.parametrize(
    ("example", "task", "message"),
    [
        (Example(("  ",), 0), SINGLE_LABEL, "a text in {}. Received: an empty one."),
        (Example(("a", "b"), 0), SINGLE_LABEL, "1 texts in {}. Received: 2."),
        (Example(("a",), 2), SINGLE_LABEL, "a label from 0 to 1 in {}. Received: 2."),
        (Example(("a",), -1), SINGLE_LABEL, "a label from 0 to 1 in {}. Received: -1."),
        (Example(("a",), True), SINGLE_LABEL, "a label from 0 to 1 in {}. Received: True."),
        (Example(("a",), 1.0), SINGLE_LABEL, "a label from 0 to 1 in {}. Received: 1.0."),
        (Example(("a",), (0, 2)), MULTI_LABEL, "labels from 0 to 1 in {}. Received: (0, 2)."),
        (Example(("a",), (1, 0)), MULTI_LABEL, "labels in rising order in {}. Received: (1, 0)."),
        (Example(("a",), 1), MULTI_LABEL, "a tuple of class indices as labels in {}. Received: 1."),
        (
            Example(("a",), float("inf")),
            REGRESSION,
            "a finite float as label in {}. Received: inf.",
        ),
    ],
)
def test_bad_rows_are_refused(example, task, message):
    good = {SINGLE_LABEL: 0, MULTI_LABEL: (0,), REGRESSION: 0.5}[task]
    rows = [Example(("fine",), good), example]
    place = "`pets`, test, row 2 (row 1 is the first row of data)"
    with pytest.raises(DatasetError, match="^Expected") as caught:
        check(dataset(rows, task), ["test"])
    assert str(caught.value) == "Expected " + message.format(place)


def test_one_side_of_a_pair_may_be_empty():
    rows = [Example(("who?", ""), 0)]
    assert check(dataset(rows, num_texts=2), ["test"])["test"].num_rows == 1


def test_empty_split():
    with pytest.raises(
        DatasetError, match=r"^Expected rows in `pets`, split test\. Received: an empty split\.$"
    ):
        check(dataset([]), ["test"])


def test_a_hundred_thousand_rows_take_seconds():
    @dataclasses.dataclass
    class Many:
        def __iter__(self):
            return (Example((f"the text of row {row}",), row % 2) for row in range(100_000))

    start = time.monotonic()
    assert check(dataset(Many()), ["test"])["test"].class_counts == (50_000, 50_000)
    assert time.monotonic() - start < 10  # About 0.5 s on an idle core.
