"""From a file of answers to a student: no teacher's model is made, loaded or asked."""

import json

import numpy as np
import pytest

from tests.toys import QUIET, demo_rows
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.config.verbs import ReportConfig, StudyConfig
from tfkd.data.demo import demo_dataset, posterior
from tfkd.data.sources import load
from tfkd.evaluation.metrics import agreement
from tfkd.runs.own_data import own_material
from tfkd.runs.teacher import train_logits
from tfkd.workflows.distill import distill
from tfkd.workflows.report import report
from tfkd.workflows.study import study

pytestmark = pytest.mark.usefixtures("converted_here")
NAMES = demo_dataset().label_names
FORM = """
seeds = [0]
timed_texts = 0

[settings]
sequence_length = 24
epochs = 1

[teachers.llm]
answers = "{folder}/llm.jsonl"

[students.soft]
student = "cnn_small"
[students.hard]
student = "cnn_small"
distillation_loss = "hard"

[datasets.demo]
dataset = "{folder}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows of the demo, 60 more texts without a label, and what a teacher said of nine in ten."""
    folder = demo_rows(tmp_path_factory.mktemp("rows"), train=100, validation=40, test=50)
    texts = [row.texts[0] for row in list(demo_dataset().splits["train"])[100:160]]
    (folder / "more").mkdir()
    (folder / "more" / "more.txt").write_text("\n".join(texts), encoding="utf-8")
    rows = [row for rows in load(f"{folder}/").splits.values() for row in rows]
    texts += [row.texts[0] for row in rows]
    with (folder / "llm.jsonl").open("w", encoding="utf-8") as stream:
        for number, (text, chances) in enumerate(zip(texts, posterior(texts), strict=True)):
            likeliest = np.argsort(-chances)[:3]
            said = {NAMES[index]: np.log(chances[index]) for index in likeliest}
            if number % 10:
                stream.write(f"{json.dumps({'text': text, 'logprobs': said})}\n")
    return folder


@pytest.fixture(scope="module")
def result(folder, tmp_path_factory):
    return distill(
        DistillConfig(
            dataset=f"{folder}/",
            teacher_answers=[folder / "llm.jsonl"],
            unlabelled=str(folder / "more" / "more.txt"),
            student="cnn_small",
            sequence_length=24,
            epochs=1,
            recipes=["float32"],
            timing=False,
            quiet=True,
            output_dir=tmp_path_factory.mktemp("runs") / "run",
        )
    )


def test_the_table_has_the_answers_in_the_teachers_place(result):
    arms = [(row.arm, row.model, row.recipe) for row in result.rows]
    assert arms == [
        ("teacher", "answers of llm.jsonl", "answers"),
        ("baseline", "TF-IDF + linear SVM", "scikit-learn"),
        ("control", "cnn_small", "keras"),
        ("student", "cnn_small", "keras"),
        ("student", "cnn_small", "float32"),
    ]
    teacher, words, _, student, _ = result.rows
    assert (teacher.size_bytes, teacher.parameters) == (None, None)
    # 45 of the 50 rows of test have an answer, and on these alone both are compared.
    assert "is of the 45 of 50 rows of test that have an answer" in " ".join(result.sentences)
    assert result.comparisons["student_vs_teacher"].num_rows == 45
    assert result.comparisons["student_vs_control"].num_rows == 50
    assert result.comparisons["student_vs_words"].num_rows == 50
    assert 0 <= student.metrics["agreement"] <= 1
    assert 0 <= words.metrics["agreement"] <= 1
    # Nothing is said of bytes or figures of a teacher that has none of all rows.
    assert "teacher" not in result.standing
    assert result.standing.startswith("The student (float32, Accuracy ")
    assert f"TF-IDF + linear SVM ({words.metrics['accuracy']:.4f})" in result.standing
    assert result.render()[:2] == [result.warning, result.standing]
    assert {path.name for path in result.path.iterdir()} == {
        *("config.json", "metrics.json", "README.md", "report.html", "predictions.parquet"),
        *("logs", "training", "student", "control"),
    }
    assert "distilled from answers of llm.jsonl on" in (result.path / "README.md").read_text()
    record = artifacts.read_json(result.path / "metrics.json")
    assert record["scoring"]["route"] == "answers"
    # 90 of 100 rows of train and 54 of 60 others.
    assert record["scoring"]["num_rows"] == 144
    assert record["data"]["splits"]["transfer"]["num_rows"] == 160


def test_recipes_that_train_hear_the_same_answers_again(result, folder):
    run = RunFolder(result.path)
    material = own_material(run, Where(), QUIET)
    told = train_logits(run, material)
    assert told.shape == (100, 4)
    texts = [row.texts[0] for row in material.dataset.splits["train"]]
    heard = ~np.isnan(told).any(axis=1)
    assert heard.sum() == 90
    chances = posterior([text for text, kept in zip(texts, heard, strict=True) if kept])
    chances = chances[:, [NAMES.index(name) for name in material.dataset.label_names]]
    assert agreement("single_label", told[heard], np.log(chances)) == 1


class Where:
    """The run's data where they were."""

    dataset = data_dir = None


def test_a_study_asks_whether_soft_answers_are_better_than_hard_ones(folder, tmp_path):
    path = tmp_path / "soft.toml"
    path.write_text(FORM.format(folder=folder), encoding="utf-8")
    config = StudyConfig(study=path, output_dir=tmp_path / "soft", quiet=True)
    found = study(config)
    rows = {row["arm"]: row for row in found.datasets["demo"]["rows"]}
    assert list(rows) == ["llm", "soft-control", "soft-llm", "hard-control", "hard-llm"]
    assert rows["llm"]["parameters"] is None
    sides = [(item["a"], item["b"]) for item in found.datasets["demo"]["comparisons"]]
    assert ("soft-llm", "hard-llm") in sides
    # Labels alone are heard either way.
    assert rows["soft-control"]["values"] == rows["hard-control"]["values"]
    asked = next(item for item in found.sentences("demo") if "its teacher llm" in item)
    assert "45 rows" in asked
    again = report(ReportConfig(folders=(tmp_path / "soft",), output_dir=tmp_path))
    assert again.studies == (found,)
