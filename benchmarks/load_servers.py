"""The servers of the load test, each as its users start it, and what it costs the processor."""

import contextlib
import dataclasses
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy.special import softmax

from tfkd.artifacts import RunFolder

RECIPE = "dynamic_int8"
NUM_PROCESSES = 4
START_SECONDS, END_SECONDS = 120, 30


@dataclasses.dataclass(frozen=True)
class Contender:
    """A server under load.

    Attributes:
        name: Row of the table.
        port: Where it listens, on the loopback address.
        path: Where it predicts.
        body: From a text to the JSON value of a request.
        read: From the JSON value of an answer to label and scores.
        expected: Scores of the model itself, float32 `[num_texts, num_classes]`.
        process_ids: Its processes, whose children count as well.
    """

    name: str
    port: int
    path: str
    body: Callable[[str], Any]
    read: Callable[[Any], tuple[str, Sequence[float]]]
    expected: np.ndarray
    process_ids: Sequence[int] = ()

    def cpu_seconds(self) -> float:
        """Processor time of its processes until now."""
        parents = [psutil.Process(number) for number in self.process_ids]
        processes = [*parents, *(child for parent in parents for child in parent.children(True))]
        times = [process.cpu_times() for process in processes]
        return sum(time.user + time.system for time in times)


@contextlib.contextmanager
def tfkd_server(run: RunFolder, expected: np.ndarray, *options: str) -> Iterator[Contender]:
    """`tfkd serve` as a user starts it."""
    port = free_port()
    command = ["-m", "tfkd", "serve", str(run.path), "--recipe", RECIPE, "--name", "student"]
    with process([*command, "--port", str(port), *options]) as number:
        wait_for(port)
        yield Contender(
            "tfkd serve",
            port,
            "/v1/models/student:predict",
            lambda text: {"instances": [text]},
            lambda answer: (answer["predictions"][0]["label"], answer["predictions"][0]["scores"]),
            expected,
            [number],
        )


@contextlib.contextmanager
def litserve_server(run: RunFolder, expected: np.ndarray, python: Path) -> Iterator[Contender]:
    """LitServe with the same file, in an environment of its own."""
    port = free_port()
    program = str(Path(__file__).with_name("load_litserve.py"))
    path = run.model / f"{RECIPE}.tflite"
    with process([program, str(port), str(path)], str(python)) as number:
        wait_for(port)
        yield Contender(
            "LitServe",
            port,
            "/predict",
            lambda text: {"text": text},
            lambda answer: (answer["label"], answer["scores"]),
            expected,
            [number],
        )


@contextlib.contextmanager
def reference_server(run: RunFolder, texts: Sequence[str]) -> Iterator[Contender]:
    """Four processes behind a balancer."""
    # Not above: the other servers need no TensorFlow.
    from tfkd.models.classifier import TextClassifier

    program = str(Path(__file__).with_name("load_reference.py"))
    with contextlib.ExitStack() as stack:
        ports = [str(free_port()) for _ in range(NUM_PROCESSES)]
        numbers = []
        for port in ports:
            numbers.append(stack.enter_context(process([program, "model", port, str(run.model)])))
        balancer = free_port()
        numbers.append(stack.enter_context(process([program, "balancer", str(balancer), *ports])))
        for started in (*ports, balancer):
            wait_for(int(started))
        yield Contender(
            f"FastAPI, keras.predict, {NUM_PROCESSES} processes",
            balancer,
            "/predict",
            lambda text: {"text": text},
            lambda answer: (answer["label"], answer["scores"]),
            softmax(TextClassifier.load(run.model).predict(texts), axis=1),
            numbers,
        )


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def process(arguments: Sequence[str], python: str = sys.executable) -> Iterator[int]:
    """A Python process that ends with the block: its number."""
    with subprocess.Popen([python, *arguments], stdout=subprocess.DEVNULL) as child:
        try:
            yield child.pid
        finally:
            below = psutil.Process(child.pid).children(True) if child.poll() is None else []
            child.send_signal(signal.SIGINT)
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
            for left in below:
                # LitServe leaves some behind.
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()


def wait_for(port: int) -> None:
    """Returns when somebody listens there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"Expected a server on port {port} within {START_SECONDS} s. There is none.")
