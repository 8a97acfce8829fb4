"""Unfinished files and folders: `.part-` beside what they become, held by whoever writes them.

The hold is the system's lock on the part itself. It ends with its process, however that ends, so a
part that nobody holds was left by one that was killed and may be removed.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"\.part-[0-9a-f]{32}(\.[^.]*)?")
# What is as new as this may not be held yet by the one that just made it.
NEW_SECONDS = 1.0


@contextlib.contextmanager
def part_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, on disk when the block ends without an error."""
    # Not tempfile: its files are closed to everyone else, and would stay so under the new name.
    part = _unused(path)
    held = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _hold(held)
        yield part
    finally:
        os.close(held)
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def part_folder(path: Path, mode: int = 0o777) -> Iterator[Path]:
    """An empty folder beside `path`; what is in it at the end goes."""
    part = _unused(path)
    part.mkdir(mode)
    held = os.open(part, os.O_RDONLY)
    try:
        _hold(held)
        yield part
    finally:
        os.close(held)
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder among the system's temporary ones, known for a part if this process is killed."""
    # Closed to others, as tempfile's are.
    with part_folder(Path(tempfile.gettempdir()) / "tfkd", 0o700) as part:
        yield part


@contextlib.contextmanager
def temporary_files_of_a_command() -> Iterator[None]:
    """Has all temporary files of this process lie in one part; those of killed ones go first.

    TensorFlow leaves what AutoGraph generates, where a process is killed before its end.
    """
    remove_parts(Path(tempfile.gettempdir()))
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with temporary_folder() as part:
        tempfile.tempdir = os.environ["TMPDIR"] = str(part)
        try:
            yield
        finally:
            tempfile.tempdir = before[0]
            os.environ.pop("TMPDIR")
            if before[1] is not None:
                os.environ["TMPDIR"] = before[1]


def remove_parts(folder: Path, *below: str, only_look: bool = False) -> list[Path]:
    """Removes the parts that killed processes left in a folder, and says which.

    Args:
        folder: Path.
        below: Patterns of folders in it that are looked through as well, such as "**".
        only_look: Boolean. Removes none.
    """
    left = []
    folders = {folder, *(inner for pattern in below for inner in folder.glob(pattern))}
    for found in sorted(inner for inner in folders if inner.is_dir()):
        # Another process may remove it at the same time.
        with contextlib.suppress(FileNotFoundError):
            for part in [Path(entry) for entry in os.scandir(found)]:
                if _NAME.fullmatch(part.name) and not part.is_symlink():
                    left += _remove(part, only_look)
    return left


def sync(path: Path) -> None:
    """Has the system write a file, or a folder with all in it, to disk.

    Without it a machine that loses its power may keep a new name and lose what it names.
    """
    if path.is_dir():
        for inner in path.iterdir():
            sync(inner)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unused(path: Path) -> Path:
    """A new name; Keras decides on a format by the ending, so it is kept."""
    return path.with_name(f".part-{uuid.uuid4().hex}{path.suffix}")


def _hold(handle: int) -> None:
    # Some network disks know no such locks; parts that are left there stay.
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove(part: Path, only_look: bool) -> list[Path]:
    """Removes a part unless its maker lives: then there is none."""
    with contextlib.suppress(OSError):
        handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(handle).st_mtime < NEW_SECONDS:
                return []
            if part.is_dir() and not only_look:
                shutil.rmtree(part)
            elif not only_look:
                part.unlink()
            return [part]
        finally:
            os.close(handle)
    return []
