"""The whole command, killed with SIGKILL in every stage and started again, ends the same."""

import subprocess
import sys
import time

import pytest

from tfkd import artifacts

ARGUMENTS = (
    "distill",
    "--dataset",
    "demo",
    "--max-train-rows",
    "600",
    "--augmented-copies",
    "0",
    "--teacher",
    "cnn",
    "--student",
    "cnn",
    "--teacher-epochs",
    "2",
    "--epochs",
    "3",
    "--teacher-sequence-length",
    "48",
    "--sequence-length",
    "48",
    "--batch-size",
    "8",
    "--recipe",
    "float32",
    "--backup-seconds",
    "0",
    "--quiet",
)


def command(folder):
    return [sys.executable, "-m", "tfkd", *ARGUMENTS, "--output-dir", str(folder / "run")]


# The command is killed as soon as each of these is there.
MOMENTS = (
    "demo-cnn-finetuned/unfinished/model/*/state.npz",
    "run/unfinished/control/*/state.npz",
    "run/unfinished/student/*/state.npz",
    "run/student/float32.tflite",
)


def kill_when(folder, moment):
    """Starts the command and kills it when the file is there; whether it was still running."""
    process = subprocess.Popen(command(folder))
    while process.poll() is None and not any(folder.glob(moment)):
        time.sleep(0.05)
    is_running = process.poll() is None
    process.kill()
    process.wait()
    return is_running


@pytest.mark.slow
def test_killed_command_ends_like_an_uninterrupted_one(tmp_path):
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    for moment in MOMENTS:
        assert kill_when(tmp_path / "killed", moment), moment
        assert not artifacts.RunFolder(tmp_path / "killed" / "run").is_finished
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    for arm in ("student", "control"):
        files = [tmp_path / name / "run" / arm / "model.keras" for name in ("whole", "killed")]
        assert files[0].read_bytes() == files[1].read_bytes(), arm
    rows = [
        artifacts.read_json(tmp_path / name / "run" / "metrics.json")["rows"]
        for name in ("whole", "killed")
    ]
    assert [r["metrics"]["accuracy"] for r in rows[0]] == [
        r["metrics"]["accuracy"] for r in rows[1]
    ]
