"""`tfkd evaluate`: the quality of a finished run's models on a split with labels."""

import dataclasses
from typing import Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.verbs import EvaluateConfig
from tfkd.data import sources
from tfkd.data.checks import check
from tfkd.evaluation.rows import Row, result_table
from tfkd.evaluation.table import Table
from tfkd.locks import CACHE
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import check_classes
from tfkd.progress import Progress
from tfkd.runs.material import Material, finished, own_material
from tfkd.runs.scoring import split_figures, split_logits

ARMS = ("student", "control", "model")


@dataclasses.dataclass(frozen=True)
class EvaluateResult:
    """One row an arm."""

    rows: tuple[Row, ...]
    metric: str
    split: str

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "metric": self.metric,
            "split": self.split,
            "rows": [row.to_dict() for row in self.rows],
        }

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        return [result_table(self.rows, self.metric), f"Split: {self.split}."]


def evaluate(config: EvaluateConfig, progress: Progress | None = None) -> EvaluateResult:
    """Scores the arms of a run on a split of its own data set, or of another with the same labels.

    Args:
        config: `EvaluateConfig`.
        progress: `Progress` that shows what is done.

    Returns:
        `EvaluateResult`.

    Raises:
        ArtifactError: The folder is no finished run.
        DatasetError: The split cannot be had or holds a bad row.
        ModelError: The data set has other classes than the run.
    """
    progress = progress or Progress()
    run = finished(RunFolder(config.run))
    settings = run.read_config()
    file = artifacts.report_file(config.output_dir, "evaluation.json")
    material = _material(config, run, progress)
    dataset = material.dataset
    rows = []
    for arm in ARMS:
        if (run.path / arm / "classifier.json").is_file():
            classifier = TextClassifier.load(run.path / arm)
            check_classes(classifier, dataset, str(run.path))
            rows.append(_row(arm, classifier, config, settings, material))
    result = EvaluateResult(tuple(rows), dataset.metric, config.split)
    if file is not None:
        artifacts.write_json(file, result.to_dict())
    return result


def _material(config: EvaluateConfig, run: RunFolder, progress: Progress) -> Material:
    """The run's own split unless another data set is asked for."""
    if config.dataset is None:
        return own_material(run, config, progress, [config.split])
    seed = run.read_config()["split_seed"]
    dataset = sources.load(config.dataset, config.data_dir, seed=seed)
    summaries = check(dataset, [config.split])
    return Material(dataset, summaries, run.path.parent / CACHE, progress)


def _row(
    arm: str,
    classifier: TextClassifier,
    config: EvaluateConfig,
    settings: dict[str, Any],
    material: Material,
) -> Row:
    tokens = material.tokens(config.split, classifier.tokenizer)
    logits = split_logits(classifier, config.split, material)
    return Row(
        dataset=material.dataset.name,
        arm=arm,
        model=str(settings.get("student") if arm != "model" else settings["model"]),
        recipe="keras",
        seed=settings["seed"],
        metrics=split_figures(logits, tokens, classifier),
        size_bytes=(run_file := config.run / arm / "model.keras").stat().st_size,
        parameters=classifier.num_parameters,
        latency=None,
        command=f"python -m tfkd evaluate {run_file.parents[1]} --split {config.split}",
    )
