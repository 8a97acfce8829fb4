"""The files that tfkd writes into a run, by name: `--overwrite` removes these, and all else stays.

A name has no open end: what a user puts beside a run's files, or into its folders, is not tfkd's.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tfkd.config.training import RECIPE_NAMES
from tfkd.config.verbs import FORMAT_NAMES

CONFIG = "config.json"
# Folders of models; each is trained by its own name.
MODELS = ("student", "control", "model", "teacher")
_TRAINED = (*MODELS, *RECIPE_NAMES)
_LITERT = (*RECIPE_NAMES, *(f"{form}-{name}" for form in FORMAT_NAMES for name in RECIPE_NAMES))
# Folders that answer by themselves, for Python and for browsers.
_KIT_FILES = (
    *("model.tflite", "model.onnx", "vocabulary.txt", "settings.json", "code_points.json"),
    *("code_points.py", "wordpiece.py", "text_classifier.py", "requirements.txt"),
    *("wordpiece.js", "text_classifier.js", "index.html", "package.json"),
)
_KITS = tuple(f"{form}-{name}" for form in ("python", "onnx", "web") for name in RECIPE_NAMES)
_MODEL_FILES = (
    *("model.keras", "classifier.json", "labels.txt", "tokenizer/preprocessor.json"),
    *("tokenizer/vocabulary.txt", "tokenizer/vocabulary.json", "tokenizer/vocabulary.spm"),
    "tokenizer/merges.txt",
    *(f"{file}.{ending}" for file in _LITERT for ending in ("tflite", "json")),
    *("saved-model.json", "saved-model/saved_model.pb", "saved-model/fingerprint.pb"),
    "saved-model/variables/variables.*",
    *(f"{kit}/{file}" for kit in _KITS for file in _KIT_FILES),
)
_BACKUPS = ("state.npz", "state.json", "best.npz", "best.json")
_HEX = "[0-9a-f]"
# Of the cache: rows that a program held in memory, which a run may need again.
DATA = "data"
# The settings come last: a removal that was killed can be gone on with.
_PATTERNS = (
    *(
        f"unfinished/{name}/{inner}{file}"
        for name in _TRAINED
        for inner in ("", f"{_HEX * 16}/")
        for file in _BACKUPS
    ),
    *(f"logs/{name}/events.out.tfevents.*" for name in _TRAINED),
    *("metrics.json", "README.md", "report.html", "predictions.parquet"),
    *("vocabulary.json", "quantization.json"),
    *("scores.json", "scores.npz", "training/scoring.json", "training/texts.npy"),
    *("training/texts.json", "training/answers.npy", "training/answers.json"),
    "training/search.json",
    *(f"training/{name}.json" for name in MODELS),
    *(f"qat/{name}.{ending}" for name in RECIPE_NAMES for ending in ("json", "npz")),
    *(f"{folder}/{name}" for folder in MODELS for name in _MODEL_FILES),
    CONFIG,
)
_FOLDERS = (*MODELS, "training", "qat", "unfinished", "logs")
_MARK = _HEX * 16
_ROUTES = ("", "-bfloat16", "-dynamic_int8")
_SHARDS = tuple(
    f"{name}-{'[0-9]' * 5}.{end}" for name in ("logits", "numbers") for end in ("npy", "json")
)
_ROWS = ("train.jsonl", "validation.jsonl", "test.jsonl")
_CACHE_PATTERNS = (
    *(f"*/{_MARK}{name}" for name in (".json", ".np[yz]", "/token_ids.int32")),
    *(f"*/{_MARK}/{name}.npy" for name in ("offsets", "boundaries", "labels")),
    *(f"*/{_MARK}{route}/{name}" for route in _ROUTES for name in ("manifest.json", *_SHARDS)),
    *(f"teacher_files/{_MARK}/{name}" for name in _MODEL_FILES),
    *(f"analysis/{_MARK}/[0-9]*/{name}" for name in ("built.json", *_MODEL_FILES)),
    *(f"{DATA}/texts-{_HEX * 12}/{name}" for name in ("manifest.json", "labels.txt", *_ROWS)),
)


def run_files(run: Path) -> Iterator[Path]:
    """The files that tfkd wrote into a run."""
    return (path for pattern in _PATTERNS for path in _found(run, pattern))


def cache_files(cache: Path) -> Iterator[Path]:
    """The files that tfkd wrote into a cache, but for its locks."""
    return (path for pattern in _CACHE_PATTERNS for path in _found(cache, pattern))


def remove_run(run: Path, aside: Path | None = None) -> None:
    """Removes what tfkd wrote into a run, and folders that are empty then; all else stays.

    Args:
        run: Path.
        aside: Path of a folder to move it to instead.
    """
    for path in run_files(run):
        if aside is None:
            path.unlink()
        else:
            place = aside / path.relative_to(run)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    for name in _FOLDERS:
        remove_empty(run / name)


def remove_backup(folder: Path) -> None:
    """Removes the backup of a training that is done, and folders that are empty then."""
    for inner in ("", f"{_HEX * 16}/"):
        for name in _BACKUPS:
            for path in _found(folder, f"{inner}{name}"):
                path.unlink()
    remove_empty(folder)
    with contextlib.suppress(OSError):
        # Another training may be unfinished.
        folder.parent.rmdir()


def remove_empty(folder: Path) -> None:
    """Removes a folder and those in it, but for what holds a file."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for inner in folder.iterdir():
        remove_empty(inner)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _found(folder: Path, pattern: str) -> Iterator[Path]:
    """Files by a pattern; none behind a link, which tfkd does not make."""
    for path in list(folder.glob(pattern)):
        inside = path.relative_to(folder).parents
        if path.is_file() and not any((folder / part).is_symlink() for part in inside):
            yield path
