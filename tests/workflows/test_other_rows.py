"""A file that was corrected, or lies elsewhere, between two commands: what is taken up again."""

import csv
import itertools
import os
import re
import shutil

import numpy as np
import pytest

from tests.messages import exactly
from tests.toys import QUIET, Stopped, Stopping
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.config.verbs import BenchmarkConfig, EvaluateConfig, ExportConfig, QuantizeConfig
from tfkd.errors import ArtifactError
from tfkd.locks import held
from tfkd.progress import Progress
from tfkd.runs.known_texts import text_hashes
from tfkd.runs.own_data import own_config, own_material
from tfkd.runs.record import noted_teacher, read_metrics
from tfkd.workflows.benchmark import benchmark
from tfkd.workflows.distill import distill
from tfkd.workflows.evaluate import evaluate
from tfkd.workflows.export import export
from tfkd.workflows.finetune import finetune
from tfkd.workflows.quantize import quantize

pytestmark = pytest.mark.usefixtures("converted_here")
NAMES = ("oil", "sun", "sea", "ice", "owl", "fox", "ash", "elm")
LABELS = ("good", "bad")


def reviews(path, swapped=False, fewer=0):
    """160 rows whose first word tells the label."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for number, (name, other) in enumerate(itertools.product(NAMES, NAMES)):
            for label in (0, 1)[: 1 if number < fewer else 2]:
                first = ("fine", "poor")[label]
                writer.writerow([f"{first} {name} {other} {number}", LABELS[label != swapped]])
    return path


def settings(folder, run="run", **changes):
    return DistillConfig(
        **{
            "dataset": str(folder / "reviews.csv"),
            "teacher": "cnn_small",
            "student": "cnn_small",
            "teacher_epochs": 1,
            "epochs": 1,
            "teacher_sequence_length": 8,
            "sequence_length": 8,
            "augmented_copies": 0,
            "control": False,
            "timing": False,
            "recipes": ("float32",),
            "output_dir": folder / "runs" / run,
            "quiet": True,
            **changes,
        }
    )


class Told(Progress):
    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run and its teacher beside it."""
    folder = tmp_path_factory.mktemp("made")
    reviews(folder / "reviews.csv")
    distill(settings(folder), QUIET)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """The same, moved; the data of before are gone with it."""
    shutil.copytree(made, tmp_path / "project")
    run = RunFolder(tmp_path / "project" / "runs" / "run")
    record = artifacts.read_json(run.config)
    record["data"]["place"]["dataset"] = record["dataset"] = str(tmp_path / "gone" / "reviews.csv")
    keep(run, record)
    return tmp_path / "project"


def keep(run, settings):
    """Settings of a finished run, as if it had been made with them."""
    artifacts.write_record(run.config, settings)
    run.finish(artifacts.read_json(run.metrics))


def splits(path):
    return artifacts.read_json(path / "metrics.json")["data"]["splits"]


def test_a_run_knows_where_its_rows_lie_and_which_they_are(made):
    run = RunFolder(made / "runs" / "run")
    record = artifacts.read_json(run.metrics)
    assert record["warning"].startswith("The test is too small: of 26 rows the Accuracy of student")
    assert run.data["place"]["dataset"] == str(made / "reviews.csv")
    assert run.data["splits"] == splits(run.path)
    assert (
        len(np.load(run.path / "training" / "texts.npy")) == splits(run.path)["train"]["num_rows"]
    )


