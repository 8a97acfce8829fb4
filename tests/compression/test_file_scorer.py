import numpy as np
import pytest

from tests.toys import (
    QUIET,
    classifier_of,
    convert_here,
    spread_out,
    texts_of_words,
    tiny_backbone,
)
from tfkd.compression.file_scorer import ROWS_PER_TASK, FileScorer
from tfkd.compression.litert import ENCODING_BATCH_SIZE, LiteRTModel
from tfkd.data import tokens
from tfkd.data.examples import Example
from tfkd.errors import ArtifactError
from tfkd.models.encoder import build_encoder_classifier

NUM_ROWS = 3 * ROWS_PER_TASK + 5


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scorer")
    model = spread_out(build_encoder_classifier(tiny_backbone(60), 3))
    classifier_of(model).save(folder / "model")
    return convert_here(folder / "model", ["dynamic_int8"], (8, 12), folder / "model")[
        "dynamic_int8"
    ]


@pytest.fixture(scope="module")
def rows(file, tmp_path_factory):
    encode = LiteRTModel(file, classifier_of(tiny_backbone(60)).tokenizer).tokenizer.encode
    examples = [Example((text,), 0) for text in texts_of_words(NUM_ROWS, 12)]
    folder = tmp_path_factory.mktemp("rows") / "tokens"
    return tokens.write(folder, examples, encode, "single_label", 3, "m", (QUIET, NUM_ROWS))


def scored(scorer, rows, start=0, stop=None):
    numbers, logits = zip(*scorer.score(rows, start, stop), strict=True)
    return np.concatenate(numbers), np.concatenate(logits)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_rows_are_answered_in_order_as_by_the_file_alone(file, rows, threads):
    numbers, logits = scored(FileScorer(file, threads), rows)
    assert numbers.tolist() == list(range(NUM_ROWS))
    alone = LiteRTModel(file).predict_encoded(rows.arrays(np.arange(NUM_ROWS)))
    np.testing.assert_array_equal(logits, alone)
    assert len(np.unique(logits.round(5), axis=0)) > NUM_ROWS / 2


def test_a_part_of_the_rows(file, rows):
    numbers, logits = scored(FileScorer(file, 2), rows, 7, 30)
    assert numbers.tolist() == list(range(7, 30))
    np.testing.assert_array_equal(logits, scored(FileScorer(file, 2), rows)[1][7:30])


def test_who_stops_early_can_begin_again(file, rows):
    scorer = FileScorer(file, 2)
    for numbers, _ in scorer.score(rows):
        assert numbers.tolist() == list(range(ROWS_PER_TASK))
        break
    assert scored(scorer, rows)[0].tolist() == list(range(NUM_ROWS))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"^Expected the LiteRT file .*none\.tflite\. It does"):
        FileScorer(tmp_path / "none.tflite", 2)


@pytest.mark.parametrize("threads", [1, 3])
def test_texts_are_answered_in_order_as_by_the_file_alone(file, threads):
    texts = texts_of_words(2 * ENCODING_BATCH_SIZE + 5, 12)
    scorer = FileScorer(file, threads)
    np.testing.assert_array_equal(scorer.predict(texts), LiteRTModel(file).predict(texts))
    assert scorer.predict([]).shape == (0, 3)
