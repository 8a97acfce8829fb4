"""The routes: TensorFlow Serving's addresses, the Open Inference Protocol's, and three more.

| request | answer |
| --- | --- |
| `GET /v1/models/NAME` | status |
| `GET /v1/models/NAME/metadata` | signatures |
| `POST /v1/models/NAME:predict` | labels and scores |
| `POST /v1/models/NAME:classify` | every label with its score |
| `POST /v1/models/NAME:regress` | the score, of a model without classes |
| `GET /` | a page to try the models |
| `GET /openapi.json` | these addresses, in OpenAPI 3.1 |
| `GET /healthz` | 200 as long as the process answers |
| `GET /readyz` | 200 when it takes requests, else 503 |
| `GET /metrics` | what Prometheus asks for |
| `POST /v1/config/reload` | new versions and changed files are served; this machine's alone |
| `GET /v2` | server |
| `GET /v2/health/live`, `GET /v2/health/ready` | as the two above |
| `GET /v2/models` | names |
| `GET /v2/models/NAME` | versions, inputs and outputs |
| `GET /v2/models/NAME/ready` | 200 when it takes requests, else 503 |
| `POST /v2/models/NAME/infer` | labels and scores |

`/versions/N` may stand after NAME; without it the newest answers. What is not answered is
`{"error": "..."}` with its status.
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
from tfkd.serving import contract, open_inference
from tfkd.serving.batcher import AbandonedError, QueueFullError, StoppingError
from tfkd.serving.body import check_size, decoded_body
from tfkd.serving.callers import OwnCallersOnly, foreign_header, is_loopback
from tfkd.serving.contract import Refusal, RequestLimits
from tfkd.serving.models import Models, Version
from tfkd.serving.openapi import openapi
from tfkd.serving.page import page

Page = Callable[[Request], Awaitable[Response]]
VERSIONS = ("", "/versions/{version}")
# With a refusal of what was not read: nobody waits for the rest of it.
CLOSE = {"Connection": "close"}
_HEADERS = {408: CLOSE, 413: CLOSE, 415: {"Accept-Encoding": "gzip"}}


def build_app(
    models: Models,
    limits: RequestLimits,
    is_local: bool = False,
    metrics: Page | None = None,
    reloaded: Callable[[], object] = lambda: None,
) -> Starlette:
    """The ASGI application; its lifespan runs the models.

    `metrics` answers Prometheus, and `reloaded` is called when a request had the models renewed.

    Example:

    ```python
    app = build_app(Models([folder], QueueLimits()), RequestLimits())
    with starlette.testclient.TestClient(app) as client:
        client.post("/v1/models/demo:predict", json={"instances": ["Oil prices fell again."]})
    ```
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with models.running():
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
        routes=_Service(models, limits, reloaded).routes(metrics),
        middleware=[Middleware(OwnCallersOnly)] if is_local else [],
        exception_handlers=handlers,
        lifespan=lifespan,
    )


