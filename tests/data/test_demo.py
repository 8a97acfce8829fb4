"""The generated data set: its texts, and that its known probabilities are the true ones."""

import itertools
import re
import time
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tests.messages import exactly
from tfkd.data import demo
from tfkd.data.demo import (
    LABEL_NAMES,
    PAIR_AFFINITY,
    TOPIC_AFFINITY,
    GeneratedSplit,
    best_accuracy,
    demo_dataset,
    posterior,
)

WORD = re.compile("[a-z]+")


@pytest.fixture(scope="module")
def sample():
    """20,000 fresh rows: texts, labels and the posterior."""
    rows = list(GeneratedSplit(11, "train", 20_000))
    texts = [row.texts[0] for row in rows]
    return texts, np.array([row.label for row in rows]), posterior(texts)


def pool(name):
    """The words of one pool, most frequent first."""
    position = list(demo._POOLS).index(name)
    start = demo._language().pool_starts[position]
    return list(demo._language().ids)[start : start + demo._POOLS[name][0]]


def test_dataset_describes_itself():
    dataset = demo_dataset(num_train=3, num_validation=2, num_test=1)
    assert dataset.name == "demo"
    assert dataset.task == "single_label"
    assert dataset.metric == "accuracy"
    assert dataset.label_names == LABEL_NAMES == ("politics", "business", "science", "health")
    assert dataset.num_texts == 1
    assert {split: len(list(rows)) for split, rows in dataset.splits.items()} == {
        "train": 3,
        "validation": 2,
        "test": 1,
    }


def test_default_sizes():
    sizes = [len(split) for split in demo_dataset().splits.values()]
    assert sizes == [8000, 1000, 2000]


def test_split_gives_the_same_rows_each_time():
    split = demo_dataset(num_train=700).splits["train"]
    assert list(split) == list(split)
    assert list(split) == list(demo_dataset(num_train=700).splits["train"])


def test_row_depends_on_neither_size_nor_what_was_read_before():
    short = list(demo_dataset(num_train=600).splits["train"])
    long = demo_dataset(num_train=1500, num_test=3).splits["train"]
    assert list(itertools.islice(long, 600)) == short
    interleaved = [row for pair in zip(long, long, strict=True) for row in pair]
    assert interleaved[0::2] == interleaved[1::2] == list(long)


def test_seeds_and_splits_differ():
    texts = [
        row.texts[0]
        for seed in (0, 1)
        for split in demo_dataset(seed, 500, 500, 500).splits.values()
        for row in split
    ]
    assert len(set(texts)) == len(texts) == 3000


def test_split_streams():
    rows = iter(GeneratedSplit(0, "train", 10**12))
    assert next(rows).label in range(4)


def test_speed():
    list(GeneratedSplit(0, "train", 600))
    started_at = time.process_time()
    assert len(list(GeneratedSplit(0, "train", 20_000))) == 20_000
    # Of the processor's time, so that other programs do not count; 0.3 s measured.
    assert time.process_time() - started_at < 3.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "Expected `seed` to be 0 or more. Received: seed=-1."),
        ({"num_train": 0}, "Expected `num_train` to be 1 or more. Received: 0."),
        ({"num_test": -5}, "Expected `num_test` to be 1 or more. Received: -5."),
    ],
)
def test_wrong_sizes_are_refused(settings, message):
    with pytest.raises(ValueError, match=exactly(message)):
        demo_dataset(**settings)


def test_texts_look_like_sentences(sample):
    texts, _, _ = sample
    shape = re.compile(r"[A-Z][a-z]+( [A-Za-z]+[.,]?)+\.")
    assert all(shape.fullmatch(text) for text in texts)
    assert not any(re.search(r"\. [a-z]", text) for text in texts)
    lengths = np.array([len(text.split()) for text in texts])
    assert (lengths.min(), lengths.max()) == (8, 40)
    assert lengths.mean() == pytest.approx(24, abs=0.3)
    assert max(len(word) for text in texts[:2000] for word in WORD.findall(text.lower())) <= 11


def test_vocabulary_is_that_of_a_small_newswire(sample):
    texts, _, _ = sample
    counts = Counter(word for text in texts[:8000] for word in WORD.findall(text.lower()))
    assert 2000 <= len(counts) <= len(demo._language().ids) <= 5000
    frequencies = np.array(sorted(counts.values(), reverse=True))[:2000]
    slope = np.polyfit(np.log(np.arange(1, 2001)), np.log(frequencies), 1)[0]
    assert -1.4 < slope < -0.7, "the frequency of a word falls about as its rank"
    assert frequencies[:20].sum() / frequencies.sum() > 0.25


def test_labels_are_balanced(sample):
    _, labels, _ = sample
    # 20,000 even draws: the standard error of a count is 61.
    assert np.abs(np.bincount(labels) - 5000).max() < 4 * 61


def test_length_says_nothing_about_the_class(sample):
    texts, labels, _ = sample
    lengths = np.array([len(text.split()) for text in texts])
    means = [lengths[labels == label].mean() for label in range(4)]
    assert np.ptp(means) < 4 * 9.5 * np.sqrt(2 / 5000)


