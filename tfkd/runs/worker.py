"""Work of each of the processes that train an arm together, wherever it was started.

The first writes what the command that waits for them reads: the backup, at last that of the end,
the logs, and `told.json`.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from tfkd import artifacts
from tfkd.artifacts import JsonObject
from tfkd.distillation.replicas import Replicas
from tfkd.distillation.tensorboard import RunLog
from tfkd.distillation.training import ScalarLog
from tfkd.errors import ModelError, TfkdError
from tfkd.process import answer
from tfkd.progress import Progress
from tfkd.runs.training import Training

# Where backup and logs go, and what the arm is called; and what the first process tells of it.
JOB, TOLD = "job.json", "told.json"


def take_part(job: str) -> bool:
    """Joins the others and trains with them what the first of them names.

    Args:
        job: String. Folder of a training as `Training.write` leaves it, with a `job.json`. Only the
            first process' counts; "" sends the others home.

    Returns:
        Whether there was anything to train. What a user can fix stands in the folder's `told.json`.
    """
    replicas = Replicas()
    job = replicas.text_from_chief(job)
    if not job:
        return False
    folder = Path(job)
    if not folder.is_dir():
        raise ModelError(
            f"Expected {folder}, which the first process wrote. It is not there. Give all machines "
            "a disk that they share, under the same path."
        )
    training, order = Training.read(folder), artifacts.read_json(folder / JOB)
    log, shown = _Log(folder, Path(order["logs"])), (Progress(quiet=True), order["name"])
    # What ends it ends it in all processes at the same step.
    try:
        training.run(Path(order["backup"]), log.open, shown, replicas)
    except TfkdError as error:
        if replicas.rank == 0:
            _tell(folder, {"problem": str(error)})
    return True


class _Log:
    """TensorBoard's log, and the step for whoever waits; the first process alone opens one."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder, self._logs = folder, logs

    def open(self, step: int) -> ScalarLog:
        """Goes on with the log from a step on."""
        self._log = RunLog(self._logs, step)
        _tell(self._folder, {"step": step})
        return self

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes named figures of a step."""
        self._log.scalars(step, dict(values))
        _tell(self._folder, {"step": step})

    def close(self) -> None:
        """Closes the log."""
        self._log.close()


def _tell(folder: Path, what: JsonObject) -> None:
    artifacts.write_json(folder / TOLD, what)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    answer(take_part(json.load(sys.stdin)))
