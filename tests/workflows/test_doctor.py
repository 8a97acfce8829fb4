"""`tfkd doctor`: what decides whether a run works here."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import cpuinfo
import pytest
from click.testing import CliRunner

from tfkd import artifacts
from tfkd.cli import verbs
from tfkd.models.hub import HOSTS
from tfkd.process import has_bfloat16
from tfkd.workflows import doctor as module
from tfkd.workflows.doctor import doctor

INSTEAD = "TFKD_MODEL_DIR, models fetched before, local folders, size words"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of runs of known bytes, data sets and models in other folders, no network."""
    for path, num_bytes in {
        "runs/demo/student/model.keras": 2_000_000,
        "runs/demo-cnn-finetuned/model/model.keras": 3_100_000,
        "runs/cache/tokens/a": 400_000,
        "runs/study/cache/tokens/a": 500_000,
        "data/news/train.csv": 1,
        "data/README.md": 1,
        "tfds/imdb_reviews/1.0.0/dataset_info.json": 1,
        "models/owner/model/config.json": 1,
        "models/README.md": 1,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x" * num_bytes)
    monkeypatch.setenv("TFKD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("TFKD_MODEL_DIR", str(tmp_path / "models"))
    # Nothing listens there.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    return tmp_path


def told(*arguments):
    return CliRunner().invoke(verbs, ["doctor", *map(str, arguments)])


def test_all_facts_in_lines(place, monkeypatch):
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"flags": ["avx512_bf16"]})
    has_bfloat16.cache_clear()
    result = told(place / "runs")
    has_bfloat16.cache_clear()
    assert result.exit_code == 0
    lines = dict(line.split(": ", 1) for line in result.output.splitlines())
    versions = "; ".join(f"{name} {found}" for name, found in artifacts.versions().items())
    assert 0 < int(lines.pop("free memory mb")) < 10**8
    assert 0 < int(lines.pop("free disk mb"))
    assert lines == {
        "versions": versions,
        "extra edge": "there",
        "extra onnx": "there",
        "extra ray": "there",
        "extra serve": "there",
        "cores": str(len(os.sched_getaffinity(0))),
        "precision auto": "bfloat16",
        "used mb": "runs 2.0; teachers 3.1; cache 0.9",
        "data sets": f"{place}/tfds imdb; {place}/data news",
        "models": f"{place}/models owner/model",
        "hubs": "huggingface.co not reachable; www.kaggle.com not reachable",
        "without hubs": INSTEAD,
    }


def test_json_tells_the_same(place, monkeypatch):
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"flags": []})
    monkeypatch.delenv("TFKD_MODEL_DIR")
    has_bfloat16.cache_clear()
    facts = json.loads(told(place / "new" / "runs", "--json", "--offline").output)
    has_bfloat16.cache_clear()
    assert facts["versions"] == artifacts.versions()
    assert facts["precision_auto"] == "float32, no bfloat16 here"
    assert facts["used_mb"] == {"runs": 0.0, "teachers": 0.0, "cache": 0.0}
    assert facts["data_sets"] == {f"{place}/tfds": ["imdb"], f"{place}/data": ["news"]}
    assert "models" not in facts
    assert (facts["hubs"], facts["without_hubs"]) == ("not asked", INSTEAD)
    assert facts["problem"] == ""
    assert not (place / "new").exists()


def test_hubs_that_answer(place, monkeypatch):
    monkeypatch.setattr(module, "is_reachable", lambda host: True)
    facts = doctor(folder=place).facts
    assert facts["hubs"] == dict.fromkeys(HOSTS.values(), True)
    assert "without_hubs" not in facts


def test_offline_by_the_variable_of_the_hub(place):
    command = [sys.executable, "-m", "tfkd", "doctor", str(place / "runs"), "--json"]
    ended = subprocess.run(
        command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["hubs"] == "not asked"


def test_a_data_folder_that_is_not_there_is_told(place):
    result = told(place / "runs", "--offline", "--data-dir", place / "gone")
    assert result.exit_code == 0
    assert (
        f"data sets: Expected --data-dir to be an existing folder. Received: {place}/gone. "
        "Correct the path."
    ) in result.output.splitlines()


def test_a_folder_that_cannot_be_written_ends_with_1(place):
    (place / "runs.txt").write_text("")
    result = told(place / "runs.txt", "--offline")
    assert result.exit_code == 1
    assert result.stdout.startswith("versions: python ")
    assert result.stderr == (
        "Error: Expected a folder that runs can be written to. Received: "
        f"{place}/runs.txt: Not a directory. Give another.\n"
    )


@pytest.fixture
def without(monkeypatch):
    """Hides packages from those that ask for their metadata."""

    def hide(*names):
        real = importlib.metadata.distribution

        def distribution(name):
            if name in names:
                raise importlib.metadata.PackageNotFoundError(name)
            return real(name)

        monkeypatch.setattr(importlib.metadata, "distribution", distribution)

    return hide


def test_a_missing_package_ends_with_1(place, without):
    without("tensorflow", "keras-hub", "uvicorn", "uvloop")
    result = told(place / "runs", "--offline")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: Expected all packages of tfkd. Received: no keras-hub, no tensorflow. Install "
        "them with `pip install tfkd`.\n"
    )
    line = "extra serve: no uvicorn, no uvloop: pip install 'tfkd[serve]'"
    assert line in result.stdout.splitlines()


def test_a_package_that_the_command_itself_needs(place):
    code = "import sys; sys.modules['rich'] = None; import tfkd.cli; tfkd.cli.main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--offline"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "Error: Expected all packages of tfkd. Received: No module named 'rich.console'; 'rich' is "
        "not a package. Install them with `pip install tfkd`.\n"
    )


def test_every_package_that_is_asked_for_is_looked_for(without):
    text = (Path(__file__).parents[2] / "setup.cfg").read_text(encoding="utf-8")
    asked = text.split("install_requires =\n")[1].split("\n\n")[0].splitlines()
    names = [line.strip().split(">=")[0] for line in asked if not line.startswith("#")]
    without(*names)
    assert module._missing("") == names
