"""The SVM beside the defaults, and their table from figures that were kept."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import defaults
from tests.toys import demo_rows
from tfkd.artifacts import read_json
from tfkd.data.examples import Dataset, Example

pytestmark = pytest.mark.usefixtures("converted_here")


def test_svm_figure_is_that_of_the_test_rows():
    """Two of three classes have rows."""
    rows = [Example((f"oil {word}",), 0) for word in "ab"] + [Example(("a game",), 2)] * 2
    test = [Example(("oil",), 0), Example(("game",), 2), Example(("game",), 1)]
    splits = {"train": rows, "validation": rows, "test": test}
    dataset = Dataset("x", "single_label", ("a", "b", "c"), 1, "accuracy", splits)
    found = defaults.svm_figure(dataset)
    assert found == {"value": pytest.approx(2 / 3), "validation": 1.0, "cost": 0.1}


def kept(student, control, verdict):
    def of(student, control, verdict):
        return {"student": student, "control": control, "verdict": verdict}

    return {
        "metric": "accuracy",
        "num_test_rows": 2000,
        "teacher": 0.9,
        "seeds": [0, 1],
        "svm": {"value": 0.85},
        "students": {
            "bert_tiny": of(0.8, 0.7, "BETTER"),
            "cnn": of(student, control, verdict),
        },
    }


def test_table_grows_by_what_each_session_made(tmp_path):
    path = tmp_path / "defaults.json"
    defaults.keep(path, "sst2_1000", kept(0.82, 0.86, "WORSE"))
    defaults.keep(path, "emotion_1000", kept(0.88, 0.87, "INCONCLUSIVE"))
    assert list(read_json(path)["datasets"]) == ["sst2_1000", "emotion_1000"]
    page = path.with_suffix(".md").read_text()
    assert (
        "| emotion_1000 | Accuracy | 2,000 | 0.9000 | 0.8500 | 0.8000 | 0.7000 | BETTER | -5.0 | "
        "88.9% | 0.8800 | 0.8700 | INCONCLUSIVE | +3.0 | 97.8% |\n"
        "| sst2_1000 | Accuracy | 2,000 | 0.9000 | 0.8500 | 0.8000 | 0.7000 | BETTER | -5.0 | "
        "88.9% | 0.8200 | 0.8600 | WORSE | -3.0 | 91.1% |\n"
    ) in page
    assert "emotion_1000: seeds [0, 1]; sst2_1000: seeds [0, 1]." in page


def test_runs_are_given_nothing_but_data_teacher_and_student():
    config = defaults.settings("sst2_1000", "cnn", 2, None, Path("runs"))
    given = {"dataset", "max_train_rows", "teacher", "teacher_pooling", "student", "seed"}
    assert set(config.chosen()) == given | {"output_dir", "timing", "recipes"}
    assert config.output_dir == Path("runs/sst2_1000/cnn-2")


def test_figures_are_means_over_runs_that_are_made_once(tmp_path, monkeypatch):
    """Two seeds of a small student of the demo, and the same again from what is there."""
    (tmp_path / "data").mkdir()
    data = demo_rows(tmp_path / "data", train=200, validation=50, test=100)
    monkeypatch.setattr(defaults, "CELLS", {"demo_150": (f"{data}/", 150)})
    monkeypatch.setattr(defaults, "STUDENTS", ("cnn_small",))
    monkeypatch.setattr(defaults, "TEACHER", "cnn_small")
    plain = defaults.settings

    def short(*arguments):
        return plain(*arguments).replace(
            teacher_pooling="auto", epochs=1, teacher_epochs=1, augmented_copies=0
        )

    monkeypatch.setattr(defaults, "settings", short)
    found = defaults.cell("demo_150", None, tmp_path, (0, 1))
    records = [read_json(tmp_path / "demo_150" / f"cnn_small-{k}" / "metrics.json") for k in (0, 1)]
    accuracies = [
        next(row["metrics"]["accuracy"] for row in item["rows"] if row["arm"] == "control")
        for item in records
    ]
    assert found["students"]["cnn_small"]["control"] == pytest.approx(np.mean(accuracies))
    assert found["teacher"] == records[0]["rows"][0]["metrics"]["accuracy"]
    assert found["num_test_rows"] == 100
    monkeypatch.setattr(defaults, "distill", None)
    assert defaults.cell("demo_150", None, tmp_path, (0, 1)) == found
