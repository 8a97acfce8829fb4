"""Record of a run: its README.md, and the end of its metrics.json."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.data.examples import MULTI_LABEL
from tfkd.distillation.mixing import Mixing
from tfkd.errors import ArtifactError, shown
from tfkd.evaluation.rows import Row, RunSummary, run_readme
from tfkd.seals import REMEDY, check_files, damage

if TYPE_CHECKING:
    from tfkd.runs.material import Material

# How a text gets its labels, where that is not the likeliest one.
DECIDED = {
    MULTI_LABEL: " A text has the labels whose probability is above their own thresholds: each "
    "model's are tuned for the F1 of each label on the validation rows and kept in its "
    "classifier.json. Epochs are compared by average precision, which needs none."
}


def run_page(
    title: str,
    rows: Sequence[Row],
    material: "Material",
    files: Mapping[str, str],
    seconds: Mapping[str, float],
    comparison: str = "",
) -> str:
    """The page in Markdown.

    Args:
        title: Heading.
        rows: `Row` of each model; seed and command are the first one's.
        material: `Material`: counts and fingerprints of the splits.
        files: Meaning of each file of the folder, by its path.
        seconds: Seconds of each stage by its name.
        comparison: Sentences on the paired tests; empty for none.
    """
    counts = "; ".join(
        f"{name}: {item.num_rows:,} rows, fingerprint {item.fingerprint[:16]}"
        for name, item in material.summaries.items()
    )
    decided = DECIDED.get(material.dataset.task, "")
    return run_readme(
        RunSummary(
            title=title,
            rows=rows,
            metric=material.dataset.metric,
            comparison=comparison,
            command=rows[0].command,
            versions=artifacts.versions(),
            data=f"{counts}. Figures are of the test split.{decided}",
            seed=rows[0].seed,
            files=files,
            seconds=seconds,
        )
    )


def read_metrics(run: RunFolder) -> artifacts.JsonObject:
    """The figures of a finished run.

    Raises:
        ArtifactError: metrics.json or config.json was changed, or the one is not of the other.
    """
    record = artifacts.read_record(run.metrics)
    check_files(run.metrics)
    if "versions" not in record:
        raise ArtifactError(damage(run.metrics, "no figures of a run", REMEDY))
    return record


def noted_teacher(run: RunFolder) -> Path | None:
    """Model folder of a finished run's teacher, or None where there is none.

    Raises:
        ArtifactError: metrics.json was changed.
    """
    folder = read_metrics(run).get("teacher_folder")
    if not isinstance(folder, str | None):
        raise ArtifactError(damage(run.metrics, f"teacher_folder={shown(folder)}", REMEDY))
    return run.find(folder) if folder else None


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
