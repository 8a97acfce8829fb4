"""model.keras: the same bytes for the same model, and read without running what is in it.

Keras writes the time, and the addresses that parts of the model had in memory. Caches go by the
hash of the file, so both are taken out.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from tfkd.errors import ArtifactError
from tfkd.seals import REMEDY

# The archive's own clock, at its start.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_DATE = "1980-01-01@00:00:00"
CHUNK_BYTES = 1 << 24


def write_model(model: keras.Model, path: Path) -> None:
    """Saves a model with the names of its parts, which `start_anew` keeps alike."""
    dated = path.with_name(f"dated-{path.name}")
    model.save(dated)
    with zipfile.ZipFile(dated) as source, zipfile.ZipFile(path, "w") as target:
        for name in sorted(source.namelist()):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            if name.endswith(".json"):
                content = json.loads(source.read(name))
                if "date_saved" in content:
                    content["date_saved"] = _DATE
                target.writestr(entry, json.dumps(_renumbered(content, {})))
                continue
            with source.open(name) as stream, target.open(entry, "w", force_zip64=True) as written:
                while chunk := stream.read(CHUNK_BYTES):
                    written.write(chunk)
    dated.unlink()


def read_model(path: Path) -> keras.Model:
    """The model of a file; nothing in it is unpickled or executed.

    Raises:
        ArtifactError: Keras refuses it.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras raises whatever its layers raise; of a Lambda it writes a paragraph.
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"Expected a model of tfkd in {path}. Keras refuses it: {reason}. {REMEDY}"
        ) from error


def _renumbered(value: Any, numbers: dict[int, int]) -> Any:
    """The same with parts that are shared numbered from 1, in place of their addresses."""
    if isinstance(value, list):
        return [_renumbered(item, numbers) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: numbers.setdefault(item, len(numbers) + 1)
        if key == "shared_object_id"
        else _renumbered(item, numbers)
        for key, item in value.items()
    }
