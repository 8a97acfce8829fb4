r"""What decides the quality of a student with a key-value bottleneck, and its files.

    python benchmarks/codebooks.py --data-dir DIR --output results/bottleneck.json \
        train --encoder saved_models/minilm
    python benchmarks/codebooks.py --data-dir DIR --output results/bottleneck.json \
        train --encoder saved_models/cola-minilm-finetuned --dataset cola --default
    python benchmarks/codebooks.py --data-dir DIR --output results/bottleneck.json \
        files saved_models/cola-minilm-bottleneck

`train` has the encoder read each data set once; all variants are trained from its vectors on
labels alone, so that only what is varied differs. Values that are logits start at 0, whatever
`values_start` says of the others. `files` writes every recipe that needs no
training and compares it with the student on test texts, whether the gate would keep it or not.
"""

import argparse
import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfkd.artifacts import RunFolder, read_json, versions, write_json
from tfkd.compression.conversion import convert, signature_lengths
from tfkd.compression.litert import LiteRTModel
from tfkd.config.training import DistillConfig
from tfkd.data.batching import Batches
from tfkd.data.checks import check
from tfkd.data.examples import REGRESSION
from tfkd.data.shards import SHARD_ROWS
from tfkd.data.tokens import Tokens
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.training import Plan, train
from tfkd.evaluation import metrics
from tfkd.models import bottleneck
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.keys import encoder_of, fit_keys
from tfkd.models.loading import Shape, load_encoder
from tfkd.models.readings import Readings
from tfkd.progress import Progress
from tfkd.runs.files import calibration
from tfkd.runs.material import Material, first_texts, prepare
from tfkd.runs.own_data import own_dataset
from tfkd.runs.scoring import split_figures
from tfkd.runs.training import validation

LENGTH, BATCH_SIZE, EPOCHS = 64, 32, 3
# Data set and how many of its training rows.
DATASETS = {"sst2": 5000, "cola": 5000}
KEY_VECTORS = 25_000
SEEDS = (0, 1)
CHUNK = 2048
RAW, STANDARDIZED, ROTATED = "raw", "standardized", "rotated"
KEYS, RANDOM = "keys", "random"
NUM_TEXTS = 400
# Not int16x8: a CPU has no fast kernels for it, and a MiniLM would take an hour.
RECIPES = ("float32", "float16", "dynamic_int8", "static_int8", "int4_tables", "int4")
QUIET = Progress(quiet=True)


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to make and train a bottleneck."""

    slices: str = RAW
    num_keys: int = bottleneck.NUM_KEYS
    decoder: str = bottleneck.MLP
    values_start: str = KEYS
    learning_rate: float = 3e-3
    seed: int = 0


VARIANTS = [
    *(Variant(num_keys=number) for number in (256, 1024, 4096)),
    *(Variant(learning_rate=rate) for rate in (1e-3, 1e-2)),
    *(Variant(values_start=RANDOM, learning_rate=rate) for rate in (1e-2, 3e-2)),
    *(Variant(decoder=bottleneck.VALUES, learning_rate=rate) for rate in (3e-2, 1e-1)),
    Variant(slices=STANDARDIZED),
    Variant(slices=ROTATED),
]


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows of a split and the encoder's vectors of their tokens, float32 `[tokens, width]`."""

    tokens: Tokens
    vectors: np.ndarray


def read_splits(encoder: str, material: Material) -> dict[str, Split]:
    """What the encoder says to every token."""
    backbone, tokenizer = load_encoder(resolve(encoder), Shape(LENGTH))
    model = bottleneck.build_bottleneck_classifier(backbone, 2, num_keys=1)
    reader = dataclasses.replace(
        TextClassifier(model, tokenizer, material.dataset.task, ()), model=encoder_of(model)[0]
    )
    splits = {}
    for split in ("train", "validation", "test"):
        tokens = material.tokens(split, tokenizer)
        vectors = np.zeros((tokens.offsets[-1], reader.model.output.shape[-1]), np.float32)
        for rows, found in reader.score(tokens):
            for row, values in zip(rows, found, strict=True):
                start, stop = tokens.offsets[row : row + 2]
                vectors[start:stop] = values[: stop - start]
        splits[split] = Split(tokens, vectors)
    return splits


