"""`tfkd quantize`: recipes side by side on one student, and the file that fits a budget."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import operators, recipes
from tfkd.config.training import RECIPE_NAMES
from tfkd.config.verbs import QuantizeConfig
from tfkd.errors import ConversionError, ModelError
from tfkd.evaluation.budget import Budget, Candidate, choose, frontier, slower_than_float
from tfkd.evaluation.latency import Latency
from tfkd.evaluation.table import Shown, Table, figures, words
from tfkd.locks import held
from tfkd.models.classifier import TextClassifier
from tfkd.process import LITERT_LOADER, TimedModel
from tfkd.progress import Progress
from tfkd.reports.run_page import QUANTIZATION
from tfkd.runs.costs import time_files
from tfkd.runs.files import StudentFiles
from tfkd.runs.material import Material, first_texts
from tfkd.runs.own_data import own_material
from tfkd.runs.published_run import published, published_run
from tfkd.runs.record import finished, refresh_report
from tfkd.runs.scoring import file_logits, split_figures, split_logits
from tfkd.runs.settings import settings_of
from tfkd.runs.teacher import train_logits

TIMED_TEXTS, TIMED_ROUNDS = 200, 5


@dataclasses.dataclass(frozen=True)
class Quantized:
    """One file and all its figures.

    Attributes:
        recipe: Name of the recipe.
        path: The file.
        parity: Its parity report.
        operators: `OperatorReport`: integer and float operators, and the share XNNPACK takes over.
        metrics: Metrics on the test split, agreement with the float student among them.
        drop: Loss of the headline metric against the float student on the validation split, as
            a fraction.
        latency: `Latency` of one text on one thread.
    """

    recipe: str
    path: Path
    parity: dict[str, Any]
    operators: operators.OperatorReport
    metrics: dict[str, object]
    drop: float
    latency: Latency

    @property
    def candidate(self) -> Candidate:
        """The figures that a budget bounds."""
        return Candidate(self.recipe, self.parity["size_bytes"], self.latency.p50_ms, self.drop)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        values = {**dataclasses.asdict(self), "path": str(self.path)}
        return {**values, "operators": self.operators.to_dict()}


@dataclasses.dataclass(frozen=True, repr=False)
class QuantizeResult(Shown):
    """The files of all recipes, and the choice.

    Attributes:
        path: The run folder.
        files: Those that passed their gate, in the order of the recipes.
        refused: Recipe to why there is no file of it.
        metric: Headline metric of the data set.
        float_metrics: The Keras student's metrics on the test split.
        budget: `Budget` that was asked for.
        chosen: The recipe to take, or None.
        sentences: The choice and what else must be said.
        data: `Material.describe()`.
        seed: Seed of the run, which also chose the calibration rows.
        command: Command line that gives it again.
    """

    path: Path
    files: tuple[Quantized, ...]
    refused: dict[str, str]
    metric: str
    float_metrics: dict[str, object]
    budget: Budget
    chosen: str | None
    sentences: tuple[str, ...]
    data: dict[str, object]
    seed: int
    command: str

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        files = [file.to_dict() for file in self.files]
        return {
            **dataclasses.asdict(self),
            "path": str(self.path),
            "files": files,
            "sentences": list(self.sentences),
            "versions": artifacts.versions(),
        }

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        refusals = [f"No file by {name}: {reason}" for name, reason in self.refused.items()]
        return [files_table(self.to_dict()), NOTE, *refusals, *self.sentences]


NOTE = (
    "MB: 10^6 bytes of the file. Metric, agreement: test split. Drop: points lost on held-out rows "
    "against the float student. p50, p95, p99: one text, one thread, warm, tokenization included, "
    "interleaved; model: the same without tokenization."
)


def quantize(
    config: QuantizeConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> QuantizeResult:
    """Writes a run's student by several recipes, measures each file, and picks by a budget.

    A published classifier, Hugging Face's folder or handle, becomes a run in `saved_models` first,
    as it is; of it recipes that train are made only when they are named.

    Files that are there and were made from the same model are measured, not written again. Recipes
    that train (`qat_int8`, `qat_int4_tables`) take about as long as so many epochs of the student;
    what they learned by the same settings is kept in `<run>/qat` and not learned again.

    Args:
        config: `QuantizeConfig`.
        progress: `Progress` that shows what is done.
        **given: The settings as keywords instead.

    Returns:
        `QuantizeResult`, also written to `quantization.json` in the run folder.

    Raises:
        ArtifactError: The folder is no finished run.
        ConfigError: A published classifier was given without a data set.
        ConversionError: No file of a recipe that was asked for by name could be made.
        ModelError: A recipe that trains was asked for by name, and does not know such a student.

    Example:

    ```python
    result = tfkd.quantize(tfkd.QuantizeConfig(run="saved_models/demo", max_mb=3))
    result.chosen  # "int4_tables"
    ```
    """
    config = settings_of(QuantizeConfig, config, given)
    progress = progress or Progress(config.quiet)
    source, chosen = published(config), names(config)
    if source is None:
        run = RunFolder(config.run)
    else:
        run = published_run(source, config, progress)
        if not config.recipes:
            chosen = tuple(name for name in chosen if not recipes.find(name).trained)
    material = own_material(finished(run), config, progress)
    with held(run.path, "quantize"):
        return _quantize(config, chosen, run, material)


def _quantize(
    config: QuantizeConfig, chosen: tuple[str, ...], run: RunFolder, material: Material
) -> QuantizeResult:
    """Writes, measures and chooses."""
    student = TextClassifier.load(run.model)
    refused = _write(config, chosen, student, material, run)
    written = [name for name in chosen if name not in refused]
    answers = {split: split_logits(student, split, material) for split in ("validation", "test")}
    measured = _measure(written, student, answers, material, run)
    tokens = material.tokens("test", student.tokenizer)
    float_metrics = split_figures(answers["test"], tokens, student)
    result = _result(config, run, measured, refused, float_metrics, material)
    artifacts.write_record(run.path / QUANTIZATION, result.to_dict())
    refresh_report(run)
    return result


def names(config: QuantizeConfig) -> tuple[str, ...]:
    """The recipes asked for; none or "all" means every one."""
    every = not config.recipes or "all" in config.recipes
    return RECIPE_NAMES if every else tuple(dict.fromkeys(config.recipes))


def _write(
    config: QuantizeConfig,
    chosen: tuple[str, ...],
    student: TextClassifier,
    material: Material,
    run: RunFolder,
) -> dict[str, str]:
    """Writes the files that are missing; why some recipes gave none."""
    refused = {}
    files = StudentFiles(
        run,
        student,
        material,
        config,
        run.read_config()["seed"],
        lambda: train_logits(run, material),
        config.calibration_rows,
    )
    with material.progress.task("write files", len(chosen)) as task:
        for name in chosen:
            try:
                files.make([name], anew=config.overwrite)
            except (ConversionError, ModelError) as error:
                if config.recipes and "all" not in config.recipes:
                    raise
                refused[name] = str(error)
            task.advance(1, name)
    return refused


def _measure(
    names: list[str],
    student: TextClassifier,
    answers: Mapping[str, np.ndarray],
    material: Material,
    run: RunFolder,
) -> list[Quantized]:
    """Quality on both held-out splits beside the student's answers, latency, operators."""
    metric = material.dataset.metric
    tokens = {split: material.tokens(split, student.tokenizer) for split in answers}
    floats = split_figures(answers["validation"], tokens["validation"], student)
    paths = {name: run.model / f"{name}.tflite" for name in names}
    texts = first_texts(material.dataset.splits["test"], TIMED_TEXTS)
    material.progress.say(f"time {len(paths)} files on {len(texts)} texts")
    timed = {name: TimedModel(LITERT_LOADER, path) for name, path in paths.items()}
    latencies = time_files(timed, texts, TIMED_ROUNDS, material.progress)
    measured = []
    for name, path in paths.items():
        figures = {
            split: split_figures(
                file_logits(path, rows, material.progress), rows, student, answers[split]
            )
            for split, rows in tokens.items()
        }
        measured.append(
            Quantized(
                recipe=name,
                path=path,
                parity=artifacts.read_record(path.with_suffix(".json")),
                operators=operators.describe(path),
                metrics=figures["test"],
                drop=floats[metric] - figures["validation"][metric],
                latency=latencies[name],
            )
        )
    return measured


