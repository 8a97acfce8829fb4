"""Progress goes to standard error: plain lines when it is no terminal, nothing when quiet."""

import time

import pytest

from tfkd.progress import PLAIN_SECONDS, Progress


def test_said_lines_go_to_standard_error_whole(capsys):
    Progress().say("Teacher: [bold] " + "x" * 200)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Teacher: [bold] " + "x" * 200 + "\n"


def test_quiet_shows_nothing(capsys):
    progress = Progress(quiet=True)
    progress.say("Teacher")
    with progress.task("scoring", total=2) as task:
        task.advance()
    assert capsys.readouterr() == ("", "")


def test_plain_line_tells_count_and_time_left(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Progress().task("scoring", total=40, completed=10) as task:
        now += PLAIN_SECONDS - 1
        task.advance(4)
        assert capsys.readouterr().err == ""
        now += 1
        # 5 rows in 10 s: the 25 that are left take 50 s. The 10 done before do not count.
        task.advance(1, status="loss 0.5")
    assert capsys.readouterr().err == "scoring 15/40, 50 s left loss 0.5\n"


def test_tasks_follow_each_other(capsys):
    progress = Progress()
    for name in ("first", "second"):
        with progress.task(name, total=1) as task:
            task.advance()
    assert progress.bars.tasks == []
    assert capsys.readouterr().err == ""


def test_one_of_several_processes_begins_its_lines_with_its_name(capsys):
    progress = Progress().named("demo-cnn-seed0")
    progress.say("convert float32")
    assert capsys.readouterr().err == "demo-cnn-seed0: convert float32\n"
    assert progress.is_plain
    Progress(quiet=True).named("demo-cnn-seed0").say("convert float32")
    assert capsys.readouterr().err == ""


@pytest.fixture
def clock(monkeypatch):
    """Lets so many seconds pass; binary fractions, so that sums are exact."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_a_stage_inside_another_has_its_seconds_to_itself(clock, capsys):
    progress = Progress()
    with progress.stage("other"):
        clock(1.0)
        with progress.stage("train student", "train the student"):
            clock(8.0)
            with progress.stage("tokenize"):
                clock(0.5)
            clock(16.0)
        with progress.stage("train control"):
            with progress.stage("tokenize"):
                clock(0.25)
            clock(32.0)
            assert progress.seconds["train control"] == 32.0
        clock(2.0)
    clock(1000.0)
    assert list(progress.seconds.items()) == [
        ("train student", 24.0),
        ("tokenize", 0.75),
        ("train control", 32.0),
        ("other", 3.0),
    ]
    assert capsys.readouterr().err == "train the student\n"


def test_a_stage_that_fails_is_over(clock):
    progress = Progress(quiet=True)
    with progress.stage("other"):
        with pytest.raises(RuntimeError, match="no memory"), progress.stage("train student"):
            clock(4.0)
            raise RuntimeError("no memory")
        clock(1.0)
    assert progress.seconds == {"train student": 4.0, "other": 1.0}


def test_the_next_command_begins_the_account_anew(clock):
    progress = Progress(quiet=True)
    assert progress.seconds == {}
    for seconds in (4.0, 8.0):
        with progress.stage("other"), progress.stage("tokenize"):
            clock(seconds)
    assert progress.seconds == {"tokenize": 8.0, "other": 0.0}


def test_earlier_sessions_count_where_they_are_known(clock):
    progress = Progress(quiet=True)
    with progress.stage("other"):
        with progress.stage("train student"):
            clock(2.0)
            progress.took(64.0)
        with progress.stage("train control"):
            clock(2.0)
            progress.took(1.0)
    progress.took(5.0)
    assert progress.seconds == {"train student": 64.0, "train control": 2.0, "other": 0.0}
