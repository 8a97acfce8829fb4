"""Commands killed at any moment: no process lives on, nothing is left, the figures are the same."""

import csv
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tfkd import artifacts
from tfkd.parts import NEW_SECONDS

LOG = logging.getLogger(__name__)
MARK = "TFKD_TEST_MARK"
LIMIT_SECONDS = 10
SMALL = ("--epochs", "2", "--batch-size", "8", "--backup-seconds", "0", "--quiet")
# The command, how often it is killed, and the last file it writes: once that is there, all in its
# folder goes, to begin anew.
COMMANDS = {
    "distill": (
        ("--dataset", "reviews.csv", "--teacher", "cnn_small", "--student", "cnn_small", *SMALL)
        + ("--teacher-epochs", "2", "--recipe", "float32", "--recipe", "dynamic_int8")
        + ("--augmented-copies", "1", "--no-timing", "--output-dir", "runs/run"),
        20,
        "runs/run/metrics.json",
    ),
    "quantize": (
        ("runs/run", "--recipe", "float32", "--recipe", "float16", "--quiet", "--overwrite"),
        20,
        None,
    ),
    "export": (
        ("runs/run", "--recipe", "float32", "--recipe", "dynamic_int8", "--overwrite"),
        20,
        None,
    ),
    "benchmark": (("runs/run", "--rounds", "1"), 6, None),
    "finetune": (
        ("--dataset", "reviews.csv", "--model", "cnn_small", *SMALL, "--output-dir", "runs/run"),
        6,
        "runs/run/metrics.json",
    ),
    "pretrain": (
        ("--encoder", "runs/run", "--text", "reviews.csv", "--student", "cnn_small", *SMALL)
        + ("--output-dir", "general/run"),
        6,
        "general/run/metrics.json",
    ),
    "study": (
        ("study.toml", "--jobs", "2", "--quiet", "--output-dir", "studies"),
        6,
        "studies/README.md",
    ),
}
# They are given a finished run.
OF_A_RUN = ("quantize", "export", "benchmark", "pretrain")
STUDY = """
seeds = [0, 1]
recipes = ["float32"]
timed_texts = 0
[settings]
augmented_copies = 1
backup_seconds = 0.0
batch_size = 8
epochs = 2
[teachers.cnn]
model = "cnn_small"
epochs = 2
[students.cnn_small]
[datasets."reviews.csv"]
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


def made(project):
    """A folder with a small data set, and one for temporary files."""
    (project / "temporary").mkdir()
    (project / "study.toml").write_text(STUDY, encoding="utf-8")
    with (project / "reviews.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for number in range(600):
            label = ("good", "bad")[number % 2]
            writer.writerow([f"the {('fine', 'poor')[number % 2]} item {number}", label])
    return project


@pytest.fixture
def project(tmp_path):
    return made(tmp_path)


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """A finished run."""
    project = made(tmp_path_factory.mktemp("distilled"))
    finish(start(project, "distill", *COMMANDS["distill"][0])[0])
    return project / "runs"


def start(project, verb, *arguments):
    """A command whose processes can be told, and the mark they have."""
    mark = uuid.uuid4().hex
    environment = {**os.environ, MARK: mark, "TMPDIR": str(project / "temporary")}
    command = [sys.executable, "-m", "tfkd", verb, *arguments]
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return process, f"{MARK}={mark}".encode()


def living(mark):
    """Processes with a mark in their environment; a zombie has none any more."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def end(process, mark, sent):
    """Ends a command and waits until none of its processes is there; what it said last."""
    process.send_signal(sent)
    said = process.communicate(timeout=30)[1].decode()
    ended_at = time.monotonic()
    while found := living(mark):
        assert time.monotonic() - ended_at < LIMIT_SECONDS, found
        time.sleep(0.02)
    return said


def finish(process):
    """Lets a command come to its end."""
    said = process.communicate()[1].decode()
    assert process.returncode == 0, said


def parts(project):
    return sorted(path.relative_to(project).as_posix() for path in project.rglob(".part-*"))


def figures(project):
    """What a killed command must not change: figures of all runs, and the bytes of all models."""
    records = [artifacts.read_json(path) for path in sorted(project.rglob("metrics.json"))]
    models = [path for end in ("keras", "tflite") for path in sorted(project.rglob(f"*.{end}"))]
    return {
        "metrics": [
            [(row["arm"], row["recipe"], row["metrics"]) for row in record.get("rows", ())]
            or record.get("metrics")
            for record in records
        ],
        # Of a study's arms, whose answers are scored together.
        "studies": [
            artifacts.read_json(path)["datasets"] for path in sorted(project.rglob("study.json"))
        ],
        "files": {
            path.relative_to(project).as_posix(): artifacts.file_sha256(path)
            for path in models
            if "cache" not in path.parts
        },
    }


def test_terminated_command_ends_with_one_line_and_leaves_nothing(project):
    arguments = ("--dataset", "reviews.csv", "--model", "cnn_small", "--output-dir", "runs/run")
    process, mark = start(project, "finetune", *arguments, "--epochs", "500", "--quiet")
    while not list(project.glob("runs/run/unfinished/model/*/best.npz")):
        assert process.poll() is None
        time.sleep(0.05)
    assert end(process, mark, signal.SIGTERM) == "\nTerminated.\n"
    assert process.returncode == 143
    assert parts(project) == []
    assert list((project / "temporary").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", COMMANDS)
def test_killed_commands_end_like_whole_ones(project, verb, distilled, tmp_path_factory):
    arguments, moments, last = COMMANDS[verb]
    if verb in OF_A_RUN:
        shutil.copytree(distilled, project / "runs")
    began_at = time.monotonic()
    finish(start(project, verb, *arguments)[0])
    seconds = time.monotonic() - began_at
    whole = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(project, whole)
    expected = figures(whole)
    chosen, killed, is_whole = random.Random(verb), 0, True
    for number in range(moments):
        if is_whole and last is not None:
            assert figures(project) == expected
            shutil.rmtree(project / Path(last).parts[0])
        process, mark = start(project, verb, *arguments)
        try:
            process.communicate(timeout=chosen.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            sent = (signal.SIGKILL, signal.SIGTERM)[number % 2]
            said = end(process, mark, sent)
            killed += 1
            # Before the command has begun, SIGTERM is the system's.
            assert process.returncode in (-sent, 143, 0), said
            assert "Traceback" not in said
            if process.returncode == 143:
                assert said.endswith("\nTerminated.\n")
        # Killed between its last file and its end, it is whole, too.
        is_whole = (project / last).is_file() if last else process.returncode == 0
    assert killed > moments / 4
    LOG.info("%s: killed at %d moments of %.0f s", verb, killed, seconds)
    # What is young may be about to be held.
    time.sleep(NEW_SECONDS)
    # Any command removes what a killed one left among the temporary files.
    after = ("list", "recipes") if is_whole else (verb, *arguments)
    finish(start(project, *after)[0])
    assert figures(project) == expected
    assert parts(project) == []
    assert list((project / "temporary").iterdir()) == []
    expected = {path.relative_to(whole).as_posix() for path in whole.rglob("*")}
    found = {path.relative_to(project).as_posix() for path in project.rglob("*")}
    # TensorBoard's files have their times for names.
    more = [name for name in found - expected if not ("/logs/" in name or "/cache/" in name)]
    assert more == []
