"""`tfkd benchmark`: speed, memory and bytes of the models of finished runs, side by side."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config import BenchmarkConfig
from tfkd.data import sources
from tfkd.data.examples import Example
from tfkd.errors import ArtifactError
from tfkd.evaluation.latency import Latency, num_steps
from tfkd.evaluation.memory import peak_memory_bytes
from tfkd.evaluation.process import KERAS_LOADER, LITERT_LOADER, TimedModel
from tfkd.evaluation.timing import time_models
from tfkd.models.classifier import batch_texts
from tfkd.progress import Progress
from tfkd.training_config import RECIPE_NAMES
from tfkd.workflows.preparation import finished

MEMORY_TEXTS = 5


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """One file that can be asked.

    Attributes:
        name: Run, arm and file in one word, for tables.
        folder: The model folder.
        kind: "keras" or a recipe.
    """

    name: str
    folder: Path
    kind: str

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.folder / ("model.keras" if self.kind == "keras" else f"{self.kind}.tflite")

    def timed(self, threads: int = 1) -> TimedModel:
        """What the timing process loads; TensorFlow is told its threads by that process."""
        if self.kind == "keras":
            return TimedModel(KERAS_LOADER, self.folder)
        return TimedModel(LITERT_LOADER, self.path, {"threads": threads})


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one file costs to run.

    Attributes:
        file: Its name.
        path: Where it lies.
        size_bytes: Bytes of the file.
        peak_memory_bytes: Peak resident memory of a fresh process that loads it and answers.
        latency: `Latency`.
    """

    file: str
    path: str
    size_bytes: int
    peak_memory_bytes: int
    latency: Latency


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """Costs in the order of the runs; ratios are to the first."""

    costs: tuple[Cost, ...]
    texts: int
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "versions": artifacts.versions()}

    def render(self) -> list[Any]:
        """What the command line shows."""
        table = Table(box=SIMPLE_HEAD, show_edge=False)
        table.add_column("File")
        for title in (
            "Size, MB",
            "Memory, MB",
            "p50, ms",
            "p95",
            "p99",
            "without tokens, p50",
            "texts/s at 32",
            "Time ratio",
        ):
            table.add_column(title, justify="right")
        for cost in self.costs:
            latency = cost.latency
            ratio = latency.p50_ms / self.costs[0].latency.p50_ms
            table.add_row(
                cost.file,
                f"{cost.size_bytes / 1e6:.2f}",
                f"{cost.peak_memory_bytes / 1e6:.0f}",
                f"{latency.p50_ms:.2f}",
                f"{latency.p95_ms:.2f}",
                f"{latency.p99_ms:.2f}",
                f"{latency.encoded_p50_ms:.2f}",
                f"{latency.throughput_per_second:.0f}",
                f"{ratio:.3f}",
            )
        note = (
            f"Warm, interleaved, {self.texts} real texts, {self.threads} thread(s); p50, p95, p99: "
            "one text a call with its tokenization. MB: 10^6 bytes. Time ratio: to the first line."
        )
        return [table, note]


def benchmark(config: BenchmarkConfig, progress: Progress | None = None) -> BenchmarkResult:
    """Times every file of finished runs in one process, on texts of the first run's test split.

    Args:
        config: `BenchmarkConfig`.
        progress: Where to show it.

    Returns:
        `BenchmarkResult`.

    Raises:
        ArtifactError: A folder is no finished run, or the runs answer different questions.
        DatasetError: The data set of the first run cannot be had.
    """
    progress = progress or Progress()
    report = artifacts.report_file(config.output_dir, "benchmark.json")
    files: list[ModelFile] = []
    dataset = ""
    for path in config.runs:
        run = RunFolder(path)
        settings = run.read_config()
        if dataset and settings["dataset"] != dataset:
            raise ArtifactError(
                f"Expected runs on one data set. Received: {dataset} and {settings['dataset']}."
            )
        dataset = settings["dataset"]
        # Runs that share a teacher have it timed once.
        known = {file.path for file in files}
        files += [file for file in model_files(run) if file.path not in known]
    rows = sources.load(dataset, config.data_dir).splits["test"]
    costs = measure_costs(files, first_texts(rows, config.texts), config, progress)
    result = BenchmarkResult(costs, config.texts, config.threads)
    if report is not None:
        artifacts.write_json(report, result.to_dict())
    return result


def model_files(run: RunFolder, teacher: Path | None = None) -> list[ModelFile]:
    """The files of a finished run that can be asked: teacher, main model, its LiteRT files.

    Raises:
        ArtifactError: The run is not finished.
    """
    if teacher is None:
        noted = artifacts.read_json(finished(run).metrics).get("teacher_folder")
        teacher = Path(noted) if noted else None
    name = run.path.name
    files = [ModelFile(f"{name}/{run.model.name}", run.model, "keras")]
    for recipe in RECIPE_NAMES:
        if (run.model / f"{recipe}.tflite").is_file():
            files.append(ModelFile(f"{name}/{run.model.name}/{recipe}", run.model, recipe))
    if teacher is not None and teacher.is_dir():
        files.insert(0, ModelFile(f"{name}/teacher", teacher, "keras"))
    return files


def measure_costs(
    files: list[ModelFile], texts: Any, config: BenchmarkConfig, progress: Progress
) -> tuple[Cost, ...]:
    """Latency of all files interleaved, then each one's memory in a process of its own."""
    progress.say(f"time {len(files)} models on {len(texts)} texts, {config.rounds} rounds")
    timed = {file.name: file.timed(config.threads) for file in files}
    latencies = time_files(timed, texts, config.rounds, progress, config.threads)
    costs = []
    with progress.task("measure memory", len(files)) as task:
        for file in files:
            memory = peak_memory_bytes(file.folder, file.kind, texts[:MEMORY_TEXTS])
            size_bytes = file.path.stat().st_size
            costs.append(Cost(file.name, str(file.path), size_bytes, memory, latencies[file.name]))
            task.advance()
    return tuple(costs)


def time_files(
    models: Mapping[str, TimedModel], texts: Any, rounds: int, progress: Progress, threads: int = 1
) -> dict[str, Latency]:
    """`time_models`, and how far it is."""
    with progress.task(f"time {len(models)} files", num_steps(rounds)) as task:
        return time_models(models, texts, rounds, threads, stepped=task.advance)


def first_texts(rows: Iterable[Example], count: int) -> Any:
    """The texts of the first rows, as `predict` takes them."""
    return batch_texts([example.texts for example in itertools.islice(rows, count)])
