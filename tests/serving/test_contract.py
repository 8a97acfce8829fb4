"""TensorFlow Serving's contract as functions: bodies to texts, logits to answers, refusals."""

import json
import math

import numpy as np
import pytest

from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.serving import contract
from tfkd.serving.contract import Refusal, RequestLimits, ServedModel

LABELS = ("weather", "sport")
SINGLE = ServedModel("news", SINGLE_LABEL, LABELS)
MULTI = ServedModel("news", MULTI_LABEL, LABELS, thresholds=(0.8, 0.2))
PAIRS = ServedModel("pairs", REGRESSION, ("score",), num_texts=2)
SCORE = ServedModel("score", REGRESSION, ("score",))
LIMITS = RequestLimits(texts=3, text_characters=5)
# Logits of ln 3 and 0: three to one.
LOGITS = np.array([[math.log(3), 0.0], [0.0, math.log(3)]], np.float32)


def body(value):
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("request_value", "texts", "by_columns"),
    [
        ({"instances": ["rain", "goal"]}, ["rain", "goal"], False),
        ({"instances": [{"text": "rain"}, "goal"]}, ["rain", "goal"], False),
        ({"inputs": ["rain", "goal"]}, ["rain", "goal"], True),
        ({"inputs": {"text": ["rain"]}}, ["rain"], True),
        ({"instances": ["rain"], "signature_name": "predict"}, ["rain"], False),
        ({"inputs": ["rain"], "signature_name": "serving_default"}, ["rain"], True),
        ({"instances": ["rain"], "signature_name": ""}, ["rain"], False),
        # "rain", "ü" and nothing as UTF-8 in Base64.
        ({"instances": [{"b64": "cmFpbg=="}, "goal"]}, ["rain", "goal"], False),
        ({"instances": [{"text": {"b64": "w7w="}}]}, ["ü"], False),
        ({"inputs": {"text": ["rain", {"b64": ""}]}}, ["rain", ""], True),
        ({"instances": ["", "\U0001f600", "ü漢"]}, ["", "\U0001f600", "ü漢"], False),
    ],
)
def test_texts_of_a_predict_request(request_value, texts, by_columns):
    found = contract.predict_request(body(request_value), SINGLE, LIMITS)
    assert found == (texts, by_columns)


@pytest.mark.parametrize(
    ("request_value", "by_columns"),
    [
        ({"instances": [["rain", "goal"], {"text": ["a", "b"]}]}, False),
        ({"inputs": [["rain", "goal"], ["a", "b"]]}, True),
        ({"inputs": {"text": [["rain", "goal"], ["a", "b"]]}}, True),
    ],
)
def test_pairs_of_a_predict_request(request_value, by_columns):
    found = contract.predict_request(body(request_value), PAIRS, LIMITS)
    assert found == ([("rain", "goal"), ("a", "b")], by_columns)


