"""The OpenAPI document of a server: its addresses with the names and versions that it serves now.

A test holds it against the routes.
"""

from collections.abc import Iterable, Mapping

import tfkd
from tfkd.data.examples import REGRESSION
from tfkd.serving.contract import TEXT, RequestLimits
from tfkd.serving.models import Models

Json = dict[str, object]
ERRORS = """`{"error": "..."}` says in a line what is wrong: 400 what does not fit, 403 a page or \
a program of elsewhere, 404 another name or version, 405 another method, 408 and 504 too slow, 409 \
what cannot be loaded, 413 too large, 415 another encoding than gzip, 429 a full queue (with \
`Retry-After`), 500 a failure of the model, 503 a server that stops."""
STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
TRUE: Json = {"const": True}
# Addresses without a model, then those of a model: what they are for, and the schema of an answer.
FIXED = {
    "/": ("A page to try the models", "text/html"),
    "/openapi.json": ("This document", "Object"),
    "/healthz": ("Whether the process answers", "Object"),
    "/readyz": ("Whether it takes requests", "Object"),
    "/v2": ("Name, version and extensions of the server", "Server"),
    "/v2/health/live": ("Whether the process answers", "Live"),
    "/v2/health/ready": ("Whether it takes requests", "Ready"),
    "/v2/models": ("Names of the models", "Names"),
    "/metrics": ("Times, queues and batches, for Prometheus", "text/plain"),
}
OF_A_MODEL = {
    "/v1/models/{name}%s": ("Status of the versions", "Status"),
    "/v1/models/{name}%s/metadata": ("Signatures", "Object"),
    "/v2/models/{name}%s": ("Versions, input and outputs", "Model"),
    "/v2/models/{name}%s/ready": ("Whether it takes requests", "Ready"),
}
# The same for what is sent, with the schema of the body between.
SENT = {
    "/v1/models/{name}%s:predict": ("Label and scores of texts", "Predict", "Predictions"),
    "/v1/models/{name}%s:classify": ("Every label with its score", "Examples", "Results"),
    "/v1/models/{name}%s:regress": ("Scores, of a regression", "Examples", "Results"),
    "/v2/models/{name}%s/infer": ("Labels and scores of texts", "Infer", "Inferred"),
}
RELOAD = ("Serve new versions and changed files; this machine's programs alone", "Reloaded")


def openapi(models: Models, limits: RequestLimits, fixed: Iterable[str]) -> Json:
    """OpenAPI 3.1, as plain JSON values; `fixed` are the addresses of `FIXED` that there are."""
    paths: dict[str, Json] = {path: {"get": _operation(*FIXED[path])} for path in fixed}
    paths["/v1/config/reload"] = {"post": _operation(*RELOAD)}
    for part in ("", "/versions/{version}"):
        for path, (summary, schema) in OF_A_MODEL.items():
            parameters = _parameters(models, path, part)
            paths[path % part] = {"get": _operation(summary, schema), "parameters": parameters}
        for path, (summary, body, schema) in SENT.items():
            sent = {"requestBody": {"required": True, "content": _json(body)}}
            operation = {**_operation(summary, schema), **sent}
            if parameters := _parameters(models, path, part):
                paths[path % part] = {"post": operation, "parameters": parameters}
    components: Json = {
        "schemas": _schemas(models, limits),
        "responses": {"Error": {"description": ERRORS, "content": _json("Error")}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "tfkd serve", "version": tfkd.__version__},
        "paths": paths,
        "components": components,
    }


def _operation(summary: str, schema: str) -> Json:
    content = {schema: {"schema": STRING}} if schema.startswith("text/") else _json(schema)
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": content},
            "default": {"$ref": "#/components/responses/Error"},
        },
    }


def _parameters(models: Models, path: str, part: str) -> list[Json]:
    """The name, one of those that answer such requests, and the version if the path has one.

    Nothing if no model answers them.
    """
    versions = list(models)
    if path.endswith((":classify", ":regress")):
        is_regress = path.endswith(":regress")
        versions = [one for one in versions if (one.model.task == REGRESSION) == is_regress]
    known = {"name": {one.model.name: None for one in versions}}
    if part:
        known["version"] = {one.model.version: None for one in versions}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {**STRING, "enum": list(values)},
        }
        for name, values in known.items()
        if values
    ]


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _json(schema: str) -> Json:
    return {"application/json": {"schema": _ref(schema)}}


