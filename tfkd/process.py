"""Asks a fresh Python process for figures that this one, full of TensorFlow, cannot give.

The job goes in as JSON on standard input, the answer comes back as the last line of standard
output, after a line for each step of a long job. What to load is named by "module:callable", so
that nothing here knows a model class.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfkd.errors import ModelError

KERAS_LOADER = "tfkd.models.classifier:TextClassifier.load"
STEP = "tfkd-step"
LITERT_LOADER = "tfkd.compression.litert:LiteRTModel"


@dataclasses.dataclass(frozen=True)
class TimedModel:
    """A saved model to be asked in a fresh process.

    Attributes:
        loader: "module:callable" that takes the path and returns a predictor.
        path: What to load.
        options: What else the callable takes, by name, as JSON values.
    """

    loader: str
    path: Path
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def run_fresh(
    module: str,
    job: Any,
    purpose: str,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
    stepped: Callable[[], object] = lambda: None,
) -> Any:
    """The answer of `python -m module` to a job.

    Args:
        module: String. Its main reads JSON from standard input and calls `answer`.
        job: JSON value.
        purpose: String. What the models were "expected", for the error message.
        timeout_seconds: Float. How long the process may take.
        environment: Mapping. Variables on top of this process'.
        stepped: Called for each `step` of the process.

    Raises:
        ModelError: The process failed, took too long or did not answer in JSON.
    """
    search_path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    variables = {**os.environ, **(environment or {}), "PYTHONPATH": search_path}
    is_late = threading.Event()
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            env=variables,
        ) as process,
    ):
        watchdog = threading.Timer(timeout_seconds, _stop, (process, is_late))
        watchdog.start()
        try:
            line = _last_line(process, json.dumps(job), stepped)
            code = process.wait()
        finally:
            watchdog.cancel()
            process.kill()
        errors.seek(0)
        told = errors.read()
    if is_late.is_set():
        raise ModelError(
            f"Expected the models {purpose} in a fresh process within {timeout_seconds:g} s. "
            "Received: no answer. Try again on a less busy machine."
        )
    if code != 0 or not line:
        reason = told.strip().rpartition("\n")[2] or f"code {code}"
        raise ModelError(f"Expected the models {purpose} in a fresh process. Received: {reason}")
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"Expected the models {purpose} in a fresh process that answers in JSON. "
            f"Received: {line[:80]!r}"
        ) from error


def _stop(process: subprocess.Popen[str], is_late: threading.Event) -> None:
    """Ends a process that has had its time."""
    is_late.set()
    process.kill()


def _last_line(process: subprocess.Popen[str], job: str, stepped: Callable[[], object]) -> str:
    """Hands over the job and hears the process to its end: its last line that is no step."""
    assert process.stdin is not None and process.stdout is not None
    # One that ended at once says why on standard error.
    with contextlib.suppress(BrokenPipeError), process.stdin as stream:
        stream.write(job)
    last = ""
    for line in process.stdout:
        if line.strip() == STEP:
            stepped()
        else:
            # A library may write to standard output too: the answer is the last line.
            last = line.strip() or last
    return last


def thread_limits(threads: int) -> dict[str, str]:
    """The variables that hold TensorFlow in a fresh process to so many threads."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return dict.fromkeys(names, str(threads))


def answer(value: Any) -> None:
    """What the fresh process ends with."""
    sys.stdout.write("\n" + json.dumps(value) + "\n")


def step() -> None:
    """Tells the parent that a step of the job is done."""
    sys.stdout.write(f"\n{STEP}\n")
    sys.stdout.flush()


def load(loader: str, path: Path, **options: Any) -> Any:
    """Calls "module:callable" with the path and what else it takes."""
    module, _, name = loader.partition(":")
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    return function(path, **options)
