"""The table of a study and its verdicts, from what is kept of its models; none is loaded."""

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfkd.artifacts import RunFolder
from tfkd.data.tokens import is_answered
from tfkd.distillation.mixing import Mixing
from tfkd.distillation.mixture import mixture
from tfkd.errors import ArtifactError, shown
from tfkd.evaluation import metrics
from tfkd.evaluation.rows import SECOND_METRICS
from tfkd.evaluation.table import MISSING, Shown, Table, figures, words
from tfkd.runs.record import KeptMixture, read_metrics
from tfkd.seals import damage, read_record
from tfkd.studies.plan import ArmPlan, StudyPlan, TeacherPlan
from tfkd.studies.questions import answered
from tfkd.studies.scores import KERAS, RECORD, Scores, is_scored

NOTE = (
    "Arm: a teacher, or a student taught by one teacher or several; a control is the same student "
    "taught by the labels alone. Means over the seeds; deviation: standard deviation over them. A "
    "teacher is one model. ECE: expected calibration error; lower is better. Agreement: share of "
    "answers that are also the teacher's, of the arm's own teachers or, for a control, of the data "
    "set's first. MB: 10^6 bytes of the model file. p50: median time of one text, warm, "
    "tokenization included, one thread, all kinds of files in turns; taken once for all arms of a "
    "student. A verdict of better or worse needs seeds and test rows to agree at the 5% level. "
    "Published: by others, on their machines."
)
RESULTS = "study.json"
Figures = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, repr=False)
class StudyResult(Shown):
    """A study's figures and verdicts.

    Attributes:
        study: Its name.
        datasets: By data set: `metric`, `second_metric`, `num_test_rows`, `rows`, `comparisons`.
        versions: Version by package of the first arm.
    """

    study: str
    datasets: dict[str, dict[str, Any]]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def sentences(self, dataset: str) -> list[str]:
        """The verdicts on a data set in words."""
        return [item["sentence"] for item in self.datasets[dataset]["comparisons"]]

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        shown: list[Table | str] = []
        for name, found in self.datasets.items():
            shown += [f"{name}, {found['num_test_rows']:,} test rows", figure_table(found)]
            shown += [*sources(found), *self.sentences(name)]
        return [*shown, NOTE]

    def markdown(self) -> str:
        """The same as a page."""
        parts = [f"# {self.study}"]
        for name, found in self.datasets.items():
            told = [f"- {line}" for line in (*sources(found), *self.sentences(name))]
            parts += [f"## {name}", f"{found['num_test_rows']:,} test rows."]
            parts += [figure_table(found).markdown(), "\n".join(told)]
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n\n".join([*parts, NOTE, f"Versions: {versions}."]) + "\n"


def collect(plan: StudyPlan) -> StudyResult:
    """Makes the table and the verdicts of a study whose models are all there.

    Raises:
        ArtifactError: Some are missing, or their test rows differ.
    """
    missing = [item.path / RECORD for item in plan.teachers if not is_scored(item.path)]
    runs = [RunFolder(arm.path) for arm in plan.arms]
    missing += [run.metrics for run in runs if not run.is_finished]
    if plan.terms.timed_texts:
        parts = map(plan.of, plan.datasets)
        missing += [path for path in map(times_path, parts) if not path.is_file()]
    if missing:
        raise ArtifactError(
            f"Expected a finished study in {plan.path}. Received: one without {missing[0]} and "
            f"{len(missing) - 1} more files. Start `tfkd study` again; it goes on where it stopped."
        )
    datasets = {name: _dataset_results(plan.of(name)) for name in plan.datasets}
    versions = read_metrics(runs[0])["versions"]
    return StudyResult(plan.name, datasets, versions)


def times_path(plan: StudyPlan) -> Path:
    """Path of the times of one data set's files."""
    return plan.path / f"{plan.datasets[0]}-times.json"


def time_key(item: TeacherPlan | ArmPlan, kind: str) -> str:
    """Name of what is timed once: a teacher, or a kind of file of a student, however taught."""
    return f"{item.student if isinstance(item, ArmPlan) else 'teacher ' + item.name}, {kind}"


