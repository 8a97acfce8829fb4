"""Who may ask a server that listens on this machine alone: its programs, not pages of elsewhere.

A browser on the machine reaches such a server, too. A page of any address can have it send requests
there, and can rename itself to the machine's own address afterwards (DNS rebinding), so that it may
read the answers. What it cannot change are the headers `Host` and `Origin`, with its true address.
Neither the type of a body nor a missing `Origin` tells a page from `curl -d`.
"""

import functools
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


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
