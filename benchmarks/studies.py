"""The tables of docs/studies.md, from the studies in results/.

python benchmarks/results.py pages
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfkd.artifacts import read_json
from tfkd.evaluation.metrics import METRICS

RESULTS = Path(__file__).resolve().parents[1] / "results"
KERAS = "keras"
# A study a data set: emotion, massive_en_us, sst2.
TWO_TEACHERS = (
    "bert_and_friends_emotion_small",
    "bert_and_friends_small",
    "bert_and_friends_sst2_small",
)


def tables() -> dict[str, str]:
    """The marks of docs/studies.md, and what belongs between them."""
    found = {name: _datasets(name) for name in TWO_TEACHERS}
    return {
        "two teachers": two_teachers({k: v for item in found.values() for k, v in item.items()}),
        "bilstm": files(_datasets("bert_to_bilstm_small")["imdb"]),
        "recipes": files(_datasets("transformers_in_production_small")["ag_news"]),
        "half the layers": against_controls(
            _datasets("inside_distilbert_small"), "six_layers", ("three_layers",)
        ),
        "bottleneck": against_controls(
            _datasets("key_value_bottleneck_small"), "minilm", ("mlp", "values")
        ),
    }


def two_teachers(datasets: Mapping[str, Any]) -> str:
    """A line for each data set: the control, the students of A, of B and of both."""
    lines = [["", "teacher A", "control", "from A", "from B", "from both", "published, BERT-tiny"]]
    for name, result in datasets.items():
        arms = ["A", *(f"bert_tiny-{arm}" for arm in ("control", "A", "B", "A+B"))]
        found = [_row(result, arm) for arm in arms]
        published = [row["published"][0]["value"] for row in found[1:]]
        lines.append(
            [
                f"{name}, {result['num_test_rows']:,} rows",
                *(f"{row['mean']:.4f}" for row in found),
                f"{published[0]:.4f} alone, {max(published[1:]):.4f} distilled",
            ]
        )
    return markdown(lines)


def files(result: Mapping[str, Any]) -> str:
    """A line for each arm and file of one data set; time is the first one's, divided."""
    title = METRICS[result["metric"]].title
    lines = [["Arm", "File", title, "ECE", "MB", "Time ratio"]]
    first = result["rows"][0]["latency"]["p50_ms"]
    for row in result["rows"]:
        times = first / row["latency"]["p50_ms"]
        lines.append(
            [
                row["arm"],
                row["file"],
                f"{row['mean']:.4f}",
                f"{row['ece']:.4f}",
                f"{row['size_bytes'] / 1e6:.2f}",
                "1" if times == 1 else f"1/{times:.2g}",
            ]
        )
    return markdown(lines)


def against_controls(datasets: Mapping[str, Any], teacher: str, students: Sequence[str]) -> str:
    """A line for each data set: the teacher, and each student alone, distilled and judged."""
    titles = [f"`{student}` {how}" for student in students for how in ("alone", "distilled")]
    for place in range(len(students)):
        titles.insert(3 * place + 2, "verdict")
    lines = [["", "teacher", *titles]]
    for name, result in datasets.items():
        cells = [f"{name}, {METRICS[result['metric']].title}", _mean(result, teacher)]
        for student in students:
            arms = f"{student}-control", f"{student}-{teacher}"
            judged = next(item for item in result["comparisons"] if (item["b"], item["a"]) == arms)
            cells += [_mean(result, arm) for arm in arms]
            cells.append(f"{judged['verdict']}, {judged['difference']:+.4f}")
        lines.append(cells)
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table; the first line is its heading, the first column words."""
    rows = [lines[0], ["---", *["---:"] * (len(lines[0]) - 1)], *lines[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _datasets(study: str) -> dict[str, Any]:
    return dict(read_json(RESULTS / f"{study}.json")["datasets"])


def _row(result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    return next(row for row in result["rows"] if (row["arm"], row["file"]) == (arm, KERAS))


def _mean(result: Mapping[str, Any], arm: str) -> str:
    return f"{_row(result, arm)['mean']:.4f}"
