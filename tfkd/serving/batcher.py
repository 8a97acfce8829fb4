"""A bounded queue between many requests and few models: what waits together is answered together.

Only the models work in threads, one thread and one call at a time each. The queue lives on the
event loop, so nothing is locked, and a request that is given up leaves it at once.
"""

import asyncio
import contextlib
import dataclasses
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tfkd.data.examples import Texts
from tfkd.evaluation.predictor import Predictor

# A request that has waited so long may have been given up by its sender. Asking takes 20 µs.
ASKED_AFTER_SECONDS = 0.1
# Whether the sender of a request has gone.
IsGone = Callable[[], Awaitable[bool]]


async def _stays() -> bool:
    return False


class QueueFullError(Exception):
    """The queue has no place for a request's texts."""

    def __init__(self, retry_seconds: int) -> None:
        super().__init__(f"The queue is full. Try again in {retry_seconds} s.")
        self.retry_seconds = retry_seconds


class StoppingError(Exception):
    """The server takes no more requests."""

    def __init__(self) -> None:
        super().__init__("The server is stopping and takes no more requests.")


class AbandonedError(Exception):
    """Nobody waits for the answer any more, so there is none."""


@dataclasses.dataclass(frozen=True)
class QueueLimits:
    """Limits on the texts that wait and on those that are answered together.

    Attributes:
        batch_size: Texts a model gets at once. A request is never divided: one with more texts is a
            batch of its own.
        batch_wait_seconds: Time for which a batch that is not full waits for more texts.
        queue_texts: Texts that may wait; those a model has taken do not count.
        wait_seconds: The longest that a request may have to wait, by the pace of the last batches.
    """

    batch_size: int = 32
    batch_wait_seconds: float = 0.0
    queue_texts: int = 1024
    wait_seconds: float = math.inf


def _unheard(value: float) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Watch:
    """Functions that are told what a queue does; by default nobody listens.

    Attributes:
        waiting: Texts that wait, whenever their number changes.
        waited: Seconds that a request waited for a model.
        batch_texts: Texts that a model answered at once.
        batch_seconds: Its time for them.
        ended: Told when the queue has answered all it took.
    """

    waiting: Callable[[float], object] = _unheard
    waited: Callable[[float], object] = _unheard
    batch_texts: Callable[[float], object] = _unheard
    batch_seconds: Callable[[float], object] = _unheard
    ended: Callable[[], object] = lambda: None


@dataclasses.dataclass(frozen=True, eq=False)
class _Request:
    texts: Texts
    logits: asyncio.Future[np.ndarray]
    is_gone: IsGone
    asked_at: float


