"""The table of benchmarks/training.py, and its sentence on ten students."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tfkd.evaluation.table import Table, figures, words

Rows = Sequence[Mapping[str, Any]]
# Denominators of the ratios.
BASES = {"tfkd_64": "to tfkd 64", "tfkd_128": "to tfkd 128"}
NUM_SWEEP = 10


def markdown(results: Mapping[str, Any]) -> str:
    """The table of single students, the sentence on ten, and a line on how they were made."""
    runs = by_contender(results["rows"])
    single = {name: rows for name, rows in runs.items() if not rows[0]["is_of_sweep"]}
    parts = [single_table(single).markdown()] if single else []
    parts += [sentence for base in (64, 128) if (sentence := sweep_sentence(runs, base))]
    material = results["material"]
    found = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts.append(
        f"Medians, with the fastest and the slowest run; accuracy is the runs' mean. "
        f"{results['train_rows']:,} training and {results['test_rows']:,} test rows of "
        f"{results['dataset']}, {results['epochs']} epochs of batches of {results['batch_size']}; "
        f"teacher {material['teacher']} with an accuracy of {material['teacher_accuracy']:.4f}, "
        "its logits in PyTorch within "
        f"{material['teacher_logit_difference']:.1g} of Keras'. {results['processor']}; {found}."
    )
    return "\n\n".join(parts)


def by_contender(rows: Rows) -> dict[str, Rows]:
    """The runs of each contender, in the order of the first ones."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["contender"], []).append(row)
    return found


def median_seconds(rows: Rows) -> float:
    """Of a contender's runs."""
    return statistics.median(row["seconds"] for row in rows)


def single_table(runs: Mapping[str, Rows]) -> Table:
    """One line a contender that trains one student."""
    seconds = {name: median_seconds(rows) for name, rows in runs.items()}
    ratios = [
        figures(title, [value / seconds[base] for value in seconds.values()], "{:.2f}")
        for base, title in BASES.items()
        if base in seconds
    ]
    lists = list(runs.values())
    spans = [
        f"{min(row['seconds'] for row in rows):.1f} to {max(row['seconds'] for row in rows):.1f}"
        for rows in lists
    ]
    accuracies = [statistics.fmean(row["accuracies"][0] for row in rows) for rows in lists]
    peaks = [statistics.median(row["peak_memory_bytes"] for row in rows) / 1e6 for rows in lists]
    return Table(
        [
            words("From raw text to a student", [rows[0]["title"] for rows in lists]),
            figures("Seconds", seconds.values(), "{:.1f}"),
            figures("Span", spans),
            *ratios,
            figures("Updates", [rows[0]["updates"] for rows in lists]),
            figures("Accuracy", accuracies, "{:.4f}"),
            figures("Peak memory, MB", peaks, "{:.0f}"),
            figures("Runs", [len(rows) for rows in lists]),
        ]
    )


def sweep_sentence(runs: Mapping[str, Rows], length: int) -> str:
    """Ten students from one scoring beside ten runs of the loop; empty where one is missing."""
    names = (f"tfkd_sweep_{length}", "pytorch", "pytorch_cnn")
    if any(name not in runs for name in names):
        return ""
    sweep, bert, cnn = (median_seconds(runs[name]) for name in names)
    loops = NUM_SWEEP // 2 * (bert + cnn)
    return (
        f"Ten students at {length} tokens (five settings, BERT-tiny and CNN) from one scoring: "
        f"{sweep:.1f} s. Ten runs of the PyTorch loop: {loops:.0f} s, {loops / sweep:.1f} times as "
        f"long; they were not all made, it is five times the {bert:.1f} s of BERT-tiny "
        f"({_runs(runs['pytorch'])}) and five times the {cnn:.1f} s of the CNN "
        f"({_runs(runs['pytorch_cnn'])})."
    )


def _runs(rows: Rows) -> str:
    return "one run" if len(rows) == 1 else f"median of {len(rows)} runs"
