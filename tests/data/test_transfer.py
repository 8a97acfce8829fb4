"""Text without labels: what is a row of it, in which order, and what is refused in one line."""

import re

import pytest

from tests.messages import exactly
from tfkd.data.examples import Dataset, Example
from tfkd.data.sources import load_texts
from tfkd.data.transfer import Joined, Lines, TextsOf, Unlabelled, sentences, unlabelled
from tfkd.errors import DatasetError


def dataset(task="single_label", num_texts=1):
    return Dataset("films", task, ("bad", "good"), num_texts, "accuracy", {})


def texts(rows):
    return [row.texts[0] for row in rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one. two! three? four", ["one.", "two!", "three?", "four"]),
        ("It cost 3.5 pounds... Too much!", ["It cost 3.5 pounds...", "Too much!"]),
        ("A<br /><br />B. <i>C</i>", ["A  B.", "C"]),
        ("雨が降った。帰った！", ["雨が降った。", "帰った！"]),
        ("2 < 3. 4 > 3.", ["2 < 3.", "4 > 3."]),
        ("no end", ["no end"]),
        ("  <br />  ", []),
    ],
)
def test_sentences_end_at_their_marks_and_have_no_markup(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    ("task", "label"), [("single_label", 0), ("multi_label", ()), ("regression", 0.0)]
)
def test_rows_have_a_placeholder_of_the_task(task, label):
    rows = Unlabelled(["a. b", "c"], task)
    assert list(rows) == [Example(("a. b",), label), Example(("c",), label)]
    assert list(rows) == list(rows)


def test_number_of_rows_counts_sentences():
    rows = Unlabelled(["a. b", "c"], "single_label", "sentence")
    assert texts(rows) == ["a.", "b", "c"]
    assert texts(Unlabelled(["a. b", "c"], "single_label", "sentence", 2)) == ["a.", "b"]
    assert texts(Unlabelled(["a. b", "c"], "single_label", "text", 1)) == ["a. b"]


def test_a_file_of_lines(tmp_path):
    path = tmp_path / "more.txt"
    path.write_bytes("\ufefffirst, with a comma\r\n\r\n   \n zweite Zeile für uns \n".encode())
    rows = unlabelled(str(path), dataset(), load_texts, "text", None)
    assert texts(rows) == ["first, with a comma", "zweite Zeile für uns"]
    path.write_bytes("für".encode("latin-1"))
    message = f"Expected UTF-8 text in {path}. Received: invalid start byte. Save the file"
    with pytest.raises(DatasetError, match=f"^{re.escape(message)}"):
        list(Lines(path))
    path.write_text("\n \n")
    message = f"Expected a text a line in {path}. Received: blank lines only, or none."
    with pytest.raises(DatasetError, match=exactly(message)):
        list(Lines(path))


def test_another_data_set_gives_its_train_split_without_its_labels(tmp_path):
    folder = tmp_path / "others"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\nfirst,7\nsecond,8\nthird,9\n")
    (folder / "validation.csv").write_text("text,label\nfourth,7\n")
    (folder / "test.csv").write_text("text,label\nfifth,8\n")
    rows = unlabelled(f"{folder}/", dataset(), load_texts, "text", 2)
    assert list(rows) == [Example(("first",), 0), Example(("second",), 0)]


@pytest.mark.parametrize("labels", ['"1,5"', "1.1\n1.10", "", "[1]"])
def test_labels_are_not_read(tmp_path, labels):
    path = tmp_path / "notes.csv"
    rows = "\n".join(f"text {row},{label}" for row, label in enumerate(labels.split("\n")))
    path.write_text(f"text,label\n{rows}\n")
    found = texts(unlabelled(str(path), dataset(), load_texts, "text", None))
    assert found == [f"text {row}" for row in range(rows.count("\n") + 1)]
    path.write_text("id,text\n1,alone\n")
    assert texts(unlabelled(str(path), dataset(), load_texts, "text", None)) == ["alone"]
    path.write_text("id,label\n1,alone\n")
    message = f"Expected the column `text` (or `sentence1`, `sentence2`) in {path}. Received: id, "
    with pytest.raises(DatasetError, match=f"^{re.escape(message)}label. Name the columns: --text"):
        unlabelled(str(path), dataset(), load_texts, "text", None)


def test_texts_that_the_run_holds_out_are_left_out(tmp_path):
    """Of any source: a line of a file, too."""
    path = tmp_path / "more.txt"
    path.write_text("new. one\nheld out\nalso held out\nin train\n")
    rows = {"train": ["in train"], "validation": ["held out "], "test": ["also held out"]}
    splits = {name: [Example((text,), 0) for text in found] for name, found in rows.items()}
    held = Dataset("films", "single_label", ("bad", "good"), 1, "accuracy", splits)
    found = unlabelled(str(path), held, load_texts, "sentence", None)
    assert texts(found) == ["new.", "one", "in train"]


def test_joined_rows_lie_one_behind_the_other():
    own = [Example(("own",), 1)]
    rows = Joined((own, Unlabelled(TextsOf([Example(("other",), 5)]), "single_label")))
    assert list(rows) == list(rows) == [Example(("own",), 1), Example(("other",), 0)]


def test_what_cannot_be_had_is_said_in_one_line(tmp_path):
    path = tmp_path / "missing.txt"
    message = f"Expected a text file for --unlabelled. Received: {path}, which is not there."
    with pytest.raises(DatasetError, match=f"^{re.escape(message)}"):
        unlabelled(str(path), dataset(), load_texts, "text", None)
    with pytest.raises(DatasetError, match="^Expected a data set of single texts for --unlabelled"):
        unlabelled(str(path), dataset(num_texts=2), load_texts, "text", None)
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    rows = "".join(f"a {i},b,{i % 2}\n" for i in range(40))
    (pairs / "train.csv").write_text(f"sentence1,sentence2,label\n{rows}")
    message = f"Expected single texts for --unlabelled. Received: {pairs}, of pairs."
    with pytest.raises(DatasetError, match=f"^{re.escape(message)}"):
        unlabelled(str(pairs), dataset(), load_texts, "text", None)


def test_a_pair_is_two_texts_unless_one_is_blank():
    rows = [Example(("one", "two"), 0), Example((" ", "three"), 1), Example(("",), 0)]
    assert list(TextsOf(rows)) == ["one", "two", "three", ""]
