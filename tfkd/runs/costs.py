"""Costs of the files of a run: bytes, memory, time of one text."""

import dataclasses
import importlib.util
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfkd import __version__, artifacts, seals
from tfkd.artifacts import RunFolder
from tfkd.config.training import RECIPE_NAMES
from tfkd.data.examples import Texts
from tfkd.evaluation.latency import Latency, num_steps
from tfkd.evaluation.memory import fresh_start
from tfkd.evaluation.timing import time_models
from tfkd.process import (
    KERAS_LOADER,
    KIT_LOADER,
    LITERT_LOADER,
    TimedModel,
    end_children,
    num_cores,
)
from tfkd.progress import Progress
from tfkd.runs.record import finished, noted_teacher

MEMORY_TEXTS = 5


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """One file that can be asked.

    Attributes:
        name: Run, arm and file in one word, for tables.
        folder: The model folder.
        kind: "keras", a recipe, or "onnx-" and a recipe.
    """

    name: str
    folder: Path
    kind: str

    @property
    def path(self) -> Path:
        """The file itself."""
        if self._is_onnx:
            return self.folder / self.kind / "model.onnx"
        return self.folder / ("model.keras" if self.kind == "keras" else f"{self.kind}.tflite")

    @property
    def agreement(self) -> float | None:
        """With the Keras model, as its gate has noted; None where there was none."""
        record = self.folder / f"{self.kind}.json"
        return seals.read_record(record).get("agreement") if record.is_file() else None

    @property
    def _is_onnx(self) -> bool:
        return self.kind.startswith("onnx-")

    def timed(self, threads: int = 1) -> TimedModel:
        """Model for the timing process to load; TensorFlow is told its threads by that process."""
        if self.kind == "keras":
            return TimedModel(KERAS_LOADER, self.folder)
        if self._is_onnx:
            return TimedModel(KIT_LOADER, self.path.parent, {"threads": threads})
        return TimedModel(LITERT_LOADER, self.path, {"threads": threads})


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of running one file.

    Attributes:
        file: Its name.
        path: Its path.
        size_bytes: Bytes of the file.
        peak_memory_bytes: Peak resident memory of a fresh process that loads it and answers.
        latency: `Latency`.
        agreement: `ModelFile.agreement`.
    """

    file: str
    path: str
    size_bytes: int
    peak_memory_bytes: int
    latency: Latency
    agreement: float | None = None


def model_files(run: RunFolder, teacher: Path | None = None) -> list[ModelFile]:
    """The files of a finished run that can be asked: teacher, main model, its LiteRT files.

    Raises:
        ArtifactError: The run is not finished.
    """
    if teacher is None:
        teacher = noted_teacher(finished(run))
    name = run.path.name
    files = [ModelFile(f"{name}/{run.model.name}", run.model, "keras")]
    for recipe in RECIPE_NAMES:
        if (run.model / f"{recipe}.tflite").is_file():
            files.append(ModelFile(f"{name}/{run.model.name}/{recipe}", run.model, recipe))
    if teacher is not None and teacher.is_dir():
        files.insert(0, ModelFile(f"{name}/teacher", teacher, "keras"))
    return files


def onnx_files(run: RunFolder, progress: Progress) -> list[ModelFile]:
    """Those of its folders for ONNX Runtime, where that is installed."""
    kinds = [f"onnx-{recipe}" for recipe in RECIPE_NAMES]
    files = [
        ModelFile(f"{run.path.name}/{run.model.name}/{kind}", run.model, kind) for kind in kinds
    ]
    files = [file for file in files if file.path.is_file()]
    if files and importlib.util.find_spec("onnxruntime") is None:
        progress.say(f"ONNX files of {run.path} left out: no onnxruntime; pip install 'tfkd[onnx]'")
        return []
    return files


def measure_costs(
    files: list[ModelFile],
    texts: Texts,
    rounds: int,
    progress: Progress,
    threads: int = 1,
    budget_seconds: float | None = None,
    kept: Path | None = None,
) -> tuple[Cost, ...]:
    """Latency of all files interleaved, then each one's memory in a process of its own."""
    progress.say(f"time {len(files)} models on {len(texts)} texts, {rounds} rounds")
    timed = {file.name: file.timed(threads) for file in files}
    with progress.stage("measure times"):
        latencies = time_files(timed, texts, rounds, progress, threads, budget_seconds)
    with progress.stage("measure memory"):
        memories = measure_memory(files, texts[:MEMORY_TEXTS], progress, kept)
    return tuple(
        Cost(
            file.name,
            str(file.path),
            file.path.stat().st_size,
            memory,
            latencies[file.name],
            file.agreement,
        )
        for file, memory in zip(files, memories, strict=True)
    )


def measure_memory(
    files: list[ModelFile], texts: Texts, progress: Progress, kept: Path | None = None
) -> list[int]:
    """Peak resident memory of each file's own process, in bytes; as many at a time as cores.

    What is kept by file, texts and versions is not asked again.
    """
    pool = ThreadPoolExecutor(num_cores())
    try:
        with progress.task("measure memory", len(files)) as task:
            found = []
            for memory in pool.map(lambda file: _memory(file, texts, kept, progress), files):
                found.append(memory)
                task.advance()
        return found
    except BaseException:
        # The first error, or Ctrl-C, waits for no other process.
        pool.shutdown(wait=False, cancel_futures=True)
        end_children()
        raise
    finally:
        pool.shutdown()


def _memory(file: ModelFile, texts: Texts, kept: Path | None, progress: Progress) -> int:
    """Peak memory of one file, asked now or as it is kept."""
    if kept is None:
        return fresh_start(file.timed(), texts).peak_memory_bytes
    mark = artifacts.fingerprint(
        {
            "kind": file.kind,
            "sha256": artifacts.file_sha256(file.path),
            "texts": list(texts),
            "versions": artifacts.versions() | {"tfkd": __version__},
        }
    )
    path = kept / f"{mark}.json"
    memory = seals.kept(path, _kept_memory, progress.say)
    if memory is None:
        memory = fresh_start(file.timed(), texts).peak_memory_bytes
        artifacts.write_record(path, {"peak_memory_bytes": memory})
    return memory


def _kept_memory(path: Path) -> int:
    return int(seals.read_record(path)["peak_memory_bytes"])


def time_files(
    models: Mapping[str, TimedModel],
    texts: Texts,
    rounds: int,
    progress: Progress,
    threads: int = 1,
    budget_seconds: float | None = None,
) -> dict[str, Latency]:
    """`time_models`, and how far it is."""
    with progress.task(f"time {len(models)} files", num_steps(rounds)) as task:
        return time_models(
            models,
            texts,
            rounds,
            threads,
            stepped=task.advance,
            budget_seconds=budget_seconds,
        )
