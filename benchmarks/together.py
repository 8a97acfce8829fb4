r"""One training in two processes beside the same in one: the same student, and how quick.

    python benchmarks/together.py --runs /tmp/together
    python benchmarks/together.py --runs /tmp/together --output results/together.json

A teacher by labels and a student by its answers are trained on the demo set, each in one process
and in two (`--strategy mirrored`), without dropout, which no two processes draw alike. Sums in
another order round otherwise, which AdamW makes much of: so the one process trains once more, with
the rows of each batch in reverse. And the two train once more, while one of them and then the
command are killed. What is there already is not trained again.
"""

import argparse
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfkd.artifacts import RunFolder, versions, write_json
from tfkd.config.training import MIRRORED, DistillConfig, FinetuneConfig
from tfkd.data.batching import Batches
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.progress import Progress
from tfkd.quiet import quiet_libraries
from tfkd.runs.arm import train_arm
from tfkd.runs.budget import budget_of
from tfkd.runs.material import Material, prepare
from tfkd.runs.scoring import split_logits
from tfkd.runs.strategy import WORKER
from tfkd.runs.training import Objective, plan, training_record

RESULTS = Path(__file__).resolve().parents[1] / "results" / "together.json"
LENGTH, EPOCHS, RATE = 32, 2, 3e-4
TAUGHT = {"finetune": "bert_mini", "distill": "bert_tiny"}
REVERSED, KILLED = "one, reversed", "two, killed"
ARMS = {"one": None, REVERSED: None, "two": MIRRORED, KILLED: MIRRORED}
PAIRS = {
    "two_for_one": ("one", "two"),
    "reversed_for_one": ("one", REVERSED),
    "killed_for_two": ("two", KILLED),
}


def main() -> None:
    """Trains what is not there yet, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet_libraries()
    found = {verb: figures(verb, options.runs, options.rows) for verb in TAUGHT}
    note = {"rows": options.rows, "epochs": EPOCHS, "processes": 2, "cores": os.cpu_count()}
    write_json(options.output, {**note, "versions": versions(), "trainings": found})


def figures(verb: str, runs: Path, rows: int) -> dict[str, Any]:
    """Seconds of each way, and how far two processes are from one."""
    models, seconds = {}, {}
    for arm in ARMS:
        folder = runs / f"{verb}-{arm}"
        # A process of its own: the killed one is.
        worker = multiprocessing.get_context("spawn").Process(
            target=train, args=(verb, arm, runs, rows)
        )
        worker.start()
        if arm == KILLED and not (folder / "model").is_dir():
            kill(worker, folder)
            worker = multiprocessing.get_context("spawn").Process(
                target=train, args=(verb, arm, runs, rows)
            )
            worker.start()
        worker.join()
        models[arm] = TextClassifier.load(folder / "model")
        seconds[arm] = training_record(RunFolder(folder), "model")["seconds"]
    material = demo(verb, None, runs, rows)
    logits = {arm: split_logits(model, "test", material) for arm, model in models.items()}
    return {
        "model": TAUGHT[verb],
        "seconds": {arm: seconds[arm] for arm in ("one", "two")},
        "test_rows": len(logits["one"]),
        **{
            name: {
                "largest_weight_difference": difference(models[a], models[b]),
                "largest_logit_difference": float(np.abs(logits[a] - logits[b]).max()),
                "other_answers": int((logits[a].argmax(1) != logits[b].argmax(1)).sum()),
            }
            for name, (a, b) in PAIRS.items()
        },
    }


def demo(verb: str, arm: str | None, runs: Path, rows: int) -> Material:
    """The rows, for the settings of an arm."""
    kind = FinetuneConfig if verb == "finetune" else DistillConfig
    strategy = ARMS[arm] if arm else None
    config = kind(dataset="demo", max_train_rows=rows, strategy=strategy, backup_seconds=5.0)
    return prepare(config, runs, Progress(name=f"{verb}, {arm}" if arm else ""))


def train(verb: str, arm: str, runs: Path, rows: int) -> None:
    """One arm, in a process of its own; a student learns from what the first teacher answers."""
    quiet_libraries()
    material, run = demo(verb, arm, runs, rows), RunFolder(runs / f"{verb}-{arm}")
    config, objective, tokenizer = material.config, Objective(), None
    if verb == "distill":
        teacher = TextClassifier.load(runs / "finetune-one" / "model")
        objective = Objective(split_logits(teacher, "train", material), 2.0, 0.3)
        tokenizer = teacher.tokenizer
    source = resolve(TAUGHT[verb])
    untrained = load_classifier(source, material.dataset, Shape(LENGTH), tokenizer)
    for layer in untrained.model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    untrained.save(run.path / "start")
    chosen = dataclasses.replace(plan(config, RATE, budget_of(source), rows), epochs=EPOCHS)
    untrained = TextClassifier.load(run.path / "start")
    if arm == REVERSED:
        in_order = Batches.rows
        Batches.rows = lambda self, epoch: [rows[::-1] for rows in in_order(self, epoch)]
    train_arm("model", untrained, objective, chosen, material, run)


def kill(worker: multiprocessing.Process, folder: Path) -> None:
    """Kills a process that trains after one backup, and the command after another."""
    for step in range(2):
        before = time.time()
        wait(lambda since=before: newest(folder) > since)
        if step == 0:
            os.kill(list(children(worker.pid))[-1], signal.SIGKILL)
    worker.kill()
    worker.join()


def newest(folder: Path) -> float:
    """When the last backup was written."""
    backups = folder.glob("unfinished/*/*/state.npz")
    return max((path.stat().st_mtime for path in backups), default=0)


def children(parent: int) -> Iterator[int]:
    """The processes that a command started to train."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            named = WORKER.encode() in (folder / "cmdline").read_bytes()
            if named and f"PPid:\t{parent}\n" in (folder / "status").read_text():
                yield int(folder.name)


def wait(condition: Any) -> None:
    """Until it is true."""
    while not condition():
        time.sleep(0.2)


def difference(one: TextClassifier, two: TextClassifier) -> float:
    """The largest between two weights."""
    pairs = zip(one.model.trainable_variables, two.model.trainable_variables, strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


if __name__ == "__main__":
    main()
