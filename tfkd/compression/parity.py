"""The gate every LiteRT file passes before anyone may take it for the student.

A converter can succeed and still write a file that answers wrongly or with NaN. So each file is
run on held-out texts against the Keras model, its figures are stored beside it, and a file that
fails is deleted: what lies in a model folder has been compared.
"""

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfkd import artifacts
from tfkd.compression import recipes as catalog
from tfkd.compression.conversion import TIMEOUT_SECONDS, convert
from tfkd.compression.litert import LiteRTModel, Texts
from tfkd.compression.recipes import Recipe
from tfkd.config import RECIPE_NAMES
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, TASKS
from tfkd.errors import ConversionError

NUM_ROWS_PER_LENGTH = 32
NUM_FULL_ROWS = 8
SCORING_BATCH_SIZE = 64
# A constant score has no spread to measure a difference by; this is float32's own noise.
_SMALLEST_ALLOWED_DIFFERENCE = 1e-5


class Reference(Protocol):
    """The part of the Keras classifier that the gate asks."""

    def encode(self, texts: Texts, length: int | None = None) -> dict[str, np.ndarray]:
        """Int32 arrays of shape `[n, length]` by input name."""
        ...

    def predict_encoded(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Float32 logits of shape `[n, num_outputs]`."""
        ...


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """How near a file is to the Keras model it was made from.

    Attributes:
        recipe: Name of the recipe.
        task: One of `tfkd.data.examples.TASKS`.
        num_texts: Texts compared.
        agreement: Share of texts with the same largest logit (single_label), share of label
            decisions at probability 0.5 that are the same (multi_label), None for regression.
        largest_logit_difference: Largest absolute difference of any logit; infinite where a logit
            is not finite.
        has_nan: Whether file or Keras model gave NaN or an infinite logit.
        minimum_agreement: What the recipe asks, None for regression.
        allowed_logit_difference: What the recipe allows.
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

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        by_length = {str(length): value for length, value in self.difference_by_length.items()}
        values = dataclasses.asdict(self)
        return {**values, "difference_by_length": by_length, "passed": self.passed}


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A LiteRT file that passed, and its figures."""

    path: Path
    report: ParityReport


@dataclasses.dataclass(frozen=True)
class _Probe:
    """Encoded rows and what the Keras model says to them; `length` None: the file chooses."""

    length: int | None
    arrays: Mapping[str, np.ndarray]
    logits: np.ndarray


def check_parity(
    reference_logits: np.ndarray, logits: np.ndarray, recipe: Recipe, task: str = SINGLE_LABEL
) -> ParityReport:
    """Compares a file's logits with the Keras model's.

    Args:
        reference_logits: Float array of shape `[n, num_outputs]`, the Keras model's.
        logits: Float array, same shape, the file's.
        recipe: `Recipe`. Whose limits hold.
        task: String. One of `tfkd.data.examples.TASKS`.

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
    if task == REGRESSION:
        with np.errstate(invalid="ignore"):
            spread = float(np.std(reference_logits.astype(np.float64)))
        allowed = max(_SMALLEST_ALLOWED_DIFFERENCE, recipe.maximum_score_difference * spread)
    return ParityReport(
        recipe=recipe.name,
        task=task,
        num_texts=len(logits),
        agreement=_agreement(reference_logits, logits, task),
        largest_logit_difference=_largest_difference(reference_logits, logits),
        has_nan=not (np.isfinite(reference_logits).all() and np.isfinite(logits).all()),
        minimum_agreement=None if task == REGRESSION else recipe.minimum_agreement,
        allowed_logit_difference=allowed,
    )


def export(
    model_folder: Path,
    reference: Reference,
    texts: Texts,
    recipes: Sequence[str] = RECIPE_NAMES,
    lengths: Sequence[int] = (),
    output_folder: Path | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> dict[str, ExportedFile]:
    """Converts a model, compares every file with it and keeps the files that pass.

    `<recipe>.json` beside `<recipe>.tflite` holds the report, the file's SHA-256, the model's and
    the versions. Every signature is run by itself on padded and on full rows as well.

    Args:
        model_folder: Path. Folder that `TextClassifier.save` wrote.
        reference: `TextClassifier` loaded from that folder.
        texts: Strings or pairs of strings the model was not trained on. A few hundred: with n
            texts the agreement is known to 1 / n.
        recipes: Strings. Names of recipes.
        lengths: Integers. Signature lengths; empty for the defaults of `signature_lengths`.
        output_folder: Path. Where the files go. Default: `model_folder`.
        timeout_seconds: Float. After this long the conversion is stopped.

    Returns:
        Mapping of recipe names to `ExportedFile`.

    Raises:
        ArtifactError: The folder holds no model.
        ConfigError: A recipe is unknown or a length does not fit the model.
        ConversionError: The conversion failed, or a file did not pass. Files of other recipes that
            passed are kept.

    Example:

    ```python
    student = TextClassifier.load(folder)
    files = export(folder, student, held_out_texts)
    files["dynamic_int8"].report.agreement  # 0.998
    ```
    """
    if not texts:
        raise ValueError("Expected at least one text to compare on. Received: none")
    output_folder = output_folder or model_folder
    output_folder.mkdir(parents=True, exist_ok=True)
    task = artifacts.read_json(model_folder / "classifier.json")["task"]
    exported, failures = {}, []
    # Inside the output folder, so that a file moves there in one step.
    with tempfile.TemporaryDirectory(prefix=".part-", dir=output_folder) as part:
        files = convert(model_folder, recipes, lengths, Path(part), timeout_seconds)
        probes: list[_Probe] = []
        for name, file in files.items():
            model = LiteRTModel(file)
            probes = probes or _probes(reference, texts, model.lengths)
            report = _compared(model, probes, catalog.find(name), task)
            if report.passed:
                path = _kept(file, report, model_folder, output_folder)
                exported[name] = ExportedFile(path, report)
            else:
                failures.append(_failure(report))
    if failures:
        raise ConversionError(" ".join(failures))
    return exported


def _probes(reference: Reference, texts: Texts, lengths: Sequence[int]) -> list[_Probe]:
    """All texts as a user would ask them, then rows made for each signature."""
    arrays = reference.encode(texts, lengths[-1])
    probes = [_Probe(None, arrays, _logits(reference, arrays))]
    is_real = arrays["padding_mask"].astype(bool)
    for length in lengths:
        padded = {name: values[:NUM_ROWS_PER_LENGTH, :length] for name, values in arrays.items()}
        # Held-out texts may all be short, so full rows are strung together from their tokens.
        rows = {
            name: np.concatenate(
                [padded[name], np.resize(values[is_real], (NUM_FULL_ROWS, length))]
            )
            for name, values in arrays.items()
        }
        probes.append(_Probe(length, rows, _logits(reference, rows)))
    return probes


def _logits(reference: Reference, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The Keras model's logits, in batches that fit in memory."""
    starts = range(0, len(arrays["padding_mask"]), SCORING_BATCH_SIZE)
    batches = [slice(start, start + SCORING_BATCH_SIZE) for start in starts]
    return np.concatenate(
        [
            reference.predict_encoded({name: values[rows] for name, values in arrays.items()})
            for rows in batches
        ]
    )


def _compared(
    model: LiteRTModel, probes: Sequence[_Probe], recipe: Recipe, task: str
) -> ParityReport:
    """The report of one file: agreement over all texts, differences of each signature."""
    answers = [model.predict_encoded(probe.arrays, probe.length) for probe in probes]
    report = check_parity(probes[0].logits, answers[0], recipe, task)
    differences = {
        probe.length: _largest_difference(probe.logits, logits)
        for probe, logits in zip(probes[1:], answers[1:], strict=True)
        if probe.length is not None
    }
    return dataclasses.replace(
        report, size_bytes=model.size_bytes, difference_by_length=differences
    )


def _kept(file: Path, report: ParityReport, model_folder: Path, output_folder: Path) -> Path:
    """Moves a file that passed to its place; the report comes last and so marks it complete."""
    path = output_folder / file.name
    report_path = path.with_suffix(".json")
    report_path.unlink(missing_ok=True)
    os.replace(file, path)
    artifacts.write_json(
        report_path,
        {
            **report.to_dict(),
            "sha256": artifacts.file_sha256(path),
            "model_sha256": artifacts.file_sha256(model_folder / "model.keras"),
            "versions": artifacts.versions(),
        },
    )
    return path


def _failure(report: ParityReport) -> str:
    """What a refused file showed beside what its recipe asks."""
    name = f"{report.recipe}.tflite"
    if report.has_nan:
        return (
            f"Expected finite logits from {name}. Received: NaN or infinite ones from the file or "
            "its Keras model. The file was not kept. Train the model again with a lower "
            "--learning-rate."
        )
    expected = f"logits within {report.allowed_logit_difference:.3g} of the Keras model's"
    received = f"largest difference {report.worst_difference:.3g}"
    if report.agreement is not None:
        expected = f"agreement of at least {report.minimum_agreement} and {expected}"
        received = f"agreement {report.agreement:.4f} and {received}"
    return (
        f"Expected from {name} {expected}. Received: {received} on {report.num_texts} texts. The "
        "file was not kept. Leave this recipe out."
    )


def _agreement(reference_logits: np.ndarray, logits: np.ndarray, task: str) -> float | None:
    if task == SINGLE_LABEL:
        return float(np.mean(reference_logits.argmax(axis=1) == logits.argmax(axis=1)))
    if task == MULTI_LABEL:
        return float(np.mean((reference_logits > 0) == (logits > 0)))
    return None


def _largest_difference(reference_logits: np.ndarray, logits: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):  # inf - inf is told by `has_nan`, not by a warning
        difference = np.abs(reference_logits.astype(np.float64) - logits)
    return float(np.max(np.where(np.isfinite(difference), difference, np.inf)))
