"""What benchmarks/load.py counts as an answer, against servers that answer, lie and break off."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import load  # noqa: E402
import load_servers  # noqa: E402

LABELS = ("weather", "sport")
EXPECTED = np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)
RIGHT = {"label": "weather", "scores": [0.75, 0.25]}


def contender(port=0):
    return load.Contender(
        "server",
        port,
        "/predict",
        lambda text: {"text": text},
        lambda answer: (answer["label"], answer["scores"]),
        EXPECTED,
    )


@pytest.mark.parametrize(
    ("row", "status", "content", "right"),
    [
        (0, 200, RIGHT, True),
        (0, 200, RIGHT | {"scores": [0.750001, 0.249999]}, True),
        (0, 200, RIGHT | {"scores": [0.7501, 0.2499]}, False),
        (0, 200, RIGHT | {"scores": [float("nan"), 0.25]}, False),
        (0, 200, RIGHT | {"label": "sport"}, False),
        (1, 200, RIGHT, False),
        (0, 500, RIGHT, False),
    ],
)
def test_an_answer_is_right_when_it_is_the_models_own(row, status, content, right):
    answer = load.Answer(row, 0.1, status, json.dumps(content).encode())
    assert load.is_right(answer, contender(), LABELS) is right


def under_load(reply):
    """Rows and statuses of the answers of a server until its clock was looked at 100 times."""
    looks = itertools.count()

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                content = reply(json.loads(await reader.readexactly(length))["text"])
                if content is None:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(content))
                writer.write(content)
        writer.close()
        await writer.wait_closed()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            bodies = [json.dumps({"text": text}).encode() for text in ("rain", "goal")]
            return await load.load(contender(port), bodies, 3, 100)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(looks))
        return asyncio.run(run())


def test_every_answer_belongs_to_its_text():
    answers = under_load(str.encode)
    assert len(answers) >= 3
    assert {(answer.row, answer.status, answer.content) for answer in answers} == {
        (0, 200, b"rain"),
        (1, 200, b"goal"),
    }


def test_a_connection_that_breaks_is_an_error_and_the_next_is_new():
    answers = under_load(lambda text: b"rain" if text == "rain" else None)
    by_row = {row: {a.status for a in answers if a.row == row} for row in (0, 1)}
    assert by_row == {0: {200}, 1: {load.BROKEN}}


def test_the_table_has_medians_and_ratios():
    def row(server, connections, rate, errors=0):
        bare = {
            "server": server,
            "connections": connections,
            "requests": 100,
            "requests_per_second": rate,
            "cpu_ms": 500 / rate,
        }
        if server == load.BARE:
            return bare
        times = {f"p{share}_ms": 10 * share / rate for share in (50, 95, 99)}
        return {**bare, **times, "errors": errors}

    rows = []
    for connections in (1, 64):
        for bare, own, other in ((2000, 1000, 50), (1000, 800, 20), (1000, 900, 30)):
            rows.append(row(load.BARE, connections, bare))
            rows.append(row("a", connections, own * connections / 64))
            rows.append(row("b", connections, other, errors=own == 1000))
    assert load.markdown(rows).splitlines() == [
        "| connections | server | requests/s | p50, ms | p95, ms | p99, ms | CPU, ms a request "
        "| answers | errors |",
        "| ---: | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| 1 | a | 14 | 35.6 | 67.6 | 70.4 | 35.56 | 300 | 0 |",
        "| 1 | b | 30 | 16.7 | 31.7 | 33.0 | 16.67 | 300 | 1 |",
        "| 64 | a | 900 | 0.6 | 1.1 | 1.1 | 0.56 | 300 | 0 |",
        "| 64 | b | 30 | 16.7 | 31.7 | 33.0 | 16.67 | 300 | 1 |",
        "",
        "The model alone, in batches of 32: 1000 texts/s, 0.50 ms of CPU a text.",
        "",
        "- a to b, requests/s: 0.47 at 1 (0.31 to 0.62), 30.00 at 64 (20.00 to 40.00).",
        "- a to the model alone, requests/s: 0.01 at 1 (0.01 to 0.01), 0.80 at 64 (0.50 to 0.90).",
    ]


def test_a_server_costs_what_its_processes_and_their_children_do():
    burn = "import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(60)"
    # A shell starts what runs in the background with SIGINT ignored, and children inherit it.
    heed = "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_DFL)"
    parent = f"{heed}; subprocess.run([sys.executable, '-c', {burn!r}])"
    with load_servers.process(["-c", parent]) as number:
        served = dataclasses.replace(contender(), process_ids=[number])
        deadline = time.monotonic() + 60
        while served.cpu_seconds() < 0.5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
