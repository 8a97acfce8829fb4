"""Locks: one process at a time makes what others share, and one command at a time writes a run."""

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tfkd.errors import ArtifactError
from tfkd.parts import remove_parts

CACHE = "cache"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lets one process at a time make what belongs at `path`; a killed one holds no lock.

    Who comes second waits, and should look again whether it is there. The lock is a file in
    `locks`, beside the folder that `path` is in.
    """
    with FileLock(_place(path)):
        yield


@contextlib.contextmanager
def held(
    folder: Path, command: str, waiting: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Keeps a run's folder for one command; what killed ones left unfinished there goes first.

    Args:
        folder: Path of the run.
        command: String. The verb, for whom it keeps out.
        waiting: Told who holds the folder, before it is waited for. Default: not to wait.

    Raises:
        ArtifactError: Another command holds it.
    """
    is_there, is_folder = os.path.lexists(folder), folder.is_dir()
    # Not `Path.resolve`, which ends in a RuntimeError where links lead to themselves.
    folder = Path(os.path.realpath(folder))
    if is_there and not is_folder:
        # Before there is a lock for nothing.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    cache = folder.parent / CACHE
    place = _place(cache / "runs" / folder.name)
    lock, holder = FileLock(place), place.with_suffix(".json")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        told = f"{folder} is being written by {_told(holder)}"
        if waiting is None:
            raise ArtifactError(
                f"Expected a run that no other command writes. Received: {told}. Wait for its end, "
                "or give another --output-dir."
            ) from error
        waiting(told)
        lock.acquire()
    try:
        _introduce(holder, command)
        remove_parts(folder, "**")
        remove_parts(cache, "*", "*/*")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def writers(folder: Path) -> dict[str, str]:
    """Runs of a folder that commands write now: name to the command, in words."""
    found = {}
    for lock in sorted((folder / CACHE / "locks").glob("runs-*.lock")):
        try:
            with FileLock(lock, blocking=False):
                pass
        except Timeout:
            found[lock.stem.removeprefix("runs-")] = _told(lock.with_suffix(".json"))
    return found


def _place(path: Path) -> Path:
    """The lock file of what belongs at `path`."""
    kind = path.parent
    locks = kind.with_name("locks")
    locks.mkdir(parents=True, exist_ok=True)
    return locks / f"{kind.name}-{path.name}.lock"


def _introduce(holder: Path, command: str) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    values = {"command": command, "pid": os.getpid(), "host": socket.gethostname(), "since": since}
    holder.write_text(json.dumps(values), encoding="utf-8")


def _told(holder: Path) -> str:
    """Who holds a lock, in words."""
    try:
        found = json.loads(holder.read_text(encoding="utf-8"))
        return (
            f"`tfkd {found['command']}`, process {found['pid']} on {found['host']}, since "
            f"{found['since']}"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
