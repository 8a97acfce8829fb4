r"""Load test on the loopback address: `tfkd serve` beside LitServe and the model alone.

    python -m venv /tmp/litserve && /tmp/litserve/bin/pip install litserve .
    python benchmarks/load.py saved_models/ag_news-bert_tiny --data-dir DIR \
        --litserve /tmp/litserve/bin/python --output results/load.json

All servers have the same student and get the same texts over the same number of connections, in
turns, and so does a loop that asks the model itself. Every answer is held against the model's own;
another label, a score that is off or a status that is not 200 is an error. With --keras a third
server has one `keras.predict` a request. The other designs are in benchmarks/load_litserve.py and
benchmarks/load_reference.py.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from load_servers import RECIPE, Contender, litserve_server, reference_server, tfkd_server
from scipy.special import softmax

from tfkd.artifacts import RunFolder, versions, write_json
from tfkd.compression.litert import LiteRTModel
from tfkd.errors import TfkdError
from tfkd.evaluation.table import Table, figures, words
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import first_texts
from tfkd.runs.own_data import own_dataset

CONNECTIONS = (1, 16, 64, 256)
BARE = "the model alone"
# What a model gets at once, from `tfkd serve` by default and in the loop.
BATCH_SIZE = 32
# A batch of another size adds up in another order.
TOLERANCE = 1e-5
# In place of a status: the connection ended before the answer did.
BROKEN = 0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


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
    parser.add_argument("--litserve", type=Path, required=True, help="Python that has LitServe")
    parser.add_argument("--keras", action="store_true", help="also one keras.predict a request")
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a turn")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    quiet_libraries()
    try:
        rows = measure(options)
    except TfkdError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if options.output is not None:
        settings = {name: getattr(options, name) for name in ("rounds", "seconds")}
        write_json(options.output, {**settings, "rows": rows, "versions": versions()})
    print(markdown(rows))
    return 0


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Starts the servers, lets them answer in turns, and ends them: one row a turn."""
    run = RunFolder(options.run)
    dataset = own_dataset(run, options.data_dir)
    texts, labels = first_texts(dataset.splits["test"], 2000), dataset.label_names
    model = LiteRTModel(run.model / f"{RECIPE}.tflite")
    expected = softmax(model.predict(texts), axis=1)
    with contextlib.ExitStack() as stack:
        contenders = [
            stack.enter_context(tfkd_server(run, expected)),
            stack.enter_context(litserve_server(run, expected, options.litserve)),
        ]
        if options.keras:
            contenders.append(stack.enter_context(reference_server(run, texts)))
        for contender in contenders:
            # Not counted: what a server does once, and proof that it answers at all.
            row = turn(contender, texts, labels, 64, min(2.0, options.seconds))
            if row["errors"]:
                raise SystemExit(f"{contender.name} gave a wrong answer: {row['first_error']}")
        rows = []
        for _, connections in itertools.product(range(options.rounds), options.connections):
            rows.append(bare_turn(model, texts, connections, options.seconds))
            for contender in contenders:
                rows.append(turn(contender, texts, labels, connections, options.seconds))
                print(rows[-1], file=sys.stderr)
        return rows


def turn(
    contender: Contender,
    texts: Sequence[str],
    labels: Sequence[str],
    connections: int,
    seconds: float,
) -> dict[str, Any]:
    """One server under load for some seconds, and its answers checked after that."""
    bodies = [json.dumps(contender.body(text)).encode() for text in texts]
    cpu, started = contender.cpu_seconds(), time.perf_counter()
    answers = asyncio.run(load(contender, bodies, connections, started + seconds))
    elapsed = time.perf_counter() - started
    cpu = contender.cpu_seconds() - cpu
    wrong = [answer for answer in answers if not is_right(answer, contender, labels)]
    p50, p95, p99 = np.percentile([answer.seconds for answer in answers], [50, 95, 99]) * 1000
    return {
        "server": contender.name,
        "connections": connections,
        "requests": len(answers),
        "errors": len(wrong),
        "first_error": f"{wrong[0].status} {wrong[0].content.decode()}" if wrong else None,
        "requests_per_second": (len(answers) - len(wrong)) / elapsed,
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "cpu_ms": 1000 * cpu / len(answers),
        "load_average": os.getloadavg()[0],
    }


def bare_turn(
    model: LiteRTModel, texts: Sequence[str], connections: int, seconds: float
) -> dict[str, Any]:
    """A loop that asks the model itself in batches, while the servers have nothing to do."""
    count, cpu, started = 0, time.process_time(), time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        start = count % len(texts)
        count += len(model.predict(texts[start : start + BATCH_SIZE]))
    cpu = time.process_time() - cpu
    return {
        "server": BARE,
        "connections": connections,
        "requests": count,
        "requests_per_second": count / elapsed,
        "cpu_ms": 1000 * cpu / count,
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
    return is_near(scores, expected) and label == labels[int(np.argmax(scores))]


def is_near(scores: Sequence[Any], expected: np.ndarray) -> bool:
    """Whether scores are the model's own."""
    return bool(np.abs(np.subtract(scores, expected)).max() <= TOLERANCE)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Medians over the turns of each server at each number of connections, and what they say."""
    keys = sorted({(row["connections"], row["server"]) for row in rows if row["server"] != BARE})
    # The servers in the order of their turns.
    order = list(dict.fromkeys(row["server"] for row in rows))
    keys.sort(key=lambda key: (key[0], order.index(key[1])))
    groups = [[row for row in rows if (row["connections"], row["server"]) == key] for key in keys]

    def column(title: str, key: str, form: str = "{:.1f}") -> Any:
        return figures(title, [_median(group, key) for group in groups], form)

    table = Table(
        [
            figures("connections", [key[0] for key in keys]),
            words("server", [key[1] for key in keys]),
            column("requests/s", "requests_per_second", "{:.0f}"),
            column("p50, ms", "p50_ms"),
            column("p95, ms", "p95_ms"),
            column("p99, ms", "p99_ms"),
            column("CPU, ms a request", "cpu_ms", "{:.2f}"),
            figures("answers", [sum(row["requests"] for row in group) for group in groups]),
            figures("errors", [sum(row["errors"] for row in group) for group in groups]),
        ]
    )
    bare = [row for row in rows if row["server"] == BARE]
    alone = (
        f"The model alone, in batches of {BATCH_SIZE}: {_median(bare, 'requests_per_second'):.0f} "
        f"texts/s, {_median(bare, 'cpu_ms'):.2f} ms of CPU a text."
    )
    own = order[1]
    told = [_comparison(rows, own, other) for other in order[2:] + [BARE]]
    return "\n\n".join([table.markdown(), alone, "\n".join(told)])


def _comparison(rows: Sequence[dict[str, Any]], own: str, other: str) -> str:
    """Ratios of the rates of two servers, turn by turn."""
    told = []
    for connections in sorted({row["connections"] for row in rows}):
        a, b = (
            [
                row["requests_per_second"]
                for row in rows
                if (row["server"], row["connections"]) == (name, connections)
            ]
            for name in (own, other)
        )
        ratios = [first / second for first, second in zip(a, b, strict=True)]
        told.append(
            f"{statistics.median(ratios):.2f} at {connections} ({min(ratios):.2f} to "
            f"{max(ratios):.2f})"
        )
    return f"- {own} to {other}, requests/s: {', '.join(told)}."


def _median(rows: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
