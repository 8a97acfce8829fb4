"""The same tokens from plain Python, from TensorFlow's graph and from inside a `.tflite` file."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import InterpreterWithCustomOps
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_text.core.pybinds import tflite_registrar

from tests.hard_texts import HARD_TEXTS, character_vocabulary
from tfkd.errors import ModelError
from tfkd.models.text_graph import TextEncoder
from tfkd.models.wordpiece import WordPieceTokenizer

# Long enough for nearly all texts; the longest are cut.
LENGTH = 128
VOCABULARY = character_vocabulary()
TEXTS = [text for _, text in HARD_TEXTS]


TOKENIZERS = {
    lowercase: WordPieceTokenizer(VOCABULARY, LENGTH, lowercase) for lowercase in (True, False)
}
ENCODERS = {lowercase: TextEncoder(tokenizer) for lowercase, tokenizer in TOKENIZERS.items()}


@pytest.fixture(params=[True, False], ids=["uncased", "cased"])
def tokenizer(request):
    return TOKENIZERS[request.param]


@pytest.fixture
def encoder(tokenizer):
    return ENCODERS[tokenizer.lowercase]


def as_bytes(texts):
    return tf.constant([text.encode("utf-8", "surrogatepass") for text in texts])


def differing(tokenizer, arrays_of, length=LENGTH):
    """Names of the hard texts to which someone else gives other arrays."""
    names = []
    for name, text in HARD_TEXTS:
        expected, received = tokenizer.encode([text], length), arrays_of(text)
        assert set(received) == set(expected)
        if any(not np.array_equal(received[key], expected[key]) for key in expected):
            names.append(name)
    return names


def test_there_are_enough_hard_texts_and_most_words_are_known(tokenizer):
    assert len(HARD_TEXTS) == len(dict(HARD_TEXTS)) >= 60
    tokens = tokenizer.encode(TEXTS)["token_ids"]
    assert (tokens == tokenizer.unknown_id).sum() < 12


def test_batch_of_all_hard_texts_equals_plain_python(tokenizer, encoder):
    assert encoder.length == LENGTH
    received = encoder.encode_batch(as_bytes(TEXTS))
    expected = tokenizer.encode(TEXTS)
    assert set(received) == set(expected) == {"token_ids", "padding_mask", "segment_ids"}
    for name, values in expected.items():
        np.testing.assert_array_equal(received[name], values, name)


def test_one_text_at_a_time_equals_plain_python(tokenizer, encoder):
    encode = tf.function(encoder.encode_one, input_signature=[tf.TensorSpec([1], tf.string)])
    arrays = encode(as_bytes(["oil"]))
    assert {(values.dtype.name, *values.shape) for values in arrays.values()} == {
        ("int32", 1, LENGTH)
    }
    assert differing(tokenizer, lambda text: encode(as_bytes([text]))) == []


def test_longest_batch_row_decides_the_width(tokenizer):
    encoder = TextEncoder(tokenizer, 16)
    assert encoder.encode_batch(as_bytes(["oil", "oil fell"]))["token_ids"].shape == (2, 4)
    assert encoder.encode_batch(as_bytes(["oil " * 40, ""]))["token_ids"].shape == (2, 16)


def test_inside_a_litert_file(tokenizer, tmp_path):
    encoder = TextEncoder(tokenizer, 16)
    encode = tf.function(encoder.encode_one, input_signature=[tf.TensorSpec([1], tf.string)])
    encoder.encode = encode
    tf.saved_model.save(encoder, str(tmp_path), signatures={"encode": encode})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path), signature_keys=["encode"])
    converter.allow_custom_ops = True
    interpreter = InterpreterWithCustomOps(
        model_content=converter.convert(),
        custom_op_registerers=tflite_registrar.SELECT_TFTEXT_OPS,
    )
    operators = {details["op_name"] for details in interpreter._get_ops_details()}
    assert {"FastBertNormalize", "FastWordpieceTokenizeWithOffsets"} <= operators
    assert not any(name.startswith("Flex") for name in operators)
    run = interpreter.get_signature_runner("encode")
    short = tokenizer.with_length(16)
    assert differing(short, lambda text: run(text=np.array([text.encode()])), 16) == []


@settings(max_examples=300)
@given(
    texts=st.lists(
        st.one_of(
            st.text(st.characters(codec=None), max_size=40),
            st.text(st.sampled_from(sorted(set("".join(TEXTS)))), max_size=60),
        ),
        min_size=1,
        max_size=8,
    ),
    lowercase=st.booleans(),
)
def test_any_text_equals_plain_python(texts, lowercase):
    expected = TOKENIZERS[lowercase].encode(texts)["token_ids"]
    received = ENCODERS[lowercase].encode_batch(as_bytes(texts))["token_ids"].numpy()
    # Only the widths differ: that of plain Python is a multiple of 8.
    padding = ((0, 0), (0, expected.shape[1] - received.shape[1]))
    np.testing.assert_array_equal(np.pad(received, padding), expected)


def test_distilbert_has_no_segments():
    tokenizer = WordPieceTokenizer(VOCABULARY, 16, has_segments=False)
    encoder = TextEncoder(tokenizer)
    assert set(encoder.encode_one(as_bytes(["oil"]))) == {"token_ids", "padding_mask"}
    assert set(encoder.encode_batch(as_bytes(["oil"]))) == {"token_ids", "padding_mask"}


def test_pairs_are_refused(encoder):
    message = (
        r"^Expected single texts, a string tensor of shape \[n\]\. Received: shape \(1, 2\)\. "
        r"Pairs have no form of one string: use a file that takes tokens\.$"
    )
    with pytest.raises(ModelError, match=message):
        encoder.encode_batch(tf.constant([["oil", "fell"]]))
    with pytest.raises(ModelError, match=message):
        encoder.encode_one(tf.constant([["oil", "fell"]]))
