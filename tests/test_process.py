import os
import textwrap
import time
from pathlib import Path

import pytest

from tfkd.errors import ModelError
from tfkd.process import load, run_fresh

MODULE = """
    import json
    import os
    import sys
    import time

    from tfkd.process import answer, step

    job = json.load(sys.stdin)
    kind = job["kind"]
    if kind == "echo":
        answer(job)
    elif kind == "chatty":
        print("step 3 of 3", end="")
        answer([1, 2])
    elif kind == "steps":
        for _ in range(3):
            step()
        print("some library says so")
        answer("after three steps")
    elif kind == "environment":
        answer({name: os.environ.get(name) for name in job["names"]})
    elif kind == "process":
        answer({"pid": os.getpid(), "tensorflow": "tensorflow" in sys.modules})
    elif kind == "error":
        raise KeyError("no such model")
    elif kind == "error without a word":
        answer("all is well")
        sys.exit(3)
    elif kind == "words":
        print("done, see above")
    elif kind == "slow":
        time.sleep(60)
"""


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Asks a small program that is nowhere but on this process' search path."""
    (tmp_path / "job_of_test.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def run(kind, timeout_seconds=60.0, environment=None, stepped=lambda: None, **job):
        return run_fresh(
            "job_of_test", {"kind": kind, **job}, "to sing", timeout_seconds, environment, stepped
        )

    return run


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


def test_an_answer_that_is_not_json(ask):
    message = (
        "^Expected the models to sing in a fresh process that answers in JSON. "
        "Received: 'done, see above'$"
    )
    with pytest.raises(ModelError, match=message):
        ask("words")


def test_a_process_that_takes_too_long_is_stopped(ask):
    message = (
        "^Expected the models to sing in a fresh process within 0.5 s. Received: no answer. "
        "Try again on a less busy machine.$"
    )
    started_at = time.monotonic()
    with pytest.raises(ModelError, match=message):
        ask("slow", timeout_seconds=0.5)
    assert time.monotonic() - started_at < 20


def test_unknown_module():
    with pytest.raises(ModelError, match="Received: .*No module named nowhere_to_be_found$"):
        run_fresh("nowhere_to_be_found", {}, "to sing", 60.0)


def test_loader_is_named_by_module_and_callable():
    assert load("pathlib:PurePosixPath", Path("a/b")).name == "b"
    assert load("pathlib:Path.exists", Path("no such file")) is False
