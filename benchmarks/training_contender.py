"""The fresh process of one contender of benchmarks/training.py: a job in, its figures out."""

import importlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from training_job import Job

from tfkd.process import answer
from tfkd.quiet import quiet_libraries


def measure(module: str, job: Job) -> dict[str, Any]:
    """Seconds from raw text to trained students, peak memory until then, and test accuracy.

    Args:
        module: Name of the module with `train(job)`. Its imports are not timed.
        job: `Job`.
    """
    train = importlib.import_module(module).train
    started_at, worked_before = time.perf_counter(), time.process_time()
    trained = train(job)
    seconds = time.perf_counter() - started_at
    processor_seconds = time.process_time() - worked_before
    # Before the test rows are read: they belong to no training.
    peak = peak_memory_bytes()
    texts, labels = job.rows("test")
    accuracies = [
        float(np.mean(np.argmax(predict(texts), axis=1) == labels))
        for predict in trained.predictors
    ]
    return {
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "parts_seconds": trained.seconds,
        "updates": trained.updates,
        "accuracies": accuracies,
        "peak_memory_bytes": peak,
    }


def peak_memory_bytes() -> int:
    """Peak resident memory of this process, from its start; of Linux."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise OSError("Expected VmHWM in /proc/self/status. Run it on Linux.")
    return int(found.group(1)) * 1024


if __name__ == "__main__":
    quiet_libraries()
    given = json.load(sys.stdin)
    answer(measure(given["module"], Job(**given["job"])))
