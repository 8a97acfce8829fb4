"""Commands killed at any moment: no process lives on, nothing is left, the figures are the same."""

import csv
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

MARK = "TFKD_TEST_MARK"
LIMIT_SECONDS = 2
MOMENTS = 20
SMALL = ("--teacher", "cnn_small", "--student", "cnn_small", "--epochs", "2")
ARGUMENTS = {
    "distill": (
        *("--dataset", "reviews.csv", *SMALL, "--teacher-epochs", "2", "--output-dir", "runs/run"),
        *("--recipe", "float32", "--recipe", "dynamic_int8", "--no-timing", "--quiet"),
        *("--backup-seconds", "0", "--batch-size", "8"),
    ),
    "quantize": (
        "runs/run",
        "--recipe",
        "float32",
        "--recipe",
        "float16",
        "--quiet",
        "--overwrite",
    ),
    "export": ("runs/run", "--recipe", "float32", "--recipe", "dynamic_int8", "--overwrite"),
}

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.fixture
def project(tmp_path):
    """A folder with a small data set, and one for temporary files."""
    (tmp_path / "temporary").mkdir()
    with (tmp_path / "reviews.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for number in range(600):
            label = ("good", "bad")[number % 2]
            writer.writerow([f"the {('fine', 'poor')[number % 2]} item {number}", label])
    return tmp_path


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
    """What a killed command must not change."""
    run = project / "runs" / "run"
    rows = artifacts.read_json(run / "metrics.json")["rows"]
    return {
        "metrics": [(row["arm"], row["recipe"], row["metrics"]) for row in rows],
        "files": {
            path.name: artifacts.file_sha256(path) for path in sorted(run.glob("student/*.tflite"))
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
@pytest.mark.parametrize("verb", ARGUMENTS)
def test_killed_commands_end_like_whole_ones(project, verb, tmp_path_factory):
    for name in dict.fromkeys(("distill", verb)):
        began_at = time.monotonic()
        finish(start(project, name, *ARGUMENTS[name])[0])
        seconds = time.monotonic() - began_at
    expected = figures(project)
    whole = tmp_path_factory.mktemp("whole") / "runs"
    shutil.copytree(project / "runs", whole)
    chosen, killed = random.Random(verb), 0
    for number in range(MOMENTS):
        if verb == "distill" and (project / "runs" / "run" / "metrics.json").exists():
            assert figures(project) == expected
            shutil.rmtree(project / "runs")
        process, mark = start(project, verb, *ARGUMENTS[verb])
        moment = chosen.uniform(0, seconds)
        try:
            process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            sent = (signal.SIGKILL, signal.SIGTERM)[number % 2]
            said = end(process, mark, sent)
            killed += 1
            # Before the command has begun, SIGTERM is the system's.
            assert process.returncode in (-sent, 143, 0), said
            assert "Traceback" not in said
            if process.returncode == 143:
                assert said.endswith("\nTerminated.\n")
    assert killed > MOMENTS / 4
    time.sleep(1)
    if verb != "distill" or not (project / "runs" / "run" / "metrics.json").exists():
        finish(start(project, verb, *ARGUMENTS[verb])[0])
    assert figures(project) == expected
    assert parts(project) == []
    assert list((project / "temporary").iterdir()) == []
    kept = ("run/logs/", "cache/", "reviews-cnn_small-finetuned/logs/")
    before = {path.relative_to(whole).as_posix() for path in whole.rglob("*")}
    after = {path.relative_to(project / "runs").as_posix() for path in project.glob("runs/**/*")}
    assert [name for name in after - before if not name.startswith(kept)] == []
