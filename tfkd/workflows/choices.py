"""What the names in a training verb's settings stand for, found out before TensorFlow is loaded.

A typo or a hub that cannot be reached is said in a second or two, not after eight of imports.
"""

from pathlib import Path

from tfkd.config import TrainingConfig
from tfkd.data import catalog, sources
from tfkd.errors import ConfigError
from tfkd.models.checkpoints import Source, resolve

# Setting that names a model, and the catalogue's default for it.
ROLES = {"model": "teacher", "student": "student", "teacher": "teacher"}
DEFAULTS = {"teacher": "bert_base_en_uncased", "student": "bert_tiny_en_uncased"}


def check_names(config: TrainingConfig) -> None:
    """Refuses a data set or a model that cannot be had.

    Raises:
        ConfigError: The data set's name is unknown.
        DatasetError: The data set cannot be had.
        ModelError: A model is unknown or cannot be had.
    """
    sources.load(config.dataset, config.data_dir)
    choose(config)


def choose(config: TrainingConfig) -> dict[str, Source]:
    """The models of a training verb by the setting that names them.

    Raises:
        ModelError: A model is unknown or cannot be had.
    """
    roles = {setting: role for setting, role in ROLES.items() if hasattr(config, setting)}
    return {
        setting: resolve(getattr(config, setting) or default_model(config.dataset, role))
        for setting, role in roles.items()
    }


def slug(dataset: str) -> str:
    """A data set's name or path as part of a folder's name."""
    return Path(dataset.rstrip("/")).name.split(".")[0] if Path(dataset).exists() else (
        dataset.replace("/", "_")
    )  # fmt: skip


def default_model(dataset: str, role: str) -> str:
    """The catalogue's teacher or student for a data set."""
    try:
        return getattr(catalog.find(dataset), role)
    except ConfigError:
        return DEFAULTS[role]
