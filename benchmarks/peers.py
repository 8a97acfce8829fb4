r"""Times a student's LiteRT files beside what else could run the same weights.

    python benchmarks/peers.py --data-dir DIR --output results/peers.json \
        saved_models/ag_news-bert_tiny/student bert_mini saved_models/ag_news-minilm-finetuned/model
    python benchmarks/peers.py --render results/peers.json

ONNX Runtime, PyTorch and Keras answer the same texts as the LiteRT files in one process, in turns,
one text a call, on one thread.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers_timing import BASES, filled_texts, markdown_tables, timed_rows

from tfkd.artifacts import read_json, versions, write_json
from tfkd.data.sources import load
from tfkd.errors import ConfigError, DatasetError, TfkdError
from tfkd.models.sizes import SIZE_WORDS
from tfkd.quiet import import_tensorflow, quiet_libraries

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
PACKAGES = ("onnxruntime", "onnx", "torch", "transformers", "tokenizers")
LENGTHS = (32, 64, 128)
TEXT_COLUMN = "raw text"
NUM_READ_BEFORE = 2000


def main(arguments: Sequence[str] | None = None) -> int:
    """Times all models, or shows the table of a file; gives the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.render is not None:
            print(markdown(read_json(options.render)))
            return 0
        if not options.models or options.output is None:
            parser.error("give models and --output, or --render FILE")
        results = compare(options)
        write_json(options.output, results)
    except (TfkdError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(markdown(results))
    return 0


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """The measured rows of all models, and what they were measured with.

    Raises:
        ConfigError: A package is missing, or a model to take a vocabulary from.
        DatasetError: The data cannot be had, or there are too few rows.
        ModelError: A student is not of the BERT family.
        ConversionError: A float32 contender does not give the student's logits.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Expected the packages of benchmarks/requirements.txt. Missing: {', '.join(missing)}. "
            "Install them with `pip install -r benchmarks/requirements.txt`."
        )
    on_one_thread()
    quiet_libraries()
    logging.getLogger().setLevel(logging.ERROR)
    import_tensorflow()
    texts = read_texts(options)
    rows: list[dict[str, Any]] = []
    for name in options.models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        # Quantizers print; standard output is for the tables.
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            rows += model_rows(name, texts, Path(folder), options)
    return {
        "rows": rows,
        "dataset": options.dataset,
        "texts": options.texts,
        "rounds": options.rounds,
        "threads": 1,
        "processor": processor(),
        "versions": versions() | {name: importlib.metadata.version(name) for name in PACKAGES},
        "command": command(options),
    }


def read_texts(options: argparse.Namespace) -> list[str]:
    """The test rows of the data set, enough for new texts in every round.

    Raises:
        DatasetError: The data cannot be had, or there are too few rows.
    """
    rows = load(options.dataset, options.data_dir).splits["test"]
    texts = [" ".join(row.texts) for row in rows]
    needed = options.texts * (options.rounds + 1)
    if len(texts) < needed:
        raise DatasetError(
            f"Expected {needed} test rows, --texts for each of --rounds and a first one. Received: "
            f"{options.dataset} with {len(texts)}. Ask for fewer."
        )
    return texts


def on_one_thread() -> None:
    """Settings that libraries read when they are imported."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    # TensorFlow and Triton each bring LLVM, and a second LLVM ends the process. PyTorch on a CPU
    # needs no Triton; None stands for "not installed".
    sys.modules["triton"] = None  # type: ignore[assignment]


def model_rows(
    name: str, texts: Sequence[str], folder: Path, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Rows of one model: a column for each length, and one from the raw text.

    Args:
        name: String. A model folder, or a size word for an untrained model.
        texts: Strings. The test rows.
        folder: Path. For the files made on the way.
        options: The command line.
    """
    # Imported here because to show a file's table needs none of the libraries.
    from peers_contenders import encoded_contenders, text_contenders
    from peers_files import make_material

    material = make_material(student(name, options.models), folder, LENGTHS)
    classifier = material.classifier
    for length in LENGTHS:
        filled = filled_texts(texts, material.count_tokens, length, options.texts)
        arrays = [classifier.encode([text], length) for text in filled] * (options.rounds + 1)
        reference = np.concatenate([classifier.predict_encoded(values) for values in arrays])
        found = timed_rows(encoded_contenders(material, length), arrays, reference, len(filled))
        yield from (labelled(row, name, f"{length} tokens") for row in found)
    # New texts in every round, because tokenizers remember words; the last rows of the split,
    # because the columns before read the first.
    num_timed = options.texts * options.rounds
    raw = texts[-num_timed - options.texts :]
    read_before = texts[-len(raw) - NUM_READ_BEFORE : -len(raw)]
    reference = material.at_own_length().predict(raw)
    found = timed_rows(text_contenders(material, read_before), raw, reference, options.texts)
    yield from (labelled(row, name, TEXT_COLUMN) for row in found)


def student(name: str, models: Sequence[str]) -> Any:
    """The model of a folder, or an untrained one of a size word with the first folder's vocabulary.

    Raises:
        ConfigError: There is no folder to take a vocabulary from.
    """
    from peers_files import untrained

    from tfkd.models.classifier import TextClassifier

    if name not in SIZE_WORDS:
        return TextClassifier.load(name)
    folders = [other for other in models if other not in SIZE_WORDS]
    if not folders:
        raise ConfigError(
            f"Expected a model folder beside {name}, to take its vocabulary. Received: "
            f"{', '.join(models)}. Add the folder of a bert_* student."
        )
    return untrained(SIZE_WORDS[name], TextClassifier.load(folders[0]))


def labelled(row: dict[str, Any], name: str, column: str) -> dict[str, Any]:
    """A row with its model and column; the labels of an untrained model mean nothing."""
    if name in SIZE_WORDS:
        return {"model": f"{name}, untrained", "column": column, **row, "agreement": None}
    return {"model": Path(name).resolve().parent.name, "column": column, **row}


def markdown(results: dict[str, Any]) -> str:
    """The tables, and a line on how they were made."""
    names = {
        "LiteRT": "ai-edge-litert",
        "ONNX Runtime": "onnxruntime",
        "PyTorch": "torch",
        "Keras": "keras",
    }
    found = ", ".join(f"{name} {results['versions'][key]}" for name, key in names.items())
    return (
        f"{markdown_tables(results['rows'])}\n\n"
        "Median milliseconds of one text and, in brackets, its ratios to "
        f"{' and '.join(BASES)}. One thread of {results['processor']}; {results['rounds']} rounds "
        f"of {results['texts']} texts of {results['dataset']}; {found}."
    )


def command(options: argparse.Namespace) -> str:
    """The command that gives the same rows, without this machine's paths."""
    parts = ["python benchmarks/peers.py", "--dataset", options.dataset]
    if options.data_dir is not None:
        parts += ["--data-dir", "$TFKD_DATA_DIR"]
    parts += ["--texts", str(options.texts), "--rounds", str(options.rounds)]
    parts += ["--output", f"results/{options.output.name}"]
    models = [
        name if name in SIZE_WORDS else _short(Path(name).resolve()) for name in options.models
    ]
    return " ".join([*parts, *models])


def _short(folder: Path) -> str:
    return "/".join(("saved_models", *folder.parts[-2:]))


def count(text: str) -> int:
    """A number of at least 1, for argparse."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "models",
        nargs="*",
        help="model folders of BERT students, or size words (bert_mini) for untrained models",
    )
    parser.add_argument("--dataset", default="ag_news", help="whose test texts (default ag_news)")
    parser.add_argument(
        "--data-dir", type=Path, help="folder that holds <dataset>/test.csv (or TFKD_DATA_DIR)"
    )
    parser.add_argument("--texts", type=count, default=20, help="texts of a round (default 20)")
    parser.add_argument("--rounds", type=count, default=10, help="timed rounds (default 10)")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--render", type=Path, help="show the tables of such a file, time nothing")
    return parser


def processor() -> str:
    """The processor's name where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    sys.exit(main())
