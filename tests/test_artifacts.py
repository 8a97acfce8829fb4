"""Files appear whole or not at all; a run folder is started, gone on with, or left alone."""

import hashlib
import os
import re

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
    assert run.read_config() == {"verb": "distill", **SETTINGS}
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


def test_a_run_older_than_a_setting_was_made_as_its_default_does(tmp_path):
    run = RunFolder(tmp_path / "run")
    write_json(run.config, {"verb": "distill", "dataset": "demo", "seed": 1, **SESSION})
    settings = {"dataset": "demo", "seed": 1, "temperature": 2.0, "control": True}
    assert run.difference("distill", settings) is None
    found = run.difference("distill", {**settings, "temperature": 3.0})
    assert found == ("temperature", 2.0, 3.0)


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
