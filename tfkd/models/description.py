"""What a model folder says of itself: classifier.json, which needs no TensorFlow to be read.

It is written last, holds the hashes of the other files of the folder, and so marks it whole.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from tfkd import seals
from tfkd.data.examples import DEFAULT_THRESHOLD, EMBEDDING, TASKS
from tfkd.data.label_values import check_names
from tfkd.errors import ArtifactError, shown
from tfkd.seals import REMEDY

DESCRIPTION_FILE = "classifier.json"
WEIGHTS_FILE = "model.keras"
FORMAT_VERSION = 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


# What each value must be, in words and as a test.
_EXPECTED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "task": (", ".join((*TASKS, EMBEDDING)), lambda value: value in (*TASKS, EMBEDDING)),
    "label_names": (
        "a list of names",
        lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    ),
    "num_texts": ("1 or 2", lambda value: _is_count(value) and value <= 2),
    "sequence_length": ("a whole number above 0", _is_count),
    "model_sha256": ("a hash", lambda value: isinstance(value, str)),
    "thresholds": (
        "probabilities, one a label",
        lambda value: _is_share(value) or (isinstance(value, list) and all(map(_is_share, value))),
    ),
}


@dataclasses.dataclass(frozen=True)
class Description:
    """The values of classifier.json.

    Attributes:
        task: One of `tfkd.data.examples.TASKS`, or `EMBEDDING`.
        label_names: Class names in index order.
        num_texts: 1 for single texts, 2 for pairs.
        sequence_length: Longest text in tokens.
        model_sha256: Hash of model.keras.
        thresholds: Of multi_label: the probability above which a label is given, one for all or
            one a label in index order.
    """

    task: str
    label_names: tuple[str, ...]
    num_texts: int
    sequence_length: int
    model_sha256: str
    thresholds: float | Sequence[float] = DEFAULT_THRESHOLD

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of a model folder; the other files are left to `check_folder`.

        Raises:
            ArtifactError: It is missing, was changed, or is no description.
            DatasetError: A label name would break a line or a terminal.
        """
        path = folder / DESCRIPTION_FILE
        content = seals.read_record(path)
        found = {"thresholds": DEFAULT_THRESHOLD, **content}
        for name, (expected, is_right) in _EXPECTED.items():
            if not is_right(found.get(name)):
                raise ArtifactError(
                    f"Expected `{name}` in {path} to be {expected}. Received: "
                    f"{shown(found.get(name))}. {REMEDY}"
                )
        check_names(found["label_names"], str(path))
        values = {name: found[name] for name in _EXPECTED}
        return cls(**values | {"label_names": tuple(values["label_names"])})

    def check_outputs(self, folder: Path, num_outputs: int) -> None:
        """Compares the number of names with a model's.

        Raises:
            ArtifactError: They differ.
        """
        if len(self.label_names) != num_outputs:
            raise ArtifactError(
                f"Expected {num_outputs} names in {folder / DESCRIPTION_FILE}, as many as the "
                f"model gives numbers. Received: {len(self.label_names)}. {REMEDY}"
            )


def check_folder(folder: Path, description: Description) -> None:
    """Compares the files of a model folder with the hashes in its description.

    Raises:
        ArtifactError: A file is missing or was changed.
    """
    names = seals.check_files(folder / DESCRIPTION_FILE)
    if WEIGHTS_FILE not in names:
        # From before there were seals.
        seals.check(folder / WEIGHTS_FILE, description.model_sha256)
