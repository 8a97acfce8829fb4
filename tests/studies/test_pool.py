"""Arms side by side: the figures of one after another, killed or not, and no process left over."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.messages import exactly
from tests.ray_commands import LIMIT_SECONDS, Command, needs_ray, wait_for
from tests.toys import demo_rows
from tfkd.artifacts import read_json
from tfkd.config.verbs import StudyConfig
from tfkd.errors import ArtifactError, ConfigError, ModelError
from tfkd.workflows.study import study

FORM = """
seeds = [0, 1]
timed_texts = 0
[settings]
max_train_rows = 200
sequence_length = 16
epochs = 1
learning_rate = 0.01
batch_size = 32
augmented_copies = 1
[teachers.cnn]
model = "cnn_small"
epochs = 1
learning_rate = 0.01
sequence_length = 24
[students.cnn_small]
[datasets.demo]
dataset = "DATA"
"""


@pytest.fixture(scope="module")
def form(tmp_path_factory):
    data = demo_rows(tmp_path_factory.mktemp("data"), train=200, validation=100, test=400)
    return FORM.replace("DATA", f"{data}/")


def config(folder, form, jobs):
    path = folder / "tiny.toml"
    path.write_text(form, encoding="utf-8")
    return StudyConfig(study=path, output_dir=folder / "tiny", quiet=True, jobs=jobs)


def workers_of(parent):
    """Processes of the pool that a process has begun."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent_of = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent_of == parent and b"popen_loky" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.fixture(scope="module")
def serial(form, tmp_path_factory):
    """The study with its arms one after another, and its settings."""
    settings = config(tmp_path_factory.mktemp("serial"), form, 1)
    return settings, study(settings)


@pytest.fixture
def settings(serial, form, tmp_path):
    """Settings of a study of two processes that has its teacher, but no arm."""
    arms = shutil.ignore_patterns("demo-cnn_small-*", "study.json", "README.md")
    shutil.copytree(serial[0].output_dir, tmp_path / "tiny", ignore=arms)
    return config(tmp_path, form, 2)


def command(settings):
    line = [sys.executable, "-m", "tfkd", "study", str(settings.study), "--jobs", "2"]
    return [*line, "--output-dir", str(settings.output_dir), "--quiet"]


def arms_of(settings):
    """Marks of the arms that have begun."""
    return list(settings.output_dir.glob("demo-cnn_small-*/config.json"))


def test_killed_study_leaves_no_process_and_ends_with_the_serial_figures(serial, settings):
    with subprocess.Popen(command(settings)) as process:
        wait_for(lambda: arms_of(settings))
        begun = workers_of(process.pid)
        process.kill()
    assert len(begun) == 2
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in begun))
    found = study(settings).datasets["demo"]["rows"]
    assert workers_of(os.getpid()) == []
    rows = serial[1].datasets["demo"]["rows"]
    assert [item["arm"] for item in found] == [item["arm"] for item in rows]
    for item, expected in zip(found, rows, strict=True):
        # Another number of threads may round otherwise.
        assert item["values"] == pytest.approx(expected["values"], abs=0.005)


def test_ctrl_c_ends_all_processes_with_one_line(settings):
    def session():
        os.setsid()
        # A shell starts what runs in the background with SIGINT ignored, and children inherit it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command(settings), stderr=subprocess.PIPE, text=True, preexec_fn=session
    ) as process:
        wait_for(lambda: arms_of(settings))
        begun = workers_of(process.pid)
        # A terminal sends it to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, errors) == (130, "\nInterrupted.\n")
    assert len(begun) == 2
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in begun))


def test_error_of_an_arm_is_the_studys(settings):
    # One of the first two that are begun: the others are ended before they have cost anything.
    folder = settings.output_dir / "demo-cnn_small-control-seed0"
    folder.mkdir()
    (folder / "notes.txt").touch()
    with pytest.raises(ArtifactError, match=r"a new or empty output folder\. .*-control-seed0, "):
        study(settings)
    assert workers_of(os.getpid()) == []


def test_killed_process_is_told_in_one_line(settings):
    def kill():
        wait_for(lambda: arms_of(settings))
        os.kill(workers_of(os.getpid())[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ModelError, match=r"^Expected 2 processes .* one was killed, .* fewer --jo"):
        study(settings)
    killer.join()
    assert workers_of(os.getpid()) == []


@needs_ray
def test_worker_of_ray_that_is_killed_costs_its_arm_only(serial, settings):
    where = ("--output-dir", settings.output_dir, "--quiet")
    with Command("study", settings.study, *where, "--ray", "local") as command:
        wait_for(lambda: arms_of(settings))
        os.kill(wait_for(lambda: command.workers("_call"))[0], signal.SIGKILL)
        said = command.end()
        wait_for(lambda: not command.living())
    assert command.process.returncode == 0, said
    found = read_json(settings.output_dir / "study.json")["datasets"]["demo"]["rows"]
    rows = serial[1].datasets["demo"]["rows"]
    assert [item["arm"] for item in found] == [item["arm"] for item in rows]
    for item, expected in zip(found, rows, strict=True):
        assert item["values"] == pytest.approx(expected["values"], abs=0.005)


def test_jobs_and_ray_are_one_too_many(settings):
    message = (
        "Expected --jobs or --ray: Ray makes as many arms at a time as its machines have cores. "
        "Received: --jobs 2 --ray local. Leave one out."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        study(settings.replace(ray="local"))
