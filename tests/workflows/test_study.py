"""Studies on the demo set with tiny models: whole, interrupted, reported, added to."""

import dataclasses
import re
import shutil

import numpy as np
import pytest

from tests.messages import exactly
from tests.toys import QUIET, Stopped, Stopping, demo_rows, frozen_encoder
from tfkd import artifacts
from tfkd.compression.recipes import RECIPES
from tfkd.config.verbs import ReportConfig, StudyConfig
from tfkd.errors import ArtifactError, ConfigError
from tfkd.models import readings
from tfkd.models.bottleneck import find_bottleneck
from tfkd.models.classifier import TextClassifier
from tfkd.reports.predictions import Predictions
from tfkd.runs.material import prepare
from tfkd.studies.form import read_plan
from tfkd.studies.making import make_arm, make_teacher
from tfkd.workflows.report import report
from tfkd.workflows.study import study

pytestmark = pytest.mark.usefixtures("converted_here")
FORM = """
seeds = [0, 1]
recipes = ["dynamic_int8"]
timed_texts = 0
[settings]
augmented_copies = 0
max_train_rows = 400
sequence_length = 24
epochs = 2
learning_rate = 0.01
batch_size = 32
[teachers.cnn]
model = "cnn_small"
epochs = 2
learning_rate = 0.01
sequence_length = 24
[students.cnn_small]
[datasets.demo]
dataset = "DATA"
[[published]]
dataset = "demo"
arm = "cnn_small-cnn"
value = 0.5
source = "nobody, a number to test with"
"""


SQUARED = """
seeds = [0]
[settings]
augmented_copies = 0
max_train_rows = 100
sequence_length = 16
epochs = 1
distillation_loss = "mse"
[teachers.cnn]
model = "cnn_small"
epochs = 1
[students.cold]
student = "cnn_small"
temperature = 1.0
[students.hot]
student = "cnn_small"
temperature = 5.0
[students.divergence]
student = "cnn_small"
distillation_loss = "kl"
[datasets.demo]
dataset = "DATA"
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Rows of the demo set as files."""
    return f"{demo_rows(tmp_path_factory.mktemp('data'), train=400, validation=100, test=400)}/"


@pytest.fixture(scope="module")
def form(data):
    return FORM.replace("DATA", data)


def config(folder, form, **changes):
    path = folder / "tiny.toml"
    path.write_text(form, encoding="utf-8")
    return StudyConfig(study=path, output_dir=folder / "tiny", quiet=True, **changes)


@pytest.fixture(scope="module")
def whole(form, tmp_path_factory):
    """A finished study, its folder and its result."""
    folder = tmp_path_factory.mktemp("whole")
    return folder / "tiny", study(config(folder, form))


def row(result, arm, file="keras"):
    rows = result.datasets["demo"]["rows"]
    return next(item for item in rows if (item["arm"], item["file"]) == (arm, file))


def test_table_has_teacher_control_student_and_file(whole):
    _, result = whole
    assert [(item["arm"], item["file"]) for item in result.datasets["demo"]["rows"]] == [
        ("cnn", "keras"),
        ("cnn_small-control", "keras"),
        ("cnn_small-cnn", "keras"),
        ("cnn_small-cnn", "dynamic_int8"),
    ]
    student = row(result, "cnn_small-cnn")
    assert student["seeds"] == [0, 1]
    assert student["mean"] == pytest.approx(np.mean(student["values"]))
    assert student["values"][0] != student["values"][1]
    assert row(result, "cnn_small-cnn", "dynamic_int8")["size_bytes"] < student["size_bytes"] / 2


def test_every_arm_and_seed_is_a_run_of_its_own(whole):
    path, result = whole
    names = {item.name for item in path.iterdir()}
    arms = {f"demo-cnn_small-{arm}-seed{seed}" for arm in ("cnn", "control") for seed in (0, 1)}
    written = {"plan.json", "study.json", "README.md", "report.html"}
    assert names == {*arms, *written, "demo-cnn", "cache"}
    for name in arms:
        settings = artifacts.read_json(path / name / "config.json")
        assert settings["verb"] == "distill"
    assert artifacts.read_json(path / "study.json") == result.to_dict()
    # One scoring pass for train and one for test, whatever the number of arms.
    assert len(list((path / "cache" / "teacher_logits").iterdir())) == 2


