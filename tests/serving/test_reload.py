"""A process that is told to reload: while requests come in, by signal, and by whom."""

import asyncio
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager

import numpy as np
import pytest
from scipy.special import softmax
from starlette.testclient import TestClient

from tests.serving.small_runs import LABELS, small_classifier, small_run
from tests.serving.test_app import LIMITS, MODEL, One, Words
from tests.serving.test_models import Folder
from tfkd.compression.litert import LiteRTModel
from tfkd.serving.app import build_app
from tfkd.serving.batcher import QueueLimits
from tfkd.serving.models import Models

TEXTS = ["rain river", "goal team goal", "vote", "old boat", "slow night bridge", "clear harbour"]
SECONDS = 120.0
RELOAD = "/v1/config/reload"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the same texts and labels, and what each answers."""
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for seed in (3, 4):
        run = small_run(folder / f"seed{seed}", small_classifier(seed))
        found[run.path] = softmax(LiteRTModel(run.model / "dynamic_int8.tflite").predict(TEXTS), 1)
    first, second = found.values()
    # So no answer can be taken for that of the other version.
    assert np.abs(first - second).max(axis=1).min() > 0.01
    return found


@pytest.fixture
def versions(runs, tmp_path):
    """A model with version 1, and the path where version 2 belongs."""
    first, _ = runs
    (tmp_path / "harbour").mkdir()
    (tmp_path / "harbour" / "1").symlink_to(first)
    return tmp_path / "harbour"


@contextmanager
def process(*arguments):
    """`tfkd serve` as a user starts it, and its port."""
    command = [sys.executable, "-m", "tfkd", "serve", *map(str, arguments), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        try:
            line = child.stderr.readline()
            found = re.match(r"Serving http://127\.0\.0\.1:(\d+)/", line)
            assert found, line + child.stderr.read()
            port = int(found[1])
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as first:
                assert asked(first, "GET", "/readyz") == (200, {"status": "ready"})
            yield child, port
        finally:
            child.kill()


def asked(connection, method, path, value=None):
    connection.request(method, path, None if value is None else json.dumps(value))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


class Load:
    """Threads that ask one text after the other and hold each answer against both versions."""

    def __init__(self, port, expected, num_threads):
        self.port, self.expected = port, expected
        self.counts = {"1": 0, "2": 0}
        self.wrong = []
        self.ends = threading.Event()
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.ask, args=(start,)) for start in range(num_threads)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ends.set()
        for thread in self.threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def go_on(self, version, num_answers):
        """Returns when a version has given so many more answers, or one was wrong."""
        enough, deadline = self.counts[version] + num_answers, time.monotonic() + SECONDS
        while self.counts[version] < enough and not self.wrong:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def ask(self, index):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as line:
            while not self.ends.is_set():
                index = (index + 1) % len(TEXTS)
                try:
                    version = self.version(line, index)
                except Exception as error:
                    self.wrong.append(repr(error))
                    return
                with self.lock:
                    self.counts[version] += 1

    def version(self, line, index):
        """The one that gave a right answer, and says so where the protocol can say it."""
        text = TEXTS[index]
        if index % 2:
            path, value = "/v1/models/harbour:predict", {"inputs": [text]}
        else:
            path = "/v2/models/harbour/infer"
            tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
            value = {"inputs": [tensor]}
        status, answer = asked(line, "POST", path, value)
        assert status == 200, answer
        if index % 2:
            (scores,), (label,) = (answer["outputs"][name] for name in ("scores", "label"))
        else:
            scores, (label,) = (output["data"] for output in answer["outputs"])
        (found,) = [
            version
            for version, expected in self.expected.items()
            if np.abs(expected[index] - scores).max() < 1e-6
        ]
        assert answer.get("model_version", found) == found
        assert label == LABELS[np.argmax(scores)]
        return found


def reload_under_load(versions, runs, num_reloads, num_threads):
    """Version 2 comes and goes; who asks after a reload is answered by the version it left."""
    second, expected = list(runs)[1], dict(zip("12", runs.values(), strict=True))
    with (
        process(versions, "--workers", "2") as (child, port),
        Load(port, expected, num_threads) as load,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as line,
    ):
        for number in range(num_reloads):
            version = "12"[number % 2 == 0]
            if version == "2":
                (versions / "2").symlink_to(second)
            else:
                (versions / "2").unlink()
            line_said = f"Reloaded: harbour answers with version {version}."
            answer = {"changes": [line_said], "versions": {"harbour": [version]}}
            assert asked(line, "POST", RELOAD) == (200, answer)
            assert load.version(line, number % len(TEXTS)) == version
            load.go_on(version, 2)
    assert load.wrong == []
    assert min(load.counts.values()) >= num_reloads


def test_reloads_under_load_fail_no_request_and_mix_no_answers(versions, runs):
    reload_under_load(versions, runs, num_reloads=6, num_threads=4)


@pytest.mark.slow
def test_a_hundred_reloads_under_full_load(versions, runs):
    reload_under_load(versions, runs, num_reloads=100, num_threads=16)


def test_a_signal_reloads_and_what_is_broken_is_one_line(versions, runs):
    second = list(runs)[1]
    with process(versions) as (child, port):
        (versions / "2").symlink_to(second)
        child.send_signal(signal.SIGHUP)
        assert child.stderr.readline() == "Reloaded: harbour answers with version 2.\n"
        (versions / "3").mkdir()
        child.send_signal(signal.SIGHUP)
        assert child.stderr.readline() == (
            "Not reloaded: harbour, version 3. Expected a folder written by `tfkd finetune` or "
            f"`tfkd distill`. Received: {versions / '3'}, which has no config.json.\n"
        )
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as line:
            status, answer = asked(line, "POST", RELOAD)
            assert (status, answer["error"][:36]) == (409, "Not reloaded: harbour, version 3. Ex")
            status, answer = asked(line, "GET", "/v1/models/harbour")
            assert [found["version"] for found in answer["model_version_status"]] == ["2"]
        child.send_signal(signal.SIGTERM)
        assert child.wait(SECONDS) == 0


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.168.0.7", {}, 403),
        ("127.0.0.1", {"Origin": "https://page.example"}, 403),
        ("127.0.0.1", {"Host": "rebound.example"}, 403),
    ],
)
def test_only_this_machines_programs_reload(client, headers, status):
    models = Models([One(MODEL, Words())], QueueLimits())
    app = build_app(models, LIMITS)
    with TestClient(app, base_url="http://localhost", client=(client, 5000)) as sender:
        answer = sender.post(RELOAD, headers=headers)
        assert answer.status_code == status
        assert answer.json() == (
            {"changes": [], "versions": {"news": ["1"]}}
            if status == 200
            else {"error": "Expected a program of the server's machine. Received another."}
        )


def test_a_reload_ends_whether_its_sender_waits_or_not():
    folder = Folder("news", v1=1)
    models = Models([folder], QueueLimits())
    app = build_app(models, LIMITS)
    scope = {"type": "http", "method": "POST", "path": RELOAD, "headers": [], "query_string": b""}

    async def run():
        async with models.running():
            folder.numbers = {"2": 2}
            sent = asyncio.create_task(app({**scope, "client": ("127.0.0.1", 5000)}, None, None))
            await asyncio.sleep(0)
            sent.cancel()
            with pytest.raises(asyncio.CancelledError, match=r"^$"):
                await sent
            while models.versions("news") != ["2"]:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), SECONDS))
