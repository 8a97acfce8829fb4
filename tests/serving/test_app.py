"""The routes over a stand-in model: addresses, statuses, exact errors."""

import asyncio
import gzip
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from starlette.testclient import TestClient

from tfkd.data.examples import REGRESSION, SINGLE_LABEL
from tfkd.serving.app import build_app
from tfkd.serving.batcher import ASKED_AFTER_SECONDS, QueueLimits
from tfkd.serving.contract import RequestLimits, ServedModel
from tfkd.serving.models import Models

MODEL = ServedModel("news", SINGLE_LABEL, ("weather", "sport"))
PREDICT = "/v1/models/news:predict"
CLASSIFY = "/v1/models/news:classify"
LIMITS = RequestLimits(body_bytes=1000, texts=4, text_characters=100, timeout_seconds=60.0)
SECONDS = 60.0


class Words:
    """Three to one for what is written; waits at "wait", breaks at "break"."""

    def __init__(self):
        self.gate = threading.Event()
        self.asked = threading.Semaphore(0)

    def predict(self, texts):
        self.asked.release()
        if "wait" in texts:
            assert self.gate.wait(SECONDS)
        if "break" in texts:
            raise RuntimeError("tensor 7 has no buffer")
        odds = {"rain": [math.log(3), 0.0], "goal": [0.0, math.log(3)], "void": [math.nan, 0.0]}
        return np.array([odds.get(text, [0.0, 0.0]) for text in texts], np.float32)


class One:
    """A model that does not change."""

    def __init__(self, model, predictor):
        self.name = model.name
        self.found = (model, [predictor])

    def versions(self):
        return {"1": None}

    def load(self, version):
        return self.found


class Served:
    """An application in this process, and what is inside."""

    def __init__(self, limits=LIMITS, queue=None, raises=False):
        self.words = Words()
        self.models = Models([One(MODEL, self.words)], queue or QueueLimits(batch_size=1))
        self.batcher = self.models.find("news").batcher
        self.app = build_app(self.models, limits)
        self.client = TestClient(self.app, raise_server_exceptions=raises)

    def __enter__(self):
        self.client.__enter__()
        return self

    def __exit__(self, *error):
        self.words.gate.set()
        self.client.__exit__(*error)

    def predict(self, *texts):
        return self.client.post(PREDICT, json={"instances": list(texts)})


@pytest.fixture
def served():
    with Served() as found:
        yield found


def test_predictions_come_by_rows_or_columns(served):
    answer = served.predict("rain", "goal")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    rain, goal = answer.json()["predictions"]
    assert (rain["label"], goal["label"]) == ("weather", "sport")
    assert rain["scores"] == pytest.approx([0.75, 0.25], abs=1e-6)
    answer = served.client.post(PREDICT, json={"inputs": {"text": ["rain", "goal"]}})
    assert answer.json() == {
        "outputs": {
            "scores": [rain["scores"], goal["scores"]],
            "label": ["weather", "sport"],
        }
    }


def test_classification_has_labels_and_scores(served):
    answer = served.client.post(CLASSIFY, json={"examples": [{"text": "goal"}]})
    ((weather, sport),) = answer.json()["results"]
    assert (weather[0], sport[0]) == ("weather", "sport")
    assert [weather[1], sport[1]] == pytest.approx([0.25, 0.75], abs=1e-6)


@pytest.mark.parametrize("path", ["/v1/models/news", "/v1/models/news/versions/1"])
def test_status(served, path):
    assert served.client.get(path).json() == {
        "model_version_status": [
            {
                "version": "1",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


@pytest.mark.parametrize("path", ["/v1/models/news", "/v1/models/news/versions/1"])
def test_metadata(served, path):
    value = served.client.get(f"{path}/metadata").json()
    assert value["model_spec"] == {"name": "news", "signature_name": "", "version": "1"}
    assert list(value["metadata"]["signature_def"]["signature_def"]) == [
        "serving_default",
        "predict",
        "classify",
    ]


def test_version_may_stand_in_the_address(served):
    path = "/v1/models/news/versions/1:predict"
    answer = served.client.post(path, json={"instances": ["rain"]})
    assert answer.json() == served.predict("rain").json()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/views:predict",
        "/v1/models/news/versions/2:predict",
        "/v1/models/views:classify",
    ],
)
def test_another_model_is_not_found(served, path):
    answer = served.client.post(path, json={"instances": ["rain"]})
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": "Expected model news, version 1. Received another name or version."},
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/index.html", 404),
        ("GET", "/v1/models", 404),
        ("POST", "/v1/models/news:multiInference", 405),
        ("GET", "/v1/models/news/labels/stable", 404),
        ("POST", "/v1/models/news", 405),
        ("DELETE", "/v1/models/news:predict", 405),
    ],
)
def test_no_such_address(served, method, path, status):
    answer = served.client.request(method, path)
    assert (answer.status_code, answer.json()) == (
        status,
        {"error": f"Malformed request: {method} {path}"},
    )


