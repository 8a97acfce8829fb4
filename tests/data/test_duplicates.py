"""Rows that repeat a text, and repairs that are asked for: what each leaves, what it counts."""

from collections import Counter

import pytest

from tfkd.config.data import DataConfig
from tfkd.data import sources
from tfkd.data.columns import Reading
from tfkd.data.duplicates import Repeats, distinct, said_of
from tfkd.data.examples import MULTI_LABEL, Example, text_hash

SPLITS = {
    "train": [("Oil fell.", 0), ("It rained.", 1), ("oil  FELL. ", 1), ("He won.", 1), ("A", 0)],
    "validation": [("He won.", 1), ("He won.", 0), ("New", 0)],
    "test": [("a", 1), ("Fair", 0)],
}


def splits():
    return {
        split: [Example((text,), label) for text, label in rows] for split, rows in SPLITS.items()
    }


def texts(rows):
    return [row.texts[0] for row in rows]


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        (["Oil  fell.\n"], ["oil fell."], True),
        (["STRASSE"], ["straße"], True),
        (["Oil fell."], ["Oil fell"], False),
        (["a", "b"], ["a b"], False),
        (["a", "b"], ["b", "a"], False),
        (["\ud800"], ["\ud800 "], True),
    ],
)
def test_texts_are_equal_but_for_case_and_blanks(one, other, are_equal):
    assert (text_hash(one) == text_hash(other)) is are_equal


def test_what_is_judged_by_keeps_its_texts():
    kept, counts = distinct(splits())
    assert {split: texts(rows) for split, rows in kept.items()} == {
        "train": ["Oil fell.", "It rained."],
        "validation": ["He won.", "New"],
        "test": ["a", "Fair"],
    }
    assert counts == {
        "test": Counter(),
        "validation": Counter(duplicates=1, conflicts=1),
        "train": Counter(duplicates=1, leaks=2, conflicts=2),
    }


def test_the_first_row_that_another_split_has():
    repeats = Repeats()
    for split in ("test", "validation", "train"):
        repeats.begin(split)
        for text, label in SPLITS[split]:
            repeats.add([text], label)
    repeats.found()
    assert repeats.first == {"train": 4}


def test_no_rows_repeat_nothing():
    assert Repeats().found() == {}
    kept, counts = distinct({"train": []})
    assert (list(kept["train"]), counts) == ([], {"train": Counter()})


def test_lines_of_repairs():
    counts = {
        "train": Counter(empty=1200, duplicates=40, leaks=2, conflicts=3, folded=7),
        "test": Counter(),
    }
    assert said_of(counts) == [
        "left out of train: 1,200 without a text or a label, 40 whose text comes before, 2 whose "
        "text test or validation has; 3 with another label",
        "labels of train spelled as most of their class: 7",
    ]


def load(tmp_path, content, name="a.csv", **changes):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return sources.load(str(path), reading=Reading.of(DataConfig(dataset=str(path), **changes)))


def rows_of(dataset):
    rows = [row for split in dataset.splits.values() for row in split]
    return {row.texts[0]: row.label for row in rows}


def test_empty_rows_are_left_out_and_counted(tmp_path):
    good = "".join(f"text {row},{'xy'[row % 2]}\n" for row in range(20))
    content = f"text,label\n{good} ,x\n,\nlast,\nmore,x\n"
    dataset = load(tmp_path, content, drop_empty=True)
    assert set(rows_of(dataset)) == {*(f"text {row}" for row in range(20)), "more"}
    assert dataset.repairs() == {"train": Counter(empty=3)}


def test_a_row_of_several_labels_may_have_none(tmp_path):
    good = "".join(f"text {row},a|b\n" for row in range(10))
    dataset = load(tmp_path, f"text,labels\n{good},a\nnone of them,\n", drop_empty=True)
    assert dataset.task == MULTI_LABEL
    assert rows_of(dataset)["none of them"] == ()
    assert dataset.repairs() == {"train": Counter(empty=1)}
    lines = [f'{{"text": "a{row}", "labels": ["x"]}}' for row in range(9)]
    lines += ['{"text": "b", "labels": null}']
    lines += ['{"text": "c", "labels": ["x", null]}', '{"text": "d", "labels": []}']
    dataset = load(tmp_path, "\n".join(lines), "a.jsonl", drop_empty=True)
    assert rows_of(dataset) == {**{f"a{row}": (0,) for row in range(9)}, "d": ()}
    assert dataset.repairs() == {"train": Counter(empty=2)}


def test_rows_keep_their_number_behind_those_left_out(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("x\ny\n")
    (tmp_path / "train.csv").write_text("text,label\n,x\na,x\nb,z\n")
    reading = Reading.of(DataConfig(dataset=str(tmp_path), drop_empty=True))
    dataset = sources.load_split(str(tmp_path), None, "train", 0, reading)
    message = r"train\.csv, row 3 \(row 1 is the first row of data\)\. Received: 'z'\. Correct"
    with pytest.raises(sources.DatasetError, match=message):
        list(dataset.splits["train"])


def test_names_of_classes_are_folded_into_the_commonest_spelling(tmp_path):
    labels = ["Bug", "bug ", "Bug", "BUG", "Log  in", "log in", "Log in", "Log in"]
    good = "".join(f"text {row},{label}\n" for row, label in enumerate(labels))
    plain = load(tmp_path, f"text,label\n{good}")
    assert plain.label_names == ("BUG", "Bug", "Log  in", "Log in", "bug", "log in")
    dataset = load(tmp_path, f"text,label\n{good}", fold_case=True)
    assert dataset.label_names == ("Bug", "Log in")
    assert rows_of(dataset) == {f"text {row}": row // 4 for row in range(8)}
    assert dataset.repairs() == {"train": Counter(folded=4)}


def test_duplicates_are_left_out_before_rows_are_held_out(tmp_path):
    good = "".join(f"text {row},{'xy'[row % 2]}\n" for row in range(20))
    dataset = load(
        tmp_path, f"text,label\n{good}{good}TEXT 3,x\n ,x\n", drop_duplicates=True, drop_empty=True
    )
    rows = [row for split in dataset.splits.values() for row in split]
    assert sorted(texts(rows)) == sorted(f"text {row}" for row in range(20))
    assert dataset.repairs() == {"train": Counter(empty=1, duplicates=21, conflicts=1)}


@pytest.mark.parametrize(
    "same", ["Oil fell.", "oil fell.", " OIL\tfell.\n", "Oil  fell.", "oil\u00a0fell."]
)
def test_a_text_is_the_same_in_any_case_and_with_any_blanks(same):
    assert text_hash(["Oil fell."]) == text_hash([same])
    assert text_hash(["Oil fell.", "Why?"]) == text_hash([same, "why? "])


def test_what_are_different_texts():
    different = [["Oil fell."], ["Oil fell"], ["Oilfell."], ["Oil", "fell."], ["fell.", "Oil"]]
    assert len({text_hash(one) for one in different}) == 5
    assert text_hash(["Oil fell."], seed=1) != text_hash(["Oil fell."])
    assert text_hash(["\ud800"]) != text_hash(["\ud801"])
