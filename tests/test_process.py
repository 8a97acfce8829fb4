import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tfkd import process as process_module
from tfkd.errors import ModelError
from tfkd.parts import remove_parts
from tfkd.process import Ending, end_children, load, run_child, run_fresh

MODULE = """
    import gc
    import json
    import os
    import signal
    import sys
    import tempfile
    import time

    from tfkd.process import announce_stage, answer, step

    job = json.load(sys.stdin)
    kind = job["kind"]
    if kind == "echo":
        answer(job)
    elif kind == "chatty":
        print("step 3 of 3", end="")
        answer([1, 2])
        print("bye")
    elif kind == "steps":
        for _ in range(3):
            step()
        print("some library says so")
        answer("after three steps")
    elif kind == "environment":
        answer({name: os.environ.get(name) for name in job["names"]})
    elif kind == "process":
        loaded = "tensorflow" in sys.modules
        answer({"pid": os.getpid(), "tensorflow": loaded, "garbage": gc.get_threshold()[0]})
    elif kind == "error":
        raise KeyError("no such model")
    elif kind == "error without a word":
        answer("all is well")
        sys.exit(3)
    elif kind == "words":
        print("done, see above")
    elif kind == "stages":
        announce_stage("loading the model")
        print("a library without an end of line", end="")
        announce_stage("writing x.tflite")
        sys.stderr.write(job["stderr"])
        sys.stderr.flush()
        if job["signal"]:
            os.kill(os.getpid(), getattr(signal, job["signal"]))
        if job["waits"]:
            step()
            time.sleep(60)
    elif kind == "temporary":
        answer(tempfile.mkdtemp())
    elif kind == "sleep":
        with open(job["note"], "w") as note:
            note.write(str(os.getpid()))
        time.sleep(60)
    elif kind == "slow":
        time.sleep(60)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A small program that is nowhere but on this process' search path."""
    (tmp_path / "job_of_test.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "job_of_test"


@pytest.fixture
def ask(module):
    def run(kind, timeout_seconds=60.0, environment=None, stepped=lambda: None, **job):
        return run_fresh(
            module, {"kind": kind, **job}, "to sing", timeout_seconds, environment, stepped
        )

    return run


@pytest.fixture
def ending(module):
    """How a process ends that announces two stages."""

    def run(stderr="", signal="", waits=False, stepped=lambda: None):
        job = {"kind": "stages", "stderr": stderr, "signal": signal, "waits": waits}
        return run_child(module, job, 60.0, stepped=stepped)

    return run


@pytest.fixture
def run_out(monkeypatch):
    """Ends the time of a process when it is called, however long that ran."""
    ends = []

    class Timer:
        def __init__(self, seconds, function, arguments):
            ends.append(lambda: function(*arguments))

        def start(self):
            pass

        def cancel(self):
            pass

    monkeypatch.setattr(threading, "Timer", Timer)
    return lambda: ends[0]()


def test_job_and_answer_are_json_values(ask):
    job = {"texts": ["a", ["b", "ü 漢"], "line\nbreak"], "none": None, "number": 0.1}
    assert ask("echo", **job) == {"kind": "echo", **job}


def test_steps_are_heard_and_are_not_the_answer(ask):
    heard = []
    assert ask("steps", stepped=lambda: heard.append(1)) == "after three steps"
    assert heard == [1, 1, 1]


def test_a_process_that_does_not_read_its_job_says_why():
    with pytest.raises(ModelError, match="Received: .*No module named nowhere_to_be_found$"):
        run_fresh("nowhere_to_be_found", {"texts": ["long"] * 1_000_000}, "to sing", 60.0)


def test_the_process_is_a_fresh_one(ask):
    found = ask("process")
    assert found["pid"] != os.getpid()
    assert found["tensorflow"] is False
    # It may load it.
    assert found["garbage"] == 100_000


def test_what_libraries_print_is_not_the_answer(ask):
    assert ask("chatty") == [1, 2]


def test_variables_come_on_top_of_this_process_own(ask, monkeypatch):
    monkeypatch.setenv("SONG", "old")
    monkeypatch.setenv("CHOIR", "large")
    found = ask("environment", environment={"SONG": "new"}, names=["SONG", "CHOIR", "ORGAN"])
    assert found == {"SONG": "new", "CHOIR": "large", "ORGAN": None}


def test_an_error_is_told_in_its_last_line(ask):
    message = (
        "^Expected the models to sing in a fresh process. Received: KeyError: 'no such model'$"
    )
    with pytest.raises(ModelError, match=message):
        ask("error")


def test_an_exit_code_counts_although_there_is_an_answer(ask):
    message = "^Expected the models to sing in a fresh process. Received: code 3$"
    with pytest.raises(ModelError, match=message):
        ask("error without a word")


def test_no_answer_at_all(ask):
    message = "^Expected the models to sing in a fresh process. Received: code 0$"
    with pytest.raises(ModelError, match=message):
        ask("silent")


def test_words_are_no_answer(ask):
    with pytest.raises(ModelError, match=r"in a fresh process\. Received: code 0$"):
        ask("words")


def test_an_answer_may_be_left_out(ending):
    assert ending("chatter\n") == Ending(0, "", "writing x.tflite", "chatter", is_late=False)


def test_a_crash_is_told_by_signal_and_stage(ending):
    found = ending(signal="SIGSEGV")
    assert found == Ending(-11, "", "writing x.tflite", "", is_late=False)
    assert found.signal_name == "SIGSEGV"


def test_a_crash_without_a_word_is_told_by_its_signal(ask):
    with pytest.raises(ModelError, match=r"in a fresh process\. Received: SIGKILL$"):
        ask("stages", stderr="", signal="SIGKILL")


def test_the_stage_is_known_when_the_time_is_over(ending, run_out):
    found = ending(waits=True, stepped=run_out)
    assert (found.stage, found.is_late) == ("writing x.tflite", True)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "Traceback:\n  File 'a.py'\nValueError: no such a\n  more of it\n",
            "ValueError: no such a",
        ),
        ("a.b.ConverterError: rank 3.\n<unknown>:0: note: here\n", "a.b.ConverterError: rank 3."),
        ("tfkd.errors.ArtifactError: Expected a.\n", "ArtifactError: Expected a."),
        ("I0000 00:00:1.2 123 reader.cc:83] Reading\nout of memory.\n", "out of memory."),
        ("WARNING: all is well\nW0000 00:00:1.2 123 flags.cc:3] ignored\n", ""),
    ],
)
def test_the_reason_is_the_line_that_tells(ending, stderr, reason):
    assert ending(stderr).reason == reason


