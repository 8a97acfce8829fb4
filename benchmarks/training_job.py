"""What a contender of benchmarks/training.py is given and what it gives back; no heavy import."""

import csv
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

LAYERS, WIDTH, HEADS = 2, 128, 2
FILTERS, KERNEL_SIZE = 512, 3
WARMUP_FRACTION, WEIGHT_DECAY, CLIP_NORM = 0.06, 0.01, 1.0
# Temperature and label weight of the sweep; each for both students.
SWEEP_SETTINGS = ((1.0, 0.3), (2.0, 0.1), (2.0, 0.3), (2.0, 0.5), (4.0, 0.3))
SWEEP_STUDENTS = ("bert_tiny", "cnn")


@dataclasses.dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        material: Folder that `training_material` made: texts and teacher.
        length: Longest text for the student, in tokens; where inputs are shared, for both.
        teacher_length: Longest text for the teacher, in tokens.
        student: "bert_tiny" or "cnn".
        precision: "float32" or "bfloat16"; tfkd has its own default.
        is_cached: Whether the teacher answers once, where a tool leaves the choice.
        is_sweep: Whether ten students are trained.
    """

    material: str
    length: int = 128
    teacher_length: int = 128
    student: str = "bert_tiny"
    precision: str = "float32"
    is_cached: bool = False
    is_sweep: bool = False
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    temperature: float = 2.0
    student_loss_weight: float = 0.3
    seed: int = 0

    @property
    def data(self) -> Path:
        """Folder of train.csv, validation.csv, test.csv and labels.txt."""
        return Path(self.material) / "data"

    @property
    def teacher(self) -> Path:
        """The fine-tuned teacher: a run of `tfkd finetune`."""
        return Path(self.material) / "teacher"

    @property
    def torch_teacher(self) -> Path:
        """The same weights for transformers, with its tokenizer."""
        return Path(self.material) / "teacher_pytorch"

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len((self.data / "labels.txt").read_text(encoding="utf-8").split("\n")) - 1

    def rows(self, split: str) -> tuple[list[str], list[int]]:
        """Texts and class indices of a split, from its file."""
        with (self.data / f"{split}.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return [row["text"] for row in rows], [int(row["label"]) for row in rows]


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a contender gives back.

    Attributes:
        predictors: One a student: from texts to logits `[n, num_labels]`.
        updates: Optimizer steps of one student.
        seconds: Parts of the time, by name, where they lie one behind the other.
    """

    predictors: Sequence[Callable[[list[str]], np.ndarray]]
    updates: int
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
