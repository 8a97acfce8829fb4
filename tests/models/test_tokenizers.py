"""Tokens written out by hand, and the same tokens again after saving, in pairs, cut and padded."""

import json

import numpy as np
import pytest

from tests.toys import BYTE_PAIRS, MERGES, byte_pair_tokenizer, vocabulary_of, wordpiece_tokenizer
from tfkd.errors import ArtifactError, ModelError
from tfkd.models.tokenizers import RESERVED_TOKENS, Tokenizer
from tfkd.models.wordpiece_files import load_if_fast

VOCABULARY = vocabulary_of("oil price ##s fell again the team won cafe a goal . in rain late")
SENTENCES = ["Oil prices fell again.", "The team won a goal late in the rain", "Café"]


def bert(sequence_length=16, vocabulary=VOCABULARY, **rules):
    return wordpiece_tokenizer(vocabulary, sequence_length, **{"strip_accents": True, **rules})


def distilbert(sequence_length=16):
    return wordpiece_tokenizer(VOCABULARY, sequence_length, "DistilBert", strip_accents=True)


FAMILIES = {"bert": bert, "distilbert": distilbert, "roberta": byte_pair_tokenizer}


def ids(tokenizer, texts, length=None):
    return tokenizer.encode(texts, length)["token_ids"].tolist()


def test_sentence_written_out():
    arrays = bert().encode(["Oil prices fell again."])
    assert arrays["token_ids"].tolist() == [[2, 5, 6, 7, 8, 9, 16, 3]]
    assert arrays["padding_mask"].tolist() == [[1] * 8]
    assert arrays["segment_ids"].tolist() == [[0] * 8]
    assert {str(values.dtype) for values in arrays.values()} == {"int32"}


def test_unknown_word_and_special_words_in_a_text_are_no_special_tokens():
    assert ids(bert(), ["the [SEP] zebra"]) == [[2, 10, 1, 1, 1, 1, 3, 0]]


