"""tfkd as a contender of benchmarks/training.py: what `tfkd distill` does up to its student.

The control, the files for LiteRT and the figures on test rows are left out: no other contender
makes them.
"""

import dataclasses
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np
from training_job import SWEEP_SETTINGS, SWEEP_STUDENTS, Job, Trained

from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.runs.arm import train_arm
from tfkd.runs.choices import choose
from tfkd.runs.material import Material, prepare
from tfkd.runs.routes import Demand
from tfkd.runs.student import new_student, student_plan
from tfkd.runs.teacher import Teacher
from tfkd.runs.training import Objective, training_record


def train(job: Job) -> Trained:
    """One scoring, and one student or the ten of the sweep."""
    folder = Path(tempfile.mkdtemp())
    config = settings(job, folder)
    started_at = time.perf_counter()
    material = prepare(config, folder, Progress(quiet=True))
    teacher = TextClassifier.load(job.teacher / "model")
    asked = Teacher(teacher, job.teacher / "model", _no_logits(job))
    answers, _ = asked.answers("train", material, Demand.of(dataclasses.asdict(config)))
    scored_at = time.perf_counter()
    students = [
        student(each, teacher, answers, material)
        for each in (sweep(config, folder) if job.is_sweep else [config])
    ]
    seconds = {"scoring": scored_at - started_at, "training": time.perf_counter() - scored_at}
    epochs = len(training_record(RunFolder(folder / "student-0"), "student")["history"])
    updates = epochs * -(-len(answers) // job.batch_size)
    return Trained([found.predict for found in students], updates, seconds)


def settings(job: Job, folder: Path) -> DistillConfig:
    """The settings of `tfkd distill`; what the job does not name stays tfkd's own default."""
    return DistillConfig(
        dataset=str(job.data),
        teacher=str(job.teacher),
        student=job.student,
        output_dir=folder / "student-0",
        sequence_length=job.length,
        teacher_sequence_length=job.teacher_length,
        epochs=job.epochs,
        # All epochs, as the other contenders.
        patience=job.epochs,
        batch_size=job.batch_size,
        learning_rate=job.learning_rate,
        temperature=job.temperature,
        student_loss_weight=job.student_loss_weight,
        seed=job.seed,
        control=False,
        recipes=(),
        quiet=True,
    )


def sweep(config: DistillConfig, folder: Path) -> list[DistillConfig]:
    """The settings of the ten students."""
    arms = itertools.product(SWEEP_STUDENTS, SWEEP_SETTINGS)
    return [
        dataclasses.replace(
            config,
            student=name,
            temperature=temperature,
            student_loss_weight=weight,
            output_dir=folder / f"student-{number}",
        )
        for number, (name, (temperature, weight)) in enumerate(arms)
    ]


def student(
    config: DistillConfig, teacher: TextClassifier, answers: np.ndarray, material: Material
) -> TextClassifier:
    """A student, trained as `tfkd distill` trains it."""
    source = choose(config)["student"]
    return train_arm(
        "student",
        new_student(config, source, teacher, material),
        Objective(answers, config.temperature, config.student_loss_weight),
        student_plan(config, source, material),
        material,
        RunFolder(config.output_dir or Path()),
    )


def _no_logits(job: Job) -> np.ndarray:
    return np.zeros((0, job.num_labels), np.float32)
