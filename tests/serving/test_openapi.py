"""The published document: every address is in it, and what it says holds for what is answered."""

import http.client
import json
import re
import shutil
import subprocess

import pytest
from starlette.testclient import TestClient

from tests.serving.small_runs import small_classifier, small_run
from tests.serving.test_app import LIMITS, MODEL, One, Words
from tests.serving.test_reload import process
from tfkd.serving.app import build_app
from tfkd.serving.batcher import QueueLimits
from tfkd.serving.contract import ServedModel
from tfkd.serving.models import Models

SCORE = ServedModel("score", "regression", ("score",), num_texts=2, version="1")
SCHEMATHESIS = shutil.which("schemathesis")


@pytest.fixture(scope="module")
def app():
    models = Models([One(MODEL, Words()), One(SCORE, Words())], QueueLimits())
    return build_app(models, LIMITS)


@pytest.fixture(scope="module")
def document(app):
    with TestClient(app) as client:
        return client.get("/openapi.json").json()


def test_every_route_is_in_it_and_no_other(app, document):
    routes = {
        (route.path, method.lower()) for route in app.routes for method in route.methods - {"HEAD"}
    }
    described = {
        (path, method)
        for path, operations in document["paths"].items()
        for method in operations.keys() - {"parameters"}
    }
    assert described == routes
    assert len(routes) == 25


def test_every_reference_leads_somewhere_and_every_schema_is_used(document):
    references = set(re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(document)))
    known = {(kind, name) for kind, items in document["components"].items() for name in items}
    assert references == known


def test_it_names_the_models_that_answer(document):
    def names(path):
        (name, *_) = document["paths"][path]["parameters"]
        return name["schema"]["enum"]

    assert names("/v1/models/{name}:predict") == ["news", "score"]
    assert names("/v1/models/{name}:classify") == ["news"]
    assert names("/v1/models/{name}/versions/{version}:regress") == ["score"]
    _, version = document["paths"]["/v2/models/{name}/versions/{version}/infer"]["parameters"]
    assert version["schema"] == {"type": "string", "enum": ["1"]}


def test_it_names_the_limits(document):
    schemas = document["components"]["schemas"]
    assert schemas["Text"]["anyOf"][0] == {"type": "string", "maxLength": 100}
    assert schemas["Predict"]["oneOf"][0]["properties"]["instances"]["maxItems"] == 4
    # One model takes single texts, the other pairs.
    single, pair = schemas["Row"]["anyOf"]
    assert single == {"$ref": "#/components/schemas/Text"}
    assert pair["minItems"] == len(pair["prefixItems"]) == 2


@pytest.mark.slow
@pytest.mark.skipif(SCHEMATHESIS is None, reason="needs schemathesis: pip install schemathesis")
def test_no_request_that_schemathesis_makes_of_it_fails_the_server(tmp_path):
    run = small_run(tmp_path / "harbour", small_classifier())
    with process(run.path) as (child, port):
        checks = (
            "not_a_server_error,status_code_conformance,content_type_conformance,"
            "response_schema_conformance,response_headers_conformance,unsupported_method"
        )
        url = f"http://127.0.0.1:{port}/openapi.json"
        command = [SCHEMATHESIS, "run", url, "--checks", checks, "--max-examples", "50"]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
