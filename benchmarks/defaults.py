"""What a stranger gets: the default student beside its teacher, its control and a linear SVM.

Makes configs/defaults.toml, data set by data set, and trains TF-IDF of words and word pairs with a
linear SVM on the very rows that the teacher is trained on. The SVM's one setting is chosen on the
validation rows; test rows are seen once. Data sets that were made before stay in the results, so
that several sessions share the work.

    python benchmarks/defaults.py --data-dir DIR --dataset emotion_1000 --dataset sst2_1000
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from tfkd.artifacts import read_json, versions, write_json, write_text
from tfkd.config.verbs import StudyConfig
from tfkd.data.examples import MULTI_LABEL, SINGLE_LABEL, Dataset
from tfkd.data.tokens import label_array
from tfkd.errors import TfkdError
from tfkd.evaluation.metrics import METRICS, evaluate
from tfkd.evaluation.table import Table, figures, words
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import load_dataset
from tfkd.studies.form import read_plan
from tfkd.studies.table import collect
from tfkd.workflows.study import study

ROOT = Path(__file__).resolve().parents[1]
STUDY, RESULTS = ROOT / "configs" / "defaults.toml", ROOT / "results" / "defaults.json"
TEACHER, STUDENTS = "minilm", ("bert_tiny", "cnn")
SVM_COSTS = (0.1, 0.3, 1.0, 3.0)
NOTE = (
    "Teacher: all-MiniLM-L6-v2, fine-tuned once a row of the table. Student and control: Keras "
    "models, means over the seeds. Nothing is given but data, teacher and student; the student "
    "hears its teacher alone, as in every study. Verdict: the "
    "student against its control, over seeds and test rows. Ahead of SVM: points. Of teacher: "
    "share of its figure."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes what is asked for and writes results/defaults.json and .md; gives the exit code."""
    options = _parser().parse_args(arguments)
    quiet_libraries()
    try:
        plan = read_plan(StudyConfig(study=options.study, data_dir=options.data_dir))
        for name in options.dataset or plan.datasets:
            study(StudyConfig(study=options.study, data_dir=options.data_dir, datasets=(name,)))
            part = plan.of(name)
            found = collect(part).datasets[name]
            dataset = load_dataset(part.arms[0].config)
            keep(options.output, name, found | {"svm": svm_figure(dataset)})
    except (TfkdError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"Written: {options.output}")
    return 0


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
    parts = {name: _read(dataset, name) for name in ("train", "validation", "test")}
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    train = features.fit_transform(parts["train"].texts)
    held_out, test = (features.transform(parts[name].texts) for name in ("validation", "test"))
    best: tuple[float, float, Any] = (-np.inf, 0.0, None)
    for cost in SVM_COSTS:
        model = LinearSVC(C=cost, random_state=0)
        if dataset.task == MULTI_LABEL:
            model = OneVsRestClassifier(model)
        model.fit(train, parts["train"].labels)
        figure = _figure(dataset, model, held_out, parts["validation"].labels)
        if figure > best[0]:
            best = (figure, cost, model)
    figure = _figure(dataset, best[2], test, parts["test"].labels)
    return {"value": figure, "validation": best[0], "cost": best[1]}


def page(kept: Mapping[str, Any]) -> str:
    """The table of all data sets that are there, as a page."""
    names = list(kept["datasets"])
    found = list(kept["datasets"].values())
    columns = [
        words("Rows of", names),
        words("Metric", [METRICS[item["metric"]].title for item in found]),
        figures("Test rows", [item["num_test_rows"] for item in found], "{:,}"),
        figures("Teacher", [_mean(item, TEACHER) for item in found], "{:.4f}"),
        figures("SVM", [item["svm"]["value"] for item in found], "{:.4f}"),
    ]
    for student in STUDENTS:
        columns += [
            figures(student, [_mean(item, f"{student}-{TEACHER}") for item in found], "{:.4f}"),
            figures("control", [_mean(item, f"{student}-control") for item in found], "{:.4f}"),
            words("verdict", [_verdict(item, student) for item in found]),
            figures("ahead of SVM", [_ahead(item, student) for item in found], "{:+.1f}"),
            figures("of teacher", [_share(item, student) for item in found], "{:.1%}"),
        ]
    seeds = found[0]["rows"][-1]["seeds"]
    told = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    parts = ["# What a stranger gets", Table(columns).markdown(), NOTE, f"Seeds {seeds}; {told}."]
    return "\n\n".join(parts) + "\n"


@dataclasses.dataclass(frozen=True)
class _Rows:
    texts: list[str]
    labels: np.ndarray


def _read(dataset: Dataset, split: str) -> _Rows:
    rows = list(dataset.splits[split])
    labels = label_array([row.label for row in rows], dataset.task, dataset.num_outputs)
    return _Rows([" ".join(row.texts) for row in rows], labels)


def _figure(dataset: Dataset, model: Any, features: Any, labels: np.ndarray) -> float:
    """The metric of an SVM's decisions, its distances in the place of logits."""
    distances = model.decision_function(features)
    logits = np.zeros((len(labels), dataset.num_outputs))
    if dataset.task == SINGLE_LABEL:
        # A class without rows is never the answer.
        logits -= np.abs(distances).max() + 1
        if distances.ndim == 1:
            distances = np.stack([-distances, distances], axis=1)
        logits[:, model.classes_] = distances
    else:
        logits[:] = distances
    found = evaluate(dataset.task, logits, labels, dataset.label_names)
    return float(found[dataset.metric])


def _mean(found: Mapping[str, Any], arm: str) -> float:
    return next(row["mean"] for row in found["rows"] if row["arm"] == arm)


def _verdict(found: Mapping[str, Any], student: str) -> str:
    arms = (f"{student}-{TEACHER}", f"{student}-control")
    return next(item["verdict"] for item in found["comparisons"] if (item["a"], item["b"]) == arms)


def _ahead(found: Mapping[str, Any], student: str) -> float:
    return 100 * (_mean(found, f"{student}-{TEACHER}") - found["svm"]["value"])


def _share(found: Mapping[str, Any], student: str) -> float:
    return _mean(found, f"{student}-{TEACHER}") / _mean(found, TEACHER)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--dataset", action="append", help="a data set of the study; default: all")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
