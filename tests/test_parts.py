"""Parts: held while they are written, and removed by the next command if their maker was killed."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.messages import exactly
from tfkd.parts import part_file, part_folder, remove_parts, temporary_files_of_a_command

MAKE = """
import sys, time
from pathlib import Path
from tfkd.parts import part_file, part_folder
with part_file(Path(sys.argv[1], "a.npz")), part_folder(Path(sys.argv[1], "b")) as folder:
    (folder / "inner").mkdir()
    (folder / "inner" / "weights").write_text("half")
    print("made", flush=True)
    time.sleep(60)
"""
NAME = ".part-0123456789abcdef0123456789abcdef"


def older(path, seconds=60):
    os.utime(path, (time.time() - seconds,) * 2)


def test_parts_have_the_ending_of_what_they_become_and_go(tmp_path):
    with part_file(tmp_path / "a.npz") as file, part_folder(tmp_path / "b") as folder:
        assert (file.suffix, file.read_bytes(), folder.suffix) == (".npz", b"", "")
        assert sorted(os.listdir(tmp_path)) == sorted([file.name, folder.name])
        (folder / "weights").write_text("half")
    assert os.listdir(tmp_path) == []


def test_a_part_may_become_what_it_is_for(tmp_path):
    with part_file(tmp_path / "a.npz") as file, part_folder(tmp_path / "b") as folder:
        os.replace(file, tmp_path / "a.npz")
        os.replace(folder, tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b"]
    # As the user's other files, not closed to all.
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "a.npz").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_part_in_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        with part_file(tmp_path / "missing" / "a.npz"):
            pass


def test_parts_of_a_killed_process_go_and_those_of_a_living_one_stay(tmp_path):
    command = [sys.executable, "-c", MAKE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "made\n"
        made = sorted(tmp_path.iterdir())
        assert len(made) == 2
        for part in made:
            older(part)
        remove_parts(tmp_path)
        assert sorted(tmp_path.iterdir()) == made
        process.kill()
    remove_parts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_look_tells_what_would_go(tmp_path):
    for path in (tmp_path / NAME, tmp_path / "below" / NAME):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
        older(path)
    expected = [tmp_path / NAME, tmp_path / "below" / NAME]
    assert remove_parts(tmp_path, "**", only_look=True) == expected
    assert remove_parts(tmp_path, "**") == expected
    assert remove_parts(tmp_path, "**") == []
    assert os.listdir(tmp_path) == ["below"]


def test_a_part_as_new_as_its_hold_stays(tmp_path):
    (tmp_path / NAME).mkdir()
    # However long this test is kept from going on.
    older(tmp_path / NAME, seconds=-60)
    remove_parts(tmp_path)
    assert os.listdir(tmp_path) == [NAME]
    older(tmp_path / NAME)
    remove_parts(tmp_path)
    assert os.listdir(tmp_path) == []


def test_what_has_another_name_or_is_a_link_stays(tmp_path):
    (tmp_path / "kept").mkdir()
    names = [".part-1f", ".part-" + "g" * 32, NAME + ".tar.gz", NAME[1:], NAME + "x"]
    for name in names:
        (tmp_path / name).mkdir()
        older(tmp_path / name)
    (tmp_path / NAME).symlink_to(tmp_path / "kept")
    os.utime(tmp_path / "kept", (0, 0))
    remove_parts(tmp_path, "**")
    assert sorted(os.listdir(tmp_path)) == sorted(["kept", NAME, *names])


def test_folders_below_are_looked_through_when_asked_for(tmp_path):
    below = tmp_path / "student" / "tokenizer"
    below.mkdir(parents=True)
    (below / NAME).write_text("half")
    older(below / NAME)
    remove_parts(tmp_path)
    remove_parts(tmp_path, "*")
    assert (below / NAME).exists()
    remove_parts(tmp_path, "**")
    assert os.listdir(below) == []
    remove_parts(tmp_path / "missing", "**")


def test_temporary_files_of_a_command_go_and_those_of_a_killed_one_first(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "generated.py").write_text("pass")
    (tmp_path / "mine").mkdir()
    for folder in (NAME, "mine"):
        older(tmp_path / folder)
    with temporary_files_of_a_command():
        left = Path(tempfile.mkdtemp())
        assert left.parent.parent == tmp_path
        assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(left.parent)
        assert sorted(os.listdir(tmp_path)) == sorted([left.parent.name, "mine"])
    assert os.listdir(tmp_path) == ["mine"]
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(tmp_path)


def test_an_error_removes_the_part(tmp_path):
    with pytest.raises(RuntimeError, match=exactly("stop")):
        with part_folder(tmp_path / "b"), part_file(tmp_path / "a"):
            raise RuntimeError("stop")
    assert os.listdir(tmp_path) == []
