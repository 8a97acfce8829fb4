"""The LiteRT files of a run's main model: kept when they are there, else written."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import formats, recipes
from tfkd.compression.calibration import Calibration, calibration_record
from tfkd.compression.export import HeldOut, export, is_kept
from tfkd.config.training import AwareConfig
from tfkd.data.examples import Texts
from tfkd.evaluation.table import Shown
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.runs.aware import AwareTraining
from tfkd.runs.material import Material, first_texts

PARITY_TEXTS = 500
CALIBRATION_ROWS = 200


@dataclasses.dataclass(frozen=True, repr=False)
class ExportResult(Shown):
    """The files written, with their parity reports by recipe, or by format and recipe."""

    paths: dict[str, Path]
    reports: dict[str, dict[str, Any]]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            name: {"path": str(path), **self.reports[name]} for name, path in self.paths.items()
        }

    def render(self) -> list[str]:
        """Lines and tables for the console."""
        lines = []
        for name, path in self.paths.items():
            report = self.reports[name]
            agreement = report["agreement"]
            shown = "" if agreement is None else f", agreement {agreement:.4f}"
            lines.append(
                f"{path}: {report['size_bytes'] / 1e6:.2f} MB{shown}, largest logit difference "
                f"{report['largest_logit_difference']:.2g} on {report['num_texts']} texts"
            )
            next_step = formats.FORMATS[report["format"]].next_step if "format" in report else ""
            if next_step:
                lines.append(f"Ask it: cd {path} && {next_step}")
        return lines


@dataclasses.dataclass(frozen=True)
class StudentFiles:
    """The LiteRT files of a run's main model: each kept if it still fits, else written.

    Attributes:
        run: `RunFolder` with the student.
        student: `TextClassifier`, the run's own.
        material: `Material`.
        config: `AwareConfig`: how recipes that train do it.
        seed: Integer. Chooses the rows for calibration.
        teacher_logits: Function that gives float32 `[num_train_rows, num_outputs]`, or None where
            there is no teacher. Called only by recipes that train.
        calibration_rows: Integer. Training rows that recipes with calibration see.
    """

    run: RunFolder
    student: TextClassifier
    material: Material
    config: AwareConfig
    seed: int
    teacher_logits: Callable[[], np.ndarray | None]
    calibration_rows: int = CALIBRATION_ROWS

    @functools.cached_property
    def texts(self) -> Texts:
        """Held-out texts that every file is compared on."""
        return first_texts(self.material.dataset.splits["validation"], PARITY_TEXTS)

    @functools.cached_property
    def _held_out(self) -> HeldOut:
        return HeldOut(self.student, self.texts)

    @property
    def _aware(self) -> AwareTraining:
        return AwareTraining(
            self.run, self.student, self.material, self.config, self.teacher_logits
        )

    def _is_kept(self, name: str) -> bool:
        """Whether a file is there, of this model and calibrated as is asked for."""
        if not is_kept(self.run.model, name, self.material.progress.say):
            return False
        if not recipes.find(name).needs_calibration:
            return True
        count = min(self.calibration_rows, self.material.summaries["train"].num_rows)
        record = artifacts.read_record(self.run.model / f"{name}.json")
        return bool(record["calibration"] == calibration_record(count, self.seed))

    def make(self, names: Sequence[str], anew: bool = False) -> ExportResult:
        """Files by the recipes of these names; those without training are converted together.

        Args:
            names: Strings. Names of recipes.
            anew: Boolean. Whether files that still fit are written again.

        Raises:
            ConversionError: A file could not be converted or did not pass its gate.
            ModelError: A recipe that trains does not know such a student.
        """
        trained = [name for name in names if recipes.find(name).trained]
        plain = [
            name for name in names if name not in trained and (anew or not self._is_kept(name))
        ]
        if plain:
            rows = calibration(plain, self.student, self.material, self.seed, self.calibration_rows)
            say_conversion(self.material.progress, plain, self.texts)
            export(self.run.model, self._held_out, plain, calibration=rows)
        for name in trained:
            if anew or not self._aware.is_kept(name):
                self._aware.write(name, self.texts)
        paths = {name: self.run.model / f"{name}.tflite" for name in names}
        return ExportResult(
            paths,
            {name: artifacts.read_record(p.with_suffix(".json")) for name, p in paths.items()},
        )


def say_conversion(progress: Progress, names: Sequence[str], texts: Texts) -> None:
    """Says that files are converted now, which takes a while."""
    progress.say(f"convert {', '.join(names)} and compare on {len(texts)} held-out texts")


def calibration(
    names: Sequence[str],
    classifier: TextClassifier,
    material: Material,
    seed: int,
    num_rows: int = CALIBRATION_ROWS,
) -> Calibration | None:
    """Training rows for recipes whose activations get fixed ranges; None when there is no such."""
    if not any(recipes.find(name).needs_calibration for name in names):
        return None
    tokens = material.tokens("train", classifier.tokenizer)
    count = min(num_rows, len(tokens))
    rows = np.random.default_rng(seed).choice(len(tokens), count, replace=False)
    return Calibration(tokens.arrays(np.sort(rows)), seed)