class Batcher:
    """Answers requests in the order of their arrival, several in one call of a model.

    Example:

    ```python
    batcher = Batcher([LiteRTModel(path)], QueueLimits())
    async with batcher.running():
        # float32, [1, num_outputs]
        logits = await batcher.predict(["Oil prices fell again."], request.is_disconnected)
    ```
    """

    def __init__(
        self, predictors: Sequence[Predictor], limits: QueueLimits, watch: Watch | None = None
    ) -> None:
        self._predictors = predictors
        self._limits = limits
        self._watch = watch or Watch()
        self._waiting: deque[_Request] = deque()
        self._num_waiting = 0
        self._arrived = asyncio.Event()
        # Of the last batches, each of which counts half as much as the next.
        self._seconds = self._texts = 0.0
        self.is_stopping = False
        self.num_answered = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers requests inside the block; at its end first those that still wait."""
        with ThreadPoolExecutor(len(self._predictors), "tfkd-model") as threads:
            workers = [
                asyncio.create_task(self._work(predictor, threads))
                for predictor in self._predictors
            ]
            try:
                yield
            finally:
                self.refuse()
                self._arrived.set()
                await asyncio.gather(*workers)
                self._watch.ended()

    def refuse(self) -> None:
        """Takes no request from now on. May be called by a signal's handler."""
        self.is_stopping = True

    async def predict(self, texts: Texts, is_gone: IsGone = _stays) -> np.ndarray:
        """Logits of a request's texts: float32, shape `[num_texts, num_outputs]`.

        A caller that is cancelled takes its texts out of the queue.

        Args:
            texts: Strings, or pairs of strings.
            is_gone: Asked when the turn of a request that had to wait comes: one whose sender has
                gone costs the model nothing. Default: all senders stay.

        Raises:
            AbandonedError: The sender has gone.
            QueueFullError: Too many texts wait, or for too long. Nothing of the request is kept.
            StoppingError: The server is stopping.
            Exception: What the model raised on these texts.
        """
        if self.is_stopping:
            raise StoppingError
        seconds = self._wait_seconds()
        is_full = self._num_waiting + len(texts) > self._limits.queue_texts
        if is_full or seconds > self._limits.wait_seconds:
            raise QueueFullError(max(1, math.ceil(seconds)))
        loop = asyncio.get_running_loop()
        request = _Request(texts, loop.create_future(), is_gone, loop.time())
        self._waiting.append(request)
        self._count(len(texts))
        self._arrived.set()
        try:
            return await request.logits
        except asyncio.CancelledError:
            if request in self._waiting:
                self._waiting.remove(request)
                self._count(-len(texts))
            raise

    def _count(self, num_texts: int) -> None:
        self._num_waiting += num_texts
        self._watch.waiting(self._num_waiting)

    def _wait_seconds(self) -> float:
        """Until all that waits is answered, at the pace of the last batches."""
        pace = self._seconds / self._texts if self._texts else 0.0
        return self._num_waiting * pace / len(self._predictors)

    async def _work(self, predictor: Predictor, threads: ThreadPoolExecutor) -> None:
        while await self._something_waits():
            await self._fill()
            # Another model may have taken all of it meanwhile.
            if batch := await self._take():
                await self._answer(batch, predictor, threads)

    async def _something_waits(self) -> bool:
        """Whether there is work; False when there will be none any more."""
        while not self._waiting:
            if self.is_stopping:
                return False
            await self._arrival()
        return True

    async def _fill(self) -> None:
        """Gives a batch that is not full its time; even none lets what is ready now come in."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.batch_wait_seconds):
                while self._num_waiting < self._limits.batch_size and not self.is_stopping:
                    await self._arrival()

    async def _arrival(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    async def _take(self) -> list[_Request]:
        """The longest waiting requests, as many as a batch holds, but for those given up."""
        batch: list[_Request] = []
        num_texts = 0
        while self._waiting:
            size = len(self._waiting[0].texts)
            if batch and num_texts + size > self._limits.batch_size:
                break
            request = self._waiting.popleft()
            self._count(-size)
            waited = asyncio.get_running_loop().time() - request.asked_at
            if waited >= ASKED_AFTER_SECONDS and await request.is_gone():
                if not request.logits.done():
                    request.logits.set_exception(AbandonedError())
                continue
            self._watch.waited(waited)
            batch.append(request)
            num_texts += size
        return batch

    async def _answer(
        self, batch: Sequence[_Request], predictor: Predictor, threads: ThreadPoolExecutor
    ) -> None:
        loop = asyncio.get_running_loop()
        texts: Any = [text for request in batch for text in request.texts]
        started = loop.time()
        call = loop.run_in_executor(threads, predictor.predict, texts)
        await asyncio.wait([call])
        seconds = loop.time() - started
        self._seconds, self._texts = self._seconds / 2 + seconds, self._texts / 2 + len(texts)
        self._watch.batch_texts(len(texts))
        self._watch.batch_seconds(seconds)
        error = call.exception()
        if error is not None and len(batch) > 1:
            # One request must not cost its neighbours their answers.
            for request in batch:
                await self._answer([request], predictor, threads)
            return
        start = 0
        for request in batch:
            stop = start + len(request.texts)
            # A request that was given up is done already.
            if not request.logits.done():
                if error is not None:
                    request.logits.set_exception(error)
                else:
                    request.logits.set_result(call.result()[start:stop])
                    self.num_answered += 1
            start = stop
