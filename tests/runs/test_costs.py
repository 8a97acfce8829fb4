"""Memory of files: side by side, and of an unchanged file asked once."""

import textwrap

import pytest

from tests.toys import QUIET
from tfkd.errors import ModelError
from tfkd.runs import costs
from tfkd.runs.costs import ModelFile, measure_memory

LOADER = """
    import os
    import time
    from pathlib import Path


    class Model:
        \"\"\"Holds the megabytes its file names, and notes that it was loaded.\"\"\"

        def __init__(self, path, threads=None):
            assert threads in (None, 1)
            with path.with_suffix(".log").open("a") as log:
                log.write("loaded\\n")
            self.block = b"x" * (int(path.read_text()) * 2**20)

        def predict(self, texts):
            pass


    class Meeting(Model):
        \"\"\"Answers only while another process is there, too.\"\"\"

        def predict(self, texts):
            folder = Path(os.environ["MEETING_OF_TEST"])
            (folder / str(os.getpid())).touch()
            late = time.monotonic() + 60
            while len(list(folder.iterdir())) < 2:
                if time.monotonic() > late:
                    raise RuntimeError("nobody came")
                time.sleep(0.01)
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two files of a model folder, loaded by a class that notes it."""
    (tmp_path / "costs_of_test.py").write_text(textwrap.dedent(LOADER), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(costs, "LITERT_LOADER", "costs_of_test:Model")
    for kind, megabytes in (("float32", 64), ("dynamic_int8", 16)):
        (tmp_path / f"{kind}.tflite").write_text(str(megabytes), encoding="utf-8")
    return [ModelFile(f"run/{kind}", tmp_path, kind) for kind in ("float32", "dynamic_int8")]


def num_loads(file):
    return file.path.with_suffix(".log").read_text().count("loaded")


def test_an_unchanged_file_is_asked_once(files, tmp_path):
    kept = tmp_path / "cache" / "memory"
    first = measure_memory(files, ["a text"], QUIET, kept)
    assert 40 < (first[0] - first[1]) / 2**20 < 56
    assert measure_memory(files, ["a text"], QUIET, kept) == first
    assert [num_loads(file) for file in files] == [1, 1]
    files[0].path.write_text("16", encoding="utf-8")
    second = measure_memory(files, ["a text"], QUIET, kept)
    assert second[1] == first[1]
    assert abs(second[0] - second[1]) / 2**20 < 8
    assert [num_loads(file) for file in files] == [2, 1]
    # Other texts may need more.
    measure_memory(files[1:], ["a longer text"], QUIET, kept)
    assert [num_loads(file) for file in files] == [2, 2]


def test_without_a_folder_every_file_is_asked_anew(files):
    for _ in range(2):
        measure_memory(files, ["a text"], QUIET)
    assert [num_loads(file) for file in files] == [2, 2]


def test_files_are_asked_side_by_side(files, tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "LITERT_LOADER", "costs_of_test:Meeting")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (tmp_path / "meeting").mkdir()
    monkeypatch.setenv("MEETING_OF_TEST", str(tmp_path / "meeting"))
    found = measure_memory(files, ["a text"], QUIET)
    assert found[0] > found[1]
    assert len(list((tmp_path / "meeting").iterdir())) == 2


def test_folder_and_kind_become_loader_and_path(files, tmp_path, monkeypatch):
    large, small = measure_memory(files, ["a"], QUIET)
    assert 42 < (large - small) / 2**20 < 54
    monkeypatch.setattr(costs, "KERAS_LOADER", "costs_of_test:missing")
    with pytest.raises(ModelError, match=rf"^Expected the models of {tmp_path} to load"):
        measure_memory([ModelFile("run", tmp_path, "keras")], ["a"], QUIET)
