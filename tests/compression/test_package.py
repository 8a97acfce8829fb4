"""Packages are run by another process that never imports tfkd, as their users run them."""

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, softmax

from tests.hard_texts import HARD_TEXTS, character_vocabulary
from tests.toys import byte_pair_tokenizer, spread_out, tiny_backbone, wordpiece_tokenizer
from tfkd.compression import clients, flatbuffer, package_writer
from tfkd.compression.formats import EDGE, FORMATS, KITS, SAVED_MODEL, TEXT_TFLITE, find
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.package import Order, _comparable, _scores, check_package, export_package
from tfkd.compression.parity import check_parity
from tfkd.compression.recipes import RECIPES
from tfkd.errors import ArtifactError, ConfigError, ConversionError, ModelError
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.without_encoder import build_cnn

LENGTH = 16
LABELS = ("money", "sport", "weather")
TEXTS = [text for _, text in HARD_TEXTS]
BYTE_PAIR = byte_pair_tokenizer(LENGTH)
CLIENT = """
import json, sys
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import InterpreterWithCustomOps
from tensorflow_text.core.pybinds import tflite_registrar

text_file, folder, texts = json.load(sys.stdin)
interpreter = InterpreterWithCustomOps(
    model_path=text_file, custom_op_registerers=tflite_registrar.SELECT_TFTEXT_OPS
)
runner = interpreter.get_signature_runner("classify_text")
answers = [runner(text=np.array([text.encode()])) for text in texts]
tflite = {name: np.concatenate([a[name] for a in answers]).tolist() for name in answers[0]}

def example(text):
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))
    return tf.train.Example(features=tf.train.Features(feature={"text": value})).SerializeToString()

signatures = tf.saved_model.load(folder).signatures
inputs = {"serving_default": {"text": texts}, "predict": {"text": texts[:1]},
          "classify": {"inputs": [example(text) for text in texts]}}
served = {}
for name, given in inputs.items():
    answer = signatures[name](**{key: tf.constant(values) for key, values in given.items()})
    served[name] = {key: np.char.decode(v.numpy().astype(bytes)).tolist()
                    if v.dtype == tf.string else v.numpy().tolist() for key, v in answer.items()}
print(json.dumps({"tflite": tflite, "served": served, "tfkd": "tfkd" in sys.modules}))
"""


def bert_tokenizer(lowercase=True):
    rules = {"lowercase": lowercase, "strip_accents": lowercase}
    return wordpiece_tokenizer(character_vocabulary(), LENGTH, **rules)


def encoder(vocabulary_size, family="Bert"):
    sizes = {"num_layers": 2, "max_sequence_length": 32}
    return build_encoder_classifier(tiny_backbone(vocabulary_size, family, **sizes), num_outputs=3)


def classifier(model=None, tokenizer=None, task="single_label", **settings):
    """A student whose logits are as far apart as trained ones."""
    tokenizer = tokenizer or bert_tokenizer()
    keras.utils.set_random_seed(0)
    model = spread_out(model or encoder(tokenizer.vocabulary_size))
    return TextClassifier(model, tokenizer, task, LABELS, **settings)


@pytest.fixture(scope="module")
def student():
    return classifier()


@pytest.fixture(scope="module")
def folder(student, tmp_path_factory):
    path = tmp_path_factory.mktemp("student") / "student"
    student.save(path)
    return path


def written(format_name, folder, target, recipe="float32"):
    package_writer.write(
        {
            "format": format_name,
            "recipe": recipe,
            "length": LENGTH,
            "model_folder": str(folder),
            "target": str(target),
            "calibration": None,
        }
    )
    return target