def test_a_teacher_of_other_rows_is_left_and_one_of_these_is_made(made, tmp_path):
    shutil.copytree(made / "runs", tmp_path / "runs")
    old, told = tmp_path / "runs" / "reviews-cnn_small-finetuned", Told()
    before = (old / "model" / "model.keras").read_bytes()
    reviews(tmp_path / "reviews.csv", swapped=True)
    result = distill(settings(tmp_path, "second"), told)
    record = artifacts.read_json(result.path / "metrics.json")
    teacher = RunFolder(result.path).find(record["teacher_folder"]).parent
    assert re.fullmatch(r"reviews-cnn_small-finetuned-[0-9a-f]{8}", teacher.name)
    assert splits(teacher) == splits(result.path) != splits(old)
    assert (old / "model" / "model.keras").read_bytes() == before
    train, other = splits(old)["train"], splits(teacher)["train"]
    assert told.lines[3] == (
        f"{old} is of other rows: train was {train['num_rows']} rows, fingerprint "
        f"{train['fingerprint'][:8]} and is {other['num_rows']} rows, fingerprint "
        f"{other['fingerprint'][:8]}; a teacher of these is {teacher}"
    )
    # The next run takes it, and the old rows have their own.
    again = distill(settings(tmp_path, "third"), QUIET)
    assert artifacts.read_json(again.path / "metrics.json")["teacher_folder"] == str(
        teacher / "model"
    )
    assert len(list((tmp_path / "runs").glob("*-finetuned*"))) == 2


@pytest.mark.parametrize("changes", [{"swapped": True}, {"fewer": 3}])
def test_a_killed_run_does_not_go_on_with_other_rows(made, tmp_path, changes):
    shutil.copytree(made / "runs", tmp_path / "runs")
    reviews(tmp_path / "reviews.csv")
    config = settings(tmp_path, "killed", dataset=str(made / "reviews.csv"))
    with pytest.raises(Stopped, match="^train student"):
        distill(config, Stopping(start="train student"))
    reviews(tmp_path / "reviews.csv", **changes)
    other = config.replace(dataset=str(tmp_path / "reviews.csv"))
    with pytest.raises(ArtifactError, match="Expected the settings the unfinished run"):
        distill(other, QUIET)
    record = artifacts.read_json(config.output_dir / "config.json")
    artifacts.write_json(config.output_dir / "config.json", {**record, **other.to_dict()})
    message = (
        f"^Expected the rows the unfinished run in {re.escape(str(config.output_dir))} was started "
        "with. Received others: train was "
    )
    with pytest.raises(ArtifactError, match=message):
        distill(other, QUIET)
    assert not (config.output_dir / "student").exists()


def test_an_arm_of_another_teacher_is_trained_anew(made, tmp_path):
    shutil.copytree(made / "runs", tmp_path / "runs")
    run = RunFolder(tmp_path / "runs" / "run")
    run.metrics.unlink()
    config = settings(made).replace(output_dir=run.path)
    told = Told()
    distill(config, told)
    assert not any("trained anew" in line for line in told.lines)
    before = (run.model / "model.keras").read_bytes()
    path = run.path / "training" / "student.json"
    artifacts.write_json(path, {**artifacts.read_json(path), "made_of": "0123456789abcdef"})
    run.metrics.unlink()
    distill(config, told)
    line = f"{run.model} is of other rows or another teacher: it is trained anew"
    assert told.lines.count(line) == 1
    assert (run.model / "model.keras").read_bytes() == before


@pytest.mark.slow
def test_parts_take_turns_as_test_and_no_teacher_knows_its_own(tmp_path):
    reviews(tmp_path / "reviews.csv")
    result = distill(settings(tmp_path, folds=2), QUIET)
    runs = [RunFolder(tmp_path / "runs" / "run-folds" / fold) for fold in ("1", "2")]
    assert result.folds.num_rows == (64, 64)
    tested = []
    for run, accuracy in zip(runs, result.folds.values["teacher"], strict=True):
        rows = own_material(run, EvaluateConfig(run=run.path), QUIET).dataset.splits["test"]
        tested += [row.texts for row in rows]
        (teacher,) = (row for row in read_metrics(run)["rows"] if row["arm"] == "teacher")
        assert teacher["metrics"]["accuracy"] == accuracy
        known = np.load(noted_teacher(run).parent / "training" / "texts.npy")
        assert not np.isin(text_hashes(rows), known).any()
    assert len(set(tested)) == len(tested) == 128
    assert result.render()[:3] == result.folds.render()
    kept = read_metrics(RunFolder(result.path))["folds"]
    assert kept == artifacts.read_json(tmp_path / "runs" / "run-folds" / "folds.json")
    assert kept["means"]["student"] == np.mean(result.folds.values["student"])
    with pytest.raises(ArtifactError, match="^Expected an output folder without a finished run"):
        distill(settings(tmp_path, folds=2), QUIET)


