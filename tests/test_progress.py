"""Progress goes to standard error: plain lines when it is no terminal, nothing when quiet."""

import time

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
