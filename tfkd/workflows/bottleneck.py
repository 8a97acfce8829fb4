"""A student with a key-value bottleneck: its keys found once, its encoder asked once.

Keys and key numbers lie in the cache, shared by all runs beside each other: arms that differ in
teacher, temperature or weights have the same.
"""

from collections.abc import Sequence

import keras
import numpy as np

from tfkd.artifacts import atomic_file, fingerprint, locked
from tfkd.data.batching import Rows
from tfkd.data.tokens import Tokens
from tfkd.models import bottleneck, keys, readings
from tfkd.models.checkpoints import Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_encoder
from tfkd.training_config import DistillConfig
from tfkd.workflows.preparation import Material

# Some 25,000 tokens of short texts: twenty and more for each of 1,024 keys.
KEY_ROWS = 2000
ROWS_PER_BATCH = 64


def trained_part(classifier: TextClassifier) -> TextClassifier:
    """What of a classifier is trained, with its layers: all of it, or of a bottleneck the values.

    Args:
        classifier: `TextClassifier`.
    """
    if bottleneck.find_bottleneck(classifier.model) is None:
        return classifier
    trained = bottleneck.trained_half(classifier.model)
    return classifier.with_model(trained)


def trained_part_rows(classifier: TextClassifier, split: str, material: Material) -> Rows:
    """A split as that part takes it: tokens, or what a frozen encoder found in them.

    Arms of the same keys share the encoder's pass over a split, be it to train or to score.

    Args:
        classifier: `TextClassifier`, the whole.
        split: String. Name of the split.
        material: `Material`. Its cache keeps what was found.
    """
    tokens = material.tokens(split, classifier.tokenizer)
    if bottleneck.find_bottleneck(classifier.model) is None:
        return tokens
    return _read([classifier], tokens, material)[0]


def read_together(classifiers: Sequence[TextClassifier], material: Material) -> None:
    """Finds what `trained_part_rows` gives of all splits, for several students at once.

    Args:
        classifiers: `TextClassifier` with bottlenecks on the same encoder; it reads a split once
            for all of them, whatever their keys.
        material: `Material`. Its cache keeps what is found.
    """
    for split in (material.transfer, "validation", "test"):
        _read(classifiers, material.tokens(split, classifiers[0].tokenizer), material)


def _read(
    classifiers: Sequence[TextClassifier], tokens: Tokens, material: Material
) -> list[readings.Readings]:
    folder = material.cache / "readings"
    return readings.load_or_read(classifiers, tokens, folder, material.progress)


def bottleneck_student(
    config: DistillConfig, source: Source, teacher: TextClassifier, material: Material
) -> TextClassifier:
    """A frozen encoder with keys set and values untrained; the same seed gives the same weights.

    Args:
        config: `DistillConfig`: bottleneck, length and seed.
        source: `Source` of the encoder.
        teacher: `TextClassifier` whose keys are taken, if they are asked for.
        material: `Material`.

    Raises:
        ModelError: The encoder does not load, the sizes do not fit, or the teacher has no such
            bottleneck.
    """
    keras.utils.set_random_seed(config.seed)
    backbone, tokenizer = load_encoder(
        source, Shape(config.sequence_length, seed=config.seed, layers=config.layers)
    )
    model = bottleneck.build_bottleneck_classifier(
        backbone,
        material.dataset.num_outputs,
        config.bottleneck_codebooks,
        config.bottleneck_keys,
        config.bottleneck or bottleneck.MLP,
    )
    dataset = material.dataset
    student = TextClassifier(model, tokenizer, dataset.task, dataset.label_names, dataset.num_texts)
    if config.bottleneck_key_source == "teacher":
        bottleneck.carry_keys(model, teacher.model)
    else:
        _set_keys(student, material, config.seed)
    return student


def _set_keys(student: TextClassifier, material: Material, seed: int) -> None:
    """Keys from the training texts, or as an earlier arm or session found them."""
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
    path = material.cache / "keys" / f"{mark}.npy"
    with locked(path):
        if path.is_file():
            bottleneck.set_keys(student.model, np.load(path, allow_pickle=False))
            return
        found = keys.initialize_keys(
            student.model, _batches(tokens, seed), material.progress, seed=seed
        )
        material.progress.say(found.sentence())
        with atomic_file(path) as part:
            np.save(part, found.keys)


def _batches(tokens: Tokens, seed: int) -> list[dict[str, np.ndarray]]:
    """Some rows; those of like length share a batch, so that little is padding."""
    random = np.random.default_rng(seed)
    rows = random.choice(len(tokens), min(KEY_ROWS, len(tokens)), replace=False)
    rows = rows[np.argsort(tokens.lengths[rows], kind="stable")]
    return [
        tokens.arrays(rows[start : start + ROWS_PER_BATCH])
        for start in range(0, len(rows), ROWS_PER_BATCH)
    ]
