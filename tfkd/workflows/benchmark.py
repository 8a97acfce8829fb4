"""`tfkd benchmark`: speed, memory and bytes of the models of finished runs, side by side."""

import dataclasses
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.verbs import BenchmarkConfig
from tfkd.data import sources
from tfkd.errors import ArtifactError
from tfkd.progress import Progress
from tfkd.runs.costs import Cost, ModelFile, measure_costs, model_files
from tfkd.runs.material import first_texts


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
    texts = first_texts(rows, config.texts)
    costs = measure_costs(files, texts, config.rounds, progress, config.threads)
    result = BenchmarkResult(costs, config.texts, config.threads)
    if report is not None:
        artifacts.write_json(report, result.to_dict())
    return result
