"""Files appear whole or not at all; a run folder is started, gone on with, or left alone."""

import hashlib
import os
import re
from pathlib import Path

import pytest

from tests.messages import exactly
from tfkd.artifacts import (
    RunFolder,
    atomic_file,
    atomic_folder,
    file_sha256,
    fingerprint,
    read_json,
    versions,
    write_json,
    write_text,
)
from tfkd.errors import ArtifactError

# What every verb that writes a run has, and one more.
SESSION = {"quiet": False, "overwrite": False, "output_dir": None, "backup_seconds": 60.0}
SETTINGS = {"dataset": "demo", "temperature": 2.0, **SESSION}


def test_atomic_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "student.keras"
    with atomic_file(path) as part:
        part.write_text("weights")
        assert not path.exists()
        assert part.suffix == ".keras"
        assert part.parent == path.parent
    assert path.read_text() == "weights"
    assert os.listdir(path.parent) == ["student.keras"]


def test_atomic_file_keeps_the_old_content_after_an_error(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="^stop$"):
        with atomic_file(path) as part:
            part.write_text("half of the n")
            raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_atomic_folder_appears_whole(tmp_path):
    path = tmp_path / "student"
    with atomic_folder(path, "mark.json") as part:
        (part / "new.txt").write_text("new")
        assert not path.exists()
    assert os.listdir(path) == ["new.txt"]
    assert os.listdir(tmp_path) == ["student"]


def test_atomic_folder_replaces_what_has_its_names_and_nothing_else(tmp_path):
    path = tmp_path / "student"
    for name in ("notes.txt", "mark.json", "tokenizer/words.txt", "tokenizer/mine.txt"):
        write_text(path / name, "old")
    with atomic_folder(path, "mark.json") as part:
        for name in ("mark.json", "tokenizer/words.txt", "tokenizer/new.txt", "more/a.txt"):
            write_text(part / name, "new")
        assert (path / "mark.json").read_text() == "old"
    assert {name: (path / name).read_text() for name in files_of(path)} == {
        "mark.json": "new",
        "more/a.txt": "new",
        "notes.txt": "old",
        "tokenizer/mine.txt": "old",
        "tokenizer/new.txt": "new",
        "tokenizer/words.txt": "new",
    }
    assert os.listdir(tmp_path) == ["student"]


def test_mark_of_a_folder_is_the_first_to_go_and_the_last_to_come(tmp_path, monkeypatch):
    path, moved = tmp_path / "student", []
    write_text(path / "mark.json", "old")
    replace = os.replace

    def noted(made, target):
        # Not the atomic writes inside the new folder.
        if target.parent == path:
            moved.append((target.name, (path / "mark.json").exists()))
        replace(made, target)

    monkeypatch.setattr(os, "replace", noted)
    with atomic_folder(path, "mark.json") as part:
        for name in ("mark.json", "a.txt", "z.txt"):
            write_text(part / name, "new")
    assert moved == [("a.txt", False), ("z.txt", False), ("mark.json", False)]


def test_atomic_folder_keeps_the_old_folder_after_an_error(tmp_path):
    path = tmp_path / "student"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(RuntimeError, match="^stop$"):
        with atomic_folder(path, "mark.json") as part:
            (part / "new.txt").write_text("new")
            raise RuntimeError("stop")
    assert os.listdir(path) == ["old.txt"]
    assert os.listdir(tmp_path) == ["student"]


def test_json_round_trip_keeps_letters_readable(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"label": "Müll", "rows": 3})
    assert read_json(path) == {"label": "Müll", "rows": 3}
    assert path.read_text(encoding="utf-8") == '{\n  "label": "Müll",\n  "rows": 3\n}\n'


def test_missing_json_names_the_file(tmp_path):
    path = tmp_path / "metrics.json"
    with pytest.raises(
        ArtifactError, match=exactly(f"Expected the file {path}. It does not exist.")
    ):
        read_json(path)