def _dataset_results(plan: StudyPlan) -> dict[str, Any]:
    teachers = {item.name: Scores.read(item.path) for item in plan.teachers}
    arms = {
        name: [Scores.read(arm.path) for arm in seeds] for name, seeds in plan.seeds_of().items()
    }
    first = next(iter(teachers.values()))
    for scores in itertools.chain(teachers.values(), *arms.values()):
        if scores.dataset != first.dataset or not np.array_equal(scores.labels, first.labels):
            raise ArtifactError(
                f"Expected all models of {plan.datasets[0]} in {plan.path} to answer the same test "
                f"rows. Received: other rows in {scores.model_folder}. Delete its run and start "
                "the study again."
            )
    figures = {
        name: {KERAS: [_figures(scores, KERAS, None)]} for name, scores in teachers.items()
    } | {name: _arm_figures(seeds, arms[name], teachers) for name, seeds in plan.seeds_of().items()}
    scored = {name: [scores] for name, scores in teachers.items()} | arms
    return {
        "metric": first.dataset["metric"],
        "second_metric": SECOND_METRICS.get(first.dataset["metric"]),
        "num_test_rows": len(first.labels),
        "rows": _rows(plan, scored, figures),
        "refused": [
            f"No {recipe} of {name}, seed {arm.config.seed}: {reason}"
            for name, seeds in plan.seeds_of().items()
            for arm, scores in zip(seeds, arms[name], strict=True)
            for recipe, reason in scores.refused.items()
        ],
        "comparisons": answered(plan, scored),
    }


def _arm_figures(
    seeds: Sequence[ArmPlan], scores: Sequence[Scores], teachers: Mapping[str, Scores]
) -> dict[str, Figures]:
    """All metrics of an arm by file, one a seed."""
    arm = seeds[0]
    asked = [teachers[name] for name in arm.teachers or (arm.start,)]
    logits, mixing = [one.logits[KERAS] for one in asked], _used_mixing(arm)
    reference = mixture(scores[0].dataset["task"], logits, arm.config.temperature, mixing)
    # A mean of answers is held against the same mean of their thresholds.
    thresholds = np.average(
        [np.asarray(one.thresholds) for one in asked], axis=0, weights=mixing.weights or None
    )
    return {
        kind: [_figures(one, kind, reference, thresholds) for one in scores if kind in one.logits]
        for kind in dict.fromkeys(kind for one in scores for kind in one.logits)
    }


def _used_mixing(arm: ArmPlan) -> Mixing:
    """The weights of the teachers; learned ones are in the run alone."""
    kept = KeptMixture.read(RunFolder(arm.path))
    return arm.mixing if kept is None else kept.mixing


def _mixture(item: TeacherPlan | ArmPlan) -> str | None:
    """The weights of several teachers in words."""
    if isinstance(item, TeacherPlan) or len(item.teachers) < 2:
        return None
    return _used_mixing(item).describe(item.teachers, item.mixing.weighting)


def _figures(
    scores: Scores, kind: str, reference: np.ndarray | None, thresholds: ArrayLike = 0.5
) -> dict[str, Any]:
    """All metrics of a file, and its agreement with reference logits at their own thresholds."""
    rows = is_answered(scores.logits[kind])
    return metrics.evaluate(
        scores.dataset["task"],
        scores.logits[kind][rows],
        scores.labels[rows],
        scores.dataset["label_names"],
        None if reference is None else reference[rows],
        scores.thresholds,
        thresholds,
    )


