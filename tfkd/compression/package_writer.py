"""The child process that writes a package: converters can end the process they run in.

Started by `tfkd.compression.package` with one JSON object as its job.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

from tfkd.compression import conversion, onnx_file, quantizer, recipes, text_models
from tfkd.compression.calibration import Calibration
from tfkd.compression.formats import EDGE, KITS, ONNX, SAVED_MODEL
from tfkd.compression.kits.folder import write_kit
from tfkd.compression.metadata import with_metadata
from tfkd.compression.saved_model import write_saved_model
from tfkd.models.classifier import TextClassifier


class Job(TypedDict):
    """Orders for the child process.

    Attributes:
        format: Name of a format.
        recipe: Name of a recipe.
        length: Tokens of a text.
        model_folder: Path of the student.
        target: Path of the package.
        calibration: Path of what `Calibration.save` wrote, or None.
    """

    format: str
    recipe: str
    length: int
    model_folder: str
    target: str
    calibration: str | None


def write(job: Job) -> None:
    """Writes one package, unchecked.

    Args:
        job: `Job`.
    """
    classifier = TextClassifier.load(job["model_folder"])
    target = Path(job["target"])
    if job["format"] == SAVED_MODEL:
        text_models.write_text_saved_model(classifier, target)
        return
    if job["format"] in KITS:
        _write_folder(job, classifier, target)
        return
    write_bytes = _edge_bytes if job["format"] == EDGE else _text_bytes
    target.write_bytes(write_bytes(job, classifier))


def _write_folder(job: Job, classifier: TextClassifier, target: Path) -> None:
    write_bytes = _onnx_bytes if job["format"] == ONNX else _litert_bytes
    write_kit(job["format"], classifier, job["length"], write_bytes(job, classifier), target)


def _onnx_bytes(job: Job, classifier: TextClassifier) -> bytes:
    return onnx_file.onnx_bytes(classifier, recipes.find(job["recipe"]), job["length"])


def _litert_bytes(job: Job, classifier: TextClassifier) -> bytes:
    recipe, lengths = job["recipe"], conversion.signature_lengths(job["length"])
    with tempfile.TemporaryDirectory() as folder:
        conversion.write_files(
            Path(job["model_folder"]), [recipe], lengths, Path(folder), _calibration(job)
        )
        return (Path(folder) / f"{recipe}.tflite").read_bytes()


def _calibration(job: Job) -> Calibration | None:
    return None if job["calibration"] is None else Calibration.load(Path(job["calibration"]))


def _edge_bytes(job: Job, classifier: TextClassifier) -> bytes:
    recipe, lengths = recipes.find(job["recipe"]), [job["length"]]
    calibration = _calibration(job)
    if calibration is not None:
        calibration = calibration.of_inputs(classifier.input_names)
    with tempfile.TemporaryDirectory() as folder:
        bias = quantizer.mask_bias(recipe)
        write_saved_model(classifier, lengths, folder, bias, output="scores")
        content = quantizer.litert_bytes(folder, recipe, lengths, calibration)
    return with_metadata(
        content,
        classifier.label_names,
        classifier.tokenizer.vocabulary,
        classifier.label_thresholds,
    )


def _text_bytes(job: Job, classifier: TextClassifier) -> bytes:
    recipe = recipes.find(job["recipe"])
    with tempfile.TemporaryDirectory() as folder:
        text_models.write_single_text_model(classifier, job["length"], folder)
        return quantizer.litert_bytes(folder, recipe, (), takes_text=True)


if __name__ == "__main__":
    write(json.load(sys.stdin))
