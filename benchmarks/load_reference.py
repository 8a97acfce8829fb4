"""The design `tfkd serve` is measured against: one request, one `keras.predict`, round robin.

    python benchmarks/load_reference.py model PORT saved_models/ag_news-bert_tiny/student
    python benchmarks/load_reference.py balancer PORT MODEL_PORT MODEL_PORT ...

FastAPI in front of the student as Keras runs it, and FastAPI again in front of several of those,
asking one after the other. In the system it is taken from the balancer waits for each answer before
it asks for the next; here it does not, so that all processes work. benchmarks/load.py starts and
ends them.
"""

import itertools
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import fastapi
import httpx2
import uvicorn

from tfkd.quiet import import_tensorflow, quiet_libraries

# Long enough for 64 requests to wait for each other, and for connections to outlive the other
# server's turn.
TIMEOUT_SECONDS = 120


def model_app(folder: Path) -> fastapi.FastAPI:
    """Answers `{"text": ...}` with label and scores, one text a call of `predict`."""
    import_tensorflow()
    from scipy.special import softmax

    from tfkd.models.classifier import TextClassifier

    classifier = TextClassifier.load(folder)
    app = fastapi.FastAPI()

    # As that system has it: the loop waits for the model, so each process predicts one at a time.
    @app.post("/predict")
    async def predict(request: dict[str, str]) -> dict[str, object]:
        arrays = classifier.encode([request["text"]], classifier.tokenizer.sequence_length)
        scores = softmax(classifier.model.predict(arrays, verbose=0)[0])
        return {"label": classifier.label_names[scores.argmax()], "scores": scores.tolist()}

    return app


def balancer_app(ports: Sequence[str]) -> fastapi.FastAPI:
    """Hands every request to the next of the models."""
    addresses = itertools.cycle([f"http://127.0.0.1:{port}/predict" for port in ports])
    limits = httpx2.Limits(keepalive_expiry=TIMEOUT_SECONDS / 2)
    client = httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)

    @asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.post("/predict")
    async def predict(request: fastapi.Request) -> fastapi.Response:
        kind = {"Content-Type": "application/json"}
        body = await request.body()
        answer = await client.post(next(addresses), content=body, headers=kind)
        return fastapi.Response(answer.content, answer.status_code, media_type="application/json")

    return app


def main(arguments: Sequence[str]) -> None:
    """Serves one of the two on the loopback address."""
    kind, port, *rest = arguments
    quiet_libraries()
    app = model_app(Path(rest[0])) if kind == "model" else balancer_app(rest)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(port),
        log_level="warning",
        access_log=False,
        timeout_keep_alive=TIMEOUT_SECONDS,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
