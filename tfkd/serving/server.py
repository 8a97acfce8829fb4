"""One process that listens: uvicorn, with an end that loses no request it has taken.

Beside it stands what uvicorn leaves to others: a limit on the time and bytes of a request's head,
and a log that bad requests do not fill.
"""

import asyncio
import logging
import math
import signal
import socket
import ssl
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tfkd.errors import ConfigError
from tfkd.serving.models import Models

# uvicorn says on it what it makes of requests.
LOGGER = "uvicorn.error"
HEAD_BYTES = 65_536


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: The address is not this machine's, or the port is taken or not allowed.

    Example:

    >>> listen("127.0.0.1", 0).getsockname()
    ('127.0.0.1', 40931)
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        # Python adds the address in brackets.
        reason = str(error.strerror).split(" (", 1)[0]
        raise ConfigError(
            f"Expected a free address to listen on. Received: {host}, port {port}: {reason}. "
            "Give another --host or --port; port 0 takes any free one."
        ) from error


def check_tls(certificate: Path | None, key: Path | None) -> None:
    """Refuses files that make no TLS; without a certificate there is none.

    Raises:
        ConfigError: There is a key alone, a file cannot be read, is no PEM or has a password, or
            the two are not of one pair.
    """
    if certificate is None:
        if key is not None:
            raise ConfigError(
                f"Expected --tls-certificate with --tls-key. Received: {key} alone. Give both."
            )
        return
    try:
        # A password would be asked for on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:
        is_read = isinstance(error, ssl.SSLError)
        reason = "OpenSSL does not take them" if is_read else error.strerror
        files = f"{certificate}" if key is None else f"{certificate} and {key}"
        raise ConfigError(
            "Expected a certificate and its key in PEM, without a password. Received: "
            f"{files}: {reason}. Give others as --tls-certificate and --tls-key."
        ) from error


def run(
    app: ASGIApp,
    models: Models,
    listener: socket.socket,
    timeout_seconds: float,
    tls: tuple[Path | None, Path | None] = (None, None),
) -> None:
    """Serves until SIGINT or SIGTERM. Then what was taken is answered and the function returns.

    A second SIGINT waits no longer and raises `KeyboardInterrupt`. SIGHUP reloads the models.
    """

    class Protocol(_Protocol):
        head_seconds = timeout_seconds

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(timeout_seconds),
        ssl_certfile=tls[0],
        ssl_keyfile=tls[1],
    )
    sparse = SparseLog()
    logging.getLogger(LOGGER).addFilter(sparse)
    try:
        _Server(config, models).run([listener])
    finally:
        logging.getLogger(LOGGER).removeFilter(sparse)


class SparseLog(logging.Filter):
    """Lets the first, tenth, hundredth ... message of a kind pass, and says how many there were.

    Whoever sends bad requests decides how many messages there are.

    Example:

    ```python
    logging.getLogger("uvicorn.error").addFilter(SparseLog())
    ```
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[tuple[str, object]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is to be written; a number is put behind it."""
        error = record.exc_info[0] if record.exc_info else None
        kind = (str(record.msg), error)
        self._counts[kind] += 1
        count = self._counts[kind]
        if count > 1:
            record.msg = f"{str(record.msg).rstrip()} ({count} times by now)"
        return str(count).strip("0") == "1"


class _Protocol(HttpToolsProtocol):
    """A connection that is closed when the head of a request takes too long or too many bytes.

    uvicorn's own limit ends with the first byte, and begins with the first answer.
    """

    head_seconds: float
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if self._deadline is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._deadline is not None and self._head_bytes > HEAD_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Else the next request is here already.
        if self.cycle.response_complete:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head_bytes = 0
        self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, models: Models) -> None:
        super().__init__(config)
        self._models = models

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Windows has no such signal.
        if hasattr(signal, "SIGHUP"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._models.reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets open requests finish; a SIGINT after it waits no more.

        uvicorn raises again what it handles, when it is done. So the first signal ends the process
        as if nothing was wrong, and nothing was.
        """
        if self.should_exit and sig == signal.SIGINT:
            super().handle_exit(sig, frame)
        self.should_exit = True
        self._models.refuse()
