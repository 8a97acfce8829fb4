"""The teacher of a run: taken ready or fine-tuned here, asked once, its answers kept."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import JsonObject, RunFolder
from tfkd.config.data import BALANCED, DataConfig
from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.distillation.mixture import mixture
from tfkd.distillation.teacher_logits import load_or_score
from tfkd.errors import ArtifactError
from tfkd.evaluation.rows import Row
from tfkd.locks import held
from tfkd.models import sizes
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.description import Description
from tfkd.models.loading import Shape, check_classes, load_classifier
from tfkd.reports.predictions import Answered
from tfkd.runs.answers import kept_answers
from tfkd.runs.arm import train_arm
from tfkd.runs.baselines import baseline_row, embeddings_baseline, word_baseline
from tfkd.runs.budget import budget_of
from tfkd.runs.choices import choose, put_back_if_refused, slug
from tfkd.runs.comparisons import few_rows_warning
from tfkd.runs.known_texts import check_held_out, keep_texts
from tfkd.runs.lengths import LEAST, with_length
from tfkd.runs.linear_head import start_head
from tfkd.runs.material import Material
from tfkd.runs.outcome import FinetuneResult
from tfkd.runs.record import (
    KeptMixture,
    finish_run,
    noted_teacher,
    read_metrics,
    told_temperature,
)
from tfkd.runs.routes import EXACT_ROUTE, LOGITS, Answers, Demand, Routes
from tfkd.runs.scoring import split_figures
from tfkd.runs.training import (
    Objective,
    plan,
    training_record,
    training_sentence,
    with_thresholds,
)

# The splits that decide a teacher: the rows it learns from and those that choose its epoch.
TAUGHT = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A teacher and what it says.

    Attributes:
        classifier: `TextClassifier`.
        folder: Its model folder.
        test_logits: float32 `[num_test_rows, num_outputs]`.
        name: As the user calls it.
        sentences: What was found, in words.
    """

    classifier: TextClassifier
    folder: Path
    test_logits: np.ndarray
    name: str = ""
    sentences: tuple[str, ...] = ()

    @property
    def thresholds(self) -> float | Sequence[float]:
        """Of several labels, where each is given."""
        return self.classifier.thresholds

    @property
    def sha256(self) -> str:
        """The model's, by which a training knows whose answers it learned from."""
        return Description.read(self.folder).model_sha256

    def answers(self, split: str, material: Material, demand: Demand) -> Answers:
        """Its answers to the rows of a split, from the cache or asked now."""
        return _answers(self.classifier, self.folder, split, material, demand)

    def start(self, material: Material) -> TextClassifier:
        """What a student starts from."""
        return self.classifier

    def record(self, run: RunFolder) -> JsonObject:
        """Entry in metrics.json, to ask it again."""
        return {"teacher_folder": run.noted(self.folder), "teacher_sha256": self.sha256}


def prepare_teacher(
    config: DistillConfig, source: Source, material: Material, run: RunFolder
) -> Teacher:
    """Finds or makes the teacher's classifier and its logits."""
    folder = _folder(config, source, material, run)
    classifier = check_classes(TextClassifier.load(folder), material.dataset, source.name)
    test_logits = _answers(classifier, folder, "test", material, Demand()).logits
    return Teacher(classifier, folder, test_logits, source.name)


def train_logits(run: RunFolder, material: Material) -> np.ndarray | None:
    """What a finished run's student was told of the training rows, from the cache or asked again.

    Returns:
        float32 `[num_train_rows, num_outputs]`, NaN in rows without an answer; or None for a run
        without a teacher.

    Raises:
        ArtifactError: The teacher's folder is gone, or holds another model.
    """
    told = kept_answers(run, material.summaries["train"].num_rows)
    if told is not None:
        return told
    answers = _asked_again(run, material)
    return None if answers is None else answers / np.float32(told_temperature(run))


def _asked_again(run: RunFolder, material: Material) -> np.ndarray | None:
    """Logits of the teachers for the training rows, mixed as they were."""
    settings, kept = run.read_config(), KeptMixture.read(run)
    if kept is not None:
        demand = Demand.of(settings, kept.mixing.temperatures)
        heard = [
            _kept_logits(run, run.find(folder), kept.sha256.get(name), material, demand)
            for name, folder in kept.folders.items()
        ]
        temperature = settings["temperature"]
        return mixture(material.dataset.task, heard, temperature, kept.mixing)
    folder = noted_teacher(run)
    if folder is None:
        return None
    sha256 = read_metrics(run).get("teacher_sha256")
    return _kept_logits(run, folder, sha256, material, Demand.of(settings))