def moved(splits: dict[str, Split], slices: str) -> dict[str, Split]:
    """The splits with other slices: each number with mean 0 and deviation 1, or all rotated."""
    width = splits["train"].vectors.shape[1]
    if slices == STANDARDIZED:
        mean, deviation = (f(splits["train"].vectors, axis=0) for f in (np.mean, np.std))
        change = lambda vectors: (vectors - mean) / deviation  # noqa: E731
    elif slices == ROTATED:
        random = np.random.default_rng(0).standard_normal((width, width))
        rotation = np.linalg.qr(random)[0].astype(np.float32)
        change = lambda vectors: vectors @ rotation  # noqa: E731
    else:
        return splits
    return {
        name: dataclasses.replace(split, vectors=change(split.vectors))
        for name, split in splits.items()
    }


def read(splits: dict[str, Split], num_keys: int, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Keys found in the training split, and the key numbers of all splits."""
    vectors = splits["train"].vectors
    layer = bottleneck.NearestKeys(vectors.shape[1] // bottleneck.KEY_WIDTH, num_keys)
    layer.build(vectors.shape)
    chosen = np.random.default_rng(seed).choice(
        len(vectors), min(KEY_VECTORS, len(vectors)), replace=False
    )
    layer.keys.assign(fit_keys(vectors[chosen], layer, QUIET, seed=seed).keys)
    readings = {}
    for name, split in splits.items():
        numbers = np.concatenate(
            [
                np.asarray(layer(split.vectors[start : start + CHUNK]), np.uint16)
                for start in range(0, len(split.vectors), CHUNK)
            ]
        )
        ends = split.tokens.offsets[SHARD_ROWS:-1:SHARD_ROWS]
        readings[name] = Readings(split.tokens, np.split(numbers, ends))
    return np.asarray(layer.keys), readings


def trained(
    variant: Variant,
    keys: np.ndarray,
    readings: dict[str, Readings],
    encoder: str,
    material: Material,
) -> dict[str, Any]:
    """Figures of a variant trained on labels alone."""
    keras.utils.set_random_seed(variant.seed)
    dataset = material.dataset
    backbone, tokenizer = load_encoder(resolve(encoder), Shape(LENGTH))
    model = bottleneck.build_bottleneck_classifier(
        backbone, dataset.num_outputs, num_keys=variant.num_keys, decoder=variant.decoder
    )
    bottleneck.set_keys(model, keys)
    if variant.values_start == RANDOM:
        table = bottleneck.find_bottleneck(model).values.values
        table.assign(np.random.default_rng(variant.seed).normal(size=table.shape))
    part = TextClassifier(
        bottleneck.trained_half(model), tokenizer, dataset.task, dataset.label_names
    )
    plan = Plan(EPOCHS, BATCH_SIZE, variant.learning_rate, seed=variant.seed)
    batches = Batches(readings["train"], part.input_names, BATCH_SIZE, variant.seed)
    judge = validation(part, readings["validation"], dataset.metric)
    with tempfile.TemporaryDirectory() as folder:
        position = train(
            Distiller(student=part.model, task=dataset.task),
            batches,
            plan,
            judge,
            Path(folder),
            lambda step: _NoLog(),
            (QUIET, "variant"),
        )
    logits = part.logits(readings["test"])
    name = f"validation_{dataset.metric}"
    return {
        "validation": max(epoch[name] for epoch in position.history),
        "test": split_figures(logits, readings["test"], part)[dataset.metric],
        "best_epoch": position.best_epoch,
        "train_seconds": position.seconds,
    }


class _NoLog:
    """Figures of a step that nobody asks for."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Drops them."""

    def close(self) -> None:
        """Has nothing to close."""


def train_rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a data set, variant and seed."""
    for name in options.dataset or DATASETS:
        config = DistillConfig(
            dataset=name,
            data_dir=options.data_dir,
            sequence_length=LENGTH,
            max_train_rows=DATASETS[name],
        )
        with tempfile.TemporaryDirectory() as folder:
            material = prepare(config, Path(folder), QUIET)
            splits = read_splits(options.encoder, material)
            same = {
                "dataset": name,
                "metric": material.dataset.metric,
                "encoder": Path(options.encoder).name,
            }
            yield same | linear_probe(splits, material)
            variants = [Variant()] if options.default else VARIANTS
            for found in variant_rows(variants, splits, options.encoder, material):
                yield same | found


def variant_rows(
    variants: Sequence[Variant], splits: dict[str, Split], encoder: str, material: Material
) -> Iterator[dict[str, Any]]:
    """One row a variant and seed; those with the same keys share them."""

    def place(variant: Variant) -> tuple[str, int]:
        return variant.slices, variant.num_keys

    for (slices, num_keys), group in itertools.groupby(sorted(variants, key=place), place):
        alike = list(group)
        for seed in SEEDS:
            keys, readings = read(moved(splits, slices), num_keys, seed)
            for variant in alike:
                seeded = dataclasses.replace(variant, seed=seed)
                found = trained(seeded, keys, readings, encoder, material)
                yield dataclasses.asdict(seeded) | found


def linear_probe(splits: dict[str, Split], material: Material) -> dict[str, Any]:
    """What a linear classifier of the mean vectors reaches: the encoder without a bottleneck."""
    from sklearn.linear_model import LogisticRegression

    means = {}
    for name, split in splits.items():
        sums = np.add.reduceat(split.vectors, split.tokens.offsets[:-1], axis=0)
        means[name] = sums / split.tokens.lengths[:, None]
    model = LogisticRegression(max_iter=1000).fit(means["train"], splits["train"].tokens.labels)
    dataset, found = material.dataset, {"variant": "linear probe"}
    for name in ("validation", "test"):
        logits = model.decision_function(means[name])
        pairs = np.stack([-logits, logits], axis=1).astype(np.float32)
        labels = np.asarray(splits[name].tokens.labels)
        figures = metrics.evaluate(dataset.task, pairs, labels, dataset.label_names)
        found[name] = figures[dataset.metric]
    return found


def file_rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a run and recipe: how far a file is from its student, kept or not."""
    for path in options.runs:
        run = RunFolder(path)
        settings = run.read_config()
        student = TextClassifier.load(run.model)
        dataset = own_dataset(run, options.data_dir)
        material = Material(dataset, check(dataset), path.parent / "cache", QUIET)
        texts = first_texts(dataset.splits["test"], NUM_TEXTS)
        expected = student.predict(texts)
        with tempfile.TemporaryDirectory() as folder:
            for name in options.recipe or RECIPES:
                rows = calibration([name], student, material, settings["seed"])
                lengths = signature_lengths(student.tokenizer.sequence_length)
                file = convert(run.model, [name], lengths, Path(folder), calibration=rows)[name]
                found = LiteRTModel(file, student.tokenizer).predict(texts)
                yield {
                    "run": path.name,
                    "task": dataset.task,
                    "recipe": name,
                    "num_texts": len(texts),
                    **distances(expected, found, dataset.task),
                    "size_bytes": file.stat().st_size,
                }


def distances(expected: np.ndarray, found: np.ndarray, task: str) -> dict[str, float | None]:
    """How far answers are: labels that moved, and differences in deviations of the student's."""
    differences = np.abs(expected - found) / expected.std()
    agrees = None if task == REGRESSION else metrics.agreement(task, found, expected)
    return {
        "agreement": agrees,
        "deviation": float(expected.std()),
        "mean_difference": float(differences.mean()),
        "largest_difference": float(differences.max()),
    }


def main() -> None:
    """Adds the rows of one of the two questions to those that are there, one by one."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    questions = parser.add_subparsers(required=True)
    training = questions.add_parser("train", help="variants of the bottleneck")
    training.add_argument("--encoder", required=True, help="preset or folder")
    training.add_argument("--dataset", action="append", choices=DATASETS, help="default: all")
    training.add_argument("--default", action="store_true", help="the default variant alone")
    training.set_defaults(rows=train_rows)
    files = questions.add_parser("files", help="recipes of trained students")
    files.add_argument("runs", nargs="+", type=Path, help="finished runs with --bottleneck")
    files.add_argument("--recipe", action="append", help="default: all but int16x8")
    files.set_defaults(rows=file_rows)
    options = parser.parse_args()
    rows = read_json(options.output)["rows"] if options.output.exists() else []
    for row in options.rows(options):
        rows.append(row)
        print(row, flush=True)
        write_json(options.output, {"rows": rows, "versions": versions()})


if __name__ == "__main__":
    main()
