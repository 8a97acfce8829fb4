"""Seals: hashes by which what tfkd wrote says whether it is still as it was written.

A JSON record that tfkd reads again ends with a seal: the SHA-256 of its own content and of the
files beside it that belong to it. So each folder has one list of hashes, in the record that is
written last: classifier.json for a model, `<recipe>.json` for a file, manifest.json for tokens.
Records from before there were seals have none; they are read as they are.
"""

import functools
import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tfkd.errors import ArtifactError, shown

Kept = TypeVar("Kept")
# A JSON object as it was read: whoever asks for a value knows its type.
JsonObject = dict[str, Any]
SEAL = "seal"
ANEW = "It is made anew."
# What NumPy raises for arrays that are cut short or none at all.
UNREADABLE = (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
REMEDY = "Put it back as it was, or make the run again with --overwrite."
# A file this young may change once more without its time of change telling.
YOUNG_NANOSECONDS = 2_000_000_000


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes: read once a process, again when it has changed."""
    status = path.stat()
    if time.time_ns() - status.st_mtime_ns < YOUNG_NANOSECONDS:
        return _hashed(path)
    return _known(path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns)


def sealed(content: Mapping[str, Any], folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """A record with its seal.

    Args:
        content: Mapping of JSON values.
        folder: Path of the folder it is for.
        names: Strings. Files below the folder that the record vouches for.
    """
    files = {name: file_sha256(folder / name) for name in names}
    # As it will be read: tuples become lists, and numbers in keys strings.
    read = json.loads(json.dumps(content))
    return {**content, SEAL: {"sha256": _content_sha256(read, files), "files": files}}


def read_json(path: Path, remedy: str = REMEDY) -> Any:
    """The JSON value of a file, without the seal of those that have one.

    Args:
        path: Path.
        remedy: String. Advice to the user where it was changed, a sentence.

    Raises:
        ArtifactError: The file is missing, is not JSON, or was changed since tfkd wrote it.
    """
    return _opened(json_value(path), path, remedy)


def read_record(path: Path, remedy: str = REMEDY) -> JsonObject:
    """What `write_record` wrote; the files are left to `check_files`.

    Raises:
        ArtifactError: As `read_json`, or it is no JSON object.
    """
    value = _opened(json_value(path, remedy), path, remedy)
    if not isinstance(value, dict):
        raise ArtifactError(damage(path, f"no JSON object but {shown(value)}", remedy))
    return value


def check_files(record: Path, prefix: str = "", remedy: str = REMEDY) -> frozenset[str]:
    """Compares files with the hashes in a record.

    Args:
        record: Path of the JSON file; they lie below its folder.
        prefix: String. Only files whose names start so.
        remedy: String. Advice to the user, a sentence.

    Returns:
        Names of the files that it holds hashes of; none where there is no record, or one from
        before there were seals.

    Raises:
        ArtifactError: The record is damaged, or a file is missing or was changed.
    """
    if not record.is_file():
        return frozenset()
    value = json_value(record, remedy)
    _opened(value, record, remedy)
    files = _files_of(value)
    for name, sha256 in files.items():
        if name.startswith(prefix):
            check(record.parent / name, sha256, remedy)
    return frozenset(files)


def kept(path: Path, read: Callable[[Path], Kept], tell: Callable[[str], object]) -> Kept | None:
    """What a file holds that is made anew when it is damaged.

    Args:
        path: Path of the file; `<name>.json` beside it holds its hash, unless it is older.
        read: Function. Reads the file.
        tell: Function. Told of the damage in a line.

    Returns:
        None where the file is missing or damaged.
    """
    if not path.is_file():
        return None
    try:
        check_files(path.with_suffix(".json"), path.name, ANEW)
        return read(path)
    except ArtifactError as error:
        tell(str(error))
    except UNREADABLE as error:
        tell(damage(path, f"a file that cannot be read: {error}", ANEW))
    return None


def json_value(path: Path, remedy: str = "") -> Any:
    """The JSON value of a file, seal and all, unchecked.

    Args:
        path: Path.
        remedy: String. Advice to the user, a sentence; none for files of others.

    Raises:
        ArtifactError: The file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"Expected the file {path}. It does not exist.") from error
    except (ValueError, RecursionError) as error:
        # Not JSON, not UTF-8, a number of thousands of digits, or a thousand brackets; or the path
        # holds a zero character, and there is no such file.
        is_empty = path.is_file() and not path.stat().st_size
        received = "an empty file" if is_empty else str(error)
        told = f"Expected JSON in {path}. Received: {received}. {remedy}"
        raise ArtifactError(told.rstrip()) from error


def check(path: Path, sha256: object, remedy: str = REMEDY) -> None:
    """Compares a file with its hash.

    Args:
        path: Path.
        sha256: The hash that a record holds.
        remedy: String. Advice to the user, a sentence.

    Raises:
        ArtifactError: The file is missing or was changed.
    """
    if not path.is_file():
        raise ArtifactError(damage(path, "no such file", remedy))
    if file_sha256(path) != sha256:
        received = "another content" if path.stat().st_size else "an empty file"
        raise ArtifactError(damage(path, received, remedy))


def damage(path: Path, received: str, remedy: str) -> str:
    """The line on a file that is not as it was written."""
    return f"Expected {path} as tfkd wrote it. Received: {received}. {remedy}"


def _opened(value: Any, path: Path, remedy: str) -> Any:
    """The value without its seal, which must be that of its content."""
    if not (isinstance(value, dict) and SEAL in value):
        return value
    content = {key: item for key, item in value.items() if key != SEAL}
    seal = value[SEAL]
    if not isinstance(seal, dict) or seal.get("sha256") != _content_sha256(
        content, _files_of(value)
    ):
        raise ArtifactError(damage(path, "another content", remedy))
    return content


def _files_of(value: Any) -> dict[str, str]:
    """The files that a record vouches for, with their hashes; none for one without a seal."""
    seal = value.get(SEAL) if isinstance(value, dict) else None
    files = seal.get("files") if isinstance(seal, dict) else None
    return files if isinstance(files, dict) else {}


@functools.lru_cache(maxsize=4096)
def _known(path: Path, *marks: int) -> str:
    """The file's hash, once for each content, which the marks tell apart."""
    return _hashed(path)


def _hashed(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _content_sha256(content: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Changes with any value of a record and with their order, not with blanks and line ends."""
    return hashlib.sha256(json.dumps([content, files]).encode()).hexdigest()
