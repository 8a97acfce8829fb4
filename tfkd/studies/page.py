"""The report of a study as a page: verdicts first, then models, pictures and all figures."""

from collections.abc import Mapping
from typing import Any

from tfkd.evaluation.metrics import METRICS
from tfkd.evaluation.table import Table, figures, words
from tfkd.reports.page import Page, Section
from tfkd.reports.plots import Picture, Point, price_pictures
from tfkd.reports.run_page import MEGABYTES, TIME
from tfkd.studies.scores import KERAS
from tfkd.studies.table import NOTE, StudyResult, figure_table, sources

SHORT_NOTE = (
    "Means over the seeds. Of the teacher's: the figure as a share of the first teacher's. MB: "
    "10^6 bytes of the file. One text: median time, warm, tokenization included. Control: the "
    "equal student, trained without a teacher."
)


def study_page(result: StudyResult) -> Page:
    """The page of a study.

    Args:
        result: `StudyResult`.
    """
    firsts = [result.sentences(name)[:1] for name in result.datasets]
    datasets = result.datasets.items()
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return Page(
        f"Study {result.study}",
        " ".join(sentence for first in firsts for sentence in first),
        [
            f"Measured on {found['num_test_rows']:,} test texts of {name}."
            for name, found in datasets
        ],
        _short_table(result),
        SHORT_NOTE,
        [picture for name, found in datasets for picture in _pictures(name, found)],
        [
            *(
                Section(f"All figures of {name}", [figure_table(found), *sources(found), NOTE])
                for name, found in datasets
            ),
            *(Section(f"Verdicts on {name}", result.sentences(name)) for name in result.datasets),
            Section("Versions", [versions]),
        ],
    )


def _short_table(result: StudyResult) -> Table:
    rows = [(name, row) for name, found in result.datasets.items() for row in found["rows"]]
    titles = {METRICS[found["metric"]].title for found in result.datasets.values()}
    wholes = {name: found["rows"][0]["mean"] for name, found in result.datasets.items()}
    # A share of a correlation below zero is none.
    shares = [row["mean"] / wholes[name] if wholes[name] > 0 else None for name, row in rows]
    several = [words("Dataset", [name for name, _ in rows])] if len(result.datasets) > 1 else []
    return Table(
        [
            *several,
            words("Model", [_label(row) for _, row in rows]),
            figures(" or ".join(sorted(titles)), [row["mean"] for _, row in rows], "{:.4f}"),
            figures("Of the teacher's", shares, "{:.1%}"),
            figures("MB", [_cost(row, MEGABYTES) for _, row in rows], "{:.2f}"),
            figures("One text, ms", [_cost(row, TIME) for _, row in rows], "{:.2f}"),
        ]
    )


def _pictures(name: str, found: Mapping[str, Any]) -> list[Picture]:
    prices = {}
    for unit in (MEGABYTES, TIME):
        prices[unit] = [
            Point(row["arm"], row["file"], cost, row["mean"], tuple(row["values"]))
            for row in found["rows"]
            if (cost := _cost(row, unit))
        ]
    return price_pictures(f"{METRICS[found['metric']].title} on {name}", prices)


def _cost(row: Mapping[str, Any], unit: str) -> float | None:
    """Megabytes of a row's file, or milliseconds of one text."""
    if unit == MEGABYTES:
        return row["size_bytes"] and row["size_bytes"] / 1e6
    return (row["latency"] or {}).get("p50_ms")


def _label(row: Mapping[str, Any]) -> str:
    return row["arm"] if row["file"] == KERAS else f"{row['arm']}, {row['file']}"
