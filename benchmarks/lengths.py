r"""How long the files of a BERT student take at 32, 64 and 128 tokens, beside float32's.

    python benchmarks/lengths.py --data-dir DIR --output results/quantization_lengths.json \
        saved_models/ag_news-bert_tiny
    python benchmarks/lengths.py --render results/quantization_lengths.json

The student gets 128 positions, whatever it was trained with: time does not depend on the weights.
Files that train see a few batches for their ranges, no more. One thread, signatures called by
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
from tfkd.compression import parity
from tfkd.compression.recipes import RECIPES
from tfkd.compression.saved_model import SIGNATURE_PREFIX
from tfkd.models.classifier import TextClassifier
from tfkd.quiet import quiet_libraries
from tfkd.workflows.benchmark import first_texts
from tfkd.workflows.preparation import own_dataset

LENGTHS = (32, 64, 128)
FILES = ("float32", "dynamic_int8", "int4_tables", "qat_int8", "qat_int4_tables")
NUM_TEXTS, NUM_ROUNDS, NUM_COMPARED = 40, 10, 200
NUM_BATCHES, BATCH_SIZE = 10, 32


def main() -> None:
    """Writes the files into a temporary folder and times them, or shows what was found."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, help="finished run of a BERT student")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--render", type=Path, help="show the table of such a file")
    options = parser.parse_args()
    if options.render is not None:
        print(markdown(read_json(options.render)))
        return
    if options.run is None or options.output is None:
        parser.error("give a run and --output, or --render FILE")
    quiet_libraries()
    results = measure(RunFolder(options.run), options.data_dir)
    write_json(options.output, results)
    print(markdown(results))


def measure(run: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Median milliseconds of each file at each length."""
    dataset = own_dataset(run.read_config(), data_dir)
    texts = first_texts(dataset.splits["test"], 10 * NUM_TEXTS)
    trained = TextClassifier.load(run.model)
    student = dataclasses.replace(
        trained, tokenizer=trained.tokenizer.with_length(LENGTHS[-1]), _functions={}
    )
    held_out = first_texts(dataset.splits["validation"], NUM_COMPARED)
    train = first_texts(dataset.splits["train"], NUM_BATCHES * BATCH_SIZE)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(student, Path(folder), train, held_out)
        for length in LENGTHS:
            filled = filled_texts(
                texts, lambda word: count_tokens(student, word), length, NUM_TEXTS
            )
            arrays = [student.encode([text], length) for text in filled] * (NUM_ROUNDS + 1)
            contenders = [contender(name, file, length) for name, file in files.items()]
            seconds, _ = interleaved(contenders, arrays)
            rows += [
                {
                    "recipe": one.name, "length": length, "size_bytes": one.size_bytes,
                    "p50_ms": 1000 * float(np.median(times[NUM_TEXTS - 1 :])),
                }
                for one, times in zip(contenders, seconds, strict=True)
            ]  # fmt: skip
    return {
        "run": run.path.name,
        "num_calls": NUM_TEXTS * NUM_ROUNDS,
        "rows": rows,
        "versions": versions(),
    }


def write_files(
    student: TextClassifier, folder: Path, train: Sequence[str], held_out: Sequence[str]
) -> dict[str, Path]:
    """One file a recipe with a signature for each length, every one through its gate."""
    from tfkd.compression.qat.model import quantization_aware

    student.save(folder)
    after = [name for name in FILES if not RECIPES[name].trained]
    found = parity.export(folder, student, held_out, after, LENGTHS)
    files = {name: file.path for name, file in found.items()}
    for name in FILES:
        if RECIPES[name].trained:
            aware = quantization_aware(student, name)
            for start in range(0, len(train), BATCH_SIZE):
                aware.student(aware.encode(train[start : start + BATCH_SIZE]), training=True)
            files[name] = aware.export(folder, held_out, LENGTHS).path
    return files


def contender(name: str, file: Path, length: int) -> Contender:
    """A file asked by its signature for one length."""
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner(f"{SIGNATURE_PREFIX}{length}")
    return Contender(name, lambda arrays: runner(**arrays)["logits"], file.stat().st_size)


def count_tokens(student: TextClassifier, word: str) -> int:
    """Tokens of a word, special ones not counted."""
    return int(student.encode([word])["padding_mask"].sum()) - 2


def markdown(results: Mapping[str, Any]) -> str:
    """A line a recipe: bytes, and at each length milliseconds and the ratio to float32's."""
    found = {(row["recipe"], row["length"]): row for row in results["rows"]}
    lines = [["Recipe", "MB", *(f"{length} tokens" for length in LENGTHS)]]
    lines.append(["---"] * len(lines[0]))
    for name in dict.fromkeys(recipe for recipe, _ in found):
        cells = [
            f"{found[name, length]['p50_ms']:.3f} ms "
            f"({found[name, length]['p50_ms'] / found['float32', length]['p50_ms']:.2f})"
            for length in LENGTHS
        ]
        lines.append([name, f"{found[name, LENGTHS[0]]['size_bytes'] / 1e6:.2f}", *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{table}\n\n{results['run']} with 128 positions, three signatures, the interpreter alone: "
        f"median of {results['num_calls']} calls and, in brackets, its ratio to float32."
    )


if __name__ == "__main__":
    main()
