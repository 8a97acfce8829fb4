"""A LiteRT file that scores many rows, with a thread for each core."""

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tfkd.compression.litert import ENCODING_BATCH_SIZE, LiteRTModel
from tfkd.data.examples import Texts

if TYPE_CHECKING:
    from tfkd.data.batching import Rows

Answer = TypeVar("Answer")
ROWS_PER_TASK = 16
# Each holds its own packed weights for every length.
MOST_THREADS = 8


class FileScorer:
    """Scores rows of a split with a LiteRT file, as `TextClassifier` does with a Keras model.

    A row goes through the file alone, so its logits depend neither on the other rows nor on the
    threads. LiteRT lets go of Python's lock while it computes.

    Raises:
        ArtifactError: The file is missing or cannot be read.

    Example:

    ```python
    for rows, logits in FileScorer(path, threads=2).score(tokens):
        found[rows] = logits
    ```
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, min(threads, MOST_THREADS)
        self._models: list[LiteRTModel] = []
        self._idle: queue.SimpleQueue[LiteRTModel] = queue.SimpleQueue()
        self._open(1)

    def score(
        self, tokens: "Rows", start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and logits, some rows at a time, of the rows `[start, stop)`."""
        stop = len(tokens) if stop is None else stop

        def answered(model: LiteRTModel, first: int) -> tuple[np.ndarray, np.ndarray]:
            rows = np.arange(first, min(first + ROWS_PER_TASK, stop))
            return rows, model.predict_encoded(tokens.arrays(rows))

        return self._answered(answered, range(start, stop, ROWS_PER_TASK))

    def predict(self, texts: Texts) -> np.ndarray:
        """Logits of checked texts or pairs: float32, shape `[n, num_outputs]`.

        Quickest where texts of like length follow each other.
        """
        # One for all: it remembers the words it has met.
        encode = self._models[0].tokenizer.encode

        def answered(model: LiteRTModel, batch: Texts) -> np.ndarray:
            return model.predict_encoded(encode(batch))

        starts = range(0, len(texts), ENCODING_BATCH_SIZE)
        batches = [texts[start : start + ENCODING_BATCH_SIZE] for start in starts]
        parts = list(self._answered(answered, batches))
        return np.concatenate([np.zeros((0, self._models[0].num_outputs), np.float32), *parts])

    def _open(self, count: int) -> int:
        """Opens the file as often as is needed; gives the number of threads to take."""
        count = min(count, self._threads)
        while len(self._models) < count:
            self._models.append(LiteRTModel(self._path))
            self._idle.put(self._models[-1])
        return count

    def _answered(
        self, answer: Callable[[LiteRTModel, Any], Answer], tasks: Sequence[Any]
    ) -> Iterator[Answer]:
        """What the models answer to each task, in order."""

        def answered(task: Any) -> Answer:
            model = self._idle.get()
            try:
                return answer(model, task)
            finally:
                self._idle.put(model)

        if not tasks:
            return
        pool = ThreadPoolExecutor(self._open(len(tasks)))
        try:
            yield from pool.map(answered, tasks)
        finally:
            pool.shutdown(cancel_futures=True)
