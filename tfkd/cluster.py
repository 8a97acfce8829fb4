"""Work of several processes and machines: parts of a corpus, arms of a study, one training.

Ray Data has the parts, Ray's tasks the arms, Ray Train or whoever sets `TF_CONFIG` the training.

Whatever the work makes, it writes where all machines find it, whole or not at all. So Ray may lose
a worker and do its piece again, and a driver that was killed is started again for what is missing.
"""

import contextlib
import importlib.util
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfkd.errors import ConfigError, ModelError, TfkdError, system_error
from tfkd.process import num_cores, thread_limits
from tfkd.quiet import native_stderr_hidden

# Itself and what Ray Data and Ray Train ask for.
PACKAGES = ("ray", "pandas", "pydantic", "tensorboardX")
LOCAL, LOOPBACK = "local", "127.0.0.1"
# Of Ray's own for what its workers hand over: numbers alone.
STORE_BYTES = 100_000_000
# Ray's sockets lie there; in the folder of a command their names would be too long.
FOLDER = "/tmp/ray"
RETRIES = 10
# Of a training, whose workers all begin again.
FAILURES = 3
# TensorFlow's own variable: the addresses of all processes, and which of them this is.
TF_CONFIG = "TF_CONFIG"
# What this process was told on where things lie.
TOLD = ("TFKD_", "TFDS_", "HF_")


class Place(NamedTuple):
    """Which of the processes that train together one is, and how many there are."""

    rank: int
    size: int


def place() -> Place:
    """Which of the processes that train together this is, and how many there are.

    Raises:
        ConfigError: `TF_CONFIG` is not there, or says no such thing.
    """
    told = os.environ.get(TF_CONFIG, "")
    try:
        config = json.loads(told)
        roles = [(role, config["cluster"].get(role, [])) for role in ("chief", "worker")]
        tasks = [(role, index) for role, addresses in roles for index in range(len(addresses))]
        task = config["task"]
        return Place(tasks.index((task["type"], int(task["index"]))), len(tasks))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            "Expected TF_CONFIG with `cluster` (a list of addresses of `worker`) and `task` (its "
            f"type and index among them). Received: {told or 'none'}. Set it on each machine, or "
            "give --ray (`pip install 'tfkd[ray]'`)."
        ) from error


def tf_config(addresses: Sequence[str], index: int) -> str:
    """`TF_CONFIG` of one of the processes at these addresses."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def loopback_addresses(count: int) -> list[str]:
    """Addresses on this machine that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [f"{LOOPBACK}:{each.getsockname()[1]}" for each in sockets]


class Surroundings(NamedTuple):
    """Where the driver works and what it was told, for workers that stand in for it."""

    folder: str
    variables: dict[str, str]

    @classmethod
    def here(cls) -> "Surroundings":
        """Those of this process."""
        told = {name: value for name, value in os.environ.items() if name.startswith(TOLD)}
        return cls(os.getcwd(), told)

    def enter(self) -> None:
        """Makes them a worker's own; it has one core, like each of its neighbours.

        Raises:
            FileNotFoundError: The driver's folder is not there.
        """
        os.environ.update(self.variables | thread_limits(1))
        os.chdir(self.folder)


def check_installed() -> None:
    """Refuses to go on without Ray and what it needs, before anything slow.

    Raises:
        ConfigError: One of them is not installed.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"Expected the package {package} for --ray. Received: none. Install it with "
                "`pip install 'tfkd[ray]'`."
            )


@contextlib.contextmanager
def joined(address: str | None) -> Iterator[None]:
    """Has this process drive a Ray cluster while the block runs.

    Args:
        address: String. A cluster's address, "auto" for the one this machine is part of, or
            `LOCAL` for workers of its own, one a core. None for no cluster.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    if address is None:
        yield
        return
    check_installed()
    # For what its C++ has to say later.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        options |= {"num_cpus": num_cores(), "object_store_memory": STORE_BYTES}
        # Ray would look for its address on the network.
        options |= {"include_dashboard": False, "_temp_dir": FOLDER, "_node_ip_address": LOOPBACK}
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        with native_stderr_hidden():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray's own is a plain one where it takes too long.
        raise ConfigError(
            f"Expected a Ray cluster at {address}. Received: {error}. Start one with "
            "`ray start --head`, or give --ray local."
        ) from error
    signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        ray.shutdown()