def test_pair_has_segments():
    arrays = bert().encode([("oil price", "the team"), ("goal", "rain")])
    assert arrays["token_ids"].tolist() == [[2, 5, 6, 3, 10, 11, 3, 0], [2, 15, 3, 18, 3, 0, 0, 0]]
    assert arrays["segment_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0, 0, 0]]
    assert arrays["padding_mask"].tolist() == [[1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0, 0, 0]]


def test_roberta_sentence_and_pair_written_out():
    assert ids(byte_pair_tokenizer(), ["oil oil"]) == [[0, 8, 10, 2, 1, 1, 1, 1]]
    arrays = byte_pair_tokenizer().encode([("oil oil", "oil")])
    assert arrays["token_ids"].tolist() == [[0, 8, 10, 2, 2, 8, 2, 1]]
    assert set(arrays) == {"token_ids", "padding_mask"}


def test_distilbert_pair_has_no_segments():
    arrays = distilbert().encode([("oil price", "the team")])
    assert arrays["token_ids"].tolist() == [[2, 5, 6, 3, 10, 11, 3, 0]]
    assert set(arrays) == {"token_ids", "padding_mask"}


def test_long_text_is_cut_before_its_end_token():
    assert ids(bert(6), ["the team won a goal late"]) == [[2, 10, 11, 12, 14, 3]]


def test_long_pair_is_cut_in_turn():
    row = ids(bert(8), [("the team won a goal", "oil price fell again")])
    assert row == [[2, 10, 11, 12, 3, 5, 6, 3]]


@pytest.mark.parametrize("words, length", [(0, 8), (6, 8), (7, 16), (14, 16), (15, 20), (40, 20)])
def test_width_is_the_longest_row_rounded_up_to_eight(words, length):
    arrays = bert(20).encode(["oil", " ".join(["goal"] * words)])
    assert arrays["token_ids"].shape == (2, length)
    assert arrays["padding_mask"].sum(axis=1).tolist() == [3, min(words + 2, 20)]


def test_asked_width_pads_and_cuts():
    assert ids(bert(), ["oil"], length=5) == [[2, 5, 3, 0, 0]]
    assert ids(bert(), ["the team won"], length=3) == [[2, 10, 11]]


@pytest.mark.parametrize("text", ["oil", "oil oil oil oil"])
def test_roberta_pads_with_its_own_token_beyond_its_length(text):
    """A row that fills the tokenizer's length shows no padding to copy."""
    arrays = byte_pair_tokenizer(6).encode([text], length=12)
    words = len(text.split())
    row = [0, 8, *[10] * (words - 1), 2]
    assert arrays["token_ids"].tolist() == [row + [1] * (12 - len(row))]
    assert arrays["padding_mask"].sum() == len(row)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
@pytest.mark.parametrize("num_texts", [1, 2])
def test_rows_equal_those_of_the_preprocessor(family, num_texts):
    """KerasHub packs, cuts and pads; plain Python has to do the same."""
    generator = np.random.default_rng(0)
    columns = [
        [" ".join(generator.choice(["Oil", "café", "won,", "zoo"], size)) for size in sizes]
        for sizes in generator.integers(0, 14, (num_texts, 40))
    ]
    tokenizer = FAMILIES[family](12)
    texts = columns[0] if num_texts == 1 else list(zip(*columns, strict=True))
    features = columns[0] if num_texts == 1 else tuple(columns)
    expected = tokenizer._preprocessor(features, y=None)
    received = tokenizer.encode(texts, 12)
    assert set(received) == set(expected)
    for name, values in received.items():
        np.testing.assert_array_equal(values, expected[name], name)


def test_word_piece_is_the_part_without_tensorflow():
    for tokenizer in (bert(), distilbert(), bert(lowercase=False, strip_accents=False)):
        assert tokenizer.word_piece.vocabulary == VOCABULARY
    others = {"Roberta": byte_pair_tokenizer(), "Bert": bert(strip_accents=False)}
    for name, tokenizer in others.items():
        with pytest.raises(
            ModelError,
            match=r"^Expected a WordPiece tokenizer, lower case without accents or cased\. "
            rf"Received: {name}Tokenizer with other rules\. Use a form that takes tokens\.$",
        ):
            _ = tokenizer.word_piece


def test_saved_folder_is_read_without_kerashub(tmp_path):
    distilbert().save(tmp_path)
    loaded = load_if_fast(tmp_path)
    assert (loaded.vocabulary, loaded.sequence_length) == (VOCABULARY, 16)
    expected = distilbert().encode(SENTENCES)
    for name, values in loaded.encode(SENTENCES).items():
        np.testing.assert_array_equal(values, expected[name])


def test_no_text_is_refused():
    message = r"^Expected at least one text to encode\. Received: none\.$"
    with pytest.raises(ValueError, match=message):
        bert().encode([])


def test_accents_and_capitals_are_stripped():
    assert ids(bert(), ["Café"]) == ids(bert(), ["cafe"]) == [[2, 13, 3, 0, 0, 0, 0, 0]]
    assert ids(bert(strip_accents=False), ["Café"]) == [[2, 1, 3, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_gives_the_same_tokens(family, tmp_path):
    tokenizer = FAMILIES[family](12)
    texts = ["oil oil oil"] if family == "roberta" else SENTENCES
    expected = tokenizer.encode(texts)
    tokenizer.save(tmp_path / "tokenizer")
    loaded = Tokenizer.load(tmp_path / "tokenizer")
    assert loaded.sequence_length == 12
    assert loaded.vocabulary == tokenizer.vocabulary
    assert loaded.fingerprint == tokenizer.fingerprint
    for name, values in loaded.encode(texts).items():
        np.testing.assert_array_equal(values, expected[name])


def test_vocabulary_is_in_the_order_of_the_indices():
    assert bert().vocabulary == VOCABULARY
    assert byte_pair_tokenizer().vocabulary == sorted(BYTE_PAIRS, key=BYTE_PAIRS.get)
    assert (bert().vocabulary_size, byte_pair_tokenizer().vocabulary_size) == (20, 12)


def test_other_length_keeps_the_words():
    longer = bert(6).with_length(16)
    assert longer.sequence_length == 16
    assert ids(longer, ["the team won a goal late"]) == [[2, 10, 11, 12, 14, 15, 19, 3]]


def test_other_vocabulary_keeps_the_rules_and_the_length():
    fewer = [token for token in VOCABULARY if token != "rain"]
    cut = bert(sequence_length=8).with_vocabulary(fewer)
    assert (cut.vocabulary, cut.sequence_length) == (fewer, 8)
    assert ids(cut, ["CAFÉ rain late"], 6) == [[2, 13, 1, 18, 3, 0]]


def test_byte_pairs_take_no_other_vocabulary():
    message = "^Expected a WordPiece tokenizer .* Received: RobertaTokenizer. Leave the vocabulary"
    with pytest.raises(ModelError, match=message):
        byte_pair_tokenizer().with_vocabulary(["a"])


def test_vocabulary_is_learned_from_the_texts():
    texts = ["The harbour was closed", "the Harbour opened", "a closed café in the harbour"] * 5
    tokenizer = Tokenizer.learn(iter(texts), vocabulary_size=60, sequence_length=16)
    assert tokenizer.vocabulary[:5] == RESERVED_TOKENS
    assert tokenizer.vocabulary_size == len(tokenizer.vocabulary) <= 60
    assert {"the", "harbour", "closed"} <= set(tokenizer.vocabulary)
    assert ids(tokenizer, ["Harbour, Café"]) == ids(tokenizer, ["harbour, cafe"])
    assert 1 not in ids(tokenizer, texts)[0]
    again = Tokenizer.learn(texts, vocabulary_size=60, sequence_length=16)
    assert again.vocabulary == tokenizer.vocabulary


def test_fingerprint_is_of_what_decides_the_tokens():
    marks = [
        bert().fingerprint,
        bert(sequence_length=24).fingerprint,
        bert(vocabulary=[*VOCABULARY[:-1], "early"]).fingerprint,
        bert(vocabulary=[*VOCABULARY[:-2], "late", "rain"]).fingerprint,
        bert(strip_accents=False).fingerprint,
        distilbert().fingerprint,
        byte_pair_tokenizer().fingerprint,
        byte_pair_tokenizer(merges=[MERGES[0]]).fingerprint,
    ]
    assert len(set(marks)) == len(marks)
    assert all(len(mark) == 16 for mark in marks)


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_tokenizers_have_equal_fingerprints(family):
    """Whatever Keras calls their layers, and whether or not they were used."""
    used = FAMILIES[family]()
    used.encode(["oil"])
    assert used.fingerprint == FAMILIES[family]().fingerprint
    assert used.fingerprint == FAMILIES[family](8).with_length(16).fingerprint


def damaged(folder, damage):
    bert().save(folder)
    settings = folder / "preprocessor.json"
    if damage == "no settings":
        settings.unlink()
    elif damage == "half the settings":
        settings.write_text(settings.read_text()[:40])
    elif damage == "no vocabulary":
        (folder / "vocabulary.txt").unlink()
    else:
        settings.write_text(json.dumps(damage))
    return folder


@pytest.mark.parametrize(
    "damage, message",
    [
        ("no settings", r"^Expected the file .*preprocessor\.json\. It does not exist\.$"),
        ("half the settings", r"^Expected JSON in .*preprocessor\.json\. Received: "),
        (
            "no vocabulary",
            r"vocabulary\.txt as tfkd wrote it\. Received: no such file\. ",
        ),
        ({}, r"^Expected tokenizer files in .*\. They cannot be read: "),
        ([1, 2], r"json as tfkd wrote it\. Received: no JSON object but \[1, 2\]\. Put it back"),
        (
            {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}},
            r"^Expected tokenizer files in .*\. They cannot be read: ",
        ),
        (
            {"module": "nowhere", "class_name": "Nothing", "config": {}, "registered_name": "a>b"},
            r"^Expected tokenizer files in .*\. They cannot be read: ",
        ),
    ],
)
def test_damaged_folder_is_refused(damage, message, tmp_path):
    with pytest.raises(ArtifactError, match=message):
        Tokenizer.load(damaged(tmp_path / "tokenizer", damage))
