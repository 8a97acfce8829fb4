"""The model's logits depend on the padded width, so they tell which signature ran."""

import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.messages import exactly
from tfkd.compression.conversion import write_files
from tfkd.compression.file_seal import sealed
from tfkd.compression.litert import LiteRTModel, _prepared
from tfkd.errors import ArtifactError, DatasetError
from tfkd.models.classifier import TextClassifier
from tfkd.models.tokenizers import Tokenizer

TEXTS = [
    "rain",
    "the river rose again",
    "a clear night over the harbour and the old bridge",
    " ".join(["slow boats"] * 12),
    " ".join(["slow boats"] * 17),
    " ".join(["slow boats under the bridge"] * 11),
]
# With [CLS] and [SEP].
NUM_TOKENS = [3, 6, 12, 26, 36, 57]


def width_sensitive_model(vocabulary_size):
    """The mean over all positions, padding included, which no real student may take."""
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "padding_mask")
    }
    vectors = keras.layers.Embedding(vocabulary_size, 64, embeddings_initializer="normal")(
        inputs["token_ids"]
    )
    is_real = keras.ops.expand_dims(keras.ops.cast(inputs["padding_mask"], "float32"), -1)
    pooled = keras.ops.mean(vectors * is_real, axis=1)
    return keras.Model(inputs, keras.layers.Dense(3, bias_initializer="ones")(pooled))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    keras.utils.set_random_seed(0)
    tokenizer = Tokenizer.learn([*TEXTS, *" ".join(TEXTS).split()] * 5, 100, 64)
    return TextClassifier(width_sensitive_model(2000), tokenizer, "single_label", ("a", "b", "c"))


