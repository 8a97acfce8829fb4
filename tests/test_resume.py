"""The whole command, killed with SIGKILL at seeded moments and started again, ends the same."""

import random
import subprocess
import sys
import time

import numpy as np
import pytest

from tfkd import artifacts
from tfkd.models.classifier import TextClassifier

ARGUMENTS = (
    "distill", "--dataset", "demo", "--max-train-rows", "600", "--teacher", "cnn", "--student",
    "cnn", "--teacher-epochs", "2", "--epochs", "3", "--teacher-sequence-length", "48",
    "--sequence-length", "48", "--batch-size", "8", "--recipe", "float32", "--backup-seconds", "0",
    "--quiet",
)  # fmt: skip


def command(folder):
    return [sys.executable, "-m", "tfkd", *ARGUMENTS, "--output-dir", str(folder / "run")]


@pytest.mark.slow
def test_killed_command_ends_like_an_uninterrupted_one(tmp_path):
    started_at = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    seconds = time.monotonic() - started_at
    moments, kills = random.Random(0), 0
    for _ in range(6):
        process = subprocess.Popen(command(tmp_path / "killed"))
        try:
            process.wait(timeout=moments.uniform(0.15, 0.6) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills >= 2
    if not artifacts.RunFolder(tmp_path / "killed" / "run").is_finished:
        subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    for arm in ("student", "control"):
        weights = [
            TextClassifier.load(tmp_path / name / "run" / arm).model.get_weights()
            for name in ("whole", "killed")
        ]
        for one, other in zip(*weights, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    rows = [
        artifacts.read_json(tmp_path / name / "run" / "metrics.json")["rows"]
        for name in ("whole", "killed")
    ]
    assert [r["metrics"]["accuracy"] for r in rows[0]] == [
        r["metrics"]["accuracy"] for r in rows[1]
    ]
