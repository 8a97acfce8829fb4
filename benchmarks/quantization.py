r"""Quantization during training beside quantization after it, over data sets and seeds.

    python benchmarks/quantization.py --data-dir DIR --output results/quantization.json \
        saved_models/emotion-bert_tiny-seed0 saved_models/emotion-bert_tiny-seed1 ...
    python benchmarks/quantization.py --render results/quantization.json

Every run has been through `tfkd quantize` with the same recipes. Runs of one data set are seeds of
one table: their files answer the test rows once more, so that recipes can be compared row by row.
"""

import argparse
import dataclasses
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfkd.artifacts import RunFolder, read_json, versions, write_json
from tfkd.compression.recipes import RECIPES
from tfkd.data.checks import check
from tfkd.errors import ArtifactError, TfkdError
from tfkd.evaluation import metrics
from tfkd.evaluation.table import Table, figures, words
from tfkd.evaluation.verdict import BETTER, Comparison, compare_scores
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.quiet import quiet_libraries
from tfkd.reports.run_page import QUANTIZATION
from tfkd.runs.material import CACHE, Material
from tfkd.runs.own_data import own_dataset
from tfkd.runs.record import finished
from tfkd.runs.scoring import file_logits
from tfkd.studies.questions import EXACT

FLOAT = "Keras"


@dataclasses.dataclass(frozen=True)
class Scored:
    """A run's models on its test rows.

    Attributes:
        run: Name of the run folder.
        dataset: Name of the data set.
        report: Its `quantization.json`.
        row_scores: Recipe, or `FLOAT` for the student itself, to a score of each test row.
    """

    run: str
    dataset: str
    report: Mapping[str, Any]
    row_scores: Mapping[str, np.ndarray]


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the file or shows it; gives the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="runs after `tfkd quantize`")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--render", type=Path, help="show the tables of such a file")
    options = parser.parse_args(arguments)
    quiet_libraries()
    try:
        if options.render is not None:
            print(markdown(read_json(options.render)))
            return 0
        if not options.runs or options.output is None:
            parser.error("give runs and --output, or --render FILE")
        scored = [score(run, options.data_dir) for run in options.runs]
    except TfkdError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    results = {"datasets": collect(scored), "versions": versions()}
    write_json(options.output, results)
    print(markdown(results))
    return 0


def score(path: Path, data_dir: Path | None) -> Scored:
    """Asks the student and all files of a run for its test rows.

    Raises:
        ArtifactError: The run is not finished or was not quantized.
    """
    run = finished(RunFolder(path))
    if not (path / QUANTIZATION).is_file():
        raise ArtifactError(
            f"Expected {path} to hold {QUANTIZATION}. It does not. Run `tfkd quantize {path}` "
            "first."
        )
    report = read_json(path / QUANTIZATION)
    dataset = own_dataset(run, data_dir)
    material = Material(dataset, check(dataset), path.parent / CACHE, Progress())
    student = TextClassifier.load(run.model)
    tokens = material.tokens("test", student.tokenizer)
    logits = {FLOAT: student.logits(tokens)}
    for file in report["files"]:
        path = run.model / Path(file["path"]).name
        logits[file["recipe"]] = file_logits(path, tokens, material.progress)
    labels = np.asarray(tokens.labels)
    scores = {
        name: np.asarray(row_scores(student.task, values, labels, student.thresholds), np.float64)
        for name, values in logits.items()
    }
    return Scored(path.name, dataset.name, report, scores)


def row_scores(
    task: str, logits: np.ndarray, labels: np.ndarray, thresholds: ArrayLike = 0.5
) -> np.ndarray:
    """How good the answer to each row is, higher being better: what `compare_scores` compares.

    Booleans, right or wrong (single_label), Jaccard in [0, 1] (multi_label), or the negative
    squared error (regression), of shape `[num_rows]`.
    """
    if task == "regression":
        return -((logits[:, 0] - labels) ** 2)
    decided = metrics.decisions(task, logits, thresholds)
    return decided == labels if task == "single_label" else metrics.jaccard_rows(labels, decided)


def collect(runs: Sequence[Scored]) -> dict[str, Any]:
    """Rows, comparisons and sentences of each data set."""
    by_dataset: dict[str, list[Scored]] = defaultdict(list)
    for run in runs:
        by_dataset[run.dataset].append(run)
    return {name: dataset_results(found) for name, found in by_dataset.items()}


