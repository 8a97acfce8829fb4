"""The figures of the parity gate: the distance of a file's logits from the Keras model's.

Whatever passes is kept in one way and whatever fails is refused in one way, be it a file of tokens
or a package that takes text.
"""

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logit

from tfkd import artifacts
from tfkd.compression.recipes import Recipe
from tfkd.data.examples import DEFAULT_THRESHOLD, MULTI_LABEL, REGRESSION, SINGLE_LABEL, TASKS
from tfkd.errors import ArtifactError
from tfkd.parts import sync

# A constant score has no spread to measure a difference by; this is float32's own noise.
_SMALLEST_ALLOWED_DIFFERENCE = 1e-5
# What npm and Python put into a folder that is used; the first is kept when the folder is replaced.
_INSTALLED, _COMPILED = ("node_modules", "package-lock.json"), "__pycache__"


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """Distance of a file from the Keras model it was made from.

    Attributes:
        recipe: Name of the recipe.
        task: One of `tfkd.data.examples.TASKS`.
        num_texts: Texts compared.
        agreement: Share of texts with the same largest logit (single_label), share of label
            decisions at their thresholds that are the same (multi_label), None for regression.
        largest_logit_difference: Largest absolute difference of any logit; infinite where a logit
            is not finite.
        has_nan: Whether file or Keras model gave NaN or an infinite logit.
        minimum_agreement: Least agreement the recipe asks, None for regression.
        allowed_logit_difference: Largest difference the recipe allows.
        size_bytes: Bytes of the file, 0 when only logits were compared.
        difference_by_length: Signature length to the largest difference of its own rows, which are
            padded and full ones.
    """

    recipe: str
    task: str
    num_texts: int
    agreement: float | None
    largest_logit_difference: float
    has_nan: bool
    minimum_agreement: float | None
    allowed_logit_difference: float
    size_bytes: int = 0
    difference_by_length: Mapping[int, float] = dataclasses.field(default_factory=dict)

    @property
    def worst_difference(self) -> float:
        """The largest difference of all, those of the signatures' own rows included."""
        return max([self.largest_logit_difference, *self.difference_by_length.values()])

    @property
    def passed(self) -> bool:
        """Whether the file may be kept."""
        return (
            not self.has_nan
            and self.worst_difference <= self.allowed_logit_difference
            and (self.agreement is None or self.agreement >= (self.minimum_agreement or 0.0))
        )

    def to_dict(self) -> dict[str, object]:
        """The figures as JSON values."""
        by_length = {str(length): value for length, value in self.difference_by_length.items()}
        values = dataclasses.asdict(self)
        return {**values, "difference_by_length": by_length, "passed": self.passed}


def check_parity(
    reference_logits: np.ndarray,
    logits: np.ndarray,
    recipe: Recipe,
    task: str = SINGLE_LABEL,
    thresholds: ArrayLike = DEFAULT_THRESHOLD,
) -> ParityReport:
    """Compares a file's logits with the Keras model's.

    Args:
        reference_logits: Float array of shape `[n, num_outputs]`, the Keras model's.
        logits: Float array, same shape, the file's.
        recipe: `Recipe`. Whose limits hold.
        task: String. One of `tfkd.data.examples.TASKS`.
        thresholds: Of multi_label: the probability above which a label is given, one for all or
            one a label.

    Returns:
        A `ParityReport`; `passed` says whether the limits hold.

    Raises:
        ValueError: There are no texts, the shapes differ or the task is unknown.

    Example:

    >>> check_parity(logits, logits, find("float32")).passed
    True
    """
    if task not in TASKS:
        raise ValueError(f"Expected `task` in {TASKS}. Received: task={task!r}")
    if reference_logits.shape != logits.shape or logits.ndim != 2 or not len(logits):
        raise ValueError(
            "Expected two arrays of one shape [n, num_outputs], n at least 1. Received: "
            f"{reference_logits.shape} and {logits.shape}"
        )
    allowed = recipe.maximum_logit_difference
    if task == REGRESSION or allowed is None:
        with np.errstate(invalid="ignore"):
            spread = float(np.std(reference_logits.astype(np.float64)))
        allowed = max(_SMALLEST_ALLOWED_DIFFERENCE, recipe.maximum_score_difference * spread)
    return ParityReport(
        recipe=recipe.name,
        task=task,
        num_texts=len(logits),
        agreement=_agreement(reference_logits, logits, task, logit(thresholds)),
        largest_logit_difference=largest_difference(reference_logits, logits),
        has_nan=not (np.isfinite(reference_logits).all() and np.isfinite(logits).all()),
        minimum_agreement=None if task == REGRESSION else recipe.minimum_agreement,
        allowed_logit_difference=allowed,
    )


