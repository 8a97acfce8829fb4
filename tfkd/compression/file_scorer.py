"""A LiteRT file that scores many rows, with a thread for each core."""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tfkd.compression.litert import LiteRTModel
from tfkd.data.batching import Rows

ROWS_PER_TASK = 16
# Each holds its own packed weights for every length.
MOST_THREADS = 8


class FileScorer:
    """Scores rows of a split with a LiteRT file, as `TextClassifier` does with a Keras model.

    A row goes through the file alone, so its logits depend neither on the other rows nor on the
    threads. LiteRT lets go of Python's lock while it computes.

    Args:
        path: Path. A file written by `tfkd.compression.conversion.convert`.
        threads: Integer. Rows that are scored at a time.

    Raises:
        ArtifactError: The file is missing or cannot be read.

    Example:

    ```python
    for rows, logits in FileScorer(path, threads=2).score(tokens):
        found[rows] = logits
    ```
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._threads = min(threads, MOST_THREADS)
        self._idle: queue.SimpleQueue[LiteRTModel] = queue.SimpleQueue()
        for _ in range(self._threads):
            self._idle.put(LiteRTModel(path))

    def score(
        self, tokens: Rows, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and logits, some rows at a time, of the rows `[start, stop)`."""
        stop = len(tokens) if stop is None else stop

        def answered(first: int) -> tuple[np.ndarray, np.ndarray]:
            rows = np.arange(first, min(first + ROWS_PER_TASK, stop))
            model = self._idle.get()
            try:
                return rows, model.predict_encoded(tokens.arrays(rows))
            finally:
                self._idle.put(model)

        pool = ThreadPoolExecutor(self._threads)
        try:
            yield from pool.map(answered, range(start, stop, ROWS_PER_TASK))
        finally:
            pool.shutdown(cancel_futures=True)
