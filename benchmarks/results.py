r"""Collects the figures of finished runs into results/, and writes the tables of pages from them.

    python benchmarks/results.py collect --dataset ag_news \
        saved_models/ag_news-bert_tiny saved_models/ag_news-bilstm saved_models/ag_news-cnn
    python benchmarks/results.py readme
    python benchmarks/results.py edge saved_models/ag_news-bert_tiny saved_models/ag_news-cnn-16000
    python benchmarks/results.py pages
    python benchmarks/results.py words

`collect` times the files of all runs in one process, in turns, takes the other
figures from each run's metrics.json and adds the rows of `benchmarks/rivals.py`. `readme` writes
README.md's table and picture, the means of a study: see headline.py. `edge`
keeps what `tfkd quantize` and `tfkd export` measured and writes docs/edge.md's tables from it;
`pages` writes the tables of `peers`, `clients`, `vocabulary`, `quantization`, `load`, `tfkd
analyze` and the studies into docs/. `words` makes the sentences of results/ anew from their
figures.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import accounting
import clients
import headline
import lengths
import load
import peers
import quantization
import scoring
import studies
import training_table
import wording

from tfkd.artifacts import RunFolder, read_json, versions, write_json, write_text
from tfkd.config.verbs import BenchmarkConfig
from tfkd.evaluation.architectures import AnalyzeResult
from tfkd.evaluation.rows import BASELINE, Row, result_table, table_note
from tfkd.evaluation.table import Table, figures, words
from tfkd.quiet import quiet_libraries
from tfkd.reports.run_page import QUANTIZATION
from tfkd.studies.table import StudyResult
from tfkd.workflows.benchmark import benchmark
from tfkd.workflows.quantize import NOTE, files_table

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    options = verbs.add_parser("collect")
    options.add_argument("--dataset", required=True)
    options.add_argument("runs", nargs="+", type=Path)
    options.add_argument("--data-dir", type=Path)
    options.add_argument("--texts", type=int, default=200)
    options.add_argument("--rounds", type=int, default=5)
    verbs.add_parser("readme")
    verbs.add_parser("edge").add_argument("runs", nargs="+", type=Path)
    verbs.add_parser("pages")
    verbs.add_parser("words")
    arguments = parser.parse_args()
    quiet_libraries()
    if arguments.verb == "edge":
        write_edge(arguments.runs)
        return
    if arguments.verb == "words":
        write_words()
        return
    if arguments.verb == "pages":
        for name, tables in pages().items():
            page = ROOT / "docs" / name
            write_text(page, with_tables(page.read_text(encoding="utf-8"), tables))
        return
    if arguments.verb == "collect":
        write_json(ROOT / "results" / f"{arguments.dataset}.json", collect(arguments))
    else:
        readme = ROOT / "README.md"
        content = headline.markdown(*headline_figures())
        write_text(readme, between_marks(readme.read_text(encoding="utf-8"), content))
        headline.picture(*headline_figures(), ROOT / headline.PICTURE)


def headline_figures() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The study of the README's table, and the rivals on its rows."""
    path = ROOT / "results" / f"{headline.STUDY}.json"
    return read_json(path), read_json(path.with_stem(f"{path.stem}_rivals"))


def write_words() -> None:
    """The verdicts and sentences of results/ and the pages of its studies, from their figures."""
    folder = ROOT / "results"
    for page in sorted(folder.glob("*.md")):
        result = wording.study(StudyResult(**read_json(page.with_suffix(".json"))))
        write_json(page.with_suffix(".json"), result.to_dict())
        write_text(page, result.markdown())
    kept = read_json(folder / "quantization.json")
    kept["datasets"] = {name: wording.recipes(found) for name, found in kept["datasets"].items()}
    write_json(folder / "quantization.json", kept)
    kept = read_json(folder / "ag_news.json")
    kept["sentences"] = [wording.sentence(text) for text in kept["sentences"]]
    write_json(folder / "ag_news.json", kept)


