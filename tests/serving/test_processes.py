"""Several processes behind one port, with a certificate and a token: no answer is missed."""

import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scipy.special import softmax

from tests.messages import exactly
from tests.serving.small_runs import small_classifier, small_run
from tests.serving.test_server import SECONDS, is_open, process
from tfkd.artifacts import RunFolder
from tfkd.compression.litert import LiteRTModel
from tfkd.errors import ConfigError
from tfkd.serving.server import check_tls

TOKEN = "correct-horse-battery"
PREDICT = "/v1/models/harbour:predict"
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("runs") / "harbour", small_classifier())


def certified(folder, name, *options):
    """Files of a certificate of its own for 127.0.0.1, and of its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run(
        [*request, *names, *files, *(options or ["-nodes"])], check=True, capture_output=True
    )
    return certificate, key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certified(tmp_path_factory.mktemp("tls"), "served")


class Client:
    """Asks over TLS, on a new connection each time."""

    def __init__(self, port, certificate):
        self.port = port
        self.context = ssl.create_default_context(cafile=certificate)

    def ask(self, method, path, texts=None, token=TOKEN):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        body = None if texts is None else json.dumps({"instances": texts})
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=SECONDS, context=self.context
        )
        with closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def answered(self):
        """Requests for predictions that were answered, by the page of metrics."""
        families = text_string_to_metric_families(self.ask("GET", "/metrics")[1])
        return {
            sample.labels["code"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == "tfkd_request_seconds_count"
            and sample.labels["endpoint"] == "predict"
        }


def children(pid):
    """Processes that serve; beside them runs one of Python's own."""
    found = set()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        # It may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                found.add(int(child))
    return found


def texts_taken(port):
    """Texts that wait or were answered, by the page of metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with closing(connection):
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
    names = ("tfkd_queue_texts", "tfkd_batch_texts_sum")
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in names
    )


@needs_openssl
def test_a_killed_process_is_replaced_and_nothing_that_was_answered_is_forgotten(
    run, certificate, tmp_path
):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    options = ["--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1])]
    options += ["--processes", "2", "--token-file", str(path)]
    texts = ["rain river", "goal team goal", "vote"]
    scores = softmax(LiteRTModel(run.model / "dynamic_int8.tflite").predict(texts), axis=1)
    with process(run, *options) as (child, port):
        client = Client(port, certificate[0])
        assert client.ask("GET", "/readyz", token=None)[0] == 200
        assert client.ask("POST", PREDICT, texts, token=None)[0] == 401
        first = children(child.pid)
        assert len(first) == 2
        for victim in sorted(first):
            status, content = client.ask("POST", PREDICT, texts)
            assert status == 200
            found = [row["scores"] for row in json.loads(content)["predictions"]]
            np.testing.assert_allclose(found, scores, rtol=0, atol=1e-6)
            os.kill(victim, signal.SIGKILL)
            deadline = time.monotonic() + SECONDS
            while victim in (left := children(child.pid)) or len(left) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert not children(child.pid) & first
        assert client.answered() == {"200": 2.0}
        workers = children(child.pid)
        child.send_signal(signal.SIGTERM)
        stdout, stderr = child.communicate(timeout=SECONDS)
    assert (child.returncode, stdout) == (0, "Stopped. Requests answered: 0.\n")
    told = re.findall(r"Process (\d+) ended with -9\. Another takes its place\.\n", stderr)
    assert {int(pid) for pid in told} == first
    assert not is_open(port)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_all_answer_what_they_have_taken_before_they_end(run):
    options = ("--processes", "2", "--batch-wait-ms", "1500")
    with process(run, *options) as (child, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request("GET", "/readyz")
        assert connection.getresponse().read() == b'{"status": "ready"}'
        connection.request("POST", PREDICT, json.dumps({"instances": ["rain"]}))
        deadline = time.monotonic() + SECONDS
        while not texts_taken(port):
            assert time.monotonic() < deadline
        child.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        assert (answer.status, len(json.loads(answer.read())["predictions"])) == (200, 1)
        connection.close()
        stdout, stderr = child.communicate(timeout=SECONDS)
    assert (child.returncode, stdout, stderr) == (0, "Stopped. Requests answered: 1.\n", "")


def version(port):
    """The newest one that the process behind a new connection answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with closing(connection):
        connection.request("GET", "/v1/models/harbour")
        status = json.loads(connection.getresponse().read())["model_version_status"]
    return status[0]["version"]


def test_a_reload_reaches_all(run, tmp_path):
    folder = tmp_path / "harbour"
    shutil.copytree(run.path, folder / "1")
    with process(RunFolder(folder), "--processes", "2") as (child, port):
        assert version(port) == "1"
        shutil.copytree(run.path, tmp_path / "new")
        (tmp_path / "new").rename(folder / "2")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        with closing(connection):
            connection.request("POST", "/v1/config/reload")
            answer = json.loads(connection.getresponse().read())
        assert answer["versions"] == {"harbour": ["2"]}
        deadline = time.monotonic() + SECONDS
        while {version(port) for _ in range(20)} != {"2"}:
            assert time.monotonic() < deadline


def test_a_process_that_begins_when_the_first_is_gone_ends(tmp_path):
    """As where the first is killed while another still imports."""
    program = (
        "import socket, time\n"
        "from multiprocessing import Value\n"
        "from tfkd.serving.processes import _process\n"
        "_process(lambda listener: time.sleep(60) or 0, None, Value('Q', 0), 2**22 + 1)\n"
    )
    child = subprocess.run([sys.executable, "-c", program], timeout=SECONDS, check=False)
    assert child.returncode == 1


def test_processes_end_with_the_first_even_if_that_is_killed(run):
    with process(run, "--processes", "2") as (child, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()
        workers = children(child.pid)
        assert len(workers) == 2
        child.kill()
        deadline = time.monotonic() + SECONDS
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def refusal(files, reason):
    return exactly(
        "Expected a certificate and its key in PEM, without a password. Received: "
        f"{files}: {reason}. Give others as --tls-certificate and --tls-key."
    )


def test_a_key_alone_is_one_line():
    message = "Expected --tls-certificate with --tls-key. Received: key.pem alone. Give both."
    with pytest.raises(ConfigError, match=exactly(message)):
        check_tls(None, Path("key.pem"))
    check_tls(None, None)


@needs_openssl
def test_files_that_make_no_tls_are_one_line(certificate, tmp_path):
    served, key = certificate
    check_tls(served, key)
    missing, broken = tmp_path / "missing.pem", tmp_path / "broken.pem"
    broken.write_text("no certificate")
    _, other = certified(tmp_path, "other")
    locked = certified(tmp_path, "locked", "-passout", "pass:secret")
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + served.read_text())
    check_tls(both, None)
    refused = "OpenSSL does not take them"
    for pair, reason in (
        ((missing, key), "No such file or directory"),
        ((broken, key), refused),
        ((served, other), refused),
        (locked, refused),
    ):
        with pytest.raises(ConfigError, match=refusal(f"{pair[0]} and {pair[1]}", reason)):
            check_tls(*pair)
