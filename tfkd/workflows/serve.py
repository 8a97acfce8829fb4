"""`tfkd serve`: LiteRT files of finished runs behind HTTP, until it is told to stop."""

import dataclasses
import importlib.util
import os
import re
from pathlib import Path

from tfkd.config.verbs import ServeConfig
from tfkd.errors import ConfigError
from tfkd.progress import Progress
from tfkd.serving.batcher import QueueLimits
from tfkd.serving.contract import RequestLimits
from tfkd.serving.folders import ModelFolder
from tfkd.serving.models import Models

PACKAGES = ("starlette", "uvicorn", "httptools")


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
    from tfkd.serving import server
    from tfkd.serving.app import build_app
    from tfkd.serving.callers import is_loopback

    models = Models(_folders(config), _queue_limits(config), progress.say)
    app = build_app(models, _request_limits(config), is_loopback(config.host))
    listener = server.listen(config.host, config.port)
    host = f"[{config.host}]" if ":" in config.host else config.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    paths = [f"{address}/v1/models/{name}" for name in models.names]
    lines = [f"Serving {path} from {config.recipe}.tflite." for path in paths]
    progress.say("\n".join(lines) + " Ctrl-C stops.")
    server.run(app, models, listener, config.timeout_seconds)
    return ServeResult(address, models.num_answered)


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
    )
