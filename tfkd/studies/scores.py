"""The record a study keeps of every model it has made: answers to the test rows, and bytes.

With these `tfkd report` makes the whole table again without loading a model.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import artifacts, seals
from tfkd.data.examples import DEFAULT_THRESHOLD
from tfkd.errors import ArtifactError, shown

ARRAYS, RECORD = "scores.npz", "scores.json"
KERAS = "keras"
LABELS = "labels"


@dataclasses.dataclass(frozen=True)
class Scores:
    """A model's answers to the test rows, by Keras and by each of its LiteRT files.

    Attributes:
        labels: Right answers: shape and dtype as `metrics.evaluate` takes them.
        logits: "keras" or recipe to float32 `[num_test_rows, num_outputs]`; NaN in rows without an
            answer.
        parameters: Number of weights; None for a teacher that is no model.
        size_bytes: "keras" or recipe to the bytes of the file; so None.
        model_folder: Folder of the files; so None.
        dataset: Name, task, metric, label names and fingerprint of the test split.
        thresholds: Of multi_label: where each label is given, as `metrics.evaluate` takes them.
        refused: Why a recipe gave no file, by recipe.
    """

    labels: np.ndarray
    logits: Mapping[str, np.ndarray]
    parameters: int | None
    size_bytes: Mapping[str, int | None]
    model_folder: str | None
    dataset: Mapping[str, Any]
    thresholds: float | Sequence[float] = DEFAULT_THRESHOLD
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Keeps them in a run folder; the arrays first, so that the record marks both complete."""
        (folder / RECORD).unlink(missing_ok=True)
        with artifacts.atomic_file(folder / ARRAYS) as part:
            arrays: dict[str, Any] = {LABELS: self.labels, **self.logits}
            np.savez_compressed(part, **arrays)
        names = ("parameters", "size_bytes", "model_folder", "dataset", "thresholds", "refused")
        record = {name: getattr(self, name) for name in names}
        artifacts.write_record(folder / RECORD, record, [ARRAYS])

    @classmethod
    def read(cls, folder: Path) -> "Scores":
        """The scores of a run folder.

        Raises:
            ArtifactError: They are missing or were changed.
        """
        remedy = _remedy(folder)
        record = seals.read_record(folder / RECORD, remedy)
        path = folder / ARRAYS
        # Before there were seals, the hash stood among the values.
        sha256 = record.pop("arrays_sha256", None)
        if ARRAYS not in seals.check_files(folder / RECORD, remedy=remedy):
            seals.check(path, sha256, remedy)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                logits = {name: arrays[name] for name in arrays.files if name != LABELS}
                return cls(arrays[LABELS], logits, **record)
        except seals.UNREADABLE as error:
            raise ArtifactError(
                f"Expected scores in {folder / RECORD}. They cannot be read: {error}. {remedy}"
            ) from error


def is_scored(folder: Path, test_fingerprint: str | None = None) -> bool:
    """Whether a run folder holds scores, of these test rows if they are named.

    Raises:
        ArtifactError: Their record was changed.
    """
    path = folder / RECORD
    if not path.is_file():
        return False
    dataset = seals.read_record(path, _remedy(folder)).get("dataset")
    if not isinstance(dataset, dict):
        raise ArtifactError(seals.damage(path, f"dataset={shown(dataset)}", _remedy(folder)))
    return test_fingerprint in (None, dataset.get("test_fingerprint"))


def _remedy(folder: Path) -> str:
    return f"Delete {folder} and start the study again."
