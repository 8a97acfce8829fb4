"""Shows how time and memory of a run grow with its rows, on generated text.

    python benchmarks/growth.py --output results/growth.json
    python benchmarks/growth.py --render results/growth.json

Each size is a fresh process that reads and checks, tokenizes, scores with a teacher and trains one
epoch. Time should grow with the rows, memory hardly at all. A size that the output holds already is
not measured again.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peers import count, processor

from tfkd.artifacts import read_json, versions, write_json
from tfkd.data.demo import LABEL_NAMES, GeneratedSplit
from tfkd.errors import TfkdError
from tfkd.evaluation.table import Table, figures, words
from tfkd.process import run_fresh

ROWS = (10_000, 100_000, 1_000_000)
TEST_ROWS = 1000
SEED = 0
TIMEOUT_SECONDS = 6 * 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all sizes, or shows the table of a file; gives the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.render is not None:
            print(markdown(read_json(options.render)))
            return 0
        if options.output is None:
            parser.error("give --output, or --render FILE")
        results = compare(options.rows, options.output)
    except (TfkdError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(markdown(results))
    return 0


def compare(sizes: Sequence[int], output: Path) -> dict[str, Any]:
    """Measures the sizes that the output lacks, writes it after each, and gives all of it.

    Raises:
        ModelError: A process failed.
    """
    results: dict[str, Any] = read_json(output) if output.is_file() else {"sizes": []}
    for size in sizes:
        if any(each["rows"] == size for each in results["sizes"]):
            continue
        print(f"{size:,} rows ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            write_rows(Path(folder), size)
            found = run_fresh(
                "growth_stages", {"data": folder}, f"of {size:,} rows", TIMEOUT_SECONDS
            )
        results["sizes"].append({"rows": size, **found})
        results["sizes"].sort(key=lambda each: each["rows"])
        results |= {
            "processor": processor(),
            "versions": versions(),
            "command": "python benchmarks/growth.py --rows "
            f"{' '.join(str(each['rows']) for each in results['sizes'])} "
            f"--output results/{output.name}",
        }
        write_json(output, results)
    return results


def write_rows(folder: Path, size: int) -> None:
    """A data set of generated text: train.csv, test.csv and labels.txt."""
    for split, num_rows in (("train", size), ("test", TEST_ROWS)):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            lines = csv.writer(stream)
            lines.writerow(("text", "label"))
            lines.writerows(
                (row.texts[0], row.label) for row in GeneratedSplit(SEED, split, num_rows)
            )
    (folder / "labels.txt").write_text("\n".join(LABEL_NAMES) + "\n", encoding="utf-8")


def markdown(results: Mapping[str, Any]) -> str:
    """The table, the ratios of memory, and a line on how it was made."""
    sizes = results["sizes"]
    names = [each["stage"] for each in sizes[0]["stages"]]
    columns = [words("Stage", [*names, "all", "peak memory, MB"])]
    for each in sizes:
        seconds = [stage["seconds"] for stage in each["stages"]]
        seconds.append(sum(seconds))
        thousands = each["rows"] / 1000
        peak = f"{each['peak_memory_bytes'] / 1e6:.0f}"
        cells = [f"{value:.1f}" for value in seconds]
        columns.append(figures(f"{each['rows']:,} rows, s", [*cells, peak]))
        cells = [f"{1000 * value / thousands:.1f}" for value in seconds]
        columns.append(figures("ms per 1,000 rows", [*cells, None]))
    ratios = [
        f"{more['peak_memory_bytes'] / less['peak_memory_bytes']:.2f} times the peak memory of "
        f"{less['rows']:,} rows with {more['rows']:,}"
        for less, more in zip(sizes, sizes[1:], strict=False)
    ]
    sentence = f"{'; '.join(ratios)}.\n\n" if ratios else ""
    found = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"{Table(columns).markdown()}\n\n{sentence}Each size in a process of its own. "
        f"{results['processor']}; {found}."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--rows", type=count, nargs="+", default=ROWS, help="sizes (default 10k, 100k and 1M)"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write, or to go on with")
    parser.add_argument("--render", type=Path, help="show the table of such a file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
