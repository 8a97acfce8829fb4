"""Who may ask: those with the token, and on the loopback address this machine's programs alone.

A browser on the machine reaches such a server, too. A page of any address can have it send requests
there, and can rename itself to the machine's own address afterwards (DNS rebinding), so that it may
read the answers. What it cannot change are the headers `Host` and `Origin`, with its true address.
Neither the type of a body nor a missing `Origin` tells a page from `curl -d`.
"""

import functools
import hmac
import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tfkd.errors import ConfigError

TOKEN_VARIABLE = "TFKD_SERVE_TOKEN"
# A machine that asks whether the server lives holds no token, and the page is where a person gives
# one: it holds nothing of the models.
OPEN_PATHS = ("/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own, for itself alone.

    Example:

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class OwnCallersOnly:
    """Middleware that refuses with 403 what comes under another address than the machine's own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it on."""
        name = foreign_header(Headers(scope=scope)) if scope["type"] == "http" else None
        app = _refusal(name) if name else self._app
        await app(scope, receive, send)


def foreign_header(headers: Headers) -> str | None:
    """Name of a header that tells a browser's page of elsewhere, None where there is none.

    Example:

    >>> foreign_header(Headers({"host": "localhost:8501", "origin": "https://page.example"}))
    'Origin'
    """
    addresses = {
        "Host": f"//{headers.get('host', 'localhost')}",
        "Origin": headers.get("origin", "http://localhost"),
    }
    return next((name for name, address in addresses.items() if not _is_own(address)), None)


@functools.lru_cache(maxsize=64)
def _is_own(address: str) -> bool:
    try:
        return is_loopback(urlsplit(address).hostname or "")
    except ValueError:
        return False


def _refusal(name: str) -> ASGIApp:
    message = (
        f"Expected {name} to be localhost or a loopback address. Received another. For callers of "
        "other addresses start the server with --host."
    )
    return JSONResponse({"error": message}, 403)


class BearersOnly:
    """Middleware that refuses with 401 what comes without the token, but for `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or hands it on."""
        app = self._app
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            # In the same time wherever the two differ.
            is_same = hmac.compare_digest(given.strip().encode(), self._token)
            if scheme.lower() != "bearer" or not is_same:
                app = _NO_TOKEN
        await app(scope, receive, send)


_NO_TOKEN = JSONResponse(
    {"error": "Expected Authorization: Bearer and the server's token. Received another or none."},
    401,
    {"WWW-Authenticate": "Bearer"},
)


def read_token(path: Path | None) -> str | None:
    """The token of a file, else of the environment, else None. It is on no command line.

    Args:
        path: Path. A file with the token alone, blanks around it aside.

    Raises:
        ConfigError: The file cannot be read, or what it or the environment holds is no token.
    """
    if path is None:
        token, place = os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
        if token is None:
            return None
    else:
        place = str(path)
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text"
            raise ConfigError(
                f"Expected a file with a token. Received: {place}: {reason}. Give another "
                "--token-file."
            ) from error
    token = token.strip()
    # The characters of RFC 6750.
    if not re.fullmatch(r"[\w.~+/-]{16,}=*", token, re.ASCII):
        raise ConfigError(
            "Expected a token of at least 16 letters, digits and any of - . _ ~ + / in "
            f"{place}. Received another. Make one with `openssl rand -hex 32`."
        )
    return token
