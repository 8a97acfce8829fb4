"""Asks a fresh Python process for figures that this one, full of TensorFlow, cannot give.

The job goes in as JSON on standard input, the answer comes back as the last line of standard
output. What to load is named by "module:callable", so that nothing here knows a model class.
"""

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfkd.errors import ModelError

KERAS_LOADER = "tfkd.models.classifier:TextClassifier.load"
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
    module: str, job: Any, purpose: str, timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
) -> Any:  # fmt: skip
    """The answer of `python -m module` to a job.

    Args:
        module: String. Its main reads JSON from standard input and calls `answer`.
        job: JSON value.
        purpose: String. What the models were "expected", for the error message.
        timeout_seconds: Float. How long the process may take.
        environment: Mapping. Variables on top of this process'.

    Raises:
        ModelError: The process failed, took too long or did not answer in JSON.
    """
    search_path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", module], input=json.dumps(job), capture_output=True,
            encoding="utf-8", errors="replace", timeout=timeout_seconds,
            env={**os.environ, **(environment or {}), "PYTHONPATH": search_path},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"Expected the models {purpose} in a fresh process within {timeout_seconds:g} s. "
            "Received: no answer. Try again on a less busy machine."
        ) from error
    # A library may write to standard output too: the answer is the last line.
    line = finished.stdout.strip().rpartition("\n")[2]
    if finished.returncode != 0 or not line:
        reason = finished.stderr.strip().rpartition("\n")[2] or f"code {finished.returncode}"
        raise ModelError(f"Expected the models {purpose} in a fresh process. Received: {reason}")
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"Expected the models {purpose} in a fresh process that answers in JSON. "
            f"Received: {line[:80]!r}"
        ) from error


def thread_limits(threads: int) -> dict[str, str]:
    """The variables that hold TensorFlow in a fresh process to so many threads."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return dict.fromkeys(names, str(threads))


def answer(value: Any) -> None:
    """What the fresh process ends with."""
    sys.stdout.write("\n" + json.dumps(value) + "\n")


def load(loader: str, path: Path, **options: Any) -> Any:
    """Calls "module:callable" with the path and what else it takes."""
    module, _, name = loader.partition(":")
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    return function(path, **options)
