"""One training in several processes: those of this machine, of a Ray cluster, or of `TF_CONFIG`.

The command itself trains nothing then. It writes what the training is made of into the arm's
unfinished folder, has the processes train there, and goes on with what they left, as it would after
a kill. So a killed process costs the steps since the last backup, and a killed command no more.
"""

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import tensorflow as tf

from tfkd import artifacts, cluster
from tfkd.artifacts import JsonObject
from tfkd.config.training import MIRRORED, TrainingConfig
from tfkd.errors import ConfigError, ModelError, TfkdError
from tfkd.parts import part_folder
from tfkd.process import Ending, end_children, num_cores, run_child
from tfkd.progress import Progress
from tfkd.runs.training import Training
from tfkd.runs.worker import JOB, TOLD, take_part

WORKER = "tfkd.runs.worker"
# Of a batch for each process: with fewer they wait for each other more than they work.
FEWEST_ROWS = 8
# The processes begin again so often, from the last backup, until they come no further.
ATTEMPTS = 3
LOOK_SECONDS = 1.0
LET_GO_SECONDS = 120.0
# Whoever is still to join may take days.
FOREVER = threading.TIMEOUT_MAX
# Of a process beside others on this machine; what exchanges gradients has threads of its own.
ONE_CORE = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}


@contextlib.contextmanager
def gathered(config: TrainingConfig) -> Iterator[None]:
    """Has the processes of a config's strategy at hand while the block runs.

    Raises:
        ConfigError: There are none, or this is not the first of them.
    """
    if config.ray is not None and config.strategy in (None, MIRRORED):
        raise ConfigError(
            "Expected --strategy multi-worker with --ray. Received: "
            f"{'none' if config.strategy is None else config.strategy}. Ray's workers train one "
            "student together; leave --ray out to train on this machine."
        )
    is_joined = _is_joined(config)
    if is_joined and cluster.place().rank > 0:
        raise ConfigError(
            "Expected the first process of TF_CONFIG. Received: another one, which takes part by "
            "the command `tfkd` alone."
        )
    with cluster.joined(config.ray):
        try:
            yield
        except TfkdError:
            _let_go(is_joined)
            raise
        _let_go(is_joined)


def _is_joined(config: TrainingConfig) -> bool:
    """Whether the processes are those that `TF_CONFIG` names."""
    return config.strategy not in (None, MIRRORED) and config.ray is None


def _let_go(is_joined: bool) -> None:
    """Ends the commands of the other machines, which wait for another training."""
    if is_joined:
        run_child(WORKER, "", LET_GO_SECONDS)


@dataclasses.dataclass(frozen=True)
class PartResult:
    """Result of a command that took part in the trainings of another."""

    num_trainings: int

    def to_dict(self) -> JsonObject:
        """The figures as JSON values."""
        return dataclasses.asdict(self)

    def render(self) -> list[str]:
        """A line for the console."""
        noun = "training" if self.num_trainings == 1 else "trainings"
        return [f"took part in {self.num_trainings} {noun} of the first process of TF_CONFIG"]


def helped(config: TrainingConfig) -> PartResult | None:
    """Takes part in the trainings of the first process, where this is another one.

    Raises:
        ConfigError: `TF_CONFIG` is not there, or wrong.
        ModelError: The processes ended again and again.
    """
    if not _is_joined(config) or cluster.place().rank == 0:
        return None
    progress, count, attempts = Progress(config.quiet), 0, 0
    progress.say("wait for the first process of TF_CONFIG, and train with it")
    while attempts < ATTEMPTS:
        ending = run_child(WORKER, "", FOREVER)
        if reason := _reason(ending):
            attempts += 1
            progress.say(_again(reason))
        elif not json.loads(ending.answer):
            return PartResult(count)
        else:
            count, attempts = count + 1, 0
            progress.say(f"trainings: {count}")
    raise ModelError(_given_up(reason))


