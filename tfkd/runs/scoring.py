"""Answers of a model to the rows of a split, and their figures."""

from typing import Any

import numpy as np

from tfkd.compression.litert import LiteRTModel
from tfkd.data.batching import Rows
from tfkd.data.tokens import Tokens
from tfkd.evaluation import metrics
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.runs.material import Material
from tfkd.runs.trained_part import trained_part, trained_part_rows

ROWS_PER_REPORT = 256


def split_figures(
    logits: np.ndarray,
    rows: Rows,
    classifier: TextClassifier,
    own_logits: np.ndarray | None = None,
) -> dict[str, Any]:
    """All metrics of logits on the rows of a split, decided at the classifier's thresholds.

    Args:
        logits: Float array `[num_rows, num_outputs]`, the classifier's or those of a file of it.
        rows: `Rows` of the split.
        classifier: `TextClassifier`.
        own_logits: The classifier's, to tell how far a file agrees with it.
    """
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


def file_logits(model: LiteRTModel, tokens: Tokens, progress: Progress) -> np.ndarray:
    """A LiteRT file's logits of all rows: float32, shape `[num_rows, num_outputs]`."""
    logits = np.zeros((len(tokens), model.num_outputs), np.float32)
    with progress.task(f"score {model.path.name}", len(tokens)) as task:
        for start in range(0, len(tokens), ROWS_PER_REPORT):
            rows = np.arange(start, min(start + ROWS_PER_REPORT, len(tokens)))
            logits[rows] = model.predict_encoded(tokens.arrays(rows))
            task.advance(len(rows))
    return logits