def _result(
    config: QuantizeConfig,
    run: RunFolder,
    measured: list[Quantized],
    refused: dict[str, str],
    float_metrics: dict[str, Any],
    material: Material,
) -> QuantizeResult:
    """The figures with the choice and what must be said beside them."""
    candidates = [file.candidate for file in measured]
    budget = Budget(config.max_mb, config.max_ms, config.max_drop)
    metric = material.dataset.metric
    sentences = [
        f"The Keras model: {metric} {float_metrics[metric]:.4f}, "
        f"{(run.model / 'model.keras').stat().st_size / 1e6:.2f} MB.",
        *slower_than_float(candidates),
    ]
    best = ", ".join(one.name for one in frontier(candidates))
    sentences.append(f"Beaten by no other in bytes, time and accuracy: {best}.")
    sentences += [_proof(file) for file in measured if recipes.find(file.recipe).trained]
    chosen = None
    if budget.is_given:
        found, why = choose(candidates, budget)
        chosen = found.name if found else None
        sentences += why
    return QuantizeResult(
        path=run.path,
        files=tuple(measured),
        refused=refused,
        metric=metric,
        float_metrics=float_metrics,
        budget=budget,
        chosen=chosen,
        sentences=tuple(sentences),
        data=material.describe(),
        seed=run.read_config()["seed"],
        command=config.command_line("quantize"),
    )


