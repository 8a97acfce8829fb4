"""Several processes behind one listening socket: one that ends is replaced, all end together.

The first process answers nothing. It starts the others from nothing, since a model's threads do not
survive a fork, and takes the signals for them.
"""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from types import FrameType

from tfkd.parts import temporary_folder
from tfkd.process import follow
from tfkd.serving import metrics

LOG = logging.getLogger("tfkd.serving")
# Time to look at signals, and for a process to end after its requests have.
POLL_SECONDS, END_SECONDS = 0.2, 5.0
# Answers from a socket until SIGTERM and returns how many requests it answered.
Work = Callable[[socket.socket], int]
_CONTEXT = multiprocessing.get_context("spawn")


def supervise(work: Work, listener: socket.socket, num_processes: int, seconds: float) -> int:
    """Keeps processes at work until SIGINT or SIGTERM; then they answer what they have taken.

    SIGHUP goes on to all of them. One that has only begun may end by it; another takes its place.
    A second SIGINT waits no longer and raises `KeyboardInterrupt`.

    Args:
        work: Picklable function, run in every process.
        listener: Socket that listens. It is closed at the end.
        num_processes: Integer. Processes at work.
        seconds: Float. The longest that a request takes. What is at work after that is killed.

    Returns:
        Requests answered by processes that were not killed.
    """
    signals: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if signals and number == signal.SIGINT:
            raise KeyboardInterrupt
        signals.append(number)

    num_answered = _CONTEXT.Value("Q", 0)
    workers: list[BaseProcess] = []

    def reload(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            if worker.is_alive():
                os.kill(int(worker.pid or 0), number)

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, reload)
    with temporary_folder() as folder:
        os.environ[metrics.FOLDER] = str(folder)
        try:
            while not signals:
                while len(workers) < num_processes:
                    workers.append(_started(work, listener, num_answered))
                wait([worker.sentinel for worker in workers], POLL_SECONDS)
                _dismiss_ended(workers)
            # Whoever connects now is to be told so at once.
            listener.close()
            _end(workers, seconds + END_SECONDS)
        finally:
            for worker in workers:
                worker.kill()
            del os.environ[metrics.FOLDER]
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return num_answered.value


def reload_all() -> None:
    """Has all processes look for new versions and changed files; called in one of them."""
    os.kill(os.getppid(), signal.SIGHUP)


def _started(work: Work, listener: socket.socket, num_answered: "Synchronized[int]") -> BaseProcess:
    process = _CONTEXT.Process(target=_process, args=(work, listener, num_answered, os.getpid()))
    process.start()
    return process


def _process(
    work: Work, listener: socket.socket, num_answered: "Synchronized[int]", first: int
) -> None:
    # Ctrl-C is the first process' to handle, which a terminal would send to all.
    os.setsid()
    # Not the parent it has by now: the first process may be gone already.
    follow(first)
    count = work(listener)
    with num_answered.get_lock():
        num_answered.value += count


def _dismiss_ended(workers: list[BaseProcess]) -> None:
    """Takes those that have ended off the list, and their gauges off the page of metrics."""
    for worker in [worker for worker in workers if not worker.is_alive()]:
        workers.remove(worker)
        metrics.forget(int(worker.pid or 0))
        LOG.warning(
            "Process %d ended with %d. Another takes its place.", worker.pid, worker.exitcode
        )


def _end(workers: Sequence[BaseProcess], seconds: float) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
