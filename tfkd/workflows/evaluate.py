"""`tfkd evaluate`: the quality of a finished run's models on a split with labels."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.verbs import EvaluateConfig
from tfkd.data import sources
from tfkd.data.checks import check
from tfkd.data.columns import KNOWN_NAMES, ColumnNames, Reading
from tfkd.data.duplicates import said_of
from tfkd.data.labels import LabelForm
from tfkd.errors import ConfigError
from tfkd.evaluation.rows import Row, result_table
from tfkd.evaluation.table import Shown, Table
from tfkd.locks import CACHE
from tfkd.models.classifier import TextClassifier
from tfkd.models.description import Description
from tfkd.models.loading import check_classes
from tfkd.progress import Progress
from tfkd.runs.comparisons import few_rows_warning
from tfkd.runs.known_texts import num_known
from tfkd.runs.material import Material
from tfkd.runs.own_data import own_material
from tfkd.runs.record import finished
from tfkd.runs.scoring import split_figures, split_logits
from tfkd.runs.settings import settings_of

ARMS = ("student", "control", "model")


@dataclasses.dataclass(frozen=True, repr=False)
class EvaluateResult(Shown):
    """One row an arm.

    Attributes:
        rows: `Row` of each arm.
        metric: Name of the headline metric.
        split: Name of the split.
        num_rows: Rows that were scored.
        warning: What to know first: they are few. None where they are not.
    """

    rows: tuple[Row, ...]
    metric: str
    split: str
    num_rows: int
    warning: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "metric": self.metric,
            "split": self.split,
            "num_rows": self.num_rows,
            "warning": self.warning,
            "rows": [row.to_dict() for row in self.rows],
        }

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        return [
            *([self.warning] if self.warning else []),
            result_table(self.rows, self.metric),
            f"Split: {self.split}, {self.num_rows:,} rows.",
        ]


def evaluate(
    config: EvaluateConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> EvaluateResult:
    """Scores the arms of a run on a split of its own data set, or on other rows with its labels.

    Of a file every row is scored, of another data set a split as it is published.

    Args:
        config: `EvaluateConfig`, or the run's path.
        progress: `Progress` that shows what is done.
        **given: The settings as keywords instead; `texts` and `labels` in memory take the place of
            `dataset`, see docs/python.md.

    Returns:
        `EvaluateResult`.

    Raises:
        ArtifactError: The folder is no finished run.
        DatasetError: The split cannot be had or holds a bad row.
        ModelError: The data set has other classes than the run.
    """
    config = settings_of(EvaluateConfig, config, given)
    progress = progress or Progress()
    run = finished(RunFolder(config.run))
    settings = run.read_config()
    file = artifacts.report_file(config.output_dir, "evaluation.json")
    material = _material(config, run, progress)
    dataset = material.dataset
    rows, warnings = [], []
    for arm in ARMS:
        if (run.path / arm / "classifier.json").is_file():
            classifier = TextClassifier.load(run.path / arm)
            check_classes(classifier, dataset, str(run.path))
            logits = split_logits(classifier, config.split, material)
            warnings.append(few_rows_warning(material, config.split, arm, classifier, logits))
            rows.append(_row(arm, (classifier, logits), config, settings, material))
    num_rows = material.summaries[config.split].num_rows
    result = EvaluateResult(tuple(rows), dataset.metric, config.split, num_rows, warnings[0])
    if file is not None:
        artifacts.write_json(file, result.to_dict())
    return result


def _material(config: EvaluateConfig, run: RunFolder, progress: Progress) -> Material:
    """The run's own split unless other data is asked for, which is read with its classes."""
    name, settings = config.dataset, run.read_config()
    if name is None or (name == settings["dataset"] and not Path(name).expanduser().is_file()):
        _check_own(config)
        own = dataclasses.replace(config, dataset=None)
        return own_material(run, own, progress, [config.split], option="--data-dir")
    known = Description.read(run.model)
    folds = settings.get("fold_case", False)
    form = LabelForm(known.task, settings.get("label_separator"), folds_case=folds)
    form = form.named(known.label_names, f"the run {run.path}")
    seed = settings["split_seed"]
    # A set of the catalog has columns of its own.
    is_file = Path(name).expanduser().exists()
    columns = ColumnNames.of(config).over(ColumnNames.of(settings) if is_file else KNOWN_NAMES)
    reading = Reading(columns, form, config.drop_empty or settings.get("drop_empty", False))
    dataset = sources.load_split(name, config.data_dir, config.split, seed, reading)
    if dataset.columns:
        progress.say(f"columns: {dataset.columns}")
    progress.say(f"labels: {dataset.labels}")
    summaries = check(dataset, [config.split])
    for line in said_of(dataset.repairs()):
        progress.say(line)
    count = num_known(run, dataset.splits[config.split])
    if count:
        progress.say(
            f"{count:,} of {summaries[config.split].num_rows:,} rows are such that {run.path} was "
            "trained on: what it knows of them it need not know of others"
        )
    return Material(dataset, summaries, run.path.parent / CACHE, progress)


def _check_own(config: EvaluateConfig) -> None:
    """Refuses settings of how to read data that are read as the run did."""
    if config.drop_empty or ColumnNames.of(config) != KNOWN_NAMES:
        raise ConfigError(
            "Expected --dataset beside --drop-empty and options of columns. Received: none, and "
            "the run's own rows are read as it read them. Leave these options out."
        )


def _row(
    arm: str,
    answered: tuple[TextClassifier, np.ndarray],
    config: EvaluateConfig,
    settings: dict[str, Any],
    material: Material,
) -> Row:
    classifier, logits = answered
    tokens = material.tokens(config.split, classifier.tokenizer)
    return Row(
        dataset=material.dataset.name,
        arm=arm,
        model=str(settings.get("student") if arm != "model" else settings["model"]),
        recipe="keras",
        seed=settings["seed"],
        metrics=split_figures(logits, tokens, classifier),
        size_bytes=(config.run / arm / "model.keras").stat().st_size,
        parameters=classifier.num_parameters,
        latency=None,
        command=config.command_line("evaluate"),
    )
