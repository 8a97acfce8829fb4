r"""Load test on the loopback address: `tfkd serve` beside one `keras.predict` a request.

    python benchmarks/load.py saved_models/ag_news-bert_tiny --data-dir DIR \
        --output results/load.json

Both servers have the same student and get the same texts over the same number of connections, in
turns. Every answer is held against the model's own; another label, a score that is off or a status
that is not 200 is an error. benchmarks/load_reference.py is the other design.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from tfkd.artifacts import RunFolder, versions, write_json
from tfkd.compression.litert import LiteRTModel
from tfkd.errors import TfkdError
from tfkd.evaluation.table import Table, figures, words
from tfkd.models.classifier import TextClassifier
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import first_texts
from tfkd.runs.own_data import own_dataset

RECIPE = "dynamic_int8"
NUM_PROCESSES = 4
# A batch of another size adds up in another order.
TOLERANCE = 1e-5
START_SECONDS, END_SECONDS = 120, 30
# In place of a status: the connection ended before the answer did.
BROKEN = 0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


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
    """

    name: str
    port: int
    path: str
    body: Callable[[str], Any]
    read: Callable[[Any], tuple[str, Sequence[float]]]
    expected: np.ndarray


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back for the text of a row, and after how long."""

    row: int
    seconds: float
    status: int
    content: bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the test and shows the table; gives the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help=f"run with {RECIPE}.tflite")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a turn")
    parser.add_argument("--workers", type=int, default=1, help="of tfkd serve")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    quiet_libraries()
    try:
        rows = measure(options)
    except TfkdError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if options.output is not None:
        settings = {name: getattr(options, name) for name in ("connections", "rounds", "seconds")}
        write_json(options.output, {**settings, "rows": rows, "versions": versions()})
    print(markdown(rows))
    return 0


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Starts both servers, lets them answer in turns, and ends them: one row a turn."""
    run = RunFolder(options.run)
    dataset = own_dataset(run, options.data_dir)
    texts = first_texts(dataset.splits["test"], 2000)
    with contextlib.ExitStack() as stack:
        contenders = [
            stack.enter_context(tfkd_server(run, texts, options.workers)),
            stack.enter_context(reference_server(run, texts)),
        ]
        labels = dataset.label_names
        for contender in contenders:
            # Not counted: what a server does once, and proof that it answers at all.
            row = turn(contender, texts, labels, options.connections, min(2.0, options.seconds))
            if row["errors"]:
                raise SystemExit(f"{contender.name} gave a wrong answer: {row['first_error']}")
        return [
            turn(contender, texts, labels, options.connections, options.seconds)
            for _ in range(options.rounds)
            for contender in contenders
        ]


@contextlib.contextmanager
def tfkd_server(run: RunFolder, texts: Sequence[str], workers: int) -> Iterator[Contender]:
    """`tfkd serve` as a user starts it."""
    port = free_port()
    command = ["-m", "tfkd", "serve", str(run.path), "--recipe", RECIPE, "--name", "student"]
    with process([*command, "--port", str(port), "--workers", str(workers)]):
        wait_for(port)
        expected = softmax(LiteRTModel(run.model / f"{RECIPE}.tflite").predict(texts), axis=1)
        yield Contender(
            "tfkd serve",
            port,
            "/v1/models/student:predict",
            lambda text: {"instances": [text]},
            lambda answer: (answer["predictions"][0]["label"], answer["predictions"][0]["scores"]),
            expected,
        )


@contextlib.contextmanager
def reference_server(run: RunFolder, texts: Sequence[str]) -> Iterator[Contender]:
    """Four processes behind a balancer."""
    program = str(Path(__file__).with_name("load_reference.py"))
    with contextlib.ExitStack() as stack:
        ports = [str(free_port()) for _ in range(NUM_PROCESSES)]
        for port in ports:
            stack.enter_context(process([program, "model", port, str(run.model)]))
        balancer = free_port()
        stack.enter_context(process([program, "balancer", str(balancer), *ports]))
        for started in (*ports, balancer):
            wait_for(int(started))
        yield Contender(
            f"FastAPI, keras.predict, {NUM_PROCESSES} processes",
            balancer,
            "/predict",
            lambda text: {"text": text},
            lambda answer: (answer["label"], answer["scores"]),
            softmax(TextClassifier.load(run.model).predict(texts), axis=1),
        )


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def process(arguments: Sequence[str]) -> Iterator[None]:
    """A Python process that ends with the block."""
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL) as child:
        try:
            yield
        finally:
            child.terminate()
            try:
                child.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()


