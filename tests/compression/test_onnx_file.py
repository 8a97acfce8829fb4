"""The folder for ONNX Runtime, asked by a process that sees neither tfkd nor TensorFlow."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.special import expit

from tests.compression.test_kits import LABELS, LENGTH, PAIRS, TEXTS, asked, classifier, written
from tests.messages import exactly
from tests.toys import spread_out
from tfkd.compression import onnx_file
from tfkd.compression.formats import ONNX
from tfkd.compression.package import Order, check_package, export_package
from tfkd.compression.recipes import find
from tfkd.errors import ConfigError, ConversionError, ModelError
from tfkd.models.classifier import TextClassifier
from tfkd.models.without_encoder import build_bilstm, build_cnn


@pytest.fixture(scope="module")
def student():
    return classifier()


@pytest.fixture(scope="module")
def kit(student, tmp_path_factory):
    """An int8 folder that no test changes."""
    return written(student, tmp_path_factory.mktemp("kit"), ONNX, "dynamic_int8")


def without_encoder(build, **sizes):
    tokenizer = classifier().tokenizer
    model = spread_out(build(tokenizer.vocabulary_size, 3, **sizes))
    return TextClassifier(model, tokenizer, "single_label", LABELS)


def test_it_gives_our_tokens_and_scores_of_pairs(tmp_path):
    student = classifier("multi_label", num_texts=2)
    ids, scores, answers = asked(written(student, tmp_path, ONNX), PAIRS, "onnxruntime")
    # No length is that of a signature: eights, up to the longest text.
    assert {len(row) % 8 for row in ids} == {0} and len({len(row) for row in ids}) > 2
    expected = student.encode(PAIRS, LENGTH)["token_ids"]
    assert [row + [0] * (LENGTH - len(row)) for row in ids] == expected.tolist()
    np.testing.assert_allclose(scores, expit(student.predict(PAIRS)), atol=1e-5)
    given = scores > [0.25, 0.5, 0.1]
    assert [answer["labels"] for answer in answers] == [
        [LABELS[i] for i in np.flatnonzero(row)] for row in given
    ]


def test_int8_tables_and_kernels_are_unsigned(kit):
    """ONNX Runtime adds products of uint8 and int8 in 16 bits where there is no VNNI."""
    graph = onnx.load(kit / "model.onnx").graph
    large = [entry for entry in graph.initializer if np.prod(entry.dims) > 200]
    assert {entry.data_type for entry in large} == {onnx.TensorProto.UINT8}
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulInteger") > 8
    assert "Gemm" not in kinds


def test_int8_passes_the_gate_and_a_file_of_other_weights_does_not(student, kit, tmp_path):
    order = Order(ONNX, Path(shutil.copytree(kit, tmp_path / "kit")), "dynamic_int8")
    report = check_package(order, student, TEXTS).report
    assert report.agreement >= 0.98 and 1e-4 < report.worst_difference < 1
    assert list(report.difference_by_length) == [32, LENGTH]
    model = onnx.load(order.path / "model.onnx")
    table = max(model.graph.initializer, key=lambda entry: np.prod(entry.dims))
    table.raw_data = bytes(len(table.raw_data))
    onnx.save(model, order.path / "model.onnx")
    with pytest.raises(ConversionError, match="^Expected from kit agreement of at least 0.98 and"):
        check_package(order, student, TEXTS)


@pytest.mark.parametrize("recipe", ["float32", "dynamic_int8"])
def test_a_cnn_passes_the_gate(recipe, tmp_path):
    student = without_encoder(build_cnn, width=16, filters=8)
    order = Order(ONNX, written(student, tmp_path, ONNX, recipe), recipe)
    report = check_package(order, student, TEXTS).report
    assert report.worst_difference < {"float32": 1e-4, "dynamic_int8": 0.5}[recipe]


def test_a_bilstm_has_float32_alone(tmp_path):
    student = without_encoder(build_bilstm, width=8, units=8)
    order = Order(ONNX, written(student, tmp_path, ONNX), "float32")
    assert check_package(order, student, TEXTS).report.worst_difference < 1e-3
    message = (
        "Expected a model without loops for int8 in ONNX. Received: one that reads its tokens in "
        "turn, as LSTMs do. Use --recipe float32"
    )
    with pytest.raises(ModelError, match=exactly(message)):
        onnx_file.onnx_bytes(student, find("dynamic_int8"), LENGTH)


def test_missing_packages_are_told_before_anything_is_read(student, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    absent = ("tf2onnx", "onnxruntime")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in absent else found(name)
    )
    message = (
        "Expected tf2onnx, onnx and onnxruntime for format onnx. Received: no tf2onnx, no "
        "onnxruntime. Install them with `pip install 'tfkd[onnx]'`."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        export_package(Order(ONNX, tmp_path / "kit"), tmp_path / "none", student, TEXTS)
    assert list(tmp_path.iterdir()) == []
