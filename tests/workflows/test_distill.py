"""The whole way on the demo set: from text to a table, and what later verbs make of the folder."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import softmax
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from tests.messages import exactly
from tests.toys import QUIET, run_fresh_here
from tfkd import artifacts
from tfkd.cli import verbs
from tfkd.compression.litert import LiteRTModel
from tfkd.config.verbs import BenchmarkConfig, EvaluateConfig, ExportConfig
from tfkd.data import sources
from tfkd.data.demo import best_accuracy, posterior
from tfkd.errors import ArtifactError
from tfkd.evaluation.rows import result_table, stage_table
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.token_table import token_table
from tfkd.process import KERAS_LOADER, TimedModel
from tfkd.reports.predictions import Predictions
from tfkd.runs.costs import ModelFile, model_files
from tfkd.runs.material import prepare
from tfkd.runs.student import new_student
from tfkd.workflows.benchmark import benchmark
from tfkd.workflows.distill import distill
from tfkd.workflows.evaluate import evaluate
from tfkd.workflows.export import export
from tfkd.workflows.report import report

pytestmark = pytest.mark.usefixtures("converted_here")


@pytest.fixture(scope="module")
def test_rows():
    """Texts and labels of the demo test split."""
    rows = list(sources.load("demo").splits["test"])
    return [row.texts[0] for row in rows], np.array([row.label for row in rows])


@pytest.fixture(scope="module")
def logits(demo_result, test_rows):
    """What both arms, loaded from their folders, answer to these texts."""
    return {
        arm: TextClassifier.load(demo_result.path / arm).predict(test_rows[0])
        for arm in ("student", "control")
    }


@pytest.fixture(scope="module")
def material(demo_config, demo_result):
    """The run's data, from its own cache."""
    return prepare(demo_config, demo_result.path.parent, QUIET)


@pytest.fixture
def without_costs(monkeypatch):
    """Memory and times of one run are enough: each takes a process of its own."""
    monkeypatch.setattr("tfkd.workflows.distill._costs", lambda *_: {})


def row(result, arm, recipe="keras"):
    return next(item for item in result.rows if (item.arm, item.recipe) == (arm, recipe))


def test_run_folder_holds_all_parts(demo_result):
    expected = {
        "config.json",
        "metrics.json",
        "README.md",
        "report.html",
        "predictions.parquet",
        "logs",
        "training",
        "student",
        "control",
    }
    found = {path.name for path in demo_result.path.iterdir()}
    assert found == expected
    student = {path.name for path in (demo_result.path / "student").iterdir()}
    assert student == {
        "model.keras",
        "classifier.json",
        "labels.txt",
        "tokenizer",
        "float32.tflite",
        "float32.json",
        "dynamic_int8.tflite",
        "dynamic_int8.json",
    }


def test_table_has_a_row_for_each_arm_and_file(demo_result):
    assert [(item.arm, item.recipe) for item in demo_result.rows] == [
        ("teacher", "keras"),
        ("baseline", "scikit-learn"),
        ("control", "keras"),
        ("student", "keras"),
        ("student", "float32"),
        ("student", "dynamic_int8"),
    ]
    for item in demo_result.rows:
        assert item.size_bytes is None or item.size_bytes > 0
    sizes = {
        recipe: row(demo_result, "student", recipe).size_bytes
        for recipe in ("keras", "float32", "dynamic_int8")
    }
    assert sizes["dynamic_int8"] < 0.35 * sizes["float32"]
    path = demo_result.path / "student" / "dynamic_int8.tflite"
    assert sizes["dynamic_int8"] == path.stat().st_size


def test_figures_are_those_of_the_saved_models(demo_result, test_rows, logits):
    texts, labels = test_rows
    predicted = logits["student"].argmax(axis=1)
    answers = demo_result.student.predict(texts[:50])
    np.testing.assert_allclose(answers, logits["student"][:50], atol=1e-4)
    assert row(demo_result, "student").metrics["accuracy"] == (predicted == labels).mean()
    model = LiteRTModel(demo_result.path / "student" / "dynamic_int8.tflite")
    answers = model.predict(texts[:200]).argmax(axis=1)
    assert (answers == predicted[:200]).mean() >= 0.98


def test_arms_stay_under_the_best_possible_and_near_it(demo_result):
    for item in demo_result.rows:
        # Three standard errors of 2,000 rows above the true posterior's accuracy.
        error = (best_accuracy() * (1 - best_accuracy()) / 2000) ** 0.5
        assert 0.80 <= item.metrics["accuracy"] <= best_accuracy() + 3 * error, item.arm


