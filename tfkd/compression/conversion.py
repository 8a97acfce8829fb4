"""From a model folder to LiteRT files, in a child process.

The converter is C++ that can end a process with a segmentation fault, so it never runs in the
caller's. One file holds one signature for each text length, batch 1, all over the same weights;
static shapes let LiteRT hand whole parts of the graph to its fast kernels.
"""

import dataclasses
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.compression import quantizer
from tfkd.compression.calibration import Calibration
from tfkd.compression.recipes import find as find_recipe
from tfkd.compression.saved_model import Route, write_saved_model
from tfkd.errors import ArtifactError, ConfigError, ConversionError
from tfkd.models.description import Description
from tfkd.parts import temporary_folder
from tfkd.process import announce_stage, run_child

DEFAULT_LENGTHS = (32, 64, 128)
SHORTEST_LENGTH = 4
# BERT-base takes a quarter of one on a busy machine.
TIMEOUT_SECONDS = 3600.0
# No GPU, which would export cuDNN's LSTM, and no chatter.
_VARIABLES = {
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def signature_lengths(sequence_length: int, lengths: Sequence[int] = ()) -> tuple[int, ...]:
    """The lengths a file gets, in rising order.

    Args:
        sequence_length: Integer. The model's longest text in tokens.
        lengths: Integers. What the user asked for. Default: 32, 64 and 128 where they are shorter
            than `sequence_length`, and `sequence_length` itself.

    Raises:
        ConfigError: A length is longer than the model's own, or too short for any text.

    Example:

    >>> signature_lengths(96)
    (32, 64, 96)
    """
    if not lengths:
        shorter = [length for length in DEFAULT_LENGTHS if length < sequence_length]
        return (*shorter, sequence_length)
    for length in lengths:
        if not SHORTEST_LENGTH <= length <= sequence_length:
            raise ConfigError(
                f"Expected `lengths` in [{SHORTEST_LENGTH}, {sequence_length}], the model's own "
                f"sequence length. Received: {length}. Leave it out, or train with a longer "
                "--sequence-length."
            )
    return tuple(sorted(set(lengths)))


def fitting_lengths(lengths: np.ndarray, most: int, multiple: int = 8) -> tuple[int, ...]:
    """Signature lengths that leave little padding: quantiles of the rows' own.

    Args:
        lengths: Integers. Tokens of each row.
        most: Integer. Largest number of signatures.
        multiple: Integer. They are multiples of it, but for the longest row's.

    Example:

    >>> fitting_lengths(np.arange(1, 101), 4)
    (32, 56, 80, 100)
    """
    quantiles = np.quantile(lengths, np.linspace(0, 1, most + 1)[1:], method="higher")
    rounded = np.minimum(-(-quantiles // multiple) * multiple, lengths.max())
    return tuple(int(length) for length in np.unique(np.maximum(rounded, SHORTEST_LENGTH)))


def convert(
    model_folder: Path,
    recipes: Sequence[str],
    lengths: Sequence[int],
    output_folder: Path,
    timeout_seconds: float = TIMEOUT_SECONDS,
    calibration: Calibration | None = None,
) -> dict[str, Path]:
    """Writes one LiteRT file for each recipe. The files are not checked: see `parity.export`.

    The `.json` beside a file holds its `Route`: name and reason.

    A signature `tokens_<length>` takes the model's own inputs as int32 `[1, length]` and gives
    `logits`, float32 `[1, num_outputs]`.

    Args:
        model_folder: Path. Folder that `TextClassifier.save` wrote.
        recipes: Strings. Names of recipes.
        lengths: Integers. Signature lengths; empty for the defaults of `signature_lengths`.
        output_folder: Path. Where `<recipe>.tflite` goes, whole or not at all.
        timeout_seconds: Float. After this long the child is killed.
        calibration: `Calibration`, for recipes that need it.

    Raises:
        ArtifactError: The folder holds no model.
        ConfigError: A recipe is unknown or a length does not fit the model.
        ConversionError: The converter failed, crashed or took too long, or a recipe's extra
            package is not installed.
        ValueError: A recipe needs calibration data and there is none.

    Example:

    ```python
    convert(Path("saved_models/demo/student"), ["float32"], (), Path("files"))
    ```
    """
    for name in recipes:
        recipe = find_recipe(name)
        if recipe.trained:
            raise ConfigError(
                f"Expected recipes that need no training. Received: {name}. Train the student for "
                "it with `tfkd quantize` or `tfkd.quantization_aware`."
            )
        quantizer.check_ready(recipe, calibration)
    description = Description.read(model_folder)
    if not (model_folder / "model.keras").is_file():
        raise ArtifactError(
            f"Expected model.keras in {model_folder}. It does not exist. Give a folder written by "
            "`tfkd finetune` or `tfkd distill`."
        )
    job = {
        "model_folder": str(model_folder.resolve()),
        "recipes": list(recipes),
        "lengths": signature_lengths(description.sequence_length, lengths),
        "output_folder": str(output_folder.resolve()),
    }
    purpose = f"LiteRT files of {model_folder}"
    run_converter("tfkd.compression.conversion", job, purpose, timeout_seconds, calibration)
    return {name: output_folder / f"{name}.tflite" for name in recipes}


def run_converter(
    module: str,
    job: Mapping[str, Any],
    purpose: str,
    timeout_seconds: float,
    calibration: Calibration | None = None,
) -> None:
    """Runs a module that converts, and may crash, in a child process.

    Args:
        module: String. Its main reads the job from standard input.
        job: Mapping of JSON values.
        purpose: String. What was to be made, for the error message.
        timeout_seconds: Float. After this long the child is killed.
        calibration: `Calibration`. Goes into a file, whose path the job gets as `calibration`.

    Raises:
        ConversionError: The child failed, was ended by a signal or took too long.
    """
    with temporary_folder() as folder:
        path = folder / "calibration.npz"
        if calibration is not None:
            calibration.save(path)
        job = {**job, "calibration": None if calibration is None else str(path)}
        ending = run_child(module, job, timeout_seconds, _VARIABLES)
    stage = f" while {ending.stage}" if ending.stage else ""
    if ending.is_late:
        raise ConversionError(
            f"Expected {purpose} within {timeout_seconds:g} s. The converter was stopped{stage}. "
            "Convert fewer lengths, or on a faster machine."
        )
    if ending.code != 0:
        how = f"crashed with {ending.signal_name}" if ending.signal_name else "failed"
        # MLIR puts a page of source locations before the sentence that matters.
        reason = re.sub(r"<unknown>:0: error: |loc\(.*\): (error: )?", "", ending.reason)
        reason = reason.strip().rstrip(".")[:300] or "it said nothing"
        raise ConversionError(
            f"Expected {purpose}. The converter {how}{stage}: {reason}. "
            "Leave that recipe or layer out."
        )


def write_files(
    model_folder: Path,
    recipes: Sequence[str],
    lengths: Sequence[int],
    output_folder: Path,
    calibration: Calibration | None = None,
    announce: Callable[[str], None] = lambda stage: None,
) -> dict[str, Path]:
    """The child's work, and `convert` without its safety: a crash ends the caller's process.

    `announce` is told what is done next, so that a crash can be placed.
    """
    # Imported here because the parent, which only starts the child, needs none of it; `pooling`
    # registers the project's own layers, without which no model file can be read.
    from tfkd.models import pooling  # noqa: F401
    from tfkd.models.classifier import TextClassifier

    announce("loading the model")
    classifier = TextClassifier.load(model_folder)
    if calibration is not None:
        calibration = calibration.of_inputs(classifier.input_names)
    files = {name: output_folder / f"{name}.tflite" for name in recipes}
    with tempfile.TemporaryDirectory() as folder:
        traced: dict[float, str] = {}
        routes: dict[float, Route] = {}
        for name, file in files.items():
            recipe = find_recipe(name)
            bias = quantizer.mask_bias(recipe)
            if bias not in traced:
                announce("tracing the model")
                traced[bias] = str(Path(folder) / str(len(traced)))
                routes[bias] = write_saved_model(classifier, lengths, traced[bias], bias)
            announce(f"writing {file.name}")
            content = quantizer.litert_bytes(traced[bias], recipe, lengths, calibration)
            with artifacts.atomic_file(file) as part:
                part.write_bytes(content)
            record = file.with_suffix(".json")
            artifacts.write_record(record, dataclasses.asdict(routes[bias]), [file.name])
    return files


def _main(job: dict[str, Any]) -> None:
    calibration = Calibration.load(Path(job["calibration"])) if job["calibration"] else None
    folders = Path(job["model_folder"]), Path(job["output_folder"])
    write_files(folders[0], job["recipes"], job["lengths"], folders[1], calibration, announce_stage)


if __name__ == "__main__":
    _main(json.load(sys.stdin))