@pytest.fixture(scope="module")
def path(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "student"
    classifier.save(folder)
    return write_files(folder, ["float32"], (16, 32, 48), folder)["float32"]


@pytest.fixture(scope="module")
def model(path):
    return LiteRTModel(path)


def keras_logits(classifier, text, length):
    return classifier.predict_encoded(classifier.encode([text], length))[0]


def test_what_the_file_says_of_itself(model, path):
    assert model.lengths == (16, 32, 48)
    assert model.num_outputs == 3
    assert set(model.input_names) == {"token_ids", "padding_mask"}
    assert model.size_bytes == len(path.read_bytes())


@pytest.mark.parametrize(("row", "length"), [(0, 16), (1, 16), (2, 16), (3, 32), (4, 48)])
def test_a_text_goes_through_the_shortest_signature_that_holds_it(model, classifier, row, length):
    logits = model.predict(TEXTS[row : row + 1])[0]
    assert classifier.encode(TEXTS[row : row + 1])["padding_mask"].sum() == NUM_TOKENS[row]
    np.testing.assert_allclose(
        logits, keras_logits(classifier, TEXTS[row], length), rtol=0, atol=1e-6
    )
    assert np.abs(logits - keras_logits(classifier, TEXTS[row], 64)).max() > 1e-4


def test_a_text_of_exactly_a_signature_length_uses_it(model, classifier):
    tokens = {"token_ids": np.full((1, 16), 7), "padding_mask": np.ones((1, 16), np.int64)}
    padded = {name: np.pad(values, ((0, 0), (0, 24))) for name, values in tokens.items()}
    np.testing.assert_array_equal(
        model.predict_encoded(padded), model.predict_encoded(tokens, length=16)
    )


def test_a_text_of_one_token_more_uses_the_next(model):
    tokens = {"token_ids": np.full((1, 17), 7), "padding_mask": np.ones((1, 17), np.int32)}
    np.testing.assert_array_equal(
        model.predict_encoded(tokens), model.predict_encoded(tokens, length=32)
    )
    assert np.abs(model.predict_encoded(tokens) - model.predict_encoded(tokens, 48)).max() > 1e-4


def test_a_batch_of_n_equals_n_batches_of_one(model):
    together = model.predict(TEXTS)
    assert together.shape == (6, 3) and together.dtype == np.float32
    np.testing.assert_array_equal(together, np.concatenate([model.predict([t]) for t in TEXTS]))


def test_answers_are_those_of_litert_itself_whichever_signature_ran_before(path, model):
    """Bit by bit, and a row given away stays as it was when the next text is answered."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    order = [0, 4, 3, 0, 3, 4, 1, 2]
    rows = [model.predict([TEXTS[row]]) for row in order]
    for row, logits in zip(order, rows, strict=True):
        arrays = model.tokenizer.encode([TEXTS[row]], model.lengths)
        width = arrays["padding_mask"].shape[1]
        inputs = {name: arrays[name] for name in model.input_names}
        expected = interpreter.get_signature_runner(f"tokens_{width}")(**inputs)["logits"]
        np.testing.assert_array_equal(logits, expected)


def test_a_release_of_litert_with_other_inner_names_gives_the_same(path, model):
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("tokens_16")
    signature = _prepared(lambda **inputs: runner(**inputs), model.input_names, 16)
    arrays = model.encode(TEXTS[:1], 16)
    logits = signature(*[arrays[name] for name in model.input_names])
    np.testing.assert_array_equal(logits, model.predict(TEXTS[:1]))


def test_no_texts_give_no_rows(model):
    assert model.predict([]).shape == (0, 3)


def test_a_text_alone_is_one_row(model):
    expected = model.predict(TEXTS[1:2])
    for texts in (TEXTS[1], TEXTS[1].encode(), np.array(TEXTS[1:2]), (text for text in TEXTS[1:2])):
        np.testing.assert_array_equal(model.predict(texts), expected)
    assert model.encode(TEXTS[1])["token_ids"].shape[0] == 1


def test_pairs_are_refused_where_the_file_answers_single_texts(model, path, classifier, tmp_path):
    message = "Expected 1 text in row 1. Received: 2. The model was trained on single texts."
    with pytest.raises(DatasetError, match=exactly(message)):
        model.predict([("rain", "river")])
    assert model.num_texts == 1
    # Nothing beside the file says what it answers.
    alone = shutil.copy(path, tmp_path / "alone.tflite")
    given = LiteRTModel(alone, classifier.tokenizer)
    assert given.num_texts is None
    assert given.encode([("rain", "river")])["token_ids"].shape[0] == 1
    np.testing.assert_array_equal(given.predict(tuple(TEXTS[:2])), model.predict(TEXTS[:2]))


def test_more_texts_than_one_encoding_batch(model):
    logits = model.predict(TEXTS * 20)
    np.testing.assert_array_equal(logits, np.tile(model.predict(TEXTS), (20, 1)))


def test_encode_gives_the_files_inputs_cut_by_the_tokenizer_not_by_the_file(model):
    arrays = model.encode(TEXTS)
    assert set(arrays) == {"token_ids", "padding_mask"}
    assert {values.shape for values in arrays.values()} == {(6, 48)}
    # The last text is longer: cut to 48 it still ends with [SEP].
    separator = model.tokenizer.vocabulary.index("[SEP]")
    assert arrays["token_ids"][5, 47] == separator
    assert model.encode(TEXTS[:1], 16)["token_ids"].shape == (1, 16)


def test_several_threads_give_the_same_logits(model, path):
    np.testing.assert_allclose(
        LiteRTModel(path, threads=2).predict(TEXTS), model.predict(TEXTS), rtol=0, atol=1e-6
    )


def test_opening_and_running_writes_nothing(path, capfd):
    LiteRTModel(str(path)).predict(TEXTS[:1])
    assert capfd.readouterr() == ("", "")


def test_the_files_own_tokenizer_makes_no_segments_that_it_does_not_take(model):
    assert model.tokenizer.encode(TEXTS).keys() == {"token_ids", "padding_mask"}


def test_encoded_texts_need_no_tokenizer(path, tmp_path):
    alone = tmp_path / "alone.tflite"
    alone.write_bytes(path.read_bytes())
    model = LiteRTModel(alone)
    arrays = {"token_ids": np.full((2, 8), 7), "padding_mask": np.ones((2, 8), np.int32)}
    assert model.predict_encoded(arrays).shape == (2, 3)
    with pytest.raises(ArtifactError, match=r"tokenizer.preprocessor\.json\. It does not exist"):
        model.predict(["rain"])


def test_a_given_tokenizer_is_used(path, classifier, tmp_path):
    alone = tmp_path / "alone.tflite"
    alone.write_bytes(path.read_bytes())
    given = LiteRTModel(alone, tokenizer=classifier.tokenizer)
    np.testing.assert_array_equal(given.predict(TEXTS), LiteRTModel(path).predict(TEXTS))


def test_rows_longer_than_every_signature_are_refused(model):
    arrays = {"token_ids": np.ones((2, 64), int), "padding_mask": np.ones((2, 64), int)}
    arrays["padding_mask"][0, 40:] = 0
    with pytest.raises(
        ValueError,
        match=r"^Expected rows of at most 48 tokens\. Received: row 1 with 64\. Cutting it here "
        r"would lose its last special token: use `encode`\.$",
    ):
        model.predict_encoded(arrays)


def test_a_missing_input_is_named(model):
    with pytest.raises(ValueError, match=r"token_ids.*\. Received: padding_mask$"):
        model.predict_encoded({"padding_mask": np.ones((1, 8), np.int32)})


def test_a_length_without_signature_is_refused(model):
    arrays = model.encode(TEXTS[:1])
    with pytest.raises(ValueError, match=r"^Expected `length` in \(16, 32, 48\)\. Received: leng"):
        model.predict_encoded(arrays, length=64)


def test_threads_below_one_are_refused(path):
    with pytest.raises(ValueError, match=r"^Expected `threads` of at least 1\. Received: thr"):
        LiteRTModel(path, threads=0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        ArtifactError,
        match=r"^Expected the LiteRT file .+none\.tflite\. It does not exist\. Write it with "
        r"`tfkd export`\.$",
    ):
        LiteRTModel(tmp_path / "none.tflite")


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(4000)])
def test_a_file_that_is_no_litert_file_is_refused(tmp_path, content):
    path = tmp_path / "broken.tflite"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"^Expected a LiteRT file\. Received: .+cannot be re"):
        LiteRTModel(path)


def test_a_file_cut_short_is_refused(path, tmp_path):
    broken = tmp_path / "broken.tflite"
    content = path.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    message = f"Expected {broken} as tfkd wrote it. Received: another content. Write it again with "
    with pytest.raises(ArtifactError, match=f"^{re.escape(message)}`tfkd export --overwrite`"):
        LiteRTModel(broken)
    broken.write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"^Expected a LiteRT file\. Received: .+cannot be re"):
        LiteRTModel(broken)


def test_a_litert_file_of_someone_else_is_refused(path, tmp_path):
    other = tmp_path / "other.tflite"
    other.write_bytes(sealed(path.read_bytes().replace(b"tokens_", b"inputs_")))
    with pytest.raises(ArtifactError, match=r"^Expected a LiteRT file with signatures `tokens_<le"):
        LiteRTModel(other)


def test_no_line_of_others_is_lost_while_later_files_are_opened(tmp_path):
    """LiteRT writes to file descriptor 2 once; what else is written there comes through."""
    tokenizer = Tokenizer.learn(["rain", "river"], 40, 16)
    classifier = TextClassifier(
        width_sensitive_model(tokenizer.vocabulary_size), tokenizer, "single_label", ("a", "b", "c")
    )
    classifier.save(tmp_path)
    write_files(tmp_path, ["float32"], (16,), tmp_path)
    code = (
        "import os, sys, threading\n"
        "from tfkd.compression.litert import LiteRTModel\n"
        "LiteRTModel(sys.argv[1])\n"
        "def open_files():\n"
        "    for _ in range(50):\n"
        "        LiteRTModel(sys.argv[1])\n"
        "thread = threading.Thread(target=open_files)\n"
        "thread.start()\n"
        "count = 0\n"
        "while thread.is_alive() and count < 10_000:\n"
        "    count += os.write(2, b'.')\n"
        "thread.join()\n"
        "print(count)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "float32.tflite")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stderr == "." * int(ended.stdout)
