"""The hash by which a LiteRT file says whether it is still as it was written.

It stands in the file's own metadata, so a file that is shipped without its folder has it, too. In a
model folder the record beside the file decides, which also tells a file of another model.
"""

import hashlib
import mmap
from pathlib import Path

from tfkd import seals
from tfkd.compression import flatbuffer
from tfkd.errors import ArtifactError
from tfkd.models.description import DESCRIPTION_FILE

METADATA_NAME = "TFKD_SHA256"
# Stands before the hash, so that it is found without reading the tree. 32 bytes, as the hash.
MARK = b"tfkd: SHA-256 of the other bytes"
HASH_BYTES = 32


def sealed(content: bytes) -> bytes:
    """A LiteRT file with its hash in it, and with every constant inside the FlatBuffers tree.

    Args:
        content: Bytes of a LiteRT file. One that has a hash keeps its form and gets a new hash.

    Example:

    >>> sealed(sealed(content)) == sealed(content)
    True
    """
    if MARK not in content:
        model = flatbuffer.read(content)
        flatbuffer.add_metadata(model, METADATA_NAME, MARK + bytes(HASH_BYTES))
        content = flatbuffer.write(model)
    start = content.index(MARK) + len(MARK)
    digest = _digest(memoryview(content), start)
    return content[:start] + digest + content[start + HASH_BYTES :]


def check_seal(path: Path) -> Path:
    """Compares a LiteRT file with what its record, or else the file itself, says of it.

    Args:
        path: Path of a `.tflite` file. One without record and hash, of another program or from
            before there were any, is taken as it is.

    Returns:
        The path.

    Raises:
        ArtifactError: The file or its record was changed, or it is of another model than the one
            beside it.
    """
    verb = "quantize" if path.stem.startswith("qat_") else "export"
    remedy = f"Write it again with `tfkd {verb} --overwrite`."
    record = path.with_suffix(".json")
    if path.name in seals.check_files(record, path.name, remedy):
        _check_model(path, seals.read_record(record, remedy), remedy)
    elif path.stat().st_size:
        _check_own(path, remedy)
    return path


def _check_model(path: Path, record: seals.JsonObject, remedy: str) -> None:
    """Refuses the file of a model that was there before."""
    description = path.with_name(DESCRIPTION_FILE)
    if "model_sha256" in record and description.is_file():
        if seals.read_record(description).get("model_sha256") != record["model_sha256"]:
            raise ArtifactError(
                f"Expected {path} to be made from the model beside it. Received: one of another "
                f"model. {remedy}"
            )


def _check_own(path: Path, remedy: str) -> None:
    """Compares the file with its own hash, if it has one."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as file:
        start = file.find(MARK) + len(MARK)
        if start < len(MARK):
            # A name without its hash: it is the hash that was hit.
            is_right = file.find(METADATA_NAME.encode()) < 0
        else:
            with memoryview(file) as content:
                is_right = _digest(content, start) == content[start : start + HASH_BYTES]
    if not is_right:
        raise ArtifactError(seals.damage(path, "another content", remedy))


def _digest(content: memoryview, start: int) -> bytes:
    """SHA-256 of all bytes but those of the hash."""
    digest = hashlib.sha256(content[:start])
    digest.update(content[start + HASH_BYTES :])
    return digest.digest()