def train_together(
    config: TrainingConfig,
    training: Training,
    folders: tuple[Path, Path],
    name: str,
    progress: Progress,
) -> None:
    """Has the processes of a config's strategy do a training, of which the last backup is left.

    Args:
        config: `TrainingConfig` with a strategy.
        training: `Training`.
        folders: Paths for the backup and the logs, which all machines see.
        name: String. Name of the arm.
        progress: `Progress` that shows what is done.

    Raises:
        ModelError: They met an error that a user can fix, or ended again and again.
    """
    backup, logs = (folder.resolve() for folder in folders)
    backup.mkdir(parents=True, exist_ok=True)
    num_steps = training.plan.epochs * training.batches.steps_per_epoch
    with part_folder(backup / "job") as folder:
        training.write(folder)
        order = {"backup": str(backup), "logs": str(logs), "name": name}
        artifacts.write_json(folder / JOB, order)
        with _watched(folder / TOLD, progress, name, num_steps):
            attempts, last = 0, 0
            while attempts < ATTEMPTS:
                reason = _started(config, folder, progress)
                found = _read(folder / TOLD)
                if "problem" in found:
                    raise ModelError(found["problem"])
                if not reason:
                    return
                step = found.get("step", 0)
                attempts, last = 1 if step > last else attempts + 1, step
                progress.say(_again(reason))
    raise ModelError(_given_up(reason))


def _started(config: TrainingConfig, folder: Path, progress: Progress) -> str:
    """Starts the processes and waits for them; gives why one ended before its time, or nothing."""
    if _is_joined(config):
        return _reason(run_child(WORKER, str(folder), FOREVER))
    most = max(config.batch_size // FEWEST_ROWS, 1)
    if config.ray is not None:
        progress.say(f"train by workers of Ray, at most {most}")
        return cluster.trained(take_part, str(folder), folder / "ray", most)
    graphics = len(tf.config.list_physical_devices("GPU"))
    count = min(graphics or num_cores(), most)
    addresses = cluster.loopback_addresses(count)
    unit = "GPU" if graphics else "core"
    # TensorFlow's server has no other way.
    ports = ", ".join(address.rpartition(":")[2] for address in addresses)
    progress.say(
        f"train in {count} processes, a {unit} each, which listen at every address of this machine "
        f"meanwhile (ports {ports})"
    )

    def run(rank: int) -> Ending:
        own = {"CUDA_VISIBLE_DEVICES": str(rank)} if graphics else ONE_CORE
        place = {cluster.TF_CONFIG: cluster.tf_config(addresses, rank)}
        return run_child(WORKER, str(folder), FOREVER, own | place)

    with ThreadPoolExecutor(count) as pool:
        try:
            for done in as_completed([pool.submit(run, rank) for rank in range(count)]):
                if reason := _reason(done.result()):
                    return reason
        finally:
            end_children()
    return ""


def _reason(ending: Ending) -> str:
    """Why a process ended before its time, or nothing."""
    if not ending.code:
        return ""
    return (ending.reason or ending.signal_name or f"code {ending.code}")[:200]


def _again(reason: str) -> str:
    return f"a process of the training ended ({reason}): all begin again from the last backup"


def _given_up(reason: str) -> str:
    return (
        f"Expected the processes to train together. Received: {reason}, {ATTEMPTS} times. Start "
        "the command again; it goes on. Without --strategy it trains in one process."
    )


@contextlib.contextmanager
def _watched(told: Path, progress: Progress, name: str, num_steps: int) -> Iterator[None]:
    """Shows the steps of the processes while the block runs, from the one they go on with."""
    ended = threading.Event()

    def watch() -> None:
        while "step" not in (found := _read(told)):
            if ended.wait(LOOK_SECONDS):
                return
        shown: int = found["step"]
        with progress.task(f"train {name}", num_steps, shown) as task:
            while not ended.wait(LOOK_SECONDS):
                step: int = _read(told).get("step", shown)
                if step > shown:
                    task.advance(step - shown)
                    shown = step

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _read(told: Path) -> JsonObject:
    """What the first process told, if it did."""
    try:
        return artifacts.read_json(told)
    except (OSError, TfkdError):
        return {}
