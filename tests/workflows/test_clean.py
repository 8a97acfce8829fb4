"""`tfkd clean`: what may go, with its bytes, and all that has to stay."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.messages import exactly
from tfkd.artifacts import write_json
from tfkd.cli import verbs
from tfkd.errors import ArtifactError
from tfkd.workflows.clean import clean

MARK = "0123456789abcdef"
HOLD = """
import sys, time
from pathlib import Path
from tfkd.locks import held
with held(Path(sys.argv[1]), "distill"): print("held", flush=True); time.sleep(60)
"""


def file(path, num_bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * num_bytes)
    return path


def run(path, verb="distill", metrics=None, **settings):
    """A folder as a verb writes it, with a model of 100 bytes; without metrics it is unfinished."""
    write_json(path / "config.json", {"written_by": "tfkd", "verb": verb, **settings})
    file(path / ("student" if verb == "distill" else "model") / "model.keras", 100)
    if metrics is not None:
        write_json(path / "metrics.json", metrics)
    return path


def teacher(path, model="bert_mini"):
    return run(path, "finetune", {}, model=model, output_dir=str(path))


def size(path):
    return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())


def contents(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def told(folder, *options):
    result = CliRunner().invoke(verbs, ["clean", str(folder), *options])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


@pytest.fixture
def runs(tmp_path):
    """A finished run with its teacher, and one of each that may go."""
    folder = tmp_path / "runs"
    run(folder / "done", metrics={"teacher_folder": str(folder / "a-mini-finetuned" / "model")})
    teacher(folder / "a-mini-finetuned")
    teacher(folder / "a-mini-finetuned-balanced-weighted-01234567")
    run(folder / "begun", teacher="bert_base")
    file(folder / "cache" / "tokens" / MARK / "offsets.npy", 1000)
    file(folder / "cache" / "tokens" / MARK / "token_ids.int32", 500)
    file(folder / "cache" / "teacher_logits" / f"{MARK}-bfloat16" / "logits-00000.npy", 20)
    part = file(folder / "done" / "student" / f".part-{'1' * 32}.keras", 7)
    os.utime(part, (0, 0))
    return folder


def test_a_dry_run_lists_bytes_and_removes_nothing(runs):
    before = contents(runs)
    sizes = {
        name: size(runs / name) for name in ("begun", "a-mini-finetuned-balanced-weighted-01234567")
    }
    lines = told(runs)
    assert contents(runs) == before
    assert [line.split() for line in lines] == [
        ["What", "Where", "Bytes"],
        ["─" * len(lines[1])],
        ["cache", f"{runs}/cache/teacher_logits", "20"],
        ["cache", f"{runs}/cache/tokens", "1,500"],
        [
            "teachers",
            f"{runs}/a-mini-finetuned-balanced-weighted-01234567",
            str(list(sizes.values())[1]),
        ],
        ["unfinished", f"{runs}/begun", str(sizes["begun"])],
        ["parts", f"{runs}/done/student/.part-{'1' * 32}.keras", "7"],
        f"Left alone: {runs}/a-mini-finetuned, a teacher of {runs}/done".split(),
        "Nothing is removed yet; --yes removes these "
        f"{1527 + sum(sizes.values()):,} bytes.".split(),
        "What a cache holds is made anew when it is needed.".split(),
    ]


def test_with_yes_they_go_and_all_else_stays(runs):
    for path in ("begun/notes.txt", "cache/tokens/mine.npy", "cache/own/file.npy"):
        file(runs / path, 3)
    file(runs / "cache" / "tokens" / MARK / "mine.txt", 3)
    kept = [path for path in contents(runs) if path.startswith(("done/", "a-mini-finetuned/"))]
    kept.remove(f"done/student/.part-{'1' * 32}.keras")
    expected = sum(item.num_bytes for item in clean(runs).items)
    assert told(runs, "--yes")[-1] == f"Removed {expected:,} bytes."
    assert [path for path in contents(runs) if not path.startswith("cache/locks")] == sorted(
        [*kept, "a-mini-finetuned", "begun", "begun/notes.txt", "cache", "cache/own", "done"]
        + ["cache/own/file.npy", "cache/tokens", f"cache/tokens/{MARK}", "cache/tokens/mine.npy"]
        + [f"cache/tokens/{MARK}/mine.txt"]
    )
    assert told(runs)[-1] == f"Nothing to remove in {runs}."


def test_what_narrows_and_json_tells_the_same(runs):
    answer = json.loads("\n".join(told(runs, "--what", "parts", "--what", "cache", "--json")))
    assert answer == {
        "is_removed": False,
        "items": [
            {"what": "cache", "path": f"{runs}/cache/teacher_logits", "bytes": 20},
            {"what": "cache", "path": f"{runs}/cache/tokens", "bytes": 1500},
            {"what": "parts", "path": f"{runs}/done/student/.part-{'1' * 32}.keras", "bytes": 7},
        ],
        "left_alone": {},
    }
    clean(runs, what="unfinished", yes=True)
    assert not (runs / "begun").exists()
    assert (runs / "cache" / "tokens").is_dir()
    assert (runs / "a-mini-finetuned-balanced-weighted-01234567").is_dir()


def test_what_a_living_command_holds_stays(runs):
    command = [sys.executable, "-c", HOLD, str(runs / "begun")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        before = contents(runs)
        result = clean(runs, what=("cache", "unfinished", "teachers"), yes=True)
        assert contents(runs) == before
        process.kill()
    assert result.items == []
    paths = [str(item.path.relative_to(runs)) for item in result.left]
    assert paths == [
        *("cache/teacher_logits", "cache/tokens", "a-mini-finetuned"),
        *("a-mini-finetuned-balanced-weighted-01234567", "begun"),
    ]
    for item in result.left:
        assert item.reason.startswith(f"in use by `tfkd distill`, process {process.pid} on ")
    assert len(clean(runs, what=("cache", "unfinished")).items) == 3


def test_foreign_and_linked_folders_stay_and_damaged_ones_are_named(runs, tmp_path):
    far = run(tmp_path / "far")
    write_json(runs / "foreign-finetuned" / "config.json", {"model_type": "bert", "verb": "x"})
    (runs / "link").symlink_to(far)
    shutil.move(runs / "cache", tmp_path / "cache")
    (runs / "cache").symlink_to(tmp_path / "cache")
    (runs / "broken").mkdir()
    (runs / "broken" / "config.json").write_text("{")
    shutil.rmtree(runs / "begun")
    before = contents(tmp_path)
    result = clean(runs, what=("cache", "unfinished"), yes=True)
    assert contents(tmp_path) == before
    assert result.items == []
    assert told(runs, "--what", "unfinished") == [
        f"Left alone: {runs}/broken, Expected JSON in {runs}/broken/config.json. Received: "
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1). Put it back "
        "as it was, or delete its folder.",
        f"Nothing to remove in {runs}.",
    ]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        # Asked for by its user, not by a distillation.
        ({"output_dir": None}, "made for its own sake"),
        # `begun` goes on with it.
        ({"model": "bert_base"}, "a teacher of {runs}/begun"),
    ],
)
def test_a_teacher_that_may_be_needed_stays(runs, settings, reason):
    path = runs / "b-finetuned"
    run(path, "finetune", {}, **{"model": "x", "output_dir": str(path), **settings})
    left = {item.path: item.reason for item in clean(runs, what="teachers").left}
    assert left[path] == reason.format(runs=runs)


def test_a_teacher_of_a_mixture_or_in_damaged_figures_stays(runs):
    name = "a-mini-finetuned-balanced-weighted-01234567"
    folders = {"mini": f"elsewhere/{name}/model"}
    run(runs / "mixed", metrics={"mixture": {"folders": folders}})
    path = runs / "mixed" / "metrics.json"
    for text in (path.read_text(), path.read_text()[:-4]):
        path.write_text(text)
        assert clean(runs, what="teachers").items == []


def test_rows_from_memory_stay_with_their_run(runs):
    needed, other = (
        file(runs / "cache" / "data" / f"texts-{digit * 12}" / "train.jsonl", 9).parent
        for digit in "ab"
    )
    run(runs / "own", metrics={}, dataset=str(needed))
    clean(runs, what="cache", yes=True)
    assert contents(needed) == ["train.jsonl"]
    assert not other.exists()


def test_a_study_inside_is_cleaned_with_it(runs):
    study = runs / "study"
    file(study / "cache" / "locks" / "runs-arm.lock", 0)
    file(study / "cache" / "memory" / f"{MARK}.json", 11)
    run(study / "arm")
    found = {item.path: item.what for item in clean(runs).items}
    assert found[study / "cache" / "memory"] == "cache"
    assert found[study / "arm"] == "unfinished"


def test_a_folder_that_is_none_is_refused(tmp_path):
    message = (
        f"Expected a folder of runs. Received: {tmp_path}/runs, which is no folder. Correct the "
        "path."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        clean(tmp_path / "runs")


def test_all_of_a_real_cache_is_known(demo_result, tmp_path):
    cache = shutil.copytree(demo_result.path.parent / "cache", tmp_path / "cache")
    clean(tmp_path, yes=True)
    assert os.listdir(cache) == ["locks"]
