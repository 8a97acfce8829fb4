"""`tfkd clean`: what no run needs, with its bytes; and it goes, if that is wanted.

Studies and cross-validations are folders of runs in such a folder, each with a cache of its own.
"""

import contextlib
import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tfkd.artifacts import RunFolder
from tfkd.config.verbs import CLEANED, CleanConfig
from tfkd.errors import ArtifactError
from tfkd.evaluation.table import Shown, Table, figures, words
from tfkd.locks import CACHE, held, writers
from tfkd.parts import remove_parts
from tfkd.progress import Progress
from tfkd.runs.settings import settings_of
from tfkd.seals import json_value
from tfkd.written_files import DATA, cache_files, remove_empty, remove_run, run_files

_, PARTS, UNFINISHED, TEACHERS = CLEANED
# As a distillation names a teacher that it fine-tunes, and a second one, of other rows.
_TEACHER = re.compile(r".+-finetuned(-balanced)?(-weighted)?(-[0-9a-f]{8})?")


class Item(NamedTuple):
    """What no run needs, or what stays for a reason: one of `CLEANED`, with its folder or file."""

    what: str
    path: Path
    num_bytes: int
    files: tuple[Path, ...]
    reason: str


@dataclasses.dataclass(frozen=True, repr=False)
class CleanResult(Shown):
    """What may go, or has gone, and what was left.

    Attributes:
        config: `CleanConfig`.
        items: `Item`s that may go, or have gone.
        left: `Item`s that stay, each with the reason.
    """

    config: CleanConfig
    items: list[Item]
    left: list[Item]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        rows = [
            {"what": item.what, "path": str(item.path), "bytes": item.num_bytes}
            for item in self.items
        ]
        left = {str(item.path): item.reason for item in self.left}
        return {"is_removed": self.config.yes, "items": rows, "left_alone": left}

    def render(self) -> list[Table | str]:
        """A table and lines for the console."""
        lines = [f"Left alone: {item.path}, {item.reason}" for item in self.left]
        if not self.items:
            return ["\n".join([*lines, f"Nothing to remove in {self.config.folder}."])]
        what, paths, sizes, *_ = zip(*self.items, strict=True)
        table = Table([words("What", what), words("Where", paths), figures("Bytes", sizes, "{:,}")])
        if self.config.yes:
            return [table, "\n".join([*lines, f"Removed {sum(sizes):,} bytes."])]
        lines.append(f"Nothing is removed yet; --yes removes these {sum(sizes):,} bytes.")
        lines += ["What a cache holds is made anew when it is needed."] * (CACHE in what)
        return [table, "\n".join(lines)]


def clean(
    config: CleanConfig | Path | str | None = None, progress: Progress | None = None, **given: Any
) -> CleanResult:
    """Lists what no run in a folder needs, and removes it with `yes`.

    Args:
        config: `CleanConfig`, or the folder.
        progress: `Progress`; has nothing to show.
        **given: The settings as keywords instead.

    Raises:
        ArtifactError: There is no such folder.

    Example:

    ```python
    tfkd.clean("saved_models", what="cache", yes=True)
    ```
    """
    config = settings_of(CleanConfig, config, given)
    if not config.folder.is_dir():
        raise ArtifactError(
            f"Expected a folder of runs. Received: {config.folder}, which is no folder. Correct "
            "the path."
        )
    items = [item for item in _items(config.folder) if item.what in (config.what or CLEANED)]
    if config.yes:
        items = [item if item.reason else item._replace(reason=_remove(item)) for item in items]
    left = [item for item in items if item.reason]
    return CleanResult(config, [item for item in items if not item.reason], left)


def _items(folder: Path) -> list[Item]:
    """All that may go, and what stays for a reason; nothing behind a link."""
    places = [folder, *(path for path in _folders(folder) if (path / CACHE / "locks").is_dir())]
    texts: dict[Path, str] = {}
    for run in (RunFolder(path) for place in places for path in place.iterdir()):
        files = [file for file in (run.config, run.metrics) if file.is_file()]
        texts[run.path] = "".join(file.read_text("utf-8", "replace") for file in files)
    items: list[Item] = []
    for place in places:
        living = {name: f"in use by {told}" for name, told in writers(place).items()}
        user = next(iter(living.values()), "")
        kinds = defaultdict(list)
        for file in cache_files(place / CACHE):
            kind, entry = file.relative_to(place / CACHE).parts[:2]
            # Rows from a program's memory stay with the run that was made of them.
            if kind != DATA or not any(entry in text for text in texts.values()):
                kinds[place / CACHE / kind].append(file)
        items += [_item(CACHE, path, kinds[path], user) for path in sorted(kinds)]
        for path in _folders(place):
            try:
                items += _of_run(path, texts, living)
            except ArtifactError as error:
                items.append(_item(UNFINISHED, path, (), str(error)))
    parts = remove_parts(folder, "**", only_look=True)
    return items + [_item(PARTS, part, (part, *part.rglob("*"))) for part in parts]


def _folders(place: Path) -> list[Path]:
    return [path for path in sorted(place.iterdir()) if path.is_dir() and not path.is_symlink()]


def _item(what: str, path: Path, files: Iterable[Path], reason: str = "") -> Item:
    files = tuple(file for file in files if file.is_symlink() or file.is_file())
    return Item(what, path, sum(file.lstat().st_size for file in files), files, reason)


def _of_run(path: Path, texts: Mapping[Path, str], living: Mapping[str, str]) -> list[Item]:
    """A run that is unfinished, or a teacher, which any command beside it may be hearing."""
    run = RunFolder(path)
    if run.is_run and not run.is_finished:
        return [_item(UNFINISHED, path, run_files(path), living.get(path.name, ""))]
    if run.is_run and _TEACHER.fullmatch(path.name):
        reason = next(iter(living.values()), "") or _need(path, texts)
        return [_item(TEACHERS, path, run_files(path), reason)]
    return []


def _need(teacher: Path, texts: Mapping[Path, str]) -> str:
    """Why a teacher stays: a run names it, or would fine-tune it anew when that goes on."""
    made = json_value(RunFolder(teacher).config)
    model = made.get("model")
    # A distillation says where its teacher goes.
    if made["verb"] != "finetune" or made.get("output_dir") is None:
        return "made for its own sake"
    named = re.compile(rf'["/]{re.escape(teacher.name)}["/]')
    for run, text in texts.items():
        is_waiting = not RunFolder(run).is_finished and f'"teacher": "{model}"' in text
        if run != teacher and (is_waiting or named.search(text)):
            return f"a teacher of {run}"
    return ""


def _remove(item: Item) -> str:
    """Removes what may go, unless it is needed by now: then it says why."""
    if item.what == PARTS:
        remove_parts(item.path.parent)
    elif item.what == CACHE:
        for file in item.files:
            file.unlink(missing_ok=True)
        remove_empty(item.path)
    else:
        try:
            with held(item.path, "clean"):
                if RunFolder(item.path).is_finished != (item.what == TEACHERS):
                    return "finished meanwhile"
                remove_run(item.path)
                # Files of the user's stay.
                with contextlib.suppress(OSError):
                    item.path.rmdir()
        except ArtifactError as error:
            return str(error)
    return ""
