"""The files of a run folder, each written whole or not at all.

saved_models/<run>/
config.json      the resolved settings, and which verb wrote the folder
student/         a model folder (finetune: model/); control/ beside it
model.keras  classifier.json  labels.txt  tokenizer/  <recipe>.tflite  <recipe>.json
qat/             variables and history of recipes that train
logs/            TensorBoard, one folder an arm
metrics.json     figures, versions, seed, data fingerprint; written last: it marks a run done
predictions.parquet  what each model answers to each test row
README.md        the table and the command
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfkd.config.verbs import VERBS
from tfkd.errors import ArtifactError, ConfigError
from tfkd.parts import part_file, part_folder, sync
from tfkd.seals import REMEDY, JsonObject, check_files, json_value, sealed
from tfkd.seals import file_sha256 as file_sha256
from tfkd.seals import read_json as read_json
from tfkd.seals import read_record as read_record
from tfkd.written_files import CONFIG, remove_run

PACKAGES = (
    "tensorflow",
    "keras",
    "keras-hub",
    "tensorflow-datasets",
    "tensorflow-text",
    "tensorflow-model-optimization",
    "tf_keras",
    "ai-edge-litert",
    "numpy",
)

# Verbs that write a run.
PRETRAIN = "pretrain"
RUN_VERBS = ("finetune", "distill", PRETRAIN)
SPLITS = ("train", "validation", "test")
# By what a run's config.json is told from another program's; older ones by settings all verbs have.
MARK = {"written_by": "tfkd"}
MARKS = frozenset(("quiet", "overwrite", "output_dir", "backup_seconds"))
# Settings that change no model: where things lie, what is shown or timed, how often is backed up.
WITHOUT_EFFECT = {
    *("quiet", "overwrite", "output_dir", "data_dir", "backup_seconds", "timing", "report"),
    *("folds", "strategy", "ray"),
}


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_file(path) as part:
        yield part
        sync(part)
        os.replace(part, path)


@contextlib.contextmanager
def atomic_folder(path: Path, mark: str) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends without an error.

    Where `path` is there already, files that the block wrote take the place of those of the same
    name; all else in it stays.

    Args:
        path: Path of the folder.
        mark: String. Name of the file that tells readers the folder is whole: of an old folder it
            is the first to go and the last to come.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_folder(path) as part:
        yield part
        sync(part)
        if path.is_dir():
            (path / mark).unlink(missing_ok=True)
            for made in sorted(part.iterdir(), key=lambda made: (made.name == mark, made.name)):
                _replace(made, path / made.name)
        else:
            os.replace(part, path)


def _replace(made: Path, target: Path) -> None:
    """Moves a file to its place, or a folder's files to theirs; what else is there stays."""
    if made.is_dir() and target.is_dir():
        for inner in made.iterdir():
            _replace(inner, target / inner.name)
    else:
        os.replace(made, target)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file atomically."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_record(path: Path, content: Mapping[str, Any], files: Iterable[str] = ()) -> None:
    """Writes JSON that is read again: with a seal over itself and over files below its folder."""
    write_json(path, sealed(content, path.parent, files))


@contextlib.contextmanager
def sealed_file(path: Path) -> Iterator[Path]:
    """An `atomic_file` with a record beside it, `<name>.json`, that holds its hash."""
    record = path.with_suffix(".json")
    with atomic_file(path) as part:
        yield part
        # A kill between here and the end leaves a file without a record, which is read as it is.
        record.unlink(missing_ok=True)
    write_record(record, {}, [path.name])


def report_file(folder: Path | None, name: str) -> Path | None:
    """Path of a verb's figures, or None when no folder was asked for.

    Raises:
        ArtifactError: The file is there already.
    """
    if folder is None:
        return None
    if (folder / name).exists():
        raise ArtifactError(
            f"Expected no file {folder / name}. It exists. Remove it or give another --output-dir."
        )
    return folder / name


