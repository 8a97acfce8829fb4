"""Reachability, against servers on this machine."""

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tfkd.network import is_reachable

# For answers that do come, however busy the machine.
LONG_SECONDS = 60.0


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers every request with one status."""

    status = 200

    def do_HEAD(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def server(status: int) -> Iterator[str]:
    handler = type("Handler", (Answer,), {"status": status})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("status", [200, 302, 403, 404, 503])
def test_a_host_that_answers_anything_is_reachable(status):
    with server(status) as url:
        assert is_reachable(url, LONG_SECONDS)


def test_nothing_listens():
    # Bound, so that nobody else comes to listen there.
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        assert not is_reachable(f"127.0.0.1:{mute.getsockname()[1]}", LONG_SECONDS)


def test_a_silent_host_costs_no_more_than_the_limit():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        assert not is_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.3)
        assert time.monotonic() - start < LONG_SECONDS


def test_a_name_that_does_not_resolve_in_time(monkeypatch):
    ends = threading.Event()

    def resolve(*arguments, **named):
        ends.wait()
        raise socket.gaierror("temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert not is_reachable("data.example", 0.3)
    ends.set()


def test_the_proxy_of_the_environment_is_asked(monkeypatch):
    with server(200) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert is_reachable("http://data.example/", LONG_SECONDS)


def test_a_proxy_that_refuses_is_no_connection(monkeypatch):
    with server(403) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert not is_reachable("http://data.example/", LONG_SECONDS)


def test_a_dead_proxy_is_no_connection(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert not is_reachable("data.example", LONG_SECONDS)


def test_no_host():
    assert not is_reachable("", 1.0)
