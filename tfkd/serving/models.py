"""The models a server answers with: by name and version, renewed while requests come in.

A new version is read and tried in a thread. Then it stands in the table, and only then the one
before it goes, after it has answered what it took. The table changes on the event loop between two
requests, so none of them falls into the gap.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Protocol

from tfkd.evaluation.predictor import Predictor
from tfkd.serving.batcher import Batcher, QueueLimits, Watch
from tfkd.serving.contract import Refusal, ServedModel


class ModelSource(Protocol):
    """Where the versions of a model come from; `tfkd.serving.folders` has that of run folders."""

    @property
    def name(self) -> str:
        """The model's name in addresses."""
        ...

    def versions(self) -> Mapping[str, object]:
        """The versions to serve, the newest first, each with a value that changes as its files do.

        Raises:
            ArtifactError: There are none.
        """
        ...

    def load(self, version: str) -> tuple[ServedModel, Sequence[Predictor]]:
        """A version, ready to answer."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Version:
    """A version that is served: its facts, what answers, and what its files were."""

    model: ServedModel
    batcher: Batcher
    stamp: object
    running: contextlib.AsyncExitStack

    async def start(self) -> None:
        """Begins to answer."""
        await self.running.enter_async_context(self.batcher.running())

    async def stop(self) -> None:
        """Answers what it has taken, and ends."""
        await self.running.aclose()


class Models:
    """All versions that are served, and the way to others.

    Args:
        sources: One for each model.
        limits: `QueueLimits` of each version.
        say: Takes a line about what a reload did.
        watch: Gives what a version's queue tells of itself.

    Raises:
        TfkdError: A version cannot be read.

    Example:

    ```python
    models = Models([ModelFolder(Path("saved_models/demo"), "demo")], QueueLimits())
    async with models.running():
        logits = await models.find("demo").batcher.predict(["Oil prices fell again."])
    ```
    """

    def __init__(
        self,
        sources: Sequence[ModelSource],
        limits: QueueLimits,
        say: Callable[[str], None] = lambda line: None,
        watch: Callable[[ServedModel], Watch] = lambda model: Watch(),
    ) -> None:
        self._sources = sources
        self._limits = limits
        self._say = say
        self._watch = watch
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task] = set()
        self._answered_by_gone = 0
        self.is_stopping = False
        self._table: dict[str, Mapping[str, Version]] = {
            source.name: {
                version: self._loaded(source, version, stamp)
                for version, stamp in source.versions().items()
            }
            for source in sources
        }

    def __iter__(self) -> Iterator[Version]:
        return (version for versions in self._table.values() for version in versions.values())

    @property
    def names(self) -> list[str]:
        """In the order they were given."""
        return list(self._table)

    def versions(self, name: str) -> list[str]:
        """Those of a model that answer, the newest first.

        Raises:
            Refusal: 404 for another model.
        """
        self.find(name)
        return list(self._table[name])

    @property
    def num_answered(self) -> int:
        """Requests answered so far, by versions that are gone, too."""
        return self._answered_by_gone + sum(version.batcher.num_answered for version in self)

    def find(self, name: str, version: str | None = None) -> Version:
        """A version, by default the newest.

        Raises:
            Refusal: 404.
        """
        versions = self._table.get(name, {})
        found = versions.get(version or next(iter(versions), ""))
        if found is None:
            known = " or ".join(
                f"model {known}, version {', '.join(versions)}"
                for known, versions in self._table.items()
            )
            raise Refusal(404, f"Expected {known}. Received another name or version.")
        return found

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers requests inside the block; at its end first those that still wait."""
        for version in self:
            await version.start()
        try:
            yield
        finally:
            self.refuse()
            async with self._reloading:
                await asyncio.gather(*(version.stop() for version in self))

    def refuse(self) -> None:
        """Takes no request from now on. May be called by a signal's handler."""
        self.is_stopping = True
        for version in self:
            version.batcher.refuse()

    def reload(self) -> asyncio.Task[tuple[list[str], list[str]]]:
        """Looks for other versions and changed files, and serves them.

        Where a version cannot be read, what the model answered with goes on answering.

        Returns:
            A task that should not be cancelled. It gives one line for each model that changed, and
            one for each failure; they were said, too.
        """
        task = asyncio.create_task(self._reload())
        # The loop itself holds a task only weakly.
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)
        return task

    async def _reload(self) -> tuple[list[str], list[str]]:
        changes: list[str] = []
        failures: list[str] = []
        async with self._reloading:
            for source in self._sources:
                if not self.is_stopping:
                    await self._renew(source, changes, failures)
        for line in (*changes, *failures):
            self._say(line)
        return changes, failures

    async def _renew(self, source: ModelSource, changes: list[str], failures: list[str]) -> None:
        before = self._table[source.name]
        after = await asyncio.to_thread(self._found, source, before, failures)
        new = [version for name, version in after.items() if before.get(name) is not version]
        gone = [version for name, version in before.items() if after.get(name) is not version]
        if self.is_stopping or not (new or gone):
            return
        for version in new:
            await version.start()
        self._table[source.name] = after
        changes.append(f"Reloaded: {source.name} answers with version {', '.join(after)}.")
        await asyncio.gather(*(version.stop() for version in gone))
        self._answered_by_gone += sum(version.batcher.num_answered for version in gone)

    def _found(
        self, source: ModelSource, before: Mapping[str, Version], failures: list[str]
    ) -> Mapping[str, Version]:
        """The versions to serve, the newest first; in place of one that cannot be read an old one.

        Whatever is wrong with the files, requests go on.
        """
        after: dict[str, Version] = {}
        try:
            stamps = source.versions()
        except Exception as error:
            failures.append(f"Not reloaded: {source.name}. {error}")
            return before
        for version, stamp in stamps.items():
            kept = before.get(version)
            try:
                if kept is None or kept.stamp != stamp:
                    kept = self._loaded(source, version, stamp)
                after[version] = kept
            except Exception as error:
                failures.append(f"Not reloaded: {source.name}, version {version}. {error}")
        if len(after) < len(stamps):
            newest = sorted({**before, **after}.items(), key=lambda item: -int(item[0]))
            after = dict(newest[: len(stamps)])
        return after

    def _loaded(self, source: ModelSource, version: str, stamp: object) -> Version:
        model, predictors = source.load(version)
        batcher = Batcher(predictors, self._limits, self._watch(model))
        return Version(model, batcher, stamp, contextlib.AsyncExitStack())
