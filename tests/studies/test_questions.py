"""A study's questions, answers and table from scores written by hand; nothing is trained."""

import numpy as np
import pytest

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.verbs import StudyConfig
from tfkd.evaluation import metrics
from tfkd.studies.form import read_plan
from tfkd.studies.questions import questions
from tfkd.studies.scores import Scores
from tfkd.studies.table import collect

FORM = """
recipes = ["float32", "dynamic_int8"]
timed_texts = 0
[teachers.A]
model = "bert_mini"
[teachers.B]
model = "bert_mini"
[students.cnn_small]
[students.bilstm]
[datasets.DATASET]
[[arms]]
student = "cnn_small"
teachers = ["A"]
[[arms]]
student = "cnn_small"
teachers = ["A", "B"]
[[arms]]
student = "bilstm"
teachers = ["A"]
"""
NUM_ROWS = 300


def planned(folder, dataset):
    path = folder / "form.toml"
    path.write_text(FORM.replace("DATASET", dataset), encoding="utf-8")
    return read_plan(StudyConfig(study=path, output_dir=folder / "study"))


def write_scores(plan, task, metric, label_names, noise):
    """Every model's answers: the truth with as much noise as its name is said to have."""
    random = np.random.default_rng(0)
    if task == "regression":
        labels = random.uniform(0, 5, NUM_ROWS).astype(np.float32)
        truth = labels[:, None]
    elif task == "multi_label":
        labels = (random.random((NUM_ROWS, len(label_names))) < 0.2).astype(np.int8)
        truth = 2.0 * labels - 1
    else:
        labels = random.integers(0, len(label_names), NUM_ROWS)
        truth = 2 * np.eye(len(label_names))[labels]
    dataset = {
        "name": plan.datasets[0],
        "task": task,
        "metric": metric,
        "label_names": label_names,
        "test_fingerprint": "",
    }
    for item in plan.items:
        kinds = ["keras"] if item in plan.teachers else ["keras", "float32", "dynamic_int8"]
        answers = truth + random.normal(0, noise[item.name], truth.shape)
        logits = {kind: answers.astype(np.float32) for kind in kinds}
        item.path.mkdir(parents=True)
        Scores(labels, logits, 1000, dict.fromkeys(kinds, 4000), "nowhere", dataset).write(
            item.path
        )
        artifacts.write_json(RunFolder(item.path).metrics, {"versions": {}})


NOISE = {
    "A": 0.5,
    "B": 0.6,
    "cnn_small-control": 2.5,
    "cnn_small-A": 1.2,
    "cnn_small-A+B": 1.2,
    "bilstm-control": 2.5,
    "bilstm-A": 1.5,
}


def test_who_is_compared_with_whom(tmp_path):
    pairs = questions(planned(tmp_path, "stsb"))
    assert [(a, b) for (a, kind), (b, other) in pairs if kind == other == "keras"] == [
        ("cnn_small-A", "cnn_small-control"),
        ("cnn_small-A+B", "cnn_small-control"),
        ("bilstm-A", "bilstm-control"),
        ("cnn_small-A", "cnn_small-A+B"),
        ("cnn_small-A", "bilstm-A"),
        ("cnn_small-A", "A"),
        ("cnn_small-A+B", "A"),
        ("cnn_small-A+B", "B"),
        ("bilstm-A", "A"),
    ]
    # A float file has nothing to prove.
    assert [pair for pair in pairs if pair[0][1] != "keras"] == [
        ((name, "dynamic_int8"), (name, "keras"))
        for name in ("cnn_small-A", "cnn_small-A+B", "bilstm-A")
    ]


@pytest.mark.parametrize(
    ("dataset", "task", "metric", "second", "label_names"),
    [
        ("mrpc", "single_label", "f1", "accuracy", ["not_equivalent", "equivalent"]),
        ("stsb", "regression", "pearson", "spearman", ["similarity"]),
        ("cola", "single_label", "mcc", None, ["unacceptable", "acceptable"]),
        ("goemotions", "multi_label", "macro_f1", None, ["joy", "fear", "grief"]),
    ],
)
def test_headline_is_judged_itself_and_the_second_stands_beside(
    tmp_path, dataset, task, metric, second, label_names
):
    plan = planned(tmp_path, dataset)
    write_scores(plan, task, metric, label_names, NOISE)
    result = collect(plan)
    found = result.datasets[dataset]
    assert (found["metric"], found["second_metric"]) == (metric, second)
    rows = {(row["arm"], row["file"]): row for row in found["rows"]}
    figures = []
    for arm in plan.seeds_of()["cnn_small-A"]:
        scores = Scores.read(arm.path)
        logits = scores.logits["keras"]
        figures.append(metrics.evaluate(task, logits, scores.labels, label_names))
    expected = np.mean([one[second] for one in figures]) if second else None
    assert rows["cnn_small-A", "keras"]["second_mean"] == pytest.approx(expected)
    titles = result.markdown().split("\n| :---")[0].splitlines()[-1].split(" | ")
    assert (metrics.METRICS[second].title in titles) if second else "-" not in titles
    by_names = {(item["a"], item["b"]): item for item in found["comparisons"]}
    for item in by_names.values():
        assert item["rows"]["test"] == "paired bootstrap"
    control = by_names["cnn_small-A", "cnn_small-control"]
    assert control["mean_a"] == pytest.approx(rows["cnn_small-A", "keras"]["mean"])
    assert control["mean_b"] == pytest.approx(rows["cnn_small-control", "keras"]["mean"])
    assert control["verdict"] == "BETTER"
    file = by_names["cnn_small-A dynamic_int8", "cnn_small-A"]
    assert (file["difference"], file["rows"]["p_value"]) == (0.0, 1.0)
    teacher = by_names["cnn_small-A", "A"]
    assert (teacher["test"], teacher["verdict"]) == ("one-sample t-test over seeds", "WORSE")
    share = teacher["mean_a"] / rows["A", "keras"]["mean"]
    assert teacher["sentence"].startswith("cnn_small-A is worse than its teacher A by ")
    assert teacher["sentence"].endswith(f" It reaches {share:.1%} of the teacher's figure.")


def test_teacher_that_knows_nothing_has_no_share_to_reach(tmp_path):
    plan = planned(tmp_path, "stsb")
    write_scores(plan, "regression", "pearson", ["similarity"], {**NOISE, "A": 0.0, "B": 1e30})
    for item in plan.teachers:
        scores = Scores.read(item.path)
        constant = {"keras": np.zeros_like(scores.logits["keras"])}
        Scores(scores.labels, constant, 1000, scores.size_bytes, "nowhere", scores.dataset).write(
            item.path
        )
    sentences = collect(plan).sentences("stsb")
    told = [line for line in sentences if "its teacher" in line]
    assert len(told) == 4
    assert not any("It reaches" in line for line in told)
