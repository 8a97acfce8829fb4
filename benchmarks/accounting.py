"""Where a training step's and a scored text's time goes, beside what the cores can do.

    python benchmarks/accounting.py saved_models/ag_news-bert_tiny --output results/accounting.json
    python benchmarks/accounting.py --render results/accounting.json

The run gives teacher, student, data set and settings. Peaks are measured in the same process:
products of large matrices and of the student's own shapes, and a copy of memory. Figures are of the
machine as it is: run it on an idle one.
"""

import collections
import dataclasses
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import tensorflow as tf

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression.file_scorer import FileScorer
from tfkd.data.batching import Batches, Chosen
from tfkd.data.checks import check
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.training import Plan, compile_distiller
from tfkd.evaluation.table import Table, figures, words
from tfkd.models.classifier import TextClassifier
from tfkd.process import has_bfloat16, num_cores
from tfkd.progress import Progress
from tfkd.runs.material import CACHE, Material
from tfkd.runs.own_data import own_dataset
from tfkd.runs.record import finished
from tfkd.runs.routes import BFLOAT16, FILE, Routes
from tfkd.runs.trained_part import trained_part
from tfkd.runs.training import training_record
from tfkd.runs.trial import EXACT

LARGE, COPIED_BYTES, ROUNDS, PROFILED_STEPS = 2048, 1 << 28, 15, 10
SCORED_ROWS = 512
# A kind of work, by how the names of TensorFlow's kernels begin.
KINDS = {
    "products": ("_MklMatMul", "_MklBatchMatMul", "_MklEinsum", "_MklNative", "MatMul", "Einsum")
    + ("BatchMatMul", "_MklConv", "Conv2D", "_FusedMatMul", "_FusedConv"),
    "fused activations": ("XlaLaunch", "_XlaRun", "_XlaCompile"),
    "random numbers of dropout": ("StatelessRandom", "StatelessTruncated"),
    "optimizer": ("ResourceApply", "Assign", "L2Loss"),
    "gradients of tables": ("UnsortedSegmentSum", "ResourceGather", "GatherV2"),
}
REST = "elementwise and the rest"


