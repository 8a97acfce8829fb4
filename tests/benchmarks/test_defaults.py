"""The SVM beside the defaults, and their table from figures that were kept."""

import dataclasses

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from benchmarks import defaults
from tfkd.artifacts import read_json
from tfkd.config.verbs import StudyConfig
from tfkd.data.demo import demo_dataset
from tfkd.data.examples import MULTI_LABEL, Dataset, Example
from tfkd.data.sources import FirstRows
from tfkd.studies.form import read_plan


def small_demo():
    demo = demo_dataset()
    splits = {name: FirstRows(rows, 150) for name, rows in demo.splits.items()}
    return dataclasses.replace(demo, splits=splits)


def features_of(dataset):
    texts = {name: [" ".join(row.texts) for row in rows] for name, rows in dataset.splits.items()}
    found = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return found.fit_transform(texts["train"]), found.transform(texts["test"])


def labels_of(dataset, split):
    return [row.label for row in dataset.splits[split]]


def test_svm_is_scikit_learns(monkeypatch):
    monkeypatch.setattr(defaults, "SVM_COSTS", (1.0,))
    dataset = small_demo()
    train, test = features_of(dataset)
    expected = LinearSVC(C=1.0, random_state=0).fit(train, labels_of(dataset, "train"))
    found = defaults.svm_figure(dataset)
    assert found["cost"] == 1.0
    assert found["value"] == pytest.approx(expected.score(test, labels_of(dataset, "test")))


def test_a_class_without_rows_is_never_the_answer():
    """Two of three classes have rows: scikit-learn has one distance, not three."""
    rows = [Example((f"oil {word}",), 0) for word in "ab"] + [Example(("a game",), 2)] * 2
    test = [Example(("oil",), 0), Example(("game",), 2), Example(("game",), 1)]
    splits = {"train": rows, "validation": rows, "test": test}
    dataset = Dataset("x", "single_label", ("a", "b", "c"), 1, "accuracy", splits)
    assert defaults.svm_figure(dataset)["value"] == pytest.approx(2 / 3)


def test_each_of_several_labels_has_an_svm_of_its_own(monkeypatch):
    monkeypatch.setattr(defaults, "SVM_COSTS", (0.3,))
    demo = small_demo()
    names = demo.label_names
    splits = {
        split: [
            Example(row.texts, tuple(sorted({row.label, (row.label + len(row.texts[0])) % 2})))
            for row in rows
        ]
        for split, rows in demo.splits.items()
    }
    dataset = Dataset("x", MULTI_LABEL, names, 1, "macro_f1", splits)

    def multi_hot(split):
        return np.array([[k in row.label for k in range(len(names))] for row in splits[split]])

    train, test = features_of(dataset)
    model = OneVsRestClassifier(LinearSVC(C=0.3, random_state=0)).fit(train, multi_hot("train"))
    expected = f1_score(multi_hot("test"), model.predict(test), average="macro", zero_division=0)
    assert defaults.svm_figure(dataset)["value"] == pytest.approx(expected)


def kept(student, control, verdict):
    means = {"minilm": 0.9, "cnn-minilm": student, "cnn-control": control}
    means |= {"bert_tiny-minilm": 0.8, "bert_tiny-control": 0.7}
    pairs = {"cnn": verdict, "bert_tiny": "BETTER"}
    return {
        "metric": "accuracy",
        "num_test_rows": 2000,
        "rows": [{"arm": arm, "mean": mean, "seeds": [0, 1]} for arm, mean in means.items()],
        "comparisons": [
            {"a": f"{name}-minilm", "b": f"{name}-control", "verdict": found}
            for name, found in pairs.items()
        ],
        "svm": {"value": 0.85},
    }


def test_table_grows_by_what_each_session_made(tmp_path):
    path = tmp_path / "defaults.json"
    defaults.keep(path, "emotion_1000", kept(0.88, 0.87, "INCONCLUSIVE"))
    defaults.keep(path, "sst2_1000", kept(0.82, 0.86, "WORSE"))
    assert list(read_json(path)["datasets"]) == ["emotion_1000", "sst2_1000"]
    page = path.with_suffix(".md").read_text()
    assert (
        "| emotion_1000 | Accuracy | 2,000 | 0.9000 | 0.8500 | 0.8000 | 0.7000 | BETTER | -5.0 | "
        "88.9% | 0.8800 | 0.8700 | INCONCLUSIVE | +3.0 | 97.8% |\n"
        "| sst2_1000 | Accuracy | 2,000 | 0.9000 | 0.8500 | 0.8000 | 0.7000 | BETTER | -5.0 | "
        "88.9% | 0.8200 | 0.8600 | WORSE | -3.0 | 91.1% |\n"
    ) in page


def test_its_study_gives_nothing_but_data_teacher_and_student():
    plan = read_plan(StudyConfig(study=defaults.STUDY))
    shared = {"dataset", "max_train_rows", "student", "seed", "output_dir", "timing", "recipes"}
    for arm in plan.arms:
        # Of which a control is made.
        given = shared | ({"student_loss_weight"} if arm.config.student_loss_weight == 1 else set())
        assert set(arm.config.chosen()) <= given | {"teacher", "control", "quiet", "data_dir"}
    assert {item.settings.model for item in plan.teachers} == {
        "hf://sentence-transformers/all-MiniLM-L6-v2"
    }
