"""Headers that only a browser sends decide who may ask a server on the loopback address."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from tfkd.serving.callers import OwnCallersOnly, is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_loopback_addresses(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        # curl -d, and clients of TensorFlow Serving.
        ({"Content-Type": "application/x-www-form-urlencoded"}, None),
        ({"Host": "localhost:8501"}, None),
        ({"Host": "127.0.0.1"}, None),
        ({"Host": "[::1]:8501"}, None),
        # A page that this machine serves itself.
        ({"Host": "localhost:8501", "Origin": "http://localhost:3000"}, None),
        ({"Host": "page.example"}, "Host"),
        ({"Host": "page.example:8501"}, "Host"),
        ({"Host": "127.0.0.1.page.example"}, "Host"),
        ({"Host": "localhost@page.example"}, "Host"),
        ({"Host": "0.0.0.0:8501"}, "Host"),
        ({"Host": "[::1"}, "Host"),
        ({"Host": ""}, "Host"),
        ({"Host": "localhost", "Origin": "https://page.example"}, "Origin"),
        ({"Host": "localhost", "Origin": "null"}, "Origin"),
        ({"Host": "localhost", "Origin": "http://localhost.page.example"}, "Origin"),
    ],
)
def test_host_and_origin_of_elsewhere_are_refused(headers, refused):
    client = TestClient(OwnCallersOnly(PlainTextResponse("answered")), "http://localhost:8501")
    answer = client.post("/", content=b"{}", headers=headers)
    if refused is None:
        assert (answer.status_code, answer.text) == (200, "answered")
        return
    message = (
        f"Expected {refused} to be localhost or a loopback address. Received another. For callers "
        "of other addresses start the server with --host."
    )
    assert (answer.status_code, answer.json()) == (403, {"error": message})


def test_a_request_without_these_headers_is_no_browsers():
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(OwnCallersOnly(PlainTextResponse("answered"))(scope, None, send))
    assert sent[0]["status"] == 200
