r"""Times the way from raw text to a trained student: tfkd, PyTorch, Keras' Distiller, TextBrewer.

    python benchmarks/training.py --data-dir DIR --teacher FOLDER --output results/training.json
    python benchmarks/training.py --render results/training.json

Every training is a fresh process; contenders take turns. A run that the output holds already is
not made again, so the same command goes on where it was stopped.
"""

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from peers import count, processor
from training_job import SWEEP_SETTINGS, SWEEP_STUDENTS, Job
from training_table import markdown

from tfkd.artifacts import read_json, versions, write_json
from tfkd.errors import ArtifactError, ConfigError, TfkdError
from tfkd.process import run_fresh

TIMEOUT_SECONDS = 6 * 3600.0
PACKAGES = ("torch", "transformers", "tokenizers", "textbrewer")
# A file holds runs of one value of each.
DECIDING = ("dataset", "train_rows", "test_rows", "epochs", "processor", "versions")


@dataclasses.dataclass(frozen=True)
class Contender:
    """A way to train.

    Attributes:
        module: Module with its `train`.
        title: Row of the table.
        settings: Of its `Job`, where they are not the job's defaults.
        is_of_sweep: Whether it is trained once, for the comparison of ten students.
    """

    module: str
    title: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    is_of_sweep: bool = False


