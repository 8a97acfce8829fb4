"""A published classifier as a run, as it is: what follows a training needs no training then."""

import dataclasses
import re
from pathlib import Path

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import FinetuneConfig
from tfkd.config.verbs import QuantizeConfig
from tfkd.errors import ArtifactError, ConfigError, ModelError
from tfkd.locks import held
from tfkd.models import huggingface, presets, sizes
from tfkd.models.checkpoints import Source, resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.progress import Progress
from tfkd.reports.predictions import Answered
from tfkd.runs.budget import budget_of
from tfkd.runs.choices import put_back_if_refused, slug
from tfkd.runs.comparisons import few_rows_warning
from tfkd.runs.lengths import LEAST, with_length
from tfkd.runs.material import Material, prepare
from tfkd.runs.outcome import FinetuneResult
from tfkd.runs.record import finish_run, read_metrics
from tfkd.runs.scoring import split_figures, split_logits
from tfkd.runs.settings import RUNS
from tfkd.runs.teacher import model_row
from tfkd.runs.training import plan, with_thresholds

# A path has lost one of the two strokes.
_HANDLE = re.compile("^(hf|kaggle):/+")


def published(config: QuantizeConfig) -> Source | None:
    """The published classifier that is to be quantized, or None for a run's model.

    Raises:
        ConfigError: There is none of `--dataset`, by which it is judged.
        ModelError: It cannot be had, or is no classifier yet.
    """
    name = _HANDLE.sub(r"\1://", str(config.run))
    is_handle, folder = name != str(config.run), config.run
    if not is_handle and (RunFolder(folder).is_run or not _is_published(folder)):
        return None
    source = resolve(name)
    if not source.is_ready:
        raise ModelError(
            f"Expected a classifier to quantize. Received: {name}, an encoder that knows no "
            f"classes. Train it first: `tfkd finetune --model {name} --dataset NAME`."
        )
    if config.dataset is None:
        raise ConfigError(
            f"Expected --dataset with {name}: texts with labels to compare and score its files on. "
            "Received: none."
        )
    return source


def _is_published(folder: Path) -> bool:
    return huggingface.read_config(folder) is not None or presets.is_preset(folder)


def published_run(source: Source, config: QuantizeConfig, progress: Progress) -> RunFolder:
    """The run of a published classifier in `saved_models`, made now or by an earlier command.

    Raises:
        ArtifactError: The folder holds something else, or the classifier is another by now.
        DatasetError: The data set cannot be had.
        ModelError: The classes are not the data set's.
    """
    settings = FinetuneConfig(
        dataset=config.dataset or "", data_dir=config.data_dir, model=source.name
    )
    run = RunFolder(RUNS / f"{slug(settings.dataset)}-{source.slug}-published")
    mark = _fingerprint(source)
    if run.is_finished and not config.overwrite:
        if read_metrics(run).get("published") != mark:
            raise ArtifactError(
                f"Expected in {run.path} what was made of {source.name} as it is now. Received: "
                "another run. Add --overwrite to replace it, or move it away."
            )
        return run
    material = prepare(settings, run.path.parent, progress)
    with held(run.path, "quantize"):
        with put_back_if_refused(run, config.overwrite) as aside:
            record = material.record()
            run.start("finetune", settings.to_dict(), config.overwrite, record, aside)
            ready = load_classifier(source, material.dataset, Shape(LEAST), say=progress.say)
        classifier = with_thresholds(with_length(ready, None, material), material)
        classifier.save(run.model)
        rate = sizes.default_learning_rate(source.size)
        num_rows = material.summaries["train"].num_rows
        learned = plan(settings, rate, budget_of(source), num_rows)
        # By which recipes that train do it.
        kept = {"plan": dataclasses.asdict(learned), "history": [], "seconds": 0}
        artifacts.write_record(run.path / "training" / "model.json", kept)
        _finish(run, classifier, material, settings, mark, config.command_line("quantize"))
    return run


def _finish(
    run: RunFolder,
    classifier: TextClassifier,
    material: Material,
    settings: FinetuneConfig,
    mark: str,
    command: str,
) -> None:
    """Scores the test rows and writes the figures, which come last."""
    logits = split_logits(classifier, "test", material)
    figures = split_figures(logits, material.tokens("test", classifier.tokenizer), classifier)
    row = model_row(settings, material, classifier, figures)
    row = dataclasses.replace(row, command=command)
    warned = few_rows_warning(material, "test", "model", classifier, logits)
    size, metric = classifier.num_parameters, material.dataset.metric
    seconds = material.progress.seconds
    result = FinetuneResult(run.path, figures, size, seconds, (row,), metric, warned)
    answered = {"model": Answered(logits, classifier.thresholds)}
    finish_run(run, {**result.to_dict(), "published": mark}, answered, material, settings)


def _fingerprint(source: Source) -> str:
    """Of the files of a published classifier."""
    folder = source.folder or Path()
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return artifacts.fingerprint({path.name: artifacts.file_sha256(path) for path in files})
