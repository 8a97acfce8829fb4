"""Latency of saved models, taken in a fresh process that has the threads it is told.

TensorFlow fixes its threads when it starts, so a process that has trained cannot time one thread.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfkd.evaluation.latency import Latency, measure_latency
from tfkd.process import TimedModel, answer, load, run_fresh, step, thread_limits


def time_models(
    models: Mapping[str, TimedModel],
    texts: Sequence[Any],
    rounds: int,
    threads: int = 1,
    timeout_seconds: float = 3600.0,
    stepped: Callable[[], object] = lambda: None,
    budget_seconds: float | None = None,
) -> dict[str, Latency]:
    """Times saved models interleaved, in one fresh process.

    Arguments as for `measure_latency`.

    Raises:
        ModelError: The process failed or took too long.
    """
    job = {
        "models": {
            name: [item.loader, str(item.path), dict(item.options)] for name, item in models.items()
        },
        "texts": list(texts),
        "rounds": rounds,
        "budget_seconds": budget_seconds,
    }
    found = run_fresh(
        "tfkd.evaluation.timing",
        job,
        "to be timed",
        timeout_seconds,
        thread_limits(threads),
        stepped,
    )
    return {name: Latency(**figures) for name, figures in found.items()}


def _main() -> None:
    job = json.load(sys.stdin)
    models = {
        name: load(loader, Path(path), **options)
        for name, (loader, path, options) in job["models"].items()
    }
    texts = [tuple(text) if isinstance(text, list) else text for text in job["texts"]]
    measured = measure_latency(
        models, texts, job["rounds"], stepped=step, budget_seconds=job["budget_seconds"]
    )
    answer({name: dataclasses.asdict(latency) for name, latency in measured.items()})


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _main()
