"""Peak resident memory and the first call of a model, in a process of its own.

A process that already holds TensorFlow, a teacher and a data set cannot tell what a student needs,
so a fresh one is started. What its first call takes is the cold figure that warm times leave out.
The process is told what to call by name (`module:callable`), so that this module
knows no model class and imports none.
"""

import dataclasses
import json
import os
import re
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfkd.process import TimedModel, answer, load, run_fresh, thread_limits

TIMEOUT_SECONDS = 300.0


@dataclasses.dataclass(frozen=True)
class FreshStart:
    """Memory and first call of a model in a fresh process.

    Attributes:
        peak_memory_bytes: Peak resident memory, interpreter and libraries included.
        first_call_ms: Milliseconds of the first `predict([text])` after loading, tokenization
            included. One call: it says how long a user waits once, not what a model costs.
    """

    peak_memory_bytes: int
    first_call_ms: float


def fresh_start(
    model: TimedModel,
    texts: Sequence[Any],
    threads: int | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> FreshStart:
    """Memory and first call of a fresh process that loads a model and predicts texts one by one.

    Args:
        model: What to load.
        texts: A few strings, or pairs of strings.
        threads: Threads of TensorFlow. Default: as many as it takes.
        timeout_seconds: Longest time for the process.

    Raises:
        ModelError: The process failed or took too long.

    Example:
    >>> fresh_start(TimedModel(KERAS_LOADER, folder), ["Oil fell."]).first_call_ms
    266.3
    """
    job = {
        "loader": model.loader,
        "path": str(model.path),
        "options": dict(model.options),
        "texts": list(texts),
    }
    purpose = f"of {model.path} to load and answer {len(texts)} texts"
    limits = None if threads is None else thread_limits(threads)
    found = run_fresh("tfkd.evaluation.memory", job, purpose, timeout_seconds, limits)
    return FreshStart(**found)


def _own_peak_bytes() -> int:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux hands getrusage's figure of the parent down to its child; this one starts anew.
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
        if peak:
            return int(peak.group(1)) * 1024
    peak_units = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_units if sys.platform == "darwin" else peak_units * 1024


def _main() -> None:
    """Work of the fresh process."""
    job = json.load(sys.stdin)
    predictor = load(job["loader"], Path(job["path"]), **job["options"])
    texts = [[tuple(text) if isinstance(text, list) else text] for text in job["texts"]]
    start = time.perf_counter()
    predictor.predict(texts[0])
    first_call_ms = 1000 * (time.perf_counter() - start)
    for text in texts[1:]:
        predictor.predict(text)
    found = FreshStart(_own_peak_bytes(), first_call_ms)
    answer(dataclasses.asdict(found))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _main()
