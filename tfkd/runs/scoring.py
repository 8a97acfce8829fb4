"""Answers of a model to the rows of a split, and their figures."""

from pathlib import Path
from typing import Any

import numpy as np

from tfkd.compression.file_scorer import FileScorer
from tfkd.data.batching import Rows
from tfkd.data.tokens import Tokens
from tfkd.evaluation import metrics
from tfkd.models.classifier import TextClassifier
from tfkd.process import num_cores
from tfkd.progress import Progress
from tfkd.runs.material import Material
from tfkd.runs.trained_part import trained_part, trained_part_rows


def split_figures(
    logits: np.ndarray,
    rows: Rows,
    classifier: TextClassifier,
    own_logits: np.ndarray | None = None,
) -> dict[str, Any]:
    """All metrics of logits on the rows of a split, decided at the classifier's thresholds."""
    return metrics.evaluate(
        classifier.task,
        logits,
        np.asarray(rows.labels),
        classifier.label_names,
        own_logits,
        classifier.thresholds,
        classifier.thresholds,
    )


def split_logits(classifier: TextClassifier, split: str, material: Material) -> np.ndarray:
    """A classifier's logits of the rows of a split: float32, shape `[num_rows, num_outputs]`."""
    rows = trained_part_rows(classifier, split, material)
    with material.progress.task(f"score the {split} rows", len(rows)) as task:
        return trained_part(classifier).logits(rows, task.advance)


def file_logits(path: Path, tokens: Tokens, progress: Progress) -> np.ndarray:
    """A LiteRT file's logits of all rows: float32, shape `[num_rows, num_outputs]`."""
    found = []
    with progress.task(f"score {path.name}", len(tokens)) as task:
        for rows, logits in FileScorer(path, num_cores()).score(tokens):
            found.append(logits)
            task.advance(len(rows))
    return np.concatenate(found)