def write_edge(runs: Sequence[Path]) -> None:
    """Figures of `tfkd quantize` and `export` into results/, and their tables into docs/edge.md."""
    for run in runs:
        records = [read_json(path) for path in sorted((run / "student").glob("*.json"))]
        packages = [record for record in records if "format" in record]
        write_json(edge_file(run.name), {**read_json(run / QUANTIZATION), "packages": packages})
    page = ROOT / "docs" / "edge.md"
    results = {run.name: read_json(edge_file(run.name)) for run in runs}
    write_text(page, with_edge(page.read_text(encoding="utf-8"), results))


def edge_file(name: str) -> Path:
    """Where the figures of a run lie."""
    return ROOT / "results" / f"{name}-edge.json"


def with_edge(text: str, results: Mapping[str, dict[str, Any]]) -> str:
    """The page with the tables of the runs between the marks."""
    parts = []
    for name, result in results.items():
        sentences = "\n".join(f"- {sentence}" for sentence in result["sentences"])
        files = files_table(result).markdown()
        parts += [f"**{name}**, `{result['command']}`", files, sentences]
        if result["packages"]:
            parts.append(packages_table(result["packages"]))
    return between_marks(text, "\n\n".join([*parts, NOTE]))


def packages_table(packages: Sequence[dict[str, Any]]) -> str:
    """What `tfkd export` kept beside each package, a line for each."""
    differences = [item["largest_logit_difference"] for item in packages]
    return Table(
        [
            words("Package", [item["format"] for item in packages]),
            words("Recipe", [item["recipe"] for item in packages]),
            figures("MB", [item["size_bytes"] / 1e6 for item in packages], "{:.2f}"),
            figures("Agreement", [item["agreement"] for item in packages], "{:.4f}"),
            figures("Log-score diff.", differences, "{:.2g}"),
            figures("Held-out texts", [item["num_texts"] for item in packages]),
        ]
    ).markdown()


def pages() -> dict[str, dict[str, str]]:
    """Pages of docs/ to their marks, and what belongs between them."""
    names = ("peers", "quantization", "quantization_lengths", "load", "clients")
    found = {name: read_json(ROOT / "results" / f"{name}.json") for name in names}
    analyzed = AnalyzeResult.from_dict(read_json(ROOT / "results" / "analysis.json"))
    _, _, analysis = analyzed.markdown().partition("\n\n")
    return {
        "ag_news.md": {"results": table(read_json(ROOT / "results" / "ag_news.json"))},
        "edge.md": {
            "clients": clients.markdown(found["clients"]),
            "peers": peers.markdown(found["peers"]),
            "vocabulary": vocabulary_table(read_json(ROOT / "results" / "ag_news_vocabulary.json")),
        },
        "quantization.md": {
            "quantization": quantization.markdown(found["quantization"]),
            "lengths": lengths.markdown(found["quantization_lengths"]),
        },
        "analysis.md": {"analysis": analysis},
        "studies.md": studies.tables(),
        "serving.md": {"load": load.markdown(found["load"]["rows"])},
        "performance.md": performance(),
    }


def performance() -> dict[str, str]:
    """The tables of docs/performance.md."""
    scored = sorted((ROOT / "results").glob("scoring_*.json"))
    return {
        "scoring": scoring.table([read_json(path) for path in scored]).markdown(),
        "accounting": accounting.markdown(read_json(ROOT / "results" / "accounting.json")),
        "training": training_table.markdown(read_json(ROOT / "results" / "training.json")),
    }


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """The page with each table between its marks."""
    for name, content in tables.items():
        text = between_marks(text, content, name)
    return text


