"""The model that answers texts, whatever names it: a run, a model folder, a file or the model."""

import dataclasses
from collections.abc import Callable, Sequence
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
# Between two signs of progress.
ASKED_ROWS = 512
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

    def logits(
        self, rows: Sequence[tuple[str, ...]], done: Callable[[int], object] = lambda count: None
    ) -> np.ndarray:
        """Logits in the order of the rows, which are asked by length: so little is padding.

        Args:
            rows: Checked texts, each in a tuple, or pairs.
            done: Told how many more were answered.
        """
        order = np.argsort([sum(map(len, row)) for row in rows], kind="stable")
        logits = np.zeros((len(rows), len(self.model.label_names)), np.float32)
        for start in range(0, len(rows), ASKED_ROWS):
            asked = order[start : start + ASKED_ROWS]
            texts: Any = [rows[row] if len(rows[row]) > 1 else rows[row][0] for row in asked]
            logits[asked] = self.predict(texts)
            done(len(asked))
        return logits


def quick_recipe(folder: Path) -> str:
    """What of a model folder answers many texts soonest: a LiteRT file, or else `KERAS`."""
    there = [name for name in QUICK_RECIPES if (folder / f"{name}.tflite").is_file()]
    return (*there, KERAS)[0]


def of_folder(folder: Path, recipe: str) -> Answering:
    """The Keras model of a folder, or one of its LiteRT files, which loads no TensorFlow.

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
    # Beside a file that was moved, another program may have put one of that name.
    found = artifacts.read_json(record) if record.is_file() else None
    agreement = found.get("agreement") if isinstance(found, dict) else None
    is_known = isinstance(agreement, float)
    note = f" (agreement with the Keras model {agreement:.4f})" if is_known else ""
    return Answering(path.name, Description.read(path.parent), scorer.predict, note)


def _keras_model(folder: Path) -> "TextClassifier":
    """The Keras model of a folder; TensorFlow is loaded now."""
    settle_keras()
    import_tensorflow()
    from tfkd.models.classifier import TextClassifier

    return TextClassifier.load(folder)