def test_a_teacher_that_knows_test_rows_is_refused_before_anything_is_made(made, tmp_path):
    shutil.copytree(made / "runs", tmp_path / "runs")
    teacher = tmp_path / "runs" / "reviews-cnn_small-finetuned"
    config = settings(made, teacher=str(teacher), split_seed=1).replace(
        output_dir=tmp_path / "runs" / "other"
    )
    with pytest.raises(ArtifactError, match="to know no row that is held out. It was trained on"):
        distill(config, QUIET)
    assert not config.output_dir.exists()
    # Nor does a model that is trained on forget what it knows.
    more = FinetuneConfig(
        dataset=config.dataset,
        model=str(teacher),
        split_seed=1,
        output_dir=tmp_path / "runs" / "more",
        quiet=True,
    )
    with pytest.raises(ArtifactError, match="to know no row that is held out. It was trained on"):
        finetune(more, QUIET)
    assert not more.output_dir.exists()


VERBS = {
    "quantize": lambda run, **data: quantize(
        QuantizeConfig(run=run, recipes=("float32",), quiet=True, **data), QUIET
    ),
    "export": lambda run, **data: export(
        ExportConfig(run=run, recipes=("float32",), overwrite=True, **data), QUIET
    ),
    "benchmark": lambda run, **data: benchmark(BenchmarkConfig(runs=(run,), **data), QUIET),
}


