"""`tfkd serve`: the LiteRT file of a finished run behind HTTP, until it is told to stop."""

import dataclasses
import importlib.util
import os
import re
from pathlib import Path

from tfkd.artifacts import RunFolder
from tfkd.compression.litert import LiteRTModel
from tfkd.config.verbs import ServeConfig
from tfkd.errors import ConfigError
from tfkd.models.description import Description
from tfkd.progress import Progress
from tfkd.serving.batcher import Batcher, QueueLimits
from tfkd.serving.contract import RequestLimits, ServedModel

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
    """Serves a run's model until SIGINT or SIGTERM.

    Args:
        config: `ServeConfig`.
        progress: `Progress` that says that it serves.

    Returns:
        `ServeResult`, after the last request was answered.

    Raises:
        ArtifactError: The folder is no run, or has no file of the recipe.
        ConfigError: The extra packages are not installed, the name or the limits are no good, or
            the address is taken.
    """
    progress = progress or Progress()
    _check_installed()
    # Imported here: without the extra packages the line above tells it.
    from tfkd.serving import server
    from tfkd.serving.app import build_app
    from tfkd.serving.callers import is_loopback

    model = _served_model(config)
    limits = _request_limits(config)
    batcher = Batcher(_predictors(config), _queue_limits(config))
    app = build_app(model, batcher, limits, is_loopback(config.host))
    listener = server.listen(config.host, config.port)
    host = f"[{config.host}]" if ":" in config.host else config.host
    address = f"http://{host}:{listener.getsockname()[1]}/v1/models/{model.name}"
    progress.say(f"Serving {address} from {config.recipe}.tflite. Ctrl-C stops.")
    server.run(app, batcher, listener, config.timeout_seconds)
    return ServeResult(address, batcher.num_answered)


def _check_installed() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Expected {' and '.join(PACKAGES)} for `tfkd serve`. Received: no "
            f"{', no '.join(missing)}. Install them with `pip install 'tfkd[serve]'`."
        )


def _served_model(config: ServeConfig) -> ServedModel:
    run = RunFolder(config.run)
    run.read_config()
    name = config.name or Path(os.path.realpath(config.run)).name
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise ConfigError(
            "Expected a name of letters, digits and any of . _ - for the model's address. "
            f"Received: {name!r}. Give another with --name."
        )
    found = Description.read(run.model)
    return ServedModel(name, found.task, found.label_names, found.num_texts, found.thresholds)


def _predictors(config: ServeConfig) -> list[LiteRTModel]:
    """One model a worker, all with the same tokenizer and the words it remembers."""
    path = RunFolder(config.run).model / f"{config.recipe}.tflite"
    first = LiteRTModel(path)
    tokenizer = first.tokenizer
    return [first, *(LiteRTModel(path, tokenizer) for _ in range(config.workers - 1))]


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
