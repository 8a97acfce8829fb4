"""Choices of rows to read, confusions, and the texts on a page."""

import json

import numpy as np

from tests.reports.example import ANSWERS, NAMES, ROWS, logits, predictions
from tfkd.data.examples import REGRESSION, Dataset, Example
from tfkd.reports import mistakes
from tfkd.reports.mistakes import answer_pictures, browser, choices, confusions


def of(chosen):
    return {title: rows.tolist() for title, rows in chosen.items()}


def test_choices_begin_with_the_most_certain_errors(tmp_path):
    assert of(choices(predictions(tmp_path), "student")) == {
        # 0.9 sure of row 1, 0.75 of row 4.
        "wrong, most certain first": [1, 4],
        "wrong, teacher right": [1],
        "not as the teacher": [1],
        "label probably wrong": [],
    }


def test_doubted_labels_begin_with_the_least_likely(tmp_path):
    answers = {**ANSWERS, "teacher": logits(0.1, 0.95, 0.2, 0.9, 0.03, 0.8)}
    found = choices(predictions(tmp_path, answers=answers), "student")
    assert found["label probably wrong"].tolist() == [4, 1]


def test_a_model_without_a_teacher_has_no_choice_of_disagreement(tmp_path):
    found = choices(predictions(tmp_path, answers={"model": ANSWERS["student"]}), "model")
    assert list(found) == ["wrong, most certain first", "label probably wrong"]


def test_scores_are_chosen_by_their_distance(tmp_path):
    rows = [Example((name,), 0.0) for name in "abc"]
    dataset = Dataset("scores", REGRESSION, ("score",), 1, "pearson", {"test": rows})
    answers = {
        "teacher": np.array([[0.0], [np.nan], [5.0]], np.float32),
        "student": np.array([[1.0], [-3.0], [2.0]], np.float32),
    }
    found = choices(predictions(tmp_path, dataset, np.zeros(3), answers), "student")
    assert of(found) == {"wrong, most certain first": [1, 2, 0], "not as the teacher": [2, 0]}


def test_confusions_count_pairs_of_both(tmp_path):
    table = confusions(predictions(tmp_path), "student")
    assert [column.title for column in table.columns] == [
        *("Label", "Taken for", "By the student", "By the teacher")
    ]
    assert table.rows == [("no", "yes", "1", "0"), ("yes", "no", "1", "1")]


def test_pictures_are_of_answers_before_and_after_quantization(tmp_path):
    pictures = answer_pictures(predictions(tmp_path), NAMES, ROWS[-1])
    assert [picture.title for picture in pictures] == [
        "Confusion of the teacher",
        "Confusion of the student",
        "Confusion, student minus teacher",
        "How sure, and how often right",
        "What dynamic_int8 changes",
    ]
    for name in ("teacher", "control", "student", "dynamic_int8"):
        assert f">{name}</text>" in pictures[3].svg


def test_nothing_that_quantization_changes_is_no_picture(tmp_path):
    found = predictions(tmp_path, answers={**ANSWERS, "dynamic_int8": ANSWERS["student"]})
    titles = [one.title for one in answer_pictures(found, NAMES, ROWS[-1])]
    assert "What dynamic_int8 changes" not in titles


def test_many_classes_have_no_matrix(tmp_path, monkeypatch):
    monkeypatch.setattr(mistakes, "MOST_CLASSES", 1)
    titles = [one.title for one in answer_pictures(predictions(tmp_path), NAMES, ROWS[-1])]
    assert titles == ["How sure, and how often right"]


def test_browser_has_all_texts_with_the_errors_first(tmp_path):
    found = browser(predictions(tmp_path), "student")
    assert found.names == [
        *("Row", "Text", "Label", "Student", "Student, sure", "Teacher", "Teacher, sure")
    ]
    assert found.rows[0] == [1, "<script>alert(1)</script>", "no", "yes", 0.9, "no", 0.8]
    places = dict(found.filters)
    assert places["student: wrong, most certain first"] == [0, 1]
    assert [found.rows[place][0] for place in places["all"]] == [0, 1, 2, 3, 4, 5]
    assert found.note.startswith("Texts of more than 1,000 characters are cut. A label is probably")


def test_a_page_holds_as_many_texts_as_it_may_and_says_so(tmp_path, monkeypatch):
    found = predictions(tmp_path)
    found.columns["text"][3] = "x" * 1500
    size = sum(len(json.dumps(row)) for row in browser(found, "student").rows[:3])
    monkeypatch.setattr(mistakes, "MOST_TEXT_BYTES", size)
    cut = browser(found, "student")
    assert [row[0] for row in cut.rows] == [1, 4, 0]
    assert dict(cut.filters)["all"] == [2, 0, 1]
    assert "3 of 6 test rows are on this page, those worth reading first;" in cut.note
    monkeypatch.undo()
    (long,) = (row for row in browser(found, "student").rows if row[0] == 3)
    assert long[1] == "x" * 1000 + "…"
