"""The README's table and picture: the means of a study, and rivals on the same rows.

`python benchmarks/results.py readme` writes both; the study is `STUDY`, made by `tfkd study` from
its config, and its rivals by `benchmarks/rivals.py`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tfkd.evaluation.table import Table, figures, words

STUDY = "transformers_in_production_small"
DATASET = "ag_news"
PICTURE = Path("docs") / "pictures" / "headline.svg"
TEACHER, STUDENT, CONTROL = "minilm", "bert_tiny-minilm", "bert_tiny-control"
# Arm and file to what the table and the picture call them.
FILES = {
    (TEACHER, "keras"): ("MiniLM, the teacher", "MiniLM, the teacher"),
    (STUDENT, "dynamic_int8"): ("BERT-tiny taught by it, int8 file", "BERT-tiny, int8"),
    (STUDENT, "qat_int8"): (
        "The same, trained as int8",
        "BERT-tiny, trained as int8",
    ),
    (CONTROL, "keras"): ("BERT-tiny without a teacher, its control", "BERT-tiny without a teacher"),
}
RIVALS = {
    "tfidf_svm": ("TF-IDF of words and word pairs, linear SVM", "TF-IDF + linear SVM"),
    "fasttext": ("fastText", "fastText"),
    "fasttext_quantized": ("fastText, quantized", "fastText, quantized"),
}
COLORS = {"teacher": "#4c566a", "student": "#0b7285", "rival": "#b08968"}


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        name: String.
        short: String. Its name in the picture.
        accuracy: Float, on the test rows; the mean over the seeds of what has seeds.
        megabytes: Float, of the file, 10^6 bytes; None for what is not shipped.
        milliseconds: Float, median time of one text; None where it was not taken.
        group: String: teacher, student, control or rival.
    """

    name: str
    short: str
    accuracy: float
    megabytes: float | None
    milliseconds: float | None
    group: str


def lines(study: dict[str, Any], rivals: Sequence[dict[str, Any]]) -> list[Line]:
    """The lines in the order of the table.

    Args:
        study: JSON object of the study's results.
        rivals: JSON objects of `benchmarks/rivals.py`.
    """
    rows = {(row["arm"], row["file"]): row for row in study["datasets"][DATASET]["rows"]}
    groups = {TEACHER: "teacher", STUDENT: "student", CONTROL: "control"}
    found = []
    for (arm, file), names in FILES.items():
        row = rows[arm, file]
        # The control is there to compare with; its float32 model is not what one would ship.
        costs = (row["size_bytes"] / 1e6, row["latency"]["p50_ms"]) if arm != CONTROL else None
        found.append(Line(*names, row["mean"], *(costs or (None, None)), groups[arm]))
    by_arm = {row["arm"]: row for row in rivals}
    for arm, names in RIVALS.items():
        row = by_arm[arm]
        size = row["size_bytes"] / 1e6
        found.append(Line(*names, row["metrics"]["accuracy"], size, None, "rival"))
    return found


def markdown(study: dict[str, Any], rivals: Sequence[dict[str, Any]]) -> str:
    """The table, and the study's sentences on student, control and teacher."""
    made = lines(study, rivals)
    slowest = made[0].milliseconds
    faster = [slowest / line.milliseconds if line.milliseconds else None for line in made]
    table = Table(
        [
            words("Model", [line.name for line in made]),
            figures("Accuracy", [line.accuracy for line in made], "{:.4f}"),
            figures("File, MB", [line.megabytes for line in made], "{:.1f}"),
            figures("One text, ms", [line.milliseconds for line in made], "{:.2f}"),
            figures("Times as fast", faster, "{:.0f}"),
        ]
    )
    told = [
        f"- {_told(found['sentence'])}"
        for found in study["datasets"][DATASET]["comparisons"]
        if (found["a"], found["b"]) in ((STUDENT, CONTROL), (STUDENT, TEACHER))
    ]
    return "\n".join([table.markdown(), "", *told])


def _told(sentence: str) -> str:
    """A sentence of the study, the arms called by what they are."""
    sentence = sentence.replace(STUDENT, "The student").replace(CONTROL, "its control")
    return sentence.replace(f"its teacher {TEACHER}", "its teacher")


def picture(study: dict[str, Any], rivals: Sequence[dict[str, Any]], path: Path) -> None:
    """Accuracy against megabytes, as SVG; the same bytes for the same figures."""
    # Letters stay letters, so the browser's own font shows them.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "tfkd", "font.family": "sans-serif"}
    with rc_context(settings):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for line in lines(study, rivals):
            _draw(axes, line)
        axes.set_xscale("log")
        axes.set_xlim(1, 300)
        axes.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
        axes.set_xlabel("megabytes of the file")
        axes.set_ylabel("accuracy")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw(axes: Axes, line: Line) -> None:
    """A point with its name; what is not shipped is a level."""
    if line.megabytes is None:
        axes.axhline(line.accuracy, color="#868e96", linestyle="--", linewidth=1)
        axes.text(280, line.accuracy, line.short, ha="right", va="bottom", fontsize=9)
        return
    axes.plot(line.megabytes, line.accuracy, "o", color=COLORS[line.group])
    # Of the two int8 files of one size the lower has its name below.
    place = (7, -11) if line.short == "BERT-tiny, int8" else (7, 5)
    if line.group == "teacher":
        place = (-4, -14)
    axes.annotate(
        line.short,
        (line.megabytes, line.accuracy),
        place,
        textcoords="offset points",
        fontsize=9,
        ha="center" if line.group == "teacher" else "left",
    )
