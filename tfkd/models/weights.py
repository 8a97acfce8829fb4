"""The tensors of a Hugging Face folder: what its safetensors files hold, read one by one.

Shapes are known from the files' heads, so that a folder is checked against its config.json before
anything is built.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from tfkd.errors import ModelError
from tfkd.models.config_keys import read_object

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
# As safetensors spells them; all others are rounded to integers or to eight bits.
FLOAT_TYPES = ("F64", "F32", "F16", "BF16")


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor in a file.

    Attributes:
        path: The safetensors file.
        name: Its name there.
        shape: Its shape.
        dtype: Its type, one of `FLOAT_TYPES` or another.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    def read(self) -> np.ndarray:
        """The values as float32.

        Raises:
            ModelError: They are no floating point numbers, or not all finite.
        """
        # Needed only for checkpoints; keeps `import tfkd` free of it.
        from safetensors import safe_open

        with safe_open(self.path, framework="np") as tensors:
            values = tensors.get_tensor(self.name).astype(np.float32)
        if not np.isfinite(values).all():
            raise ModelError(
                f"Expected finite weights in {self.path}. Received: NaN or infinity in "
                f"{self.name}. Give a model that was trained to its end."
            )
        return values


class Weights:
    """The tensors of a folder by name.

    TensorFlow's first checkpoints named a normalization's parts `gamma` and `beta`; here they are
    `weight` and `bias` for all.

    Raises:
        ModelError: A file is missing, cut short or not what the index says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stored = {_today(stored.name): stored for stored in _stored(folder)}

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The tensors of a folder, all of them floating point numbers.

        Raises:
            ModelError: As the class; or a tensor was rounded to fewer bits.
        """
        weights = cls(folder)
        for name, stored in weights._stored.items():
            if stored.dtype not in FLOAT_TYPES and not name.endswith("_ids"):
                raise ModelError(
                    f"Expected weights of {', '.join(FLOAT_TYPES)} in {folder}. Received: {name} "
                    f"of {stored.dtype}. Give the model as it was before it was quantized."
                )
        return weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a tensor, or None when there is no such."""
        stored = self._stored.get(name)
        return None if stored is None else stored.shape

    def read(self, name: str) -> np.ndarray:
        """The values of a tensor as float32."""
        return self._stored[name].read()


def _today(name: str) -> str:
    start, _, part = name.rpartition(".")
    new = {"gamma": "weight", "beta": "bias"}.get(part, part)
    return f"{start}.{new}" if start.endswith("LayerNorm") else name


def _stored(folder: Path) -> list[Stored]:
    """The tensors of the one file, or of the files that the index names."""
    whole = folder / WEIGHTS_FILE
    if whole.is_file():
        return list(_in_file(whole))
    names = read_object(folder / INDEX_FILE).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(file, str) for file in names.values()):
        raise ModelError(
            f"Expected `weight_map`, from tensors to files, in {folder / INDEX_FILE}. Received: "
            "other JSON. Save the model again."
        )
    found = []
    for file in sorted(set(names.values())):
        path = folder / Path(file).name
        if not path.is_file():
            raise ModelError(
                f"Expected {path}, which {INDEX_FILE} names. It does not exist. Copy or fetch the "
                "whole folder."
            )
        found += [stored for stored in _in_file(path) if names.get(stored.name) == file]
    return found


def _in_file(path: Path) -> Iterator[Stored]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as tensors:
            for name in tensors.keys():
                part = tensors.get_slice(name)
                yield Stored(path, name, tuple(part.get_shape()), str(part.get_dtype()))
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"Expected whole weights in {path}. They cannot be read: {reason}. Copy or fetch the "
            "file again."
        ) from error