def _rows(
    plan: StudyPlan,
    scored: Mapping[str, list[Scores]],
    figures: Mapping[str, Mapping[str, Figures]],
) -> list[dict[str, Any]]:
    """One row for every teacher, and every file of every arm."""
    items: dict[str, tuple[TeacherPlan | ArmPlan, list[int]]] = {
        item.name: (item, []) for item in plan.teachers
    }
    for name, arms in plan.seeds_of().items():
        items[name] = (arms[0], [arm.config.seed for arm in arms])
    times = _times(plan)
    metric = next(iter(scored.values()))[0].dataset["metric"]
    rows = []
    for name, (item, seeds) in items.items():
        for kind, found in figures[name].items():
            values = [one[metric] for one in found]
            kept = [one for one in scored[name] if kind in one.logits]
            rows.append(
                {
                    "arm": name,
                    "file": kind,
                    "seeds": [
                        seed
                        for seed, one in zip(seeds, scored[name], strict=False)
                        if kind in one.logits
                    ],
                    "values": values,
                    "mean": statistics.fmean(values),
                    "deviation": statistics.stdev(values) if len(values) > 1 else None,
                    "second_mean": _mean(found, SECOND_METRICS.get(metric)),
                    **{key: _mean(found, key) for key in ("ece", "nll", "agreement")},
                    "parameters": scored[name][0].parameters,
                    "size_bytes": kept[0].size_bytes[kind],
                    "latency": times.get(time_key(item, kind)),
                    "mixture": _mixture(item),
                    "published": [
                        {"value": figure.value, "source": figure.source}
                        for figure in plan.published
                        if figure.arm == name and kind == KERAS
                    ],
                }
            )
    return rows


def _times(plan: StudyPlan) -> Mapping[str, Any]:
    """Times of one data set's files by `time_key`; empty where none were to be taken."""
    path, remedy = times_path(plan), "Delete it and start the study again."
    if not path.is_file():
        return {}
    times = read_record(path, remedy).get("times")
    if not isinstance(times, dict):
        raise ArtifactError(damage(path, f"times={shown(times)}", remedy))
    return times


def _mean(found: Figures, name: str | None) -> float | None:
    return statistics.fmean(one[name] for one in found) if name in found[0] else None


def figure_table(found: Mapping[str, Any]) -> Table:
    """One line for each file of a data set."""
    rows, second = found["rows"], found["second_metric"]
    sizes = [row["size_bytes"] and row["size_bytes"] / 1e6 for row in rows]
    times = [row["latency"] and row["latency"]["p50_ms"] for row in rows]
    return Table(
        [
            words("Arm", [row["arm"] for row in rows]),
            words("File", [row["file"] for row in rows]),
            figures("Seeds", [len(row["seeds"]) or None for row in rows]),
            figures(_title(found["metric"]), [row["mean"] for row in rows], "{:.4f}"),
            figures("Deviation", [row["deviation"] for row in rows], "{:.4f}"),
            figures("Lowest to highest", [_spread(row["values"]) for row in rows]),
            figures(_title(second), [row["second_mean"] for row in rows], "{:.4f}"),
            figures("ECE", [row["ece"] for row in rows], "{:.4f}"),
            figures("Agreement", [row["agreement"] for row in rows], "{:.4f}"),
            figures("Parameters", [row["parameters"] for row in rows], "{:,}"),
            figures("Size, MB", sizes, "{:.2f}"),
            figures("p50, ms", times, "{:.2f}"),
            figures("Published", [_published(row) for row in rows]),
        ]
    ).without_empty()


def _title(metric: str | None) -> str:
    return metrics.METRICS[metric].title if metric else MISSING


def _spread(values: Sequence[float]) -> str | None:
    return f"{min(values):.4f} to {max(values):.4f}" if len(values) > 1 else None


def _published(row: Mapping[str, Any]) -> str | None:
    return ", ".join(f"{figure['value']:.4f}" for figure in row["published"]) or None


def sources(found: Mapping[str, Any]) -> list[str]:
    """Sentences on weights of teachers, sources of published figures, and files that failed."""
    mixed = {row["arm"]: row["mixture"] for row in found["rows"] if row["mixture"]}
    published = [
        f"Published beside {row['arm']}: {figure['value']:.4f}, {figure['source']}."
        for row in found["rows"]
        for figure in row["published"]
    ]
    teachers = [f"Teachers of {name}: {words}." for name, words in mixed.items()]
    return [*teachers, *published, *found["refused"]]
