"""The gate every LiteRT file passes before anyone may take it for the student.

A converter can succeed and still write a file that answers wrongly or with NaN. So each file is
run on held-out texts against the Keras model, its figures are stored beside it, and a file that
fails is deleted: what lies in a model folder has been compared.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from tfkd import artifacts, seals
from tfkd.compression import operators
from tfkd.compression.calibration import Calibration
from tfkd.compression.conversion import convert
from tfkd.compression.kit_model import KitModel
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.parity import ParityReport, check_parity, keep, largest_difference, refusal
from tfkd.compression.recipes import Recipe, with_nearest_keys
from tfkd.compression.recipes import find as find_recipe
from tfkd.data.examples import DEFAULT_THRESHOLD, SINGLE_LABEL, Texts
from tfkd.errors import ArtifactError, ConversionError
from tfkd.models.description import Description
from tfkd.parts import part_folder

NUM_ROWS_PER_LENGTH = 32
NUM_FULL_ROWS = 8
SCORING_BATCH_SIZE = 64


class Reference(Protocol):
    """The part of the Keras classifier that the gate asks."""

    def encode(self, texts: Texts, length: int | None = None) -> dict[str, np.ndarray]:
        """Int32 arrays of shape `[n, length]` by input name."""
        ...

    def predict_encoded(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Float32 logits of shape `[n, num_outputs]`."""
        ...


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A LiteRT file that passed, and its figures."""

    path: Path
    report: ParityReport
    operators: operators.OperatorReport


@dataclasses.dataclass(frozen=True)
class Probe:
    """Encoded rows and what the Keras model says to them; `length` None: the file chooses."""

    length: int | None
    arrays: Mapping[str, np.ndarray]
    logits: np.ndarray


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Texts that files are compared on, with the answers of the Keras model, which is asked once.

    Attributes:
        reference: `TextClassifier`, as it was saved.
        texts: Strings or pairs of strings the model was not trained on. A few hundred: with n texts
            the agreement is known to 1 / n.

    Raises:
        ValueError: There is no text.
    """

    reference: Reference
    texts: Texts
    _probes: dict[tuple[int, ...], list[Probe]] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not self.texts:
            raise ValueError("Expected at least one text to compare on. Received: none")

    def probes(self, lengths: Sequence[int]) -> list[Probe]:
        """All texts as a user would ask them, then rows made for each signature length."""
        if tuple(lengths) not in self._probes:
            self._probes[tuple(lengths)] = _probes(self.reference, self.texts, lengths)
        return self._probes[tuple(lengths)]


def export(
    model_folder: Path,
    held_out: HeldOut,
    recipes: Sequence[str],
    lengths: Sequence[int] = (),
    output_folder: Path | None = None,
    calibration: Calibration | None = None,
) -> dict[str, ExportedFile]:
    """Converts a model, compares every file with it and keeps the files that pass.

    `<recipe>.json` beside `<recipe>.tflite` holds the report, the operators, how it was calibrated,
    the route of the graph (lean, or plain and why), the file's SHA-256, the model's and the
    versions. Every signature is run by itself on padded and on full rows as well.

    Args:
        model_folder: Path. Folder that `TextClassifier.save` wrote.
        held_out: `HeldOut` of the `TextClassifier` loaded from that folder.
        recipes: Strings. Names of recipes.
        lengths: Integers. Signature lengths; empty for the defaults of `signature_lengths`.
        output_folder: Path. Folder for the files. Default: `model_folder`.
        calibration: `Calibration`, for recipes that need it.

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
    files = export(folder, HeldOut(student, held_out_texts), ["dynamic_int8"])
    files["dynamic_int8"].report.agreement  # 0.998
    ```
    """
    output_folder = output_folder or model_folder
    output_folder.mkdir(parents=True, exist_ok=True)
    description = Description.read(model_folder)
    decided = description.task, description.thresholds
    exported, failures = {}, []
    # Inside the output folder, so that a file moves there in one step.
    with part_folder(output_folder / "files") as part:
        files = convert(model_folder, recipes, lengths, part, calibration=calibration)
        for name, file in files.items():
            model, found = LiteRTModel(file), operators.describe(file)
            recipe = _limits(name, found)
            report = _compared(model, held_out.probes(model.lengths), recipe, *decided)
            if report.passed:
                used = calibration if recipe.needs_calibration else None
                figures = {
                    **report.to_dict(),
                    "operators": found.to_dict(),
                    "calibration": used.to_dict() if used else None,
                    "route": artifacts.read_record(file.with_suffix(".json")),
                }
                keep(file, output_folder / file.name, figures, model_folder)
                exported[name] = ExportedFile(output_folder / file.name, report, found)
            else:
                failures.append(refusal(report, file.name))
    if failures:
        raise ConversionError(" ".join(failures))
    return exported


