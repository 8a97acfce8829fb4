"""The Open Inference Protocol as functions: tensors to texts, scores to tensors, refusals."""

import json

import numpy as np
import pytest

import tfkd
from tests.messages import exactly
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.serving import open_inference
from tfkd.serving.contract import Refusal, RequestLimits, ServedModel

LABELS = ("weather", "sport", "politics")
SINGLE = ServedModel("news", SINGLE_LABEL, LABELS, version="7")
MULTI = ServedModel("news", MULTI_LABEL, LABELS, thresholds=(0.8, 0.2, 0.5))
PAIRS = ServedModel("pairs", REGRESSION, ("score",), num_texts=2)
LIMITS = RequestLimits(texts=3, text_characters=5)
SCORES = np.array([[0.25, 0.625, 0.125], [0.5, 0.25, 0.25]], np.float32)


def tensor(data, shape, **other):
    return {"name": "text", "datatype": "BYTES", "shape": shape, "data": data, **other}


def read(value, model=SINGLE):
    return open_inference.infer_request(json.dumps(value).encode(), model, LIMITS)


@pytest.mark.parametrize(
    ("model", "data", "shape", "texts"),
    [
        (SINGLE, ["rain", "goal"], [2], ["rain", "goal"]),
        (SINGLE, ["rain", "goal"], [2, 1], ["rain", "goal"]),
        (SINGLE, [["rain"], ["goal"]], [2, 1], ["rain", "goal"]),
        (PAIRS, [["rain", "goal"], ["a", "b"]], [2, 2], [("rain", "goal"), ("a", "b")]),
        (PAIRS, ["rain", "goal", "a", "b"], [2, 2], [("rain", "goal"), ("a", "b")]),
    ],
)
def test_texts_of_a_tensor(model, data, shape, texts):
    value = {"id": "7", "inputs": [tensor(data, shape, parameters={"content_type": "str"})]}
    assert read(value, model) == (texts, value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "Expected an object with inputs. Received: a list."),
        ({}, "Expected from 1 to 1 different inputs. Received: 0."),
        ({"inputs": ["rain"]}, "Expected inputs to be a list of tensors with names. Received"),
        ({"inputs": [tensor(["a"], [1])] * 2}, "Expected from 1 to 1 different inputs. Received"),
        ({"inputs": [tensor(["a"], [1])], "id": 7}, "Expected id to be a string."),
        ({"inputs": [tensor(["a"], [1], name="x")]}, "Expected an input text of datatype BYTES."),
        ({"inputs": [tensor([1], [1], datatype="FP32")]}, "Expected an input text of datatype"),
        ({"inputs": [tensor(["a"], [True])]}, "Expected an input of shape [n]. Received another."),
        ({"inputs": [tensor(["a"], [1, 2])]}, "Expected an input of shape [n]. Received another."),
        ({"inputs": [tensor(["a"], [])]}, "Expected an input of shape [n]. Received another."),
        ({"inputs": [tensor(["a"], None)]}, "Expected an input of shape [n]. Received another."),
        ({"inputs": [tensor("a", [1])]}, "Expected data of the input to be a list."),
        (
            {"inputs": [tensor(["a"], [10**4000, 1])]},
            "Expected as many values in data as the shape says. Received: 1.",
        ),
        ({"inputs": [tensor([1], [1])]}, "Expected text in inputs[0].data[0]. Received: a number."),
        ({"inputs": [tensor([], [0])]}, "Expected from 1 to 3 texts in inputs[0].data."),
        ({"inputs": [tensor(["goals "], [1])]}, "Expected texts of at most 5 characters."),
        (
            {"inputs": [tensor(["a"], [1], parameters=[])]},
            "Expected parameters of inputs[0] to be an object. Received another.",
        ),
        (
            {"inputs": [tensor(["a"], [1])], "parameters": {"binary_data_output": True}},
            "Expected tensors in JSON alone. Received: binary data for the request.",
        ),
        (
            {"inputs": [tensor(["a"], [1])], "outputs": [{"name": "logits"}]},
            "Expected outputs among scores, label. Received another.",
        ),
        (
            {"inputs": [tensor(["a"], [1])], "outputs": [{"name": "label"}] * 2},
            "Expected from 0 to 2 different outputs. Received: 2.",
        ),
        (
            {
                "inputs": [tensor(["a"], [1])],
                "outputs": [{"name": "label", "parameters": {"classification": 1}}],
            },
            "Expected classification to be a number of labels, for scores.",
        ),
    ],
)
def test_what_does_not_fit_is_refused(value, message):
    with pytest.raises(Refusal, match=exactly(message)[:-1]) as refused:
        read(value)
    assert refused.value.status == 400


def test_a_pair_needs_its_shape():
    with pytest.raises(Refusal, match=r"^Expected an input of shape \[n, 2\]\. Received another"):
        read({"inputs": [tensor(["a", "b"], [2])]}, PAIRS)


def test_an_answer_has_all_outputs_and_the_id():
    assert open_inference.infer_answer(SCORES, SINGLE, {"id": "x"}) == {
        "model_name": "news",
        "model_version": "7",
        "id": "x",
        "outputs": [
            {
                "name": "scores",
                "datatype": "FP32",
                "shape": [2, 3],
                "data": [0.25, 0.625, 0.125, 0.5, 0.25, 0.25],
            },
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["sport", "weather"]},
        ],
    }


def test_an_answer_has_the_outputs_that_were_asked_for():
    asked = {"outputs": [{"name": "decisions", "parameters": {"binary_data": False}}]}
    answer = open_inference.infer_answer(SCORES, MULTI, asked)
    assert answer["outputs"] == [
        {
            "name": "decisions",
            "datatype": "BOOL",
            "shape": [2, 3],
            "data": [False, True, False, False, True, False],
        }
    ]
    asked = {"outputs": [{"name": "scores", "parameters": {"classification": 2}}]}
    (best,) = open_inference.infer_answer(SCORES, SINGLE, asked)["outputs"]
    assert best == {
        "name": "scores",
        "datatype": "BYTES",
        "shape": [2, 2],
        "data": [
            "0.625000:1:sport",
            "0.250000:0:weather",
            "0.500000:0:weather",
            "0.250000:1:sport",
        ],
    }


def test_a_regression_has_scores():
    answer = open_inference.infer_answer(np.array([[0.5], [-2.0]], np.float32), PAIRS, {})
    assert answer["outputs"] == [
        {"name": "scores", "datatype": "FP32", "shape": [2, 1], "data": [0.5, -2.0]}
    ]


def test_metadata_names_what_is_asked_and_answered():
    assert open_inference.server_metadata() == {
        "name": "tfkd",
        "version": tfkd.__version__,
        "extensions": ["classification"],
    }
    assert open_inference.model_metadata(SINGLE, ["7", "6"]) == {
        "name": "news",
        "versions": ["7", "6"],
        "platform": "litert",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
    }
    pairs = open_inference.model_metadata(PAIRS, ["1"])
    assert pairs["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1, 2]}]
    assert pairs["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1, 1]}]
