"""Folders as sources of versions: which are served, what they answer, when they have changed."""

import shutil

import numpy as np
import pytest

from tests.messages import exactly
from tests.serving.small_runs import LABELS, small_classifier, small_run
from tfkd.compression.litert import LiteRTModel
from tfkd.errors import ArtifactError
from tfkd.seals import file_sha256
from tfkd.serving.contract import ServedModel
from tfkd.serving.folders import ModelFolder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("runs") / "harbour", small_classifier())


@pytest.fixture
def run(made, tmp_path):
    return shutil.copytree(made.path, tmp_path / "harbour")


def test_a_run_is_version_1(made):
    folder = ModelFolder(made.path, "news", workers=2)
    assert list(folder.versions()) == ["1"]
    model, predictors = folder.load("1")
    sha256 = file_sha256(made.model / "dynamic_int8.tflite")
    assert model == ServedModel("news", "single_label", LABELS, 1, 0.5, "1", sha256)
    expected = LiteRTModel(made.model / "dynamic_int8.tflite").predict(["rain river"])
    assert len(predictors) == 2
    for predictor in predictors:
        np.testing.assert_array_equal(predictor.predict(["rain river"]), expected)


def test_the_highest_numbers_are_served(made, tmp_path):
    for name in ("1", "2", "10", "010", "11.part", "old"):
        (tmp_path / "news" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "news" / name).symlink_to(made.path)
    (tmp_path / "news" / "3.txt").write_text("")
    assert list(ModelFolder(tmp_path / "news", "news").versions()) == ["10"]
    folder = ModelFolder(tmp_path / "news", "news", num_versions=9)
    assert list(folder.versions()) == ["10", "2", "1"]
    assert folder.load("2")[0].version == "2"


def test_a_version_counts_as_changed_when_its_files_are(run):
    folder = ModelFolder(run, "news")
    (before,) = folder.versions().values()
    assert list(folder.versions().values()) == [before]
    (run / "metrics.json").write_text("{}")
    assert list(folder.versions().values()) == [before]
    path = run / "model" / "dynamic_int8.tflite"
    content = path.read_bytes()
    path.unlink()
    assert list(folder.versions().values()) != [before]
    path.write_bytes(content)
    assert list(folder.versions().values()) != [before]


def test_a_link_to_another_run_counts_as_changed(made, run, tmp_path):
    link = tmp_path / "current"
    link.symlink_to(made.path)
    folder = ModelFolder(link, "news")
    before = folder.versions()
    link.unlink()
    link.symlink_to(run)
    assert folder.versions() != before


def test_a_folder_that_is_neither_is_an_error(tmp_path):
    (tmp_path / "news").mkdir()
    folder = ModelFolder(tmp_path / "news", "news")
    assert list(folder.versions()) == ["1"]
    message = (
        "Expected a folder written by `tfkd finetune` or `tfkd distill`. Received: "
        f"{tmp_path / 'news'}, which has no config.json."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        folder.load("1")


def test_a_file_that_was_changed_is_an_error(run):
    path = run / "model" / "dynamic_int8.tflite"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"dynamic_int8\.tflite"):
        ModelFolder(run, "news").load("1")


def test_a_missing_file_is_an_error(run):
    path = run / "model" / "float16.tflite"
    message = f"Expected the LiteRT file {path}. It does not exist. Write it with `tfkd export`."
    with pytest.raises(ArtifactError, match=exactly(message)):
        ModelFolder(run, "news", "float16").load("1")