def test_what_does_not_fit_the_contract_is_400(served):
    answer = served.client.post(PREDICT, content=b"rain")
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "Expected a JSON object. Received: Expecting value: line 1 column 1 (char 0)."},
    )


def test_too_many_and_too_long_texts_are_400(served):
    answer = served.predict(*["rain"] * 5)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "Expected from 1 to 4 texts in instances. Received: 5."},
    )
    answer = served.predict("rain", "r" * 101)
    message = "Expected texts of at most 100 characters. Received: instances[1] with 101."
    assert (answer.status_code, answer.json()) == (400, {"error": message})


def test_too_many_bytes_are_413_with_and_without_a_length(served):
    padding = b" " * (LIMITS.body_bytes - len(b'{"instances": ["rain"]}'))
    body = b'{"instances": ["rain"]}' + padding
    assert served.client.post(PREDICT, content=body).status_code == 200
    for content in (body + b" ", iter([body, b" "])):
        answer = served.client.post(PREDICT, content=content)
        assert (answer.status_code, answer.json()) == (
            413,
            {"error": "Expected a body of at most 1000 bytes. Received more."},
        )
        assert answer.headers["connection"] == "close"


def test_a_gzip_body_is_read_and_limited(served):
    value = b'{"instances": ["rain"]}'
    headers = {"Content-Encoding": "GZIP"}
    answer = served.client.post(PREDICT, content=gzip.compress(value), headers=headers)
    assert answer.json() == served.predict("rain").json()
    bomb = gzip.compress(value + b" " * 100_000)
    assert len(bomb) < LIMITS.body_bytes
    answer = served.client.post(PREDICT, content=bomb, headers=headers)
    assert (answer.status_code, answer.json()) == (
        413,
        {"error": "Expected a body of at most 1000 bytes. Received more."},
    )
    answer = served.client.post(PREDICT, content=value, headers=headers)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "Expected a body in gzip. Received: Not a gzipped file (b'{\"')."},
    )


def test_another_encoding_is_415_with_the_one_that_is_known(served):
    headers = {"Content-Encoding": "deflate"}
    answer = served.client.post(PREDICT, content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()) == (
        415,
        {"error": "Expected Content-Encoding gzip or none. Received: 'deflate'."},
    )
    assert answer.headers["accept-encoding"] == "gzip"


def test_full_queue_is_429_with_a_time_and_what_was_taken_is_answered():
    queue = QueueLimits(batch_size=1, queue_texts=2)
    with Served(queue=queue) as served, ThreadPoolExecutor(2) as threads:
        taken = [threads.submit(served.predict, "wait", "rain")]
        assert served.words.asked.acquire(timeout=SECONDS)
        taken.append(threads.submit(served.predict, "goal", "rain"))
        while served.batcher._num_waiting < 2:
            threading.Event().wait(0.001)
        answer = served.predict("goal")
        assert (answer.status_code, answer.json()) == (
            429,
            {"error": "The queue is full. Try again in 1 s."},
        )
        assert answer.headers["retry-after"] == "1"
        served.words.gate.set()
        first, second = (one.result(SECONDS) for one in taken)
        assert [row["label"] for row in first.json()["predictions"]] == ["weather", "weather"]
        assert [row["label"] for row in second.json()["predictions"]] == ["sport", "weather"]
        assert served.batcher.num_answered == 2


@pytest.mark.parametrize("text", ["break", "void"])
def test_a_failure_inside_is_500_and_the_next_request_is_answered(served, text):
    for path, value in (
        (PREDICT, {"instances": [text]}),
        (CLASSIFY, {"examples": [{"text": text}]}),
    ):
        answer = served.client.post(path, json=value)
        assert (answer.status_code, answer.json()) == (
            500,
            {"error": "The model failed on this request."},
        )
    assert served.predict("rain").json()["predictions"][0]["label"] == "weather"


def test_a_failure_reaches_the_servers_log():
    with (
        Served(raises=True) as served,
        pytest.raises(RuntimeError, match="^tensor 7 has no buffer$"),
    ):
        served.predict("break")


def test_an_answer_that_takes_too_long_is_504():
    with Served(limits=RequestLimits(timeout_seconds=0.05)) as served:
        answer = served.predict("wait")
        assert (answer.status_code, answer.json()) == (
            504,
            {"error": "Expected an answer within 0.05 s. There is none."},
        )
        served.words.gate.set()


async def asked(app, messages):
    """Status of a `:predict` request whose body comes as these messages and then not at all."""
    sent, received = [], iter(messages)

    async def receive():
        for message in received:
            return message
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PREDICT, "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


def test_a_body_that_does_not_come_is_408():
    models = Models([One(MODEL, Words())], QueueLimits())
    app = build_app(models, RequestLimits(timeout_seconds=0.05))
    part = {"type": "http.request", "body": b'{"inst', "more_body": True}
    assert asyncio.run(asked(app, [part])) == (
        408,
        b'{"error": "Expected the whole body within 0.05 s."}',
    )