CONTENDERS = {
    "tfkd_64": Contender("training_tfkd", "tfkd, student at 64 tokens", {"length": 64}),
    "tfkd_128": Contender("training_tfkd", "tfkd, student at 128 tokens"),
    "pytorch": Contender("training_pytorch", "PyTorch loop"),
    "pytorch_bfloat16": Contender(
        "training_pytorch", "PyTorch loop, bfloat16 autocast", {"precision": "bfloat16"}
    ),
    "keras_128": Contender("training_keras", "keras.distillation, padded to 128"),
    "keras_64": Contender(
        "training_keras", "keras.distillation, both padded to 64", {"length": 64}
    ),
    "textbrewer": Contender("training_textbrewer", "TextBrewer"),
    "textbrewer_cached": Contender(
        "training_textbrewer", "TextBrewer, logits cached", {"is_cached": True}
    ),
    "pytorch_cnn": Contender(
        "training_pytorch", "PyTorch loop, CNN student", {"student": "cnn"}, is_of_sweep=True
    ),
    "tfkd_sweep_64": Contender(
        "training_tfkd",
        "tfkd, ten students at 64 tokens",
        {"length": 64, "is_sweep": True},
        is_of_sweep=True,
    ),
    "tfkd_sweep_128": Contender(
        "training_tfkd", "tfkd, ten students at 128 tokens", {"is_sweep": True}, is_of_sweep=True
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains all contenders, or shows the table of a file; gives the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.render is not None:
            print(markdown(read_json(options.render)))
            return 0
        if options.output is None or options.teacher is None:
            parser.error("give --teacher and --output, or --render FILE")
        results = compare(options)
    except (TfkdError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(markdown(results))
    return 0


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Makes the runs that the output lacks, writes it after each, and gives all of it.

    Raises:
        ArtifactError: The output or the work folder holds runs of other settings.
        ConfigError: A package is missing, or there is no such contender.
        ModelError: A process failed.
    """
    check_packages(options.contenders)
    results = read_results(options)
    job = {
        "settings": {
            "dataset": options.dataset,
            "data_dir": None if options.data_dir is None else str(options.data_dir),
            "teacher": str(options.teacher),
            "rows": options.rows,
            "test_rows": options.test_rows,
        },
        "folder": str(options.work_dir),
    }
    print("texts and teacher ...", file=sys.stderr, flush=True)
    results["material"] = run_fresh("training_material", job, "to be made", TIMEOUT_SECONDS)
    for name, repeat in missing_runs(options.contenders, options.repeats, results["rows"]):
        print(f"{name}, run {repeat + 1} ...", file=sys.stderr, flush=True)
        results["rows"].append(measured(name, repeat, options))
        results["command"] = command(options, results["rows"])
        write_json(options.output, results)
    return results


def measured(name: str, repeat: int, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one run, from a process of its own."""
    contender = CONTENDERS[name]
    job = Job(
        str(options.work_dir.resolve()), epochs=options.epochs, seed=repeat, **contender.settings
    )
    found = run_fresh(
        "training_contender",
        {"module": contender.module, "job": dataclasses.asdict(job)},
        f"of {name} to be trained",
        TIMEOUT_SECONDS,
    )
    return {
        "contender": name,
        "title": contender.title,
        "is_of_sweep": contender.is_of_sweep,
        "repeat": repeat,
        **found,
    }


def missing_runs(
    names: Sequence[str], repeats: int, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, int]]:
    """Name and number of the runs to make, in turns; each round begins with another contender."""
    made = {(row["contender"], row["repeat"]) for row in rows}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in [*names[first:], *names[:first]]:
            is_asked = repeat == 0 or not CONTENDERS[name].is_of_sweep
            if is_asked and (name, repeat) not in made:
                yield name, repeat


def read_results(options: argparse.Namespace) -> dict[str, Any]:
    """What the output holds, or the start of a new one.

    Raises:
        ArtifactError: It was made with other settings or on another processor.
    """
    packages = {name: _version(name) for name in PACKAGES}
    new = {
        "rows": [],
        "dataset": options.dataset,
        "train_rows": options.rows,
        "test_rows": options.test_rows,
        "epochs": options.epochs,
        "batch_size": Job.batch_size,
        "sweep": {"students": SWEEP_STUDENTS, "settings": SWEEP_SETTINGS},
        "processor": processor(),
        "versions": versions() | {name: found for name, found in packages.items() if found},
    }
    if not options.output.is_file():
        return new
    kept = read_json(options.output)
    for name in DECIDING:
        if kept[name] != new[name]:
            raise ArtifactError(
                f"Expected runs with {name}={new[name]!r} in {options.output}. Received: "
                f"{name}={kept[name]!r}. Give another --output."
            )
    return kept


def check_packages(names: Sequence[str]) -> None:
    """Refuses contenders that are unknown or not installed.

    Raises:
        ConfigError: There is one.
    """
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        raise ConfigError(
            f"Expected contenders of {', '.join(CONTENDERS)}. Received: {', '.join(unknown)}."
        )
    needed = {"torch", "transformers"}
    if any(CONTENDERS[name].module == "training_textbrewer" for name in names):
        needed.add("textbrewer")
    missing = sorted(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:
        raise ConfigError(
            "Expected the packages of benchmarks/training_requirements.txt. Missing: "
            f"{', '.join(missing)}. Install them with `pip install -r "
            "benchmarks/training_requirements.txt`."
        )


def command(options: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> str:
    """The command that gives the same rows at once, without this machine's paths."""
    made = [name for name in CONTENDERS if any(row["contender"] == name for row in rows)]
    parts = ["python benchmarks/training.py", "--dataset", options.dataset]
    if options.data_dir is not None:
        parts += ["--data-dir", "$TFKD_DATA_DIR"]
    parts += ["--teacher", options.teacher.name, "--rows", str(options.rows)]
    parts += ["--test-rows", str(options.test_rows), "--epochs", str(options.epochs)]
    parts += ["--repeats", str(1 + max(row["repeat"] for row in rows))]
    if made != list(CONTENDERS):
        parts += ["--contenders", *made]
    return " ".join([*parts, "--output", f"results/{options.output.name}"])


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--dataset", default="ag_news", help="default ag_news")
    parser.add_argument(
        "--data-dir", type=Path, help="folder that holds <dataset>/train.csv (or TFKD_DATA_DIR)"
    )
    parser.add_argument(
        "--teacher", type=Path, help="BERT encoder in Hugging Face's format, to be fine-tuned"
    )
    parser.add_argument("--rows", type=count, default=6272, help="training rows (default 6272)")
    parser.add_argument("--test-rows", type=count, default=2000, help="default 2000")
    parser.add_argument("--epochs", type=count, default=5, help="default 5")
    parser.add_argument("--repeats", type=count, default=3, help="runs of each (default 3)")
    parser.add_argument(
        "--contenders", nargs="+", default=list(CONTENDERS), help="default: all, see CONTENDERS"
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("saved_models/training_benchmark"),
        help="folder for texts and teacher (default saved_models/training_benchmark)",
    )
    parser.add_argument("--output", type=Path, help="JSON file to write, or to go on with")
    parser.add_argument("--render", type=Path, help="show the table of such a file, train nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
