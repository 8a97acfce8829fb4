"""TensorFlow Serving's REST contract for one model of texts: what is asked, what is answered.

Pure functions from JSON to texts and from logits to JSON; no server in sight. A request that does
not fit is refused with the status and the sentence its sender gets. Answers have the outputs of
`tfkd export --format saved-model`, so a client cannot tell the two servers apart.

Reference: https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import expit, softmax

from tfkd.data.examples import DEFAULT_THRESHOLD, MULTI_LABEL, REGRESSION, SINGLE_LABEL, Texts
from tfkd.data.texts import has_lone_surrogate

# Of a model in a folder without versions.
FIRST_VERSION = "1"
# The name of the one input, and of the feature of an example.
TEXT = "text"
# The key of a string in Base64.
B64 = {"b64"}
PREDICT_SIGNATURES = ("serving_default", "predict")
CLASSIFY, REGRESS = "classify", "regress"
_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
_SCORES = {
    SINGLE_LABEL: lambda logits: softmax(logits, axis=-1),
    MULTI_LABEL: expit,
    REGRESSION: lambda logits: logits,
}


class Refusal(Exception):
    """A request that gets no answer.

    Args:
        status: Integer. HTTP status: 400 for what does not fit the contract, too long texts among
            it, 403 for a browser's page of elsewhere, 404 for another model, 413 for too many
            bytes, 415 for an encoding that is not known, 408 and 504 for too slow ones.
        message: String. One sentence or two for the sender.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """Facts of a model that the contract needs.

    Attributes:
        name: Its name in addresses.
        task: One of `tfkd.data.examples.TASKS`.
        label_names: Names in index order; one for regression.
        num_texts: 1, or 2 for pairs.
        thresholds: Of multi_label: the probability above which a label is given, one for all or
            one a label.
        version: A number.
        sha256: Hash of its file.
    """

    name: str
    task: str
    label_names: tuple[str, ...]
    num_texts: int = 1
    thresholds: float | Sequence[float] = DEFAULT_THRESHOLD
    version: str = FIRST_VERSION
    sha256: str = ""


@dataclasses.dataclass(frozen=True)
class RequestLimits:
    """Limits on the size of one request and on its time.

    Attributes:
        body_bytes: Bytes of the body, compressed or not.
        texts: Texts, or pairs of texts.
        text_characters: Characters of one text.
        timeout_seconds: Until the body is there, and again until it is answered.
    """

    body_bytes: int = 1_000_000
    texts: int = 128
    text_characters: int = 20_000
    timeout_seconds: float = 10.0


def predict_request(body: bytes, model: ServedModel, limits: RequestLimits) -> tuple[Texts, bool]:
    """Texts of the body of a `:predict` request, and whether the answer goes by columns.

    Args:
        body: Bytes. `{"instances": [...]}` with one text, or `{"text": ...}`, a row; or
            `{"inputs": [...]}` or `{"inputs": {"text": [...]}}`, by columns. A pair is a list of
            two strings. A string may be `{"b64": "..."}`, its UTF-8 bytes in Base64.
        model: `ServedModel`.
        limits: `RequestLimits`.

    Raises:
        Refusal: 400.

    Example:

    >>> predict_request(b'{"instances": ["Oil prices fell."]}', model, RequestLimits())
    (['Oil prices fell.'], False)
    """
    request = _request(body, ("instances", "inputs"), PREDICT_SIGNATURES)
    if "inputs" in request:
        values = request["inputs"]
        if isinstance(values, dict):
            values = _named(values, "inputs")
        return texts_of(values, "inputs", model, limits), True
    rows = request["instances"]
    if isinstance(rows, list):
        rows = [
            _named(row, f"instances[{index}]")
            if isinstance(row, dict) and row.keys() != B64
            else row
            for index, row in enumerate(rows)
        ]
    return texts_of(rows, "instances", model, limits), False


def examples_request(
    body: bytes, model: ServedModel, limits: RequestLimits, method: str = CLASSIFY
) -> Texts:
    """Texts of the body of a `:classify` or a `:regress` request.

    Args:
        body: Bytes. `{"examples": [{"text": ...}, ...]}`, a text alone or in a list of one. What
            all examples share may stand in `"context": {...}` instead. Features that the model
            does not read are passed over.
        model: `ServedModel`.
        limits: `RequestLimits`.
        method: String. `CLASSIFY` or `REGRESS`.

    Raises:
        Refusal: 400; also when the model answers the other one.

    Example:

    >>> examples_request(b'{"examples": [{"text": "Oil prices fell."}]}', model, RequestLimits())
    ['Oil prices fell.']
    """
    own = REGRESS if model.task == REGRESSION else CLASSIFY
    if method != own:
        what = "without classes" if own == REGRESS else "of classes"
        raise Refusal(400, f"Expected :predict or :{own} for a model {what}. Received :{method}.")
    request = _request(body, ("examples",), ("serving_default", method), ("context",))
    rows, context = request["examples"], request.get("context", {})
    if not isinstance(context, dict):
        raise Refusal(400, f"Expected context to be an object. Received: {_kind(context)}.")
    if isinstance(rows, list):
        rows = [_feature(row, context, index, model) for index, row in enumerate(rows)]
    return texts_of(rows, "examples", model, limits)