def _kept_logits(
    run: RunFolder, folder: Path, sha256: str | None, material: Material, demand: Demand
) -> np.ndarray:
    """A former teacher's logits of the training rows."""
    if not (folder / "classifier.json").is_file():
        raise ArtifactError(
            f"Expected the teacher of {run.path} in {folder}. It is not there. Put it there again, "
            "or make the run again."
        )
    if sha256 not in (None, Description.read(folder).model_sha256):
        raise ArtifactError(
            f"Expected the teacher of {run.path} in {folder}. Received: another model, which was "
            "made since. Make the run again."
        )
    return _answers(TextClassifier.load(folder), folder, "train", material, demand).logits


def _folder(config: DistillConfig, source: Source, material: Material, run: RunFolder) -> Path:
    """The model folder of a ready teacher, or of one fine-tuned now or before."""
    if source.kind is Kind.RUN and source.folder is not None:
        return source.folder
    if source.is_ready:
        folder = run.path / "teacher"
        if not (folder / "classifier.json").is_file():
            length = config.teacher_sequence_length
            shape = Shape(length or LEAST, config.teacher_pooling, config.teacher_seed)
            ready = load_classifier(source, material.dataset, shape, say=material.progress.say)
            with_thresholds(with_length(ready, length, material), material).save(folder)
        return folder
    settings = finetune_config(config, source, run)
    material = material.of(settings)
    return finetuned(_beside_others(settings, material), material)


def _beside_others(settings: FinetuneConfig, material: Material) -> FinetuneConfig:
    """The settings with a folder of its own for a teacher of these rows, if another has its place.

    The other is left, since older students may have to ask it again.
    """
    made = RunFolder(settings.output_dir or Path())
    changed = made.changed_rows(material.describe(), TAUGHT) if made.is_run else None
    if changed is None:
        return settings
    rows = {name: material.summaries[name].fingerprint for name in TAUGHT}
    path = made.path.with_name(f"{made.path.name}-{artifacts.fingerprint(rows)[:8]}")
    material.progress.say(f"{made.path} is of other rows: {changed}; a teacher of these is {path}")
    return settings.replace(output_dir=path)


def finetuned(settings: FinetuneConfig, material: Material) -> Path:
    """The model folder of a teacher, fine-tuned now or by an earlier session.

    Raises:
        ArtifactError: The folder holds a teacher made with other settings, or of other rows.
    """
    made, progress = RunFolder(settings.output_dir or Path()), material.progress
    if not made.is_finished:
        with held(made.path, "finetune", lambda who: progress.say(f"wait for the teacher: {who}")):
            # Another command may have made it meanwhile.
            if not made.is_finished:
                with progress.stage("fine-tune the teacher"):
                    fine_tune(settings, choose(settings)["model"], material, made)
    changed = made.changed_rows(material.describe(), TAUGHT)
    if changed is not None:
        raise ArtifactError(
            f"Expected the teacher in {made.path} to be made of these rows. Received: one of "
            f"others: {changed}. Delete it to have it made anew, or give another --output-dir."
        )
    found = made.difference("finetune", settings.to_dict())
    if found is not None:
        key, before, value = found
        raise ArtifactError(
            f"Expected the teacher in {made.path} to be made with {key}={value!r}. Received: "
            f"{key}={before!r}. Give --teacher {made.path} to take it as it is, or delete it."
        )
    return made.model


def fine_tune(
    config: FinetuneConfig, source: Source, material: Material, run: RunFolder
) -> FinetuneResult:
    """Trains a classifier on labels, scores the test rows, and writes the run folder.

    metrics.json comes last and marks the run done.

    Raises:
        ArtifactError: The folder holds something else.
        ModelError: The model does not load.
    """
    config = config.replace(model=source.name)
    check_held_out(source, material)
    with put_back_if_refused(run, config.overwrite) as aside:
        run.start("finetune", config.to_dict(), config.overwrite, material.record(), aside)
        untrained, has_head = _untrained(config, source, material)
    keep_texts(run, material, source)
    baselines = [embeddings_baseline(untrained, material) if has_head else None]
    baselines.append(word_baseline(material))
    rate = config.learning_rate or sizes.default_learning_rate(source.size)
    num_rows = material.summaries["train"].num_rows
    chosen = plan(config, rate, budget_of(source), num_rows)
    material.progress.say(training_sentence("model", chosen))
    classifier = train_arm(
        "model", untrained, Objective(starts_ready=has_head), chosen, material, run
    )
    # Kept, since a student's table holds the same answers.
    logits = _answers(classifier, run.model, "test", material, Demand()).logits
    figures = split_figures(logits, material.tokens("test", classifier.tokenizer), classifier)
    row = model_row(config, material, classifier, figures)
    others = [baseline_row(item, row, material, classifier, logits) for item in baselines if item]
    rows, seconds, metric = (*others, row), material.progress.seconds, material.dataset.metric
    warned = few_rows_warning(material, "test", "model", classifier, logits)
    result = FinetuneResult(
        run.path, figures, classifier.num_parameters, seconds, rows, metric, warned
    )
    named = zip(("embeddings", "words"), baselines, strict=True)
    answered = {name: Answered(item.logits, item.thresholds) for name, item in named if item}
    answered["model"] = Answered(logits, classifier.thresholds)
    record = {**result.to_dict(), "training": training_record(run, "model")}
    finish_run(run, record, answered, material, config)
    return result


