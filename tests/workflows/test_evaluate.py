"""Scoring a run on other rows: all of a file, by the run's own classes, counted and recorded."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.messages import exactly
from tests.workflows.test_predict import LABELS, make_run
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.cli import verbs
from tfkd.config.verbs import EvaluateConfig
from tfkd.data.examples import MULTI_LABEL
from tfkd.errors import ConfigError, DatasetError
from tfkd.progress import Progress
from tfkd.workflows.evaluate import evaluate

SETTINGS = {"dataset": "weather", "split_seed": 0, "seed": 0, "model": "cnn"}


def finished_run(path, **options):
    make_run(path, **options)
    run = RunFolder(path)
    artifacts.write_json(run.path / "config.json", run.read_config() | SETTINGS)
    artifacts.write_json(run.metrics, {})
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Says weather to rain, sport to goal, politics to vote."""
    return finished_run(tmp_path_factory.mktemp("runs") / "run")


def write(path, rows, column="label"):
    path.write_text(f"text,{column}\n" + "".join(f'{text},"{label}"\n' for text, label in rows))
    return str(path)


def score(run, dataset, **settings):
    return evaluate(EvaluateConfig(run=run, dataset=dataset, **settings), Progress(quiet=True))


ROWS = [("rain", "weather"), ("goal", "sport"), ("goal goal", "weather"), ("rain rain", "weather")]


def test_every_row_of_a_file_is_scored_with_the_classes_of_the_run(run, tmp_path):
    path = write(tmp_path / "test.csv", ROWS)  # No row of politics.
    result = score(run, path)
    assert result.num_rows == 4
    assert result.rows[0].metrics["accuracy"] == 0.75
    assert result.rows[0].metrics["confusion_matrix"] == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert result.rows[0].command == f"python -m tfkd evaluate {run} --dataset {path}"
    assert result.to_dict()["num_rows"] == 4
    assert result.render()[-1] == "Split: test, 4 rows."


def test_one_class_is_enough_and_indices_are_those_of_the_run(run, tmp_path):
    path = write(tmp_path / "test.csv", [("goal", 1), ("rain", 1)])
    assert score(run, path).rows[0].metrics["confusion_matrix"] == [[0, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_a_label_that_the_run_does_not_have(run, tmp_path):
    path = write(tmp_path / "test.csv", [("goal", "sport"), ("rain", "business")])
    message = (
        f"Expected a label of the run {run} (weather, sport, politics) or an index 0 to 2 in "
        f"{path}, row 2 (row 1 is the first row of data). Received: 'business'. "
        "Correct the label, or drop the row."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        score(run, path)


def test_a_split_of_a_folder_is_scored_as_it_is(run, tmp_path):
    write(tmp_path / "train.csv", ROWS * 10)
    folder = str(tmp_path)
    with pytest.raises(
        DatasetError, match=r"^Expected the split test in .* only train\. Add a fil"
    ):
        score(run, folder)
    assert score(run, folder, split="train").num_rows == 40
    write(tmp_path / "validation.csv", ROWS)
    assert score(run, folder).num_rows == score(run, folder, split="validation").num_rows == 4
    write(tmp_path / "test.csv", ROWS[:2])
    assert score(run, folder).num_rows == 2


def test_several_labels_are_read_as_those_of_the_run(tmp_path):
    run = finished_run(tmp_path / "several", task=MULTI_LABEL, thresholds=0.6)
    rows = [("rain goal", "sport|weather"), ("rain", "politics"), ("vote", "politics")]
    result = score(run, write(tmp_path / "test.csv", rows, "labels"))
    assert result.num_rows == 3
    assert result.rows[0].metrics["f1_per_class"] == {
        "weather": pytest.approx(2 / 3),
        "sport": 1.0,
        "politics": pytest.approx(2 / 3),
    }
    assert score(run, write(tmp_path / "b.csv", [("rain", "weather")], "labels")).num_rows == 1


@pytest.fixture(scope="module")
def run_of_tickets(tmp_path_factory):
    """A run whose settings name its columns, as those of a training do."""
    path = finished_run(tmp_path_factory.mktemp("runs") / "tickets")
    run = RunFolder(path)
    named = {"text_column": "body", "label_columns": ["kind"], "fold_case": True}
    artifacts.write_json(run.path / "config.json", run.read_config() | named)
    return path


def test_another_file_is_read_by_the_columns_and_repairs_of_the_run(run_of_tickets, tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("n,body,kind\n1,rain,Weather\n2,goal,SPORT\n3, ,sport\n")
    answer = CliRunner().invoke(
        verbs, ["evaluate", str(run_of_tickets), "--dataset", str(path), "--drop-empty"]
    )
    assert answer.exit_code == 0
    said = answer.stderr.splitlines()
    assert "columns: body as text, kind as label; ignored: n" in said
    assert "left out of train: 1 without a text or a label" in said
    assert "Split: test, 2 rows." in answer.stdout
    path.write_text("text,kind\nrain,weather\n")
    message = f"Expected a column `body` in {path}. Received: text, kind. Correct --text-column."
    with pytest.raises(DatasetError, match=exactly(message)):
        score(run_of_tickets, str(path))
    assert score(run_of_tickets, str(path), text_column="text").num_rows == 1


@pytest.mark.parametrize("changes", [{"text_column": "body"}, {"drop_empty": True}])
def test_the_own_rows_of_a_run_are_read_as_it_read_them(run, changes):
    message = (
        "Expected --dataset beside --drop-empty and options of columns. Received: none, and the "
        "run's own rows are read as it read them. Leave these options out."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        evaluate(EvaluateConfig(run=run, **changes), Progress(quiet=True))


def test_the_answer_says_labels_and_rows(run, tmp_path):
    path = write(tmp_path / "test.csv", ROWS)
    answer = CliRunner().invoke(verbs, ["evaluate", str(run), "--dataset", path, "--json"])
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert (found["num_rows"], found["split"]) == (4, "test")
    assert found["rows"][0]["command"] == f"python -m tfkd evaluate {run} --dataset {path}"
    assert f"labels: single_label, 3 classes: {', '.join(LABELS)}" in answer.stderr.splitlines()


def test_rows_in_memory_are_scored_as_those_of_a_file(tmp_path):
    run = finished_run(tmp_path / "run")
    # The run's own columns are called otherwise.
    config = RunFolder(run).config
    artifacts.write_json(config, artifacts.read_json(config) | {"text_column": "body"})
    texts, labels = zip(*ROWS, strict=True)
    result = evaluate(str(run), Progress(quiet=True), texts=texts, labels=np.array(labels))
    assert result.rows[0].metrics["confusion_matrix"] == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    indices = evaluate(str(run), Progress(quiet=True), texts=texts, labels=[0, 1, 0, 0])
    assert indices.rows[0].metrics == result.rows[0].metrics
    warned, *shown = repr(result).splitlines()
    assert warned.startswith("The test is too small: of 4 rows ")
    assert shown[0].split()[:4] == ["Arm", "Model", "File", "Accuracy"]
    assert shown[-1] == "Split: test, 4 rows."


def test_several_labels_in_memory(tmp_path):
    run = finished_run(tmp_path / "several", task=MULTI_LABEL, thresholds=0.6)
    texts = ["rain goal", "rain", "vote"]
    labels = [["sport", "weather"], ["politics"], ["politics"]]
    path = write(tmp_path / "test.csv", zip(texts, map("|".join, labels), strict=True), "labels")
    hot = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 1]])
    for given in (labels, hot):
        result = evaluate(str(run), Progress(quiet=True), texts=texts, labels=given)
        assert result.rows[0].metrics == score(run, path).rows[0].metrics