def test_posterior_of_words_that_say_nothing_is_even():
    text = " ".join(pool("function")[:4] + pool("noun")[:4] + pool("name")[:2] + pool("verb")[:2])
    np.testing.assert_allclose(posterior([text, ""]), np.full((2, 4), 0.25), rtol=0, atol=1e-15)


@pytest.mark.parametrize("home", range(4))
def test_posterior_of_one_topic_word_is_its_affinity(home):
    text = f"{pool('function')[0]} {pool('topic')[home]}"
    np.testing.assert_allclose(posterior([text])[0], TOPIC_AFFINITY[home], atol=1e-12)


def test_posterior_of_two_topic_words_is_their_product():
    first, second = pool("topic")[:2]
    expected = TOPIC_AFFINITY[0] * TOPIC_AFFINITY[1]
    actual = posterior([f"{first.capitalize()}, {second}."])[0]
    np.testing.assert_allclose(actual, expected / expected.sum(), atol=1e-12)


def test_word_order_matters():
    modifiers, heads, between = pool("modifier"), pool("head"), pool("function")[0]
    rest = (1 - PAIR_AFFINITY) / 3
    # Modifier group 1 with head group 3 is the favoured pair of class 2.
    together = posterior([f"{modifiers[1]} {heads[3]}"])[0]
    np.testing.assert_allclose(together, [rest, rest, PAIR_AFFINITY, rest], atol=1e-12)
    apart = [f"{heads[3]} {modifiers[1]}", f"{modifiers[1]} {between} {heads[3]}"]
    np.testing.assert_allclose(posterior(apart), np.full((2, 4), 0.25), atol=1e-12)


def test_pair_does_not_reach_into_the_next_text():
    ends_with_modifier, starts_with_head = pool("modifier")[0], pool("head")[0]
    both = posterior([ends_with_modifier, starts_with_head])
    np.testing.assert_allclose(both, np.full((2, 4), 0.25), atol=1e-12)


def test_posterior_of_no_texts():
    assert posterior([]).shape == (0, 4)


def test_posterior_ignores_case_and_punctuation():
    text = next(iter(demo_dataset().splits["test"])).texts[0]
    bare = re.sub("[.,]", "", text).lower()
    assert bare != text
    np.testing.assert_array_equal(posterior([text]), posterior([bare]))


def test_posterior_refuses_other_words():
    message = (
        "Expected texts of the demo set. Received: the word 'unheard-of' in row 1. "
        "Only generated words have a known probability."
    )
    with pytest.raises(ValueError, match=exactly(message)):
        posterior([pool("noun")[0], f"{pool('noun')[1]} unheard-of"])


def test_posterior_sums_to_one(sample):
    _, _, truth = sample
    assert truth.shape == (20_000, 4)
    assert truth.min() > 0
    np.testing.assert_allclose(truth.sum(axis=1), 1.0, atol=1e-12)


def test_posterior_is_the_accuracy_it_promises(sample):
    _, labels, truth = sample
    promised = truth.max(axis=1)
    is_right = truth.argmax(axis=1) == labels
    standard_error = np.sqrt((promised * (1 - promised)).sum()) / len(labels)
    assert abs(is_right.mean() - promised.mean()) < 3 * standard_error


def test_posterior_is_calibrated_in_every_bin(sample):
    _, labels, truth = sample
    is_label = np.eye(4)[labels].ravel()
    promised = truth.ravel()
    bins = np.minimum((promised * 10).astype(int), 9)
    for index in range(10):
        chosen = bins == index
        assert chosen.sum() > 150
        spread = np.sqrt((promised[chosen] * (1 - promised[chosen])).sum())
        assert abs((is_label[chosen] - promised[chosen]).sum()) < 4 * spread


def test_best_accuracy_is_between_90_and_95_percent(sample):
    texts, _, truth = sample
    assert 0.90 < best_accuracy() < 0.95
    assert best_accuracy() == pytest.approx(0.9373, abs=0.0005)
    best = f"best possible accuracy: {best_accuracy():.3f}"
    assert demo_dataset().findings() == (f"{best}, since the texts are drawn by known chances",)
    assert best_accuracy(texts) == truth.max(axis=1).mean()
    # The spread of the largest posterior over texts is 0.13.
    assert best_accuracy(texts) == pytest.approx(best_accuracy(), abs=4 * 0.13 / np.sqrt(20_000))


def test_pairs_of_words_are_worth_a_little(sample):
    texts, labels, truth = sample
    apart = [re.sub(" ", f" {pool('function')[0]} ", text) for text in texts]
    accuracy_without_pairs = (posterior(apart).argmax(axis=1) == labels).mean()
    assert 0.01 < truth.max(axis=1).mean() - accuracy_without_pairs < 0.04


def test_simple_model_learns_it_from_the_training_rows():
    splits = demo_dataset().splits
    texts, labels = (
        [row.texts[0] for row in splits["train"]],
        [row.label for row in splits["train"]],
    )
    test_texts = [row.texts[0] for row in splits["test"]]
    test_labels = [row.label for row in splits["test"]]
    features = TfidfVectorizer(min_df=5, sublinear_tf=True)
    model = LogisticRegression(max_iter=100).fit(features.fit_transform(texts), labels)
    accuracy = model.score(features.transform(test_texts), test_labels)
    best = best_accuracy(test_texts)
    assert 0.89 < accuracy < best + 3 * np.sqrt(best * (1 - best) / len(test_texts))
