"""What a stranger gets: the default student beside its teacher, its control and a linear SVM.

Runs `tfkd distill` with nothing given but data, teacher and student, for each seed, on sets of all
kinds and three sizes, and trains TF-IDF of words and word pairs with a linear SVM on the very rows
that the teacher is trained on. The SVM's one setting is chosen on the validation rows; test rows
are seen once. What was made before stays, so that several sessions share the work.

    python benchmarks/defaults.py --data-dir DIR --rows-of emotion_1000 --rows-of sst2_1000
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.artifacts import RunFolder, read_json, versions, write_json, write_text
from tfkd.config.training import DistillConfig
from tfkd.data.examples import Dataset, Texts
from tfkd.data.tokens import label_array
from tfkd.errors import DatasetError, TfkdError
from tfkd.evaluation.baselines import LabelledTexts, word_figures, word_model
from tfkd.evaluation.metrics import METRICS
from tfkd.evaluation.resampling import answers_of, columns
from tfkd.evaluation.seeds import compare_seeds
from tfkd.evaluation.table import Table, figures, words
from tfkd.models.classifier import TextClassifier, batch_texts
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import RUNS, load_dataset
from tfkd.workflows.distill import distill

RESULTS = Path(__file__).resolve().parents[1] / "results" / "defaults.json"
TEACHER = "hf://sentence-transformers/all-MiniLM-L6-v2"
STUDENTS, SEEDS = ("bert_tiny", "cnn"), (0, 1, 2)
# All rows where there are fewer than the next size; the first 3,000 of massive_en_us lack intents.
SIZES: Mapping[str, tuple[int | None, ...]] = {
    "ag_news": (1000, 3000, 10_000),
    "emotion": (1000, 3000, 10_000),
    "sst2": (1000, 3000, 10_000),
    "imdb": (1000, 3000, 10_000),
    "goemotions": (1000, 3000, 10_000),
    "massive_en_us": (None,),
    "mrpc": (1000, 3000),
    "cola": (1000, 3000, None),
    "rte": (1000, None),
}
CELLS = {f"{name}_{size or 'all'}": (name, size) for name, sizes in SIZES.items() for size in sizes}
NOTE = (
    "Teacher: all-MiniLM-L6-v2, fine-tuned once a row of the table. Student and control: Keras "
    "models, means over the seeds. Nothing is given but data, teacher and student. Verdict: the "
    "student against its control, over seeds and test rows. Ahead of SVM: points. Of teacher: "
    "share of its figure."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes what is asked for and writes results/defaults.json and .md; gives the exit code."""
    options = _parser().parse_args(arguments)
    quiet_libraries()
    try:
        for name in options.rows_of or CELLS:
            keep(
                options.output,
                name,
                cell(name, options.data_dir, options.runs, options.seed or SEEDS),
            )
    except (TfkdError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"Written: {options.output}")
    return 0


def settings(
    name: str, student: str, seed: int, data_dir: Path | None, runs: Path
) -> DistillConfig:
    """The settings of one run: data, teacher and student, and no times."""
    dataset, size = CELLS[name]
    return DistillConfig(
        dataset=dataset,
        data_dir=data_dir,
        max_train_rows=size,
        teacher=TEACHER,
        # As its sentence-transformers folder says, where that is whole.
        teacher_pooling="mean",
        student=student,
        seed=seed,
        output_dir=runs / name / f"{student}-{seed}",
        recipes=("dynamic_int8",),
        timing=False,
    )


