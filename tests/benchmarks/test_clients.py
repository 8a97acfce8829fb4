"""What benchmarks/clients.py counts, on a small folder asked in this environment."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import clients  # noqa: E402

from tests.compression.test_kits import TEXTS, classifier, written  # noqa: E402


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    return written(classifier(), tmp_path_factory.mktemp("kit"))


def test_a_folder_is_asked_in_a_process_of_its_own(kit):
    found = clients.asked([sys.executable], clients.PYTHON, kit, TEXTS, starts=1)
    expected = clients.expected_labels(clients.PYTHON, kit, TEXTS)
    assert found["labels"] == expected.tolist()
    assert 0 < found["processor_seconds"]
    assert 0 < found["seconds"]


def test_a_client_that_fails_is_named(kit, tmp_path):
    message = "^the folder of `--format python`, LiteRT ended with 1.$"
    with pytest.raises(SystemExit, match=message):
        clients.asked([sys.executable], clients.PYTHON, tmp_path, ["oil"], starts=1)


def test_bytes_of_an_environment_are_those_of_its_files(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to(tmp_path / "lib" / "a")
    (tmp_path / "lib64").symlink_to(tmp_path / "lib")
    assert clients.size(tmp_path) == 5


def test_table_has_a_line_a_client():
    row = {"seconds": 0.254, "installed_bytes": 163_400_000, "texts": 500, "same_labels": 499}
    rows = [
        {"client": "python", "processor_seconds": 0.171, **row},
        {"client": "web", "processor_seconds": None, **row},
    ]
    table, note = clients.markdown({"run": "x", "recipe": "y", "rows": rows}).split("\n\n")
    assert table.splitlines()[2:] == [
        "| the folder of `--format python`, LiteRT | 163 | 0.25 | 0.17 | 499 of 500 |",
        "| the folder of `--format web`, Chromium | 163 | 0.25 | - | 499 of 500 |",
    ]
    assert note.startswith("x, y (Keras: float32). MB: ")
