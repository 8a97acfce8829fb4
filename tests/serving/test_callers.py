"""Headers decide who may ask: those only a browser sends, on the loopback address, and a token."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from tests.messages import exactly
from tfkd.errors import ConfigError
from tfkd.serving.callers import (
    OPEN_PATHS,
    TOKEN_VARIABLE,
    BearersOnly,
    OwnCallersOnly,
    is_loopback,
    read_token,
)

TOKEN = "correct-horse-battery"


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


def with_token(path, header):
    client = TestClient(BearersOnly(PlainTextResponse("in"), TOKEN))
    return client.get(path, headers={} if header is None else {"Authorization": header})


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer  {TOKEN}"])
def test_a_bearer_comes_in(header):
    assert with_token("/metrics", header).text == "in"


@pytest.mark.parametrize(
    "header",
    [
        None,
        TOKEN,
        "Bearer",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN} {TOKEN}",
        "Bearer ä".encode("latin-1"),
    ],
)
def test_anybody_else_is_refused(header):
    answer = with_token("/metrics", header)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {
        "error": "Expected Authorization: Bearer and the server's token. Received another or none."
    }


@pytest.mark.parametrize("path", OPEN_PATHS)
def test_who_asks_whether_it_lives_needs_no_token(path):
    assert with_token(path, None).text == "in"


def test_a_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) is None
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert read_token(None) == TOKEN
    path = tmp_path / "token"
    path.write_text("0123456789abcdef==\n")
    assert read_token(path) == "0123456789abcdef=="


@pytest.mark.parametrize("content", ["", "short", "sixteen letters, but blanks", "ä" * 16])
def test_what_is_no_token_is_one_line(tmp_path, monkeypatch, content):
    path = tmp_path / "token"
    path.write_text(content)
    monkeypatch.setenv(TOKEN_VARIABLE, content)
    for given, place in ((path, str(path)), (None, TOKEN_VARIABLE)):
        message = (
            "Expected a token of at least 16 letters, digits and any of - . _ ~ + / in "
            f"{place}. Received another. Make one with `openssl rand -hex 32`."
        )
        with pytest.raises(ConfigError, match=exactly(message)):
            read_token(given)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"\xff", "no text")]
)
def test_a_token_file_that_cannot_be_read_is_one_line(tmp_path, content, reason):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    message = (
        f"Expected a file with a token. Received: {path}: {reason}. Give another --token-file."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        read_token(path)