def check_file(
    path: Path,
    recipe: str,
    held_out: HeldOut,
    task: str = SINGLE_LABEL,
    thresholds: ArrayLike = DEFAULT_THRESHOLD,
) -> ParityReport:
    """Sends a file that is there already through the gate again.

    Args:
        path: Path. A `.tflite` file of `export`.
        recipe: String. Name of the recipe it was made by.
        held_out: `HeldOut` of the `TextClassifier` it was made from.
        task: String. One of `tfkd.data.examples.TASKS`.
        thresholds: See `check_parity`.

    Returns:
        The `ParityReport` of a file that passes.

    Raises:
        ArtifactError: The file is missing or cannot be read.
        ConversionError: The file does not answer as its recipe asks.

    Example:

    ```python
    check_file(folder / "dynamic_int8.tflite", "dynamic_int8", HeldOut(student, texts))
    ```
    """
    model = LiteRTModel(path)
    limits = _limits(recipe, operators.describe(path))
    report = _compared(model, held_out.probes(model.lengths), limits, task, thresholds)
    if not report.passed:
        raise ConversionError(refusal(report, path.name))
    return report


def is_kept(folder: Path, recipe: str, tell: Callable[[str], object] = lambda damage: None) -> bool:
    """Whether a folder holds a file of a recipe as it passed, made from the model beside it.

    Args:
        folder: Path. Model folder.
        recipe: String. Name of the recipe.
        tell: Function. Told of a file that is damaged, which is none.
    """
    path, model = folder / f"{recipe}.tflite", folder / "model.keras"
    if not (path.is_file() and path.with_suffix(".json").is_file() and model.is_file()):
        return False
    try:
        record = seals.read_record(path.with_suffix(".json"), seals.ANEW)
        seals.check_files(path.with_suffix(".json"), remedy=seals.ANEW)
    except ArtifactError as damage:
        tell(str(damage))
        return False
    return bool(
        record.get("passed")
        and record.get("sha256") == artifacts.file_sha256(path)
        and record.get("model_sha256") == artifacts.file_sha256(model)
    )


def _limits(name: str, found: operators.OperatorReport) -> Recipe:
    """The recipe, with wider limits for a file that looks for nearest keys."""
    recipe = find_recipe(name)
    looks = any(group.name == "ARG_MIN" for group in found.groups)
    return with_nearest_keys(recipe) if looks else recipe


def _probes(reference: Reference, texts: Texts, lengths: Sequence[int]) -> list[Probe]:
    """All texts as a user would ask them, then rows made for each signature."""
    arrays = reference.encode(texts, lengths[-1])
    probes = [Probe(None, arrays, _logits(reference, arrays))]
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
        probes.append(Probe(length, rows, _logits(reference, rows)))
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
    model: LiteRTModel,
    probes: Sequence[Probe],
    recipe: Recipe,
    task: str,
    thresholds: ArrayLike,
) -> ParityReport:
    """The report of one file: agreement over all texts, differences of each signature."""
    logits = model.predict_encoded(probes[0].arrays)
    report = check_parity(probes[0].logits, logits, recipe, task, thresholds)
    return dataclasses.replace(
        report,
        size_bytes=model.size_bytes,
        difference_by_length=differences_by_length(model, probes),
    )


def differences_by_length(
    model: LiteRTModel | KitModel, probes: Sequence[Probe]
) -> dict[int, float]:
    """Largest difference of a model from the Keras model on the rows of each length."""
    return {
        probe.length: largest_difference(
            probe.logits, model.predict_encoded(probe.arrays, probe.length)
        )
        for probe in probes
        if probe.length is not None
    }
