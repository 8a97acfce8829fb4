"""Runs modules in processes of their own, for work that would be wrong or dangerous in this one.

Memory and times are those of a process that holds nothing else, and a converter in C++ can end the
one it runs in. The job goes in as JSON on standard input; marked lines of standard output tell
steps, stages and the answer. What to load is named by "module:callable", so that nothing here knows
a model class.

A process ends with the one that started it, however that ends: run as `python -m tfkd.process`, it
asks the system for it before it imports anything slow.

A process for each job costs about 5 s of imports. loky's pools would keep one warm, but a crash is
told there by its signal alone: stage and standard error would need channels of their own, and the
warm process would hold nearly 1 GB beside this one.
"""

import contextlib
import ctypes
import dataclasses
import functools
import importlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loky import cpu_count

from tfkd.errors import ModelError
from tfkd.parts import temporary_folder
from tfkd.quiet import collect_rarely

KERAS_LOADER = "tfkd.models.classifier:TextClassifier.load"
LITERT_LOADER = "tfkd.compression.litert:LiteRTModel"
KIT_LOADER = "tfkd.compression.kit_model:KitModel"
_ANSWER, _STAGE, _STEP = "tfkd-answer: ", "tfkd-stage: ", "tfkd-step"
# As Linux names them on x86 and on ARM.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_EXCEPTION = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Exit)\b")
# Linux' prctl: the signal that a process gets when the thread that started it ends.
_PARENT_DEATH_SIGNAL = 1
_FOLLOW_SECONDS = 0.5
_RUNNING: set[subprocess.Popen[str]] = set()
_CHATTER = re.compile(r"^([IWEF]\d{4} |WARNING:|INFO:|To enable the following|\s|.*Warning:)")


@dataclasses.dataclass(frozen=True)
class TimedModel:
    """A saved model to be asked in a fresh process.

    Attributes:
        loader: "module:callable" that takes the path and returns a predictor.
        path: File or folder to load.
        options: Other arguments of the callable, by name, as JSON values.
    """

    loader: str
    path: Path
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of a child process.

    Attributes:
        code: Exit code; below zero the number of a signal.
        answer: JSON text, "" without an answer.
        stage: The stage announced last, "" for none.
        reason: The line of its standard error that says what went wrong, "" if none does.
        is_late: Its time was over, so it was stopped.
    """

    code: int
    answer: str
    stage: str
    reason: str
    is_late: bool

    @property
    def signal_name(self) -> str:
        """The signal that ended it, "" for none."""
        return signal.Signals(-self.code).name if self.code < 0 else ""


def run_child(
    module: str,
    job: Any,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
    stepped: Callable[[], object] = lambda: None,
) -> Ending:
    """Runs `python -m module` to its end and raises nothing: callers tell failures their way.

    Args:
        module: String. Its main reads the job from standard input; it may call `announce_stage`,
            `step` and `answer`.
        job: JSON value.
        timeout_seconds: Float. After this long the process is killed.
        environment: Mapping. Variables on top of this process'.
        stepped: Called for each `step` of the process.

    Example:

    >>> run_child("tfkd.evaluation.memory", job, 300.0).answer
    '{"peak_memory_bytes": 412090368, "first_call_ms": 266.3}'
    """
    search_path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    variables = {**os.environ, **(environment or {}), "PYTHONPATH": search_path}
    is_late = threading.Event()
    with (
        # What a child that is killed leaves behind goes with the folder.
        temporary_folder() as folder,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tfkd.process", str(os.getpid()), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            env={**variables, "TMPDIR": str(folder)},
        ) as process,
    ):
        watchdog = threading.Timer(timeout_seconds, _stop, (process, is_late))
        watchdog.start()
        _RUNNING.add(process)
        try:
            answer, stage = _heard(process, json.dumps(job), stepped)
            code = process.wait()
        finally:
            watchdog.cancel()
            process.kill()
            _RUNNING.discard(process)
        errors.seek(0)
        reason = _telling_line(errors.read())
    return Ending(code, answer, stage, reason, is_late.is_set())


def end_children() -> None:
    """Ends the processes of all threads, which would be waited for otherwise."""
    for process in tuple(_RUNNING):
        process.kill()


def follow(parent: int) -> None:
    """Ends this process when its parent is gone.

    Args:
        parent: Integer. The process it works for.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_FOLLOW_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stop(process: subprocess.Popen[str], is_late: threading.Event) -> None:
    """Ends a process that has had its time."""
    is_late.set()
    process.kill()