def wait_for(port: int) -> None:
    """Returns when somebody listens there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"Expected a server on port {port} within {START_SECONDS} s. There is none.")


def turn(
    contender: Contender,
    texts: Sequence[str],
    labels: Sequence[str],
    connections: int,
    seconds: float,
) -> dict[str, Any]:
    """One server under load for some seconds, and its answers checked after that."""
    bodies = [json.dumps(contender.body(text)).encode() for text in texts]
    started = time.perf_counter()
    answers = asyncio.run(load(contender, bodies, connections, started + seconds))
    elapsed = time.perf_counter() - started
    wrong = [answer for answer in answers if not is_right(answer, contender, labels)]
    p50, p99 = np.percentile([answer.seconds for answer in answers], [50, 99]) * 1000
    return {
        "server": contender.name,
        "requests": len(answers),
        "errors": len(wrong),
        "first_error": f"{wrong[0].status} {wrong[0].content.decode()}" if wrong else None,
        "requests_per_second": (len(answers) - len(wrong)) / elapsed,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
    }


async def load(
    contender: Contender, bodies: Sequence[bytes], connections: int, deadline: float
) -> list[Answer]:
    """Answers of one server: every connection sends its next request when it has its answer."""
    answers: list[Answer] = []

    async def ask(first: int) -> None:
        rows = itertools.count(first, connections)
        while time.perf_counter() < deadline:
            async with connection(contender.port) as streams:
                for row in rows:
                    start = time.perf_counter()
                    if start >= deadline:
                        return
                    body = bodies[row % len(bodies)]
                    status, content = await exchange(*streams, contender, body)
                    seconds = time.perf_counter() - start
                    answers.append(Answer(row % len(bodies), seconds, status, content))
                    if status == BROKEN:
                        break

    await asyncio.gather(*map(ask, range(connections)))
    return answers


@contextlib.asynccontextmanager
async def connection(port: int) -> AsyncIterator[Streams]:
    """A connection to a server on the loopback address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, contender: Contender, body: bytes
) -> tuple[int, bytes]:
    """Status and body of one answer. A client library would take longer than the server."""
    head = (
        f"POST {contender.path} HTTP/1.1\r\nHost: 127.0.0.1:{contender.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", answer)
        content = await reader.readexactly(int(length[1]) if length else 0)
    except (OSError, asyncio.IncompleteReadError) as error:
        return BROKEN, repr(error).encode()
    return int(answer.split(b" ", 2)[1]), content


def is_right(answer: Answer, contender: Contender, labels: Sequence[str]) -> bool:
    """Whether label and scores are the model's own."""
    if answer.status != 200:
        return False
    label, scores = contender.read(json.loads(answer.content))
    expected = contender.expected[answer.row]
    # Two scores that are equal within the tolerance may change places.
    near = np.abs(np.subtract(scores, expected)).max() <= TOLERANCE
    return bool(near and label == labels[int(np.argmax(scores))])


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Medians over the turns of each server, and the ratio of the first to the second."""
    names = list(dict.fromkeys(row["server"] for row in rows))
    by_name = {name: [row for row in rows if row["server"] == name] for name in names}

    def over_turns(key: str, summary: Callable[[list[float]], float]) -> list[float]:
        return [summary([row[key] for row in own]) for own in by_name.values()]

    table = Table(
        [
            words("server", names),
            figures("requests/s", over_turns("requests_per_second", statistics.median), "{:.0f}"),
            figures("p50, ms", over_turns("p50_ms", statistics.median), "{:.1f}"),
            figures("p99, ms", over_turns("p99_ms", statistics.median), "{:.1f}"),
            figures("answers", over_turns("requests", sum)),
            figures("errors", over_turns("errors", sum)),
        ]
    )
    first, second = ([row["requests_per_second"] for row in by_name[name]] for name in names)
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    return (
        f"{table.markdown()}\n\n{statistics.median(ratios):.1f} times the requests a second "
        f"({min(ratios):.1f} to {max(ratios):.1f} in {len(ratios)} turns)."
    )


if __name__ == "__main__":
    sys.exit(main())