@pytest.mark.parametrize(
    ("model", "method"), [(SINGLE, "classify"), (MULTI, "classify"), (SCORE, "regress")]
)
@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ({"examples": [{"text": "rain"}, {"text": "goal"}]}, ["rain", "goal"]),
        # A feature may be a list of values, and a value may be in Base64.
        ({"examples": [{"text": ["rain"]}, {"text": {"b64": "Z29hbA=="}}]}, ["rain", "goal"]),
        # What the model does not read is passed over.
        ({"examples": [{"text": "rain", "id": 7}], "context": {"user": ["a"]}}, ["rain"]),
        ({"examples": [{}, {"id": 7}], "context": {"text": "rain"}}, ["rain", "rain"]),
        ({"examples": [{"text": "rain"}], "context": {}}, ["rain"]),
    ],
)
def test_texts_of_examples(model, method, value, texts):
    for name in ({}, {"signature_name": method}, {"signature_name": "serving_default"}):
        sent = body({**value, **name})
        assert contract.examples_request(sent, model, LIMITS, method) == texts


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "Expected a JSON object. Received: Expecting value: line 1 column 1 (char 0)."),
        (
            b'{"instances": ["caf\xe9"]}',
            "Expected a JSON object. Received: 'utf-8' codec can't decode byte 0xe9 in position "
            "19: invalid continuation byte.",
        ),
        (b"[1]", "Expected an object with instances or inputs. Received: a list."),
        (b"{}", "Expected one of instances or inputs. Received: neither."),
        (
            b'{"instances": ["a"], "inputs": ["a"]}',
            "Expected one of instances or inputs. Received: instances, inputs.",
        ),
        (
            b'{"texts": ["a"]}',
            "Expected instances or inputs and signature_name. Received: 'texts'.",
        ),
        (
            b'{"inputs": ["a"], "signature_name": "classify"}',
            "Expected signature_name serving_default or predict. Received another.",
        ),
        (
            b'{"inputs": ["a"], "signature_name": []}',
            "Expected signature_name serving_default or predict. Received another.",
        ),
        (b'{"instances": "a"}', "Expected instances to be a list. Received: a string."),
        (b'{"inputs": null}', "Expected inputs to be a list. Received: null."),
        (b'{"inputs": {"text": "a"}}', "Expected inputs to be a list. Received: a string."),
        (
            b'{"inputs": {"words": ["a"]}}',
            'Expected inputs to be {"text": ...}. Received: other keys.',
        ),
        (
            b'{"instances": ["a", {"text": "a", "id": 1}]}',
            'Expected instances[1] to be {"text": ...}. Received: other keys.',
        ),
        (b'{"instances": []}', "Expected from 1 to 3 texts in instances. Received: 0."),
        (
            b'{"instances": ["a", "b", "c", "d"]}',
            "Expected from 1 to 3 texts in instances. Received: 4.",
        ),
        (b'{"instances": ["a", 1.5]}', "Expected text in instances[1]. Received: a number."),
        (b'{"instances": [["a"]]}', "Expected text in instances[0]. Received: a list."),
        (b'{"inputs": ["a", true]}', "Expected text in inputs[1]. Received: true or false."),
        (
            b'{"instances": [{"b64": "rain!"}]}',
            "Expected UTF-8 in Base64 in instances[0]. Received: Only base64 data is allowed.",
        ),
        (
            b'{"inputs": ["a", {"b64": "/w=="}]}',
            "Expected UTF-8 in Base64 in inputs[1]. Received: 'utf-8' codec can't decode byte 0xff "
            "in position 0: invalid start byte.",
        ),
        (
            b'{"inputs": ["a", {"b64": 1}]}',
            "Expected a string as b64 in inputs[1]. Received: a number.",
        ),
        (
            b'{"inputs": ["a", {"b64": "", "x": 1}]}',
            "Expected text in inputs[1]. Received: an object.",
        ),
        # As TensorFlow Serving's JSON parser.
        (
            rb'{"instances": ["a", "\ud83d"]}',
            "Expected Unicode in instances[1]. Received: half a surrogate pair.",
        ),
        (
            b'{"instances": ["abcde", "abcdef"]}',
            "Expected texts of at most 5 characters. Received: instances[1] with 6.",
        ),
    ],
)
def test_a_predict_request_that_does_not_fit_is_refused(sent, message):
    with pytest.raises(Refusal, match="^Expected") as caught:
        contract.predict_request(sent, SINGLE, LIMITS)
    assert (caught.value.status, str(caught.value)) == (400, message)


def test_a_body_nested_too_deep_is_refused():
    with pytest.raises(Refusal, match="Expected a JSON object. Received: maximum recursion depth"):
        contract.predict_request(b"[" * 100_000, SINGLE, LIMITS)


def test_a_number_too_long_is_refused():
    with pytest.raises(Refusal, match="Expected a JSON object. Received: Exceeds the limit"):
        contract.predict_request(b'{"instances": [' + b"1" * 5000 + b"]}", SINGLE, LIMITS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("rain", "Expected instances[0] to be a list of 2 texts. Received: a string."),
        (["rain"], "Expected instances[0] to be a list of 2 texts. Received: 1."),
        (["rain", None], "Expected text in instances[0]. Received: null."),
        (["rain", "abcdef"], "Expected texts of at most 5 characters. Received: instances[0] with"),
    ],
)
def test_what_is_no_pair_is_refused(value, message):
    with pytest.raises(Refusal, match="^Expected") as caught:
        contract.predict_request(body({"instances": [value]}), PAIRS, LIMITS)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["rain"], 'Expected examples[0] to be {"text": ...}. Received: a string.'),
        ([{"words": "rain"}], 'Expected examples[0] to be {"text": ...}. Received: other keys.'),
        ({"text": "rain"}, "Expected examples to be a list. Received: an object."),
        ([{"text": ["a", "b"]}], "Expected text in examples[0]. Received: a list."),
        ([{"text": "a", "id": 1}, {"id": 2}], 'examples[1] to be {"text": ...}. Received: other k'),
    ],
)
def test_examples_that_do_not_fit_are_refused(value, message):
    with pytest.raises(Refusal, match="^Expected") as caught:
        contract.examples_request(body({"examples": value}), SINGLE, LIMITS)
    assert caught.value.status == 400
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"examples": [{"text": "a"}], "context": {"text": "b"}},
            "Expected text in context or in examples[0]. Received: both.",
        ),
        (
            {"examples": [{"text": "a"}], "context": ["b"]},
            "Expected context to be an object. Received: a list.",
        ),
        ({"context": {"text": "a"}}, "Expected one of examples. Received: context."),
        (
            {"examples": [{"text": "a"}], "contexts": {}},
            "Expected examples and context and signature_name. Received: 'contexts'.",
        ),
        (
            {"examples": [{"text": "a"}], "signature_name": "regress"},
            "Expected signature_name serving_default or classify. Received another.",
        ),
    ],
)
def test_a_context_that_does_not_fit_is_refused(value, message):
    with pytest.raises(Refusal, match="^Expected") as caught:
        contract.examples_request(body(value), SINGLE, LIMITS)
    assert (caught.value.status, str(caught.value)) == (400, message)


