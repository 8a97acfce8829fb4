r"""Ten minutes of all that senders do to `tfkd serve`: good requests, bad ones, broken ones, kills.

    python benchmarks/endurance.py saved_models/ag_news-bert_tiny --data-dir DIR \
        --output results/endurance.json

Two processes serve. Sixteen connections ask for one to eight texts and hold every answer against
the model's own; four send what is refused, and know the status of each; two leave in the middle of
what they send, or before the answer. Bursts overfill the queue. Three times a serving process is
killed. What must come out: no wrong answer, no refusal with another status, no connection that
breaks but by a kill, and after it the memory of before.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from load import BROKEN, connection, exchange, is_near
from load_servers import RECIPE, Contender, tfkd_server
from scipy.special import softmax

from tfkd.artifacts import RunFolder, versions, write_json
from tfkd.compression.litert import LiteRTModel
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import first_texts
from tfkd.runs.own_data import own_dataset

ASKERS, SENDERS, LEAVERS = 16, 4, 2
BURST_CONNECTIONS, BURST_TEXTS, BURST_SECONDS = 24, 128, 20.0
# A kill breaks what its process has taken, and a busy client sees it later.
KILL_SECONDS = 10.0
PREDICT = "/v1/models/student:predict"


def request(body: bytes, path: str = PREDICT, method: str = "POST", *headers: str) -> bytes:
    """The bytes of a request."""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


def texts_request(*texts: object) -> bytes:
    """The bytes of a request for texts, or for what is none."""
    return request(json.dumps({"instances": texts}).encode())


# What is refused, and how.
BAD = [
    (400, request(b"{")),
    (400, request(b"[" * 100_000)),
    (400, texts_request()),
    (400, texts_request(7)),
    (400, texts_request("\ud800")),
    (400, texts_request(*["rain"] * 129)),
    (400, texts_request("x" * 20_001)),
    (400, request(b"{}", PREDICT, "POST", "Content-Encoding: gzip")),
    (400, b"RAIN\r\n\r\n"),
    (404, request(b"{}", "/v1/models/other:predict")),
    (404, request(b"{}", "/elsewhere")),
    (404, request(b"", PREDICT, "GET")),
    (405, request(b"", "/readyz", "POST")),
    (413, request(b"x" * 1_200_000)),
    (415, request(b"{}", PREDICT, "POST", "Content-Encoding: br")),
    (403, request(b"{}", PREDICT, "POST", "Origin: https://page.example")),
]


class Endurance:
    """Clients of one server, and what came back to them."""

    def __init__(self, contender: Contender, texts: Sequence[str], seconds: float) -> None:
        self.contender = contender
        self.texts = texts
        self.end = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.killed_at = -KILL_SECONDS
        self.chance = random.Random(0)

    async def run(self) -> None:
        """All of them until the end."""
        clients: list[Awaitable[None]] = [self.forever(self.ask) for _ in range(ASKERS)]
        clients += [self.forever(self.send_bad) for _ in range(SENDERS)]
        clients += [self.forever(self.leave) for _ in range(LEAVERS)]
        await asyncio.gather(*clients, self.forever(self.burst))

    async def forever(self, client: Callable[[], Awaitable[None]]) -> None:
        """One client again and again; a connection that cannot be made is a fault as well."""
        while time.monotonic() < self.end:
            try:
                await client()
            except OSError as error:
                self.broken(client.__name__, repr(error))

    def broken(self, kind: str, reason: str) -> None:
        """Counts a connection that ended before its answer."""
        is_due = time.monotonic() - self.killed_at < KILL_SECONDS
        self.counts[f"{kind}: broken by a kill" if is_due else f"{kind}: broken"] += 1
        if not is_due:
            self.wrong.append(f"{kind}: broken: {reason}")

    async def ask(self) -> None:
        """A hundred requests on one connection, every answer held against the model's own."""
        async with connection(self.contender.port) as streams:
            for _ in range(100):
                if time.monotonic() >= self.end:
                    return
                rows = self.chance.sample(range(len(self.texts)), self.chance.randint(1, 8))
                status, content = await self.answer(streams, rows)
                if status == BROKEN:
                    self.broken("ask", content.decode())
                    return
                self.judge("ask", rows, status, content)

    async def answer(self, streams: Any, rows: Sequence[int]) -> tuple[int, bytes]:
        """Status and body of the answer for some texts."""
        body = json.dumps({"instances": [self.texts[row] for row in rows]}).encode()
        return await exchange(*streams, self.contender, body)

    def judge(self, kind: str, rows: Sequence[int], status: int, content: bytes) -> None:
        """Counts an answer; one that is wrong is kept."""
        self.counts[f"{kind}: {status}"] += 1
        if status == 200:
            found = [row["scores"] for row in json.loads(content)["predictions"]]
            if len(found) != len(rows) or not is_near(found, self.contender.expected[list(rows)]):
                self.wrong.append(f"{kind}: another answer for {rows}")
        # In a burst the queue is full, for all; on a busy machine an answer may come too late.
        elif status not in (429, 504):
            self.wrong.append(f"{kind}: {status} {content.decode()}")

    async def burst(self) -> None:
        """More texts at once than the queue holds: answers, or 429."""
        await asyncio.sleep(min(BURST_SECONDS, max(0.0, self.end - time.monotonic())))

        async def once() -> None:
            rows = self.chance.choices(range(len(self.texts)), k=BURST_TEXTS)
            async with connection(self.contender.port) as streams:
                status, content = await self.answer(streams, rows)
            if status == BROKEN:
                self.broken("burst", content.decode())
            else:
                self.judge("burst", rows, status, content)

        await asyncio.gather(*(once() for _ in range(BURST_CONNECTIONS)))

    async def send_bad(self) -> None:
        """One request that is refused, and its status."""
        status, raw = self.chance.choice(BAD)
        async with connection(self.contender.port) as (reader, writer):
            try:
                writer.write(raw)
                head = await reader.readuntil(b"\r\n\r\n")
            except (OSError, asyncio.IncompleteReadError) as error:
                self.broken(f"bad {status}", repr(error))
                return
        found = int(head.split(b" ", 2)[1])
        self.counts[f"bad: {found}"] += 1
        if found != status:
            self.wrong.append(f"bad: {found} in place of {status} for {raw[:80]!r}")
        await asyncio.sleep(0.02)

    async def leave(self) -> None:
        """Part of a request, or a whole one, and nobody who waits for the answer."""
        raw = texts_request(*self.chance.sample(self.texts, 8))
        async with connection(self.contender.port) as (_, writer):
            writer.write(raw[: self.chance.choice([10, 60, len(raw) - 1, len(raw), len(raw)])])
            await writer.drain()
            await asyncio.sleep(self.chance.choice([0.0, 0.002, 0.02]))
        self.counts["left"] += 1


