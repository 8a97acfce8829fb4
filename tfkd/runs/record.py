"""Record of a run: its figures, with the answers and the report that are made of them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import TrainingConfig
from tfkd.distillation.mixing import Mixing
from tfkd.errors import ArtifactError, shown
from tfkd.reports.card import PAGE, write_report
from tfkd.reports.predictions import NAME as PREDICTIONS
from tfkd.reports.predictions import Answered, Predictions, write_predictions
from tfkd.reports.run_page import RunReport
from tfkd.seals import REMEDY, check_files, damage

if TYPE_CHECKING:
    from tfkd.runs.material import Material

# What the answers that a student was told were divided by, as metrics.json calls it.
TEMPERATURE = "told_temperature"


def read_metrics(run: RunFolder) -> artifacts.JsonObject:
    """The figures of a finished run.

    Raises:
        ArtifactError: metrics.json or config.json was changed, or the one is not of the other.
    """
    record = artifacts.read_record(run.metrics)
    check_files(run.metrics, run.config.name)
    if "versions" not in record:
        raise ArtifactError(damage(run.metrics, "no figures of a run", REMEDY))
    return record


def finished(run: RunFolder) -> RunFolder:
    """The run, when it came to its end.

    Raises:
        ArtifactError: The folder is no run, or one that is not finished.
    """
    run.read_config()
    if not run.is_finished:
        raise ArtifactError(
            f"Expected a finished run. Received: {run.path}, which has no metrics.json yet. "
            "Start its command again; it goes on where it stopped."
        )
    return run


def noted_teacher(run: RunFolder) -> Path | None:
    """Model folder of a finished run's teacher, or None where there is none.

    Raises:
        ArtifactError: metrics.json was changed.
    """
    folder = read_metrics(run).get("teacher_folder")
    if not isinstance(folder, str | None):
        raise ArtifactError(damage(run.metrics, f"teacher_folder={shown(folder)}", REMEDY))
    return run.find(folder) if folder else None


def told_temperature(run: RunFolder) -> float:
    """What the answers that a finished run's student was told were divided by.

    Raises:
        ArtifactError: metrics.json was changed.
    """
    value = read_metrics(run).get(TEMPERATURE, 1.0)
    if not isinstance(value, int | float) or not value > 0:
        raise ArtifactError(damage(run.metrics, f"{TEMPERATURE}={shown(value)}", REMEDY))
    return float(value)


def finish_run(
    run: RunFolder,
    record: artifacts.JsonObject,
    answered: Mapping[str, Answered],
    material: "Material",
    config: TrainingConfig,
) -> None:
    """Writes a run's answers to the test rows, its report and, last, its figures.

    Args:
        run: `RunFolder`.
        record: The figures.
        answered: `Answered` by the model's name.
        material: `Material`.
        config: `TrainingConfig`.
    """
    write_predictions(run.path, material.dataset, material.labels("test"), answered)
    record = {**record, **shared_record(material, config.seed)}
    report = RunReport(run.read_config(), record, Predictions.load(run.path / PREDICTIONS))
    write_report(run.path, report, config.report)
    run.finish(record, [PREDICTIONS])


def refresh_report(run: RunFolder) -> None:
    """Writes a finished run's report again, with the files that came later, if it has one."""
    if (run.path / PAGE).is_file():
        write_report(run.path, RunReport.read(run, read_metrics(run)), with_page=True)


def shared_record(material: "Material", seed: int) -> dict[str, Any]:
    """End of every run's metrics.json: the data, the seed, the versions."""
    return {"data": material.describe(), "seed": seed, "versions": artifacts.versions()}


@dataclasses.dataclass(frozen=True)
class KeptMixture:
    """The teachers of a student and how they were weighed.

    Attributes:
        folders: Model folder by the teacher's name, in the order of the weights, as
            `RunFolder.noted` gives it.
        mixing: `Mixing` with the weights that were used, given or learned.
        sha256: Of each model, by the teacher's name; older runs have none.
    """

    folders: Mapping[str, str]
    mixing: Mixing
    sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        mixing = self.mixing.to_dict()
        return {"folders": dict(self.folders), "mixing": mixing, "sha256": dict(self.sha256)}

    @classmethod
    def read(cls, run: RunFolder) -> "KeptMixture | None":
        """That of a finished run, or None where one teacher or none was asked."""
        kept = read_metrics(run).get("mixture")
        if kept is None:
            return None
        try:
            mixing = Mixing.from_mapping(kept["mixing"], str(run.metrics))
            return cls(dict(kept["folders"]), mixing, dict(kept.get("sha256", {})))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(damage(run.metrics, "no mixture of teachers", REMEDY)) from error
