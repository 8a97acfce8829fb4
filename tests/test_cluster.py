"""Ray's workers, killed or not: each row of a corpus once, and as a loop has it."""

import importlib.util
import os
import shutil

import pyarrow.parquet
import pytest
from click.testing import CliRunner

from tests.messages import exactly
from tests.ray_commands import Command, needs_ray, wait_for
from tests.toys import convert_here
from tests.workflows.test_predict import make_run
from tfkd import cluster
from tfkd.cli import verbs
from tfkd.errors import ConfigError

PARTS, PART_ROWS = 40, 250


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A run with a file, a corpus in two files, and what a loop writes of it."""
    folder = tmp_path_factory.mktemp("corpus")
    run = make_run(folder / "run")
    convert_here(run / "model", ["float32"], (8, 16), run / "model")
    (folder / "texts").mkdir()
    words = ("rain", "goal", "vote", "team")
    for name in ("a", "b"):
        rows = (f"{words[n % 4]} {words[n % 3]} {name}{n}" for n in range(PARTS * PART_ROWS // 2))
        (folder / "texts" / f"{name}.csv").write_text("\n".join(["text", *rows, ""]))
    arguments = ("predict", run, "--input", folder / "texts", "--part-rows", PART_ROWS)
    made = CliRunner().invoke(verbs, [*map(str, arguments), "--output", str(folder / "local")])
    assert made.exit_code == 0, made.output
    return folder, arguments


def parts_of(folder):
    return sorted(folder.glob("part-*.parquet"))


def cut_short(out, *arguments):
    """Lets a command lose a worker and then kills it; again, should it be done before that."""

    def is_done():
        return len(parts_of(out)) == PARTS

    with Command(*arguments) as command:
        wait_for(lambda: len(parts_of(out)) >= 2)
        found = wait_for(lambda: is_done() or command.workers("MapWorker"))
        if not is_done():
            os.kill(found[0], 9)
            there = len(parts_of(out))
            wait_for(lambda: is_done() or len(parts_of(out)) >= there + 2)
    if is_done():
        shutil.rmtree(out)
        cut_short(out, *arguments)


@needs_ray
def test_killed_worker_and_killed_driver_leave_each_row_once_and_as_the_loop_has_it(corpus):
    folder, arguments = corpus
    out = folder / "out"
    arguments = (*arguments, "--output", out, "--ray", "local")
    cut_short(out, *arguments)
    kept = {path: path.stat().st_mtime_ns for path in parts_of(out)}
    assert 4 <= len(kept) < PARTS
    with Command(*arguments) as second:
        said = second.end().splitlines()
        assert second.process.returncode == 0, said
        wait_for(lambda: not second.living())
    # Nothing of Ray's own.
    assert {line.split()[0] for line in said} == {"read", "score"}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    local = parts_of(folder / "local")
    assert [path.name for path in parts_of(out)] == [path.name for path in local]
    for path in local:
        assert (out / path.name).read_bytes() == path.read_bytes()
    ids = pyarrow.parquet.read_table(out)["id"].to_pylist()
    assert len(ids) == len(set(ids)) == PARTS * PART_ROWS


@needs_ray
def test_an_error_of_a_worker_is_one_line(corpus):
    folder, arguments = corpus
    out = folder / "refused"
    model = folder / "run" / "model" / "float32.tflite"
    whole = model.read_bytes()
    with Command(*arguments, "--output", out, "--ray", "local") as command:
        wait_for(lambda: (out / "_manifest.json").is_file())
        model.write_bytes(b"changed")
        said = command.end().splitlines()
    model.write_bytes(whole)
    assert command.process.returncode == 1
    assert said[-1] == (
        f"Error: Expected {model} as tfkd wrote it. Received: another content. Write it again with "
        "`tfkd export --overwrite`."
    )
    assert parts_of(out) == []


@needs_ray
def test_a_cluster_that_is_not_there_is_told(corpus):
    folder, arguments = corpus
    with Command(*arguments, "--output", folder / "none", "--ray", "auto") as command:
        said = command.end().splitlines()
    assert command.process.returncode == 1
    assert said[-1].startswith("Error: Expected a Ray cluster at auto. Received: Could not find ")
    assert said[-1].endswith(" Start one with `ray start --head`, or give --ray local.")


@pytest.mark.parametrize("package", ["ray", "pandas", "pydantic", "tensorboardX"])
def test_without_the_extra_one_line_says_what_to_install(package, corpus, monkeypatch):
    folder, arguments = corpus
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else found(name)
    )
    line = (
        f"Expected the package {package} for --ray. Received: none. Install it with "
        "`pip install 'tfkd[ray]'`."
    )
    with pytest.raises(ConfigError, match=exactly(line)), cluster.joined("local"):
        pass
    more = ("--output", str(folder / "none"), "--ray", "local")
    result = CliRunner().invoke(verbs, [*map(str, arguments), *more])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, f"Error: {line}")
    more = ("--dataset", "demo", "--model", "cnn", "--strategy", "multi-worker", "--ray", "local")
    result = CliRunner().invoke(verbs, ["finetune", *more, "--output-dir", str(folder / "none")])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, f"Error: {line}")
