"""Models in folders: a run, or as TensorFlow Serving has it a folder of runs named 1, 2, 3 ..."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfkd.artifacts import RunFolder
from tfkd.compression.litert import LiteRTModel
from tfkd.models.description import DESCRIPTION_FILE, Description
from tfkd.seals import file_sha256
from tfkd.serving.contract import FIRST_VERSION, ServedModel


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """The LiteRT files of a run, or of the newest runs in a folder of versions.

    Attributes:
        path: The folder. A run is version 1.
        name: The model's name in addresses.
        recipe: Name of the file, without its end.
        num_versions: So many of the highest versions are served.
        workers: Models of each version, one a thread.
    """

    path: Path
    name: str
    recipe: str = "dynamic_int8"
    num_versions: int = 1
    workers: int = 1

    def versions(self) -> Mapping[str, object]:
        """The versions to serve, the newest first, each with what changes when its files do."""
        numbers = [] if self._is_run else [path.name for path in self.path.glob("[0-9]*")]
        numbers = [name for name in numbers if re.fullmatch("0|[1-9][0-9]{0,17}", name)]
        newest = sorted(numbers, key=int, reverse=True)[: self.num_versions]
        return {version: self._stamp(version) for version in newest or [FIRST_VERSION]}

    def load(self, version: str) -> tuple[ServedModel, Sequence[LiteRTModel]]:
        """A version that has answered once; all its models share the words the tokenizer remembers.

        Raises:
            ArtifactError: It is no run, or a file is missing or was changed.
        """
        run = self._run(version)
        run.read_config()
        found = Description.read(run.model)
        path = run.model / f"{self.recipe}.tflite"
        first = LiteRTModel(path)
        found.check_outputs(run.model, first.num_outputs)
        others = [LiteRTModel(path, first.tokenizer) for _ in range(self.workers - 1)]
        models = [first, *others]
        for model in models:
            model.predict(["warm"] if found.num_texts == 1 else [("warm", "warm")])
        facts = (found.task, found.label_names, found.num_texts, found.thresholds)
        return ServedModel(self.name, *facts, version=version, sha256=file_sha256(path)), models

    @property
    def _is_run(self) -> bool:
        return RunFolder(self.path).config.exists()

    def _run(self, version: str) -> RunFolder:
        inner = self.path / version
        return RunFolder(inner if inner.is_dir() and not self._is_run else self.path)

    def _stamp(self, version: str) -> object:
        """Of the two files; the description names the others with their hashes."""
        folder = self._run(version).model
        files = [folder / f"{self.recipe}.tflite", folder / DESCRIPTION_FILE]
        stats = {os.path.realpath(path): path.stat() for path in files if path.exists()}
        return [(path, found.st_ino, found.st_mtime_ns) for path, found in stats.items()]
