"""Work on Ray's workers: parts of a corpus through Ray Data, arms of a study as tasks.

Whatever the work makes, it writes where all machines find it, whole or not at all. So Ray may lose
a worker and do its piece again, and a driver that was killed is started again for what is missing.
"""

import contextlib
import importlib.util
import logging
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

from tfkd.errors import ConfigError, ModelError, TfkdError, system_error
from tfkd.process import num_cores, thread_limits
from tfkd.quiet import native_stderr_hidden

LOCAL, LOOPBACK = "local", "127.0.0.1"
# Of Ray's own for what its workers hand over: numbers alone.
STORE_BYTES = 100_000_000
# Ray's sockets lie there; in the folder of a command their names would be too long.
FOLDER = "/tmp/ray"
RETRIES = 10
# What this process was told on where things lie.
TOLD = ("TFKD_", "TFDS_", "HF_")


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
    """Refuses to go on without Ray, before anything slow.

    Raises:
        ConfigError: It is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "Expected the package ray for --ray. Received: none. Install it with "
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
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"Expected the workers of Ray to end their work. Received: {told[-1].strip()} Start "
            "the command again; it goes on."
        ) from error
