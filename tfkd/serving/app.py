"""The routes: TensorFlow Serving's addresses, and two for those who watch over the server.

| request | answer |
| --- | --- |
| `GET /v1/models/NAME` | status |
| `GET /v1/models/NAME/metadata` | signatures |
| `POST /v1/models/NAME:predict` | labels and scores |
| `POST /v1/models/NAME:classify` | every label with its score |
| `POST /v1/models/NAME:regress` | the score, of a model without classes |
| `GET /healthz` | 200 as long as the process answers |
| `GET /readyz` | 200 when it takes requests, else 503 |

`/versions/1` may stand after NAME. What is not answered is `{"error": "..."}` with its status.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tfkd.data.examples import Texts
from tfkd.serving import contract
from tfkd.serving.batcher import AbandonedError, Batcher, QueueFullError, StoppingError
from tfkd.serving.body import check_size, decoded_body
from tfkd.serving.callers import OwnCallersOnly
from tfkd.serving.contract import Refusal, RequestLimits, ServedModel

MODEL_PATHS = ("/v1/models/{name}", "/v1/models/{name}/versions/{version}")
# With a refusal of what was not read: nobody waits for the rest of it.
CLOSE = {"Connection": "close"}
_HEADERS = {408: CLOSE, 413: CLOSE, 415: {"Accept-Encoding": "gzip"}}


def build_app(
    model: ServedModel, batcher: Batcher, limits: RequestLimits, is_local: bool = False
) -> Starlette:
    """The ASGI application; its lifespan runs the batcher.

    Example:

    ```python
    app = build_app(ServedModel("demo", "single_label", labels), batcher, RequestLimits())
    with starlette.testclient.TestClient(app) as client:
        client.post("/v1/models/demo:predict", json={"instances": ["Oil prices fell again."]})
    ```
    """
    service = _Service(model, batcher, limits)
    routes = [Route("/healthz", _alive), Route("/readyz", service.ready)]
    for path in MODEL_PATHS:
        routes += [
            Route(f"{path}:predict", service.predict, methods=["POST"]),
            Route(f"{path}:classify", service.classify, methods=["POST"]),
            Route(f"{path}:regress", service.regress, methods=["POST"]),
            Route(f"{path}/metadata", service.metadata),
            Route(path, service.status),
        ]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with batcher.running():
            yield

    handlers: dict[type[Exception], Callable[..., Awaitable[Response]]] = {
        Refusal: _refused,
        QueueFullError: _full,
        StoppingError: _stopping,
        AbandonedError: _abandoned,
        HTTPException: _not_routed,
        Exception: _failed,
    }
    return Starlette(
        routes=routes,
        middleware=[Middleware(OwnCallersOnly)] if is_local else [],
        exception_handlers=handlers,
        lifespan=lifespan,
    )


class _Service:
    def __init__(self, model: ServedModel, batcher: Batcher, limits: RequestLimits) -> None:
        self._model = model
        self._batcher = batcher
        self._limits = limits

    async def predict(self, request: Request) -> Response:
        self._check(request)
        body = await self._body(request)
        texts, by_columns = contract.predict_request(body, self._model, self._limits)
        scores = await self._scores(texts, request)
        return _json(contract.predict_answer(scores, self._model, by_columns))

    async def classify(self, request: Request) -> Response:
        scores = await self._scores_of_examples(request, contract.CLASSIFY)
        return _json(contract.classify_answer(scores, self._model))

    async def regress(self, request: Request) -> Response:
        scores = await self._scores_of_examples(request, contract.REGRESS)
        return _json(contract.regress_answer(scores))

    async def _scores_of_examples(self, request: Request, method: str) -> np.ndarray:
        self._check(request)
        body = await self._body(request)
        texts = contract.examples_request(body, self._model, self._limits, method)
        return await self._scores(texts, request)

    async def status(self, request: Request) -> Response:
        self._check(request)
        return _json(contract.status(self._batcher.is_stopping))

    async def metadata(self, request: Request) -> Response:
        self._check(request)
        return _json(contract.metadata(self._model))

    async def ready(self, request: Request) -> Response:
        if self._batcher.is_stopping:
            raise StoppingError
        return _json({"status": "ready"})

    def _check(self, request: Request) -> None:
        version = request.path_params.get("version", contract.VERSION)
        contract.check_model(self._model, request.path_params["name"], version)

    async def _body(self, request: Request) -> bytes:
        """The body, never more of it than is allowed."""
        if self._batcher.is_stopping:
            raise StoppingError
        body = bytearray()
        seconds = self._limits.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    body += chunk
                    check_size(len(body), self._limits)
        except TimeoutError as error:
            raise Refusal(408, f"Expected the whole body within {seconds:g} s.") from error
        except ClientDisconnect as error:
            raise Refusal(400, "Expected a whole body. The connection ended before.") from error
        encoding = request.headers.get("content-encoding", "").strip().lower()
        return decoded_body(bytes(body), encoding, self._limits)

    async def _scores(self, texts: Texts, request: Request) -> np.ndarray:
        seconds = self._limits.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                logits = await self._batcher.predict(texts, request.is_disconnected)
        except TimeoutError as error:
            raise Refusal(
                504, f"Expected an answer within {seconds:g} s. There is none."
            ) from error
        return contract.scores_of(logits, self._model.task)


async def _alive(request: Request) -> Response:
    return _json({"status": "alive"})


async def _refused(request: Request, error: Refusal) -> Response:
    return _error(str(error), error.status, _HEADERS.get(error.status, {}))


async def _full(request: Request, error: QueueFullError) -> Response:
    return _error(str(error), 429, {"Retry-After": str(error.retry_seconds)})


async def _stopping(request: Request, error: StoppingError) -> Response:
    return _error(str(error), 503, CLOSE)


async def _abandoned(request: Request, error: AbandonedError) -> Response:
    """To nobody: the connection has ended."""
    return _error("Expected a sender that waits for the answer.", 400, CLOSE)


async def _not_routed(request: Request, error: HTTPException) -> Response:
    message = f"Malformed request: {request.method} {request.url.path}"
    return _error(message, error.status_code, error.headers or {})


async def _failed(request: Request, error: Exception) -> Response:
    """Answer without the cause, which is for the server's log, not for the sender."""
    return _error("The model failed on this request.", 500, {})


def _error(message: str, status: int, headers: Mapping[str, str]) -> Response:
    return _json({"error": message}, status, headers)


def _json(
    content: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(json.dumps(content), status, headers, "application/json")