def fingerprint(values: Mapping[str, object]) -> str:
    """Sixteen hexadecimal digits that change when any of the JSON values does."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The paths of a run, and the rules for starting one again."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / CONFIG

    @property
    def metrics(self) -> Path:
        """The figures; there only when the run is done."""
        return self.path / "metrics.json"

    @property
    def logs(self) -> Path:
        """TensorBoard's folder."""
        return self.path / "logs"

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.metrics.is_file()

    @property
    def model(self) -> Path:
        """Folder of the run's main model: the student, or what `finetune` trained."""
        student = self.path / "student"
        return student if student.is_dir() else self.path / "model"

    def start(
        self,
        verb: str,
        settings: Mapping[str, object],
        overwrite: bool,
        data: JsonObject | None = None,
        aside: Path | None = None,
    ) -> None:
        """Makes the folder, or finds it fit to go on with.

        Args:
            verb: String. Command that writes the folder.
            settings: Mapping. The resolved settings; those of `WITHOUT_EFFECT` are not compared.
            overwrite: Boolean. Start anew whatever is there.
            data: JSON object. The rows it is made of: `splits` with `num_rows` and `fingerprint` of
                each, and where they lie. None for nothing to be gone on with.
            aside: Path of a folder for what is replaced. Default: it is removed.

        Raises:
            ArtifactError: The folder holds a finished run, another run, or other files.
        """
        self.check_unfinished(overwrite)
        if overwrite and self.is_run:
            remove_run(self.path, aside)
        elif self.is_run:
            self._check_same(verb, settings, data)
        elif self.path.exists() and any(self.path.iterdir()):
            raise ArtifactError(
                f"Expected a new or empty output folder. Received: {self.path}, which holds other "
                "files. Give another --output-dir."
            )
        record = {"data": data} if data else {}
        write_record(self.config, {**MARK, "verb": verb, **settings, **record})

    def check_unfinished(self, overwrite: bool) -> None:
        """Refuses a finished run that is not to be replaced.

        Raises:
            ArtifactError: It is finished.
        """
        if self.is_finished and self.is_run and not overwrite:
            raise ArtifactError(
                f"Expected an output folder without a finished run. Received: {self.path}. "
                "Add --overwrite to replace it, or give another --output-dir."
            )

    @property
    def is_run(self) -> bool:
        """Whether a verb of `RUN_VERBS` wrote the folder; others have config.json, too.

        Raises:
            ArtifactError: Its config.json is not JSON.
        """
        return self._verb in RUN_VERBS

    @property
    def is_pretrained(self) -> bool:
        """Whether `tfkd pretrain` wrote the folder: it holds a student of no task yet.

        Raises:
            ArtifactError: Its config.json is not JSON.
        """
        return self._verb == PRETRAIN

    @property
    def _verb(self) -> str | None:
        """The command that wrote the folder, if one of tfkd did."""
        # Damaged or not: --overwrite is the way out.
        remedy = "Put it back as it was, or delete its folder."
        settings = json_value(self.config, remedy) if self.config.is_file() else None
        if isinstance(settings, dict) and (
            MARK.items() <= settings.items() or MARKS <= settings.keys()
        ):
            return settings.get("verb")
        return None

    def difference(
        self, verb: str, settings: Mapping[str, object]
    ) -> tuple[str, object, object] | None:
        """The first setting that would lead to another result: name, the run's value, the given.

        Args:
            verb: String. Command that is to write the folder.
            settings: Mapping. The resolved settings.
        """
        # A run that is older than a setting was made as its default does.
        made_with = VERBS[verb].renamed(read_record(self.config), str(self.config))
        before = VERBS[verb].defaults() | made_with
        for key, value in {"verb": verb, **settings}.items():
            if key not in WITHOUT_EFFECT and before.get(key) != value:
                return key, before.get(key), value
        return None

    def finish(self, record: Mapping[str, Any], files: Iterable[str] = ()) -> None:
        """Writes the figures, which marks the run done; `files` of the run belong to them."""
        write_record(self.metrics, record, [self.config.name, *files])

    @property
    def data(self) -> JsonObject:
        """The rows it was made of, as `start` was told; empty where it is not known."""
        for path in (self.config, self.metrics):
            found = read_record(path).get("data") if path.is_file() else None
            if found:
                return found
        return {}

    def changed_rows(self, data: JsonObject, splits: Sequence[str] = SPLITS) -> str | None:
        """The first split whose rows are not those the run was made of, in words; None if all are.

        The names of the classes count as well: rows hold their numbers.

        Args:
            data: JSON object, as `start` takes it.
            splits: Names of the splits to compare; those that `data` lacks are passed over.
        """
        names, now = self.data.get("label_names"), data.get("label_names")
        if names is not None and now is not None and names != now:
            return f"its classes were {_listed(names)} and are {_listed(now)}"
        before = self.data.get("splits", {})
        for name in splits:
            if name in data["splits"] and before.get(name) != data["splits"][name]:
                return f"{name} was {_rows(before.get(name))} and is {_rows(data['splits'][name])}"
        return None

    def noted(self, path: Path) -> str:
        """A path as the run's records hold it: what lies in the run is moved with it."""
        run, path = Path(os.path.realpath(self.path)), Path(os.path.realpath(path))
        return str(path.relative_to(run) if path.is_relative_to(run) else path)

    def find(self, noted: str) -> Path:
        """The path that `noted` gave, also of a run that was moved with what lies beside it.

        Older records hold it from where the command was started.
        """
        path = Path(noted)
        beside = self.path.parent / path.parent.name / path.name
        places = (self.path / path, path, beside)
        return next((place for place in places if place.exists()), places[0])

    def read_config(self) -> JsonObject:
        """The settings of a classifier's run, with its `verb`.

        Raises:
            ArtifactError: The folder is missing or is not a run, or holds no classifier.
        """
        if self.is_pretrained:
            raise ArtifactError(
                "Expected a folder written by `tfkd finetune` or `tfkd distill`. Received: "
                f"{self.path}, a student of `tfkd pretrain`, which knows no classes yet. Give it "
                "to --student of `tfkd distill`."
            )
        if not self.is_run:
            reason = (
                "whose config.json another program wrote"
                if self.config.is_file()
                else "which has no config.json"
            )
            raise ArtifactError(
                f"Expected a folder written by `tfkd finetune` or `tfkd distill`. Received: "
                f"{self.path}, {reason}."
            )
        settings = read_record(self.config)
        # It may be a whole one of another run.
        check_files(self.metrics, self.config.name)
        verb = VERBS[settings["verb"]]
        try:
            verb.check_values(settings)
        except ConfigError as error:
            raise ArtifactError(f"{self.config}: {error} {REMEDY}") from error
        # A run that is older than a setting was made as its default does.
        return {name: verb.defaults()[name] for name in ("seed", "split_seed")} | settings

    def _check_same(
        self, verb: str, settings: Mapping[str, object], data: JsonObject | None
    ) -> None:
        found = self.difference(verb, settings)
        if found is not None:
            key, before, value = found
            raise ArtifactError(
                f"Expected the settings the unfinished run in {self.path} was started with: "
                f"{key}={before!r}. Received: {key}={value!r}. Give the same settings to go on, "
                "--overwrite to start anew, or another --output-dir."
            )
        changed = self.changed_rows(data) if data else None
        if changed is not None:
            raise ArtifactError(
                f"Expected the rows the unfinished run in {self.path} was started with. Received "
                f"others: {changed}. Give the same data to go on, --overwrite to start anew, or "
                "another --output-dir."
            )


def _listed(names: Sequence[str]) -> str:
    """Names of classes, the first of them."""
    return ", ".join(names[:8]) + ", ..." * (len(names) > 8)


def _rows(summary: Mapping[str, object] | None) -> str:
    """The rows of a split in words."""
    if summary is None:
        return "not noted"
    return f"{summary['num_rows']:,} rows, fingerprint {str(summary['fingerprint'])[:8]}"
