"""The hash inside a LiteRT file: what changes an answer is noticed, with a folder or without."""

import shutil

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.messages import exactly
from tests.toys import WORDS, classifier_of, convert_here, spread_out, texts_of_words
from tfkd import artifacts
from tfkd.compression import flatbuffer
from tfkd.compression.file_seal import HASH_BYTES, MARK, METADATA_NAME, check_seal, sealed
from tfkd.compression.litert import LiteRTModel
from tfkd.errors import ArtifactError
from tfkd.models.without_encoder import build_cnn

TEXTS = texts_of_words(10, 8)
REMEDY = "Write it again with `tfkd export --overwrite`."


@pytest.fixture(scope="module")
def classifier():
    return classifier_of(spread_out(build_cnn(60, 3, width=8, filters=6)))


@pytest.fixture(scope="module")
def folder(classifier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "student"
    classifier.save(folder)
    convert_here(folder, ["float32", "dynamic_int8"], (12,), folder)
    return folder


@pytest.fixture(scope="module")
def content(folder):
    return (folder / "float32.tflite").read_bytes()


def alone(content, folder):
    path = folder / "alone.tflite"
    path.write_bytes(content)
    return path


def refusal(path, received="another content"):
    return exactly(f"Expected {path} as tfkd wrote it. Received: {received}. {REMEDY}")


def test_hash_is_of_all_other_bytes(content, tmp_path):
    assert content.count(MARK) == 1
    assert sealed(content) == content
    start = content.index(MARK) + len(MARK)
    blank = content[:start] + bytes(HASH_BYTES) + content[start + HASH_BYTES :]
    assert blank != content
    assert sealed(blank) == content
    check_seal(alone(content, tmp_path))
    # Near the start, so that a file cut short keeps it.
    assert start < 0.3 * len(content)


def test_file_answers_as_before(content, tmp_path):
    without = flatbuffer.read(content)
    without.metadata = [m for m in without.metadata if m.name.decode() != METADATA_NAME]
    plain = alone(flatbuffer.write(without), tmp_path)
    inputs = {name: np.ones((1, 12), np.int32) for name in ("token_ids", "padding_mask")}
    logits = [
        Interpreter(model_content=file).get_signature_runner("tokens_12")(**inputs)["logits"]
        for file in (content, plain.read_bytes())
    ]
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize("again", [False, True], ids=["in place", "written by another program"])
def test_last_layers_rows_in_another_order_are_noticed(again, content, tmp_path):
    model = flatbuffer.read(content)
    layer = model.subgraphs[0].operators[-1]
    kernel = model.buffers[model.subgraphs[0].tensors[layer.inputs[1]].buffer]
    rows = np.frombuffer(bytes(kernel.data), np.float32).reshape(3, -1)
    turned = np.ascontiguousarray(rows[::-1]).tobytes()
    if again:
        kernel.data = turned
        changed = flatbuffer.write(model)
    else:
        changed = content.replace(rows.tobytes(), turned)
    path = alone(changed, tmp_path)
    with pytest.raises(ArtifactError, match=refusal(path)):
        LiteRTModel(path)


def test_every_bit_that_is_flipped_is_noticed_or_is_none_of_the_answer(content, tmp_path):
    """Those of the mark itself, and of its name: the rest is as it was."""
    random = np.random.default_rng(0)
    start = content.index(MARK)
    places = [*random.integers(0, len(content), 60).tolist(), start, start + 5]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        path = alone(bytes(changed), tmp_path)
        with pytest.raises(ArtifactError, match=refusal(path)):
            check_seal(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_file_cut_short_is_noticed(share, content, tmp_path):
    path = alone(content[: int(share * len(content))], tmp_path)
    with pytest.raises(ArtifactError, match=refusal(path)):
        LiteRTModel(path)


def test_files_of_others_are_taken_as_they_are(content, tmp_path):
    model = flatbuffer.read(content)
    model.metadata = [m for m in model.metadata if m.name.decode() != METADATA_NAME]
    for buffer in model.buffers:
        if buffer.data is not None and MARK in bytes(buffer.data):
            buffer.data = None
    assert LiteRTModel(alone(flatbuffer.write(model), tmp_path)).lengths == (12,)


def test_record_tells_a_file_of_another_recipe(folder, tmp_path):
    """Whole by itself, but not what the folder says."""
    copy = shutil.copytree(folder, tmp_path / "student")
    path = copy / "float32.tflite"
    shutil.copy(copy / "dynamic_int8.tflite", path)
    with pytest.raises(ArtifactError, match=refusal(path)):
        LiteRTModel(path)
    assert LiteRTModel(alone(path.read_bytes(), tmp_path)).lengths == (12,)


def test_record_that_was_changed_is_named(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "student")
    record = copy / "float32.json"
    record.write_text(record.read_text().replace("lean", "plain"))
    with pytest.raises(ArtifactError, match=refusal(record)):
        LiteRTModel(copy / "float32.tflite")
    record.write_text("")
    message = f"Expected JSON in {record}. Received: an empty file. {REMEDY}"
    with pytest.raises(ArtifactError, match=exactly(message)):
        LiteRTModel(copy / "float32.tflite")


def test_file_of_a_former_model_is_named(folder, classifier, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "student")
    record = copy / "float32.json"
    mark = artifacts.read_json(copy / "classifier.json")["model_sha256"]
    artifacts.write_record(record, {"model_sha256": mark}, ["float32.tflite"])
    assert LiteRTModel(copy / "float32.tflite").lengths == (12,)
    classifier_of(build_cnn(60, 3, width=8, filters=4)).save(copy)
    message = (
        f"Expected {copy / 'float32.tflite'} to be made from the model beside it. Received: one "
        f"of another model. {REMEDY}"
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        LiteRTModel(copy / "float32.tflite")


def test_a_line_lost_from_the_vocabulary_is_noticed(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "student")
    words = copy / "tokenizer" / "vocabulary.txt"
    lines = words.read_text().splitlines(keepends=True)
    words.write_text("".join(lines[:20] + lines[21:]))
    with pytest.raises(
        ArtifactError, match=f"^Expected {words} as tfkd wrote it. Received: another"
    ):
        LiteRTModel(copy / "float32.tflite").predict(TEXTS)
    # Without the folder's own list, too.
    (copy / "classifier.json").unlink()
    with pytest.raises(
        ArtifactError, match=f"^Expected {words} as tfkd wrote it. Received: another"
    ):
        LiteRTModel(copy / "float32.tflite").predict(TEXTS)


def test_a_whole_tokenizer_of_another_model_is_noticed(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "student")
    other = classifier_of(build_cnn(60, 3, width=8, filters=6), [*WORDS[2:], "oil"] * 3)
    other.tokenizer.save(copy / "tokenizer")
    with pytest.raises(
        ArtifactError, match=f"^Expected {copy}/tokenizer/.+ Received: another cont"
    ):
        LiteRTModel(copy / "float32.tflite").predict(TEXTS)