@pytest.fixture(scope="module")
def saved_model(folder, tmp_path_factory):
    return written(SAVED_MODEL, folder, tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def answers(folder, saved_model, tmp_path_factory):
    """What the other process gets from the text-tflite file and from the SavedModel."""
    text_file = tmp_path_factory.mktemp("text") / "text.tflite"
    written(TEXT_TFLITE, folder, text_file)
    job = json.dumps([str(text_file), str(saved_model), TEXTS])
    command = [sys.executable, "-c", CLIENT]
    done = subprocess.run(command, input=job, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found.pop("tfkd")
    return found


def test_a_tflite_file_of_text_gives_the_tokens_and_scores_of_the_student(answers, student):
    expected = student.predict(TEXTS)
    assert answers["tflite"]["token_ids"] == student.encode(TEXTS, LENGTH)["token_ids"].tolist()
    np.testing.assert_allclose(answers["tflite"]["scores"], softmax(expected, axis=1), atol=1e-5)
    assert answers["tflite"]["label_index"] == expected.argmax(axis=1).tolist()


def test_a_saved_model_gives_scores_and_labels_of_any_number_of_texts(answers, student):
    expected = softmax(student.predict(TEXTS), axis=1)
    all_texts, one_text = answers["served"]["serving_default"], answers["served"]["predict"]
    np.testing.assert_allclose(all_texts["scores"], expected, atol=1e-5)
    assert all_texts["label"] == [LABELS[index] for index in expected.argmax(axis=1)]
    np.testing.assert_allclose(one_text["scores"], expected[:1], atol=1e-5)


def test_a_server_classifies_examples(answers, student):
    found = answers["served"]["classify"]
    np.testing.assert_allclose(found["scores"], answers["served"]["serving_default"]["scores"])
    assert found["classes"] == [list(LABELS)] * len(TEXTS)


def test_a_server_finds_its_methods(saved_model):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    (graph,) = SavedModel.FromString((saved_model / "saved_model.pb").read_bytes()).meta_graphs
    methods = {name: signature.method_name for name, signature in graph.signature_def.items()}
    methods.pop("__saved_model_init_op")
    assert methods == {
        "serving_default": "tensorflow/serving/predict",
        "predict": "tensorflow/serving/predict",
        "classify": "tensorflow/serving/classify",
    }


def test_a_saved_model_stores_the_weights_once(saved_model, student):
    stored = saved_model / "variables" / "variables.data-00000-of-00001"
    weights = 4 * student.num_parameters
    assert weights <= stored.stat().st_size < weights + 20_000


def test_an_edge_package_is_kept_with_its_record(student, folder, tmp_path):
    order = Order(EDGE, tmp_path / "edge.tflite", length=12)
    package = export_package(order, folder, student, TEXTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edge.json", "edge.tflite"]
    record = json.loads((tmp_path / "edge.json").read_text())
    assert {name: record[name] for name in package.to_dict()} == package.to_dict()
    assert (record["recipe"], record["length"], record["num_texts"]) == (
        "dynamic_int8",
        12,
        len(TEXTS),
    )
    assert record["size_bytes"] == order.path.stat().st_size
    content = order.path.read_bytes()
    assert record["sha256"] == hashlib.sha256(content).hexdigest()
    with zipfile.ZipFile(order.path) as archive:
        assert archive.read("labels.txt").decode().split("\n") == [*LABELS, ""]
        vocabulary = archive.read("vocab.txt").decode().split("\n")
        assert vocabulary == [*student.tokenizer.vocabulary, ""]


def zeroed(content):
    """The file with its largest constant, the token table, set to zero."""
    model = flatbuffer.read(content)
    table = max(
        (bytes(buffer.data) for buffer in model.buffers if buffer.data is not None), key=len
    )
    assert content.count(table) == 1
    return content.replace(table, bytes(len(table)))


def test_a_package_with_a_corrupted_weight_is_refused(student, folder, tmp_path):
    order = Order(EDGE, tmp_path / "edge.tflite", "float32")
    written(EDGE, folder, order.path)
    assert check_package(order, student, TEXTS).report.largest_logit_difference < 1e-4
    order.path.write_bytes(zeroed(order.path.read_bytes()))
    with pytest.raises(
        ConversionError,
        match=r"^Expected from edge\.tflite agreement of at least 0\.999 and log-scores within "
        r"0\.001 of the Keras model's\. Received: agreement 0\.\d+ and largest difference .+ on "
        rf"{len(TEXTS)} texts\. The package was not kept\. Use another recipe\.$",
    ):
        check_package(order, student, TEXTS)


def test_a_package_with_another_vocabulary_is_refused(student, folder, tmp_path):
    path = written(TEXT_TFLITE, folder, tmp_path / "text.tflite")
    words = student.tokenizer.vocabulary
    swapped = [*words[:5], words[6], words[5], *words[7:]]
    other = dataclasses.replace(student, tokenizer=student.tokenizer.with_vocabulary(swapped))
    with pytest.raises(ConversionError, match=r"own tokens\. Received: other tokens for \d+ of 90"):
        check_package(Order(TEXT_TFLITE, path, "float32"), other, TEXTS)


def test_a_package_that_takes_too_long_leaves_nothing(student, folder, tmp_path):
    order = Order(EDGE, tmp_path / "new" / "edge.tflite")
    with pytest.raises(ConversionError, match=r"^Expected edge\.tflite, format edge, .* 0\.2 s\."):
        export_package(order, folder, student, TEXTS, timeout_seconds=0.2)
    assert not list((tmp_path / "new").iterdir())


def test_a_student_without_segments_has_an_edge_package_of_three_inputs(tmp_path):
    tokenizer = bert_tokenizer()
    student = classifier(
        build_cnn(tokenizer.vocabulary_size, 3, width=16, filters=8),
        tokenizer,
        "multi_label",
        thresholds=[0.25, 0.5, 0.1],
    )
    student.save(tmp_path / "student")
    path = written(EDGE, tmp_path / "student", tmp_path / "edge.tflite")
    message = (
        f"Expected a LiteRT file that gives logits. Received: {path}, which gives scores, as t"
    )
    with pytest.raises(ArtifactError, match=f"^{re.escape(message)}hose for MediaPipe do. Write"):
        LiteRTModel(path)
    scores = clients.edge_scores(path, student.encode(TEXTS, LENGTH))
    np.testing.assert_allclose(scores, expit(student.predict(TEXTS)), atol=1e-5)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("thresholds.txt") == b"0.25\n0.5\n0.1\n"
    served = written(SAVED_MODEL, tmp_path / "student", tmp_path / "served")
    answer = tf.saved_model.load(str(served)).signatures["serving_default"](tf.constant(TEXTS))
    assert sorted(answer) == ["decisions", "scores"]
    expected = answer["scores"].numpy() > np.float32([0.25, 0.5, 0.1])
    np.testing.assert_array_equal(answer["decisions"].numpy(), expected)
    assert 0 < expected.mean() < 1


@pytest.mark.slow
def test_byte_pairs_are_served_by_tensorflow(tmp_path):
    model = encoder(BYTE_PAIR.vocabulary_size, "Roberta")
    student = classifier(model, BYTE_PAIR, "regression")
    student.save(tmp_path / "student")
    texts = ["oil", "oil oil oil", "oil " * 40]
    scores = clients.served_scores(
        written(SAVED_MODEL, tmp_path / "student", tmp_path / "served"), texts
    )
    np.testing.assert_allclose(scores, student.predict(texts), atol=1e-5)
    signatures = tf.saved_model.load(str(tmp_path / "served")).signatures
    features = [tf.train.Feature(bytes_list={"value": [text.encode()]}) for text in texts]
    examples = [
        tf.train.Example(features={"feature": {"text": text}}).SerializeToString()
        for text in features
    ]
    found = signatures["regress"](tf.constant(examples))
    np.testing.assert_allclose(found["outputs"], student.predict(texts), atol=1e-5)


@pytest.mark.parametrize(
    ("format_name", "changes", "message"),
    [
        (EDGE, {"num_texts": 2}, "single texts .* Received: one of pairs"),
        (EDGE, {"task": "regression"}, r"classifier for format edge.* --format text-tflite or sav"),
        (EDGE, {"tokenizer": bert_tokenizer(lowercase=False)}, "lower-case vocabulary .* a cased"),
        (EDGE, {"tokenizer": BYTE_PAIR}, "WordPiece .* edge, .* --format saved-model"),
        (TEXT_TFLITE, {"tokenizer": BYTE_PAIR}, "WordPiece .* for format text-tflite"),
    ],
)
def test_a_student_that_a_format_cannot_hold_is_refused(
    student, tmp_path, format_name, changes, message
):
    other = dataclasses.replace(student, **changes)
    with pytest.raises(ModelError, match=rf"^Expected a .*{message}"):
        export_package(Order(format_name, tmp_path / "x.tflite"), tmp_path, other, TEXTS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Order("edgy", Path("x")), r"`format` to be one of edge, .* Did you mean `edge`\?$"),
        (Order(SAVED_MODEL, Path("x"), "int4"), r"one of float32\. Received: recipe='int4'\."),
        (Order(TEXT_TFLITE, Path("x"), "static_int8"), r"one of dynamic_int8, float32, float16"),
        (Order(SAVED_MODEL, Path("x"), length=8), r"the student's own, 16: .* length=8\. Leave"),
        (Order(EDGE, Path("x"), length=17), r"^Expected `lengths` in \[4, 16\]"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_refused(student, tmp_path, order, message):
    with pytest.raises(ConfigError, match=message):
        export_package(order, tmp_path, student, TEXTS)


def test_texts_to_compare_on_are_asked_for(student, tmp_path):
    with pytest.raises(ValueError, match="^Expected at least one text to compare on"):
        export_package(Order(EDGE, tmp_path / "edge.tflite"), tmp_path, student, [])


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_scores_are_compared_on_the_scale_of_logits(task):
    logits = np.array([[2.0, -1.0, 0.5], [-30.0, 8.0, 120.0]], np.float32)
    expected = _comparable(_scores(logits, task), task)
    moved = _comparable(_scores(logits + [[0.0, 0.1, 0.0], [0.0] * 3], task), task)
    report = check_parity(expected, moved, RECIPES["float32"], task)
    # Softmax shares the step among the labels: 0.1 (1 - p) for its own, with p = 0.039.
    step = {"single_label": 0.1 * (1 - 0.0412), "multi_label": 0.1}[task]
    assert report.largest_logit_difference == pytest.approx(step, rel=0.01)
    assert not report.has_nan and not report.passed


def test_every_format_says_what_it_is_and_has_a_recipe():
    assert list(FORMATS) == [EDGE, TEXT_TFLITE, SAVED_MODEL, *KITS]
    assert set(FORMATS[EDGE].recipes) == {name for name, one in RECIPES.items() if not one.trained}
    for form in FORMATS.values():
        assert find(form.name) is form and set(form.recipes) <= set(RECIPES)
        assert form.summary.endswith(".") and form.when_to_use.endswith(".")
