"""All that is wrong with rows, found at once; each by a data set where the answer is known."""

import pytest

from tfkd.data import sources
from tfkd.data.columns import ColumnNames, Reading
from tfkd.data.examples import Dataset, Example
from tfkd.data.survey import survey

GOOD = [(f"text {row}", row % 2) for row in range(40)]


def dataset(names=("x", "y"), task="single_label", **splits):
    examples = {
        split: [Example((text,), label) for text, label in rows] for split, rows in splits.items()
    }
    return Dataset("a", task, names, 1, "accuracy", examples)


def found(dataset):
    return {finding.kind: str(finding) for finding in survey(dataset).findings()}


def test_nothing_is_wrong_with_good_rows():
    more = [(f"more {row}", row % 2) for row in range(20)]
    assert found(dataset(train=GOOD, test=more)) == {}


def test_lengths_and_classes_are_counted():
    looked = survey(dataset(train=[("one two  three", 0), ("four", 1), ("five six", 1)]))
    assert looked.splits["train"].num_words.tolist() == [3, 1, 2]
    assert looked.splits["train"].class_counts.tolist() == [1, 2]
    several = dataset(("x", "y", "z"), "multi_label", train=[("a", ()), ("b", (0, 2)), ("c", (2,))])
    assert survey(several).splits["train"].class_counts.tolist() == [1, 0, 2]
    scores = survey(dataset(("score",), "regression", train=[("a", 0.5)]))
    assert not scores.has_classes
    assert scores.findings() == []


def test_texts_that_splits_share():
    shared = [("TEXT 5", 1), ("new", 0), ("text 6", 1)]
    more = [(f"more {row}", row % 2) for row in range(40)]
    assert found(dataset(train=GOOD, validation=shared, test=more)) == {
        "leaks": (
            "Rows with a text that a split to judge by has as well: 2 of train (the first: row 6 "
            "of train). The figures are too good; --drop-duplicates leaves these rows out."
        ),
        "conflicts": (
            "Rows with the text of an earlier row and another label: 1 of train. Decide on one "
            "label; --drop-duplicates keeps the first."
        ),
    }


def test_texts_that_repeat():
    assert found(dataset(train=[*GOOD, *GOOD[:3]])) == {
        "duplicates": (
            "Rows with the text of an earlier row of the same split: 3 of train. --drop-duplicates "
            "leaves them out."
        )
    }


def test_classes_that_are_one_or_too_rare():
    rows = [(f"text {row}", label) for row, label in enumerate([0] * 9 + [1] * 5 + [2] * 2 + [3])]
    names = ("Bug", "bug", "Legal", "Spam", "BUG")
    assert found(dataset(names, train=rows)) == {
        "spellings": (
            "Classes that look alike: 'Bug' = 'bug' = 'BUG'. --fold-case takes them for one."
        ),
        "rare": (
            "Classes too rare to learn and to judge: BUG (0), Spam (1), Legal (2). Add rows, or "
            "join them with other classes."
        ),
    }


def test_classes_with_few_rows_to_judge_by():
    test = [(f"more {row}", row % 2 if row < 4 else 0) for row in range(20)]
    assert found(dataset(train=GOOD, test=test)) == {
        "untested": ("Classes with few rows of test: y (2). Say nothing of each of them alone.")
    }


def test_empty_rows_ids_and_a_row_that_cannot_be_read(tmp_path):
    lines = "".join(f"{row % 18},text {row},{'xy'[row % 2]}\n" for row in range(20))
    path = tmp_path / "train.csv"
    path.write_text(f"id,text,label\n{lines}21,,x\n22,text,\n")
    test = tmp_path / "test.csv"
    test.write_text("id,text,label\n1,a,x\n2,b,x,z\n3,c,y\n")
    reading = Reading(ColumnNames(id="id"), drop_empty=True)
    looked = found(sources.published(str(tmp_path), None, 0, reading))
    assert (
        looked["empty"]
        == "Rows without a text or a label: 2 of train. --drop-empty leaves them out."
    )
    assert (
        looked["ids"]
        == "Rows whose id comes before: 2 of train. Nothing can be joined to them by it."
    )
    assert looked["fault"] == (
        f"Expected 3 fields as in the header in {test}, row 2 (row 1 is the first row of data). "
        "Received: 4 fields, the first '2'. Quote texts that hold the separator, quotes or line "
        "breaks. No row of test behind it was read."
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_single_split_is_enough(split):
    assert list(survey(dataset(**{split: GOOD})).splits) == [split]
