"""The Open Inference Protocol, V2, for a model of texts: what is asked, what is answered.

KServe, Triton and others speak it, too. Like `tfkd.serving.contract` pure functions; tensors are
JSON, never bytes behind it. Of parameters those of Triton's classification extension count:
`{"name": "scores", "parameters": {"classification": 2}}` asks for the two best labels as
"score:index:label".

Reference: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

import tfkd
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Texts
from tfkd.serving import contract
from tfkd.serving.contract import TEXT, Refusal, RequestLimits, ServedModel

CLASSIFICATION = "classification"
# What Triton's clients ask for when their user does not say otherwise.
BINARY = ("binary_data", "binary_data_size", "binary_data_output")


def server_metadata() -> dict[str, object]:
    """The answer to `GET /v2`."""
    return {"name": "tfkd", "version": tfkd.__version__, "extensions": [CLASSIFICATION]}


def model_metadata(model: ServedModel, versions: Sequence[str]) -> dict[str, object]:
    """The answer to a request for a model's metadata: its versions, input and outputs."""
    return {
        "name": model.name,
        "versions": list(versions),
        "platform": "litert",
        "inputs": [_described(TEXT, "BYTES", -1, *_pair(model))],
        "outputs": [
            _described(name, datatype, -1, *shape)
            for name, (datatype, shape) in _outputs(model).items()
        ],
    }


def infer_request(
    body: bytes, model: ServedModel, limits: RequestLimits
) -> tuple[Texts, dict[str, object]]:
    """Texts of the body of an `infer` request, and the request for `infer_answer`.

    Args:
        body: Bytes. `{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data":
            ["..."]}]}`; pairs have shape `[n, 2]`. `data` may be nested or flat, row by row.
        model: `ServedModel`.
        limits: `RequestLimits`.

    Raises:
        Refusal: 400.
    """
    request = contract.json_object(body, "inputs")
    if not isinstance(request.get("id", ""), str):
        raise Refusal(400, "Expected id to be a string. Received another value.")
    _parameters(request, "the request")
    (tensor,) = _tensors(request, "inputs", at_most=1)
    if (tensor["name"], tensor.get("datatype")) != (TEXT, "BYTES"):
        raise Refusal(400, f"Expected an input {TEXT} of datatype BYTES. Received another.")
    outputs = _outputs(model)
    for asked in _tensors(request, "outputs", at_most=len(outputs)):
        if asked["name"] not in outputs:
            raise Refusal(400, f"Expected outputs among {', '.join(outputs)}. Received another.")
        _num_best(asked, model)
    values = _values(tensor, model)
    return contract.texts_of(values, "inputs[0].data", model, limits), request


def infer_answer(
    scores: np.ndarray, model: ServedModel, request: Mapping[str, object]
) -> dict[str, object]:
    """The answer to an `infer` request: the outputs it asks for, by default all."""
    columns, outputs = contract.columns(scores, model), _outputs(model)
    asked = _tensors(request, "outputs", len(outputs)) or [{"name": name} for name in outputs]
    tensors = []
    for one in asked:
        name = one["name"]
        datatype, data = outputs[name][0], np.asarray(columns[name])
        if best := _num_best(one, model):
            datatype, data = "BYTES", np.array([_best(row, model, best) for row in scores])
        shape = list(data.shape)
        tensors.append(
            {"name": name, "datatype": datatype, "shape": shape, "data": data.ravel().tolist()}
        )
    named = {"id": request["id"]} if "id" in request else {}
    return {"model_name": model.name, "model_version": model.version, **named, "outputs": tensors}


def _pair(model: ServedModel) -> tuple[int, ...]:
    return () if model.num_texts == 1 else (model.num_texts,)


def _outputs(model: ServedModel) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Datatype of each output and its shape behind the number of texts."""
    labels = (len(model.label_names),)
    outputs: dict[str, tuple[str, tuple[int, ...]]] = {"scores": ("FP32", labels)}
    if model.task == SINGLE_LABEL:
        outputs["label"] = ("BYTES", ())
    elif model.task == MULTI_LABEL:
        outputs["decisions"] = ("BOOL", labels)
    return outputs


def _described(name: str, datatype: str, *shape: int) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def _tensors(request: Mapping[str, object], key: str, at_most: int) -> list[dict]:
    """Those of the request's list, each with a name of its own and parameters that are known."""
    tensors = request.get(key, [])
    if not isinstance(tensors, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in tensors
    ):
        raise Refusal(400, f"Expected {key} to be a list of tensors with names. Received another.")
    names = {one["name"] for one in tensors}
    at_least = 1 if key == "inputs" else 0
    if not at_least <= len(tensors) <= at_most or len(names) < len(tensors):
        raise Refusal(
            400, f"Expected from {at_least} to {at_most} different {key}. Received: {len(tensors)}."
        )
    for index, one in enumerate(tensors):
        _parameters(one, f"{key}[{index}]")
    return tensors


def _parameters(holder: Mapping[str, object], place: str) -> Mapping[str, object]:
    parameters = holder.get("parameters", {})
    if not isinstance(parameters, dict):
        raise Refusal(400, f"Expected parameters of {place} to be an object. Received another.")
    # False asks for JSON.
    if any(parameters.get(name) for name in BINARY):
        raise Refusal(400, f"Expected tensors in JSON alone. Received: binary data for {place}.")
    return parameters


def _num_best(asked: Mapping[str, object], model: ServedModel) -> int:
    """So many labels are asked for in place of an output; 0 for the output itself."""
    count = _parameters(asked, "an output").get(CLASSIFICATION, 0)
    is_fit = asked["name"] == "scores" and model.task != REGRESSION
    if type(count) is not int or count < 0 or (count and not is_fit):
        raise Refusal(400, f"Expected {CLASSIFICATION} to be a number of labels, for scores.")
    return min(count, len(model.label_names))


def _best(row: np.ndarray, model: ServedModel, count: int) -> list[str]:
    order = np.argsort(-row, kind="stable")[:count].tolist()
    return [f"{row[index]:f}:{index}:{model.label_names[index]}" for index in order]


def _values(tensor: Mapping[str, object], model: ServedModel) -> list[object]:
    """The texts of a tensor, pairs as lists; the shape says how many there are."""
    shape, data, width = tensor.get("shape"), tensor.get("data"), model.num_texts
    # One text may have a dimension of its own, as Triton's clients send it.
    inner = [[width]] if width > 1 else [[], [1]]
    is_shape = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    sizes: list[int] = shape if is_shape else []  # type: ignore[assignment]
    if not sizes or sizes[1:] not in inner:
        expected = f"[n, {width}]" if width > 1 else "[n]"
        raise Refusal(400, f"Expected an input of shape {expected}. Received another.")
    if not isinstance(data, list):
        raise Refusal(400, "Expected data of the input to be a list. Received another.")
    flat = [part for row in data for part in (row if isinstance(row, list) else [row])]
    if len(flat) != math.prod(sizes):
        raise Refusal(
            400, f"Expected as many values in data as the shape says. Received: {len(flat)}."
        )
    return flat if width == 1 else [flat[at : at + width] for at in range(0, len(flat), width)]