@pytest.mark.parametrize("content", [b'{"rows": ', b'"\xff"'], ids=["cut short", "encoding"])
def test_broken_json_names_the_file(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_bytes(content)
    with pytest.raises(
        ArtifactError, match=f"^Expected JSON in {re.escape(str(path))}. Received: "
    ):
        read_json(path)


def test_file_sha256_is_that_of_the_bytes(tmp_path):
    write_text(tmp_path / "a.txt", "abc")
    assert file_sha256(tmp_path / "a.txt") == hashlib.sha256(b"abc").hexdigest()


def test_fingerprint_ignores_order_and_sees_every_value():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1, "b": 2}) != fingerprint({"a": 1, "b": 3})
    assert re.fullmatch("[0-9a-f]{16}", fingerprint({"a": 1}))


def test_versions_name_the_packages_that_decide():
    found = versions()
    assert {"python", "tensorflow", "keras", "keras-hub", "numpy"} <= set(found)
    assert all(re.match(r"\d+\.\d+", version) for version in found.values())


def test_start_writes_the_settings_with_the_verb(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start("distill", SETTINGS, overwrite=False)
    assert run.read_config() == {
        "written_by": "tfkd",
        "verb": "distill",
        **SETTINGS,
        "seed": 0,
        "split_seed": 0,
    }
    assert not run.is_finished


def test_unfinished_run_goes_on_with_the_same_settings_only(tmp_path):
    run = RunFolder(tmp_path)
    run.start("distill", SETTINGS, overwrite=False)
    (tmp_path / "backup.npz").write_text("weights")
    run.start("distill", SETTINGS | {"quiet": True}, overwrite=False)
    assert (tmp_path / "backup.npz").exists()
    message = (
        f"Expected the settings the unfinished run in {tmp_path} was started with: "
        "temperature=2.0. Received: temperature=3.0. Give the same settings to go on, "
        "--overwrite to start anew, or another --output-dir."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        run.start("distill", SETTINGS | {"temperature": 3.0}, overwrite=False)
    with pytest.raises(ArtifactError, match="verb='distill'. Received: verb='finetune'"):
        run.start("finetune", SETTINGS, overwrite=False)


def rows_of(**splits):
    """The data of a run: number of rows and first digits of the fingerprint by split."""
    return {
        "splits": {
            name: {"num_rows": count, "fingerprint": mark * 32}
            for name, (count, mark) in splits.items()
        }
    }


DATA = rows_of(train=(1200, "0a"), validation=(60, "1b"), test=(300, "2c"))


def test_unfinished_run_goes_on_with_the_same_rows_only(tmp_path):
    run = RunFolder(tmp_path)
    run.start("distill", SETTINGS, overwrite=False, data={**DATA, "place": {"dataset": "a.csv"}})
    # Where they lie does not matter.
    run.start("distill", SETTINGS, overwrite=False, data={**DATA, "place": {"dataset": "b.csv"}})
    assert run.data == {**DATA, "place": {"dataset": "b.csv"}}
    message = (
        f"Expected the rows the unfinished run in {tmp_path} was started with. Received others: "
        "{}. Give the same data to go on, --overwrite to start anew, or another --output-dir."
    )
    changed = rows_of(train=(1201, "0a"), validation=(60, "1b"), test=(299, "3d"))
    told = "train was 1,200 rows, fingerprint 0a0a0a0a and is 1,201 rows, fingerprint 0a0a0a0a"
    with pytest.raises(ArtifactError, match=exactly(message.format(told))):
        run.start("distill", SETTINGS, overwrite=False, data=changed)
    changed["splits"]["train"] = DATA["splits"]["train"]
    told = "test was 300 rows, fingerprint 2c2c2c2c and is 299 rows, fingerprint 3d3d3d3d"
    with pytest.raises(ArtifactError, match=exactly(message.format(told))):
        run.start("distill", SETTINGS, overwrite=False, data=changed)
    run.start("distill", SETTINGS, overwrite=True, data=changed)
    assert run.data == changed


def test_names_of_the_classes_count_as_rows_do(tmp_path):
    run = RunFolder(tmp_path)
    run.start("distill", SETTINGS, False, {**DATA, "label_names": ["good", "bad"]})
    assert run.changed_rows({**DATA, "label_names": ["good", "bad"]}) is None
    found = run.changed_rows({**DATA, "label_names": ["bad", "good"]}, ["train"])
    assert found == "its classes were good, bad and are bad, good"
    many = [str(number) for number in range(9)]
    assert run.changed_rows({**DATA, "label_names": many}).endswith(
        "are 0, 1, 2, 3, 4, 5, 6, 7, ..."
    )


def test_an_unfinished_run_that_noted_no_rows_is_not_gone_on_with(tmp_path):
    run = RunFolder(tmp_path)
    run.start("distill", SETTINGS, overwrite=False)
    assert run.data == {}
    message = "Received others: train was not noted and is 1,200 rows, fingerprint 0a0a0a0a. Give"
    with pytest.raises(ArtifactError, match=message):
        run.start("distill", SETTINGS, overwrite=False, data=DATA)


def test_rows_of_an_older_run_are_those_of_its_figures(tmp_path):
    run = RunFolder(tmp_path)
    run.start("distill", SETTINGS, overwrite=False)
    write_json(run.metrics, {"data": DATA})
    assert run.changed_rows(DATA) is None
    assert run.changed_rows(rows_of(train=(1200, "0a"))) is None
    other = rows_of(train=(1200, "0a"), test=(7, "3d"))
    assert run.changed_rows(other, ["train"]) is None
    assert run.changed_rows(other).startswith("test was 300 rows")


def test_paths_of_a_run_are_found_when_it_is_moved(tmp_path, monkeypatch):
    for name in ("run/control", "teacher/model"):
        write_text(tmp_path / "runs" / name / "model.keras", name)
    run = RunFolder(tmp_path / "runs" / "run")
    inside, beside = run.noted(run.path / "control"), run.noted(tmp_path / "runs/teacher/model")
    assert (inside, beside) == ("control", str(tmp_path / "runs/teacher/model"))
    assert (run.find(inside), run.find(beside)) == (run.path / "control", Path(beside))
    monkeypatch.chdir(tmp_path)
    assert RunFolder(Path("runs/run")).noted(Path("runs/run/control")) == "control"
    # As older runs have it.
    assert run.find("runs/teacher/model").samefile(beside)
    moved = RunFolder(tmp_path / "moved" / "run")
    os.rename(tmp_path / "runs", tmp_path / "moved")
    assert moved.find(inside) == moved.path / "control"
    assert moved.find(beside) == tmp_path / "moved/teacher/model"
    assert moved.find("runs/teacher/model") == tmp_path / "moved/teacher/model"
    assert moved.find("/gone/model") == Path("/gone/model")


def test_a_run_older_than_a_setting_was_made_as_its_default_does(tmp_path):
    run = RunFolder(tmp_path / "run")
    write_json(run.config, {"verb": "distill", "dataset": "demo", "seed": 1, **SESSION})
    settings = {"dataset": "demo", "seed": 1, "temperature": 2.0, "control": True}
    assert run.difference("distill", settings) is None
    found = run.difference("distill", {**settings, "temperature": 3.0})
    assert found == ("temperature", 2.0, 3.0)
    write_json(run.config, {"verb": "distill", "transfer_texts": "more.txt", **SESSION})
    assert run.difference("distill", {"unlabelled": "more.txt"}) is None
    assert run.difference("distill", {"unlabelled": None}) == ("unlabelled", "more.txt", None)


def test_finished_run_is_replaced_only_when_asked_for(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start("distill", SETTINGS, overwrite=False)
    write_json(run.metrics, {})
    assert run.is_finished
    message = (
        f"Expected an output folder without a finished run. Received: {run.path}. "
        "Add --overwrite to replace it, or give another --output-dir."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        run.start("distill", SETTINGS, overwrite=False)
    run.start("distill", SETTINGS, overwrite=True)
    assert os.listdir(run.path) == ["config.json"]


def files_of(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


# As tfkd itself names them, in every folder of a run.
OWN = [
    "README.md",
    "control/model.keras",
    "logs/student/events.out.tfevents.1",
    "metrics.json",
    "qat/qat_int8.json",
    "qat/qat_int8.npz",
    "quantization.json",
    "scores.json",
    "scores.npz",
    "student/classifier.json",
    "student/dynamic_int8.json",
    "student/dynamic_int8.tflite",
    "student/edge-dynamic_int8.tflite",
    "student/labels.txt",
    "student/saved-model.json",
    "student/saved-model/saved_model.pb",
    "student/saved-model/variables/variables.index",
    "student/text-tflite-float32.json",
    "student/tokenizer/preprocessor.json",
    "student/tokenizer/vocabulary.txt",
    "teacher/model.keras",
    "training/scoring.json",
    "training/student.json",
    "training/texts.npy",
    "unfinished/control/best.npz",
    "unfinished/control/state.npz",
    "unfinished/qat_int8/0123456789abcdef/state.npz",
    "vocabulary.json",
]
OF_OTHERS = [
    "model/weights.bin",
    "notes.md",
    "papers/draft.tex",
    "student/mine.json",
    "student/my.tflite",
    "logs/student/why.txt",
    "logs/mine/events.out.tfevents.1",
    "student/.part-1f.tflite",
    "student/saved-model/assets/mine.txt",
    "student/tokenizer/notes.txt",
    "training/mine.json",
    "qat/mine.npz",
    "unfinished/draft.tex",
    "unfinished/control/notes.txt",
]


def test_overwriting_a_run_removes_what_tfkd_wrote_and_leaves_all_else(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start("distill", SETTINGS, overwrite=False)
    for name in (*OWN, *OF_OTHERS):
        write_text(run.path / name, name)
    run.start("distill", {**SETTINGS, "temperature": 3.0}, overwrite=True)
    assert files_of(run.path) == sorted(["config.json", *OF_OTHERS])
    assert run.read_config()["temperature"] == 3.0
    for name in OF_OTHERS:
        assert (run.path / name).read_text() == name
    # What is empty goes, too.
    assert sorted(os.listdir(run.path)) == [
        "config.json",
        "logs",
        "model",
        "notes.md",
        "papers",
        "qat",
        "student",
        "training",
        "unfinished",
    ]


def test_overwriting_a_run_follows_no_link(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start("distill", SETTINGS, overwrite=False)
    write_text(tmp_path / "elsewhere" / "model.keras", "weights")
    (run.path / "student").symlink_to(tmp_path / "elsewhere")
    write_text(tmp_path / "big" / "0001.npz", "state")
    (run.path / "unfinished").symlink_to(tmp_path / "big")
    run.start("distill", SETTINGS, overwrite=True)
    assert files_of(tmp_path / "elsewhere") == ["model.keras"]
    assert files_of(tmp_path / "big") == ["0001.npz"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        '{"model_type": "bert", "hidden_size": 384}',
        '{"verb": "serve"}',
        "[1]",
        '{"verb": ["distill"]}',
        '{"verb": "distill", "dataset": "demo", "quiet": true}',
        '{"verb": "distill", "written_by": ["me"]}',
    ],
)
def test_folder_of_another_program_with_a_config_is_never_touched(tmp_path, overwrite, config):
    write_text(tmp_path / "config.json", config)
    write_text(tmp_path / "model.safetensors", "weights")
    write_text(tmp_path / "1_Pooling" / "config.json", "{}")
    message = (
        f"Expected a new or empty output folder. Received: {tmp_path}, which holds other files. "
        "Give another --output-dir."
    )
    run = RunFolder(tmp_path)
    with pytest.raises(ArtifactError, match=exactly(message)):
        run.start("finetune", SETTINGS, overwrite=overwrite)
    assert files_of(tmp_path) == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    assert (tmp_path / "config.json").read_text() == config
    message = (
        f"Expected a folder written by `tfkd finetune` or `tfkd distill`. Received: {tmp_path}, "
        "whose config.json another program wrote."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        run.read_config()


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_with_other_files_is_never_touched(tmp_path, overwrite):
    (tmp_path / "thesis.txt").write_text("years of work")
    message = (
        f"Expected a new or empty output folder. Received: {tmp_path}, which holds other files. "
        "Give another --output-dir."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        RunFolder(tmp_path).start("distill", SETTINGS, overwrite=overwrite)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_folder_that_is_no_run_is_one_line(tmp_path):
    message = (
        f"Expected a folder written by `tfkd finetune` or `tfkd distill`. Received: {tmp_path}, "
        "which has no config.json."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        RunFolder(tmp_path).read_config()


def test_main_model_is_the_student_else_the_model(tmp_path):
    assert RunFolder(tmp_path).model == tmp_path / "model"
    (tmp_path / "student").mkdir()
    assert RunFolder(tmp_path).model == tmp_path / "student"


def test_settings_changed_by_hand_are_named(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start("distill", {**SETTINGS, "split_seed": 0}, overwrite=False)
    assert run.read_config()["split_seed"] == 0
    run.config.write_text(run.config.read_text().replace('"split_seed": 0', '"split_seed": 7'))
    message = (
        f"Expected {run.config} as tfkd wrote it. Received: another content. Put it back as it "
        "was, or make the run again with --overwrite."
    )
    for read in (run.read_config, lambda: run.start("distill", SETTINGS, overwrite=False)):
        with pytest.raises(ArtifactError, match=exactly(message)):
            read()
    # The way out is open.
    run.start("distill", SETTINGS, overwrite=True)
    assert run.read_config()["dataset"] == "demo"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("dataset", ["demo"], "Expected `dataset` to be a string. Received: dataset=['demo']."),
        ("seed", {}, "Expected `seed` to be a whole number. Received: seed={}."),
        ("split_seed", 10**30, "Expected `split_seed` to be a number of at most 63 bits. Rec"),
        ("epochs", 10**400, "Expected `epochs` to be a number of at most 63 bits. Received: 1"),
        ("temperature", 10**400, "Expected `temperature` to be a number of at most 63 bits."),
    ],
)
def test_settings_of_another_type_are_named(name, value, told, tmp_path):
    """Of a run from before there were seals."""
    run = RunFolder(tmp_path)
    write_json(run.config, {"verb": "distill", **SETTINGS, name: value})
    with pytest.raises(ArtifactError, match=f"^{re.escape(f'{run.config}: {told}')}"):
        run.read_config()


def test_run_from_before_there_were_seeds_has_their_defaults(tmp_path):
    run = RunFolder(tmp_path)
    old = {"quiet": True, "overwrite": False, "output_dir": None, "backup_seconds": 60.0}
    old |= {"verb": "finetune", "dataset": "demo"}
    write_json(run.config, old)
    assert run.read_config() == {**old, "seed": 0, "split_seed": 0}


def test_whole_settings_of_another_run_are_named(tmp_path):
    runs = [RunFolder(tmp_path / name) for name in ("run", "other")]
    for run, split_seed in zip(runs, (0, 7), strict=True):
        run.start("distill", {**SETTINGS, "split_seed": split_seed}, overwrite=False)
        run.finish({"rows": []})
        assert run.read_config()["split_seed"] == split_seed
    runs[0].config.write_bytes(runs[1].config.read_bytes())
    message = f"^Expected {runs[0].config} as tfkd wrote it. Received: another content. Put it back"
    with pytest.raises(ArtifactError, match=message):
        runs[0].read_config()
