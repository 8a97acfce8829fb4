"""From what a user writes for a model (preset, folder, handle, size word) to a model in memory.

Everything that can be known to fail is checked before anything is loaded: unknown names are refused
with the nearest one, presets are asked for only when their hub answers.
"""

import dataclasses
import difflib
import enum
import os
from pathlib import Path

from tfkd.artifacts import RunFolder
from tfkd.errors import ModelError
from tfkd.models import hub, huggingface, presets, sizes
from tfkd.models.hub import OFFLINE_CHOICES
from tfkd.seals import read_record


class Kind(enum.StrEnum):
    """Kind of model that a name stands for."""

    SIZE = "size"
    PRETRAINED = "pretrained"
    RUN = "run"
    HUGGING_FACE = "hugging_face"
    KERAS_HUB = "keras_hub"


@dataclasses.dataclass(frozen=True)
class Source:
    """A model's name, understood.

    Attributes:
        name: Name as the user wrote it.
        kind: `Kind` of the model.
        folder: The local folder, for the kinds that have one.
        built_as: The size word of a student of `tfkd pretrain`.
    """

    name: str
    kind: Kind
    folder: Path | None = None
    built_as: str | None = None

    @property
    def size(self) -> str | None:
        """The size word by which tfkd builds the model, or built it; None for a published one."""
        return self.name if self.kind is Kind.SIZE else self.built_as

    @property
    def slug(self) -> str:
        """A short form for the names of run folders."""
        if self.name.startswith(hub.KAGGLE):
            # kaggle://owner/model/framework/variation/version
            return self.name.removeprefix(hub.KAGGLE).split("/")[3]
        path = Path(self.name)
        if self.folder is not None and path.expanduser().is_dir():
            # "." and ".." are folders too, and have a name.
            path = Path(os.path.abspath(path.expanduser()))
        return path.name.replace(":", "-")

    @property
    def is_ready(self) -> bool:
        """Whether it is a classifier already, so that a teacher needs no fine-tuning."""
        if self.folder is None:
            return False
        if self.kind is Kind.HUGGING_FACE:
            return huggingface.has_head(huggingface.read_config(self.folder) or {})
        return self.kind is Kind.RUN or presets.has_head(self.folder)


def resolve(name: str) -> Source:
    """Finds out what a model's name stands for; a published model is fetched, none is loaded.

    Raises:
        ModelError: The name is unknown, the folder is not a model, or its hub cannot be reached.
    """
    if name in sizes.SIZE_WORDS:
        return Source(name, Kind.SIZE)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _resolve_folder(name, folder)
    if name.startswith(("hf://", "kaggle://")):
        return _resolve_folder(name, hub.fetch(name, name))
    if "/" in name:
        raise ModelError(f"Expected a model folder. Received: {name}, which does not exist.")
    handles = presets.handles()
    if name not in handles:
        closest = difflib.get_close_matches(
            name.lower(), [*sizes.SIZE_WORDS, *handles], n=1, cutoff=0.0
        )[0]
        raise ModelError(
            f"Expected a known model. Received: {name!r}. The nearest is `{closest}`. "
            f"{OFFLINE_CHOICES}"
        )
    return _resolve_folder(name, hub.fetch(handles[name], name))


def _resolve_folder(name: str, folder: Path) -> Source:
    run = RunFolder(folder)
    if (folder / "classifier.json").is_file():
        above = RunFolder(Path(os.path.abspath(folder)).parent)
        return _pretrained(name, above) if above.is_pretrained else Source(name, Kind.RUN, folder)
    config = huggingface.read_config(folder)
    if config is not None:
        huggingface.read_folder(folder, config)
        return Source(name, Kind.HUGGING_FACE, folder)
    if run.is_run:
        if not run.is_finished:
            raise ModelError(
                f"Expected a finished run. Received: {folder}, which has no metrics.json yet. "
                "Start its command again; it goes on where it stopped."
            )
        return _pretrained(name, run) if run.is_pretrained else Source(name, Kind.RUN, run.model)
    if presets.is_preset(folder):
        return Source(name, Kind.KERAS_HUB, folder)
    raise ModelError(
        f"Expected a model folder. Received: {folder}, which holds neither a run of tfkd, nor a "
        "Hugging Face config.json with model_type, nor a KerasHub preset."
    )


def _pretrained(name: str, run: RunFolder) -> Source:
    """A student of `tfkd pretrain`; how it is to be trained on goes by its size word."""
    built_as = read_record(run.config).get("student")
    if not isinstance(built_as, str):
        raise ModelError(f"Expected the student's size word in {run.config}. Received: {built_as}.")
    return Source(name, Kind.PRETRAINED, run.model, built_as)
