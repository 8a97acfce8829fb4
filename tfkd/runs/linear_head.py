"""A head to start from: the one that tells the classes apart best on an encoder's vectors as is.

A fresh head spends the first epochs of a fine-tuning on finding out where the classes lie, and with
many classes and few rows these are all it has. The linear model of the vectors is found in seconds.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from tfkd.data.batching import Chosen, Rows
from tfkd.data.examples import REGRESSION
from tfkd.evaluation.baselines import fit_linear
from tfkd.evaluation.metrics import negative_log_likelihood
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress, Task

# More rows move a linear model of some hundred columns little.
MOST_ROWS = 10_000
# Inverse weight of the penalty, for standardized columns.
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
MOST_ITERATIONS = 300
# Of a column's standard deviation, as a share of the mean one.
LEAST_SPREAD = 0.1


def start_head(
    classifier: TextClassifier,
    rows: Rows,
    held_out: Rows,
    progress: Progress,
    weights: np.ndarray | None = None,
    is_balanced: bool = False,
) -> None:
    """Sets the logits layer to a linear model of the vectors that it reads.

    Logistic regression, one a label for multi-label tasks; ridge regression for scores. Its penalty
    is the one with the smallest loss on the held-out rows.

    Args:
        classifier: `TextClassifier` with a trained encoder and a fresh logits layer.
        rows: `Rows` of train; of many, 10,000 spread over all are read.
        held_out: `Rows` of validation; likewise.
        progress: `Progress` that shows what is read.
        weights: Float array `[num_rows]`: how much each row of train counts. Default: all alike.
        is_balanced: Whether all classes count alike on the held-out rows.

    Reference: [Kumar et al., 2022](https://arxiv.org/abs/2202.10054)
    """
    chosen, held_out = _some(rows), _some(held_out)
    weights = None if weights is None else weights[chosen.chosen]
    layer = classifier.model.get_layer("logits")
    reader = classifier.reader()
    with progress.task("read for the first head", len(chosen) + len(held_out)) as task:
        vectors, others = (_vectors(reader, part, task) for part in (chosen, held_out))
    mean, spread = vectors.mean(axis=0), vectors.std(axis=0)
    # A column that hardly varies tells nothing, and divided by its spread it would tell all.
    spread = np.maximum(spread, LEAST_SPREAD * spread.mean())
    vectors, others = (vectors - mean) / spread, (others - mean) / spread
    labels, expected = np.asarray(chosen.labels), np.asarray(held_out.labels)
    fits = [_fit(classifier, vectors, labels, weights, strength) for strength in STRENGTHS]
    # Of balanced weights the mean is that of the classes' means.
    parts = [expected == k for k in np.unique(expected)] if is_balanced else [slice(None)]

    def loss(fit: tuple[np.ndarray, np.ndarray]) -> float:
        outputs = others @ fit[0] + fit[1]
        losses = [_loss(classifier.task, outputs[part], expected[part]) for part in parts]
        return float(np.mean(losses))

    kernel, bias = min(fits, key=loss)
    kernel = kernel / spread[:, None]
    layer.set_weights([kernel, bias - mean @ kernel])


def _some(rows: Rows) -> Chosen:
    """Rows spread evenly over all."""
    spread = np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS))
    return Chosen(rows, spread.astype(int))


def _vectors(reader: TextClassifier, rows: Rows, task: Task) -> np.ndarray:
    width = reader.model.output_shape[-1]
    found = np.zeros([len(rows), width])
    for numbers, vectors in reader.score(rows):
        found[numbers] = vectors
        task.advance(len(numbers))
    return found


def _fit(
    classifier: TextClassifier,
    vectors: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None,
    strength: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `[width, num_outputs]` and bias `[num_outputs]` of a linear model."""
    if classifier.task == REGRESSION:
        model = Ridge(1 / strength)
    else:
        model = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS)
    return fit_linear(classifier.task, model, vectors, labels, len(classifier.label_names), weights)


def _loss(task: str, outputs: np.ndarray, labels: np.ndarray) -> float:
    if task == REGRESSION:
        return float(np.mean((outputs.reshape(-1) - labels.reshape(-1)) ** 2))
    return negative_log_likelihood(task, outputs, labels)
