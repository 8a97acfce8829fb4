"""The length a model reads by default: nearly all of nearly all texts."""

import csv

import numpy as np
import pytest

from tests.toys import (
    QUIET,
    WORDS,
    classifier_of,
    tiny_backbone,
    vocabulary_of,
    wordpiece_tokenizer,
)
from tfkd.config.data import DataConfig
from tfkd.models.encoder import build_encoder_classifier, positions
from tfkd.models.without_encoder import build_cnn
from tfkd.runs.lengths import fitting_length, with_length
from tfkd.runs.material import prepare

TOKENIZER = wordpiece_tokenizer(vocabulary_of(WORDS))


def material_of(folder, word_counts):
    """Rows of so many words each, a token a word, between [CLS] and [SEP]."""
    random = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        with (folder / f"{split}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            for row, count in enumerate(word_counts):
                writer.writerow([" ".join(random.choice(WORDS, count)), "ab"[row % 2]])
    return prepare(DataConfig(dataset=str(folder)), folder, QUIET)


@pytest.mark.parametrize(
    ("word_counts", "expected"),
    [
        # 30 words and two special tokens.
        ([30] * 100, 32),
        ([31] * 100, 40),
        # One text of a hundred may be cut, two may not.
        ([30] * 199 + [100], 32),
        ([30] * 97 + [100] * 3, 104),
        ([2] * 100, 16),
        ([400] * 100, 256),
    ],
)
def test_99_of_100_texts_are_whole(tmp_path, word_counts, expected):
    assert fitting_length(TOKENIZER, material_of(tmp_path, word_counts)) == expected


def test_only_the_first_2000_rows_are_counted(tmp_path):
    assert fitting_length(TOKENIZER, material_of(tmp_path, [30] * 2000 + [100] * 500)) == 32


def test_pairs_are_counted_together(tmp_path):
    for split in ("train", "validation", "test"):
        rows = ["sentence1,sentence2,label", *["a the river,bank harbour,0", "a,the,1"] * 50]
        (tmp_path / f"{split}.csv").write_text("\n".join([*rows, ""]))
    material = prepare(DataConfig(dataset=str(tmp_path)), tmp_path, QUIET)
    assert fitting_length(TOKENIZER, material, most=6) == 6


def test_an_encoder_reads_no_more_than_its_positions(tmp_path):
    material = material_of(tmp_path, [40] * 100)
    encoder = tiny_backbone(60, max_sequence_length=24)
    found = classifier_of(build_encoder_classifier(encoder, 3))
    assert positions(found.model, 256) == positions(encoder, 256) == 24
    assert positions(found.model, 20) == 20
    assert with_length(found, None, material).tokenizer.sequence_length == 24
    assert with_length(found, 12, material).tokenizer.sequence_length == 12


def test_a_model_without_positions_reads_what_there_is(tmp_path):
    found = classifier_of(build_cnn(60, 3, width=8, filters=4))
    fitted = with_length(found, None, material_of(tmp_path, [40] * 100))
    assert fitted.tokenizer.sequence_length >= 42
    assert fitted.model is found.model
