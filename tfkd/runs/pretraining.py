"""A student of any task: an encoder's vectors of texts, and the student that learns to give them.

What a task's few thousand labelled rows cannot teach a student from scratch is the language. Text
without labels is there in any amount, and a sentence encoder's vector says more of it than a label.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import PretrainConfig
from tfkd.data import sources
from tfkd.data.checks import check
from tfkd.data.columns import ColumnNames
from tfkd.data.examples import EMBEDDING, Dataset
from tfkd.data.holdout import Holdout
from tfkd.data.kept_rows import KeptExamples
from tfkd.data.transfer import TEXT, Joined, Unlabelled, texts_of
from tfkd.distillation.teacher_logits import load_or_score
from tfkd.evaluation.rows import STAGE_NOTE, stage_table
from tfkd.evaluation.similarity import COSINE
from tfkd.evaluation.table import Shown, Table
from tfkd.models import initialization, sizes
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, check_fit, load_classifier
from tfkd.models.precision import AUTO, FLOAT32, resolved
from tfkd.models.readings import weights_sha256
from tfkd.progress import Progress
from tfkd.runs.arm import train_arm
from tfkd.runs.budget import GENERAL
from tfkd.runs.choices import put_back_if_refused
from tfkd.runs.known_texts import keep
from tfkd.runs.lengths import LEAST, with_length
from tfkd.runs.material import Material
from tfkd.runs.record import shared_record
from tfkd.runs.routes import Bfloat16Scorer
from tfkd.runs.training import Objective, plan, training_record, training_sentence

VECTORS = "vectors"
SPLITS = ("train", "validation")


@dataclasses.dataclass(frozen=True, repr=False)
class PretrainResult(Shown):
    """A general student.

    Attributes:
        path: The run folder, for --student of `tfkd distill`.
        metrics: How like the encoder's its vectors of the held-out texts are.
        num_parameters: Number of weights, those to the encoder's width included.
        num_rows: Texts it learned from.
        seconds: Seconds of each stage by its name.
    """

    path: Path
    metrics: dict[str, float]
    num_parameters: int
    num_rows: int
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def sentence(self) -> str:
        """What came out, in words."""
        figures = ", ".join(
            f"{name.replace('_', ' ')} {value:.4f}" for name, value in self.metrics.items()
        )
        return f"held-out texts, beside the encoder: {figures} (from {self.num_rows:,} texts)"

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        return [
            self.sentence(),
            stage_table(self.seconds),
            STAGE_NOTE,
            f"{self.path}: {self.num_parameters:,} parameters. "
            f"Use it: tfkd distill --student {self.path}",
        ]


def read_texts(config: PretrainConfig, cache: Path, progress: Progress) -> Material:
    """The texts as a data set without labels, checked, some of them held out.

    Raises:
        DatasetError: A text is not there or bad, or there are too few.
    """
    with progress.stage("read and check", "read and check the texts"):
        rows = KeptExamples.of(_rows(config, config.unit))
        held_out = {"validation": config.validation_fraction}
        splits = Holdout(rows, EMBEDDING, held_out, config.seed).splits()
        dataset = Dataset(", ".join(config.texts), EMBEDDING, ("vector",), 1, COSINE, splits)
        summaries = check(dataset, SPLITS)
    counts = ", ".join(f"{name} {item.num_rows:,}" for name, item in summaries.items())
    progress.say(f"texts: {counts}")
    return Material(dataset, summaries, cache, progress)


def _rows(config: PretrainConfig, unit: str) -> Joined:
    """The rows of all texts that are asked for; nothing is read yet."""
    load = functools.partial(
        sources.load_texts, data_dir=config.data_dir, names=ColumnNames(config.text_column)
    )
    return Joined(
        tuple(
            Unlabelled(texts_of(text, load, "--text"), EMBEDDING, unit, config.max_rows)
            for text in config.texts
        )
    )


def load_reader(config: PretrainConfig, source: Source, material: Material) -> TextClassifier:
    """The encoder up to one vector a text.

    Raises:
        ModelError: The files do not load.
    """
    length = config.encoder_sequence_length
    if source.kind in (Kind.RUN, Kind.PRETRAINED) and source.folder is not None:
        classifier = TextClassifier.load(source.folder)
    else:
        shape = Shape(length or LEAST, config.encoder_pooling, config.seed)
        classifier = load_classifier(source, material.dataset, shape)
    classifier = with_length(classifier, length, material)
    # A general student's logits are vectors already.
    return classifier if source.kind is Kind.PRETRAINED else classifier.reader()


def vectors_of(reader: TextClassifier, split: str, material: Material) -> np.ndarray:
    """The encoder's vectors of the texts of a split, from the cache or read now.

    Products are in bfloat16 where the processor has them: a vector is off by a thousandth then.

    Returns:
        float32 array, shape `[num_rows, width]`.
    """
    tokens, precision = material.tokens(split, reader.tokenizer), resolved(AUTO)
    width = reader.model.output_shape[-1]
    mark = artifacts.fingerprint(
        {
            "encoder": weights_sha256(reader.model),
            "tokens": tokens.fingerprint,
            "num_rows": len(tokens),
            "precision": precision,
        }
    )
    folder = material.cache / VECTORS / mark
    with material.progress.stage("read with the encoder"):
        return load_or_score(
            lambda: reader if precision == FLOAT32 else Bfloat16Scorer(reader),
            width,
            tokens,
            folder,
            mark,
            material.progress,
        )


def pre_train(
    config: PretrainConfig, source: Source, material: Material, run: RunFolder
) -> PretrainResult:
    """Trains a general student and writes the run folder; metrics.json marks it done.

    Raises:
        ArtifactError: The folder holds something else.
        ModelError: The encoder does not load.
    """
    shape = Shape(config.sequence_length or LEAST)
    check_fit(Source(config.student, Kind.SIZE), material.dataset, shape)
    with put_back_if_refused(run, config.overwrite) as aside:
        run.start(artifacts.PRETRAIN, config.to_dict(), config.overwrite, material.record(), aside)
        reader = load_reader(config, source, material)
    # Whole texts, as a task has them.
    keep(run, _rows(config, TEXT))
    vectors = {split: vectors_of(reader, split, material) for split in SPLITS}
    student = _untrained(config, reader, material, vectors["train"].shape[1])
    num_rows = len(vectors["train"])
    rate = config.learning_rate or sizes.default_learning_rate(config.student)
    chosen = plan(config, rate, GENERAL, num_rows)
    material.progress.say(training_sentence("model", chosen))
    # Directions alone are learned, so no temperature and no label takes part.
    heard = (weights_sha256(reader.model),)
    objective = Objective(vectors["train"], 1.0, 0.0, heard=heard, held_out=vectors["validation"])
    with material.progress.stage("train the student"):
        trained = train_arm("model", student, objective, chosen, material, run)
    training = training_record(run, "model")
    best = training["history"][training["best_epoch"] - 1]
    figures = {
        name.removeprefix("validation_"): value
        for name, value in best.items()
        if name.startswith("validation_")
    }
    result = PretrainResult(
        run.path, figures, trained.num_parameters, num_rows, material.progress.seconds
    )
    artifacts.write_text(run.path / "README.md", _page(config, result))
    record = {**result.to_dict(), "training": training}
    run.finish(record | shared_record(material, config.seed))
    return result


def _untrained(
    config: PretrainConfig, reader: TextClassifier, material: Material, width: int
) -> TextClassifier:
    """The student with as many outputs as the encoder's vectors have, started from its table."""
    names = tuple(str(column) for column in range(width))
    dataset = dataclasses.replace(material.dataset, label_names=names)
    shape = Shape(config.sequence_length or LEAST, config.pooling, config.seed)
    source = Source(config.student, Kind.SIZE)
    student = load_classifier(source, dataset, shape, reader.tokenizer)
    initialization.start_table(student.model, reader.model)
    initialization.start_layers(student.model, reader.model)
    return with_length(student, config.sequence_length, material)


def _page(config: PretrainConfig, result: PretrainResult) -> str:
    """The run's README.md."""
    versions = ", ".join(f"{name} {version}" for name, version in artifacts.versions().items())
    return (
        f"# {config.student} pretrained on the vectors of {config.encoder}\n\n"
        f"{result.sentence()}.\n\n"
        "Made by this command, which makes it again:\n\n"
        f"```\n{config.command_line(artifacts.PRETRAIN)}\n```\n\n"
        "`model/` is the student, for `--student` of `tfkd distill`.\n\n"
        f"Seed {config.seed}; {versions}.\n"
    )
