"""The LiteRT files of a run's main model: kept when they are there, else written."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import recipes
from tfkd.compression.calibration import Calibration
from tfkd.compression.export import export, is_kept
from tfkd.config.training import DEFAULT_RECIPES, DistillConfig
from tfkd.config.verbs import ExportConfig
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.runs.aware import AwareTraining
from tfkd.runs.material import Material, first_texts

PARITY_TEXTS = 500


CALIBRATION_ROWS = 200


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """The files written, with their parity reports by recipe, or by format and recipe."""

    paths: dict[str, Path]
    reports: dict[str, dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            name: {"path": str(path), **self.reports[name]} for name, path in self.paths.items()
        }

    def render(self) -> list[Any]:
        """What the command line shows."""
        lines = []
        for name, path in self.paths.items():
            report = self.reports[name]
            agreement = report["agreement"]
            shown = "" if agreement is None else f", agreement {agreement:.4f}"
            lines.append(
                f"{path}: {report['size_bytes'] / 1e6:.2f} MB{shown}, largest logit difference "
                f"{report['largest_logit_difference']:.2g} on {report['num_texts']} texts"
            )
        return lines


def export_files(
    model_folder: Path,
    classifier: TextClassifier,
    texts: Any,
    config: ExportConfig,
    calibration: Calibration | None,
    progress: Progress,
) -> ExportResult:
    """Converts, checks and keeps the files of one model folder that take tokens."""
    folder = config.output_dir or model_folder
    names = config.recipes or DEFAULT_RECIPES
    progress.say(f"convert {', '.join(names)} and compare on {len(texts)} held-out texts")
    files = export(
        model_folder, classifier, texts, names, config.lengths, folder, calibration=calibration
    )
    for name in ("tokenizer", "labels.txt", "classifier.json"):
        if folder != model_folder:
            _copy(model_folder / name, folder / name)
    return ExportResult(
        {recipe: file.path for recipe, file in files.items()},
        {recipe: file.report.to_dict() for recipe, file in files.items()},
    )


def calibration(
    names: Sequence[str],
    classifier: TextClassifier,
    material: Material,
    seed: int,
    num_rows: int = CALIBRATION_ROWS,
) -> Calibration | None:
    """Training rows for recipes whose activations get fixed ranges; None when there is no such.

    Args:
        names: Strings. Names of recipes.
        classifier: `TextClassifier`.
        material: `Material`.
        seed: Integer. Chooses the rows.
        num_rows: Integer. How many, at most.
    """
    if not any(recipes.find(name).needs_calibration for name in names):
        return None
    tokens = material.tokens("train", classifier.tokenizer)
    count = min(num_rows, len(tokens))
    rows = np.random.default_rng(seed).choice(len(tokens), count, replace=False)
    return Calibration(tokens.arrays(np.sort(rows)), seed)


def _copy(source: Path, target: Path) -> None:
    """A LiteRT file needs its tokenizer and labels beside it."""
    if source.is_dir():
        for item in source.iterdir():
            _copy(item, target / item.name)
    else:
        with artifacts.atomic_file(target) as part:
            part.write_bytes(source.read_bytes())


def write_files(
    config: DistillConfig,
    student: TextClassifier,
    teacher_logits: np.ndarray,
    material: Material,
    run: RunFolder,
) -> ExportResult:
    """The student's LiteRT files, or their reports when an earlier session wrote them.

    Args:
        config: `DistillConfig`: recipes, and how those that train do it.
        student: `TextClassifier`, trained.
        teacher_logits: float32 `[num_rows, num_outputs]`, the training rows first. For recipes that
            train; they see the texts with labels alone.
        material: `Material`.
        run: `RunFolder` with the student.
    """
    texts = first_texts(material.dataset.splits["validation"], PARITY_TEXTS)
    train_logits = teacher_logits[: material.summaries["train"].num_rows]
    aware = AwareTraining(run, student, material, config, lambda: train_logits)
    trained = [name for name in config.recipes if recipes.find(name).trained]
    missing = [
        name for name in config.recipes if name not in trained and not is_kept(run.model, name)
    ]
    if missing:
        rows = calibration(missing, student, material, config.seed)
        settings = ExportConfig(run=run.path, recipes=tuple(missing))
        export_files(run.model, student, texts, settings, rows, material.progress)
    for name in trained:
        if not aware.is_kept(name):
            aware.write(name, texts)
    paths = {name: run.model / f"{name}.tflite" for name in config.recipes}
    reports = {name: artifacts.read_json(p.with_suffix(".json")) for name, p in paths.items()}
    return ExportResult(paths, reports)
