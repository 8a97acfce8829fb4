"""What benchmarks/endurance.py takes for a fault, without a server and with one that lies."""

import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import endurance  # noqa: E402
from load_servers import Contender  # noqa: E402

EXPECTED = np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)


def clients(port=0):
    contender = Contender("server", port, endurance.PREDICT, str, str, EXPECTED)
    return endurance.Endurance(contender, ["rain", "goal"], 60.0)


def answer(*scores):
    return json.dumps({"predictions": [{"scores": row} for row in scores]}).encode()


@pytest.mark.parametrize(
    ("status", "content", "fault"),
    [
        (200, answer([0.25, 0.75], [0.75, 0.25]), None),
        (200, answer([0.75, 0.25], [0.25, 0.75]), "ask: another answer for [1, 0]"),
        (200, answer([0.25, 0.75]), "ask: another answer for [1, 0]"),
        (429, b"full", None),
        (504, b"late", None),
        (500, b"failed", "ask: 500 failed"),
    ],
)
def test_an_answer_is_the_models_own_or_a_refusal_of_a_full_queue(status, content, fault):
    found = clients()
    found.judge("ask", [1, 0], status, content)
    assert found.counts == {f"ask: {status}": 1}
    assert found.wrong == ([] if fault is None else [fault])


def test_a_connection_may_break_by_a_kill_alone():
    found = clients()
    found.broken("ask", "reset")
    found.killed_at = time.monotonic()
    found.broken("ask", "reset")
    assert found.counts == {"ask: broken": 1, "ask: broken by a kill": 1}
    assert found.wrong == ["ask: broken: reset"]


def test_a_refusal_has_its_own_status(monkeypatch):
    monkeypatch.setattr(endurance, "BAD", [(404, endurance.request(b"{}", "/elsewhere"))])

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def run():
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            found = clients(server.sockets[0].getsockname()[1])
            await found.send_bad()
            return found

    found = asyncio.run(run())
    assert found.counts == {"bad: 200": 1}
    (fault,) = found.wrong
    assert fault.startswith("bad: 200 in place of 404 for b'POST /elsewhere HTTP/1.1")