@pytest.mark.parametrize(
    ("model", "method", "message"),
    [
        (PAIRS, "classify", "Expected :predict or :regress for a model without classes. "),
        (MULTI, "regress", "Expected :predict or :classify for a model of classes. "),
    ],
)
def test_a_method_of_another_task_is_refused(model, method, message):
    with pytest.raises(Refusal, match=f"^{message}Received :{method}.$"):
        contract.examples_request(b"{}", model, LIMITS, method)


def test_scores_are_those_of_the_task():
    np.testing.assert_allclose(
        contract.scores_of(LOGITS, SINGLE_LABEL), [[0.75, 0.25], [0.25, 0.75]], atol=1e-7
    )
    np.testing.assert_allclose(
        contract.scores_of(LOGITS, MULTI_LABEL), [[0.75, 0.5], [0.5, 0.75]], atol=1e-7
    )
    np.testing.assert_array_equal(contract.scores_of(LOGITS, REGRESSION), LOGITS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL, REGRESSION])
def test_what_is_no_number_is_no_answer(value, task):
    logits = np.array([[1.0, 2.0], [value, 0.0]], np.float32)
    with pytest.raises(
        FloatingPointError, match=r"^Expected finite logits\. Received: NaN or infinity\.$"
    ):
        contract.scores_of(logits, task)


SCORES = np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)


def test_predictions_by_rows_and_by_columns():
    rows = contract.predict_answer(SCORES, SINGLE, by_columns=False)
    assert rows == {
        "predictions": [
            {"scores": [0.75, 0.25], "label": "weather"},
            {"scores": [0.25, 0.75], "label": "sport"},
        ]
    }
    columns = contract.predict_answer(SCORES, SINGLE, by_columns=True)
    assert columns == {
        "outputs": {"scores": [[0.75, 0.25], [0.25, 0.75]], "label": ["weather", "sport"]}
    }


def test_one_output_has_no_name():
    assert contract.predict_answer(SCORES, PAIRS, by_columns=False) == {
        "predictions": [[0.75, 0.25], [0.25, 0.75]]
    }
    assert contract.predict_answer(SCORES, PAIRS, by_columns=True) == {
        "outputs": [[0.75, 0.25], [0.25, 0.75]]
    }


def test_labels_are_given_above_their_thresholds():
    assert contract.predict_answer(SCORES, MULTI, by_columns=False) == {
        "predictions": [
            {"scores": [0.75, 0.25], "decisions": [False, True]},
            {"scores": [0.25, 0.75], "decisions": [False, True]},
        ]
    }
    untuned = ServedModel("news", MULTI_LABEL, LABELS)
    assert contract.predict_answer(SCORES, untuned, by_columns=True) == {
        "outputs": {
            "scores": [[0.75, 0.25], [0.25, 0.75]],
            "decisions": [[True, False], [False, True]],
        }
    }


def test_classification_has_every_label():
    answer = json.loads(json.dumps(contract.classify_answer(SCORES, SINGLE)))
    assert answer == {
        "results": [[["weather", 0.75], ["sport", 0.25]], [["weather", 0.25], ["sport", 0.75]]]
    }


def test_a_regression_is_a_list_of_scores():
    scores = np.array([[0.5], [-2.0]], np.float32)
    assert contract.regress_answer(scores) == {"results": [0.5, -2.0]}


def test_metadata_names_the_signatures_of_the_task():
    def signatures(model):
        value = contract.metadata(model)
        assert value["model_spec"] == {"name": model.name, "signature_name": "", "version": "1"}
        return value["metadata"]["signature_def"]["signature_def"]

    def shape(tensor):
        return [dim["size"] for dim in tensor["tensor_shape"]["dim"]]

    assert list(signatures(SINGLE)) == ["serving_default", "predict", "classify"]
    assert list(signatures(SINGLE)["predict"]["outputs"]) == ["scores", "label"]
    assert list(signatures(MULTI)["predict"]["outputs"]) == ["scores", "decisions"]
    assert shape(signatures(MULTI)["predict"]["outputs"]["decisions"]) == ["-1", "2"]
    assert list(signatures(PAIRS)) == ["serving_default", "predict", "regress"]
    assert shape(signatures(SCORE)["regress"]["outputs"]["outputs"]) == ["-1", "1"]
    assert shape(signatures(SINGLE)["predict"]["inputs"]["text"]) == ["-1"]
    assert shape(signatures(PAIRS)["predict"]["inputs"]["text"]) == ["-1", "2"]
    assert shape(signatures(SINGLE)["classify"]["outputs"]["scores"]) == ["-1", "2"]
