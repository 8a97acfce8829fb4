"""Progress of a long command on standard error: bars with the time left, or plain lines.

What is shown as a stage is timed as well, so that a command can say where its time went.
"""

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

PLAIN_SECONDS = 10.0


class Task:
    """One counted piece of work."""

    def __init__(self, description: str, total: int, completed: int, progress: "Progress") -> None:
        self._description, self._total, self._completed = description, total, completed
        self._progress = progress
        self._started_at, self._started_with = time.monotonic(), completed
        self._plain_at = self._started_at
        self._bar = progress.bars.add_task(description, total=total, completed=completed, status="")

    def advance(self, count: int = 1, status: str = "") -> None:
        """Counts finished work; `status` is shown behind the bar."""
        self._completed += count
        self._progress.bars.update(self._bar, completed=self._completed, status=status)
        now = time.monotonic()
        if self._progress.is_plain and now - self._plain_at >= PLAIN_SECONDS:
            self._plain_at = now
            self._progress.say(f"{self._line(now)} {status}".rstrip())

    def _line(self, now: float) -> str:
        done = max(self._completed - self._started_with, 1)
        seconds = (now - self._started_at) / done * (self._total - self._completed)
        return f"{self._description} {self._completed}/{self._total}, {seconds:.0f} s left"


class Progress:
    """Shows stages and counted tasks.

    Args:
        quiet: Boolean. Show nothing at all.
        name: String. Whose lines they are, where several processes write: each line begins with
            it, and there are no bars, which would cover each other.
    """

    def __init__(self, quiet: bool = False, name: str = "") -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, markup=False)
        self._prefix = f"{name}: " if name else ""
        self._seconds: dict[str, float] = {}
        self._open_stages: list[str] = []
        self._counted_at = 0.0
        self.is_quiet = quiet
        self.is_plain = bool(name) or not self._console.is_terminal
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            transient=True,
            disable=self.is_plain or quiet,
        )

    def say(self, text: str) -> None:
        """Shows one line."""
        self._console.print(self._prefix + text, soft_wrap=True)

    def named(self, name: str) -> "Progress":
        """Lines for one of several processes, or for what they all work on."""
        return Progress(self.is_quiet, name)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage so far, in the order they began; the outermost stage comes last."""
        self._count()
        if not self._seconds:
            return {}
        outermost, *inner = self._seconds
        return {name: self._seconds[name] for name in (*inner, outermost)}

    @contextlib.contextmanager
    def stage(self, name: str, said: str = "") -> Iterator[None]:
        """A stage of a command, timed by the wall clock while the block runs.

        A stage inside another has its seconds to itself: all stages together take as long as the
        outermost one, which begins the account anew.

        Args:
            name: String. Name of the work, such as "tokenize". Stages of one name are added up.
            said: String. Line to show at the start; empty for none.

        Example:
        >>> with progress.stage("other"), progress.stage("tokenize"):
        ...     tokens = material.tokens("train", tokenizer)
        >>> progress.seconds
        {'tokenize': 2.1, 'other': 0.0}
        """
        if said:
            self.say(said)
        self._count()
        if not self._open_stages:
            self._seconds = {}
        self._open_stages.append(name)
        self._seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._count()
            self._open_stages.pop()

    def took(self, seconds: float) -> None:
        """Makes the stage under way at least so long, for one that earlier sessions worked on."""
        self._count()
        if self._open_stages:
            name = self._open_stages[-1]
            self._seconds[name] = max(self._seconds[name], seconds)

    def _count(self) -> None:
        """Gives the seconds since the last count to the innermost open stage."""
        now = time.monotonic()
        if self._open_stages:
            self._seconds[self._open_stages[-1]] += now - self._counted_at
        self._counted_at = now

    @contextlib.contextmanager
    def task(self, description: str, total: int, completed: int = 0) -> Iterator[Task]:
        """A counted piece of work, shown while the block runs.

        Args:
            description: String. Name of the work, such as "score".
            total: Integer. Number of steps.
            completed: Integer. Number of steps done in an earlier session.
        """
        with self.bars:
            task = Task(description, total, completed, self)
            try:
                yield task
            finally:
                self.bars.remove_task(task._bar)
