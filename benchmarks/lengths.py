r"""How long the files of students take at 32, 64 and 128 tokens, beside the first one's float32.

    python benchmarks/lengths.py --data-dir DIR --output results/quantization_lengths.json \
        saved_models/ag_news-bert_tiny saved_models/ag_news-cnn_small
    python benchmarks/lengths.py --render results/quantization_lengths.json

Students get 128 positions, whatever they were trained with: time does not depend on the weights.
Recipes that train see a few batches for their ranges, no more. One thread, signatures called by
themselves, all files in turns in one process.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from peers_timing import Contender, filled_texts, interleaved

from tfkd.artifacts import RunFolder, read_json, versions, write_json
from tfkd.compression import export
from tfkd.compression.recipes import RECIPES
from tfkd.compression.saved_model import SIGNATURE_PREFIX
from tfkd.evaluation.table import Table, figures, words
from tfkd.models.classifier import TextClassifier
from tfkd.quiet import quiet_libraries
from tfkd.runs.material import first_texts
from tfkd.runs.own_data import own_dataset

LENGTHS = (32, 64, 128)
FILES = ("float32", "dynamic_int8", "int4_tables", "qat_int8", "qat_int4_tables")
NUM_TEXTS, NUM_ROUNDS, NUM_COMPARED = 40, 10, 200
NUM_BATCHES, BATCH_SIZE = 10, 32


def main() -> None:
    """Writes the files into a temporary folder and times them, or shows what was found."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="finished runs on one data set")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--render", type=Path, help="show the table of such a file")
    options = parser.parse_args()
    if options.render is not None:
        print(markdown(read_json(options.render)))
        return
    if not options.runs or options.output is None:
        parser.error("give runs and --output, or --render FILE")
    quiet_libraries()
    results = measure([RunFolder(path) for path in options.runs], options.data_dir)
    write_json(options.output, results)
    print(markdown(results))


def measure(runs: Sequence[RunFolder], data_dir: Path | None) -> dict[str, Any]:
    """Median milliseconds of each file at each length."""
    dataset = own_dataset(runs[0], data_dir)
    texts = first_texts(dataset.splits["test"], 10 * NUM_TEXTS)
    held_out = first_texts(dataset.splits["validation"], NUM_COMPARED)
    train = first_texts(dataset.splits["train"], NUM_BATCHES * BATCH_SIZE)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        students = {run.path.name: longer(TextClassifier.load(run.model)) for run in runs}
        files = {
            (name, recipe): path
            for name, student in students.items()
            for recipe, path in write_files(student, Path(folder) / name, train, held_out).items()
        }
        first = students[runs[0].path.name]
        for length in LENGTHS:
            filled = filled_texts(texts, lambda word: count_tokens(first, word), length, NUM_TEXTS)
            contenders = [
                contender(recipe, path, students[name], length)
                for (name, recipe), path in files.items()
            ]
            seconds, _ = interleaved(contenders, filled * (NUM_ROUNDS + 1))
            rows += [
                {
                    "run": name,
                    "recipe": recipe,
                    "length": length,
                    "size_bytes": one.size_bytes,
                    "p50_ms": 1000 * float(np.median(times[NUM_TEXTS - 1 :])),
                }
                for (name, recipe), one, times in zip(files, contenders, seconds, strict=True)
            ]
    return {"num_calls": NUM_TEXTS * NUM_ROUNDS, "rows": rows, "versions": versions()}


def longer(student: TextClassifier) -> TextClassifier:
    """The student for texts of the longest length."""
    tokenizer = student.tokenizer.with_length(LENGTHS[-1])
    return dataclasses.replace(student, tokenizer=tokenizer, _functions={})


def write_files(
    student: TextClassifier, folder: Path, train: Sequence[str], held_out: Sequence[str]
) -> dict[str, Path]:
    """One file a recipe with a signature for each length, every one through its gate."""
    from tfkd.compression.qat.model import quantization_aware

    student.save(folder)
    after = [name for name in FILES if not RECIPES[name].trained]
    found = export.export(folder, export.HeldOut(student, held_out), after, LENGTHS)
    files = {name: file.path for name, file in found.items()}
    for name in FILES:
        if RECIPES[name].trained:
            aware = quantization_aware(student, name)
            for start in range(0, len(train), BATCH_SIZE):
                aware.student(aware.encode(train[start : start + BATCH_SIZE]), training=True)
            files[name] = aware.export(folder, held_out, LENGTHS).path
    return files


def contender(recipe: str, file: Path, student: TextClassifier, length: int) -> Contender:
    """A file asked by its signature for one length; texts are tokenized before."""
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner(f"{SIGNATURE_PREFIX}{length}")
    return Contender(
        recipe,
        lambda arrays: runner(**arrays)["logits"],
        file.stat().st_size,
        prepare=lambda text: student.encode([text], length),
    )


def count_tokens(student: TextClassifier, word: str) -> int:
    """Tokens of a word, special ones not counted."""
    return int(student.encode([word])["padding_mask"].sum()) - 2


def markdown(results: Mapping[str, Any]) -> str:
    """A line a file: bytes, and at each length milliseconds and the ratio to the first line's."""
    found = {(row["run"], row["recipe"], row["length"]): row for row in results["rows"]}
    names = list(dict.fromkeys((run, recipe) for run, recipe, _ in found))
    sizes = [found[*name, LENGTHS[0]]["size_bytes"] / 1e6 for name in names]
    columns = [
        words("Student", [run for run, _ in names]),
        words("Recipe", [recipe for _, recipe in names]),
        figures("MB", sizes, "{:.2f}"),
    ]
    for length in LENGTHS:
        times = [found[*name, length]["p50_ms"] for name in names]
        cells = [f"{time:.3f} ms ({time / times[0]:.2f})" for time in times]
        columns.append(figures(f"{length} tokens", cells))
    return (
        f"{Table(columns).markdown()}\n\n128 positions, three signatures, the interpreter alone: "
        f"median of {results['num_calls']} calls and, in brackets, its ratio to "
        f"{' '.join(names[0])}."
    )


if __name__ == "__main__":
    main()
