"""Tensors of safetensors files: types, several files, what is damaged."""

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.hugging_face import write_json
from tfkd.errors import ModelError
from tfkd.models.weights import Weights

VALUES = np.array([[0.5, -2.0], [1.5, 3.0]], np.float32)


def refusal(folder):
    with pytest.raises(ModelError, match="^Expected ") as caught:
        Weights.of(folder)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_float_is_read_as_float32(dtype, tmp_path):
    save_file({"a": VALUES.astype(dtype)}, tmp_path / "model.safetensors")
    weights = Weights.of(tmp_path)
    assert (list(weights), weights.shape("a"), weights.shape("b")) == (["a"], (2, 2), None)
    assert weights.read("a").dtype == np.float32
    np.testing.assert_array_equal(weights.read("a"), VALUES)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_])
def test_rounded_weights_are_refused(dtype, tmp_path):
    save_file({"a": VALUES.astype(dtype)}, tmp_path / "model.safetensors")
    kind = {np.int8: "I8", np.uint8: "U8", np.bool_: "BOOL"}[dtype]
    assert refusal(tmp_path) == (
        f"Expected weights of F64, F32, F16, BF16 in {tmp_path}. Received: a of {kind}. Give the "
        "model as it was before it was quantized."
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(value, tmp_path):
    save_file({"a": np.full(3, value, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="^Expected finite weights in") as caught:
        Weights.of(tmp_path).read("a")
    assert str(caught.value) == (
        f"Expected finite weights in {tmp_path}/model.safetensors. Received: NaN or infinity in a. "
        "Give a model that was trained to its end."
    )


def test_old_names_of_normalizations(tmp_path):
    names = ("x.LayerNorm.gamma", "x.LayerNorm.beta", "x.gamma")
    save_file({name: VALUES for name in names}, tmp_path / "model.safetensors")
    assert sorted(Weights.of(tmp_path)) == ["x.LayerNorm.bias", "x.LayerNorm.weight", "x.gamma"]


def test_several_files_by_their_index(tmp_path):
    save_file({"a": VALUES, "stale": VALUES}, tmp_path / "1.safetensors")
    save_file({"b": 2 * VALUES}, tmp_path / "2.safetensors")
    index = {"a": "1.safetensors", "b": "2.safetensors"}
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": index})
    weights = Weights.of(tmp_path)
    assert sorted(weights) == ["a", "b"]
    np.testing.assert_array_equal(weights.read("b"), 2 * VALUES)
    (tmp_path / "2.safetensors").unlink()
    assert refusal(tmp_path) == (
        f"Expected {tmp_path}/2.safetensors, which model.safetensors.index.json names. It does not "
        "exist. Copy or fetch the whole folder."
    )


@pytest.mark.parametrize(
    "index, received",
    [
        ([], "Expected a JSON object in {path}. Received: []."),
        ({}, "Expected `weight_map`, from tensors to files, in {path}. Received: other JSON. "),
        ({"weight_map": {"a": 3}}, "Expected `weight_map`, from tensors to files, in {path}. "),
    ],
)
def test_index_of_another_shape(index, received, tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    write_json(path, index)
    assert refusal(tmp_path).startswith(received.format(path=path))


@pytest.mark.parametrize("content", [b"", b"\x10", b"\xff" * 40, b"\x02" + bytes(7) + b"{}x"])
def test_file_that_is_no_safetensors(content, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    message = refusal(tmp_path)
    assert message.startswith(f"Expected whole weights in {path}. They cannot be read: ")
    assert message.endswith(" Copy or fetch the file again.")
