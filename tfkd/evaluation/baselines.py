"""What a few seconds of scikit-learn reach on the same rows: words and a linear model of them.

A student that costs minutes is worth its bytes where it is ahead of this, so every table of figures
has it. The linear models of an encoder's vectors are fitted here too: they differ in what they see.
"""

import dataclasses
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC

from tfkd.data.examples import DEFAULT_THRESHOLD, MULTI_LABEL, REGRESSION, Dataset, Texts
from tfkd.data.tokens import label_array
from tfkd.evaluation.metrics import evaluate, is_better
from tfkd.evaluation.thresholds import tuned_thresholds

WORDS_SVM, WORDS_RIDGE = "TF-IDF + linear SVM", "TF-IDF + ridge regression"
EMBEDDINGS, EMBEDDINGS_RIDGE = (
    "embeddings + logistic regression",
    "embeddings + ridge regression",
)
# Inverse weights of the penalty, of which the validation rows choose one.
COSTS = (0.1, 0.3, 1.0, 3.0)
# About a minute of one core; of more, rows spread over all are read.
MOST_WORDS = 5_000_000
# How far the output of a class without rows lies below all others.
ABSENT = 5.0
# Distances to a plane are no logits of a probability.
WITHOUT_MEANING = ("nll", "ece", "brier")

Features: TypeAlias = np.ndarray | csr_matrix


@dataclasses.dataclass(frozen=True)
class LabelledTexts:
    """Texts of a split as one string a row, and their labels as `label_array` gives them."""

    texts: list[str]
    labels: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, split: str) -> "LabelledTexts":
        """A split's rows; the texts of a pair have a blank between them."""
        rows = list(dataset.splits[split])
        labels = label_array([row.label for row in rows], dataset.task, dataset.num_outputs)
        return cls([" ".join(row.texts) for row in rows], labels)


@dataclasses.dataclass(frozen=True)
class WordModel:
    """TF-IDF of words and word pairs, and a linear model of it; answers like any other model.

    Attributes:
        vectorizer: Fitted `TfidfVectorizer`.
        kernel: Float array, shape `[num_words, num_outputs]`.
        bias: Float array, shape `[num_outputs]`.
        cost: Inverse weight of the penalty.
        validation: Headline metric on the validation rows.
        thresholds: Of a multi-label task, one for each label; 0.5 else.
        num_rows: Rows of train that it has read.
    """

    vectorizer: TfidfVectorizer
    kernel: np.ndarray
    bias: np.ndarray
    cost: float
    validation: float
    thresholds: float | Sequence[float]
    num_rows: int

    @property
    def size_bytes(self) -> int:
        """Bytes of its vocabulary and weights as Python pickles them."""
        return len(pickle.dumps((self.vectorizer, self.kernel, self.bias)))

    def predict(self, texts: Texts) -> np.ndarray:
        """Outputs of texts or pairs: float32, shape `[num_texts, num_outputs]`."""
        return self.predict_encoded(self.encode(texts))

    def encode(self, texts: Texts, length: int | None = None) -> dict[str, csr_matrix]:
        """The features of texts or pairs."""
        joined = [item if isinstance(item, str) else " ".join(item) for item in texts]
        return {"features": self.vectorizer.transform(joined)}

    def predict_encoded(self, arrays: Mapping[str, csr_matrix]) -> np.ndarray:
        """Outputs for what `encode` returned."""
        return np.asarray(arrays["features"] @ self.kernel + self.bias, np.float32)


