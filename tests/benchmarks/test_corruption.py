"""A damaged file is named or changes nothing: the small form of benchmarks/corruption.py."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import corruption  # noqa: E402

from tests.toys import demo_rows  # noqa: E402
from tfkd.artifacts import RunFolder, write_json, write_record  # noqa: E402
from tfkd.config.training import DistillConfig  # noqa: E402
from tfkd.errors import ArtifactError  # noqa: E402
from tfkd.workflows.distill import distill  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory, converted_here):
    folder = tmp_path_factory.mktemp("corruption")
    (folder / "data").mkdir()
    config = DistillConfig(
        dataset=str(demo_rows(folder / "data", train=80, validation=20, test=20)),
        output_dir=folder / "saved" / "run",
        teacher="cnn_small",
        student="cnn_small",
        teacher_epochs=1,
        epochs=1,
        augmented_copies=0,
        recipes=("float32",),
        timing=False,
        quiet=True,
    )
    return RunFolder(distill(config).path)


def test_every_file_is_named_or_changes_nothing(run):
    counts = corruption.survey(run, ("float32",), most=4)
    readers = {key.split(": ")[0] for key in counts}
    assert readers == {
        *("predict", "predict float32", "file alone", "settings", "metrics"),
        *("training", "control", "teacher", "cache", "backup", "known texts"),
        *("bottleneck", "words", "trial", "memory", "predictions"),
    }
    wrong = {
        (key, name)
        for key, row in counts.items()
        for name, count in row.items()
        if name not in corruption.RIGHT and count
    }
    assert wrong == set()
    assert all(sum(row.values()) >= 4 for row in counts.values())
    text = corruption.render(counts).markdown()
    total = [int(cell) for cell in re.findall(r"^\| all \|(.+)\|$", text, re.M)[0].split("|")]
    assert sum(total) == sum(sum(row.values()) for row in counts.values())


def test_all_changes_of_a_litert_file_are_noticed(run):
    """In its folder and without."""
    for target in corruption.targets(run, ("float32",)):
        for path in target.files:
            if path.suffix == ".tflite":
                expected = target.read(print)
                found = {
                    name: corruption.outcome(target, path, content, expected)
                    for name, content in corruption.mutants(path, [])
                    if content is not None
                }
                assert set(found.values()) == {corruption.REFUSED}, found
                assert len(found) > 20


def test_what_is_not_noticed_is_counted(run, monkeypatch):
    """The counts would tell it, were there no seals."""
    target = next(item for item in corruption.targets(run, ("float32",)) if "alone" in item.name)
    (path,) = target.files
    expected = target.read(print)
    changed = next(c for name, c in corruption.mutants(path, []) if name.startswith("rows of"))
    monkeypatch.setattr("tfkd.compression.file_seal._check_own", lambda path, remedy: None)
    assert corruption.outcome(target, path, changed, expected) == corruption.OTHER
    assert corruption.outcome(target, path, path.read_bytes(), expected) == corruption.SAME


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ArtifactError("Expected {path}."), corruption.REFUSED),
        (ArtifactError("Expected {path}.\nAnd more."), corruption.NAMELESS),
        (ArtifactError("Expected another file."), corruption.NAMELESS),
        (KeyError("seal"), corruption.TRACEBACK),
    ],
)
def test_kinds_of_refusal(error, expected, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(b"content")

    def read(tell):
        assert path.read_bytes() == b"other"
        raise type(error)(str(error.args[0]).format(path=path))

    target = corruption.Target("reader", [path], read)
    assert corruption.outcome(target, path, b"other", 1) == expected
    assert path.read_bytes() == b"content"


def ways(path):
    return {re.sub(r"\d+", "N", name) for name, _ in corruption.mutants(path, [])}


def test_ways_of_damage(tmp_path):
    record, array = tmp_path / "record.json", tmp_path / "array.npy"
    write_record(record, {"rows": 3, "names": ["a", "b"]})
    np.save(array, np.arange(5))
    shared = {
        *("missing", "empty", "cut to N", "bytes behind", "reversed", "halves changed over"),
        *("zeros", "bit at N"),
    }
    lines = {"line N lost", "line N twice", "line N and the last changed over", "lines reversed"}
    assert ways(array) == shared | {" reversed", " plus one"}
    assert ways(record) >= shared | lines | {"another rows", "another names", "another names/N"}
    assert not any("seal" in way for way in ways(record))
    changed = dict(corruption.mutants(record, []))
    assert b'"rows": 4' in changed["another rows"]
    write_json(tmp_path / "other.json", {})
    siblings = dict(corruption.mutants(record, [tmp_path / "other.json"]))
    assert siblings[f"that of {tmp_path.name}/other.json"] == b"{}\n"
