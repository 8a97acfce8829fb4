"""What a run came to, in sentences: what was made, what it cost, whether the teacher helped."""

from collections.abc import Mapping, Sequence

from tfkd.evaluation.baselines import WORDS_RIDGE, WORDS_SVM
from tfkd.evaluation.metrics import METRICS, is_better
from tfkd.evaluation.rows import BASELINE, TEACHER, WITH_TOKENS, Row
from tfkd.evaluation.table import Table, figures, words
from tfkd.evaluation.verdict import (
    BETTER,
    EQUAL,
    TOO_FEW,
    WORSE,
    Comparison,
    interval_words,
    size_words,
)

# How a row is called in a sentence about another.
NAMES = {TEACHER: "its teacher", "control": "its control"}
KERAS = "keras"


def shipped(rows: Sequence[Row]) -> Row:
    """The smallest file of the model that a table is about, whose rows are the last ones."""
    arm = rows[-1].arm
    return min((row for row in rows if row.arm == arm), key=lambda row: row.size_bytes or 0)


def lead(rows: Sequence[Row], metric: str, help: Comparison | None = None) -> str:
    """What came out, for somebody who knows nothing of the run.

    Args:
        rows: `Row` of a table; the last one is of the model that it is about.
        metric: String. Headline metric, a name of `METRICS`.
        help: The student's paired test against its control.

    Example:
    >>> lead(rows, "accuracy", comparison)
    "A model of 91.10 MB with accuracy 0.9209 became one of 4.66 MB with accuracy 0.9144, 26 times
    as fast on one text. The teacher's help is BETTER than none: 1.19 points ahead of the equal
    student without it (95% interval 0.72 to 1.66, McNemar p=0.0084)."
    """
    own, title = shipped(rows), METRICS[metric].full_name or METRICS[metric].title.lower()
    teacher = next((row for row in rows if row.arm == TEACHER), None)
    told = f"{_megabytes(own)} with {title} {own.metrics[metric]:.4f}"
    if teacher is not None and teacher.size_bytes is not None:
        before = f"{_megabytes(teacher)} with {title} {teacher.metrics[metric]:.4f}"
        times = _times_as_fast(own, teacher)
        faster = f", {times:.0f} times as fast on one text" if times and times >= 1.5 else ""
        told = f"A model of {before} became one of {told}{faster}."
    else:
        told = f"A model of {told}."
    return told if help is None else f"{told} {_help(help, metric)}"


def _help(found: Comparison, metric: str) -> str:
    """Whether the teacher's help was worth it, with its test."""
    side = "ahead of" if found.difference > 0 else "behind"
    size = f"{size_words(found.difference, metric)} {side} the equal student without it"
    if abs(found.difference) <= EQUAL:
        size = "level with the equal student without it"
    interval = interval_words(found.low, found.high, found.confidence, metric)
    test = f"{interval}, {found.test} p={found.p_value:.2g}"
    said = {
        BETTER: "The teacher's help is BETTER than none",
        WORSE: "The teacher's help is WORSE than none",
        TOO_FEW: "The test rows are too few to tell whether the teacher helped",
    }
    verdict = said.get(found.verdict, "Whether the teacher helped is INCONCLUSIVE")
    return f"{verdict}: {size} ({test})."


def short_table(rows: Sequence[Row], metric: str) -> Table:
    """Model, quality, share of the teacher's quality, megabytes and milliseconds of each row.

    Example:
    >>> print(short_table(rows, "accuracy").markdown())
    | Model | Accuracy | Of the teacher's | MB | One text, ms |
    | :--- | ---: | ---: | ---: | ---: |
    | teacher: minilm | 0.9209 | 100.0% | 91.10 | 8.37 |
    | student: bert_tiny, dynamic_int8 | 0.9144 | 99.3% | 4.66 | 0.32 |
    """
    teacher = next((row for row in rows if row.arm == TEACHER), None)
    whole = teacher.metrics[metric] if teacher and METRICS[metric].higher_is_better else 0.0
    # A share of a correlation below zero is none.
    shares = [row.metrics[metric] / whole if whole > 0 else None for row in rows]
    values = [row.metrics[metric] for row in rows]
    times = [(row.latency or {}).get(WITH_TOKENS) for row in rows]
    return Table(
        [
            words("Model", map(label, rows)),
            figures(METRICS[metric].title, values, "{:.4f}"),
            figures("Of the teacher's", shares, "{:.1%}"),
            figures("MB", [row.size_bytes and row.size_bytes / 1e6 for row in rows], "{:.2f}"),
            figures("One text, ms", times, "{:.2f}"),
        ]
    ).without_empty(METRICS[metric].title)


