"""Where a model stands among the rows of its table, in one line."""

from pathlib import Path

import pytest

from tfkd.evaluation.rows import Row
from tfkd.evaluation.verdict import compare
from tfkd.reports.sentences import standing
from tfkd.runs.outcome import ANSWERS, headlines, next_commands


def row(arm, model, value, size_bytes=1000, recipe="keras", metric="accuracy"):
    return Row(
        dataset="x",
        arm=arm,
        model=model,
        recipe=recipe,
        seed=0,
        metrics={metric: value},
        size_bytes=size_bytes,
        parameters=1,
        latency=None,
        command="",
    )


TEACHER = row("teacher", "minilm", 0.922, 100_000)
VECTORS = row("baseline", "embeddings + logistic regression", 0.901, 100_000, "scikit-learn")
WORDS = row("baseline", "TF-IDF + linear SVM", 0.892, 500, "scikit-learn")
CONTROL = row("control", "cnn", 0.884, 20_000)


def student(value, size_bytes=5000, recipe="dynamic_int8"):
    return [row("student", "cnn", 0.5, 20_000), row("student", "cnn", value, size_bytes, recipe)]


@pytest.mark.parametrize(
    ("others", "value", "expected"),
    [
        (
            [TEACHER, VECTORS, WORDS, CONTROL],
            0.901,
            "The student (dynamic_int8, Accuracy 0.9010) stands 2.10 points below its teacher "
            "(0.9220), level with embeddings + logistic regression (0.9010) and above TF-IDF + "
            "linear SVM (0.8920) and its control (0.8840), at 5.0% of the teacher's bytes.",
        ),
        (
            [TEACHER, WORDS, CONTROL],
            0.88,
            "The student (dynamic_int8, Accuracy 0.8800) stands 4.20 points below its teacher "
            "(0.9220), 1.20 points below TF-IDF + linear SVM (0.8920) and 0.40 points below its "
            "control (0.8840), at 5.0% of the teacher's bytes.",
        ),
        (
            [TEACHER, WORDS, CONTROL],
            0.93,
            "The student (dynamic_int8, Accuracy 0.9300) stands above its teacher (0.9220), TF-IDF "
            "+ linear SVM (0.8920) and its control (0.8840), at 5.0% of the teacher's bytes.",
        ),
    ],
)
def test_losses_come_first(others, value, expected):
    assert standing([*others, *student(value)], "accuracy") == expected


def test_what_the_paired_test_cannot_tell_apart_is_neither_above_nor_below():
    coin, sure = (
        compare([True] * 101 + [False] * 99, [False] * 99 + [True] * 101),
        compare([True] * 150 + [False] * 50, [True] * 50 + [False] * 150),
    )
    assert (coin.verdict, sure.verdict) == ("INCONCLUSIVE", "BETTER")
    rows = [TEACHER, VECTORS, WORDS, CONTROL, *student(0.89)]
    tests = {"student_vs_control": coin, "student_vs_words": coin, "student_vs_teacher": sure}
    assert standing(rows, "accuracy", tests) == (
        "The student (dynamic_int8, Accuracy 0.8900) stands 3.20 points below its teacher "
        "(0.9220), 1.10 points below embeddings + logistic regression (0.9010) and within chance "
        "of TF-IDF + linear SVM (0.8920) and its control (0.8840), at 5.0% of the teacher's bytes."
    )
    # Equal figures are level, whatever a test of the Keras student says.
    equal = standing([CONTROL, *student(0.884)], "accuracy", tests)
    assert equal.endswith(" stands level with its control (0.8840).")


def test_the_smallest_file_is_the_one_that_is_told_of():
    rows = [TEACHER, *student(0.95, 30_000, "float32")]
    assert standing(rows, "accuracy") == (
        "The student (Accuracy 0.5000) stands 42.20 points below its teacher (0.9220), at 20% of "
        "the teacher's bytes."
    )


def test_a_fine_tuned_model_has_no_teacher():
    rows = [WORDS, row("model", "cnn", 0.9)]
    expected = "The model (Accuracy 0.9000) stands above TF-IDF + linear SVM (0.8920)."
    assert standing(rows, "accuracy") == expected
    assert standing(rows[1:], "accuracy") == "The model (Accuracy 0.9000) stands alone."


def test_correlations_are_told_as_they_are():
    rows = [row("teacher", "minilm", 0.9, metric="pearson")]
    rows += [row("student", "cnn", 0.8877, 4, metric="pearson")]
    assert standing(rows, "pearson") == (
        "The student (Pearson 0.8877) stands 0.0123 in Pearson below its teacher (0.9000), at 0.4% "
        "of the teacher's bytes."
    )


def test_answers_of_files_have_no_bytes_to_be_a_share_of():
    rows = [row("teacher", "answers of llm.jsonl", 0.922, None, ANSWERS), *student(0.93)]
    expected = "The student (dynamic_int8, Accuracy 0.9300) stands above its teacher (0.9220)."
    assert standing(rows, "accuracy") == expected
    assert headlines(rows, "accuracy") == {"teacher": 0.922, "student": 0.5}


def test_headlines_are_those_of_keras_models():
    found = headlines([TEACHER, WORDS, CONTROL, *student(0.93)], "accuracy")
    assert found == {"teacher": 0.922, "control": 0.884, "student": 0.5}


def test_the_page_is_named_where_there_is_one(tmp_path):
    (tmp_path / "report.html").touch()
    first = next_commands(tmp_path).splitlines()[0]
    page = tmp_path / "report.html"
    assert first == f"Everything is in {tmp_path}; open {page} in a browser. Next:"


def test_next_commands_are_ready_for_a_shell():
    assert next_commands(Path("saved models/demo")) == (
        "Everything is in saved models/demo. Next:\n"
        "  tfkd predict 'saved models/demo' \"your text\"\n"
        "  tfkd quantize 'saved models/demo' --max-drop 0.5\n"
        "  tensorboard --logdir 'saved models/demo/logs'"
    )