def medians(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median seconds of a warm call."""
    for _ in range(3):
        call()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def product_gflops(rows: int, inner: int, columns: int, dtype: str) -> float:
    """Rate of a matrix product on all cores, in 10^9 operations a second."""
    left = tf.cast(tf.random.normal([rows, inner]), dtype)
    right = tf.cast(tf.random.normal([inner, columns]), dtype)
    product = tf.function(lambda: tf.matmul(left, right)[:1, :1])
    seconds = medians(lambda: product().numpy())
    return 2 * rows * inner * columns / seconds / 1e9


def peaks(width: int, wide: int, rows: int) -> dict[str, float]:
    """Rates of products, large and of a student's shapes, and of a copy on one core, in GB/s."""
    source, target = np.ones(COPIED_BYTES, np.uint8), np.zeros(COPIED_BYTES, np.uint8)
    copied = medians(lambda: np.copyto(target, source), 5)
    found = {"copy of memory, one core, GB/s": 2 * COPIED_BYTES / copied / 1e9}
    for dtype in ("float32", "bfloat16"):
        found[f"{dtype}, {LARGE} x {LARGE} x {LARGE}"] = product_gflops(LARGE, LARGE, LARGE, dtype)
        found[f"{dtype}, {rows} x {width} x {wide}"] = product_gflops(rows, width, wide, dtype)
    return found


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step: milliseconds, examples a second, kernels' milliseconds by kind."""

    student: str
    precision: str
    batch_shape: tuple[int, int]
    milliseconds: float
    examples_per_second: float
    kernels: dict[str, float]


def step_of(student: TextClassifier, material: Material, plan: Plan, name: str) -> Step:
    """The step of a batch of middling length, profiled."""
    tokens = material.tokens("train", student.tokenizer)
    logits = np.random.default_rng(0).normal(size=(len(tokens), len(student.label_names)))
    batches = Batches(tokens, student.input_names, plan.batch_size, 0, logits.astype(np.float32))
    part = trained_part(student)
    distiller = Distiller(student=part.model, task=student.task)
    compile_distiller(distiller, plan, batches.steps_per_epoch)
    widths = [tokens.lengths[rows].max() for rows in batches.rows(0)]
    middling = batches.dataset(0, int(np.argsort(widths)[len(widths) // 2]))
    batch = next(iter(middling))
    with distiller.arithmetic(plan.precision):
        step = tf.function(distiller.train_step)
        seconds = medians(lambda: step(batch))
        kernels = profiled(lambda: step(batch))
    shape = tuple(batch[0]["token_ids"].shape)
    return Step(name, plan.precision, shape, 1000 * seconds, shape[0] / seconds, kernels)


def profiled(call: Callable[[], object]) -> dict[str, float]:
    """Milliseconds of a call's kernels by kind, over all threads."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(PROFILED_STEPS):
            call()
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        space.ParseFromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    found = collections.Counter(dict.fromkeys([*KINDS, REST], 0.0))
    for kernel, milliseconds in kernels_of(space):
        kind = next((k for k, names in KINDS.items() if kernel.startswith(names)), REST)
        found[kind] += milliseconds / PROFILED_STEPS
    return dict(found)


def kernels_of(space: Any) -> Iterator[tuple[str, float]]:
    """Name and milliseconds of each kernel that ran."""
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if name.startswith("CpuExecutable::Execute"):
                    yield "XlaLaunch", event.duration_ps / 1e9
                # "path/of/the/operation:Kernel#...", and nothing of C++ with its "::".
                elif ":" in name and "::" not in name and not name.startswith("EagerLocal"):
                    yield name.split(":")[-1].split("#")[0], event.duration_ps / 1e9


def scoring(teacher: TextClassifier, folder: Path, material: Material) -> list[dict[str, Any]]:
    """Texts a second of the ways to a teacher's answers, and the rate of their products."""
    tokens = material.tokens("train", teacher.tokenizer)
    rows = np.linspace(0, len(tokens) - 1, SCORED_ROWS).astype(int)
    sample = Chosen(tokens, rows)
    routes = Routes(teacher, folder, tokens, material.cache, material.progress)
    names = [EXACT, *([BFLOAT16] if has_bfloat16() else []), FILE]
    scorers = {name: routes.open(name) for name in names}
    operations = products_of(teacher, sample.lengths)
    found = []
    for name, scorer in scorers.items():
        processor = time.process_time()
        seconds = medians(lambda scorer=scorer: list(scorer.score(sample)), 3)
        # Three warm-up passes and three timed ones.
        processor = (time.process_time() - processor) / 6
        found.append(
            {
                "route": name,
                "texts_per_second": len(rows) / seconds,
                "processor_ms": 1000 * processor / len(rows),
                "gflops": operations / seconds / 1e9,
                "threads": scorer._threads if isinstance(scorer, FileScorer) else num_cores(),
            }
        )
    return found


def products_of(classifier: TextClassifier, lengths: np.ndarray) -> float:
    """Operations of the products of texts: 2 a weight of a kernel and token, and attention's."""
    kernels = [w for w in classifier.model.trainable_weights if w.path.endswith("kernel")]
    weights = sum(int(np.prod(w.shape)) for w in kernels if "logits" not in w.path)
    layers = sum("query" in w.path for w in kernels)
    width = next((int(w.shape[0]) for w in kernels if "query" in w.path), 0)
    return float(2 * weights * lengths.sum() + 4 * layers * width * (lengths**2).sum())


def account(run: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """All figures of a run's models."""
    dataset = own_dataset(run, data_dir)
    material = Material(dataset, check(dataset), run.path.parent / CACHE, Progress())
    folder = run.find(artifacts.read_json(finished(run).metrics)["teacher_folder"])
    plan = Plan(**training_record(run, run.model.name)["plan"])
    names = ("float32", "bfloat16") if has_bfloat16() else ("float32",)
    student = TextClassifier.load(run.model)
    steps = [
        step_of(student, material, dataclasses.replace(plan, precision=name), run.path.name)
        for name in names
    ]
    rows = int(np.prod(steps[0].batch_shape))
    return {
        "peaks": peaks(128, 512, rows),
        "steps": [dataclasses.asdict(step) for step in steps],
        "scoring": scoring(TextClassifier.load(folder), folder, material),
        "products_of_a_step": 3
        * products_of(student, np.full(steps[0].batch_shape[0], steps[0].batch_shape[1])),
        "cores": num_cores(),
        "processor": platform.processor() or platform.machine(),
        "versions": artifacts.versions(),
        "dataset": material.describe(),
    }


def tables(found: dict[str, Any]) -> list[Table]:
    """The figures as tables."""
    steps, scored, measured = found["steps"], found["scoring"], found["peaks"]
    lines = [*KINDS, REST, "all kernels, over all threads", "the step, by the wall clock"]
    return [
        Table(
            [
                words("Peak, GFLOP/s unless said", list(measured)),
                figures("Measured", list(measured.values()), "{:,.0f}"),
            ]
        ),
        Table(
            [
                words("Milliseconds of a step", [*lines, "examples a second"]),
                *(
                    figures(
                        step["precision"],
                        [
                            *(step["kernels"][kind] for kind in [*KINDS, REST]),
                            sum(step["kernels"].values()),
                            step["milliseconds"],
                            step["examples_per_second"],
                        ],
                        "{:,.1f}",
                    )
                    for step in steps
                ),
            ]
        ),
        Table(
            [
                words("Way", [row["route"] for row in scored]),
                figures("Texts/s", [row["texts_per_second"] for row in scored], "{:,.0f}"),
                figures("Processor ms a text", [row["processor_ms"] for row in scored], "{:.2f}"),
                figures("GFLOP/s of products", [row["gflops"] for row in scored], "{:,.0f}"),
            ]
        ),
    ]


def markdown(found: dict[str, Any]) -> str:
    """The tables, one below the other."""
    return "\n\n".join(table.markdown() for table in tables(found))


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path), envvar="TFKD_DATA_DIR")
@click.option("--output", type=click.Path(path_type=Path), help="JSON file for the figures.")
@click.option("--render", type=click.Path(path_type=Path), help="Show a JSON file again.")
def main(run: Path | None, data_dir: Path | None, output: Path | None, render: Path | None) -> None:
    """Accounts for the time of a step and of a scored text of a finished run of `tfkd distill`."""
    if render is not None:
        found = json.loads(render.read_text(encoding="utf-8"))
    elif run is not None:
        found = account(RunFolder(run), data_dir)
    else:
        raise click.UsageError("Expected a run or --render. Received: neither.")
    if output is not None:
        artifacts.write_json(output, found)
    click.echo(markdown(found))


if __name__ == "__main__":
    main()