def word_model(
    dataset: Dataset,
    train: LabelledTexts,
    held_out: LabelledTexts,
    weights: np.ndarray | None = None,
) -> WordModel | None:
    """Fits TF-IDF and a linear SVM, one a label for multi-label tasks, or a ridge for scores.

    Its cost is the one with the best headline metric on the validation rows; thresholds of several
    labels are tuned on them as those of every model. Of more than five million words of train,
    rows spread over all are read.

    Returns:
        `WordModel`, or None where the texts hold no word of two letters.

    Example:
    >>> model = word_model(dataset, train, held_out)
    >>> model.predict(["oil prices fell"]).argmax()
    """
    rows = _affordable(train.texts)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        features = vectorizer.fit_transform([train.texts[row] for row in rows])
    except ValueError:
        # "empty vocabulary".
        return None
    others = vectorizer.transform(held_out.texts)
    best: WordModel | None = None
    for cost in COSTS:
        model = Ridge(1 / cost) if dataset.task == REGRESSION else LinearSVC(C=cost, random_state=0)
        kernel, bias = fit_linear(
            dataset.task,
            model,
            features,
            train.labels[rows],
            dataset.num_outputs,
            None if weights is None else weights[rows],
        )
        outputs = np.asarray(others @ kernel + bias)
        thresholds = _thresholds(dataset.task, outputs, held_out.labels)
        figure = word_figures(dataset, outputs, held_out.labels, thresholds)[dataset.metric]
        if best is None or is_better(dataset.metric, figure, best.validation):
            best = WordModel(vectorizer, kernel, bias, cost, figure, thresholds, len(rows))
    return best


def word_figures(
    dataset: Dataset,
    outputs: np.ndarray,
    labels: np.ndarray,
    thresholds: float | Sequence[float],
    teacher: tuple[np.ndarray, float | Sequence[float]] | None = None,
) -> dict[str, Any]:
    """Metrics of a word model's outputs; none that takes them for probabilities."""
    logits, own = teacher or (None, DEFAULT_THRESHOLD)
    names = dataset.label_names
    found = evaluate(dataset.task, outputs, labels, names, logits, thresholds, own)
    return {key: value for key, value in found.items() if key not in WITHOUT_MEANING}


def fit_linear(
    task: str,
    model: BaseEstimator,
    features: Features,
    labels: np.ndarray,
    num_outputs: int,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `[width, num_outputs]` and bias `[num_outputs]` of a linear model.

    Args:
        task: String. One of `tfkd.data.examples.TASKS`.
        model: Unfitted estimator of scikit-learn with `coef_`: of classes, or of scores for a
            regression. Each label of several has one of its own.
        features: Array or sparse matrix, shape `[num_rows, width]`.
        labels: As `label_array` gives them.
        num_outputs: Integer.
        weights: Float array `[num_rows]`: how much each row counts. Default: all alike.
    """
    if task == REGRESSION:
        ridge = clone(model).fit(features, labels.reshape(-1), sample_weight=weights)
        return ridge.coef_.reshape(-1, 1), np.array([ridge.intercept_]).reshape(-1)
    if task == MULTI_LABEL:
        columns = [
            _of_classes(model, features, column.astype(int), 2, weights) for column in labels.T
        ]
        # Of two outputs the difference is a label's one.
        kernels, biases = zip(*((k[:, 1] - k[:, 0], b[1] - b[0]) for k, b in columns), strict=True)
        return np.stack(kernels, axis=1), np.array(biases)
    return _of_classes(model, features, labels, num_outputs, weights)


def _of_classes(
    model: BaseEstimator,
    features: Features,
    labels: np.ndarray,
    num_classes: int,
    weights: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """A linear model of all classes; those without rows are hardly ever the answer."""
    present = np.unique(labels)
    kernel, bias = np.zeros([features.shape[1], num_classes]), np.zeros(num_classes)
    if len(present) > 1:
        found = clone(model).fit(features, labels, sample_weight=weights)
        # Of two classes scikit-learn has one output.
        halves = np.array([[-0.5], [0.5]]) if len(present) == 2 else np.eye(len(present))
        kernel[:, present], bias[present] = (halves @ found.coef_).T, halves @ found.intercept_
    bias[np.setdiff1d(np.arange(num_classes), present)] = bias.min() - ABSENT
    return kernel, bias


def _thresholds(task: str, outputs: np.ndarray, labels: np.ndarray) -> float | Sequence[float]:
    if task != MULTI_LABEL:
        return DEFAULT_THRESHOLD
    return tuned_thresholds(outputs, labels).tolist()


def _affordable(texts: Sequence[str]) -> np.ndarray:
    """Numbers of the rows to read: all, or some spread evenly over them."""
    words = sum(len(text.split()) for text in texts)
    count = min(len(texts), max(1, len(texts) * MOST_WORDS // max(words, 1)))
    return np.linspace(0, len(texts) - 1, count).astype(int)