def vocabulary_table(results: dict[str, Any]) -> str:
    """What `vocabulary.py` found, a line for each setting."""
    first, *_ = rows = results["rows"]
    whole = {
        "tokens_after": first["tokens_before"],
        "table_bytes_after": first["table_bytes_before"],
    }
    sizes = [row["table_bytes_after"] / 1e6 for row in (whole, *rows)]
    lost = ["0", *(f"{100 * row['lost_share']:.1f} %" for row in rows)]
    same = ["1", *(f"{row['same_share']:.3f}" for row in rows)]
    lengths = ["1", *(f"x {row['length_ratio']:.3f}" for row in rows)]
    return Table(
        [
            words("Setting", ["whole", *map(vocabulary_option, rows)]),
            figures("Tokens", [row["tokens_after"] for row in (whole, *rows)], "{:,}"),
            figures("Float32 table, MB", sizes, "{:.1f}"),
            figures("Training tokens lost", lost),
            figures("Texts tokenized as before", same),
            figures("Length", lengths),
        ]
    ).markdown()


def vocabulary_option(row: dict[str, Any]) -> str:
    """The option that gave a row of `vocabulary.py`."""
    name = "vocabulary_size" if "vocabulary_size" in row else "min_count"
    return f"`--{name.replace('_', '-')} {row[name]}`"


def between_marks(text: str, content: str, name: str = "results") -> str:
    """The text with other content between the marks of a name."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, rest = text.split(start)
    return f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"


def collect(arguments: argparse.Namespace) -> dict[str, Any]:
    """Rows, comparisons, data and versions of the runs."""
    config = BenchmarkConfig(
        runs=tuple(arguments.runs),
        data_dir=arguments.data_dir,
        texts=arguments.texts,
        rounds=arguments.rounds,
    )
    costs = {cost.path: cost for cost in benchmark(config).costs}
    rows, sentences, runs = [], [], {}
    for run in arguments.runs:
        metrics = read_json(run / "metrics.json")
        for values in metrics["rows"]:
            if values["arm"] == BASELINE:
                same = [row for row in rows if row["model"] == values["model"]]
                rows += [] if same else [values]
            elif values["arm"] != "teacher" or not any(r["arm"] == "teacher" for r in rows):
                rows.append(
                    timed(values, run, RunFolder(run).find(metrics["teacher_folder"]), costs)
                )
        student = read_json(run / "config.json")["student"]
        sentences += [f"{student}: {sentence}" for sentence in wording.run_sentences(metrics)]
        runs[run.name] = {key: metrics[key] for key in ("data", "training", "versions", "seed")}
    rivals = ROOT / "results" / f"{arguments.dataset}_rivals.json"
    if rivals.is_file():
        rows += [rival_row(values) for values in read_json(rivals)]
    return {"rows": rows, "sentences": sentences, "runs": runs, "versions": versions()}


def timed(
    values: dict[str, Any], run: Path, teacher: Path, costs: dict[str, Any]
) -> dict[str, Any]:
    """The row with the latency and bytes measured beside all others."""
    folder = {"teacher": teacher, "student": run / "student", "control": run / "control"}
    name = "model.keras" if values["recipe"] == "keras" else f"{values['recipe']}.tflite"
    cost = costs.get(str(folder[values["arm"]] / name))
    if cost is None:
        return {**values, "latency": None}
    latency = {**cost.latency.to_dict(), "peak_memory_bytes": cost.peak_memory_bytes}
    return {**values, "size_bytes": cost.size_bytes, "latency": latency}


def rival_row(values: dict[str, Any]) -> dict[str, Any]:
    """A rival's row with the fields of the others."""
    names = Row.__dataclass_fields__
    return {name: values.get(name) if name != "recipe" else "-" for name in names}


def table(results: dict[str, Any]) -> str:
    """The table, its note and the paired tests."""
    rows = [Row.from_dict(values) for values in results["rows"]]
    sentences = "\n".join(f"- {sentence}" for sentence in results["sentences"])
    shown = result_table(rows, "accuracy").markdown()
    return f"{shown}\n\n{table_note(rows, 'accuracy')}\n\n{sentences}"


if __name__ == "__main__":
    main()