@pytest.mark.parametrize("verb", VERBS)
def test_data_that_moved_are_asked_for_and_others_are_refused(folder, tmp_path, verb):
    run = folder / "runs" / "run"
    message = (
        f"Expected the data set of {run} in {tmp_path / 'gone' / 'reviews.csv'}. It is not there. "
        "Say where it is now: --dataset."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        VERBS[verb](run)
    path = reviews(folder / "reviews.csv", swapped=True)
    message = (
        f"^Expected the rows that {re.escape(str(run))} was made of. Received others from "
        f"{re.escape(str(path))}: (train|test) was .* Give the data set as it was to --dataset, or "
        "make the run again.$"
    )
    with pytest.raises(ArtifactError, match=message):
        VERBS[verb](run, dataset=str(path))


def test_evaluate_says_that_data_moved_and_reads_them_in_a_folder(folder, made, tmp_path):
    """A data set that is given is scored whole, so this needs another option."""
    run = folder / "runs" / "run"
    message = (
        f"Expected the data set of {run} in {tmp_path / 'gone' / 'reviews.csv'}. It is not there. "
        "Say where it is now: --data-dir."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        evaluate(EvaluateConfig(run=run), QUIET)
    result = evaluate(EvaluateConfig(run=run, data_dir=folder), QUIET)
    assert result.num_rows == splits(run)["test"]["num_rows"] == 26
    told = Told()
    assert (
        evaluate(EvaluateConfig(run=run, dataset=str(folder / "reviews.csv")), told).num_rows == 128
    )
    assert told.lines[-1] == (
        f"83 of 128 rows are such that {run} was trained on: what it knows of them it need not "
        "know of others"
    )
    reviews(folder / "reviews.csv", swapped=True)
    with pytest.raises(ArtifactError, match=r" Give the data set as it was to --data-dir, or make"):
        evaluate(EvaluateConfig(run=run, data_dir=folder), QUIET)


def test_data_that_moved_are_read_where_they_are_now(folder):
    run = folder / "runs" / "run"
    assert own_config(RunFolder(run), None, folder).dataset == str(folder / "reviews.csv")
    result = VERBS["quantize"](run, dataset=str(folder / "reviews.csv"))
    assert result.data["splits"] == splits(run)
    assert result.data["dataset"] == artifacts.read_json(run / "config.json")["dataset"]


def test_relative_paths_are_found_from_another_folder(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    data = {"dataset": "reviews.csv", "output_dir": tmp_path / "runs" / "run"}
    made_here = finetune(FinetuneConfig(model="cnn_small", epochs=1, quiet=True, **data), QUIET)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    reviews(tmp_path / "elsewhere" / "reviews.csv", swapped=True)
    run = RunFolder(tmp_path / "runs" / "run")
    assert own_config(run, None, None).dataset == str(made / "reviews.csv")
    assert own_material(run, EvaluateConfig(run=run.path), QUIET).dataset.name == "reviews.csv"
    found = evaluate(EvaluateConfig(run=run.path), QUIET)
    accuracy = artifacts.read_json(run.metrics)["metrics"]["accuracy"]
    assert [row.metrics["accuracy"] for row in found.rows] == [accuracy]
    # Of both it is the first thing said.
    said = f"The test is too small: of 26 rows the Accuracy of model, {accuracy:.4f}, is known to"
    assert found.warning.startswith(said)
    assert found.render()[0] == made_here.render()[0] == found.warning == made_here.warning
    # Where it was: what has its name there now, if it is the same.
    config = artifacts.read_json(run.config)
    config["data"]["place"]["dataset"] = str(tmp_path / "gone.csv")
    keep(run, config)
    with pytest.raises(ArtifactError, match="Received others from reviews.csv: test was "):
        evaluate(EvaluateConfig(run=run.path), QUIET)
    shutil.copy(made / "reviews.csv", "reviews.csv")
    evaluate(EvaluateConfig(run=run.path), QUIET)


def test_the_folder_of_data_sets_is_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("TFKD_DATA_DIR", raising=False)
    (tmp_path / "data" / "reviews").mkdir(parents=True)
    reviews(tmp_path / "data" / "reviews" / "train.csv")
    monkeypatch.chdir(tmp_path)
    data = {"dataset": "reviews", "data_dir": "data", "output_dir": tmp_path / "run"}
    finetune(
        FinetuneConfig.from_mapping({**data, "model": "cnn_small", "epochs": 1, "quiet": True}),
        QUIET,
    )
    run = RunFolder(tmp_path / "run")
    assert run.data["place"] == {"dataset": "reviews", "data_dir": str(tmp_path / "data")}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    evaluate(EvaluateConfig(run=run.path), QUIET)
    os.rename(tmp_path / "data", tmp_path / "moved")
    assert own_config(run, None, None).data_dir is None
    evaluate(EvaluateConfig(run=run.path, data_dir=tmp_path / "moved"), QUIET)


WRITERS = {
    "distill": lambda run: distill(settings(run.parents[1], run.name, overwrite=True), QUIET),
    "finetune": lambda run: finetune(
        FinetuneConfig(
            dataset=str(run.parents[1] / "reviews.csv"),
            model="cnn_small",
            output_dir=run,
            overwrite=True,
        ),
        QUIET,
    ),
    "quantize": VERBS["quantize"],
    "export": VERBS["export"],
}


@pytest.mark.parametrize("verb", WRITERS)
def test_a_verb_writes_no_run_that_another_writes(made, tmp_path, verb):
    shutil.copytree(made, tmp_path / "made")
    run = tmp_path / "made" / "runs" / "run"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    message = f"Expected a run that no other command writes. Received: {run} is being written by"
    with held(run, "distill"), pytest.raises(ArtifactError, match=f"^{re.escape(message)}"):
        WRITERS[verb](run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