def test_answers_of_every_arm_are_kept(whole):
    path, result = whole
    for seed in (0, 1):
        found = Predictions.read(path / f"demo-cnn_small-cnn-seed{seed}")
        assert found.models == ("student", "dynamic_int8", "teacher")
        values = row(result, "cnn_small-cnn")["values"]
        assert found.agree("student").mean() == pytest.approx(values[seed])
        assert found.agree("teacher").mean() == pytest.approx(row(result, "cnn")["mean"])
        control = Predictions.read(path / f"demo-cnn_small-control-seed{seed}")
        assert control.models == ("student",)


def test_control_has_the_students_budget(whole):
    path, _ = whole
    plans = [
        artifacts.read_json(path / f"demo-cnn_small-{arm}-seed1" / "training" / "student.json")
        for arm in ("cnn", "control")
    ]
    assert plans[0]["plan"] == plans[1]["plan"]
    assert plans[0]["plan"]["seed"] == 1


def test_questions_are_answered_in_words(whole):
    _, result = whole
    sentences = result.sentences("demo")
    sides = [
        ("cnn_small-cnn", "cnn_small-control"),
        ("cnn_small-cnn", "its teacher cnn"),
        ("cnn_small-cnn dynamic_int8", "cnn_small-cnn"),
    ]
    for line, (a, b) in zip(sentences, sides, strict=True):
        judged = f"{a} is (better|worse) than {b} by "
        assert re.match(f"{judged}|{a} against {b} is inconclusive: ", line)
    share = row(result, "cnn_small-cnn")["mean"] / row(result, "cnn")["mean"]
    assert sentences[1].endswith(f" It reaches {share:.1%} of the teacher's figure.")


def test_published_figures_stand_apart(whole):
    _, result = whole
    page = result.markdown()
    assert "| Published |" in page
    assert "Published beside cnn_small-cnn: 0.5000, nobody, a number to test with." in page
    assert 0.5 not in row(result, "cnn_small-cnn")["values"]


def test_report_needs_no_model(whole, tmp_path):
    path, result = whole
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    for model in copy.rglob("model.keras"):
        model.unlink()
    shutil.rmtree(copy / "cache")
    made = report(ReportConfig(folders=(copy,), output_dir=tmp_path))
    (found,) = made.studies
    assert found == result
    assert made.pages == (tmp_path / "tiny.html",)
    assert made.leads == (result.sentences("demo")[0],)
    assert (tmp_path / "tiny.html").read_text() == (path / "report.html").read_text()
    assert artifacts.read_json(tmp_path / "tiny.json") == result.to_dict()
    assert (tmp_path / "tiny.md").read_text(encoding="utf-8") == found.markdown()


def test_interrupted_study_ends_with_the_same_numbers(whole, form, tmp_path):
    path, result = whole
    for count in (3, 5, 5):
        with pytest.raises(Stopped, match=r"\w"):
            study(config(tmp_path, form), Stopping(count))
        with pytest.raises(ArtifactError, match="Start `tfkd study` again; it goes on"):
            report(ReportConfig(folders=(tmp_path / "tiny",)))
    assert study(config(tmp_path, form)).to_dict() == result.to_dict()
    models = [file.relative_to(path) for file in path.glob("**/model.keras")]
    assert len(models) == 5
    for name in models:
        assert (tmp_path / "tiny" / name).read_bytes() == (path / name).read_bytes(), name


def test_finished_study_makes_nothing_again(whole, form, tmp_path):
    path, result = whole
    copy = tmp_path / "tiny"
    shutil.copytree(path, copy)
    shutil.rmtree(copy / "cache")
    assert study(config(tmp_path, form)).to_dict() == result.to_dict()
    assert not (copy / "cache").exists()


def test_arm_made_with_other_settings_is_not_taken_in_silence(whole, form, tmp_path):
    path, _ = whole
    shutil.copytree(path, tmp_path / "tiny")
    other = form.replace("[students.cnn_small]", "[students.cnn_small]\ntemperature = 3.0")
    message = "to be made with temperature=3.0. Received: temperature=2.0. Delete it"
    with pytest.raises(ArtifactError, match=message):
        study(config(tmp_path, other))
    other = form.replace('model = "cnn_small"\nepochs = 2', 'model = "cnn_small"\nepochs = 3')
    with pytest.raises(ArtifactError, match="to be made with teacher_marks="):
        study(config(tmp_path, other))


