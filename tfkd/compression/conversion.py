"""From a model folder to LiteRT files, in a child process.

The converter is C++ that can end a process with a segmentation fault, so it never runs in the
caller's. One file holds one signature for each text length, batch 1, all over the same weights;
static shapes let LiteRT hand whole parts of the graph to its fast kernels.
"""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.compression import quantizer
from tfkd.compression import recipes as catalog
from tfkd.compression.calibration import Calibration
from tfkd.compression.saved_model import Route, write_saved_model
from tfkd.errors import ArtifactError, ConfigError, ConversionError

DEFAULT_LENGTHS = (32, 64, 128)
SHORTEST_LENGTH = 4
# BERT-base takes a quarter of one on a busy machine.
TIMEOUT_SECONDS = 3600.0
_STAGE = "tfkd-stage: "
_EXCEPTION = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Exit)\b")
_CHATTER = re.compile(r"^([IWEF]\d{4} |WARNING:|INFO:|To enable the following|\s|.*Warning:)")


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

    Returns:
        Mapping of recipe names to files.

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
        recipe = catalog.find(name)
        if recipe.trained:
            raise ConfigError(
                f"Expected recipes that need no training. Received: {name}. Train the student for "
                "it with `tfkd quantize` or `tfkd.quantization_aware`."
            )
        quantizer.check_ready(recipe, calibration)
    description = artifacts.read_json(model_folder / "classifier.json")
    if not (model_folder / "model.keras").is_file():
        raise ArtifactError(
            f"Expected model.keras in {model_folder}. It does not exist. Give a folder written by "
            "`tfkd finetune` or `tfkd distill`."
        )
    job: dict[str, Any] = {
        "model_folder": str(model_folder.resolve()),
        "recipes": list(recipes),
        "lengths": signature_lengths(description["sequence_length"], lengths),
        "output_folder": str(output_folder.resolve()),
        "calibration": None,
    }
    with tempfile.TemporaryDirectory() as folder:
        if calibration is not None:
            job["calibration"] = str(Path(folder) / "calibration.npz")
            calibration.save(Path(job["calibration"]))
        command = [sys.executable, "-m", "tfkd.compression.conversion", json.dumps(job)]
        run_child(command, f"LiteRT files of {model_folder}", timeout_seconds)
    return {name: output_folder / f"{name}.tflite" for name in recipes}


def run_child(command: Sequence[str], purpose: str, timeout_seconds: float) -> None:
    """Runs a command that may crash; its output is kept for the error message only.

    Args:
        command: Strings. Program and arguments.
        purpose: String. What was to be made, for the error message.
        timeout_seconds: Float. After this long the child is killed.

    Raises:
        ConversionError: The child failed, was ended by a signal or took too long.
    """
    try:
        # What a child that is ended leaves behind goes with the folder.
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command,
                env={**_environment(), "TMPDIR": folder},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
                stdin=subprocess.DEVNULL,
            )
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode(errors="replace") if error.stdout else ""
        raise ConversionError(
            f"Expected {purpose} within {timeout_seconds:g} s. The converter was stopped"
            f"{_stage(output)}. Convert fewer lengths, or on a faster machine."
        ) from error
    if done.returncode == 0:
        return
    ending = "failed"
    if done.returncode < 0:
        ending = f"crashed with {signal.Signals(-done.returncode).name}"
    raise ConversionError(
        f"Expected {purpose}. The converter {ending}{_stage(done.stdout)}: "
        f"{_reason(done.stderr)}. Leave that recipe or layer out."
    )


def _environment() -> dict[str, str]:
    """The child's variables: this very tfkd, no GPU (it would export cuDNN's LSTM), no chatter."""
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _stage(stdout: str) -> str:
    """What the child was doing last, as an end of a sentence."""
    stages = [line for line in stdout.splitlines() if line.startswith(_STAGE)]
    return f" while {stages[-1].removeprefix(_STAGE)}" if stages else ""


def _reason(stderr: str) -> str:
    """The line of the child's output that says what went wrong."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    told = [line for line in lines if _EXCEPTION.match(line)]
    told = told or [line for line in lines if not _CHATTER.match(line)] or ["it said nothing"]
    # MLIR puts a page of source locations before the sentence that matters.
    reason = re.sub(r"<unknown>:0: error: |loc\(.*\): (error: )?", "", told[-1])
    return reason.removeprefix("tfkd.errors.").strip().rstrip(".")[:300]


def announce_stage(stage: str) -> None:
    """Tells the parent what this child does next, so that a crash can be placed."""
    sys.stdout.write(f"{_STAGE}{stage}\n")
    sys.stdout.flush()


def write_files(
    model_folder: Path,
    recipes: Sequence[str],
    lengths: Sequence[int],
    output_folder: Path,
    calibration: Calibration | None = None,
    announce: Callable[[str], None] = lambda stage: None,
) -> dict[str, Path]:
    """The child's work, and `convert` without its safety: a crash ends the caller's process.

    Args:
        model_folder: Path. Folder that `TextClassifier.save` wrote.
        recipes: Strings. Names of recipes.
        lengths: Integers. Signature lengths, at least one.
        output_folder: Path. Where `<recipe>.tflite` goes, whole or not at all.
        calibration: `Calibration`, for recipes that need it.
        announce: Function. Told what is done next, so that a crash can be placed.

    Returns:
        Mapping of recipe names to files.
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
            recipe = catalog.find(name)
            bias = quantizer.mask_bias(recipe)
            if bias not in traced:
                announce("tracing the model")
                traced[bias] = str(Path(folder) / str(len(traced)))
                routes[bias] = write_saved_model(classifier, lengths, traced[bias], bias)
            announce(f"writing {file.name}")
            content = quantizer.litert_bytes(traced[bias], recipe, lengths, calibration)
            with artifacts.atomic_file(file) as part:
                part.write_bytes(content)
            artifacts.write_json(file.with_suffix(".json"), dataclasses.asdict(routes[bias]))
    return files


def _main(job: dict[str, Any]) -> None:
    calibration = None
    if job["calibration"] is not None:
        calibration = Calibration.load(Path(job["calibration"]))
    write_files(
        Path(job["model_folder"]),
        job["recipes"],
        job["lengths"],
        Path(job["output_folder"]),
        calibration,
        announce_stage,
    )


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
