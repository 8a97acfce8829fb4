"""A multi-label run from its rows to its answers: every model decides at thresholds of its own."""

import json
import random

import numpy as np
import pytest

from tests.toys import QUIET
from tfkd import artifacts
from tfkd.compression.litert import LiteRTModel
from tfkd.config.training import DistillConfig
from tfkd.config.verbs import (
    EvaluateConfig,
    PredictConfig,
    QuantizeConfig,
    ReportConfig,
    StudyConfig,
)
from tfkd.evaluation import metrics
from tfkd.evaluation.thresholds import average_precision, tuned_thresholds
from tfkd.models.classifier import TextClassifier
from tfkd.runs.material import prepare
from tfkd.workflows.distill import distill
from tfkd.workflows.evaluate import evaluate
from tfkd.workflows.predict import predict
from tfkd.workflows.quantize import quantize
from tfkd.workflows.report import report
from tfkd.workflows.study import study

pytestmark = pytest.mark.usefixtures("converted_here")
# How often a word's label comes with it: storms are announced more often than they arrive.
CHANCES = {"rain": 0.95, "wind": 0.7, "storm": 0.35}


def rows(seed, count):
    chance, fillers = random.Random(seed), ["today", "there", "may", "be", "more", "near"]
    lines = ["text,labels"]
    for _ in range(count):
        words = [word for word in CHANCES if chance.random() < 0.4]
        given = [word for word in words if chance.random() < CHANCES[word]]
        text = words + chance.sample(fillers, 3)
        chance.shuffle(text)
        lines.append(f'{" ".join(text)},"{" ".join(given)}"')
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "weather"
    folder.mkdir()
    for seed, (split, count) in enumerate({"train": 400, "validation": 200, "test": 300}.items()):
        (folder / f"{split}.csv").write_text(rows(seed, count), encoding="utf-8")
    return f"{folder}/"


@pytest.fixture(scope="module")
def config(data, tmp_path_factory):
    budget = {"epochs": 4, "learning_rate": 0.02, "batch_size": 32, "sequence_length": 12}
    return DistillConfig(
        dataset=data,
        teacher="cnn_small",
        student="cnn_small",
        recipes=("dynamic_int8",),
        augmented_copies=0,
        output_dir=tmp_path_factory.mktemp("saved_models") / "weather",
        quiet=True,
        **budget,
        **{f"teacher_{name}": value for name, value in budget.items()},
    )


@pytest.fixture(scope="module")
def result(config):
    with pytest.MonkeyPatch.context() as patch:
        # Memory and times, each in a process of its own, have tests of their own.
        patch.setattr("tfkd.workflows.distill._costs", lambda *_: {})
        return distill(config)


@pytest.fixture(scope="module")
def splits(config, result):
    """Tokens of validation and test; one tokenizer serves all models."""
    material = prepare(config, result.path.parent, QUIET)
    return {
        name: material.tokens(name, result.student.tokenizer) for name in ("validation", "test")
    }


def folders(result):
    noted = artifacts.read_json(result.path / "metrics.json")["teacher_folder"]
    return {"teacher": noted, **{arm: result.path / arm for arm in ("student", "control")}}


def test_every_model_keeps_thresholds_tuned_on_its_own_validation_logits(result, splits):
    tokens, found = splits["validation"], {}
    for arm, folder in folders(result).items():
        classifier = TextClassifier.load(folder)
        best = tuned_thresholds(classifier.logits(tokens), np.asarray(tokens.labels))
        found[arm] = classifier.thresholds
        assert found[arm] == best.tolist()
    assert found["student"] != found["control"] != found["teacher"]
    names = result.student.label_names
    # What comes in a third of the cases is still worth saying; a half would never say it.
    assert found["student"][names.index("storm")] < 0.45


