"""Keeps what libraries say about themselves off the user's terminal.

TensorFlow and LiteRT write notes on oneDNN, CUDA and delegates straight to file descriptor 2, some
of them before any logging level is read. A command's output is its progress and its result.
"""

import contextlib
import gc
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

STDERR = 2


def quiet_libraries() -> None:
    """Turns logging and warnings of libraries down; has to run before TensorFlow is imported.

    What the user has set already stays: the variables, and Python's `-W` option.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    collect_rarely()


def collect_rarely() -> None:
    """Has Python look for garbage less often; for processes of tfkd's own.

    TensorFlow brings half a million objects. Looking through them again and again while they are
    loaded is a seventh of the start of a command, and finds nothing.
    """
    gc.set_threshold(100_000)


def import_tensorflow() -> None:
    """Imports TensorFlow without the notes its libraries print while they are loaded."""
    with native_stderr_hidden():
        importlib.import_module("tensorflow")


@contextlib.contextmanager
def native_stderr_hidden() -> Iterator[None]:
    """Discards what is written to file descriptor 2 inside the block, by C++ code too.

    Example:

    >>> with native_stderr_hidden():
    ...     interpreter = Interpreter("student.tflite")
    """
    sys.stderr.flush()
    kept = os.dup(STDERR)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), STDERR)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, STDERR)
        os.close(kept)
