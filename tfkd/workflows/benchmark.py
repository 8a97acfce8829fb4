"""`tfkd benchmark`: speed, memory and bytes of the models of finished runs, side by side."""

import dataclasses
from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.verbs import BenchmarkConfig
from tfkd.errors import ArtifactError
from tfkd.evaluation.table import Shown, Table, figures, words
from tfkd.progress import Progress
from tfkd.runs.costs import Cost, ModelFile, measure_costs, model_files, onnx_files
from tfkd.runs.material import first_texts
from tfkd.runs.own_data import own_material
from tfkd.runs.settings import settings_of


@dataclasses.dataclass(frozen=True, repr=False)
class BenchmarkResult(Shown):
    """Costs in the order of the runs; ratios are to the first."""

    costs: tuple[Cost, ...]
    texts: int
    threads: int

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "versions": artifacts.versions()}

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        costs = self.costs
        times = [cost.latency for cost in costs]
        table = Table(
            [
                words("File", [cost.file for cost in costs]),
                figures("Size, MB", [cost.size_bytes / 1e6 for cost in costs], "{:.2f}"),
                figures("Memory, MB", [cost.peak_memory_bytes / 1e6 for cost in costs], "{:.0f}"),
                figures("p50, ms", [time.p50_ms for time in times], "{:.2f}"),
                figures("p95", [time.p95_ms for time in times], "{:.2f}"),
                figures("p99", [time.p99_ms for time in times], "{:.2f}"),
                figures("without tokens, p50", [time.encoded_p50_ms for time in times], "{:.2f}"),
                figures("texts/s at 32", [time.throughput_per_second for time in times], "{:.0f}"),
                figures("Agreement", [cost.agreement for cost in costs], "{:.4f}"),
                figures("Time ratio", [time.p50_ms / times[0].p50_ms for time in times], "{:.3f}"),
            ]
        )
        note = (
            f"Warm, interleaved, {self.texts} real texts, {self.threads} thread(s); p50, p95, p99: "
            "one text a call with its tokenization. MB: 10^6 bytes. Agreement: with the Keras "
            "model, when the file was written. Time ratio: to the first line."
        )
        return [table, note]


def benchmark(
    config: BenchmarkConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> BenchmarkResult:
    """Times every file of finished runs in one process, on texts of the first run's test split.

    Args:
        config: `BenchmarkConfig`.
        progress: `Progress` that shows what is done.
        **given: The settings as keywords instead.

    Returns:
        `BenchmarkResult`.

    Raises:
        ArtifactError: A folder is no finished run, or the runs answer different questions.
        DatasetError: The data set of the first run cannot be had.
    """
    config = settings_of(BenchmarkConfig, config, given)
    progress = progress or Progress()
    report = artifacts.report_file(config.output_dir, "benchmark.json")
    files: list[ModelFile] = []
    runs = [RunFolder(path) for path in config.runs]
    datasets = [run.read_config()["dataset"] for run in runs]
    for run, dataset in zip(runs, datasets, strict=True):
        if dataset != datasets[0]:
            raise ArtifactError(
                f"Expected runs on one data set. Received: {datasets[0]} and {dataset}."
            )
        # Runs that share a teacher have it timed once.
        known = {file.path for file in files}
        every = [*model_files(run), *onnx_files(run, progress)]
        files += [file for file in every if file.path not in known]
    rows = own_material(runs[0], config, progress, ["test"]).dataset.splits["test"]
    texts = first_texts(rows, config.texts)
    costs = measure_costs(files, texts, config.rounds, progress, config.threads)
    result = BenchmarkResult(costs, config.texts, config.threads)
    if report is not None:
        artifacts.write_json(report, result.to_dict())
    return result