def _heard(
    process: subprocess.Popen[str], job: str, stepped: Callable[[], object]
) -> tuple[str, str]:
    """Hands over the job and hears the process to its end: its answer and its last stage."""
    assert process.stdin is not None and process.stdout is not None
    # One that ended at once says why on standard error.
    with contextlib.suppress(BrokenPipeError), process.stdin as stream:
        stream.write(job)
    answer = stage = ""
    # A library may write to standard output too: only marked lines count.
    for line in process.stdout:
        if line.startswith(_STEP):
            stepped()
        elif line.startswith(_STAGE):
            stage = line.removeprefix(_STAGE).strip()
        elif line.startswith(_ANSWER):
            answer = line.removeprefix(_ANSWER).strip()
    return answer, stage


def _telling_line(stderr: str) -> str:
    """The line that says what went wrong: the last exception, or the last that is no chatter."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    told = [line for line in lines if _EXCEPTION.match(line)]
    told = told or [line for line in lines if not _CHATTER.match(line)] or [""]
    return told[-1].removeprefix("tfkd.errors.").strip()


def run_fresh(
    module: str,
    job: Any,
    purpose: str,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
    stepped: Callable[[], object] = lambda: None,
) -> Any:
    """The answer of models that are measured in a process that holds nothing else.

    Args:
        module: See `run_child`. It calls `answer`.
        job: See `run_child`.
        purpose: String. What the models were "expected", for the error message.
        timeout_seconds: See `run_child`.
        environment: See `run_child`.
        stepped: See `run_child`.

    Raises:
        ModelError: The process failed, took too long or did not answer.
    """
    ending = run_child(module, job, timeout_seconds, environment, stepped)
    if ending.is_late:
        raise ModelError(
            f"Expected the models {purpose} in a fresh process within {timeout_seconds:g} s. "
            "Received: no answer. Try again on a less busy machine."
        )
    if ending.code != 0 or not ending.answer:
        reason = ending.reason or ending.signal_name or f"code {ending.code}"
        raise ModelError(f"Expected the models {purpose} in a fresh process. Received: {reason}")
    return json.loads(ending.answer)


def num_cores() -> int:
    """Cores this process may use, where a container or a scheduler gives it a share."""
    return int(cpu_count())


@functools.cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16; asked of it once a process."""
    import cpuinfo

    return not _BFLOAT16_FLAGS.isdisjoint(cpuinfo.get_cpu_info().get("flags", ()))


def thread_limits(threads: int) -> dict[str, str]:
    """The variables that hold TensorFlow, and `num_cores`, in a fresh process to so many."""
    names = ["OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"]
    return dict.fromkeys([*names, "LOKY_MAX_CPU_COUNT"], str(threads))


def answer(value: Any) -> None:
    """Gives the parent a JSON value; the last one counts."""
    _tell(_ANSWER + json.dumps(value))


def step() -> None:
    """Tells the parent that a step of the job is done."""
    _tell(_STEP)


def announce_stage(stage: str) -> None:
    """Tells the parent what is done next, so that a crash can be placed."""
    _tell(_STAGE + stage)


def _tell(line: str) -> None:
    sys.stdout.write(f"\n{line}\n")
    sys.stdout.flush()


def load(loader: str, path: Path, **options: Any) -> Any:
    """Calls "module:callable" with the path and what else it takes."""
    module, _, name = loader.partition(":")
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    return function(path, **options)


def _main(parent: int, module: str) -> None:
    """Runs a module as a process that follows another."""
    with contextlib.suppress(AttributeError, OSError):
        # At once, also from within a library; where there is no prctl, by `follow`.
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    follow(parent)
    collect_rarely()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2])