class _Worker:
    """A worker of Ray Data: makes its function once, then calls it for each item."""

    def __init__(
        self, here: Surroundings, make: Callable[[Any], Callable[[int], int]], given: Any
    ) -> None:
        self._here, self._make, self._given = here, make, given
        self._function: Callable[[int], int] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        try:
            if self._function is None:
                self._here.enter()
                self._function = self._make(self._given)
            counts = [self._function(int(item)) for item in batch["item"]]
            return {"count": counts, "problem": [""] * len(counts)}
        except (TfkdError, OSError) as error:
            # Raised, it would come with Ray's own traceback.
            return {"count": [0], "problem": [_told(error)]}


def mapped(
    make: Callable[[Any], Callable[[int], int]], given: object, items: Sequence[int]
) -> Iterator[int]:
    """What a function gives for each item, in any order; an item is lost with no worker.

    Args:
        make: Function of `given` that gives the function; called once a worker, so that a model is
            loaded once.
        given: What can be pickled.
        items: Integers.

    Raises:
        ModelError: A worker met an error that a user can fix, or Ray gave up.
    """
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    size = max(min(int(ray.cluster_resources().get("CPU", 1)), len(items)), 1)
    # Not fewer than there are: a block is what Ray does again.
    found = ray.data.from_items(list(items), override_num_blocks=len(items)).map_batches(
        _Worker,
        batch_size=1,
        fn_constructor_args=(Surroundings.here(), make, given),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=size, initial_size=size),
        num_cpus=1,
    )
    with _ends():
        for row in found.iter_rows():
            if row["problem"]:
                raise ModelError(row["problem"])
            yield row["count"]


def called(function: Callable[..., object], calls: Sequence[tuple[object, ...]]) -> Generator[None]:
    """Calls a function with one tuple of arguments after another, as many at a time as cores.

    A call whose worker is killed is made again, from the start. What the function gives is left.

    Raises:
        ModelError: A call met an error that a user can fix, or Ray gave up; the others are ended.
    """
    import ray

    task = ray.remote(num_cpus=1, max_retries=RETRIES)(_call)
    waiting = [task.remote(Surroundings.here(), function, call) for call in calls]
    try:
        with _ends():
            while waiting:
                done, waiting = ray.wait(waiting)
                if problem := ray.get(done[0]):
                    raise ModelError(problem)
                yield
    finally:
        for left in waiting:
            ray.cancel(left, force=True)


def trained(function: Callable[[Any], object], given: object, folder: Path, most: int) -> str:
    """Calls a function once in each of several workers that find each other by `TF_CONFIG`.

    There are as many as the cluster has GPUs, or else cores. Where one ends before its time, all
    are started again.

    Args:
        function: Function of `given`; what it gives is left.
        given: What can be pickled.
        folder: Path for Ray's own notes, which all machines see.
        most: Integer. Largest number of workers.

    Returns:
        Why Ray gave up, or nothing.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.tensorflow import TensorflowTrainer

    resources = ray.cluster_resources()
    kind = "GPU" if resources.get("GPU") else "CPU"
    count = max(min(int(resources.get(kind, 1)), most), 1)
    trainer = TensorflowTrainer(
        _train,
        train_loop_config={"here": Surroundings.here(), "function": function, "given": given},
        scaling_config=ScalingConfig(num_workers=count, use_gpu=kind == "GPU"),
        run_config=RunConfig(
            storage_path=str(folder), failure_config=FailureConfig(max_failures=FAILURES)
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        return _last_line(error)
    return ""


def _train(given: dict[str, Any]) -> None:
    """A worker's part of a training."""
    given["here"].enter()
    given["function"](given["given"])


def _call(here: Surroundings, function: Callable[..., object], call: tuple[object, ...]) -> str:
    """A call, in a worker; gives what a user can fix, or nothing."""
    try:
        here.enter()
        function(*call)
    except (TfkdError, OSError) as error:
        return _told(error)
    return ""


def _told(error: TfkdError | OSError) -> str:
    return (isinstance(error, OSError) and system_error(error)) or str(error)


@contextlib.contextmanager
def _ends() -> Iterator[None]:
    """Turns what Ray raises when it gives up into a line; what the work raised is a bug."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        raise ModelError(
            f"Expected the workers of Ray to end their work. Received: {_last_line(error)} Start "
            "the command again; it goes on."
        ) from error


def _last_line(error: Exception) -> str:
    """What Ray says at last, or the error's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