def dataset_results(runs: Sequence[Scored]) -> dict[str, Any]:
    """One data set: a row a recipe over all its seeds.

    Args:
        runs: `Scored` runs of the data set, one a seed.
    """
    recipes = [name for name in runs[0].row_scores if name != FLOAT]
    recipes = [name for name in recipes if all(name in run.row_scores for run in runs)]
    rows = [row(name, runs) for name in recipes]
    # Over the seeds, a test row's score is the mean of its seeds' students.
    means = {
        name: np.mean([run.row_scores[name] for run in runs], axis=0) for name in [FLOAT, *recipes]
    }
    after = [name for name in recipes if not RECIPES[name].trained and name not in EXACT]
    best = max(after, key=lambda name: means[name].mean()) if after else None
    comparisons = {}
    for name in recipes:
        others = [] if name in EXACT else [FLOAT]
        if best is not None and RECIPES[name].trained:
            others.append(best)
        for other in others:
            comparisons[f"{name} / {other}"] = compare_scores(means[name], means[other])
    return {
        "metric": runs[0].report["metric"],
        "runs": {run.run: run.report["seed"] for run in runs},
        "commands": {run.run: run.report["command"] for run in runs},
        "num_test_rows": len(means[FLOAT]),
        "float": over_seeds(
            [run.report["float_metrics"] for run in runs], runs[0].report["metric"]
        ),
        "rows": rows,
        "best_after_training": best,
        "comparisons": {name: found.to_dict() for name, found in comparisons.items()},
        "sentences": sentences(comparisons, best),
    }


def over_seeds(found: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """Mean, spread and every value of a metric over seeds."""
    values = [one[metric] for one in found]
    return {
        "values": values,
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
    }


def row(recipe: str, runs: Sequence[Scored]) -> dict[str, Any]:
    """A recipe's figures over the seeds; times are ratios to float32's of the same run."""
    files = [{file["recipe"]: file for file in run.report["files"]} for run in runs]
    metric = runs[0].report["metric"]
    differences = [
        one[recipe]["metrics"][metric] - run.report["float_metrics"][metric]
        for one, run in zip(files, runs, strict=True)
    ]
    ratios = [
        one[recipe]["latency"]["encoded_p50_ms"] / one["float32"]["latency"]["encoded_p50_ms"]
        for one in files
        if "float32" in one
    ]
    return {
        "recipe": recipe,
        "size_bytes": files[0][recipe]["parity"]["size_bytes"],
        **over_seeds([one[recipe]["metrics"] for one in files], metric),
        "difference": statistics.fmean(differences),
        "agreement": statistics.fmean(one[recipe]["metrics"]["agreement"] for one in files),
        "p50_ratio": statistics.median(ratios) if ratios else None,
        "operators": files[0][recipe]["operators"]["sentence"],
    }


def sentences(comparisons: Mapping[str, Comparison], best: str | None) -> list[str]:
    """What the paired tests say, and in plain words whether training brought anything."""
    found = []
    for pair, comparison in comparisons.items():
        name, other = pair.split(" / ")
        found.append(comparison.sentence(name, "the float student" if other == FLOAT else other))
        if other == best and comparison.verdict != BETTER:
            found.append(
                f"So {name} is not proved more accurate than {best}, made without training."
            )
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """One table a data set, and its sentences."""
    parts = []
    for name, found in results["datasets"].items():
        told = "\n".join(f"- {sentence}" for sentence in found["sentences"])
        parts.append(
            f"**{name}**, {len(found['runs'])} seeds, {found['num_test_rows']:,} test rows"
        )
        parts += [table(found).markdown(), told]
    return "\n\n".join(parts)


def table(found: Mapping[str, Any]) -> Table:
    """A line for the Keras student, then one a recipe."""
    recipes = found["rows"]
    rows = [found["float"], *recipes]
    differences = [None, *(100 * row["difference"] for row in recipes)]
    return Table(
        [
            words("Recipe", [FLOAT, *(row["recipe"] for row in recipes)]),
            figures("MB", [None, *(row["size_bytes"] / 1e6 for row in recipes)], "{:.2f}"),
            figures("Metric, mean", [row["mean"] for row in rows], "{:.4f}"),
            figures("Seeds, lowest to highest", [spread(row) for row in rows]),
            figures("Against float, points", differences, "{:+.2f}"),
            figures("Agreement with float", [row.get("agreement") for row in rows], "{:.4f}"),
            figures("p50 / float32's", [row.get("p50_ratio") for row in rows], "{:.2f}"),
        ]
    )


def spread(values: Mapping[str, Any]) -> str:
    """The seeds' values from the lowest to the highest."""
    return f"{min(values['values']):.4f} to {max(values['values']):.4f}"


if __name__ == "__main__":
    sys.exit(main())