def model_row(
    config: FinetuneConfig,
    material: Material,
    classifier: TextClassifier,
    figures: Mapping[str, float],
) -> Row:
    """The model's row of the table."""
    return Row(
        dataset=material.dataset.name,
        arm="model",
        model=str(config.model),
        recipe="keras",
        seed=config.seed,
        metrics=figures,
        size_bytes=classifier.size_bytes,
        parameters=classifier.num_parameters,
        latency=None,
        command=config.command_line("finetune"),
    )


def _untrained(
    config: FinetuneConfig, source: Source, material: Material
) -> tuple[TextClassifier, bool]:
    """A model before its fine-tuning; a trained encoder gets a head that knows the classes.

    Whether it has got one comes second.
    """
    length = config.sequence_length
    shape = Shape(length or LEAST, config.pooling, config.seed, config.layers)
    classifier = load_classifier(source, material.dataset, shape, say=material.progress.say)
    classifier = with_length(classifier, length, material)
    is_encoder = source.size is None and not source.is_ready
    if is_encoder:
        train, held_out = (
            material.tokens(split, classifier.tokenizer) for split in ("train", "validation")
        )
        weights = material.label_weights(np.asarray(train.labels))
        is_balanced = material.class_weights is not None
        start_head(classifier, train, held_out, material.progress, weights, is_balanced)
    return classifier, is_encoder


def finetune_config(config: DistillConfig, source: Source, run: RunFolder) -> FinetuneConfig:
    """The settings of `tfkd finetune` that make this run's teacher, beside the run.

    Only the `teacher_*` settings and the data decide: students trained otherwise share a teacher.
    """
    shared = {field.name for field in dataclasses.fields(DataConfig)} - {"seed"}
    shared |= {"quiet", "report", "backup_seconds", "strategy", "ray"}
    own = (
        "epochs",
        "batch_size",
        "learning_rate",
        "pooling",
        "sequence_length",
        "precision",
        "seed",
        "layers",
    )
    # Who was told of balanced classes, or has weights, tries them beside what is there.
    end = f"-{BALANCED}" if config.class_weight == BALANCED else ""
    end += "-weighted" if config.weight_column else ""
    return FinetuneConfig(
        model=source.name,
        output_dir=run.path.parent / f"{slug(config.dataset)}-{source.slug}-finetuned{end}",
        **{name: getattr(config, name) for name in shared},
        **{name: getattr(config, f"teacher_{name}") for name in own},
    )


def _answers(
    classifier: TextClassifier, folder: Path, split: str, material: Material, demand: Demand
) -> Answers:
    """A teacher's answers to the rows of a split, from the cache or scored now."""
    mark = artifacts.fingerprint(
        {
            "teacher": Description.read(folder).model_sha256,
            "tokenizer": classifier.tokenizer.fingerprint,
            "sequence_length": classifier.tokenizer.sequence_length,
            "data": material.summaries[split].fingerprint,
            "num_rows": material.summaries[split].num_rows,
        }
    )
    tokens = material.tokens(split, classifier.tokenizer)
    with material.progress.stage("score with the teacher"):
        routes = Routes(classifier, folder, tokens, material.cache, material.progress)
        route = EXACT_ROUTE if demand.is_exact else routes.choose(mark, demand.temperature)
        mark = route.mark(mark)
        logits = load_or_score(
            functools.partial(routes.open, route.name),
            len(classifier.label_names),
            tokens,
            material.cache / LOGITS / mark,
            mark,
            material.progress,
        )
    return Answers(logits, route)
