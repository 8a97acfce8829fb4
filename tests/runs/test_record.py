"""What is read back from a run's records, and what is refused by name."""

import pytest

from tests.messages import exactly
from tfkd.artifacts import MARK, RunFolder, write_json, write_record
from tfkd.errors import ArtifactError
from tfkd.runs.record import KeptMixture, noted_teacher, read_metrics, told_temperature
from tfkd.runs.training import training_record

REMEDY = "Put it back as it was, or make the run again with --overwrite."


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start("distill", {"dataset": "demo"}, overwrite=False)
    return run


def refusal(path, received):
    return exactly(f"Expected {path} as tfkd wrote it. Received: {received}. {REMEDY}")


def test_teacher_and_mixture_come_back(run):
    run.finish({"versions": {}, "teacher_folder": "teacher"})
    assert noted_teacher(run) == run.path / "teacher"
    assert KeptMixture.read(run) is None
    # Of a run that is older than the entry.
    assert told_temperature(run) == 1
    run.finish({"versions": {}, "teacher_folder": None, "told_temperature": 1.25})
    assert told_temperature(run) == 1.25
    assert noted_teacher(run) is None


@pytest.mark.parametrize(
    ("record", "read", "received"),
    [
        ({}, read_metrics, "no figures of a run"),
        ([1], read_metrics, "no JSON object but [1]"),
        ({"versions": {}, "teacher_folder": 3}, noted_teacher, "teacher_folder=3"),
        ({"versions": {}, "told_temperature": None}, told_temperature, "told_temperature=None"),
        ({"versions": {}, "told_temperature": -1.5}, told_temperature, "told_temperature=-1.5"),
        ({"versions": {}, "mixture": 3}, KeptMixture.read, "no mixture of teachers"),
        ({"versions": {}, "mixture": {}}, KeptMixture.read, "no mixture of teachers"),
        ({"versions": {}, "mixture": {"folders": 3}}, KeptMixture.read, "no mixture of teachers"),
    ],
)
def test_metrics_of_another_shape_are_refused(run, record, read, received):
    write_json(run.metrics, record)
    with pytest.raises(ArtifactError, match=refusal(run.metrics, received)):
        read(run)


def test_metrics_of_other_settings_are_refused(run):
    """Both are whole; which one is the stranger cannot be known."""
    run.finish({"versions": {}})
    write_record(run.config, {**MARK, "verb": "distill", "dataset": "emotion"})
    for read in (read_metrics, RunFolder.read_config):
        with pytest.raises(ArtifactError, match=refusal(run.config, "another content")):
            read(run)


@pytest.mark.parametrize(
    ("record", "received"),
    [
        ({}, "plan=None"),
        ({"plan": {}, "history": {}, "seconds": 1.0}, "history={}"),
        ({"plan": {}, "history": [], "seconds": "1"}, "seconds='1'"),
    ],
)
def test_training_of_another_shape_is_refused(run, record, received):
    path = run.path / "training" / "student.json"
    write_json(path, record)
    with pytest.raises(ArtifactError, match=refusal(path, received)):
        training_record(run, "student")
    write_record(path, {"plan": {}, "history": [], "seconds": 1})
    assert training_record(run, "student") == {"plan": {}, "history": [], "seconds": 1}
