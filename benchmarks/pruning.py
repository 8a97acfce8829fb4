r"""What pruned weights bring a LiteRT file: bytes, bytes when zipped, and time.

    python benchmarks/pruning.py --data-dir DIR --output results/pruning.json \
        saved_models/ag_news-bert_tiny

The smallest weights of every kernel become zero, as magnitude pruning would leave them; how they
were found changes neither bytes nor time. Files are written densely and with the converter's
sparse encoding.
"""

import argparse
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from peers_timing import Contender, interleaved

from tfkd.artifacts import RunFolder, versions, write_json
from tfkd.compression import flatbuffer
from tfkd.compression.conversion import signature_lengths
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.saved_model import SIGNATURE_PREFIX, write_saved_model
from tfkd.errors import ArtifactError
from tfkd.models.classifier import TextClassifier
from tfkd.runs.material import first_texts
from tfkd.runs.own_data import own_dataset

SHARES = (0.0, 0.5, 0.8)
DENSE, SPARSE = "dense", "sparse encoding"
INT8, FLOAT32 = "dynamic_int8", "float32"
NUM_TEXTS = 300


def main() -> None:
    """Writes all files into a temporary folder and times those that run."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help="finished run")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    run = RunFolder(options.run)
    dataset = own_dataset(run, options.data_dir)
    texts = first_texts(dataset.splits["test"], NUM_TEXTS + 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for share in SHARES for row in pruned_files(run.model, share, Path(folder))]
        time_files(rows, texts, TextClassifier.load(run.model))
    for row in rows:
        row.pop("path")
        print(row)
    result = {"run": run.path.name, "num_texts": NUM_TEXTS, "rows": rows, "versions": versions()}
    write_json(options.output, result)


def pruned_files(model: Path, share: float, folder: Path) -> Iterator[dict[str, Any]]:
    """The files of a student with that share of each kernel set to zero."""
    student = TextClassifier.load(model)
    for variable in student.model.trainable_variables:
        if variable.path.endswith("kernel"):
            values = variable.numpy()
            values[np.abs(values) < np.quantile(np.abs(values), share)] = 0
            variable.assign(values)
    lengths = signature_lengths(student.tokenizer.sequence_length)
    source = str(folder / f"saved_model-{share}")
    write_saved_model(student, lengths, source)
    optimize = tf.lite.Optimize
    for recipe, dense in ((INT8, [optimize.DEFAULT]), (FLOAT32, [])):
        for encoding in (DENSE, SPARSE) if share else (DENSE,):
            converter = tf.lite.TFLiteConverter.from_saved_model(
                source, signature_keys=[f"{SIGNATURE_PREFIX}{length}" for length in lengths]
            )
            added = [optimize.EXPERIMENTAL_SPARSITY] if encoding == SPARSE else []
            converter.optimizations = [*dense, *added]
            content = flatbuffer.write(flatbuffer.read(converter.convert()))
            path = folder / f"{recipe}-{share}-{encoding}.tflite"
            path.write_bytes(content)
            yield {
                "path": path,
                "recipe": recipe,
                "pruned_share": share,
                "encoding": encoding,
                "size_bytes": len(content),
                "zipped_bytes": len(zlib.compress(content)),
            }


def time_files(
    rows: Sequence[dict[str, Any]], texts: Sequence[str], student: TextClassifier
) -> None:
    """Adds the median time of a text, or why a file does not run, to each row."""
    arrays = [student.encode([text]) for text in texts]
    contenders, timed = [], []
    for row in rows:
        row["p50_ms"], row["error"] = None, None
        try:
            model = LiteRTModel(row["path"])
        except ArtifactError as error:
            row["error"] = str(error).split("cannot be read: ")[1].split(" node")[0]
            continue
        contenders.append(Contender(row["path"].stem, model.predict_encoded, row["size_bytes"]))
        timed.append(row)
    seconds, _ = interleaved(contenders, arrays)
    for row, times in zip(timed, seconds, strict=True):
        row["p50_ms"] = 1000 * float(np.median(times))


if __name__ == "__main__":
    main()
