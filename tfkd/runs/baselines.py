"""The baselines of a run's table: what little effort reaches on its rows.

Their answers to the test rows lie in the cache, tied to the rows, so that every run beside each
other has them and they cost their seconds once.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.artifacts import RunFolder, fingerprint
from tfkd.data.examples import REGRESSION
from tfkd.distillation.backup import Stored, save_variables
from tfkd.evaluation import baselines
from tfkd.evaluation.baselines import LabelledTexts, word_figures, word_model
from tfkd.evaluation.latency import measure_latency
from tfkd.evaluation.metrics import evaluate
from tfkd.evaluation.rows import BASELINE, Row
from tfkd.locks import locked
from tfkd.models.classifier import TextClassifier
from tfkd.models.readings import weights_sha256
from tfkd.runs.comparisons import Decides
from tfkd.runs.material import Material, first_texts
from tfkd.runs.record import read_metrics
from tfkd.runs.scoring import split_logits
from tfkd.runs.training import with_thresholds
from tfkd.seals import kept

RECIPE = "scikit-learn"
TIMED_TEXTS, TIMED_ROUNDS, TIMED_SECONDS = 100, 3, 1.0


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A baseline's answers to the test rows.

    Attributes:
        name: What it is.
        logits: float32 `[num_test_rows, num_outputs]`.
        note: Its size, time and settings, as JSON values.
    """

    name: str
    logits: np.ndarray
    note: dict[str, Any]

    @property
    def thresholds(self) -> float | Sequence[float]:
        """See `TextClassifier`."""
        return self.note["thresholds"]


def word_baseline(material: Material) -> Baseline | None:
    """TF-IDF with a linear SVM (a ridge for scores), fitted now or by an earlier run.

    Returns:
        `Baseline`, or None for texts without words.
    """
    dataset = material.dataset
    name = baselines.WORDS_RIDGE if dataset.task == REGRESSION else baselines.WORDS_SVM

    def make() -> tuple[np.ndarray, dict[str, Any]] | None:
        train, held_out, test = (
            LabelledTexts.of(dataset, split) for split in ("train", "validation", "test")
        )
        weights = material.label_weights(train.labels)
        model = word_model(dataset, train, held_out, weights)
        if model is None:
            return None
        texts = first_texts(dataset.splits["test"], TIMED_TEXTS)
        timed = measure_latency({name: model}, texts, TIMED_ROUNDS, budget_seconds=TIMED_SECONDS)
        return model.predict(test.texts), {
            "size_bytes": model.size_bytes,
            "parameters": model.kernel.size + model.bias.size,
            "latency": timed[name].to_dict(),
            "thresholds": model.thresholds,
            "cost": model.cost,
            "validation": model.validation,
            "num_rows": model.num_rows,
        }

    mark = {
        "metric": dataset.metric,
        "words": baselines.MOST_WORDS,
        "costs": baselines.COSTS,
        "is_balanced": material.class_weights is not None,
    }
    found = _kept(material, mark, make)
    if found is None:
        material.progress.say(f"no {name}: the texts hold no words")
    return None if found is None else Baseline(name, *found)


def embeddings_baseline(start: TextClassifier, material: Material) -> Baseline:
    """An encoder as it was published with the head that its fine-tuning starts from."""
    is_regression = material.dataset.task == REGRESSION

    def make() -> tuple[np.ndarray, dict[str, Any]]:
        return split_logits(start, "test", material), {
            # Of the same layers as what is trained from it.
            "size_bytes": None,
            "parameters": start.num_parameters,
            "latency": None,
            "thresholds": with_thresholds(start, material).thresholds,
        }

    tokenizer = start.tokenizer.fingerprint
    mark = {"model": weights_sha256(start.model), "tokenizer": tokenizer}
    found = _kept(material, mark, make)
    name = baselines.EMBEDDINGS_RIDGE if is_regression else baselines.EMBEDDINGS
    return Baseline(name, *found)


def baseline_row(
    baseline: Baseline, shared: Row, material: Material, model: Decides, logits: np.ndarray
) -> Row:
    """The row of a baseline."""
    labels = material.labels("test")
    dataset, own = material.dataset, baseline.thresholds
    if baseline.name in (baselines.WORDS_SVM, baselines.WORDS_RIDGE):
        figures = word_figures(dataset, baseline.logits, labels, own, (logits, model.thresholds))
    else:
        figures = evaluate(
            dataset.task,
            baseline.logits,
            labels,
            dataset.label_names,
            logits,
            own,
            model.thresholds,
        )
    return dataclasses.replace(
        shared,
        arm=BASELINE,
        model=baseline.name,
        recipe=RECIPE,
        metrics=figures,
        size_bytes=baseline.note["size_bytes"] or shared.size_bytes,
        parameters=baseline.note["parameters"],
        latency=shared.latency and baseline.note["latency"],
    )


def embeddings_row(teacher: Path, shared: Row, material: Material) -> Row | None:
    """The row that a teacher's fine-tuning has of its encoder, if it saw these test rows."""
    run = RunFolder(teacher.parent)
    if not (run.is_finished and run.model == teacher and teacher.name == "model"):
        return None
    record = read_metrics(run)
    if run.changed_rows(material.describe(), ("test",)) is not None:
        return None
    for values in record.get("rows", []):
        if values.get("model") in (baselines.EMBEDDINGS, baselines.EMBEDDINGS_RIDGE):
            row = Row.from_dict(values)
            same = ("dataset", "seed", "command")
            return dataclasses.replace(
                row, latency=shared.latency and None, **{key: getattr(shared, key) for key in same}
            )
    return None


def _kept(
    material: Material,
    mark: dict[str, Any],
    make: Callable[[], tuple[np.ndarray, dict[str, Any]] | None],
) -> Any:
    """Answers and note, made now or by an earlier run of the same rows."""
    rows = {name: summary.fingerprint for name, summary in material.summaries.items()}
    rows = {name: rows[name] for name in ("train", "validation", "test")}
    name = fingerprint({**mark, "rows": rows, "task": material.dataset.task})
    path = material.cache / "baselines" / f"{name}.npz"
    with material.progress.stage("score the baselines"), locked(path):
        stored = kept(path, Stored.read, material.progress.say)
        if stored is not None:
            return stored.arrays[0], stored.note
        made = make()
        if made is not None:
            save_variables(path, [made[0]], made[1])
        return made