def test_probabilities_are_near_the_true_ones(test_rows, logits):
    predicted = softmax(logits["student"], axis=1)
    distance = np.abs(predicted - posterior(test_rows[0])).sum(axis=1).mean() / 2
    # Total variation; always answering the class frequencies would give 0.67.
    assert distance < 0.25


def test_student_and_control_start_alike_and_train_alike(demo_config, demo_result, material):
    teacher = TextClassifier.load(demo_result.path.parent / "demo-cnn-finetuned" / "model")
    first, second = (
        new_student(demo_config, resolve("bert_tiny"), teacher, material).model.get_weights()
        for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    records = [
        artifacts.read_json(demo_result.path / "training" / f"{name}.json")
        for name in ("student", "control")
    ]
    assert records[0]["plan"] == records[1]["plan"]
    assert [r["epoch"] for r in records] == [2, 2]


def test_student_starts_from_the_teachers_table(demo_config, demo_result, material):
    teacher = TextClassifier.load(demo_result.path.parent / "demo-cnn-finetuned" / "model")
    student = new_student(demo_config, resolve("bert_tiny"), teacher, material)
    table = token_table(student.model).embeddings
    np.testing.assert_array_equal(table, teacher.model.get_layer("token_embedding").embeddings)
    unlike = demo_config.replace(initialization="random")
    student = new_student(unlike, resolve("bert_tiny"), teacher, material)
    assert not np.array_equal(token_table(student.model).embeddings, table)


def test_comparison_is_paired_on_the_test_rows(demo_result, test_rows, logits):
    right = {arm: answers.argmax(axis=1) == test_rows[1] for arm, answers in logits.items()}
    found = demo_result.comparisons["student_vs_control"]
    assert found.num_rows == 2000
    assert found.only_a == (right["student"] & ~right["control"]).sum()
    assert found.only_b == (right["control"] & ~right["student"]).sum()
    assert demo_result.sentences[-2] == found.sentence("student", "control") + "."


def test_metrics_file_says_what_made_it(demo_result):
    metrics = artifacts.read_json(demo_result.path / "metrics.json")
    assert metrics["seed"] == 0
    assert metrics["versions"] == artifacts.versions()
    assert metrics["data"]["splits"]["train"]["num_rows"] == 2100
    assert re.fullmatch("[0-9a-f]{64}", metrics["data"]["splits"]["test"]["fingerprint"])
    assert metrics["rows"] == [item.to_dict() for item in demo_result.rows]


STAGES = [
    "read and check",
    "fine-tune the teacher",
    "score the baselines",
    "tokenize",
    "score with the teacher",
    "train control",
    "train student",
    "convert and check files",
    "measure times",
    "measure memory",
    "score the test rows",
    "compare",
    "other",
]


def test_seconds_of_every_stage_are_shown_and_kept(demo_result):
    assert list(demo_result.seconds) == STAGES
    metrics = artifacts.read_json(demo_result.path / "metrics.json")
    assert metrics["seconds"] == demo_result.seconds
    for arm in ("student", "control"):
        assert metrics["training"][arm]["seconds"] <= metrics["seconds"][f"train {arm}"]
    table = stage_table(demo_result.seconds)
    assert table in demo_result.render()
    assert table.markdown() in (demo_result.path / "README.md").read_text()
    teacher = artifacts.read_json(demo_result.path.parent / "demo-cnn-finetuned" / "metrics.json")
    made = list(teacher["seconds"])
    assert made == ["read and check", *STAGES[1:5], "other"]
    assert teacher["training"]["seconds"] <= teacher["seconds"]["fine-tune the teacher"]


def test_trainings_of_earlier_sessions_are_counted(demo_config, demo_result):
    """A run that was killed after its trainings takes them up as they are, timed or not."""
    path = demo_result.path.parent / "demo-killed"
    shutil.copytree(demo_result.path, path)
    (path / "metrics.json").unlink()
    for arm in ("student", "control"):
        record = path / "training" / f"{arm}.json"
        artifacts.write_json(record, artifacts.read_json(record) | {"seconds": 1000.0})
    result = distill(demo_config.replace(output_dir=path, timing=False))
    seconds = result.seconds
    # Loading what was trained comes on top.
    assert all(1000 <= seconds[f"train {arm}"] < 1060 for arm in ("student", "control"))
    missing = {"fine-tune the teacher", "tokenize", "measure times", "measure memory"}
    assert sorted(seconds) == sorted(name for name in STAGES if name not in missing)
    # Nothing was timed: bytes alone are known, and the table says so.
    metrics = artifacts.read_json(path / "metrics.json")
    assert metrics["costs"] == {}
    assert [item["latency"] for item in metrics["rows"]] == [{}] * 6
    assert [item.size_bytes for item in result.rows if item.arm != "control"] == [
        item.size_bytes for item in demo_result.rows if item.arm != "control"
    ]
    table = result_table(result.rows, "accuracy")
    assert table in result.render()
    assert table.columns[-1].title == "p50, ms"
    assert set(table.columns[-1].cells) == {"-"}
    assert "--no-timing" in (path / "README.md").read_text()


def test_readme_of_the_run_shows_table_and_command(demo_config, demo_result):
    text = (demo_result.path / "README.md").read_text()
    assert f"```shell\n{demo_config.command_line('distill')}\n```" in text
    assert demo_config.command_line("distill") == (
        "python -m tfkd distill --dataset demo --max-train-rows 2100 --epochs 2 --batch-size 32 "
        "--learning-rate 0.003 --teacher cnn --teacher-epochs 2 --teacher-learning-rate 0.003 "
        "--teacher-sequence-length 48 --student bert_tiny --sequence-length 48 "
        "--augmented-copies 0"
    )
    assert f"{row(demo_result, 'student').metrics['accuracy']:.4f}" in text


def test_answers_to_every_test_row_are_kept(demo_result, test_rows):
    texts, labels = test_rows
    found = Predictions.read(demo_result.path)
    assert found.models == ("teacher", "control", "student", "float32", "dynamic_int8", "words")
    assert found.columns["text"].tolist() == list(texts)
    for item in demo_result.rows:
        name = item.arm if item.recipe == "keras" else item.recipe
        name = "words" if item.arm == "baseline" else name
        assert found.agree(name).mean() == pytest.approx(item.metrics["accuracy"])
    names = demo_result.student.label_names
    assert found.columns["label"].tolist() == [names[label] for label in labels]


def test_page_of_the_run_is_what_report_writes_again(demo_result, tmp_path):
    page = (demo_result.path / "report.html").read_text(encoding="utf-8")
    report(folders=(demo_result.path,), output_dir=tmp_path)
    assert (tmp_path / f"{demo_result.path.name}.html").read_text(encoding="utf-8") == page
    card = (tmp_path / f"{demo_result.path.name}.md").read_text(encoding="utf-8")
    assert (demo_result.path / "README.md").read_text(encoding="utf-8") == card
    assert demo_result.render()[-1].startswith(
        f"Everything is in {demo_result.path}; open {demo_result.path / 'report.html'} in a browser"
    )


def test_tensorboard_shows_both_arms_on_the_same_axes(demo_result):
    tags = {}
    for arm in ("student", "control", "teacher"):
        events = EventAccumulator(str(demo_result.path / "logs" / arm))
        events.Reload()
        tags[arm] = set(events.Tags()["tensors"])
    losses = {f"train/{name}" for name in ("loss", "student_loss", "distillation_loss")}
    watched = {
        f"watch/{name}" for name in ("learning_rate", "examples_per_second", "gradient_norm")
    }
    curves = losses | watched | {"validation/accuracy"}
    assert curves <= tags["student"] and curves <= tags["control"]
    final = {f"when finished: test/{name}" for name in ("confusion matrix", "accuracy")}
    for arm in tags:
        assert {*final, "config"} <= tags[arm]
        # TensorBoard shows them by name: losses, validation, the rest, then what has one dot.
        shown = sorted(tag for tag in tags[arm] if "/" in tag and not tag.startswith("_"))
        groups = list(dict.fromkeys(tag.split("/")[0] for tag in shown))
        order = ["train", "validation", "watch", "when finished: test"]
        assert groups == (order[-1:] if arm == "teacher" else order)


def test_teacher_logits_are_asked_once(demo_config, demo_result, without_costs):
    folder = demo_result.path.parent / "cache" / "teacher_logits"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    other = demo_config.replace(
        student="cnn_small",
        epochs=1,
        control=False,
        recipes=["dynamic_int8"],
        output_dir=demo_result.path.parent / "demo-cnn_small",
    )
    result = distill(other)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")} == before
    assert len(before) == 2 + 1 + 1  # 2,100, 2,000 and 1,000 rows in shards of 2,048
    assert [(item.arm, item.recipe) for item in result.rows] == [
        ("teacher", "keras"),
        ("baseline", "scikit-learn"),
        ("student", "keras"),
        ("student", "dynamic_int8"),
    ]
    assert list(result.comparisons) == ["student_vs_words", "student_vs_teacher"]


def test_rows_without_labels_are_answered_once_and_cost_the_control_as_many_steps(
    demo_config, demo_result, without_costs, tmp_path
):
    (tmp_path / "more.txt").write_text("rain on the river\n" * 40)
    config = demo_config.replace(
        student="cnn_small",
        epochs=1,
        recipes=["float32"],
        augmented_copies=2,
        max_train_rows=300,
        unlabelled=str(tmp_path / "more.txt"),
        teacher=str(demo_result.path.parent / "demo-cnn-finetuned"),
        output_dir=tmp_path / "copies",
    )
    result = distill(config)
    splits = artifacts.read_json(result.path / "metrics.json")["data"]["splits"]
    assert {name: splits[name]["num_rows"] for name in ("train", "transfer")} == {
        "train": 300,
        "transfer": 1020,
    }
    records = [
        artifacts.read_json(result.path / "training" / f"{arm}.json")
        for arm in ("student", "control")
    ]
    logs = [record["history"][0] for record in records]
    assert all("distillation_loss" in log for log in logs)
    events = [list((result.path / "logs" / arm).glob("events*")) for arm in ("student", "control")]
    assert all(events)
    # The labels' part is a third: two of three rows have none.
    assert logs[0]["student_loss"] < 0.5 * logs[1]["student_loss"]
    folders = [path for path in (tmp_path / "cache" / "teacher_logits").iterdir()]
    rows = sorted(artifacts.read_json(path / "manifest.json")["num_rows"] for path in folders)
    assert rows == [1000, 1020, 2000]
    message = "^Expected the settings|^Expected an output folder without a finished run"
    with pytest.raises(ArtifactError, match=message):
        distill(config.replace(augmented_copies=3))


def test_finished_run_is_not_overwritten(demo_config, demo_result):
    message = (
        f"Expected an output folder without a finished run. Received: {demo_result.path}. Add "
        "--overwrite to replace it, or give another --output-dir."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        distill(demo_config)


def test_evaluate_gives_the_figures_of_the_run(demo_result):
    result = evaluate(EvaluateConfig(run=demo_result.path), QUIET)
    assert [item.arm for item in result.rows] == ["student", "control"]
    for item in result.rows:
        expected = dict(row(demo_result, item.arm).metrics)
        del expected["agreement"]
        assert item.metrics["confusion_matrix"] == expected.pop("confusion_matrix")
        assert item.metrics["f1_per_class"] == pytest.approx(expected.pop("f1_per_class"))
        assert {key: item.metrics[key] for key in expected} == pytest.approx(expected)


def test_export_writes_a_folder_that_works_alone(demo_result, test_rows, tmp_path):
    texts, _ = test_rows
    config = ExportConfig(
        run=demo_result.path, output_dir=tmp_path, recipes=("dynamic_int8",), lengths=(16, 48)
    )
    result = export(config, QUIET)
    model = LiteRTModel(tmp_path / "dynamic_int8.tflite")
    assert model.lengths == (16, 48)
    assert result.reports["dynamic_int8"]["passed"]
    student = demo_result.student.predict(texts[:50])
    assert (model.predict(texts[:50]).argmax(1) == student.argmax(1)).mean() >= 0.96
    message = f"Expected no file {tmp_path / 'dynamic_int8.tflite'}. It exists."
    with pytest.raises(ArtifactError, match=re.escape(message)):
        export(config, QUIET)


def test_files_are_timed_with_the_threads_that_are_asked_for(tmp_path):
    file = ModelFile("run/student", tmp_path, "dynamic_int8").timed(3)
    path = tmp_path / "dynamic_int8.tflite"
    assert file == TimedModel("tfkd.compression.litert:LiteRTModel", path, {"threads": 3})
    # TensorFlow's threads are those of the process.
    keras_file = ModelFile("run/student", tmp_path, "keras").timed(3)
    assert keras_file == TimedModel(KERAS_LOADER, tmp_path)


def test_files_of_a_run_are_its_teacher_its_student_and_the_students_files(demo_result):
    files = ["teacher", "student", "student/float32", "student/dynamic_int8"]
    found = model_files(artifacts.RunFolder(demo_result.path))
    assert [file.name for file in found] == [f"demo-bert_tiny/{name}" for name in files]
    costs = artifacts.read_json(demo_result.path / "metrics.json")["costs"]
    assert [cost["file"] for cost in costs.values()] == [file.name for file in found]
    for cost in costs.values():
        assert cost["latency"]["encoded_p50_ms"] > 0
        assert 0 < cost["latency"]["p50_ms"] <= cost["latency"]["p99_ms"]
        # A slow model is timed on fewer of the 100 texts, three times each.
        assert cost["latency"]["num_calls"] in range(30, 301, 3)
        assert cost["size_bytes"] == artifacts.Path(cost["path"]).stat().st_size
        assert cost["peak_memory_bytes"] > 50e6


def test_benchmark_times_all_files_in_turn(demo_result, monkeypatch):
    for module in ("timing", "memory"):
        monkeypatch.setattr(f"tfkd.evaluation.{module}.run_fresh", run_fresh_here)
    config = BenchmarkConfig(runs=(demo_result.path,), texts=4, rounds=2)
    result = benchmark(config, QUIET)
    assert [cost.file for cost in result.costs] == [
        f"demo-bert_tiny/{name}"
        for name in ("teacher", "student", "student/float32", "student/dynamic_int8")
    ]
    for cost in result.costs:
        assert cost.latency.encoded_p50_ms > 0
        assert 0 < cost.latency.p50_ms <= cost.latency.p99_ms
        assert cost.latency.num_calls == 8
        assert cost.size_bytes == artifacts.Path(cost.path).stat().st_size
        assert cost.peak_memory_bytes > 50e6


def test_predict_answers_like_the_model(demo_result, test_rows):
    texts = test_rows[0][:3]
    runner = CliRunner()
    done = runner.invoke(verbs, ["predict", str(demo_result.path), "--json", *texts])
    assert done.exit_code == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    expected = softmax(demo_result.student.predict(texts), axis=1)
    for answer, probabilities in zip(answers, expected, strict=True):
        found = list(answer["probabilities"].values())
        np.testing.assert_allclose(found, probabilities, atol=1e-5)


def test_unfinished_run_goes_on_only_with_the_same_settings(demo_config, demo_result, tmp_path):
    run = artifacts.RunFolder(tmp_path / "run")
    run.start("distill", demo_config.replace(temperature=3.0).to_dict(), overwrite=False)
    message = (
        f"Expected the settings the unfinished run in {run.path} was started with: "
        "temperature=3.0. Received: temperature=2.0. Give the same settings to go on, --overwrite "
        "to start anew, or another --output-dir."
    )
    teacher = str(demo_result.path.parent / "demo-cnn-finetuned")
    unlike = demo_config.replace(output_dir=run.path)
    with pytest.raises(ArtifactError, match=exactly(message)):
        distill(unlike)
    assert not (run.path / "student").exists()
    assert resolve(teacher).is_ready


def test_folder_of_files_is_a_data_set(tmp_path):
    words = {"rain": ["rain", "cloud", "storm"], "goal": ["goal", "match", "team"]}
    lines = ["text,label"] + [
        f"the {first} and the {second} today,{label}"
        for label, (one, two, three) in words.items()
        for first, second in itertools.permutations((one, two, three), 2)
        for _ in range(6)
    ]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    arguments = [
        "finetune",
        "--dataset",
        f"{tmp_path}/",
        "--model",
        "cnn",
        "--epochs",
        "6",
        "--quiet",
        "--batch-size",
        "8",
        "--validation-fraction",
        "0.2",
        "--sequence-length",
        "16",
        "--json",
        "--output-dir",
        str(tmp_path / "runs" / "weather"),
    ]
    done = CliRunner().invoke(verbs, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["metrics"]["accuracy"] == 1.0


def test_teacher_made_with_other_settings_is_not_taken_in_silence(demo_config, demo_result):
    teacher = demo_result.path.parent / "demo-cnn-finetuned"
    unlike = demo_config.replace(teacher_epochs=1, output_dir=demo_result.path.parent / "other")
    message = (
        f"Expected the teacher in {teacher} to be made with epochs=1. Received: epochs=2. Give "
        f"--teacher {teacher} to take it as it is, or delete it."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        distill(unlike)