def _proof(file: Quantized) -> str:
    """A sentence on what the operators of a file prove."""
    proof = file.parity["integer_proof"]
    counted = [(proof["products"], "product"), (proof["lookups"], "table lookup")]
    told = " and ".join(f"{count} {noun}{'s' * (count != 1)}" for count, noun in counted)
    rest = "; gates and states of its loops are float" if proof["loops"] else ""
    return (
        f"{file.recipe} is quantized during training: {told} over all lengths, all integer{rest}. "
        "Its logit diff. is to the model that was trained."
    )


def files_table(result: Mapping[str, Any]) -> Table:
    """One line for each file.

    Args:
        result: `QuantizeResult.to_dict()`, as `quantization.json` holds it.
    """
    files = result["files"]
    differences = [file["parity"]["largest_logit_difference"] for file in files]
    times = [file["latency"] for file in files]
    return Table(
        [
            words("Recipe", [file["recipe"] for file in files]),
            figures("MB", [file["parity"]["size_bytes"] / 1e6 for file in files], "{:.2f}"),
            figures("Metric", [file["metrics"][result["metric"]] for file in files], "{:.4f}"),
            figures("Drop", [100 * file["drop"] for file in files], "{:.2f}"),
            figures("Agreement", [file["metrics"].get("agreement") for file in files], "{:.4f}"),
            figures("Logit diff.", differences, "{:.2g}"),
            figures("p50, ms", [time["p50_ms"] for time in times], "{:.2f}"),
            figures("p95", [time["p95_ms"] for time in times], "{:.2f}"),
            figures("p99", [time["p99_ms"] for time in times], "{:.2f}"),
            figures("Model", [time["encoded_p50_ms"] for time in times], "{:.3f}"),
            words("Operators", [file["operators"]["sentence"] for file in files], wraps=True),
        ]
    )