def test_what_a_process_leaves_behind_is_removed(ask):
    left = Path(ask("temporary"))
    assert left.parent != Path(tempfile.gettempdir())
    assert left.parent.parent == Path(tempfile.gettempdir())
    assert not left.parent.exists()


def test_a_process_that_takes_too_long_is_stopped(ask):
    message = (
        "^Expected the models to sing in a fresh process within 0.5 s. Received: no answer. "
        "Try again on a less busy machine.$"
    )
    started_at = time.monotonic()
    with pytest.raises(ModelError, match=message):
        ask("slow", timeout_seconds=0.5)
    assert time.monotonic() - started_at < 50


def test_unknown_module():
    with pytest.raises(ModelError, match="Received: .*No module named nowhere_to_be_found$"):
        run_fresh("nowhere_to_be_found", {}, "to sing", 60.0)


def test_loader_is_named_by_module_and_callable():
    assert load("pathlib:PurePosixPath", Path("a/b")).name == "b"
    assert load("pathlib:Path.exists", Path("no such file")) is False


PARENT = """
import sys
from tfkd.process import run_child
run_child("job_of_test", {"kind": "sleep", "note": sys.argv[1]}, 60.0)
"""


def is_alive(number):
    """Whether a process runs; one that only waits for its parent to ask does not."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_ends_with_the_one_that_started_it(module, tmp_path, sent):
    note, environment = tmp_path / "note", {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-c", PARENT, str(note)]
    with subprocess.Popen(command, env=environment) as process:
        while not (note.exists() and note.read_text()):
            time.sleep(0.02)
        child = int(note.read_text())
        assert is_alive(child)
        process.send_signal(sent)
        process.wait()
    ended_at = time.monotonic()
    while is_alive(child):
        # It would sleep for 60 s.
        assert time.monotonic() - ended_at < 30
        time.sleep(0.02)
    # The next command knows what is left for a part.
    (left,) = (tmp_path / "temporary").iterdir()
    assert re.fullmatch(r"\.part-[0-9a-f]{32}", left.name)
    assert left.stat().st_mode & 0o777 == 0o700
    os.utime(left, (0, 0))
    remove_parts(tmp_path / "temporary")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_processes_of_other_threads_can_be_ended(module):
    endings = []
    job = {"kind": "slow"}
    thread = threading.Thread(target=lambda: endings.append(run_child(module, job, 60.0)))
    thread.start()
    while not process_module._RUNNING:
        time.sleep(0.02)
    end_children()
    thread.join(30)
    assert [ending.signal_name for ending in endings] == ["SIGKILL"]