def workers(server: int) -> list[psutil.Process]:
    """The processes that answer."""
    children = psutil.Process(server).children()
    return [child for child in children if any("spawn_main" in part for part in child.cmdline())]


def memory(server: int) -> int:
    """Bytes that the server's processes have for themselves, all together."""
    return sum(child.memory_full_info().uss for child in [psutil.Process(server), *workers(server)])


async def endure(endurance: Endurance, server: int, seconds: float) -> list[float]:
    """Runs the clients and kills; times of the kills."""
    kills = []
    clients = asyncio.create_task(endurance.run())
    start = time.monotonic()
    for share in (0.2, 0.4, 0.6):
        await asyncio.sleep(max(0.0, start + share * seconds - time.monotonic()))
        victim = random.Random(share).choice(workers(server))
        endurance.killed_at = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        kills.append(endurance.killed_at - start)
    await clients
    return kills


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Serves, warms up, endures: figures of all of it."""
    run = RunFolder(options.run)
    texts = first_texts(own_dataset(run, options.data_dir).splits["test"], 2000)
    expected = softmax(LiteRTModel(run.model / f"{RECIPE}.tflite").predict(texts), axis=1)
    with tfkd_server(run, expected, "--processes", "2") as contender:
        (server,) = contender.process_ids
        while len(workers(server)) < 2:
            time.sleep(0.1)
        warm = Endurance(contender, texts, options.warm_seconds)
        asyncio.run(warm.run())
        time.sleep(options.rest_seconds)
        before = memory(server)
        endurance = Endurance(contender, texts, options.minutes * 60)
        kills = asyncio.run(endure(endurance, server, options.minutes * 60))
        time.sleep(options.rest_seconds)
        after = memory(server)
        num_workers = len(workers(server))
    wrong = [*warm.wrong, *endurance.wrong]
    return {
        "minutes": options.minutes,
        "kills_at_seconds": [round(second) for second in kills],
        "counts": dict(sorted(endurance.counts.items())),
        "num_wrong": len(wrong),
        "wrong": wrong[:20],
        "memory_before_bytes": before,
        "memory_after_bytes": after,
        "num_workers_after": num_workers,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it and shows the figures; 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help=f"run with {RECIPE}.tflite")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--warm-seconds", type=float, default=60.0)
    parser.add_argument("--rest-seconds", type=float, default=10.0, help="before memory is read")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    quiet_libraries()
    found = measure(options)
    if options.output is not None:
        write_json(options.output, {**found, "versions": versions()})
    print(json.dumps(found, indent=2))
    growth = found["memory_after_bytes"] / found["memory_before_bytes"]
    return int(bool(found["num_wrong"]) or not np.isclose(growth, 1, atol=0.1))


if __name__ == "__main__":
    sys.exit(main())