def _object(required: Iterable[str] = (), **properties: object) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _closed(required: str, **properties: object) -> Json:
    return {**_object([required], **properties), "additionalProperties": False}


def _list(items: Json, at_most: int | None = None) -> Json:
    limits = {"minItems": 1, "maxItems": at_most} if at_most else {}
    return {"type": "array", "items": items, **limits}


def _schemas(models: Models, limits: RequestLimits) -> Mapping[str, Json]:
    text: Json = {
        "anyOf": [
            {**STRING, "maxLength": limits.text_characters},
            _closed("b64", b64={**STRING, "contentEncoding": "base64"}),
        ]
    }
    pair: Json = {"type": "array", "prefixItems": [_ref("Text")] * 2, "minItems": 2, "items": False}
    rows = {
        one.model.num_texts: _ref("Text") if one.model.num_texts == 1 else pair for one in models
    }
    return {
        "Object": {"type": "object"},
        "Error": _object(["error"], error=STRING),
        "Text": text,
        "Row": {"anyOf": list(rows.values())},
        **_requests(limits),
        **_answers(),
    }


def _requests(limits: RequestLimits) -> Mapping[str, Json]:
    row, named = _ref("Row"), _closed(TEXT, **{TEXT: _ref("Row")})
    rows = _list(row, limits.texts)
    instances = _list({"anyOf": [row, named]}, limits.texts)
    inputs = {"anyOf": [rows, _closed(TEXT, **{TEXT: rows})]}
    signature = {"enum": ["", "serving_default", "predict"]}
    tensor = _object(
        ["name", "shape", "datatype", "data"],
        name={"const": TEXT},
        shape={**_list({"type": "integer", "minimum": 1}), "minItems": 1, "maxItems": 2},
        datatype={"const": "BYTES"},
        data={**_list({"anyOf": [STRING, _list(STRING)]}), "minItems": 1},
        parameters=_ref("Object"),
    )
    output = _object(["name"], name=STRING, parameters=_ref("Object"))
    example = _object([TEXT], **{TEXT: row})
    return {
        "Predict": {
            "oneOf": [
                _closed("instances", instances=instances, signature_name=signature),
                _closed("inputs", inputs=inputs, signature_name=signature),
            ]
        },
        "Examples": _closed(
            "examples",
            examples=_list(example, limits.texts),
            context=_ref("Object"),
            signature_name={"enum": ["", "serving_default"]},
        ),
        "Infer": _object(
            ["inputs"],
            id=STRING,
            parameters=_ref("Object"),
            inputs=_list(tensor, 1),
            outputs=_list(output),
        ),
    }


def _answers() -> Mapping[str, Json]:
    names, shape = _list(STRING), _list({"type": "integer"})
    tensor = {"name": STRING, "datatype": STRING, "shape": shape}
    described = _list(_object(tensor, **tensor))
    values = _list(_object([*tensor, "data"], **tensor, data={"type": "array"}))
    state = _object(["version", "state"], version=STRING, state=STRING, status=_ref("Object"))
    columns = {"anyOf": [_list({}), _ref("Object")]}
    return {
        "Predictions": {
            "oneOf": [
                _object(["predictions"], predictions=_list({})),
                _object(["outputs"], outputs=columns),
            ]
        },
        "Results": _object(["results"], results=_list({"anyOf": [NUMBER, _list({})]})),
        "Status": _object(["model_version_status"], model_version_status=_list(state)),
        "Reloaded": _object(["changes", "versions"], changes=names, versions=_ref("Object")),
        "Server": _object(["name", "version"], name=STRING, version=STRING, extensions=names),
        "Live": _object(["live"], live=TRUE),
        "Ready": _object(["ready"], name=STRING, ready=TRUE),
        "Names": _object(["models"], models=names),
        "Model": _object(
            ["name", "platform", "inputs", "outputs"],
            name=STRING,
            versions=names,
            platform=STRING,
            inputs=described,
            outputs=described,
        ),
        "Inferred": _object(
            ["model_name", "model_version", "outputs"],
            model_name=STRING,
            model_version=STRING,
            id=STRING,
            outputs=values,
        ),
    }
