"""Trains and tests cheap rivals on the very rows that tfkd trains and tests on.

Two rivals: fastText (words and word pairs, 5 epochs), as it is and quantized, and TF-IDF of words
and word pairs with a linear SVM. Their one setting is chosen on the held-out validation rows; test
rows are seen once, at the end. A student that does not beat them is not worth its trouble.

    python benchmarks/rivals.py --dataset ag_news --data-dir DIR --output results/rivals.json
"""

import argparse
import dataclasses
import importlib.metadata
import math
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.svm import LinearSVC

from tfkd.artifacts import versions, write_json
from tfkd.data.checks import check
from tfkd.data.examples import SINGLE_LABEL, Dataset
from tfkd.data.sources import load
from tfkd.errors import ConfigError, TfkdError

PACKAGES = ("fasttext-numpy2", "scikit-learn", "numpy")
SVM_COSTS = (0.1, 0.3, 1.0, 3.0)
FASTTEXT_LEARNING_RATES = (0.1, 0.25, 0.5)
# 10 dimensions are those of https://arxiv.org/abs/1607.01759; the rest is fastText's default.
# One thread, because with more the result depends on who comes first.
FASTTEXT_SETTINGS = {"epoch": 5, "wordNgrams": 2, "dim": 10, "thread": 1, "verbose": 0}
PUNCTUATION = re.compile(r"([^\w\s])")


@dataclasses.dataclass(frozen=True)
class Split:
    """Texts and labels of one split; the texts of a pair are joined by a blank."""

    texts: list[str]
    labels: np.ndarray

    @classmethod
    def read(cls, dataset: Dataset, name: str) -> "Split":
        """All rows of a split, in order."""
        rows = list(dataset.splits[name])
        return cls([" ".join(row.texts) for row in rows], np.array([row.label for row in rows]))


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one rival reached.

    Attributes:
        arm: Its name in the tables.
        model: What it is, in words.
        settings: What was chosen on the validation rows, and the accuracy there.
        predictions: Class indices, int64 `[test_rows]`.
        size_bytes: Its size.
        size_basis: What was counted.
        train_seconds: Time of the chosen model's training.
    """

    arm: str
    model: str
    settings: dict[str, float]
    predictions: np.ndarray
    size_bytes: int
    size_basis: str
    train_seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rivals and writes one JSON row each; gives the exit code."""
    options = _parser().parse_args(arguments)
    try:
        rows = compare(options)
        write_json(options.output, rows)
    except (TfkdError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for row in rows:
        accuracy, macro_f1 = row["metrics"]["accuracy"], row["metrics"]["macro_f1"]
        megabytes = row["size_bytes"] / 1e6
        print(
            f"{row['arm']:<20} accuracy {accuracy:.4f}  macro F1 {macro_f1:.4f}  "
            f"{megabytes:8.1f} MB  {row['settings']}"
        )
    print(f"Written: {options.output}")
    return 0


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The result rows of all rivals, in the form of the other files in results/.

    Raises:
        ConfigError: The data set does not give each text one class.
        DatasetError: The data cannot be had.
    """
    dataset = load(
        options.dataset,
        options.data_dir,
        {"validation": options.validation_fraction},
        options.seed,
        options.max_train_rows,
    )
    if dataset.task != SINGLE_LABEL:
        raise ConfigError(
            f"Expected a data set with one class a text. Received: {options.dataset}, a "
            f"{dataset.task} one. Choose another with --dataset."
        )
    fingerprints = {name: summary.fingerprint for name, summary in check(dataset).items()}
    train, validation, test = (
        Split.read(dataset, name) for name in ("train", "validation", "test")
    )
    shared = {
        "train_rows": len(train.texts),
        "validation_rows": len(validation.texts),
        "test_rows": len(test.texts),
        "data_fingerprint": fingerprints,
        "versions": versions() | {name: importlib.metadata.version(name) for name in PACKAGES},
        "command": command(options),
    }
    answers = [*fasttext_answers(train, validation, test, options.seed)]
    answers.append(svm_answer(train, validation, test, options.seed))
    return [_row(answer, test, options, shared) for answer in answers]


def fasttext_answers(train: Split, validation: Split, test: Split, seed: int) -> Iterator[Answer]:
    """fastText, and the same quantized."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "train.txt"
        lines = (
            f"__label__{label} {fasttext_line(text)}\n"
            for text, label in zip(train.texts, train.labels, strict=True)
        )
        file.write_text("".join(lines), encoding="utf-8")
        best: tuple[float, float, float, Any] = (-1.0, 0.0, 0.0, None)
        for rate in FASTTEXT_LEARNING_RATES:
            started_at = time.perf_counter()
            model = fasttext.train_supervised(str(file), lr=rate, seed=seed, **FASTTEXT_SETTINGS)
            seconds = time.perf_counter() - started_at
            accuracy = _accuracy(fasttext_predictions(model, validation.texts), validation)
            if accuracy > best[0]:
                best = (accuracy, rate, seconds, model)
        accuracy, rate, seconds, model = best
        description = "fastText, words and pairs, 5 epochs, 10 dimensions"
        settings = {"learning_rate": rate, "validation_accuracy": accuracy}
        path = Path(folder) / "model.bin"
        model.save_model(str(path))
        yield Answer(
            "fasttext",
            description,
            settings,
            fasttext_predictions(model, test.texts),
            path.stat().st_size,
            "bytes of the .bin file",
            seconds,
        )
        model.quantize(input=str(file), cutoff=100_000, qnorm=True, retrain=True, verbose=0)
        path = path.with_suffix(".ftz")
        model.save_model(str(path))
        accuracy = _accuracy(fasttext_predictions(model, validation.texts), validation)
        yield Answer(
            "fasttext_quantized",
            f"{description}, 100,000 features kept",
            settings | {"validation_accuracy": accuracy},
            fasttext_predictions(model, test.texts),
            path.stat().st_size,
            "bytes of the .ftz file",
            seconds,
        )


def fasttext_line(text: str) -> str:
    """A text as fastText wants it: lower case, one line, punctuation as words."""
    return " ".join(PUNCTUATION.sub(r" \1 ", text.lower()).split())


def fasttext_predictions(model: Any, texts: Sequence[str]) -> np.ndarray:
    """Class indices, int64 `[num_texts]`."""
    labels, _ = model.predict([fasttext_line(text) for text in texts])
    # A text without a single known word has no label; class 0 is as good as any.
    return np.array([int(row[0].removeprefix("__label__")) if row else 0 for row in labels])


def svm_answer(train: Split, validation: Split, test: Split, seed: int) -> Answer:
    """TF-IDF of words and word pairs that occur twice, with a linear SVM."""
    started_at = time.perf_counter()
    features = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, dtype=np.float32)
    train_features = features.fit_transform(train.texts)
    features_seconds = time.perf_counter() - started_at
    validation_features = features.transform(validation.texts)
    best: tuple[float, float, float, Any] = (-1.0, 0.0, 0.0, None)
    for cost in SVM_COSTS:
        started_at = time.perf_counter()
        model = LinearSVC(C=cost, random_state=seed).fit(train_features, train.labels)
        seconds = time.perf_counter() - started_at
        accuracy = _accuracy(model.predict(validation_features), validation)
        if accuracy > best[0]:
            best = (accuracy, cost, seconds, model)
    accuracy, cost, seconds, model = best
    num_weights = model.coef_.size + model.intercept_.size + features.idf_.size
    vocabulary_bytes = sum(len(term.encode()) + 1 for term in features.vocabulary_)
    return Answer(
        "tfidf_svm",
        "TF-IDF of 1-2 grams, linear SVM",
        {"cost": cost, "validation_accuracy": accuracy},
        model.predict(features.transform(test.texts)),
        4 * num_weights + vocabulary_bytes,
        "estimate: float32 coefficients and idf, and the vocabulary as lines of text",
        features_seconds + seconds,
    )


