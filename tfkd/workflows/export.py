"""`tfkd export`: a finished run's model as files for other programs, each through the gate."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import formats, package, parity, recipes
from tfkd.compression.calibration import Calibration
from tfkd.compression.comparison import check_replaceable
from tfkd.config import TOKENS, ExportConfig
from tfkd.data.checks import check
from tfkd.errors import ArtifactError, ConfigError
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.training_config import DEFAULT_RECIPES
from tfkd.workflows.benchmark import first_texts
from tfkd.workflows.preparation import CACHE, Material, own_dataset

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


def export(config: ExportConfig, progress: Progress | None = None) -> ExportResult:
    """Writes the files of a run's main model that are asked for.

    Args:
        config: `ExportConfig`.
        progress: Where to show it.

    Returns:
        `ExportResult`.

    Raises:
        ArtifactError: The folder is no finished run, or a file is there already.
        ConfigError: A recipe or length is not for this format.
        ConversionError: A file could not be converted or did not pass its gate.
        ModelError: The model has no file of this format.
    """
    progress = progress or Progress()
    run = RunFolder(config.run)
    settings = run.read_config()
    folder = config.output_dir or run.model
    targets = _targets(config, folder)
    for path in targets.values():
        if path.exists() and not config.overwrite:
            raise ArtifactError(
                f"Expected no file {path}. It exists. Add --overwrite to replace it, or give "
                "another --output-dir."
            )
        check_replaceable(path)
    dataset = own_dataset(settings, config.data_dir)
    material = Material(dataset, check(dataset), run.path.parent / CACHE, progress)
    classifier = TextClassifier.load(run.model)
    texts = first_texts(dataset.splits["validation"], PARITY_TEXTS)
    if config.format == TOKENS:
        found = calibration(tuple(targets), classifier, material, settings["seed"])
        return export_files(run.model, classifier, texts, config, found, progress)
    packages = {}
    for recipe, path in targets.items():
        progress.say(f"write {path} and compare on {len(texts)} held-out texts")
        found = calibration((recipe,), classifier, material, settings["seed"])
        order = package.Order(config.format, path, recipe, max(config.lengths, default=0), found)
        packages[path.stem] = package.export_package(order, run.model, classifier, texts)
    return ExportResult(
        {name: made.path for name, made in packages.items()},
        {name: made.to_dict() for name, made in packages.items()},
    )


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
    files = parity.export(
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


def _targets(config: ExportConfig, folder: Path) -> dict[str, Path]:
    """The file of each recipe."""
    if config.format == TOKENS:
        for name in config.recipes:
            if recipes.find(name).trained:
                raise ConfigError(
                    f"Expected recipes that need no training. Received: {name}. Write it with "
                    f"`tfkd quantize {config.run} --recipe {name}`."
                )
        return {name: folder / f"{name}.tflite" for name in config.recipes or DEFAULT_RECIPES}
    form = formats.find(config.format)
    if len(config.lengths) > 1:
        raise ConfigError(
            f"Expected one --length for format {form.name}. Received: "
            f"{', '.join(map(str, config.lengths))}."
        )
    names = config.recipes or form.recipes[:1]
    if form.name == formats.SAVED_MODEL:
        return {name: folder / form.name for name in names}
    return {name: folder / f"{form.name}-{name}.tflite" for name in names}


def _copy(source: Path, target: Path) -> None:
    """A LiteRT file needs its tokenizer and labels beside it."""
    if source.is_dir():
        for item in source.iterdir():
            _copy(item, target / item.name)
    else:
        with artifacts.atomic_file(target) as part:
            part.write_bytes(source.read_bytes())
