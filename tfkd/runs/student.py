"""The untrained student: by size word, preset or folder, with fewer tokens or a bottleneck.

Keys and key numbers lie in the cache, shared by all runs beside each other: arms that differ in
teacher, temperature or weights have the same.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import keras
import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder, fingerprint
from tfkd.config.training import DistillConfig
from tfkd.data.shards import kept_array
from tfkd.distillation.training import Plan
from tfkd.models import bottleneck, initialization, keys, readings, sizes
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, check_fit, load_classifier, load_encoder
from tfkd.models.tokenizers import Tokenizer
from tfkd.models.vocabulary import Trim, trim
from tfkd.runs.budget import budget_of
from tfkd.runs.lengths import LEAST, fitting_length, with_length
from tfkd.runs.material import Material, first_texts
from tfkd.runs.training import Objective, plan

COMPARED_TEXTS = 2000


class Start(Protocol):
    """What a student starts from: a teacher's `TextClassifier`, or a vocabulary alone."""

    @property
    def tokenizer(self) -> Tokenizer:
        """For a student that brings none."""

    @property
    def model(self) -> keras.Model | None:
        """Whose token table and layers it may take over; None where there is none."""


def smaller_vocabulary(
    config: DistillConfig, source: Source, start: Start, material: Material
) -> Trim | None:
    """The student's smaller vocabulary, if one is asked for.

    Tokens are counted in all texts that it reads, and for `min_count` in those of train alone.

    Raises:
        ConfigError: The size is too small for the tokens that must stay.
        ModelError: The tokenizer it starts from is no WordPiece tokenizer.
    """
    if config.vocabulary_size is None and config.min_count is None:
        return None
    length = config.sequence_length or fitting_length(start.tokenizer, material)
    tokenizer = start.tokenizer.with_length(length)
    split = material.transfer if config.min_count is None else "train"
    return trim(
        tokenizer,
        material.tokens(split, tokenizer),
        first_texts(material.dataset.splits["validation"], COMPARED_TEXTS),
        sizes.SIZE_WORDS[source.name].hidden_dim,
        config.vocabulary_size,
        config.min_count or 1,
    )


def new_student(
    config: DistillConfig,
    source: Source,
    start: Start,
    material: Material,
    smaller: Trim | None = None,
) -> TextClassifier:
    """The untrained student; of one seed the same weights, for control and student alike."""
    if config.bottleneck:
        return bottleneck_student(config, source, start, material)
    length, tokenizer = config.sequence_length, smaller.tokenizer if smaller else None
    if source.kind is Kind.SIZE:
        tokenizer = tokenizer or start.tokenizer
    shape = Shape(length or LEAST, config.pooling, config.seed, config.layers)
    student = load_classifier(source, material.dataset, shape, tokenizer)
    student = with_length(student, length, material)
    is_started = start.model is not None and config.initialization != "random"
    if source.kind is Kind.SIZE and is_started:
        initialization.start_table(student.model, start.model, smaller.rows if smaller else None)
        if config.initialization in ("auto", "layers"):
            initialization.start_layers(student.model, start.model)
    return student


def student_maker(
    config: DistillConfig,
    source: Source,
    start: Start,
    material: Material,
    run: RunFolder,
) -> Callable[[], TextClassifier]:
    """Makes the untrained student as often as it is called; what can be refused of it is looked at.

    What a smaller vocabulary changes goes into the run folder.

    Raises:
        ConfigError: The vocabulary is too small.
        ModelError: The teacher has no bottleneck whose keys the student could take.
    """
    smaller = smaller_vocabulary(config, source, start, material)
    if smaller is not None:
        artifacts.write_json(run.path / "vocabulary.json", smaller.report.to_dict())
        material.progress.say(smaller.report.sentence())
    made = functools.partial(new_student, config, source, start, material, smaller)
    if config.bottleneck and config.bottleneck_key_source == "teacher":
        made()
    return made


def check_student_fits(config: DistillConfig, source: Source, material: Material) -> None:
    """Refuses a student that would be refused once its teacher has answered.

    One that is in files is loaded: a teacher may take hours, and hashes are not known of all files.

    Raises:
        ModelError: It does not load, its positions are too few, or its classes are not the data
            set's.
    """
    shape = Shape(config.sequence_length or LEAST, config.pooling, config.seed, config.layers)
    if config.bottleneck:
        _bottleneck_model(config, source, material)
        return
    check_fit(source, material.dataset, shape)
    if source.kind is not Kind.SIZE:
        load_classifier(source, material.dataset, shape)