def test_answers_that_were_changed_are_refused(whole, tmp_path):
    path, _ = whole
    shutil.copytree(path, tmp_path / "tiny")
    scores = tmp_path / "tiny" / "demo-cnn" / "scores.npz"
    np.savez(scores, labels=np.zeros(2))
    message = (
        f"^Expected {scores} as tfkd wrote it. Received: another content. Delete {scores.parent} "
    )
    with pytest.raises(ArtifactError, match=message):
        report(ReportConfig(folders=(tmp_path / "tiny",)))


def test_a_student_that_does_not_load_is_refused_before_its_teacher_is_made(data, tmp_path):
    student = frozen_encoder(tmp_path / "encoder", ["oil fell", "rain again"], ("a", "b"))
    (student / "model.keras").write_bytes(b"cut short")
    form = (
        'seeds = [0]\n[teachers.cnn]\nmodel = "cnn_small"\n[students.broken]\n'
        f'student = "{student}"\n[datasets.demo]\ndataset = "{data}"\n'
    )
    message = f"^Expected {re.escape(str(student))}/model.keras as tfkd wrote it. Received: another"
    with pytest.raises(ArtifactError, match=message):
        study(config(tmp_path, form))
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["plan.json"]


def test_times_that_are_gone_are_missed(whole, tmp_path):
    path, _ = whole
    shutil.copytree(path, tmp_path / "tiny")
    plan, times = (tmp_path / "tiny" / name for name in ("plan.json", "demo-times.json"))
    kept = artifacts.read_json(plan)
    artifacts.write_record(plan, {**kept, "content": {**kept["content"], "timed_texts": 3}})
    message = (
        f"Expected a finished study in {plan.parent}. Received: one without {times} and 0 more "
        "files. Start `tfkd study` again; it goes on where it stopped."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        report(ReportConfig(folders=(plan.parent,)))
    artifacts.write_json(times, {})
    message = (
        f"Expected {times} as tfkd wrote it. Received: times=None. Delete it and start the study "
        "again."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        report(ReportConfig(folders=(plan.parent,)))


def test_file_that_fails_its_gate_is_left_out_and_said(whole, form, tmp_path, monkeypatch):
    path, result = whole
    shutil.copytree(path, tmp_path / "tiny")
    arm = tmp_path / "tiny" / "demo-cnn_small-cnn-seed1"
    for file in ("metrics.json", "scores.json", "student/dynamic_int8.tflite"):
        (arm / file).unlink()
    strict = dataclasses.replace(RECIPES["dynamic_int8"], maximum_logit_difference=0.0)
    monkeypatch.setitem(RECIPES, "dynamic_int8", strict)
    found = study(config(tmp_path, form))
    assert not (arm / "student" / "dynamic_int8.tflite").exists()
    (refused,) = found.datasets["demo"]["refused"]
    assert re.match(
        "No dynamic_int8 of cnn_small-cnn, seed 1: Expected from dynamic_int8.tflite agreement of "
        "at least 0.98 and logits within 0 of the Keras model's. Received: .* not kept.",
        refused,
    )
    assert refused in found.markdown()
    kept, before = row(found, "cnn_small-cnn", "dynamic_int8"), row(result, "cnn_small-cnn")
    assert (kept["seeds"], kept["values"]) == ([0], [pytest.approx(before["values"][0], abs=0.01)])
    assert row(found, "cnn_small-cnn") == before
    *others, last = found.datasets["demo"]["comparisons"]
    assert (last["a"], len(last["within"])) == ("cnn_small-cnn dynamic_int8", 1)
    assert others == result.datasets["demo"]["comparisons"][:-1]
    shutil.rmtree(tmp_path / "tiny" / "cache")
    assert study(config(tmp_path, form)).to_dict() == found.to_dict()


def test_arms_added_later_make_only_their_own_runs(whole, form, tmp_path):
    path, _ = whole
    shutil.copytree(path, tmp_path / "tiny")
    scored = {item: item.stat().st_mtime_ns for item in tmp_path.rglob("scores.npz")}
    form = form.replace("[0, 1]", "[0]").replace(
        "[students.cnn_small]",
        f'[teachers.ready]\nready = "{path / "demo-cnn"}"\n[students.cnn_small]',
    )
    for teachers in (["cnn"], ["cnn", "ready"]):
        form += f'[[arms]]\nstudent = "cnn_small"\nteachers = {teachers}\n'
    result = study(config(tmp_path, form))
    assert {item: item.stat().st_mtime_ns for item in scored} == scored
    both = row(result, "cnn_small-cnn+ready")
    # Two equal teachers teach what one does.
    one = row(result, "cnn_small-cnn")
    assert both["values"] == pytest.approx(one["values"], abs=0.005)
    assert both["agreement"] == pytest.approx(one["agreement"], abs=0.005)


PARTS = """
seeds = [0]
timed_texts = 0
[settings]
augmented_copies = 0
dataset = "DATA"
max_train_rows = 100
sequence_length = 16
epochs = 1
[teachers.cnn]
model = "cnn_small"
epochs = 1
[students.cnn_small]
[datasets.left]
[datasets.right]
"""


def test_sessions_make_the_data_sets_of_a_study_in_any_order(data, tmp_path):
    form = PARTS.replace("DATA", data)
    message = "^Expected a data set of .*tiny.toml. Received: 'rigth'. Did you mean `right`?"
    with pytest.raises(ConfigError, match=message):
        study(config(tmp_path, form, datasets=["rigth"]))
    part = study(config(tmp_path, form, datasets=["right"]))
    assert [step["state"] for step in part.steps()] == ["to do"] * 3 + ["done"] * 3
    whole = study(config(tmp_path, form, datasets=["left"]))
    assert list(whole.datasets) == ["left", "right"]
    assert whole.datasets["left"]["rows"] == whole.datasets["right"]["rows"]


def test_squared_error_of_logits_knows_no_temperature(data, tmp_path):
    """With the divergence, every loss would follow the temperature."""
    plan = read_plan(config(tmp_path, SQUARED.replace("DATA", data)))
    material = prepare(plan.arms[0].config, plan.path, QUIET)
    plans = {item.name: item for item in plan.teachers}
    teachers = {name: make_teacher(item, material) for name, item in plans.items()}
    losses = {}
    for arm in plan.arms:
        if arm.teachers:
            make_arm(arm, plans, teachers, material)
            record = artifacts.read_json(arm.path / "training" / "student.json")
            losses[arm.student] = record["history"][0]["distillation_loss"]
    assert losses["divergence"] != losses["cold"] == losses["hot"]


BOTTLENECK = """
seeds = [0, 1]
recipes = ["float32"]
timed_texts = 0
[settings]
augmented_copies = 0
max_train_rows = 300
sequence_length = 24
epochs = 1
[teachers.cnn]
model = "cnn_small"
epochs = 1
sequence_length = 24
[students.frozen]
student = "{encoder}"
bottleneck = "mlp"
bottleneck_keys = 12
[datasets.demo]
dataset = "DATA"
"""


def test_a_bottleneck_is_a_student_like_any(data, tmp_path, monkeypatch):
    passes, read = [], readings._read
    monkeypatch.setattr(readings, "_read", lambda *given: passes.append(given) or read(*given))
    texts = ["oil prices fell again, rain fell on the river"] * 3
    encoder = frozen_encoder(tmp_path / "encoder", texts, ("a", "b", "c", "d"))
    form = BOTTLENECK.replace("DATA", data).format(encoder=encoder.as_posix())
    result = study(config(tmp_path, form), QUIET)
    assert "frozen-cnn" in result.markdown()
    first, second, other = (
        find_bottleneck(TextClassifier.load(tmp_path / "tiny" / f"demo-{name}" / "student").model)
        for name in ("frozen-control-seed0", "frozen-cnn-seed0", "frozen-cnn-seed1")
    )
    np.testing.assert_array_equal(first.keys.keys, second.keys.keys)
    assert np.abs(np.asarray(first.values.values) - second.values.values).max() > 1e-4
    assert np.abs(np.asarray(other.keys.keys) - second.keys.keys).max() > 1e-4
    # All arms were trained, judged and tested from one pass of the encoder over each split.
    assert len(passes) == 3
    cache = tmp_path / "tiny" / "cache"
    assert len(list((cache / "readings").iterdir())) == 2 * 3
    assert len(list((cache / "keys").glob("*.npy"))) == 2


def test_a_bottleneck_without_an_encoder_is_refused_before_the_teacher_is_made(tmp_path):
    form = BOTTLENECK.format(encoder="bert_tiny")
    with pytest.raises(ConfigError, match="^Expected a student with a trained encoder"):
        study(config(tmp_path, form), QUIET)
    assert not (tmp_path / "tiny" / "demo-cnn").exists()
