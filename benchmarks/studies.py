"""The tables of docs/studies.md, from the studies in results/.

python benchmarks/results.py pages
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfkd.artifacts import read_json
from tfkd.evaluation.metrics import METRICS
from tfkd.evaluation.table import Column, Table, figures, words

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
    arms = {
        "teacher A": "A",
        "control": "bert_tiny-control",
        "from A": "bert_tiny-A",
        "from B": "bert_tiny-B",
        "from both": "bert_tiny-A+B",
    }
    published = []
    for result in datasets.values():
        _, alone, *distilled = (_row(result, arm)["published"] for arm in arms.values())
        best = max(figure["value"] for (figure, *_) in distilled)
        published.append(f"{alone[0]['value']:.4f} alone, {best:.4f} distilled")
    names = [f"{name}, {result['num_test_rows']:,} rows" for name, result in datasets.items()]
    return Table(
        [
            words("", names),
            *(_means(title, datasets, arm) for title, arm in arms.items()),
            figures("published, BERT-tiny", published),
        ]
    ).markdown()


def files(result: Mapping[str, Any]) -> str:
    """A line for each arm and file of one data set; time is the first one's, divided."""
    rows = result["rows"]
    times = [rows[0]["latency"]["p50_ms"] / row["latency"]["p50_ms"] for row in rows]
    ratios = ["1" if time == 1 else f"1/{time:.2g}" for time in times]
    return Table(
        [
            words("Arm", [row["arm"] for row in rows]),
            words("File", [row["file"] for row in rows]),
            figures(METRICS[result["metric"]].title, [row["mean"] for row in rows], "{:.4f}"),
            figures("ECE", [row["ece"] for row in rows], "{:.4f}"),
            figures("MB", [row["size_bytes"] / 1e6 for row in rows], "{:.2f}"),
            figures("Time ratio", ratios),
        ]
    ).markdown()


def against_controls(datasets: Mapping[str, Any], teacher: str, students: Sequence[str]) -> str:
    """A line for each data set: the teacher, and each student alone, distilled and judged."""
    names = [f"{name}, {METRICS[result['metric']].title}" for name, result in datasets.items()]
    columns = [words("", names), _means("teacher", datasets, teacher)]
    for student in students:
        control, taught = f"{student}-control", f"{student}-{teacher}"
        columns += [
            _means(f"`{student}` alone", datasets, control),
            _means(f"`{student}` distilled", datasets, taught),
            figures("verdict", [_verdict(item, taught, control) for item in datasets.values()]),
        ]
    return Table(columns).markdown()


def _datasets(study: str) -> dict[str, Any]:
    return dict(read_json(RESULTS / f"{study}.json")["datasets"])


def _row(result: Mapping[str, Any], arm: str) -> dict[str, Any]:
    return next(row for row in result["rows"] if (row["arm"], row["file"]) == (arm, KERAS))


def _verdict(result: Mapping[str, Any], a: str, b: str) -> str:
    judged = next(item for item in result["comparisons"] if (item["a"], item["b"]) == (a, b))
    return f"{judged['verdict']}, {judged['difference']:+.4f}"


def _means(title: str, datasets: Mapping[str, Any], arm: str) -> Column:
    return figures(title, [_row(result, arm)["mean"] for result in datasets.values()], "{:.4f}")