def short_note(rows: Sequence[Row], metric: str) -> str:
    """How to read `short_table`.

    Args:
        rows: `Row`s.
        metric: String. Headline metric.
    """
    titles = [column.title for column in short_table(rows, metric).columns]
    full = METRICS[metric].full_name
    told = {
        METRICS[metric].title: f"{METRICS[metric].title}: {full}." if full else "",
        "Of the teacher's": "Of the teacher's: the figure as a share of the teacher's.",
        "MB": "MB: 10^6 bytes of the file.",
        "One text, ms": "One text: median time, warm, tokenization included.",
    }
    notes = [told.get(title, "") for title in titles]
    if any(row.arm == "control" for row in rows):
        notes.append("Control: the equal student, trained without the teacher.")
    if any(row.arm == BASELINE for row in rows):
        notes.append("Models without an arm before their name are there to compare with.")
    return " ".join(filter(None, notes))


def label(row: Row) -> str:
    """A row in a word or two, such as "student: bert_tiny, dynamic_int8"."""
    if row.arm == BASELINE:
        return row.model
    file = "" if row.recipe == KERAS else f", {row.recipe}"
    return f"{row.arm}: {last_part(row.model)}{file}"


def last_part(name: str) -> str:
    """A model's handle or path without what stands before its last slash.

    >>> last_part("hf://sentence-transformers/all-MiniLM-L6-v2")
    'all-MiniLM-L6-v2'
    """
    return name.rstrip("/").rpartition("/")[2]


def _megabytes(row: Row) -> str:
    return "no file" if row.size_bytes is None else f"{row.size_bytes / 1e6:.2f} MB"


def _times_as_fast(row: Row, teacher: Row) -> float | None:
    own, other = ((item.latency or {}).get(WITH_TOKENS) for item in (row, teacher))
    return other / own if own and other else None


def standing(
    rows: Sequence[Row], metric: str, comparisons: Mapping[str, Comparison] | None = None
) -> str:
    """Where a model's smallest file stands by its test rows: below what, above what, in one line.

    Args:
        rows: `Row` of a table; the last one is of the model that it is about.
        metric: String. Headline metric, a name of `METRICS`.
        comparisons: Mapping of `student_vs_teacher`, `student_vs_control` and `student_vs_words` to
            the paired tests. What they cannot tell apart is said to be within chance.

    Example:
    >>> standing(rows, "accuracy")
    'The student (dynamic_int8, Accuracy 0.9010) stands 2.10 points below its teacher (0.9220) and
    above TF-IDF + linear SVM (0.8920) and its control (0.8840), at 5% of the teacher's bytes.'
    """
    own = shipped(rows)
    arm = own.arm
    value = own.metrics[metric]
    below, level, unclear, above = [], [], [], []
    for other in (row for row in rows if row.arm != arm):
        figure = other.metrics[metric]
        name = f"{NAMES.get(other.arm, other.model)} ({figure:.4f})"
        if abs(value - figure) <= EQUAL:
            level.append(name)
        elif _is_unclear(other, comparisons or {}):
            unclear.append(name)
        elif is_better(metric, value, figure):
            above.append(name)
        else:
            below.append(f"{size_words(value - figure, metric)} below {name}")
    sides = {"level with": level, "within chance of": unclear, "above": above}
    parts = [*below, *(f"{side} {_joined(names)}" for side, names in sides.items() if names)]
    file = "" if own.recipe == KERAS else f"{own.recipe}, "
    told = f"The {arm} ({file}{METRICS[metric].title} {value:.4f})"
    places = f" stands {_joined(parts)}" if parts else " stands alone"
    return f"{told}{places}{_share(own, rows)}."


def _is_unclear(other: Row, comparisons: Mapping[str, Comparison]) -> bool:
    """Whether the paired test with a row's model was made and decides for none."""
    is_words = other.model in (WORDS_SVM, WORDS_RIDGE)
    found = comparisons.get(f"student_vs_{'words' if is_words else other.arm}")
    return found is not None and found.verdict not in (BETTER, WORSE)


def _share(own: Row, rows: Sequence[Row]) -> str:
    """The file's bytes as a share of the teacher's."""
    whole = next((row.size_bytes for row in rows if row.arm == TEACHER), None)
    if not whole or own.size_bytes is None:
        return ""
    share = own.size_bytes / whole
    return (
        f", at {share:.0%} of the teacher's bytes"
        if share >= 0.095
        else (f", at {share:.1%} of the teacher's bytes")
    )


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
