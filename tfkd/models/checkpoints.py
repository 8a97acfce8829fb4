"""From what a user writes for a model (preset, folder, handle, size word) to a model in memory.

Everything that can be known to fail is checked before TensorFlow starts to load: unknown names are
refused with the nearest one, presets are asked for only when their hub answers.
"""

import dataclasses
import enum
import importlib
from pathlib import Path

from tfkd.artifacts import RunFolder, read_json
from tfkd.config import nearest
from tfkd.errors import ModelError
from tfkd.models import catalog, huggingface
from tfkd.network import is_reachable

HUBS = {"hf": "huggingface.co", "kaggle": "www.kaggle.com"}
OFFLINE_CHOICES = (
    "Give a local folder (a KerasHub preset, a Hugging Face folder with model.safetensors, or a "
    f"run of `tfkd finetune`) or a size word ({', '.join(catalog.CATALOG)})."
)


class Kind(enum.StrEnum):
    """What a model's name stands for."""

    SIZE = "size"
    RUN = "run"
    HUGGING_FACE = "hugging_face"
    KERAS_HUB = "keras_hub"
    HANDLE = "handle"


@dataclasses.dataclass(frozen=True)
class Source:
    """A model's name, understood.

    Attributes:
        name: What the user wrote.
        kind: What it stands for.
        folder: The local folder, for the kinds that have one.
    """

    name: str
    kind: Kind
    folder: Path | None = None

    @property
    def slug(self) -> str:
        """A short form for the names of run folders."""
        return Path(self.name.rstrip("/")).name.replace(":", "-")

    @property
    def is_ready(self) -> bool:
        """Whether it is a classifier already, so that a teacher needs no fine-tuning."""
        if self.kind is Kind.RUN:
            return True
        if self.kind is Kind.HUGGING_FACE and self.folder is not None:
            config = huggingface.read_config(self.folder) or {}
            architecture = (config.get("architectures") or [""])[0]
            return architecture.endswith("ForSequenceClassification")
        return False


def resolve(name: str) -> Source:
    """Finds out what a model's name stands for, without loading anything.

    Args:
        name: String. A size word, a folder, a handle or a KerasHub preset.

    Raises:
        ModelError: The name is unknown, the folder is not a model, or its hub cannot be reached.
    """
    if name in catalog.CATALOG:
        return Source(name, Kind.SIZE)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _resolve_folder(name, folder)
    if name.startswith(("hf://", "kaggle://")):
        return _reachable(Source(name, Kind.HANDLE), HUBS[name.split(":")[0]])
    if "/" in name:
        raise ModelError(f"Expected a model folder. Received: {name}, which does not exist.")
    presets = _preset_names()
    if name not in presets:
        raise ModelError(
            f"Expected a known model. Received: {name!r}. "
            f"{nearest(name, [*catalog.CATALOG, *presets])} {OFFLINE_CHOICES}"
            if not nearest(name, [*catalog.CATALOG, *presets]).startswith("Known")
            else f"Expected a known model. Received: {name!r}. {OFFLINE_CHOICES}"
        )
    return _reachable(Source(name, Kind.KERAS_HUB), HUBS["kaggle"])


def _resolve_folder(name: str, folder: Path) -> Source:
    run = RunFolder(folder)
    if (folder / "classifier.json").is_file():
        return Source(name, Kind.RUN, folder)
    if (run.model / "classifier.json").is_file():
        if not run.is_finished:
            raise ModelError(
                f"Expected a finished run. Received: {folder}, which has no metrics.json yet. "
                "Start its command again; it goes on where it stopped."
            )
        return Source(name, Kind.RUN, run.model)
    config = huggingface.read_config(folder)
    if config is not None:
        huggingface.check_files(folder, config)
        return Source(name, Kind.HUGGING_FACE, folder)
    if (folder / "config.json").is_file() and "registered_name" in read_json(
        folder / "config.json"
    ):
        return Source(name, Kind.KERAS_HUB, folder)
    raise ModelError(
        f"Expected a model folder. Received: {folder}, which holds neither a run of tfkd, nor a "
        "Hugging Face config.json with model_type, nor a KerasHub preset."
    )


def _reachable(source: Source, host: str) -> Source:
    if not is_reachable(host):
        raise ModelError(
            f"Expected to fetch the preset {source.name!r}. {host} cannot be reached. "
            f"{OFFLINE_CHOICES}"
        )
    return source


def _preset_names() -> list[str]:
    """Encoder presets KerasHub knows; imported late because it takes seconds."""
    models = importlib.import_module("keras_hub").models
    families = (
        models.BertBackbone, models.DistilBertBackbone, models.RobertaBackbone,
        models.XLMRobertaBackbone,
    )  # fmt: skip
    return [name for family in families for name in family.presets]