def _agreement(
    reference_logits: np.ndarray, logits: np.ndarray, task: str, edges: np.ndarray
) -> float | None:
    if task == SINGLE_LABEL:
        return float(np.mean(reference_logits.argmax(axis=1) == logits.argmax(axis=1)))
    if task == MULTI_LABEL:
        return float(np.mean((reference_logits > edges) == (logits > edges)))
    return None


def largest_difference(reference_logits: np.ndarray, logits: np.ndarray) -> float:
    """Largest absolute difference of two arrays of one shape; infinite where one is not finite."""
    with np.errstate(invalid="ignore"):  # inf - inf is told by `has_nan`, not by a warning
        difference = np.abs(reference_logits.astype(np.float64) - logits)
    return float(np.max(np.where(np.isfinite(difference), difference, np.inf)))


def refusal(
    report: ParityReport,
    name: str,
    thing: str = "file",
    values: str = "logits",
    advice: str = "Leave this recipe out.",
) -> str:
    """Error message for what did not pass: its figures beside the limits of its recipe.

    Args:
        report: `ParityReport` that did not pass.
        name: String. The file's or folder's name.
        thing: String. Its kind: "file" or "package".
        values: String. The compared values: "logits" or "log-scores".
        advice: String. Advice to the user, unless the model itself is broken.
    """
    if report.has_nan:
        return (
            f"Expected finite {values} from {name}. Received: NaN or infinite ones from the "
            f"{thing} or its Keras model. The {thing} was not kept. Train the model again with a "
            "lower --learning-rate."
        )
    expected = f"{values} within {report.allowed_logit_difference:.3g} of the Keras model's"
    received = f"largest difference {report.worst_difference:.3g}"
    if report.agreement is not None:
        expected = f"agreement of at least {report.minimum_agreement} and {expected}"
        received = f"agreement {report.agreement:.4f} and {received}"
    return (
        f"Expected from {name} {expected}. Received: {received} on {report.num_texts} texts. The "
        f"{thing} was not kept. {advice}"
    )


def keep(made: Path, path: Path, figures: Mapping[str, object], model_folder: Path) -> None:
    """Moves what passed to its place; the record comes last and so marks it complete.

    Args:
        made: Path. The file or folder, on the same disk as its place.
        path: Path. Its place; what was there before is replaced.
        figures: Mapping of JSON values. Go into `<name>.json` beside it, with the SHA-256 of the
            file (folder: of each of its files), the model's and the versions.
        model_folder: Path. Folder of the model it was made from.
    """
    record = path.with_suffix(".json")
    if path.is_dir():
        check_replaceable(path)
        for name in _INSTALLED:
            if os.path.lexists(path / name):
                os.replace(path / name, made / name)
        shutil.rmtree(path)
    record.unlink(missing_ok=True)
    sync(made)
    os.replace(made, path)
    files = [path / name for name in files_of(path)] if path.is_dir() else [path]
    artifacts.write_record(
        record,
        {
            **figures,
            "sha256": _sha256(path),
            "model_sha256": artifacts.file_sha256(model_folder / "model.keras"),
            "versions": artifacts.versions(),
        },
        [file.relative_to(path.parent).as_posix() for file in files],
    )


def check_replaceable(path: Path) -> None:
    """Refuses to replace a file that no export wrote, or a folder that holds anything else.

    Args:
        path: Path. Place of a file or a folder, its record beside it as `<name>.json`.

    Raises:
        ArtifactError: It, or what lies in the place of its record, is not of tfkd.
    """
    record = path.with_suffix(".json")
    written = artifacts.read_json(record) if record.is_file() else {}
    is_ours = isinstance(written, dict) and "model_sha256" in written
    if path.is_dir():
        known = written.get("sha256") if is_ours else None
        other = [
            name for name in files_of(path) if not isinstance(known, dict) or name not in known
        ]
    else:
        other = [item.name for item in (path, record) if os.path.lexists(item) and not is_ours]
    if other:
        raise ArtifactError(
            f"Expected only what `tfkd export` wrote in {path}, to replace it. Received: "
            f"{', '.join(other[:3])}{', ...' * (len(other) > 3)}. Give another --output-dir."
        )


def files_of(folder: Path) -> list[str]:
    """Names of the files of a package that is a folder, but for what using it leaves there."""
    found = (file for file in sorted(folder.rglob("*")) if not file.is_dir() or file.is_symlink())
    names = (file.relative_to(folder) for file in found)
    return [name.as_posix() for name in names if not {*_INSTALLED, _COMPILED} & {*name.parts}]


def _sha256(path: Path) -> str | dict[str, str]:
    if path.is_file():
        return artifacts.file_sha256(path)
    return {name: artifacts.file_sha256(path / name) for name in files_of(path)}
