"""A student with a key-value bottleneck: its keys found once, its encoder asked once.

Keys and key numbers lie in the cache, shared by all runs beside each other: arms that differ in
teacher, temperature or weights have the same.
"""

import dataclasses

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


@dataclasses.dataclass(frozen=True)
class TrainedPart:
    """What of a classifier is trained, and the rows it takes.

    Attributes:
        classifier: `TextClassifier` that shares the trained layers.
        train: `Rows` it is trained on.
        validation: `Rows` of the validation split.
    """

    classifier: TextClassifier
    train: Rows
    validation: Rows


def trained_part(classifier: TextClassifier, split: str, material: Material) -> TrainedPart:
    """All of a classifier over tokens; of one with a bottleneck, its values over key numbers.

    Args:
        classifier: `TextClassifier` with its initial weights.
        split: String. What it is trained on.
        material: `Material`.
    """
    tokens = [material.tokens(name, classifier.tokenizer) for name in (split, "validation")]
    if bottleneck.find_bottleneck(classifier.model) is None:
        return TrainedPart(classifier, *tokens)
    folder = material.cache / "readings"
    rows = [readings.load_or_read(classifier, item, folder, material.progress) for item in tokens]
    trained = bottleneck.trained_half(classifier.model)
    part = dataclasses.replace(classifier, model=trained, _folder=None, _functions={})
    return TrainedPart(part, *rows)


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
        backbone, material.dataset.num_outputs, config.bottleneck_codebooks,
        config.bottleneck_keys, config.bottleneck or bottleneck.MLP,
    )  # fmt: skip
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