def command(options: argparse.Namespace) -> str:
    """The command that gives the same rows, without this machine's paths."""
    parts = ["python benchmarks/rivals.py", "--dataset", options.dataset]
    if options.data_dir is not None:
        parts += ["--data-dir", "$TFKD_DATA_DIR"]
    for option in ("validation_fraction", "seed", "max_train_rows"):
        value = getattr(options, option)
        if value != _parser().get_default(option):
            parts += [f"--{option.replace('_', '-')}", str(value)]
    return " ".join([*parts, "--output", f"results/{options.output.name}"])


def _row(
    answer: Answer, test: Split, options: argparse.Namespace, shared: dict[str, Any]
) -> dict[str, Any]:
    return {
        "dataset": options.dataset,
        "arm": answer.arm,
        "model": answer.model,
        "recipe": None,
        "seed": options.seed,
        "metrics": {
            "accuracy": _accuracy(answer.predictions, test),
            "macro_f1": float(f1_score(test.labels, answer.predictions, average="macro")),
        },
        "size_bytes": answer.size_bytes,
        "size_basis": answer.size_basis,
        "settings": answer.settings,
        "train_seconds": round(answer.train_seconds, 1),
        **shared,
    }


def _accuracy(predictions: np.ndarray, split: Split) -> float:
    return float(accuracy_score(split.labels, predictions))


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1 or math.isnan(value):
        raise ValueError
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--dataset", required=True, help="a name of `tfkd list datasets`, or a path"
    )
    parser.add_argument(
        "--data-dir", type=Path, help="folder that holds <dataset>/train.csv (or TFKD_DATA_DIR)"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument(
        "--validation-fraction", type=_fraction, help="as for tfkd (default: by the rows)"
    )
    parser.add_argument("--seed", type=int, default=0, help="as for tfkd (default 0)")
    parser.add_argument("--max-train-rows", type=int, help="as for tfkd (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
