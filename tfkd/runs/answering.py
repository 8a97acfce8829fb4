"""The model that answers texts, whatever names it: a run, a model folder, a file or the model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression.file_scorer import FileScorer
from tfkd.compression.litert import LiteRTModel
from tfkd.data.examples import Texts
from tfkd.errors import ArtifactError
from tfkd.keras_environment import settle_keras
from tfkd.models.description import DESCRIPTION_FILE, Description
from tfkd.models.predictions import Described
from tfkd.process import num_cores
from tfkd.quiet import import_tensorflow

if TYPE_CHECKING:
    from tfkd.models.classifier import TextClassifier

KERAS = "keras"
# Files that answer many texts, the first that is there: each has passed its parity gate.
QUICK_RECIPES = ("dynamic_int8", "float32")


class HasRun(Protocol):
    """Result of a verb that made a run."""

    @property
    def path(self) -> Path:
        """The run's folder."""


# What a user names in Python.
Asked: TypeAlias = str | Path | LiteRTModel | Described | HasRun


@dataclasses.dataclass(frozen=True)
class Answering:
    """A model that is ready to answer.

    Attributes:
        name: What answers: a file's name, or the Keras model.
        model: Its task, label names and thresholds.
        predict: From checked texts or pairs to logits, float32 `[n, num_outputs]`.
        note: How far its answers are those of the Keras model; empty where it is not known.
    """

    name: str
    model: Described
    predict: Callable[[Texts], np.ndarray]
    note: str = ""

    def logits(self, texts: Texts) -> np.ndarray:
        """Logits in the order of the texts, which are asked by length: so little is padding."""
        lengths = [len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts]
        order = np.argsort(lengths, kind="stable")
        found = self.predict([texts[row] for row in order.tolist()])
        logits = np.empty_like(found)
        logits[order] = found
        return logits


def quick_recipe(folder: Path) -> str:
    """What of a model folder answers many texts soonest: a LiteRT file, or else `KERAS`."""
    there = [name for name in QUICK_RECIPES if (folder / f"{name}.tflite").is_file()]
    return (*there, KERAS)[0]


def of_folder(folder: Path, recipe: str) -> Answering:
    """The Keras model of a folder, or one of its LiteRT files, which loads no TensorFlow.

    Args:
        folder: Path of a run's model.
        recipe: String. `KERAS`, or the name of a recipe.

    Raises:
        ArtifactError: There is no file of the recipe, or one was changed.
    """
    path = folder / f"{recipe}.tflite"
    if recipe == KERAS:
        classifier = _keras_model(folder)
        return Answering("the Keras model", classifier, classifier.predict)
    if not path.is_file():
        raise ArtifactError(
            f"Expected the file {path}. It does not exist. Make it with "
            f"`tfkd export {folder.parent} --recipe {recipe}`."
        )
    return _of_file(path)


def of_any(source: Asked, recipe: str | None = None) -> Answering:
    """What a user names in Python.

    Args:
        source: Path or string of a run, of a model folder in one or of a `.tflite` file in that; a
            `TextClassifier` or `LiteRTModel`; or a verb's result that has the `path` of a run.
        recipe: String. Of a folder: `KERAS`, or the name of a recipe. Default: what is quick.

    Raises:
        ArtifactError: The path is none of them.
        TypeError: It is something else.
    """
    if isinstance(source, LiteRTModel):
        return Answering(source.path.name, Description.read(source.path.parent), source.predict)
    if all(hasattr(source, name) for name in ("predict", "label_names", "thresholds")):
        classifier: Any = source
        return Answering("the Keras model", classifier, classifier.predict)
    path = getattr(source, "path", source)
    if not isinstance(path, str | Path):
        raise TypeError(
            "Expected a run, a model folder, a .tflite file or a model of tfkd. Received: "
            f"{source!r:.100}"
        )
    path = Path(path)
    if path.suffix == ".tflite":
        return _of_file(path)
    if not (path / DESCRIPTION_FILE).is_file():
        run = RunFolder(path)
        run.read_config()
        path = run.model
    return of_folder(path, recipe or quick_recipe(path))


def _of_file(path: Path) -> Answering:
    scorer = FileScorer(path, num_cores())
    record = path.with_suffix(".json")
    agreement = artifacts.read_json(record).get("agreement") if record.is_file() else None
    note = "" if agreement is None else f" (agreement with the Keras model {agreement:.4f})"
    return Answering(path.name, Description.read(path.parent), scorer.predict, note)


def _keras_model(folder: Path) -> "TextClassifier":
    """The Keras model of a folder; TensorFlow is loaded now."""
    settle_keras()
    import_tensorflow()
    from tfkd.models.classifier import TextClassifier

    return TextClassifier.load(folder)
