"""Ids, lines and metrics of requests, over the stand-in model of the routes' tests."""

import dataclasses
import json
import logging
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from tests.serving.test_app import CLASSIFY, LIMITS, MODEL, PREDICT, One, Words
from tfkd.config.verbs import LOG_ERRORS, LOG_REQUESTS, LOG_TEXTS
from tfkd.serving.app import build_app
from tfkd.serving.batcher import QueueLimits
from tfkd.serving.journal import Journal, JsonLines, json_lines
from tfkd.serving.metrics import Metrics
from tfkd.serving.models import Models

SHA256 = "5d41402abc4b2a76"


class Kept:
    """An application in this process with its journal and its page of metrics."""

    def __init__(self, log=LOG_ERRORS):
        metrics = Metrics()
        model = dataclasses.replace(MODEL, sha256=SHA256)
        queue = QueueLimits(batch_size=4)
        models = Models([One(model, Words())], queue, watch=metrics.watch)
        app = build_app(models, LIMITS, metrics=metrics.metrics)
        self.client = TestClient(Journal(app, metrics.request, log), raise_server_exceptions=False)

    def __enter__(self):
        self.client.__enter__()
        return self

    def __exit__(self, *error):
        self.client.__exit__(*error)

    def predict(self, *texts, **headers):
        return self.client.post(PREDICT, json={"instances": list(texts)}, headers=headers)

    def metrics(self):
        """Samples of the page by name and labels."""
        answer = self.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


@pytest.fixture
def kept():
    with Kept() as found:
        yield found


def test_requests_batches_and_the_file_are_on_the_page(kept):
    for texts in (["rain", "goal", "rain"], ["goal"], ["break"]):
        kept.predict(*texts)
    kept.client.post(CLASSIFY, content=b"{")
    kept.client.get("/v1/models/other")
    kept.client.get("/elsewhere")
    found = kept.metrics()
    assert found["tfkd_model_info", "1", SHA256, "news"] == 1
    assert found["tfkd_request_seconds_count", "1", "200", "news", "predict"] == 2
    assert found["tfkd_request_seconds_count", "1", "500", "news", "predict"] == 1
    assert found["tfkd_request_seconds_count", "1", "400", "classify", "news"] == 1
    # Names that senders made up are no labels.
    assert found["tfkd_request_seconds_count", "", "", "404", "status"] == 1
    assert found["tfkd_request_seconds_count", "", "", "404", "unknown"] == 1
    assert found["tfkd_batch_texts_count", "1", "news"] == 3
    assert found["tfkd_batch_texts_sum", "1", "news"] == 5
    assert found["tfkd_batch_texts_bucket", "1", "2.0", "news"] == 2
    assert found["tfkd_batch_seconds_count", "1", "news"] == 3
    assert found["tfkd_queue_seconds_count", "1", "news"] == 3
    assert found["tfkd_queue_texts", "1", "news"] == 0


def test_a_file_that_has_gone_is_0():
    metrics = Metrics()
    watch = metrics.watch(dataclasses.replace(MODEL, sha256=SHA256))
    assert metrics._info.labels("news", "1", SHA256)._value.get() == 1
    watch.ended()
    assert metrics._info.labels("news", "1", SHA256)._value.get() == 0


@pytest.mark.parametrize("given", ["req-7", "a.b:c_D", "x" * 128])
def test_a_well_formed_id_is_kept(kept, given):
    assert kept.predict("rain", **{"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, "<b>", "ä".encode()])
def test_else_one_is_made(kept, given):
    headers = {} if given is None else {"X-Request-Id": given}
    ids = [kept.predict("rain", **headers).headers["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in ids)
    assert ids[0] != ids[1]


def test_a_refusal_has_an_id_too(kept):
    answer = kept.client.get("/elsewhere", headers={"X-Request-Id": "req-7"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (404, "req-7")


def lines(log, capsys):
    """What is written of three requests: one answered, one bad, one that fails."""
    with json_lines(log), Kept(log) as kept:
        kept.predict("rain", "secret goal", **{"X-Request-Id": "first"})
        kept.predict(7, **{"X-Request-Id": "second"})
        kept.predict("break", **{"X-Request-Id": "third"})
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
        assert 0 <= line.pop("seconds") < 10
    return found


def line(request_id, status, num_texts, **more):
    return {
        "level": "info",
        "message": "request",
        "request_id": request_id,
        "model": "news",
        "version": "1",
        "endpoint": "predict",
        "status": status,
        "num_texts": num_texts,
        **more,
    }


def test_a_line_has_no_texts(capsys):
    assert lines(LOG_REQUESTS, capsys) == [
        line("first", 200, 2),
        line("second", 400, 0),
        line("third", 500, 1),
    ]


def test_a_line_has_texts_when_they_are_asked_for(capsys):
    assert lines(LOG_TEXTS, capsys) == [
        line("first", 200, 2, texts=["rain", "secret goal"]),
        line("second", 400, 0, texts=[]),
        line("third", 500, 1, texts=["break"]),
    ]


def test_errors_alone_are_no_lines_of_requests(capsys):
    assert lines(LOG_ERRORS, capsys) == []


def test_a_failure_is_one_line_with_the_id_of_its_request(capsys):
    def fail():
        raise RuntimeError("tensor 7 has no buffer\nat all")

    async def app(scope, receive, send):
        try:
            fail()
        except RuntimeError:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")

    with json_lines(LOG_REQUESTS):
        client = TestClient(Journal(app, lambda *told: None), raise_server_exceptions=False)
        client.get("/", headers={"X-Request-Id": "seventh"})
    (written,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (written["level"], written["message"]) == ("error", "Exception in ASGI application")
    assert written["request_id"] == "seventh"
    assert written["exception"].endswith("RuntimeError: tensor 7 has no buffer\nat all")


def test_what_is_logged_outside_a_request_has_no_id():
    record = logging.makeLogRecord({"msg": "worker %d ended", "args": (7,), "levelname": "WARNING"})
    found = json.loads(JsonLines().format(record))
    assert found.pop("time")
    assert found == {"level": "warning", "message": "worker 7 ended"}
