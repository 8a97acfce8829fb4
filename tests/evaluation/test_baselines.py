"""The linear models of words: scikit-learn's own, whatever the task, and what they weigh."""

import dataclasses
import itertools
import pickle

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from tfkd.data.demo import demo_dataset
from tfkd.data.examples import MULTI_LABEL, REGRESSION, Dataset, Example
from tfkd.evaluation import baselines
from tfkd.evaluation.baselines import LabelledTexts, fit_linear, word_figures, word_model
from tfkd.evaluation.thresholds import tuned_thresholds


@pytest.fixture(scope="module")
def small_demo():
    demo = demo_dataset()
    splits = {name: list(itertools.islice(rows, 150)) for name, rows in demo.splits.items()}
    return dataclasses.replace(demo, splits=splits)


def parts(dataset):
    return [LabelledTexts.of(dataset, split) for split in ("train", "validation", "test")]


def features_of(train, *others):
    found = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return found.fit_transform(train.texts), *(found.transform(part.texts) for part in others)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_svm_is_scikit_learns_with_the_best_cost_on_validation(small_demo, is_weighted):
    train, held_out, test = parts(small_demo)
    weights = np.array([1.0, 0.5, 2.0, 1.0])[train.labels] if is_weighted else None
    found = word_model(small_demo, train, held_out, weights)
    features = features_of(train, held_out, test)
    models = [
        LinearSVC(C=cost, random_state=0).fit(features[0], train.labels, sample_weight=weights)
        for cost in baselines.COSTS
    ]
    figures = [model.score(features[1], held_out.labels) for model in models]
    best = int(np.argmax(figures))
    assert (found.cost, found.validation) == (baselines.COSTS[best], pytest.approx(figures[best]))
    expected = models[best].decision_function(features[2])
    np.testing.assert_allclose(found.predict(test.texts), expected, atol=1e-3)
    assert found.num_rows == 150
    whole = (found.vectorizer, found.kernel, found.bias)
    assert found.size_bytes == len(pickle.dumps(whole)) > 8 * found.kernel.size


def test_distances_are_not_taken_for_probabilities(small_demo):
    train, held_out, test = parts(small_demo)
    outputs = word_model(small_demo, train, held_out).predict(test.texts)
    teacher = (np.eye(4)[test.labels], 0.5)
    found = word_figures(small_demo, outputs, test.labels, 0.5, teacher)
    assert set(found) & {"nll", "ece", "brier"} == set()
    assert found["agreement"] == found["accuracy"] == (outputs.argmax(axis=1) == test.labels).mean()


def test_a_class_without_rows_is_never_the_answer():
    """Two of three classes have rows: scikit-learn has one distance, not three."""
    rows = [Example((f"oil {word}",), 0) for word in "ab"] + [Example(("a game",), 2)] * 2
    splits = dict.fromkeys(("train", "validation", "test"), rows)
    dataset = Dataset("x", "single_label", ("a", "b", "c"), 1, "accuracy", splits)
    train, held_out, _ = parts(dataset)
    found = word_model(dataset, train, held_out)
    assert found.predict(["oil", "game", "what"]).argmax(axis=1).tolist()[:2] == [0, 2]
    only = LabelledTexts(train.texts[:2], train.labels[:2])
    assert word_model(dataset, only, held_out).predict(["game"]).argmax() == 0


def test_each_of_several_labels_has_an_svm_and_a_threshold_of_its_own(small_demo, monkeypatch):
    monkeypatch.setattr(baselines, "COSTS", (0.3,))
    splits = {
        split: [
            Example(row.texts, tuple(sorted({row.label, (row.label + len(row.texts[0])) % 2})))
            for row in rows
        ]
        for split, rows in small_demo.splits.items()
    }
    dataset = Dataset("x", MULTI_LABEL, small_demo.label_names, 1, "macro_f1", splits)
    train, held_out, test = parts(dataset)
    features = features_of(train, held_out, test)
    model = OneVsRestClassifier(LinearSVC(C=0.3, random_state=0)).fit(features[0], train.labels)
    found = word_model(dataset, train, held_out)
    expected = model.decision_function(features[2])
    np.testing.assert_allclose(found.predict(test.texts), expected, atol=1e-3)
    tuned = tuned_thresholds(found.predict(held_out.texts), held_out.labels)
    np.testing.assert_allclose(found.thresholds, tuned, atol=1e-3)


def test_scores_are_those_of_a_ridge_of_pairs(monkeypatch):
    monkeypatch.setattr(baselines, "COSTS", (0.5,))
    words = "oil gas rain snow".split()
    rows = [
        Example((f"{words[k % 4]} fell", words[k % 3]), float(k % 4 + 0.1 * (k % 3)))
        for k in range(24)
    ]
    splits = dict.fromkeys(("train", "validation", "test"), rows)
    dataset = Dataset("x", REGRESSION, ("score",), 2, "pearson", splits)
    train, held_out, _ = parts(dataset)
    found = word_model(dataset, train, held_out)
    (features,) = features_of(train)
    expected = Ridge(2.0).fit(features, train.labels).predict(features)
    answers = found.predict([row.texts for row in rows])
    np.testing.assert_allclose(answers[:, 0], expected, atol=1e-3)


def test_of_many_words_some_rows_are_read(small_demo, monkeypatch):
    train, held_out, _ = parts(small_demo)
    words = sum(len(text.split()) for text in train.texts)
    monkeypatch.setattr(baselines, "MOST_WORDS", words // 3)
    assert word_model(small_demo, train, held_out).num_rows in (49, 50)


def test_texts_without_words_have_no_such_model():
    rows = [Example(("! ?",), 0), Example(("a",), 1)]
    splits = dict.fromkeys(("train", "validation", "test"), rows)
    dataset = Dataset("x", "single_label", ("a", "b"), 1, "accuracy", splits)
    train, held_out, _ = parts(dataset)
    assert word_model(dataset, train, held_out) is None


def test_rows_count_by_their_weight():
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(60, 3)), random.integers(0, 2, 60)
    weights = random.uniform(0.5, 2.0, 60)
    model = LogisticRegression()
    kernel, bias = fit_linear("single_label", model, features, labels, 2, weights)
    expected = LogisticRegression().fit(features, labels, sample_weight=weights)
    outputs = features @ kernel + bias
    decided = expected.decision_function(features)
    np.testing.assert_allclose(outputs[:, 1] - outputs[:, 0], decided, atol=1e-6)