def student_plan(config: DistillConfig, source: Source, material: Material) -> Plan:
    """The training plan of a student, and with a `student_loss_weight` of 1 that of its control.

    Where the config gives the number of epochs, both have as many steps. Else each is trained by
    the rows that it learns from: a control that sees its few labelled rows as often as a student
    sees its many texts has learned them by heart before it is judged for the first time.
    """
    if config.bottleneck:
        rate = sizes.BOTTLENECK_LEARNING_RATES[config.bottleneck]
    else:
        rate = sizes.default_learning_rate(source.size)
    is_own = config.student_loss_weight == 1 and config.epochs is None
    num_rows = material.summaries["train" if is_own else material.transfer].num_rows
    return plan(config, config.learning_rate or rate, budget_of(source), num_rows)


def student_objective(config: DistillConfig, logits: np.ndarray, heard: Sequence[str]) -> Objective:
    """What a student learns from: its teachers' answers, those of the models of these hashes."""
    weight, loss = config.student_loss_weight, config.distillation_loss
    return Objective(logits, config.temperature, weight, loss, tuple(heard))


# Some 25,000 tokens of short texts: twenty and more for each of 1,024 keys.
KEY_ROWS = 2000
ROWS_PER_BATCH = 64


def bottleneck_student(
    config: DistillConfig, source: Source, start: Start, material: Material
) -> TextClassifier:
    """A frozen encoder with keys set and values untrained; the same seed gives the same weights.

    Raises:
        ModelError: The encoder does not load, the sizes do not fit, or the teacher has no such
            bottleneck.
    """
    model, tokenizer = _bottleneck_model(config, source, material)
    dataset = material.dataset
    student = TextClassifier(model, tokenizer, dataset.task, dataset.label_names, dataset.num_texts)
    student = with_length(student, config.sequence_length, material)
    if config.bottleneck_key_source == "teacher":
        bottleneck.carry_keys(model, start.model)
    else:
        set_keys(student, material, config.seed)
    return student


def _bottleneck_model(
    config: DistillConfig, source: Source, material: Material
) -> tuple[keras.Model, Tokenizer]:
    """A frozen encoder under a bottleneck without keys yet, and its tokenizer."""
    initialization.start_anew(config.seed)
    length = config.sequence_length or LEAST
    backbone, tokenizer = load_encoder(
        source, Shape(length, seed=config.seed, layers=config.layers)
    )
    model = bottleneck.build_bottleneck_classifier(
        backbone,
        material.dataset.num_outputs,
        config.bottleneck_codebooks,
        config.bottleneck_keys,
        config.bottleneck or bottleneck.MLP,
    )
    return model, tokenizer


def set_keys(student: TextClassifier, material: Material, seed: int) -> None:
    """Gives a bottleneck keys of the training texts, or those an earlier arm or session found."""
    tokens = material.tokens("train", student.tokenizer)
    encoder, layer = keys.encoder_of(student.model)
    mark = fingerprint(
        {
            "tokens": tokens.fingerprint,
            "encoder": readings.weights_sha256(encoder),
            "sizes": [layer.num_codebooks, layer.num_keys, KEY_ROWS],
            "passes": keys.PASSES,
            "decay": keys.DECAY,
            "seed": seed,
        }
    )

    def found() -> np.ndarray:
        random = np.random.default_rng(seed)
        rows = random.choice(len(tokens), min(KEY_ROWS, len(tokens)), replace=False)
        # Rows of like length share a batch, so that little is padding.
        rows = rows[np.argsort(tokens.lengths[rows], kind="stable")]
        batches = [
            tokens.arrays(rows[start : start + ROWS_PER_BATCH])
            for start in range(0, len(rows), ROWS_PER_BATCH)
        ]
        new = keys.initialize_keys(student.model, batches, material.progress, seed=seed)
        material.progress.say(new.sentence())
        return new.keys

    path = material.cache / "keys" / f"{mark}.npy"
    bottleneck.set_keys(student.model, kept_array(path, found, material.progress.say))
