"""The fresh process of benchmarks/growth.py: what a run does with its rows, stage by stage."""

import contextlib
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from training_contender import peak_memory_bytes

from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.process import answer
from tfkd.progress import Progress
from tfkd.quiet import quiet_libraries
from tfkd.runs.arm import train_arm
from tfkd.runs.material import prepare
from tfkd.runs.routes import Demand
from tfkd.runs.student import new_student, student_plan
from tfkd.runs.teacher import Teacher
from tfkd.runs.training import Objective

TEACHER = STUDENT = "cnn_small"
SEQUENCE_LENGTH = 64


class Stages:
    """Seconds of each stage, those of all cores, and the process' peak memory at its end."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the block."""
        started_at, worked_before = time.perf_counter(), time.process_time()
        yield
        self.found.append(
            {
                "stage": name,
                "seconds": time.perf_counter() - started_at,
                # Tells whether a slow stage worked or waited for a busy machine.
                "processor_seconds": time.process_time() - worked_before,
                "peak_memory_bytes": peak_memory_bytes(),
            }
        )


def measure(data: Path, folder: Path) -> dict[str, Any]:
    """All stages of a run over a data set, with an untrained teacher of the smallest kind.

    Args:
        data: Folder of train.csv, test.csv and labels.txt; validation is held out of train.
        folder: Path of the run.
    """
    stages = Stages()
    config = DistillConfig(
        dataset=str(data),
        student=STUDENT,
        sequence_length=SEQUENCE_LENGTH,
        output_dir=folder / "run",
        epochs=1,
        quiet=True,
    )
    run = RunFolder(folder / "run")
    with stages.stage("read and check"):
        material = prepare(config, folder, Progress(quiet=True))
    with stages.stage("teacher"):
        # Its vocabulary is learned from the first 20,000 rows at most.
        shape = Shape(SEQUENCE_LENGTH)
        load_classifier(resolve(TEACHER), material.dataset, shape).save(folder / "teacher")
        teacher = TextClassifier.load(folder / "teacher")
    with stages.stage("tokens"):
        for split in ("train", "validation"):
            material.tokens(split, teacher.tokenizer)
    with stages.stage("scoring"):
        none = np.zeros((0, material.dataset.num_outputs), np.float32)
        asked = Teacher(teacher, folder / "teacher", none)
        answers, _ = asked.answers("train", material, Demand.of(dataclasses.asdict(config)))
    with stages.stage("one epoch"):
        train_arm(
            "student",
            new_student(config, resolve(STUDENT), teacher, material),
            Objective(answers, config.temperature, config.student_loss_weight),
            student_plan(config, resolve(STUDENT), material),
            material,
            run,
        )
    return {
        "stages": stages.found,
        "train_rows": material.summaries["train"].num_rows,
        "peak_memory_bytes": peak_memory_bytes(),
    }


if __name__ == "__main__":
    quiet_libraries()
    given = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as temporary:
        answer(measure(Path(given["data"]), Path(temporary)))
