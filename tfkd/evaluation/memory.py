"""Peak resident memory of loading a model and answering texts, in a process of its own.

A process that already holds TensorFlow, a teacher and a data set cannot tell what a student needs,
so a fresh one is started. It is told what to call by name (`module:callable`), so that this module
knows no model class and imports none.
"""

import json
import os
import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from tfkd.evaluation.process import KERAS_LOADER, LITERT_LOADER, answer, load, run_fresh

TIMEOUT_SECONDS = 300.0


def peak_memory_bytes(
    model_folder: Path,
    kind: str,
    texts: Sequence[str] | Sequence[tuple[str, str]],
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> int:
    """Peak resident memory of a fresh process that loads a model and predicts texts one by one.

    Interpreter and libraries included: it is what a machine needs to run the model with Python.

    Args:
        model_folder: Path of a model folder (`<run>/student`).
        kind: String. "keras", or the recipe whose `<recipe>.tflite` in the folder is to be asked.
        texts: A few strings, or pairs of strings.
        timeout_seconds: Float. How long the process may take.

    Returns:
        Integer. Bytes.

    Raises:
        ModelError: The process failed or took too long.

    Example:
    >>> peak_memory_bytes(Path("saved_models/ag_news/student"), "dynamic_int8", ["Oil fell."])
    412090368
    """
    if kind == "keras":
        return peak_memory_of(KERAS_LOADER, model_folder, texts, timeout_seconds)
    return peak_memory_of(LITERT_LOADER, model_folder / f"{kind}.tflite", texts, timeout_seconds)


def peak_memory_of(
    loader: str,
    path: Path,
    texts: Sequence[str] | Sequence[tuple[str, str]],
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> int:
    """Peak resident memory in bytes of a fresh process that runs `loader(path).predict([text])`.

    Args:
        loader: String. "module:callable" that takes the path and returns a predictor.
        path: Path. What to load.
        texts: A few strings, or pairs of strings.
        timeout_seconds: Float. How long the process may take.

    Raises:
        ModelError: The process failed or took too long.

    Example:
    >>> peak_memory_of("package.module:Model.load", Path("model"), ["Oil fell."])
    31457280
    """
    job = {"loader": loader, "path": str(path), "texts": list(texts)}
    purpose = f"of {path} to load and answer {len(texts)} texts"
    return run_fresh("tfkd.evaluation.memory", job, purpose, timeout_seconds)


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
    """What the fresh process does."""
    job = json.load(sys.stdin)
    predictor = load(job["loader"], Path(job["path"]))
    for text in job["texts"]:
        predictor.predict([tuple(text) if isinstance(text, list) else text])
    answer(_own_peak_bytes())


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _main()