def test_figures_are_decided_at_them(result, splits):
    tokens = splits["test"]
    labels, models = np.asarray(tokens.labels), {}
    for arm, folder in folders(result).items():
        models[arm] = TextClassifier.load(folder)
    logits = {arm: model.logits(tokens) for arm, model in models.items()}
    for row in (row for row in result.rows if row.arm != "baseline"):
        model, answers = models[row.arm], logits[row.arm]
        if row.recipe != "keras":
            file = LiteRTModel(result.path / "student" / f"{row.recipe}.tflite")
            answers = file.predict_encoded(tokens.arrays(np.arange(len(tokens))))
        expected = metrics.evaluate(
            "multi_label",
            answers,
            labels,
            model.label_names,
            None if row.arm == "teacher" else logits["teacher"],
            model.thresholds,
            models["teacher"].thresholds,
        )
        assert row.metrics["f1_per_class"] == pytest.approx(expected.pop("f1_per_class"), abs=0.01)
        for name, value in expected.items():
            assert row.metrics[name] == pytest.approx(value, abs=0.01), (row.arm, name)
        half = metrics.evaluate("multi_label", answers, labels, model.label_names)
        assert row.metrics["macro_f1"] > half["macro_f1"] + 0.05
    found = result.comparisons["student_vs_control"]
    student, control = (
        metrics.evaluate(
            "multi_label",
            logits[arm],
            labels,
            models[arm].label_names,
            None,
            models[arm].thresholds,
        )["macro_f1"]
        for arm in ("student", "control")
    )
    assert found.difference == pytest.approx(student - control, abs=1e-6)


def test_epochs_are_judged_without_thresholds(result, splits):
    tokens = splits["validation"]
    record = artifacts.read_json(result.path / "training" / "student.json")
    judged = [epoch["validation_average_precision"] for epoch in record["history"]]
    assert record["best_epoch"] == 1 + int(np.argmax(judged))
    logits = result.student.logits(tokens)
    # An epoch is judged in the precision of training: bfloat16 where the processor has it.
    assert max(judged) == pytest.approx(
        average_precision(logits, np.asarray(tokens.labels)), abs=1e-3
    )
    half = metrics.evaluate("multi_label", logits, np.asarray(tokens.labels), ["a", "b", "c"])
    best = record["history"][record["best_epoch"] - 1]
    assert best["validation_macro_f1"] == pytest.approx(half["macro_f1"], abs=1e-2)


def test_page_says_how_labels_are_chosen(result):
    page = (result.path / "README.md").read_text(encoding="utf-8")
    assert "A text has the labels whose probability is above their own thresholds" in page


def test_later_verbs_decide_as_the_run_did(result):
    again = evaluate(EvaluateConfig(run=result.path), QUIET)
    student = result.metrics
    found = next(row.metrics for row in again.rows if row.arm == "student")
    assert found["macro_f1"] == pytest.approx(student["macro_f1"])
    files = quantize(QuantizeConfig(run=result.path, recipes=("dynamic_int8",)), QUIET)
    assert files.float_metrics["jaccard"] == pytest.approx(student["jaccard"])
    assert files.files[0].metrics["macro_f1"] == pytest.approx(student["macro_f1"], abs=0.02)
    assert files.files[0].metrics["agreement"] > 0.98


def test_answers_have_the_labels_of_the_figures(result):
    texts = ["rain wind", "storm near", "today there"]
    logits = result.student.predict(texts)
    expected = metrics.decisions("multi_label", logits, result.student.thresholds)
    names = np.array(result.student.label_names)
    found = predict(PredictConfig(run=result.path), texts)
    assert [one.labels for one in found] == [tuple(names[row == 1]) for row in expected]
    (storm,) = predict(PredictConfig(run=result.path), ["storm near"])
    assert storm.labels == ("storm",)
    assert storm.probabilities["storm"] < 0.5


def test_study_keeps_the_thresholds_for_its_report(data, result, tmp_path):
    teacher = artifacts.read_json(result.path / "metrics.json")["teacher_folder"]
    form = f"""
seeds = [0]
timed_texts = 0
[settings]
augmented_copies = 0
sequence_length = 12
epochs = 3
learning_rate = 0.02
batch_size = 32
[teachers.one]
ready = "{teacher}"
[teachers.two]
ready = "{result.path / "control"}"
[students.cnn_small]
[datasets.weather]
dataset = "{data}"
[[arms]]
student = "cnn_small"
teachers = ["one", "two"]
"""
    (tmp_path / "tiny.toml").write_text(form, encoding="utf-8")
    settings = StudyConfig(study=tmp_path / "tiny.toml", output_dir=tmp_path / "tiny", quiet=True)
    made = study(settings)
    assert report(ReportConfig(folders=(tmp_path / "tiny",))).studies == (made,)
    row = next(row for row in made.datasets["weather"]["rows"] if row["arm"] == "one")
    expected = next(row.metrics for row in result.rows if row.arm == "teacher")
    assert row["mean"] == pytest.approx(expected["macro_f1"])
    kept = json.loads((tmp_path / "tiny" / "weather-one" / "scores.json").read_text())
    assert kept["thresholds"] == TextClassifier.load(teacher).thresholds