def scores_of(logits: np.ndarray, task: str) -> np.ndarray:
    """Probabilities, for regression the score itself: float32, shape `[n, num_outputs]`.

    Raises:
        FloatingPointError: A logit is no finite number, so there is no answer.
    """
    if not np.isfinite(logits).all():
        raise FloatingPointError("Expected finite logits. Received: NaN or infinity.")
    return _SCORES[task](logits)


def predict_answer(scores: np.ndarray, model: ServedModel, by_columns: bool) -> dict[str, object]:
    """The answer to a `:predict` request.

    Returns:
        `predictions`, or `outputs` by columns. For single_label each has `scores` and `label`, for
        multi_label `scores` and `decisions`, true for each label that is given. The one output of
        a regression has no name, as TensorFlow Serving gives it.
    """
    found = columns(scores, model)
    if model.task == REGRESSION:
        return {"outputs" if by_columns else "predictions": found["scores"]}
    if by_columns:
        return {"outputs": found}
    answers = zip(*found.values(), strict=True)
    return {"predictions": [dict(zip(found, answer, strict=True)) for answer in answers]}


def columns(scores: np.ndarray, model: ServedModel) -> dict[str, list[object]]:
    """The outputs of a model by name, a value for each text."""
    found: dict[str, list[object]] = {"scores": scores.tolist()}
    if model.task == SINGLE_LABEL:
        found["label"] = [model.label_names[index] for index in scores.argmax(axis=1)]
    elif model.task == MULTI_LABEL:
        found["decisions"] = (scores > np.asarray(model.thresholds)).tolist()
    return found


def classify_answer(scores: np.ndarray, model: ServedModel) -> dict[str, object]:
    """The answer to a `:classify` request: for each text every label with its score."""
    rows = scores.tolist()
    return {"results": [list(zip(model.label_names, row, strict=True)) for row in rows]}


def regress_answer(scores: np.ndarray) -> dict[str, object]:
    """The answer to a `:regress` request: a score for each text."""
    return {"results": scores[:, 0].tolist()}


def status(versions: Sequence[str], is_stopping: bool) -> dict[str, object]:
    """The answer to a request for the status of a model's versions."""
    state = "UNLOADING" if is_stopping else "AVAILABLE"
    fine = {"error_code": "OK", "error_message": ""}
    found = [{"version": version, "state": state, "status": fine} for version in versions]
    return {"model_version_status": found}


def metadata(model: ServedModel) -> dict[str, object]:
    """The answer to a request for the model's metadata: its signatures."""
    pair = () if model.num_texts == 1 else (model.num_texts,)
    shape = (-1, len(model.label_names))
    outputs = {"scores": _tensor("DT_FLOAT", "scores", *shape)}
    if model.task == SINGLE_LABEL:
        outputs["label"] = _tensor("DT_STRING", "label", -1)
    elif model.task == MULTI_LABEL:
        outputs["decisions"] = _tensor("DT_BOOL", "decisions", *shape)
    predict = {
        "inputs": {TEXT: _tensor("DT_STRING", TEXT, -1, *pair)},
        "outputs": outputs,
        "method_name": "tensorflow/serving/predict",
    }
    signatures: dict[str, object] = dict.fromkeys(PREDICT_SIGNATURES, predict)
    method, found = REGRESS, {"outputs": _tensor("DT_FLOAT", "outputs", *shape)}
    if model.task != REGRESSION:
        classes = _tensor("DT_STRING", "classes", *shape)
        method, found = CLASSIFY, {"classes": classes, "scores": outputs["scores"]}
    signatures[method] = {
        "inputs": {"inputs": _tensor("DT_STRING", "inputs", -1)},
        "outputs": found,
        "method_name": f"tensorflow/serving/{method}",
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": model.version},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _tensor(dtype: str, name: str, *shape: int) -> dict[str, object]:
    # Sizes are strings: so JSON has protocol buffers' 64-bit integers.
    sizes = [{"size": str(size), "name": ""} for size in shape]
    return {
        "dtype": dtype,
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": f"{name}:0",
    }


def _request(
    body: bytes,
    contents: tuple[str, ...],
    signatures: tuple[str, ...],
    optional: tuple[str, ...] = (),
) -> dict[str, object]:
    """The JSON object of a body, with exactly one of the keys in `contents`."""
    known = " or ".join(contents)
    request = json_object(body, known)
    for key in request:
        if key not in (*contents, *optional, "signature_name"):
            keys = " and ".join((known, *optional, "signature_name"))
            raise Refusal(400, f"Expected {keys}. Received: {key[:100]!a}.")
    if sum(key in request for key in contents) != 1:
        received = ", ".join(request) or "neither"
        raise Refusal(400, f"Expected one of {known}. Received: {received}.")
    # Empty is not given, as protocol buffers have it.
    if request.get("signature_name", "") not in ("", *signatures):
        raise Refusal(400, f"Expected signature_name {' or '.join(signatures)}. Received another.")
    return request


def json_object(body: bytes, known: str) -> dict[str, object]:
    """The object of a body.

    Args:
        body: Bytes of JSON.
        known: String. Keys it should have, for the message.

    Raises:
        Refusal: 400.
    """
    try:
        request = json.loads(body)
    # A list in a list in a list, a few thousand times, ends the parser's recursion.
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"Expected a JSON object. Received: {error}.") from error
    if not isinstance(request, dict):
        raise Refusal(400, f"Expected an object with {known}. Received: {_kind(request)}.")
    return request


