"""A small run's student through the recipes that train: what is trained, written, kept and said."""

import ast
import shutil
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

import tfkd
from tests.messages import exactly
from tests.toys import QUIET, demo_rows
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import AwareConfig, DistillConfig, FinetuneConfig
from tfkd.config.verbs import ExportConfig, QuantizeConfig
from tfkd.errors import ArtifactError, ConfigError
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.runs import aware as workflow
from tfkd.runs.arm import train_arm
from tfkd.runs.aware import AwareTraining
from tfkd.runs.budget import STUDENT
from tfkd.runs.files import StudentFiles
from tfkd.runs.material import Material, prepare
from tfkd.runs.teacher import train_logits
from tfkd.runs.training import Objective, plan
from tfkd.workflows.export import export
from tfkd.workflows.quantize import quantize

pytestmark = pytest.mark.usefixtures("converted_here")
ROOT = Path(tfkd.__file__).parent


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A run of 10 steps an epoch."""
    data = demo_rows(tmp_path_factory.mktemp("data"), train=320, validation=200, test=200)
    return DistillConfig(
        dataset=f"{data}/",
        max_train_rows=320,
        batch_size=32,
        epochs=1,
        sequence_length=16,
        output_dir=tmp_path_factory.mktemp("saved_models") / "demo-cnn",
        quiet=True,
    )


@pytest.fixture(scope="module")
def material(config) -> Material:
    return prepare(config, config.output_dir.parent, QUIET)


@pytest.fixture(scope="module")
def run(config, material):
    """A student that one epoch taught, and a teacher beside it."""
    run = RunFolder(config.output_dir)
    run.start("distill", config.to_dict(), overwrite=False)
    student = load_classifier(resolve("cnn_small"), material.dataset, Shape(16))
    shape = Shape(16, "auto", 1)
    teacher = load_classifier(resolve("cnn_small"), material.dataset, shape, student.tokenizer)
    teacher.save(run.path.parent / "teacher")
    run.finish({"teacher_folder": str(run.path.parent / "teacher"), "versions": {}})
    objective = Objective(train_logits(run, material), config.temperature, 0.3)
    train_arm("student", student, objective, plan(config, 1e-2, STUDENT, 320), material, run)
    return run


@pytest.fixture(scope="module")
def result(run):
    return quantize(QuantizeConfig(run=run.path, recipes=("qat_int8",)), QUIET)


def training(run, material, **settings):
    """Asks the teacher of the run."""
    student = TextClassifier.load(run.model)
    settings = AwareConfig(**settings)
    return AwareTraining(run, student, material, settings, lambda: train_logits(run, material))


def done(run, material, **settings):
    """May load what was trained, and train nothing."""

    def never():
        raise AssertionError("the teacher was asked")

    student = TextClassifier.load(run.model)
    return AwareTraining(run, student, material, AwareConfig(**settings), never)


def arrays(aware):
    return aware.encode(["the harbour bridge opens again", "rain", "a match over night"] * 5)


def copied(run, folder):
    """The run without what was quantized."""
    shutil.copytree(run.path, folder, ignore=shutil.ignore_patterns("qat*"))
    return RunFolder(folder)


def test_the_file_stands_in_the_table_with_its_proof(run, result):
    assert [file.recipe for file in result.files] == ["qat_int8"]
    proof = result.files[0].parity["integer_proof"]
    assert proof["exceptions"] == []
    assert result.files[0].parity["agreement"] >= 0.98
    assert result.files[0].path == run.model / "qat_int8.tflite"
    told = f"qat_int8 is quantized during training: {proof['products']} products and "
    assert [line for line in result.sentences if line.startswith(told)] == [
        f"{told}{proof['lookups']} table lookup{'s' * (proof['lookups'] != 1)} over all lengths, "
        "all integer. Its logit diff. is to the model that was trained."
    ]
    assert result.render()[0].columns[0].cells == ("qat_int8",)


def test_what_was_trained_is_recorded(run, result):
    record = artifacts.read_json(run.path / "qat" / "qat_int8.json")
    settings = record["settings"]
    assert settings["learning_rate"] == pytest.approx(1e-3)  # A tenth of the student's.
    assert (settings["epochs"], settings["batch_size"], settings["precision"]) == (1, 32, "float32")
    assert (settings["temperature"], settings["student_loss_weight"]) == (2.0, 0.3)
    assert settings["distillation_loss"] == "kl"
    assert settings["freeze_after"] == 8  # Of 10 steps.
    assert [entry["epoch"] for entry in record["history"]] == [1]
    assert {"student_loss", "distillation_loss", "validation_accuracy"} <= set(record["history"][0])
    assert record["seconds"] > 0
    assert record["file_sha256"] == artifacts.file_sha256(result.files[0].path)
    assert not (run.path / "unfinished").exists()


def test_tensorboard_shows_the_ranges(run, result):
    events = EventAccumulator(str(run.logs / "qat_int8"))
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"validation/accuracy", "ranges/logits/output/low", "ranges/logits/output/high"} <= tags


def test_what_is_done_is_not_done_again(run, material, result):
    before = result.files[0].path.stat().st_mtime_ns
    again = done(run, material)
    assert again.is_kept("qat_int8")
    loaded = again.train("qat_int8")
    with np.load(run.path / "qat" / "qat_int8.npz") as stored:
        assert float(stored["logits/output_high"]) == loaded.ranges()["logits/output"][1]
    assert result.files[0].path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "settings",
    [
        {"qat_epochs": 2},
        {"qat_learning_rate": 0.5},
        {"qat_frozen_fraction": 0.5},
        {"integer_softmax": True},
    ],
    ids=str,
)
def test_a_file_made_otherwise_is_not_taken(run, material, result, settings):
    assert not done(run, material, **settings).is_kept("qat_int8")
    assert not done(run, material).is_kept("qat_int4_tables")


def test_a_changed_file_or_training_is_not_taken(run, material, result, tmp_path):
    other = RunFolder(tmp_path / "run")
    shutil.copytree(run.path, other.path)
    assert done(other, material).is_kept("qat_int8")
    record = artifacts.read_json(other.path / "qat" / "qat_int8.json")
    path = other.path / "qat" / "qat_int8.json"
    artifacts.write_json(path, {**record, "file_sha256": "of an older file"})
    assert not done(other, material).is_kept("qat_int8")
    artifacts.write_json(path, record)
    (other.path / "qat" / "qat_int8.npz").write_bytes(b"half")
    assert not done(other, material).is_kept("qat_int8")


def test_distill_takes_the_file_as_any_other(config, run, material, result):
    student = TextClassifier.load(run.model)
    files = StudentFiles(run, student, material, config, config.seed, lambda: np.zeros([0]))
    exported = files.make(["qat_int8"])
    assert exported.paths == {"qat_int8": run.model / "qat_int8.tflite"}
    assert exported.reports["qat_int8"]["integer_proof"]["exceptions"] == []
    assert "agreement 1.0000" in exported.render()[0] or "agreement 0.9" in exported.render()[0]


def test_an_interrupted_training_goes_on(run, material, tmp_path, monkeypatch):
    class Stopped(workflow.RangeLog):
        def scalars(self, step, values):
            if step == 20:
                raise KeyboardInterrupt
            super().scalars(step, values)

    whole, broken = copied(run, tmp_path / "whole"), copied(run, tmp_path / "broken")
    settings = {"qat_epochs": 2, "qat_learning_rate": 0.002}
    expected = training(whole, material, **settings).train("qat_int8")
    with monkeypatch.context() as patch:
        patch.setattr(workflow, "RangeLog", Stopped)
        with pytest.raises(KeyboardInterrupt, match="^$"):
            training(broken, material, **settings).train("qat_int8")
    assert not (broken.path / "qat").exists()
    found = training(broken, material, **settings).train("qat_int8")
    for name in ("whole", "broken"):
        assert artifacts.read_json(tmp_path / name / "qat" / "qat_int8.json")["epoch"] == 2
    np.testing.assert_allclose(
        found.predict_encoded(arrays(found)), expected.predict_encoded(arrays(found)), atol=1e-5
    )


def test_a_run_without_a_teacher_learns_from_labels(run, config, material, tmp_path):
    other = copied(run, tmp_path / "run")
    settings = FinetuneConfig(dataset=config.dataset, max_train_rows=320).to_dict()
    artifacts.write_json(other.config, {"verb": "finetune", **settings})
    artifacts.write_json(other.metrics, {"versions": {}})
    training(other, material).train("qat_int8")
    record = artifacts.read_json(other.path / "qat" / "qat_int8.json")
    assert record["settings"]["student_loss_weight"] == 1.0
    assert record["history"][0]["loss"] == record["history"][0]["student_loss"]
    assert "distillation_loss" not in record["history"][0]


def test_a_run_older_than_a_setting_is_kept(run, result, material, tmp_path):
    other = RunFolder(tmp_path / "run")
    shutil.copytree(run.path, other.path)
    artifacts.write_json(other.metrics, artifacts.read_json(other.metrics))
    for path in (other.config, other.path / "qat" / "qat_int8.json"):
        content = artifacts.read_json(path)
        del content.get("settings", content)["distillation_loss"]
        artifacts.write_json(path, content)
    assert done(other, material).is_kept("qat_int8")
    content["settings"]["distillation_loss"] = "mse"
    artifacts.write_json(path, content)
    assert not done(other, material).is_kept("qat_int8")


def test_squared_error_of_a_run_is_kept_up_and_knows_no_temperature(
    run, config, material, tmp_path
):
    """With the divergence, every loss would follow the temperature."""
    losses = []
    for name, temperature in (("kl", 5.0), ("mse", 1.0), ("mse", 5.0)):
        other = copied(run, tmp_path / f"{name}{temperature}")
        settings = config.replace(distillation_loss=name, temperature=temperature).to_dict()
        artifacts.write_record(other.config, {"verb": "distill", **settings})
        other.finish(artifacts.read_json(other.metrics))
        training(other, material).train("qat_int8")
        record = artifacts.read_json(other.path / "qat" / "qat_int8.json")
        assert record["settings"]["distillation_loss"] == name
        losses.append(record["history"][0]["distillation_loss"])
    assert losses[0] != losses[1] == losses[2]


def test_a_teacher_that_is_gone_is_missed(run, material, tmp_path):
    other = copied(run, tmp_path / "run")
    artifacts.write_json(other.metrics, {"teacher_folder": "gone/model", "versions": {}})
    message = (
        f"Expected the teacher of {other.path} in {other.path}/gone/model. It is not there. Put it "
        "there again, or make the run again."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        train_logits(other, material)


def test_export_points_to_quantize(run):
    message = (
        "Expected recipes that need no training. Received: qat_int8. Write it with `tfkd quantize "
        f"{run.path} --recipe qat_int8`."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        export(ExportConfig(run=run.path, recipes=("qat_int8",)), QUIET)


def test_nothing_of_it_is_loaded_unasked():
    """Outside its own package, only a function that needs it imports it."""
    importers = {
        path.parent.name
        for path in ROOT.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tfkd.compression.qat")
    }
    assert importers == {"qat"}
