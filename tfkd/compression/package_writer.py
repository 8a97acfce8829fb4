"""The child process that writes a package: converters can end the process they run in.

Started by `tfkd.compression.package` with one JSON object as its job.
"""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

from tfkd.compression import conversion, onnx_file, quantizer, recipes, text_models
from tfkd.compression.calibration import Calibration
from tfkd.compression.formats import EDGE, KITS, ONNX, PYTHON, SAVED_MODEL, WEB
from tfkd.compression.metadata import with_metadata
from tfkd.compression.saved_model import write_saved_model
from tfkd.models import code_points, wordpiece
from tfkd.models.classifier import TextClassifier

# The tokenizer in Python is tfkd's own module; that in JavaScript reads the same characters.
_KITS = Path(__file__).parent / "kits"
_IN_PYTHON = (_KITS / "text_classifier.py", Path(wordpiece.__file__), Path(code_points.__file__))
_PROGRAMS = {
    PYTHON: _IN_PYTHON,
    ONNX: _IN_PYTHON,
    WEB: tuple(sorted((_KITS / "web").iterdir())),
}
_REQUIREMENTS = {
    PYTHON: "ai-edge-litert>=2.3\nnumpy>=2.0\n",
    ONNX: "numpy>=2.0\nonnxruntime>=1.20\n",
}


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
        if job["format"] == ONNX:
            content = onnx_file.onnx_bytes(classifier, recipes.find(job["recipe"]), job["length"])
        else:
            recipe, lengths = job["recipe"], conversion.signature_lengths(job["length"])
            with tempfile.TemporaryDirectory() as folder:
                conversion.write_files(
                    Path(job["model_folder"]), [recipe], lengths, Path(folder), _calibration(job)
                )
                content = (Path(folder) / f"{recipe}.tflite").read_bytes()
        write_kit(job["format"], classifier, job["length"], content, target)
        return
    write_bytes = _edge_bytes if job["format"] == EDGE else _text_bytes
    target.write_bytes(write_bytes(job, classifier))


def write_kit(
    format_name: str, classifier: TextClassifier, length: int, model: bytes, folder: Path
) -> None:
    """Writes a folder that answers texts.

    Args:
        format_name: String. One of `tfkd.compression.formats.KITS`.
        classifier: `TextClassifier` with a WordPiece vocabulary.
        length: Integer. Tokens of the longest text.
        model: Bytes of the file made from it: ONNX, or LiteRT with the signatures
            `tokens_<length>`.
        folder: Path. Is made.
    """
    tokenizer = classifier.tokenizer.word_piece
    settings = {
        "task": classifier.task,
        "label_names": classifier.label_names,
        "thresholds": classifier.label_thresholds,
        "num_texts": classifier.num_texts,
        "sequence_length": length,
        "lowercase": tokenizer.lowercase,
    }
    contents = {
        "model.onnx" if format_name == ONNX else "model.tflite": model,
        "vocabulary.txt": "\n".join(tokenizer.vocabulary).encode(),
        "settings.json": json.dumps(settings, ensure_ascii=False, indent=2).encode(),
        code_points.PATH.name: code_points.PATH.read_bytes(),
    }
    for source in _PROGRAMS[format_name]:
        # As it is, its imports from the same folder.
        text, old = source.read_text(encoding="utf-8"), r"^from tfkd\.(?:\w+\.)*(\w+) import"
        contents[source.name] = re.sub(old, r"from \1 import", text, flags=re.M).encode()
    if format_name in _REQUIREMENTS:
        contents["requirements.txt"] = _REQUIREMENTS[format_name].encode()
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)


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
