"""The rows that a finished run was made of, found where they lie now and read once more."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.data import DataConfig
from tfkd.config.training import DistillConfig
from tfkd.data.examples import Dataset
from tfkd.errors import ArtifactError
from tfkd.progress import Progress
from tfkd.runs.material import Material, load_dataset, prepare


class OwnData(Protocol):
    """Settings of a verb that reads a run's data: where they lie now."""

    @property
    def dataset(self) -> str | None:
        """Path or name; None where they were."""

    @property
    def data_dir(self) -> Path | None:
        """Folder that holds them; None where they were."""


def own_config(
    run: RunFolder, dataset: str | None, data_dir: Path | None, option: str = "--dataset"
) -> DataConfig:
    """Settings of a run's data set where it lies now, so that it is split as it was for the run.

    Raises:
        ArtifactError: It is not where it was.
    """
    settings, place = run.read_config(), run.data.get("place") or {}
    then, folder = place.get("dataset"), place.get("data_dir")
    if dataset is None and then is not None and os.path.isabs(then) and data_dir is not None:
        # In the folder that is given, by its own name.
        beside = data_dir / Path(then).name
        then = str(beside) if beside.exists() else then
    if dataset is None and then is not None and os.path.isabs(then) and not os.path.exists(then):
        if not Path(settings["dataset"]).exists():
            raise ArtifactError(
                f"Expected the data set of {run.path} in {then}. It is not there. Say where it is "
                f"now: {option}."
            )
        then = None
    if data_dir is None and folder is not None and os.path.isdir(folder):
        data_dir = Path(folder)
    names = [field.name for field in dataclasses.fields(DataConfig) if field.name in settings]
    values = {name: settings[name] for name in names} | {"data_dir": data_dir}
    values |= {"dataset": dataset or then or settings["dataset"]}
    answers = settings.get("teacher_answers")
    return DistillConfig(**values, teacher_answers=answers) if answers else DataConfig(**values)


def own_material(
    run: RunFolder,
    config: OwnData,
    progress: Progress,
    splits: Sequence[str] = artifacts.SPLITS,
    option: str = "--dataset",
) -> Material:
    """The rows a run was made of, read and checked once more.

    Raises:
        ArtifactError: They are not where they were, or are others.
        DatasetError: They cannot be had, or a row is bad.
    """
    named = own_config(run, config.dataset, config.data_dir, option)
    material = prepare(named, run.path.parent, progress, splits)
    changed = run.changed_rows(material.describe()) if run.data else None
    if changed is not None:
        raise ArtifactError(
            f"Expected the rows that {run.path} was made of. Received others from {named.dataset}: "
            f"{changed}. Give the data set as it was to {option}, or make the run again."
        )
    # As the run calls it, wherever it lies, and by the metric that the run is judged by.
    name, metric = run.read_config()["dataset"], run.data.get("metric", material.dataset.metric)
    dataset = dataclasses.replace(material.dataset, name=name, metric=metric)
    return dataclasses.replace(material, dataset=dataset)


def own_dataset(run: RunFolder, data_dir: Path | None) -> Dataset:
    """The data set of a run, split as it was for the run; no row is read."""
    return load_dataset(own_config(run, None, data_dir))
