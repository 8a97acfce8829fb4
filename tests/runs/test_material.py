"""Near words of a run's altered copies: by the teacher's own vectors, which the cache keeps."""

import itertools

import numpy as np

from tests.toys import spread_out, tiny_backbone, vocabulary_of, wordpiece_tokenizer
from tfkd.config.training import DistillConfig
from tfkd.data.augmentation import Augmented
from tfkd.data.checks import check
from tfkd.data.examples import Dataset, Example
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.near_words import known_words, near_words
from tfkd.progress import Progress
from tfkd.runs.material import Material

QUIET = Progress(quiet=True)


def test_copies_take_the_words_that_the_teacher_holds_for_near(tmp_path):
    vocabulary = vocabulary_of("oil gas fuel rain snow sun sea hill tree bird fish bread")
    model = spread_out(build_encoder_classifier(tiny_backbone(len(vocabulary)), 3))
    names = ("a", "b", "c")
    teacher = TextClassifier(model, wordpiece_tokenizer(vocabulary), "single_label", names)
    known = known_words(model, vocabulary)
    rows = [Example((" ".join(known[k : k + 4]),), k % 3) for k in range(6)]
    splits = dict.fromkeys(("train", "validation", "test"), rows)
    dataset = Dataset("toys", "single_label", names, 1, "accuracy", splits)
    material = Material(dataset, check(dataset), tmp_path / "cache", QUIET)
    config = DistillConfig(dataset="toys", augmented_copies=2)

    wider = material.with_transfer(config, teacher)

    near = near_words(known, teacher.reader().predict(known), known)
    assert all(len(words) == 10 for words in near.values())
    expected = Augmented(rows, 2, config.split_seed, near)
    assert list(wider.dataset.splits["transfer"]) == list(expected)
    # The second time from the cache, which decides.
    (kept,) = (tmp_path / "cache" / "words").glob("*.npy")
    backwards = np.load(kept)[::-1]
    np.save(kept, backwards)
    again = material.with_transfer(config, teacher).dataset.splits["transfer"]
    assert list(again) == list(Augmented(rows, 2, 0, near_words(known, backwards, known)))
    assert list(itertools.islice(again, 6)) == rows