def cell(name: str, data_dir: Path | None, runs: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """The figures of a set of rows: teacher, students, controls and the SVM."""
    dataset = load_dataset(settings(name, STUDENTS[0], 0, data_dir, runs))
    test = _read(dataset, "test")
    found: dict[str, Any] = {
        "metric": dataset.metric,
        "num_test_rows": len(test.labels),
        "seeds": list(seeds),
        "svm": svm_figure(dataset),
        "students": {},
    }
    for student in STUDENTS:
        paths = []
        for seed in seeds:
            config = settings(name, student, seed, data_dir, runs)
            if not RunFolder(config.output_dir).is_finished:
                distill(config)
            paths.append(config.output_dir)
        found["students"][student] = of_student(paths, dataset, test)
        figures = _headlines(paths[0], dataset.metric)
        found["teacher"] = figures["teacher"]
    return found


def of_student(paths: Sequence[Path], dataset: Dataset, test: "Rows") -> dict[str, Any]:
    """Means of student and control over runs that differ in their seed, and the verdict."""
    labels = columns(dataset.task, test.labels, dataset.num_outputs)
    answers = {}
    for arm in ("student", "control"):
        models = [TextClassifier.load(path / arm) for path in paths]
        answers[arm] = np.stack(
            [answers_of(dataset.task, m.predict(test.texts), m.thresholds) for m in models]
        )
    verdict = compare_seeds(dataset.metric, labels, answers["student"], answers["control"])
    kept = [_headlines(path, dataset.metric) for path in paths]
    mixed = [read_json(RunFolder(path).metrics).get("mixture") for path in paths]
    return {
        **{arm: float(np.mean([item[arm] for item in kept])) for arm in ("student", "control")},
        "verdict": verdict.verdict,
        "sentence": verdict.sentence("student", "control", dataset.metric),
        "runs_of_both": sum(item is not None for item in mixed),
    }


def _headlines(path: Path, metric: str) -> dict[str, float]:
    """The headline metric of each Keras model of a run."""
    rows = read_json(RunFolder(path).metrics)["rows"]
    return {row["arm"]: row["metrics"][metric] for row in rows if row["recipe"] == "keras"}


def keep(path: Path, name: str, found: Mapping[str, Any]) -> None:
    """Puts a data set's figures beside those that are there, and the table beside them."""
    kept = read_json(path) if path.is_file() else {"datasets": {}}
    kept = {"datasets": kept["datasets"] | {name: dict(found)}, "versions": versions()}
    write_json(path, kept)
    write_text(path.with_suffix(".md"), page(kept))


def svm_figure(dataset: Dataset) -> dict[str, float]:
    """The data set's metric of the SVM on the test rows, and its cost.

    Args:
        dataset: `Dataset` of single or several labels; the texts of a pair are joined by a blank.
    """
    train, held_out, test = (
        LabelledTexts.of(dataset, split) for split in ("train", "validation", "test")
    )
    model = word_model(dataset, train, held_out)
    if model is None:
        raise DatasetError(f"Expected words in the texts of {dataset.name}. Received: none.")
    found = word_figures(dataset, model.predict(test.texts), test.labels, model.thresholds)
    return {
        "value": float(found[dataset.metric]),
        "validation": model.validation,
        "cost": model.cost,
    }


def page(kept: Mapping[str, Any]) -> str:
    """The table of all sets of rows that are there, as a page."""
    names = [name for name in CELLS if name in kept["datasets"]]
    found = [kept["datasets"][name] for name in names]
    teachers = [item["teacher"] for item in found]
    columns = [
        words("Rows of", names),
        words("Metric", [METRICS[item["metric"]].title for item in found]),
        figures("Test rows", [item["num_test_rows"] for item in found], "{:,}"),
        figures("Teacher", teachers, "{:.4f}"),
        figures("SVM", [item["svm"]["value"] for item in found], "{:.4f}"),
    ]
    for student in STUDENTS:
        of = [item["students"][student] for item in found]
        ahead = [100 * (a["student"] - b["svm"]["value"]) for a, b in zip(of, found, strict=True)]
        share = [a["student"] / teacher for a, teacher in zip(of, teachers, strict=True)]
        columns += [
            figures(student, [item["student"] for item in of], "{:.4f}"),
            figures("control", [item["control"] for item in of], "{:.4f}"),
            words("verdict", [item["verdict"] for item in of]),
            figures("ahead of SVM", ahead, "{:+.1f}"),
            figures("of teacher", share, "{:.1%}"),
        ]
    seeds = "; ".join(
        f"{name}: seeds {item['seeds']}" for name, item in zip(names, found, strict=True)
    )
    told = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    parts = ["# What a stranger gets", Table(columns).markdown(), NOTE, f"{seeds}.", f"{told}."]
    return "\n\n".join(parts) + "\n"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Texts, as a model takes them, and labels of a split."""

    texts: Texts
    labels: np.ndarray


def _read(dataset: Dataset, split: str) -> Rows:
    rows = list(dataset.splits[split])
    labels = label_array([row.label for row in rows], dataset.task, dataset.num_outputs)
    return Rows(batch_texts([row.texts for row in rows]), labels)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows-of", action="append", choices=CELLS, help="default: all of them")
    parser.add_argument("--seed", type=int, action="append", help="default: 0, 1 and 2")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--runs", type=Path, default=RUNS / "defaults")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