def _named(value: object, place: str) -> object:
    """The value of the one input."""
    if not isinstance(value, Mapping) or list(value) != [TEXT]:
        received = "other keys" if isinstance(value, Mapping) else _kind(value)
        raise Refusal(400, f'Expected {place} to be {{"{TEXT}": ...}}. Received: {received}.')
    return value[TEXT]


def _feature(row: object, context: Mapping[str, object], index: int, model: ServedModel) -> object:
    """The text of an example, its own or the one that all examples share."""
    place = f"examples[{index}]"
    if isinstance(row, dict) and TEXT in row and TEXT in context:
        raise Refusal(400, f"Expected {TEXT} in context or in {place}. Received: both.")
    features = {**context, **row} if isinstance(row, dict) else row
    # TensorFlow Serving parses the features that a model reads, and no others.
    if isinstance(features, dict) and TEXT in features:
        features = {TEXT: features[TEXT]}
    value = _named(features, place)
    # A feature is a value, or a list of values.
    is_one = model.num_texts == 1 and isinstance(value, list) and len(value) == 1
    return value[0] if is_one else value  # type: ignore[index]


def texts_of(values: object, place: str, model: ServedModel, limits: RequestLimits) -> Texts:
    """Texts, or pairs of texts, of a list.

    Raises:
        Refusal: 400.
    """
    if not isinstance(values, list):
        raise Refusal(400, f"Expected {place} to be a list. Received: {_kind(values)}.")
    if not 1 <= len(values) <= limits.texts:
        raise Refusal(
            400, f"Expected from 1 to {limits.texts} texts in {place}. Received: {len(values)}."
        )
    rows = [
        _row([value] if model.num_texts == 1 else value, f"{place}[{index}]", model, limits)
        for index, value in enumerate(values)
    ]
    return [row[0] for row in rows] if model.num_texts == 1 else rows


def _row(parts: object, place: str, model: ServedModel, limits: RequestLimits) -> tuple[str, ...]:
    if not isinstance(parts, list) or len(parts) != model.num_texts:
        received = f"{len(parts)}" if isinstance(parts, list) else _kind(parts)
        raise Refusal(
            400, f"Expected {place} to be a list of {model.num_texts} texts. Received: {received}."
        )
    return tuple(_text(part, place, limits) for part in parts)


def _text(value: object, place: str, limits: RequestLimits) -> str:
    if isinstance(value, dict) and value.keys() == B64:
        value = _from_base64(value["b64"], place)
    if not isinstance(value, str):
        raise Refusal(400, f"Expected text in {place}. Received: {_kind(value)}.")
    if has_lone_surrogate(value):
        raise Refusal(400, f"Expected Unicode in {place}. Received: half a surrogate pair.")
    if len(value) > limits.text_characters:
        raise Refusal(
            400,
            f"Expected texts of at most {limits.text_characters} characters. Received: "
            f"{place} with {len(value)}.",
        )
    return value


def _from_base64(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise Refusal(400, f"Expected a string as b64 in {place}. Received: {_kind(value)}.")
    try:
        return base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"Expected UTF-8 in Base64 in {place}. Received: {error}.") from error


def _kind(value: object) -> str:
    return _KINDS[type(value)]
