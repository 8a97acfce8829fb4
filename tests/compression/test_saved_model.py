"""SavedModels for the converter, judged by the float32 files that come of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from tests.compression.constants import constants
from tests.toys import spread_out, tiny_backbone
from tfkd.compression import flatbuffer
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.saved_model import SIGNATURE_PREFIX, Route, write_saved_model
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.tokenizers import Tokenizer
from tfkd.models.without_encoder import build_bilstm, build_cnn

VOCABULARY_SIZE, WIDTH, LONGEST = 8000, 32, 64
LENGTHS = (16, LONGEST)
FAMILIES = "BertBackbone, DistilBertBackbone, RobertaBackbone, XLMRobertaBackbone"
TEXTS = [
    "rain",
    "rivers and bridges",
    " ".join(["a long report about rivers and bridges"] * 12),
]
PAIRS = [("rain", "the bank raised its rates"), ("a long report", "bridges and rivers again")]
# No table is wrapped round for negative ids, no mask is made of comparisons and selections.
LEAN_OPERATORS = {
    "ADD",
    "BATCH_MATMUL",
    "CAST",
    "CONV_2D",
    "DIV",
    "FULLY_CONNECTED",
    "GATHER",
    "GELU",
    "MAXIMUM",
    "MEAN",
    "MUL",
    "REDUCE_MAX",
    "RESHAPE",
    "RSQRT",
    "SOFTMAX",
    "SQUARE",
    "SQUARED_DIFFERENCE",
    "STRIDED_SLICE",
    "SUB",
    "SUM",
    "TANH",
    "TRANSPOSE",
}


def small_encoder(family="Bert", pooling="cls"):
    sizes = {"num_layers": 2, "intermediate_dim": 48, "max_sequence_length": 128}
    return build_encoder_classifier(tiny_backbone(VOCABULARY_SIZE, family, **sizes), 3, pooling)


MODELS = {
    "bert": small_encoder,
    "distil_bert": lambda: small_encoder("DistilBert", "mean"),
    "bilstm": lambda: build_bilstm(VOCABULARY_SIZE, 3, width=16, units=8),
    "cnn": lambda: build_cnn(VOCABULARY_SIZE, 3, width=16, filters=8),
}
ROUTES = {
    "bert": Route("lean"),
    "distil_bert": Route("lean"),
    "bilstm": Route("plain", f"bilstm holds no encoder of {FAMILIES}"),
    "cnn": Route("lean"),
}


def classifier(name, num_texts=1, task="single_label"):
    keras.utils.set_random_seed(0)
    return TextClassifier(
        model=spread_out(MODELS[name](), 0.2),
        tokenizer=Tokenizer.learn(TEXTS, 100, LONGEST),
        task=task,
        label_names=("money", "sport", "weather"),
        num_texts=num_texts,
    )


def written(asked, lengths, folder, **settings):
    """The route and the float32 file."""
    route = write_saved_model(asked, lengths, folder / "saved_model", **settings)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / "saved_model"), [f"{SIGNATURE_PREFIX}{length}" for length in lengths]
    )
    path = folder / "float32.tflite"
    path.write_bytes(converter.convert())
    return route, path


@pytest.fixture(scope="module", params=list(MODELS))
def case(request, tmp_path_factory):
    """A student as it is loaded from its folder, the route and the file of two lengths."""
    folder = tmp_path_factory.mktemp(request.param)
    classifier(request.param).save(folder / "student")
    student = TextClassifier.load(folder / "student")
    route, path = written(student, LENGTHS, folder)
    assert route == ROUTES[request.param]
    return student, route, path


def stored(path):
    """Every constant of a file once: shape and bytes."""
    return [(tensor.shape, size_bytes) for tensor, size_bytes in constants(path.read_bytes())]


def operator_names(path, length):
    content = flatbuffer.read(path.read_bytes())
    return [op.name for op in flatbuffer.operators(content, f"{SIGNATURE_PREFIX}{length}")]


def test_every_length_is_the_keras_model_on_padded_and_on_full_rows(case):
    student, _, path = case
    model = LiteRTModel(path, student.tokenizer)
    assert model.lengths == LENGTHS
    for length in LENGTHS:
        arrays = student.encode(TEXTS, length)
        assert arrays["padding_mask"].sum(axis=1).tolist() == [6, 5, length]
        logits = model.predict_encoded(arrays, length)
        # The largest difference of all tests here is 6e-7, at logits up to 1.7.
        np.testing.assert_allclose(logits, student.predict_encoded(arrays), rtol=0, atol=1e-5)


def test_signatures_have_the_inputs_of_the_student_read_or_not(case):
    student, _, path = case
    interpreter = Interpreter(str(path))
    for length in LENGTHS:
        runner = interpreter.get_signature_runner(f"{SIGNATURE_PREFIX}{length}")
        details = runner.get_input_details()
        assert set(details) == set(student.input_names)
        for entry in details.values():
            assert entry["shape"].tolist() == [1, length] and entry["dtype"] is np.int32
        (output,) = runner.get_output_details().items()
        assert output[0] == "logits" and output[1]["shape"].tolist() == [1, 3]


def test_lean_files_hold_lean_operators_in_one_delegated_part(case):
    student, route, path = case
    if route.name == "plain":
        assert not set(operator_names(path, 16)) <= LEAN_OPERATORS
        return
    for length in LENGTHS:
        names = operator_names(path, length)
        assert set(names) <= LEAN_OPERATORS
        # Tokens, and positions where there are any.
        assert names.count("GATHER") == (1 if student.model.name == "cnn" else 2)
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    names = [details["op_name"] for details in interpreter._get_ops_details()]
    assert names.count("DELEGATE") == 1


def test_a_length_more_costs_no_weights(tmp_path):
    student = classifier("bert")
    paths = []
    for lengths in ((LONGEST,), LENGTHS):
        folder = tmp_path / str(len(lengths))
        folder.mkdir()
        paths.append(written(student, lengths, folder)[1])
    one, two = (sum(size for _, size in stored(path)) for path in paths)
    # The numbers of the positions and shapes of reshapes, but no float.
    assert one <= two <= one + 4 * sum(LENGTHS) + 100
    assert paths[1].stat().st_size < 1.05 * paths[0].stat().st_size
    shapes = [shape for shape, _ in stored(paths[1])]
    assert shapes.count((VOCABULARY_SIZE, WIDTH)) == 1
    assert shapes.count((LONGEST, WIDTH)) == 1


def test_the_lean_saved_model_holds_the_weights_once(tmp_path):
    student = classifier("bert")
    write_saved_model(student, LENGTHS, tmp_path)
    size_bytes = sum(path.stat().st_size for path in (tmp_path / "variables").iterdir())
    assert size_bytes < 1.02 * 4 * student.num_parameters


def test_pairs_keep_their_segments(tmp_path):
    student = classifier("bert", num_texts=2)
    route, path = written(student, (32,), tmp_path)
    assert route.name == "lean"
    arrays = student.encode(PAIRS, 32)
    assert arrays["segment_ids"].any(axis=1).all()
    logits = LiteRTModel(path).predict_encoded(arrays, 32)
    np.testing.assert_allclose(logits, student.predict_encoded(arrays), rtol=0, atol=1e-5)
    without = {**arrays, "segment_ids": np.zeros_like(arrays["segment_ids"])}
    assert np.abs(LiteRTModel(path).predict_encoded(without, 32) - logits).max() > 0.01


def test_the_last_layer_whole_has_the_same_answer_and_more_work(tmp_path):
    student = classifier("bert")
    _, path = written(student, (32,), tmp_path, whole_last_layer=True)
    arrays = student.encode(TEXTS, 32)
    logits = LiteRTModel(path).predict_encoded(arrays, 32)
    np.testing.assert_allclose(logits, student.predict_encoded(arrays), rtol=0, atol=1e-5)
    content = flatbuffer.read(path.read_bytes())
    products = [
        operator.outputs[0].shape
        for operator in flatbuffer.operators(content, f"{SIGNATURE_PREFIX}32")
        if operator.name == "FULLY_CONNECTED"
    ]
    assert [shape[0] for shape in products] == [32] * 12 + [1, 1]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("bert", "single_label"),
        ("cnn", "multi_label"),
        ("cnn", "regression"),
    ],
)
def test_scores_are_what_the_task_makes_of_logits(name, task, tmp_path):
    student = classifier(name, task=task)
    write_saved_model(student, (32,), tmp_path, output="scores")
    signature = tf.saved_model.load(str(tmp_path)).signatures[f"{SIGNATURE_PREFIX}32"]
    arrays = student.encode(TEXTS[:1], 32)
    logits = student.predict_encoded(arrays)[0].astype(np.float64)
    expected = {
        "single_label": np.exp(logits) / np.exp(logits).sum(),
        "multi_label": 1 / (1 + np.exp(-logits)),
        "regression": logits,
    }[task]
    scores = signature(**{key: tf.constant(values) for key, values in arrays.items()})
    assert list(scores) == ["scores"]
    np.testing.assert_allclose(scores["scores"][0], expected, rtol=0, atol=1e-5)
