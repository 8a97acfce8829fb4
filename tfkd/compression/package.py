"""Packages: a student as one thing that takes text, for programs that know nothing of tfkd.

Each format is for another kind of client. A package is written in a child process, asked as
its clients ask it, compared with the Keras student on held-out texts, and kept only if it passes;
`<name>.json` beside it holds the figures.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit, log_softmax, logit

from tfkd.compression import clients, conversion, formats, onnx_file, quantizer, recipes
from tfkd.compression.calibration import Calibration
from tfkd.compression.export import HeldOut, differences_by_length
from tfkd.compression.formats import EDGE, KITS, ONNX, SAVED_MODEL, TEXT_TFLITE
from tfkd.compression.kit_model import KitModel
from tfkd.compression.parity import ParityReport, check_parity, files_of, keep, refusal
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Texts
from tfkd.errors import ConfigError, ConversionError, ModelError
from tfkd.models.bottleneck import find_bottleneck
from tfkd.models.classifier import TextClassifier
from tfkd.parts import part_folder

# Static recipes give scores in steps of 1/256: of smaller ones the logarithm says nothing.
_SMALLEST_SCORE = 1e-3


@dataclasses.dataclass(frozen=True)
class Order:
    """Package to write, and its path.

    Attributes:
        format: Name in `tfkd.compression.formats.FORMATS`.
        path: The file, `.tflite`, or the folder.
        recipe: Name of a recipe. Default: the format's first.
        length: Tokens of a text, padding included, of `KITS` of the longest one. Default: the
            student's own.
        calibration: `Calibration`, for recipes that need it.
    """

    format: str
    path: Path
    recipe: str = ""
    length: int = 0
    calibration: Calibration | None = None


@dataclasses.dataclass(frozen=True)
class Package:
    """A package that passed. `report.recipe` names its recipe; differences are of log-scores."""

    path: Path
    format: str
    length: int
    report: ParityReport

    def to_dict(self) -> dict[str, object]:
        """The figures as JSON values."""
        return {"format": self.format, "length": self.length, **self.report.to_dict()}


def export_package(
    order: Order,
    model_folder: Path,
    classifier: TextClassifier,
    texts: Texts,
    timeout_seconds: float = conversion.TIMEOUT_SECONDS,
) -> Package:
    """Writes a package, compares it with its student and keeps it if it passes.

    Limits are the recipe's. What is compared is the logarithm of the scores (multi_label: their
    log-odds; regression: the score itself), in which quantization shows as it does in logits; of
    folders with a program the logits, those of every length as well. Where the package tokenizes,
    it must give every text the student's own tokens.

    Args:
        order: `Order`.
        model_folder: Path. Folder that `TextClassifier.save` wrote.
        classifier: `TextClassifier` loaded from that folder.
        texts: Strings the model was not trained on. A few hundred.
        timeout_seconds: Float. After this long the conversion is stopped.

    Returns:
        The `Package`, its figures beside it as `<name>.json`.

    Raises:
        ConfigError: The format or recipe is unknown, or the length does not fit the student.
        ModelError: The student has no such package.
        ConversionError: The conversion failed, or the package did not pass; nothing is kept.

    Example:

    ```python
    order = Order("edge", Path("saved_models/demo/student/edge.tflite"))
    package = export_package(order, folder, TextClassifier.load(folder), held_out_texts)
    ```
    """
    if not texts:
        raise ValueError("Expected at least one text to compare on. Received: none")
    order = _completed(order, classifier)
    _check_student(order.format, classifier)
    order.path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that the package moves there in one step.
    with part_folder(order.path) as part:
        made = part / order.path.name
        job = {
            "format": order.format,
            "recipe": order.recipe,
            "length": order.length,
            "model_folder": str(model_folder.resolve()),
            "target": str(made.resolve()),
        }
        purpose = f"{made.name}, format {order.format}, of {model_folder}"
        conversion.run_converter(
            "tfkd.compression.package_writer", job, purpose, timeout_seconds, order.calibration
        )
        package = check_package(dataclasses.replace(order, path=made), classifier, texts)
        calibration = order.calibration.to_dict() if order.calibration else None
        figures = {**package.to_dict(), "calibration": calibration}
        if classifier.label_thresholds:
            figures["thresholds"] = classifier.label_thresholds
        keep(made, order.path, figures, model_folder)
    return dataclasses.replace(package, path=order.path)


def check_package(order: Order, classifier: TextClassifier, texts: Texts) -> Package:
    """Sends a package that is there already through its gate.

    Args:
        order: `Order` it was written by.
        classifier: `TextClassifier` it was made from.
        texts: Strings the model was not trained on.

    Returns:
        The `Package`, if it passes.

    Raises:
        ConversionError: The package does not answer as its recipe asks.

    Example:

    >>> check_package(Order("edge", path), student, held_out_texts).report.agreement
    0.998
    """
    order = _completed(order, classifier)
    tokenizer = classifier.tokenizer.with_length(order.length)
    student = dataclasses.replace(classifier, tokenizer=tokenizer)
    if order.format in KITS:
        report, values = _compared_kit(order, student, texts), "logits"
    else:
        singles = [text for text in texts if isinstance(text, str)]
        report, values = _compared(order, student, singles), "log-scores"
    if not report.passed:
        name = order.path.name
        raise ConversionError(refusal(report, name, "package", values, "Use another recipe."))
    return Package(order.path, order.format, order.length, report)


def _completed(order: Order, classifier: TextClassifier) -> Order:
    """The order with its defaults filled in."""
    form = formats.find(order.format)
    recipe = recipes.find(order.recipe or form.recipes[0])
    if recipe.name not in form.recipes:
        raise ConfigError(
            f"Expected `recipe` of format {form.name} to be one of {', '.join(form.recipes)}. "
            f"Received: recipe={recipe.name!r}. Leave it out for {form.recipes[0]}."
        )
    longest = classifier.tokenizer.sequence_length
    length = order.length or longest
    if form.name == SAVED_MODEL and length != longest:
        raise ConfigError(
            f"Expected `length` of format {form.name} to be the student's own, {longest}: it takes "
            f"texts of any length up to that. Received: length={length}. Leave it out."
        )
    conversion.signature_lengths(longest, (length,))
    quantizer.check_ready(recipe, order.calibration)
    if form.name == ONNX:
        onnx_file.check_installed()
    return dataclasses.replace(order, recipe=recipe.name, length=length)


def _check_student(format_name: str, classifier: TextClassifier) -> None:
    """Refuses what a format cannot hold, before anything slow."""
    if classifier.num_texts != 1 and format_name not in KITS:
        raise ModelError(
            f"Expected a student of single texts for format {format_name}. Received: one of pairs. "
            f"Use --format {', '.join(KITS[:-1])} or {KITS[-1]}."
        )
    if format_name == SAVED_MODEL:
        return
    try:
        is_lowercase = classifier.tokenizer.word_piece.lowercase
    except ModelError as error:
        others = f"{SAVED_MODEL} or tokens" if classifier.num_texts == 1 else "tokens"
        raise ModelError(
            f"Expected a WordPiece tokenizer for format {format_name}, which holds no other. "
            f"Received: a tokenizer that only KerasHub runs. Use --format {others}."
        ) from error
    if format_name == EDGE and classifier.task == REGRESSION:
        raise ModelError(
            f"Expected a classifier for format {EDGE}: its scores belong to labels. Received: a "
            f"student for regression. Use --format {TEXT_TFLITE} or {SAVED_MODEL}."
        )
    if format_name == EDGE and not is_lowercase:
        raise ModelError(
            f"Expected a lower-case vocabulary for format {EDGE}: MediaPipe makes every text lower "
            f"case. Received: a cased one. Use --format {TEXT_TFLITE}."
        )


def _compared(order: Order, student: TextClassifier, texts: Sequence[str]) -> ParityReport:
    """The report of a package, asked as its clients ask it."""
    if order.format == EDGE:
        scores = clients.edge_scores(order.path, student.encode(texts, order.length))
    elif order.format == TEXT_TFLITE:
        scores, token_ids = clients.text_scores(order.path, texts)
        _check_tokens(order, token_ids, student.encode(texts, order.length)["token_ids"])
    else:
        scores = clients.served_scores(order.path, texts)
    expected = _comparable(_scores(student.predict(texts), student.task), student.task)
    return _report(order, student, expected, _comparable(scores, student.task))


def _compared_kit(order: Order, student: TextClassifier, texts: Texts) -> ParityReport:
    """The report of a folder, asked by its program, and the file in it at every length."""
    model = KitModel(order.path)
    token_ids = model.encode(texts, order.length)["token_ids"]
    _check_tokens(order, token_ids, student.encode(texts, order.length)["token_ids"])
    report = _report(order, student, student.predict(texts), model.predict(texts))
    probes = HeldOut(student, texts).probes(conversion.signature_lengths(order.length))
    return dataclasses.replace(report, difference_by_length=differences_by_length(model, probes))


def _report(
    order: Order, classifier: TextClassifier, expected: np.ndarray, received: np.ndarray
) -> ParityReport:
    recipe = recipes.find(order.recipe)
    if find_bottleneck(classifier.model) is not None:
        recipe = recipes.with_nearest_keys(recipe)
    report = check_parity(expected, received, recipe, classifier.task, classifier.thresholds)
    names = files_of(order.path) if order.path.is_dir() else ("",)
    size_bytes = sum((order.path / name).stat().st_size for name in names)
    return dataclasses.replace(report, size_bytes=size_bytes)


def _check_tokens(order: Order, token_ids: np.ndarray, expected: np.ndarray) -> None:
    num_different = int((token_ids != expected).any(axis=1).sum())
    if num_different:
        raise ConversionError(
            f"Expected from {order.path.name} the student's own tokens. Received: other tokens for "
            f"{num_different} of {len(expected)} texts. The package was not kept. Use "
            f"--format {EDGE}."
        )


def _scores(logits: np.ndarray, task: str) -> np.ndarray:
    """Scores of a package, in place of the Keras model's logits."""
    if task == SINGLE_LABEL:
        return np.exp(log_softmax(logits, axis=1))
    return expit(logits) if task == MULTI_LABEL else logits


def _comparable(scores: np.ndarray, task: str) -> np.ndarray:
    """Scores on the scale of logits, where a recipe's limits hold."""
    if task == SINGLE_LABEL:
        return np.log(np.maximum(scores, _SMALLEST_SCORE))
    if task == MULTI_LABEL:
        return logit(np.clip(scores, _SMALLEST_SCORE, 1 - _SMALLEST_SCORE))
    return scores
