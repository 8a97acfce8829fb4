"""What Prometheus asks for: times, queues, batches and errors of every model, on one page.

Several processes keep their values in files of one folder, which `FOLDER` names in the environment
before this module is imported. So any of them answers for all.
"""

import functools
import os

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram, multiprocess
from starlette.requests import Request
from starlette.responses import Response

from tfkd.serving.batcher import Watch
from tfkd.serving.contract import ServedModel

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_TEXTS = tuple(float(2**power) for power in range(13))
_MODEL = ("model", "version")
# Else every series has another, with the time of its first value.
prometheus_client.disable_created_metrics()


class Metrics:
    """The metrics of one server.

    Example:

    ```python
    metrics = Metrics()
    models = Models([folder], QueueLimits(), watch=metrics.watch)
    metrics.request(("demo", "1"), "predict", 200, 0.004)
    ```
    """

    def __init__(self) -> None:
        kept = CollectorRegistry()
        self._registry = kept
        # With a value of its own in each process, and of these the sum or the largest.
        self._queue = Gauge(
            "tfkd_queue_texts",
            "Texts that wait.",
            _MODEL,
            registry=kept,
            multiprocess_mode="livesum",
        )
        self._info = Gauge(
            "tfkd_model_info",
            "1 for every file that answers, 0 for one that did.",
            (*_MODEL, "sha256"),
            registry=kept,
            multiprocess_mode="livemax",
        )

        def histogram(
            name: str, what: str, labels: tuple[str, ...], ends: tuple[float, ...]
        ) -> Histogram:
            return Histogram(f"tfkd_{name}", what, labels, registry=kept, buckets=ends)

        self._requests = histogram(
            "request_seconds",
            "From the head of a request to the end of its answer.",
            (*_MODEL, "endpoint", "code"),
            _SECONDS,
        )
        self._waits = histogram("queue_seconds", "A request's wait for a model.", _MODEL, _SECONDS)
        self._sizes = histogram("batch_texts", "Texts answered at once.", _MODEL, _TEXTS)
        self._calls = histogram("batch_seconds", "A model's time for them.", _MODEL, _SECONDS)

    def watch(self, model: ServedModel) -> Watch:
        """What a model's queue is to be given; as long as it runs its file is on the page."""
        info = self._info.labels(model.name, model.version, model.sha256)
        info.set(1)
        of_model = (model.name, model.version)
        return Watch(
            self._queue.labels(*of_model).set,
            self._waits.labels(*of_model).observe,
            self._sizes.labels(*of_model).observe,
            self._calls.labels(*of_model).observe,
            functools.partial(info.set, 0),
        )

    def request(self, model: tuple[str, str], endpoint: str, status: int, seconds: float) -> None:
        """Counts an answered request; `model` is name and version, of none two empty strings."""
        self._requests.labels(*model, endpoint, str(status)).observe(seconds)

    async def metrics(self, request: Request) -> Response:
        """The page, in Prometheus' text format."""
        registry = self._registry
        if FOLDER in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return Response(
            prometheus_client.generate_latest(registry),
            headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
        )


def forget(process: int) -> None:
    """Takes what a process that has ended had at the moment off the page; its counts stay."""
    multiprocess.mark_process_dead(process)