class _Service:
    def __init__(
        self, models: Models, limits: RequestLimits, reloaded: Callable[[], object]
    ) -> None:
        self._models = models
        self._limits = limits
        self._reloaded = reloaded
        self._fixed: tuple[str, ...] = ()

    def routes(self, metrics: Page | None) -> list[Route]:
        fixed: dict[str, Page] = {
            "/": _page,
            "/openapi.json": self.openapi,
            "/healthz": _alive,
            "/readyz": self.ready,
            "/v2": _server,
            "/v2/health/live": _live,
            "/v2/health/ready": self.server_ready,
            "/v2/models": self.names,
        }
        read = {
            "/v2/models/{name}%s/ready": self.model_ready,
            "/v2/models/{name}%s": self.model,
            "/v1/models/{name}%s/metadata": self.metadata,
            "/v1/models/{name}%s": self.status,
        }
        sent = {
            "/v1/models/{name}%s:predict": self.predict,
            "/v2/models/{name}%s/infer": self.infer,
            "/v1/models/{name}%s:classify": self.classify,
            "/v1/models/{name}%s:regress": self.regress,
        }
        if metrics is not None:
            fixed["/metrics"] = metrics
        self._fixed = tuple(fixed)
        routes = []
        # Tried one after the other, so what is asked most comes first.
        for answers, method in ((sent, "POST"), (read, "GET")):
            for path, answer in answers.items():
                routes += [Route(path % part, answer, methods=[method]) for part in VERSIONS]
        routes += [Route(path, answer) for path, answer in fixed.items()]
        return [*routes, Route("/v1/config/reload", self.reload, methods=["POST"])]

    async def predict(self, request: Request) -> Response:
        found, body = await self._asked(request)
        texts, by_columns = contract.predict_request(body, found.model, self._limits)
        scores = await self._scores(found, texts, request)
        return _json(contract.predict_answer(scores, found.model, by_columns))

    async def classify(self, request: Request) -> Response:
        found, scores = await self._scores_of_examples(request, contract.CLASSIFY)
        return _json(contract.classify_answer(scores, found.model))

    async def regress(self, request: Request) -> Response:
        _, scores = await self._scores_of_examples(request, contract.REGRESS)
        return _json(contract.regress_answer(scores))

    async def _scores_of_examples(
        self, request: Request, method: str
    ) -> tuple[Version, np.ndarray]:
        found, body = await self._asked(request)
        texts = contract.examples_request(body, found.model, self._limits, method)
        return found, await self._scores(found, texts, request)

    async def infer(self, request: Request) -> Response:
        found, body = await self._asked(request)
        texts, asked = open_inference.infer_request(body, found.model, self._limits)
        scores = await self._scores(found, texts, request)
        return _json(open_inference.infer_answer(scores, found.model, asked))

    async def model(self, request: Request) -> Response:
        model = self._find(request).model
        return _json(open_inference.model_metadata(model, self._models.versions(model.name)))

    async def model_ready(self, request: Request) -> Response:
        name = self._find(request).model.name
        self._check_ready()
        return _json({"name": name, "ready": True})

    async def names(self, request: Request) -> Response:
        return _json({"models": self._models.names})

    async def status(self, request: Request) -> Response:
        version = self._find(request).model.version
        is_one = "version" in request.path_params
        versions = [version] if is_one else self._models.versions(request.path_params["name"])
        return _json(contract.status(versions, self._models.is_stopping))

    async def metadata(self, request: Request) -> Response:
        return _json(contract.metadata(self._find(request).model))

    async def openapi(self, request: Request) -> Response:
        return _json(openapi(self._models, self._limits, self._fixed))

    async def ready(self, request: Request) -> Response:
        self._check_ready()
        return _json({"status": "ready"})

    async def server_ready(self, request: Request) -> Response:
        self._check_ready()
        return _json({"ready": True})

    def _check_ready(self) -> None:
        if self._models.is_stopping:
            raise StoppingError

    async def reload(self, request: Request) -> Response:
        sender = request.client.host if request.client else ""
        if not is_loopback(sender) or foreign_header(request.headers):
            raise Refusal(403, "Expected a program of the server's machine. Received another.")
        # What has begun comes to its end, whether its sender waits or not.
        changes, failures = await asyncio.shield(self._reload())
        if failures:
            return _error(" ".join([*changes, *failures]), 409, {})
        versions = {name: self._models.versions(name) for name in self._models.names}
        return _json({"changes": changes, "versions": versions})

    async def _reload(self) -> tuple[list[str], list[str]]:
        found = await self._models.reload()
        self._reloaded()
        return found

    def _find(self, request: Request) -> Version:
        name, version = request.path_params["name"], request.path_params.get("version")
        found = self._models.find(name, version)
        request.state.model = (name, found.model.version)
        return found

    async def _asked(self, request: Request) -> tuple[Version, bytes]:
        """The version for a request and the body; without a pause after it was looked up."""
        self._find(request)
        body = await self._body(request)
        return self._find(request), body

    async def _body(self, request: Request) -> bytes:
        """The body, never more of it than is allowed."""
        self._check_ready()
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

    async def _scores(self, found: Version, texts: Texts, request: Request) -> np.ndarray:
        request.state.texts = texts
        seconds = self._limits.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                logits = await found.batcher.predict(texts, request.is_disconnected)
        except TimeoutError as error:
            raise Refusal(
                504, f"Expected an answer within {seconds:g} s. There is none."
            ) from error
        return contract.scores_of(logits, found.model.task)


async def _page(request: Request) -> Response:
    return page()


async def _alive(request: Request) -> Response:
    return _json({"status": "alive"})


async def _live(request: Request) -> Response:
    return _json({"live": True})


async def _server(request: Request) -> Response:
    return _json(open_inference.server_metadata())


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
