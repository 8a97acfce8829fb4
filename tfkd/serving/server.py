"""One process that listens: uvicorn, with an end that loses no request it has taken."""

import math
import socket
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from tfkd.errors import ConfigError
from tfkd.serving.batcher import Batcher


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: String. Address of this machine.
        port: Integer. 0 for any that is free.

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


def run(app: Starlette, batcher: Batcher, listener: socket.socket, timeout_seconds: float) -> None:
    """Serves until SIGINT or SIGTERM. Then what was taken is answered and the function returns.

    A second SIGINT waits no longer and raises `KeyboardInterrupt`.

    Args:
        app: The application, from `tfkd.serving.app.build_app`.
        batcher: Its `Batcher`.
        listener: A listening socket; it is closed at the end.
        timeout_seconds: Float. Longest time of one request: after it open ones are given up.
    """
    config = uvicorn.Config(
        app,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(timeout_seconds),
    )
    _Server(config, batcher).run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, batcher: Batcher) -> None:
        super().__init__(config)
        self._batcher = batcher

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets open requests finish; the next is uvicorn's: SIGINT waits no more.

        uvicorn raises again what it handles, when it is done. So the first signal ends the process
        as if nothing was wrong, and nothing was.
        """
        if self.should_exit:
            super().handle_exit(sig, frame)
        self.should_exit = True
        self._batcher.refuse()
