"""One process at a time makes a thing that others share; one command at a time writes a run."""

import os
import re
import subprocess
import sys
import threading
import time

import pytest

from tests.messages import exactly
from tfkd.errors import ArtifactError
from tfkd.locks import held, locked, writers

HOLD = """
import sys, time
from pathlib import Path
from tfkd.locks import held, locked
with {}: print("held", flush=True); time.sleep(60)
"""


def holder(code, *arguments):
    """A process that holds a lock, once it does."""
    command = [sys.executable, "-c", HOLD.format(code), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_second_maker_waits_for_the_first_and_finds_what_it_made(tmp_path):
    path, seen = tmp_path / "cache" / "tokens" / "0a", []
    path.parent.mkdir(parents=True)

    def second():
        with locked(path):
            seen.append(path.read_text())

    with locked(path):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.3)
        assert (waiting.is_alive(), seen) == (True, [])
        path.write_text("made")
    waiting.join()
    assert seen == ["made"]
    assert [file.name for file in (tmp_path / "cache" / "locks").iterdir()] == ["tokens-0a.lock"]


def test_killed_maker_holds_no_lock(tmp_path):
    path = tmp_path / "cache" / "tokens"
    with holder("locked(Path(sys.argv[1]))", path) as process:
        process.kill()
    start = time.monotonic()
    with locked(path):
        assert time.monotonic() - start < 10


def test_a_run_that_is_written_is_refused_by_name(tmp_path):
    run = tmp_path / "runs" / "demo"
    with holder("held(Path(sys.argv[1]), 'distill')", run) as process:
        message = (
            rf"Expected a run that no other command writes. Received: {re.escape(str(run))} is "
            rf"being written by `tfkd distill`, process {process.pid} on \S+, since "
            r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d. Wait for its end, or give another --output-dir."
        )
        with pytest.raises(ArtifactError, match=f"^{message}$"):
            with held(run, "export"):
                pass
        # By another path to the same folder, too.
        with pytest.raises(ArtifactError, match="`tfkd distill`"):
            with held(tmp_path / "runs" / "x" / ".." / "demo", "export"):
                pass
        with held(run.with_name("other"), "export"):
            pass
        process.kill()
    with held(run, "export"):
        pass


def test_living_commands_are_told_by_their_runs(tmp_path):
    assert writers(tmp_path) == {}
    with held(tmp_path / "done", "export"):
        pass
    with holder("held(Path(sys.argv[1]), 'distill')", tmp_path / "demo-1.0") as process:
        found = writers(tmp_path)
        assert list(found) == ["demo-1.0"]
        assert found["demo-1.0"].startswith(f"`tfkd distill`, process {process.pid} on ")
        process.kill()
    assert writers(tmp_path) == {}


def test_a_holder_that_is_not_known_is_another_process(tmp_path):
    with holder("held(Path(sys.argv[1]), 'distill')", tmp_path / "demo") as process:
        (tmp_path / "cache" / "locks" / "runs-demo.json").write_text("[")
        message = f"Received: {tmp_path / 'demo'} is being written by another process. Wait"
        with pytest.raises(ArtifactError, match=re.escape(message)):
            with held(tmp_path / "demo", "export"):
                pass
        process.kill()


def test_a_run_can_be_waited_for(tmp_path):
    run, told = tmp_path / "demo", []
    with holder("held(Path(sys.argv[1]), 'finetune')", run) as process:

        def tell(line):
            told.append(line)
            threading.Timer(0.3, process.kill).start()

        with held(run, "distill", tell):
            assert process.poll() is not None
    assert [line.split(", since")[0].split(" on ")[0] for line in told] == [
        f"{run} is being written by `tfkd finetune`, process {process.pid}"
    ]


def test_nothing_is_left_of_a_hold(tmp_path):
    run = tmp_path / "demo"
    with pytest.raises(RuntimeError, match=exactly("stop")):
        with held(run, "distill"):
            raise RuntimeError("stop")
    assert os.listdir(tmp_path) == ["cache"]
    assert os.listdir(tmp_path / "cache" / "locks") == ["runs-demo.lock"]
    with held(run, "distill"):
        pass


def test_parts_that_killed_commands_left_go_first(tmp_path):
    run = tmp_path / "demo"
    parts = [
        run / f".part-{'1' * 32}",
        run / "student" / f".part-{'2' * 32}.tflite",
        tmp_path / "cache" / "tokens" / f".part-{'3' * 32}",
        tmp_path / "cache" / "logits" / "0a" / f".part-{'4' * 32}.npy",
    ]
    for part in parts:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("half")
        os.utime(part, (time.time() - 60,) * 2)
    other = tmp_path / "other" / f".part-{'5' * 32}"
    other.parent.mkdir()
    other.write_text("of another run")
    os.utime(other, (time.time() - 60,) * 2)
    with held(run, "distill"):
        assert [part.exists() for part in parts] == [False] * 4
        assert other.exists()


@pytest.mark.parametrize("target", ["loop", "nowhere"])
def test_a_link_to_itself_or_to_nothing_is_no_folder(tmp_path, target):
    (tmp_path / "loop").symlink_to(target)
    with (
        pytest.raises(NotADirectoryError, match="Not a directory: '.*/(loop|nowhere)'$"),
        held(tmp_path / "loop", "distill"),
    ):
        pass
    assert os.listdir(tmp_path) == ["loop"]
