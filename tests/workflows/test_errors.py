"""`tfkd errors` and `tfkd report` on a run whose answers are written by hand."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.messages import exactly
from tests.reports.example import ANSWERS, TEXTS, finished_run, record
from tests.reports.example import report as made_report
from tfkd.artifacts import RunFolder
from tfkd.cli import verbs
from tfkd.config.training import DistillConfig
from tfkd.data.examples import MULTI_LABEL, REGRESSION, Dataset, Example
from tfkd.data.tables import UserTable, plain
from tfkd.errors import ArtifactError, ConfigError, DatasetError
from tfkd.workflows.errors import errors
from tfkd.workflows.report import report


@pytest.fixture
def run(tmp_path):
    return finished_run(tmp_path / "weather-bert_tiny")


def test_errors_are_listed_with_the_most_certain_first(run):
    found = errors(run)
    assert found.columns["row"] == [1, 4]
    assert found.columns["student"] == ["yes", "no"]
    lead, table = found.render()
    assert lead == "The student answers wrong 2 of 6 test rows."
    assert [column.title for column in table.columns] == [
        *("Row", "Text", "Label", "Student", "Sure", "Teacher", "Sure")
    ]
    assert table.rows == [
        ("1", "<script>alert(1)</script>", "no", "yes", "0.90", "no", "0.80"),
        ("4", "fog & mist", "yes", "no", "0.75", "no", "0.60"),
    ]


def test_disagreements_are_those_with_the_teacher(run):
    found = errors(run, disagreements=True)
    assert found.columns["row"] == [1]
    assert found.render()[0] == "The student answers otherwise than its teacher 1 of 6 test rows."


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_output_has_all_columns_of_these_rows(run, tmp_path, ending):
    path = tmp_path / f"errors.{ending}"
    found = errors(run, output=path)
    assert found.render()[-1] == f"All of them are in {path}."
    table = UserTable.of(path)
    assert table.names == tuple(found.columns)
    (columns,) = table.chunks()
    kept = dict(zip(table.names, map(plain, columns), strict=True))
    assert [str(value) for value in kept["row"]] == ["1", "4"]
    assert list(kept["text"]) == [TEXTS[1], TEXTS[4]]
    np.testing.assert_allclose(np.array(kept["student_confidence"], float), [0.9, 0.75], rtol=1e-6)


def test_output_that_exists_is_left(run, tmp_path):
    path = tmp_path / "errors.csv"
    path.write_text("mine", encoding="utf-8")
    message = f"Expected no file {path}. It exists. Add --overwrite, or give another --output."
    with pytest.raises(ArtifactError, match=exactly(message)):
        errors(run, output=path)
    assert path.read_text(encoding="utf-8") == "mine"
    errors(run, output=path, overwrite=True)
    with path.open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 2
    with pytest.raises(
        DatasetError,
        match=r"^Expected a file that ends in one of .csv, .* Received: .*errors\.docx\. ",
    ):
        errors(run, output=tmp_path / "errors.docx")


def test_several_labels_stay_lists(tmp_path):
    rows = [Example(("a",), (0, 1)), Example(("b",), ())]
    dataset = Dataset("weather", MULTI_LABEL, ("x", "y"), 1, "macro_f1", {"test": rows})
    answers = {"student": np.array([[2.0, -2.0], [-2.0, -2.0]], np.float32)}
    run = finished_run(tmp_path / "run", answers, dataset, np.array([[1, 1], [0, 0]]))
    found = errors(run, output=tmp_path / "errors.jsonl")
    assert found.render()[1].rows == [("0", "a", "x, y", "x", "0.88")]
    kept = json.loads((tmp_path / "errors.jsonl").read_text(encoding="utf-8"))
    assert (kept["label"], kept["student"]) == (["x", "y"], ["x"])


def test_scores_are_all_listed_by_their_distance(tmp_path):
    rows = [Example((name,), 1.0) for name in "abc"]
    dataset = Dataset("weather", REGRESSION, ("score",), 1, "pearson", {"test": rows})
    answers = {"student": np.array([[1.5], [4.0], [1.0]], np.float32)}
    found = errors(finished_run(tmp_path / "run", answers, dataset, np.ones(3)))
    assert found.render()[0] == "3 test rows, those farthest from the label first."
    assert found.render()[1].rows[0] == ("1", "b", "1.000", "4.000")


def test_more_than_the_console_shows_are_said(tmp_path):
    rows = [Example((f"text {place} " * 20,), 0) for place in range(30)]
    dataset = Dataset("weather", "single_label", ("no", "yes"), 1, "accuracy", {"test": rows})
    answers = {"student": np.tile(np.array([[0.0, 1.0]], np.float32), (30, 1))}
    lead, table, more = errors(
        finished_run(tmp_path / "run", answers, dataset, np.zeros(30, int))
    ).render()
    assert lead == "The student answers wrong 30 of 30 test rows."
    assert len(table.rows) == 20
    assert all(len(row[1]) == 80 and row[1].endswith("…") for row in table.rows)
    assert more == "The first 20; --output errors.csv writes all of them."


def test_runs_that_cannot_tell_are_refused(tmp_path):
    alone = finished_run(tmp_path / "alone", {"student": ANSWERS["student"]})
    message = (
        f"Expected a run with a teacher for --disagreements. Received: {alone}, which has none. "
        "Leave it out."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        errors(alone, disagreements=True)
    old = RunFolder(tmp_path / "old")
    old.start("distill", DistillConfig(dataset="weather").to_dict(), False)
    message = f"Expected a finished run. Received: {old.path}, which has no metrics.json yet. "
    with pytest.raises(ArtifactError, match=f"^{message}"):
        errors(old.path)
    old.finish(record())
    message = (
        f"Expected {old.path}/predictions.parquet. The run is of an older tfkd, which wrote none. "
        "Make it again with --overwrite."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        errors(old.path)


def test_command_answers_in_json_and_fails_in_one_line(run, tmp_path):
    result = CliRunner().invoke(verbs, ["errors", str(run), "--json"])
    found = json.loads(result.stdout)
    assert (found["model"], found["against"], found["num_test_rows"]) == ("student", "label", 6)
    assert found["rows"][0]["text"] == "<script>alert(1)</script>"
    result = CliRunner().invoke(verbs, ["errors", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: Expected a folder written by `tfkd finetune` or `tfkd distill`. Received: "
        f"{tmp_path}, which has no config.json.\n"
    )


def test_report_writes_the_page_of_a_run_again(run):
    found = report(run)
    page = made_report(run).page()
    assert found.pages == (run / "report.html",)
    assert found.leads == (page.lead,)
    assert found.render() == [f"{page.lead}\nThe page is {run / 'report.html'}."]
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "<title>bert_tiny distilled from minilm on weather</title>" in html
    card = (run / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    report(run)
    assert (run / "report.html").read_text(encoding="utf-8") == html


def test_report_goes_where_it_is_asked_to_and_replaces_nothing(run, tmp_path):
    out = tmp_path / "out"
    report(folders=(run,), output_dir=out)
    assert sorted(path.name for path in out.iterdir()) == [
        "weather-bert_tiny.html",
        "weather-bert_tiny.md",
    ]
    assert not (run / "report.html").exists()
    message = f"Expected no file {out}/weather-bert_tiny.html. It exists. Remove it or give another"
    with pytest.raises(ArtifactError, match=f"^{message}"):
        report(folders=(run,), output_dir=out)


def test_report_writes_no_page_over_another(run, tmp_path):
    other, out = finished_run(tmp_path / "other" / run.name), tmp_path / "out"
    message = (
        f"Expected folders of different names, and each once. Received: {run}, {other}. Report on "
        "them one by one."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        report(folders=(run, other), output_dir=out)
    assert not out.exists()


def test_answers_that_are_not_there_are_null_for_programs(tmp_path):
    answers = {"teacher": ANSWERS["teacher"].copy(), "student": ANSWERS["student"]}
    answers["teacher"][1] = np.nan
    run = finished_run(tmp_path / "run", answers)
    output = CliRunner().invoke(verbs, ["errors", str(run), "--json"]).stdout
    rows = json.loads(output, parse_constant=pytest.fail)["rows"]
    assert (rows[0]["teacher"], rows[0]["teacher_confidence"]) == (None, None)
    assert rows[0]["student_confidence"] == 0.9


def test_report_reads_all_folders_before_it_writes_one(run, tmp_path):
    arm = RunFolder(tmp_path / "arm")
    arm.start("distill", DistillConfig(dataset="weather").to_dict(), False)
    arm.finish({"versions": {}})
    message = (
        "Expected a run of `tfkd distill` or `tfkd finetune`, or a study. Received: "
        f"{arm.path}, an arm of a study. Give the study's folder."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        report(folders=(run, arm.path))
    assert not (run / "report.html").exists()
