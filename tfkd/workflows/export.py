"""`tfkd export`: LiteRT files of a finished run's model, each through the parity gate."""

import dataclasses
from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import parity
from tfkd.config import ExportConfig
from tfkd.errors import ArtifactError
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.workflows.benchmark import first_texts
from tfkd.workflows.preparation import own_dataset

PARITY_TEXTS = 500


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """The files written, with their parity reports by recipe."""

    paths: dict[str, Path]
    reports: dict[str, dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            recipe: {"path": str(path), **self.reports[recipe]}
            for recipe, path in self.paths.items()
        }

    def render(self) -> list[Any]:
        """What the command line shows."""
        lines = []
        for recipe, path in self.paths.items():
            report = self.reports[recipe]
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
        ConversionError: A file could not be converted or did not pass its gate.
    """
    progress = progress or Progress()
    run = RunFolder(config.run)
    settings = run.read_config()
    folder = config.output_dir or run.model
    for recipe in config.recipes:
        if (folder / f"{recipe}.tflite").exists() and not config.overwrite:
            raise ArtifactError(
                f"Expected no file {folder / recipe}.tflite. It exists. Add --overwrite to "
                "replace it, or give another --output-dir."
            )
    classifier = TextClassifier.load(run.model)
    dataset = own_dataset(settings, config.data_dir)
    texts = first_texts(dataset.splits["validation"], PARITY_TEXTS)
    return export_files(run.model, classifier, texts, config, folder, progress)


def export_files(
    model_folder: Path, classifier: TextClassifier, texts: Any, config: ExportConfig,
    folder: Path, progress: Progress,
) -> ExportResult:  # fmt: skip
    """Converts, checks and keeps the files of one model folder."""
    progress.say(f"convert {', '.join(config.recipes)} and compare on {len(texts)} held-out texts")
    files = parity.export(model_folder, classifier, texts, config.recipes, config.lengths, folder)
    for name in ("tokenizer", "labels.txt", "classifier.json"):
        if folder != model_folder:
            _copy(model_folder / name, folder / name)
    return ExportResult(
        {recipe: file.path for recipe, file in files.items()},
        {recipe: file.report.to_dict() for recipe, file in files.items()},
    )


def _copy(source: Path, target: Path) -> None:
    """A LiteRT file needs its tokenizer and labels beside it."""
    if source.is_dir():
        for item in source.iterdir():
            _copy(item, target / item.name)
    else:
        with artifacts.atomic_file(target) as part:
            part.write_bytes(source.read_bytes())
