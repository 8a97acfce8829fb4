"""What benchmarks/load.py counts as an answer, against servers that answer, lie and break off."""

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import load  # noqa: E402

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
    """Rows and statuses of the answers of a server for a tenth of a second."""

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
            return await load.load(contender(port), bodies, 3, time.perf_counter() + 0.1)

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
    def row(server, rate, errors=0):
        return {
            "server": server,
            "requests": 100,
            "errors": errors,
            "requests_per_second": rate,
            "p50_ms": 1000 / rate,
            "p99_ms": 2000 / rate,
        }

    rows = [row("a", 1000), row("b", 50, 1), row("a", 800), row("b", 20), row("a", 900)]
    rows.append(row("b", 30))
    assert load.markdown(rows).splitlines() == [
        "| server | requests/s | p50, ms | p99, ms | answers | errors |",
        "| :--- | ---: | ---: | ---: | ---: | ---: |",
        "| a | 900 | 1.1 | 2.2 | 300 | 0 |",
        "| b | 30 | 33.3 | 66.7 | 300 | 1 |",
        "",
        "30.0 times the requests a second (20.0 to 40.0 in 3 turns).",
    ]
