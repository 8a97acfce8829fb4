"""What is kept of a request: its id, its time in the metrics and, if asked for, a line of JSON.

A line has what the server knows of the request, never what its sender wrote: no address, no text.
Texts stand in it only where the user of `tfkd serve` asked for them.
"""

import contextlib
import contextvars
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfkd.config.verbs import LOG_ERRORS, LOG_TEXTS

LOG = logging.getLogger("tfkd.serving")
_REQUEST_ID = contextvars.ContextVar("request_id", default="")
_WELL_FORMED = re.compile(r"[\w.:-]{1,128}", re.ASCII)
# Of what was not routed, and of what no model was found for.
_UNKNOWN, _NO_MODEL = "unknown", ("", "")
# Name and version of a model, the function that answered, status, seconds.
Count = Callable[[tuple[str, str], str, int, float], object]


class Journal:
    """Middleware that gives a request its id, and counts and logs it when it is answered.

    The id is the sender's own `X-Request-Id` where that is well-formed, and is sent back under the
    same name. The application may leave `model`, a name and a version, and `texts` in the request's
    `state`.

    Args:
        app: The ASGI application.
        count: Told of every request, `Metrics.request`.
        log: String. One of `tfkd.config.verbs.LOGS`.
    """

    def __init__(self, app: ASGIApp, count: Count, log: str = LOG_ERRORS) -> None:
        self._app = app
        self._count = count
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _WELL_FORMED.fullmatch(given) else uuid.uuid4().hex
        _REQUEST_ID.set(request_id)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, answer)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # What Starlette and the application left there.
        state = scope.get("state", {})
        model, texts = state.get("model", _NO_MODEL), state.get("texts", ())
        endpoint = getattr(scope.get("endpoint"), "__name__", _UNKNOWN).strip("_")
        self._count(model, endpoint, status, seconds)
        if self._log != LOG_ERRORS:
            told = {
                "model": model[0],
                "version": model[1],
                "endpoint": endpoint,
                "status": status,
                "seconds": round(seconds, 6),
                "num_texts": len(texts),
            }
            shown = {"texts": texts} if self._log == LOG_TEXTS else {}
            LOG.info("request", extra={"told": {**told, **shown}})


class JsonLines(logging.Formatter):
    """A record as one line of JSON, with the id of the request it is about.

    Example:

    >>> JsonLines().format(logging.makeLogRecord({"msg": "request", "levelname": "INFO"}))
    '{"time": "2026-08-21T10:15:02.345+00:00", "level": "info", "message": "request"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage().strip(),
        }
        if request_id := _REQUEST_ID.get():
            line["request_id"] = request_id
        line |= getattr(record, "told", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


@contextlib.contextmanager
def json_lines(log: str) -> Iterator[None]:
    """What is logged inside the block goes to standard error as JSON, unless errors alone do."""
    if log == LOG_ERRORS:
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.root.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
