"""From a student trained under quantization to a LiteRT file that has proved what it is.

A child process rebuilds the student's twin in the form for the converter, one signature for each
length. The file is kept if it answers as the trained model does and if its operators show that
every product and every table lookup is one of integers.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
import tensorflow as tf

from tfkd import artifacts
from tfkd.compression import conversion, export, operators, quantizer, recipes
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.parity import ParityReport, check_parity, keep
from tfkd.compression.qat import mirror
from tfkd.compression.qat.legacy import tf_keras
from tfkd.compression.qat.scheme import Scheme
from tfkd.compression.saved_model import SIGNATURE_PREFIX
from tfkd.data.examples import Texts
from tfkd.errors import ConversionError
from tfkd.models.classifier import TextClassifier
from tfkd.parts import part_folder
from tfkd.process import announce_stage


class Job(TypedDict):
    """Orders for the child process.

    Attributes:
        model_folder: Path of the float student.
        variables: Path of what `save_variables` wrote.
        scheme: The fields of `Scheme`.
        recipe: Name of the recipe.
        lengths: Signature lengths.
        target: Path of the file.
    """

    model_folder: str
    variables: str
    scheme: dict[str, Any]
    recipe: str
    lengths: Sequence[int]
    target: str


class Trained(export.Reference, Protocol):
    """A student after training under quantization."""

    classifier: TextClassifier
    scheme: Scheme

    @property
    def student(self) -> tf_keras.Model:
        """The twin that was trained, with its quantizers."""


@dataclasses.dataclass(frozen=True)
class AwareFile(export.ExportedFile):
    """A LiteRT file that passed, with what it showed.

    Attributes:
        proof: `IntegerProof` of the file.
        float_report: The file beside the float student; it moves with training and has no limit.
    """

    proof: operators.IntegerProof
    float_report: ParityReport


def export_aware(
    model_folder: Path,
    aware: Trained,
    recipe: str,
    texts: Texts,
    lengths: Sequence[int] = (),
    output_folder: Path | None = None,
    timeout_seconds: float = conversion.TIMEOUT_SECONDS,
) -> AwareFile:
    """Converts a trained twin, compares the file with it and keeps the file if it passes.

    `<recipe>.json` beside `<recipe>.tflite` holds what `tfkd.compression.export.export` writes, and
    the proof and the comparison with the float student as well.

    Args:
        model_folder: Path. Folder of the float student that was trained on.
        aware: `QuantizationAware` of that student.
        recipe: String. Name of the recipe it was trained for.
        texts: Strings or pairs of strings it was not trained on. A few hundred.
        lengths: Integers. Signature lengths; empty for the defaults of
            `tfkd.compression.conversion.signature_lengths`.
        output_folder: Path. Folder for the file. Default: `model_folder`.
        timeout_seconds: Float. After this long the conversion is stopped.

    Raises:
        ConfigError: The recipe is unknown or a length does not fit the student.
        ConversionError: The conversion failed, crashed or took too long; the file does not answer
            as the trained model does; or something in it is not integer. Nothing is kept.

    Example:

    ```python
    file = export_aware(folder, aware, "qat_int8", held_out_texts)
    file.proof.products, file.report.agreement  # 28, 0.998
    ```
    """
    if not texts:
        raise ValueError("Expected at least one text to compare on. Received: none")
    quantizer.check_ready(recipes.find(recipe), None)
    lengths = conversion.signature_lengths(aware.classifier.tokenizer.sequence_length, lengths)
    output_folder = output_folder or model_folder
    output_folder.mkdir(parents=True, exist_ok=True)
    # Inside the output folder, so that the file moves there in one step.
    with part_folder(output_folder / "files") as part:
        made = part / f"{recipe}.tflite"
        variables = part / "variables.npz"
        save_variables(variables, aware.student)
        job: Job = {
            "model_folder": str(model_folder.resolve()),
            "variables": str(variables.resolve()),
            "scheme": dataclasses.asdict(aware.scheme),
            "recipe": recipe,
            "lengths": lengths,
            "target": str(made.resolve()),
        }
        purpose = f"{made.name} of {model_folder}"
        conversion.run_converter("tfkd.compression.qat.export", job, purpose, timeout_seconds)
        file = _checked(made, aware, recipe, texts)
        figures = {
            **file.report.to_dict(),
            "operators": file.operators.to_dict(),
            "integer_proof": file.proof.to_dict(),
            "float_agreement": file.float_report.agreement,
            "float_logit_difference": file.float_report.largest_logit_difference,
            "scheme": dataclasses.asdict(aware.scheme),
        }
        keep(made, output_folder / made.name, figures, model_folder)
    return dataclasses.replace(file, path=output_folder / made.name)


def _checked(path: Path, aware: Trained, recipe: str, texts: Texts) -> AwareFile:
    """The file with its figures, if it is what its recipe says."""
    kind, classifier = recipes.find(recipe), aware.classifier
    proof = operators.integer_proof(path, kind.tables)
    if proof.exceptions:
        raise ConversionError(
            f"Expected from {path.name} integer products and {kind.tables} table lookups alone. "
            f"Received: {', '.join(proof.exceptions)}. The file was not kept. Quantize this "
            "student after training: --recipe dynamic_int8."
        )
    decided = classifier.task, classifier.thresholds
    report = export.check_file(path, recipe, export.HeldOut(aware, texts), *decided)
    model = LiteRTModel(path, classifier.tokenizer)
    tokenizer = classifier.tokenizer.with_length(model.lengths[-1])
    student = dataclasses.replace(classifier, tokenizer=tokenizer)
    beside_float = check_parity(student.predict(texts), model.predict(texts), kind, *decided)
    return AwareFile(path, report, operators.describe(path), proof, beside_float)


def save_variables(path: Path, twin: tf_keras.Model) -> None:
    """Stores the variables of a twin by the names of `mirror.variables`, whole or not at all."""
    arrays = {name: variable.numpy() for name, variable in mirror.variables(twin).items()}
    with artifacts.atomic_file(path) as part:
        np.savez(part, **arrays)


def write_file(job: Job) -> None:
    """The child's work: writes one file, unchecked."""
    announce_stage("loading the model")
    classifier = TextClassifier.load(Path(job["model_folder"]))
    twin = mirror.build(classifier, Scheme(**job["scheme"]), baked=True)
    with np.load(job["variables"]) as arrays:
        mirror.load(twin, arrays)
    announce_stage("tracing the model")
    endpoints = _Endpoints(twin, classifier.input_names)
    signatures = {f"{SIGNATURE_PREFIX}{length}": endpoints.of(length) for length in job["lengths"]}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(endpoints, folder, signatures)
        announce_stage(f"writing {Path(job['target']).name}")
        content = quantizer.litert_bytes(folder, recipes.find(job["recipe"]), job["lengths"])
    with artifacts.atomic_file(Path(job["target"])) as part:
        part.write_bytes(content)


class _Endpoints(tf.Module):
    """A twin as functions of one text of a fixed length.

    It holds the variables alone: with the model itself, every layer would be traced and stored.
    """

    def __init__(self, twin: tf_keras.Model, input_names: Sequence[str]) -> None:
        super().__init__()
        self._stored = list(twin.variables)
        self._call = tf.autograph.experimental.do_not_convert(
            lambda inputs: {"logits": twin(inputs, training=False)}
        )
        self._input_names = tuple(input_names)

    def of(self, length: int) -> tf.types.experimental.PolymorphicFunction:
        """The function of texts of one length, padding included."""
        specs = {
            name: tf.TensorSpec([1, length], tf.int32, name=name) for name in self._input_names
        }
        return tf.function(self._call, input_signature=[specs])


if __name__ == "__main__":
    write_file(json.load(sys.stdin))
