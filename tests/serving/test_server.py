"""A real file and a real process: the file's own answers over HTTP, and an end that loses none."""

import asyncio
import http.client
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from tests.messages import exactly
from tests.serving.small_runs import LABELS, WORDS, small_classifier, small_run
from tfkd.compression.litert import LiteRTModel
from tfkd.config.verbs import ServeConfig
from tfkd.errors import ArtifactError, ConfigError
from tfkd.serving import contract
from tfkd.serving.batcher import Batcher, QueueLimits
from tfkd.serving.server import SparseLog
from tfkd.workflows import serve as workflow

SECONDS = 120.0


@pytest.fixture(scope="module")
def classifier():
    return small_classifier()


@pytest.fixture(scope="module")
def run(classifier, tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("runs") / "harbour", classifier)


@pytest.fixture(scope="module")
def path(run):
    return run.model / "dynamic_int8.tflite"


texts_of_a_request = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join), min_size=1, max_size=5
)


@settings(max_examples=15)
@given(
    requests=st.lists(texts_of_a_request, min_size=1, max_size=12),
    batch_size=st.integers(1, 8),
    pauses=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_answers_are_the_models_own_in_any_interleaving(path, requests, batch_size, pauses):
    models = [LiteRTModel(path), LiteRTModel(path)]

    async def serve():
        batcher = Batcher(models, QueueLimits(batch_size=batch_size))
        async with batcher.running():
            tasks = []
            for texts, pause in zip(requests, pauses, strict=False):
                tasks.append(asyncio.create_task(batcher.predict(texts)))
                if pause:
                    await asyncio.sleep(0.0005)
            return await asyncio.gather(*tasks)

    alone = LiteRTModel(path)
    for texts, logits in zip(requests, asyncio.run(serve()), strict=True):
        np.testing.assert_array_equal(logits, alone.predict(texts))


@contextmanager
def process(run, *options):
    """`tfkd serve` as a user starts it, and its port."""
    command = [sys.executable, "-m", "tfkd", "serve", str(run.path), "--port", "0", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def heed_interrupts():
        # A shell starts what runs in the background with SIGINT ignored, and children inherit it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, preexec_fn=heed_interrupts, **pipes) as child:
        try:
            line = child.stderr.readline()
            found = re.fullmatch(
                r"Serving https?://127\.0\.0\.1:(\d+)/v1/models/harbour from "
                r"dynamic_int8\.tflite\. Ctrl-C stops\.\n",
                line,
            )
            assert found, line + child.stderr.read()
            yield child, int(found[1])
        finally:
            child.kill()


@contextmanager
def connections(port):
    """Two connections; the first is accepted already."""
    with (
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as first,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as second,
    ):
        assert asked(first, "GET", "/readyz") == (200, {"status": "ready"})
        yield first, second


def asked(connection, method, path, value=None):
    body = None if value is None else json.dumps(value)
    connection.request(method, path, body)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def is_open(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def send(connection, other, texts):
    """Sends a request and returns when the server has read it."""
    connection.request("POST", "/v1/models/harbour:predict", json.dumps({"instances": texts}))
    # Who answers these two has read the request above: it came before.
    for _ in range(2):
        assert asked(other, "GET", "/healthz") == (200, {"status": "alive"})


def test_a_process_answers_and_at_its_end_loses_nothing(run, path):
    texts = ["rain river", "goal team goal", "vote"]
    options = ("--batch-wait-ms", "700")
    with process(run, *options) as (child, port), connections(port) as (waiting, other):
        maps = Path(f"/proc/{child.pid}/maps").read_text(encoding="utf-8")
        assert "ai_edge_litert" in maps
        assert "/tensorflow/" not in maps
        send(waiting, other, texts)
        started = time.monotonic()
        child.send_signal(signal.SIGTERM)
        answer = waiting.getresponse()
        content = json.loads(answer.read())
        stdout, stderr = child.communicate(timeout=SECONDS)
    assert answer.status == 200
    scores = softmax(LiteRTModel(path).predict(texts), axis=1)
    assert [row["label"] for row in content["predictions"]] == [
        LABELS[index] for index in scores.argmax(axis=1)
    ]
    served = [row["scores"] for row in content["predictions"]]
    np.testing.assert_allclose(served, scores, rtol=0, atol=1e-6)
    assert (child.returncode, stdout, stderr) == (0, "Stopped. Requests answered: 1.\n", "")
    assert time.monotonic() - started < SECONDS
    assert not is_open(port)


def test_connections_without_a_whole_head_are_closed_and_the_log_stays_short(run):
    options = ("--timeout-seconds", "3")
    head = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n"
    with process(run, *options) as (child, port):
        # Nothing, a part, a second request that is begun, more than a head may have.
        begun = [b"", head, head + b"\r\n" + head, head + b"A: " + b"a" * 100_000]
        idle = []
        started = time.monotonic()
        for sent in begun:
            idle.append(socket.create_connection(("127.0.0.1", port), SECONDS))
            # The last is closed while it comes.
            with suppress(ConnectionError):
                idle[-1].sendall(sent)
        answers = [until_closed(connection) for connection in idle]
        assert 2.9 < time.monotonic() - started < SECONDS
        assert [answer[:15] for answer in answers] == [b"", b"", b"HTTP/1.1 200 OK", b""]
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
                connection.sendall(b"RAIN\r\n\r\n")
                assert until_closed(connection).startswith(b"HTTP/1.1 400 ")
        child.send_signal(signal.SIGTERM)
        _, stderr = child.communicate(timeout=SECONDS)
    assert stderr == (
        "Invalid HTTP request received.\nInvalid HTTP request received. (10 times by now)\n"
    )


def until_closed(connection):
    """All that comes before the server closes."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        # It closed with bytes unread.
        pass
    connection.close()
    return b"".join(parts)


def test_the_log_counts_by_powers_of_ten():
    log = SparseLog()
    records = [logging.makeLogRecord({"msg": "bad request\n"}) for _ in range(1000)]
    passed = [record.msg for record in records if log.filter(record)]
    assert passed == [
        "bad request\n",
        "bad request (10 times by now)",
        "bad request (100 times by now)",
        "bad request (1000 times by now)",
    ]
    # Failures of two kinds under one message are two.
    for error in (ValueError, KeyError):
        assert log.filter(logging.makeLogRecord({"msg": "failed", "exc_info": (error, None, None)}))


def test_a_page_of_elsewhere_is_refused_on_loopback(run):
    with process(run) as (_, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        found = []
        for headers in ({}, {"Host": "rebound.example:80"}, {"Origin": "https://page.example"}):
            connection.request("GET", "/readyz", headers=headers)
            answer = connection.getresponse()
            answer.read()
            found.append(answer.status)
        connection.close()
    assert found == [200, 403, 403]


def test_metadata_is_that_of_the_exported_saved_model(classifier, tmp_path):
    from tfkd.compression.text_models import write_text_saved_model

    write_text_saved_model(classifier, tmp_path)
    import tensorflow as tf

    loaded = tf.saved_model.load(str(tmp_path))
    model = contract.ServedModel("harbour", "single_label", LABELS)
    claimed = contract.metadata(model)["metadata"]["signature_def"]["signature_def"]
    assert set(claimed) == set(loaded.signatures)
    for name, function in loaded.signatures.items():
        inputs = function.structured_input_signature[1]
        for part, specs in (("inputs", inputs), ("outputs", function.structured_outputs)):
            assert set(claimed[name][part]) == set(specs)
            for key, spec in specs.items():
                tensor = claimed[name][part][key]
                assert tensor["dtype"] == f"DT_{spec.dtype.name.upper().replace('32', '')}"
                dims = [int(dim["size"]) for dim in tensor["tensor_shape"]["dim"]]
                assert len(dims) == len(spec.shape)
                # TensorFlow does not follow the number of labels through a gather.
                assert all(a in (-1, b) or b is None for a, b in zip(dims, spec.shape, strict=True))


def config(run, **values):
    return ServeConfig(runs=run.path, port=0, **values)


def test_a_taken_port_is_one_line(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = (
            f"Expected a free address to listen on. Received: 127.0.0.1, port {port}: Address "
            "already in use. Give another --host or --port; port 0 takes any free one."
        )
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
            workflow.serve(config(run).replace(port=port))


def test_a_missing_extra_is_one_line(run, monkeypatch):
    monkeypatch.setattr(workflow, "PACKAGES", ("starlette", "no_such_server"))
    message = (
        "Expected starlette and no_such_server for `tfkd serve`. Received: no no_such_server. "
        "Install them with `pip install 'tfkd[serve]'`."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        workflow.serve(config(run))


def test_a_missing_file_is_one_line(run):
    message = (
        f"Expected the LiteRT file {run.model / 'float16.tflite'}. It does not exist. Write it "
        "with `tfkd export`."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        workflow.serve(config(run, recipe="float16"))


def test_a_name_that_is_no_address_is_refused(run):
    message = (
        "Expected a name of letters, digits and any of . _ - for the model's address. "
        "Received: 'my model'. Give another with --name."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        workflow.serve(config(run, name="my model"))


def test_models_of_one_name_are_refused(run):
    message = (
        "Expected models of different names. Received: harbour 2 times. Serve them without --name, "
        "from folders of different names."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        workflow.serve(ServeConfig(runs=(run.path, run.path), port=0))


def test_a_queue_smaller_than_a_request_is_refused(run):
    message = (
        "Expected `queue_texts` of at least `max_texts`, 128, so that every request finds a "
        "place. Received: queue_texts=100."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        workflow.serve(config(run, queue_texts=100))


def test_the_second_interrupt_does_not_wait(run):
    options = ("--batch-wait-ms", "10000", "--timeout-seconds", "60")
    with process(run, *options) as (child, port), connections(port) as (waiting, other):
        send(waiting, other, ["rain"])
        child.send_signal(signal.SIGINT)
        while is_open(port):
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        stdout, stderr = child.communicate(timeout=SECONDS)
    assert (child.returncode, stdout) == (130, "")
    assert stderr.endswith("\nInterrupted.\n")
