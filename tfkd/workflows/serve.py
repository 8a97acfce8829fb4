"""`tfkd serve`: LiteRT files of finished runs behind HTTP, until it is told to stop."""

import dataclasses
import functools
import importlib.util
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tfkd.config.verbs import ServeConfig
from tfkd.errors import ConfigError
from tfkd.progress import Progress
from tfkd.serving.batcher import QueueLimits
from tfkd.serving.contract import RequestLimits
from tfkd.serving.folders import ModelFolder
from tfkd.serving.models import Models

if TYPE_CHECKING:
    from tfkd.serving.journal import Journal

PACKAGES = ("starlette", "uvicorn", "httptools", "prometheus_client")


@dataclasses.dataclass(frozen=True)
class ServeResult:
    """Record of a server that was stopped."""

    address: str
    num_answered: int

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def render(self) -> list[str]:
        """Lines and tables for the console."""
        return [f"Stopped. Requests answered: {self.num_answered}."]


def serve(config: ServeConfig, progress: Progress | None = None) -> ServeResult:
    """Serves the models of runs until SIGINT or SIGTERM.

    Args:
        config: `ServeConfig`.
        progress: `Progress` that says that it serves.

    Returns:
        `ServeResult`, after the last request was answered.

    Raises:
        ArtifactError: A folder is no run, or has no file of the recipe.
        ConfigError: The extra packages are not installed, a name or the limits are no good, or the
            address is taken.
    """
    progress = progress or Progress()
    _check_installed()
    # Imported here: without the extra packages the line above tells it.
    from tfkd.serving import processes, server
    from tfkd.serving.journal import json_lines

    server.check_tls(config.tls_certificate, config.tls_key)
    # With several processes each has its own; here it shows that nothing is wrong with them.
    app, models = _application(config, progress)
    listener = server.listen(config.host, config.port)
    host = f"[{config.host}]" if ":" in config.host else config.host
    scheme = "https" if config.tls_certificate else "http"
    address = f"{scheme}://{host}:{listener.getsockname()[1]}"
    paths = [f"{address}/v1/models/{name}" for name in models.names]
    lines = [f"Serving {path} from {config.recipe}.tflite." for path in paths]
    progress.say("\n".join(lines) + " Ctrl-C stops.")
    if config.processes == 1:
        return ServeResult(address, _answer(config, app, models, listener))
    del app, models
    work = functools.partial(_work, config)
    with json_lines(config.log):
        num_answered = processes.supervise(work, listener, config.processes, config.timeout_seconds)
    return ServeResult(address, num_answered)


def _work(config: ServeConfig, listener: socket.socket) -> int:
    """Answers in a process of its own."""
    from tfkd.serving import processes

    app, models = _application(config, Progress(), processes.reload_all)
    return _answer(config, app, models, listener)


def _answer(config: ServeConfig, app: "Journal", models: Models, listener: socket.socket) -> int:
    """Answers until a signal comes; how many requests."""
    from tfkd.serving import server
    from tfkd.serving.journal import json_lines

    with json_lines(config.log):
        tls = (config.tls_certificate, config.tls_key)
        server.run(app, models, listener, config.timeout_seconds, tls)
    return models.num_answered


def _application(
    config: ServeConfig, progress: Progress, reloaded: Callable[[], object] = lambda: None
) -> tuple["Journal", Models]:
    """What answers, with its models."""
    from tfkd.serving.app import build_app
    from tfkd.serving.callers import BearersOnly, is_loopback, read_token
    from tfkd.serving.journal import Journal
    from tfkd.serving.metrics import Metrics

    token = read_token(config.token_file)
    metrics = Metrics()
    models = Models(_folders(config), _queue_limits(config), progress.say, metrics.watch)
    is_local = is_loopback(config.host)
    app = build_app(models, _request_limits(config), is_local, metrics.metrics, reloaded)
    callers = app if token is None else BearersOnly(app, token)
    return Journal(callers, metrics.request, config.log), models


def _check_installed() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Expected {' and '.join(PACKAGES)} for `tfkd serve`. Received: no "
            f"{', no '.join(missing)}. Install them with `pip install 'tfkd[serve]'`."
        )


def _folders(config: ServeConfig) -> list[ModelFolder]:
    names = [config.name or Path(os.path.realpath(run)).name for run in config.runs]
    for name in names:
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise ConfigError(
                "Expected a name of letters, digits and any of . _ - for the model's address. "
                f"Received: {name!r}. Give another with --name."
            )
        if names.count(name) > 1:
            raise ConfigError(
                f"Expected models of different names. Received: {name} {names.count(name)} times. "
                "Serve them without --name, from folders of different names."
            )
    return [
        ModelFolder(run, name, config.recipe, config.versions, config.workers)
        for run, name in zip(config.runs, names, strict=True)
    ]


def _request_limits(config: ServeConfig) -> RequestLimits:
    return RequestLimits(
        body_bytes=config.max_body_bytes,
        texts=config.max_texts,
        text_characters=config.max_text_characters,
        timeout_seconds=config.timeout_seconds,
    )


def _queue_limits(config: ServeConfig) -> QueueLimits:
    if config.queue_texts < config.max_texts:
        raise ConfigError(
            f"Expected `queue_texts` of at least `max_texts`, {config.max_texts}, so that every "
            f"request finds a place. Received: queue_texts={config.queue_texts}."
        )
    return QueueLimits(
        batch_size=config.batch_size,
        batch_wait_seconds=config.batch_wait_ms / 1000,
        queue_texts=config.queue_texts,
        wait_seconds=config.timeout_seconds,
    )