def test_a_connection_that_ends_inside_the_body_is_no_failure():
    app = build_app(Models([One(MODEL, Words())], QueueLimits()), LIMITS)
    part = {"type": "http.request", "body": b'{"inst', "more_body": True}
    assert asyncio.run(asked(app, [part, {"type": "http.disconnect"}])) == (
        400,
        b'{"error": "Expected a whole body. The connection ended before."}',
    )


def test_a_connection_that_ends_while_its_texts_wait_frees_their_place():
    words = Words()
    models = Models([One(MODEL, words)], QueueLimits(batch_size=1))
    app = build_app(models, LIMITS)

    def body(text):
        content = json.dumps({"instances": [text]}).encode()
        return {"type": "http.request", "body": content, "more_body": False}

    async def run():
        async with models.running():
            first = asyncio.create_task(asked(app, [body("wait")]))
            while not words.asked.acquire(blocking=False):
                await asyncio.sleep(0.001)
            left = asyncio.create_task(asked(app, [body("rain"), {"type": "http.disconnect"}]))
            while models.find("news").batcher._num_waiting < 1:
                await asyncio.sleep(0.001)
            await asyncio.sleep(ASKED_AFTER_SECONDS)
            words.gate.set()
            return await first, await left

    (first, _), (left, message) = asyncio.run(run())
    assert (first, left) == (200, 400)
    assert message == b'{"error": "Expected a sender that waits for the answer."}'
    # The model was asked once.
    assert not words.asked.acquire(blocking=False)
    assert models.num_answered == 1


def test_health_and_readiness(served):
    assert served.client.get("/healthz").json() == {"status": "alive"}
    assert served.client.get("/readyz").json() == {"status": "ready"}


def test_a_stopping_server_is_alive_not_ready_and_takes_nothing(served):
    served.models.refuse()
    refused = (503, {"error": "The server is stopping and takes no more requests."})
    for answer in (served.predict("rain"), served.client.get("/readyz")):
        assert (answer.status_code, answer.json()) == refused
        assert answer.headers["connection"] == "close"
    assert served.client.get("/healthz").status_code == 200
    (state,) = served.client.get("/v1/models/news").json()["model_version_status"]
    assert state["state"] == "UNLOADING"


def test_pairs_and_scores():
    model = ServedModel("pairs", REGRESSION, ("score",), num_texts=2)

    class Lengths:
        def predict(self, texts):
            return np.array([[len(a) - len(b)] for a, b in texts], np.float32)

    models = Models([One(model, Lengths())], QueueLimits())
    with TestClient(build_app(models, LIMITS)) as client:
        value = {"instances": [["rain", "a"], {"text": ["", "goal"]}]}
        answer = client.post("/v1/models/pairs:predict", json=value)
        assert answer.json() == {"predictions": [[3.0], [-4.0]]}
        answer = client.post("/v1/models/pairs:classify", json={"examples": [{"text": "a"}]})
        assert (answer.status_code, answer.json()) == (
            400,
            {
                "error": "Expected :predict or :regress for a model without classes. Received "
                ":classify."
            },
        )
        value = {"examples": [{"text": ["rain", "a"]}, {"text": ["", "goal"], "id": 1}]}
        answer = client.post("/v1/models/pairs/versions/1:regress", json=value)
        assert answer.json() == {"results": [3.0, -4.0]}
        value = {"examples": [{}, {}], "context": {"text": ["rain", "a"]}}
        answer = client.post("/v1/models/pairs:regress", json=value)
        assert answer.json() == {"results": [3.0, 3.0]}


def test_the_open_inference_protocol(served):
    assert served.client.get("/v2").json()["name"] == "tfkd"
    assert served.client.get("/v2/health/live").json() == {"live": True}
    assert served.client.get("/v2/health/ready").json() == {"ready": True}
    assert served.client.get("/v2/models").json() == {"models": ["news"]}
    for path in ("/v2/models/news", "/v2/models/news/versions/1"):
        assert served.client.get(path).json()["versions"] == ["1"]
        assert served.client.get(f"{path}/ready").json() == {"name": "news", "ready": True}
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["rain"]}
        answer = served.client.post(f"{path}/infer", json={"inputs": [tensor], "id": "a"})
        assert answer.status_code == 200
        scores, label = answer.json()["outputs"]
        assert scores["data"] == pytest.approx([0.75, 0.25], abs=1e-6)
        assert label["data"] == ["weather"]
        assert (answer.json()["model_version"], answer.json()["id"]) == ("1", "a")
    unknown = served.client.get("/v2/models/views")
    assert (unknown.status_code, list(unknown.json())) == (404, ["error"])
    served.models.refuse()
    for path in ("/v2/health/ready", "/v2/models/news/ready"):
        assert served.client.get(path).status_code == 503
    assert served.client.get("/v2/health/live").status_code == 200
