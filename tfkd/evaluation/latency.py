"""Warm time of one text, and the number of texts a model answers in a second.

All models are timed in one process, taking turns text by text, so that a busy moment of the machine
falls on every one of them and ratios change less than milliseconds. Threads are the
predictors' own business: set them when loading. A cold first call is never counted.
"""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfkd.data.examples import Texts
from tfkd.evaluation.predictor import Predictor

THROUGHPUT_BATCH_SIZE = 32
# Enough for a median; a slow model takes no fewer.
LEAST_CALLS = 30
PERCENTILES = (50, 95, 99)


@dataclasses.dataclass(frozen=True)
class Latency:
    """Times of one model: one text a call, and texts a second in batches of 32.

    Attributes:
        p50_ms: Median milliseconds of `predict([text])`, tokenization included.
        p95_ms: 95th percentile of the same calls.
        p99_ms: 99th percentile of the same calls.
        encoded_p50_ms: Median milliseconds of `predict_encoded` of the text's arrays.
        encoded_p95_ms: 95th percentile of the same calls.
        encoded_p99_ms: 99th percentile of the same calls.
        throughput_per_second: Texts a second of `predict` of 32 texts, tokenization included.
        num_calls: Timed calls behind each percentile; fewer for a slow model on a budget.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    encoded_p50_ms: float
    encoded_p95_ms: float
    encoded_p99_ms: float
    throughput_per_second: float
    num_calls: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return dataclasses.asdict(self)


def measure_latency(
    predictors: Mapping[str, Predictor],
    texts: Texts,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    stepped: Callable[[], object] = lambda: None,
    budget_seconds: float | None = None,
) -> dict[str, Latency]:
    """Times several models on the same texts, interleaved.

    A round takes each text in turn: every model answers it tokenized anew, then every model answers
    its arrays. The batches of 32 follow in rounds of their own; the texts are repeated to fill the
    last one. One round of each comes first and is not counted: it meets every shape that will be
    timed, so that neither tracing nor allocation is.

    Args:
        predictors: Mapping of names to models. They take their turns in this order.
        texts: Strings, or pairs of strings. Real ones: time depends on their length.
        rounds: Integer. Timed passes over the texts.
        clock: Function that returns seconds. For tests.
        stepped: Called after each of the `num_steps(rounds)` passes.
        budget_seconds: Float. About how long the calls of single texts may take, an equal share for
            each model. One that is too slow answers fewer of the texts, but is still called
            `LEAST_CALLS` times. Default: all models answer all texts.

    Raises:
        ValueError: No model, no text or no round.

    Example:
    >>> found = measure_latency({"teacher": teacher, "student": student}, texts, rounds=5)
    >>> found["teacher"].p50_ms / found["student"].p50_ms
    21.4
    """
    if not predictors or not texts or rounds < 1:
        raise ValueError(
            "Expected at least one predictor, one text and one round. "
            f"Received: {len(predictors)} predictors, {len(texts)} texts, {rounds} rounds."
        )
    own = {name: list(range(len(texts))) for name in predictors}
    if budget_seconds is not None:
        share = budget_seconds / len(predictors)
        own = {
            name: _affordable(predictor, texts, rounds, share, clock)
            for name, predictor in predictors.items()
        }
    whole = _timed_rounds(_text_calls(predictors, texts, own), rounds, clock, stepped)
    batches = _timed_rounds(_batch_calls(predictors, texts, own), rounds, clock, stepped)
    return {
        name: _latency(whole[name, "text"], whole[name, "arrays"], batches[name, "batch"])
        for name in predictors
    }


def num_steps(rounds: int) -> int:
    """Passes over the texts, those of before the clock runs included: one by one, then batches."""
    return 2 * (rounds + 1)


def _affordable(
    predictor: Predictor, texts: Texts, rounds: int, seconds: float, clock: Callable[[], float]
) -> list[int]:
    """Numbers of the texts, evenly spread, that a model can answer in all rounds in the seconds."""
    probes = _spread(len(texts), 3)
    for index in probes:
        predictor.predict(texts[index : index + 1])
    taken = []
    for index in probes:
        start = clock()
        predictor.predict(texts[index : index + 1])
        taken.append(clock() - start)
    # Not the mean: something else may hold the machine for one of them.
    call_seconds = max(statistics.median(taken), 1e-9)
    # Tokenized in the call and before it; one round is not counted.
    affordable = int(seconds / (2 * (rounds + 1) * call_seconds))
    return _spread(len(texts), max(affordable, -(-LEAST_CALLS // rounds)))


def _spread(total: int, count: int) -> list[int]:
    """So many of the first whole numbers, evenly spread, or all of them."""
    count = min(count, total)
    return [index * total // count for index in range(count)]


_Call = tuple[tuple[str, str], Callable[[], Any]]


def _text_calls(
    predictors: Mapping[str, Predictor], texts: Texts, own: Mapping[str, list[int]]
) -> list[_Call]:
    """The calls of one round: text by text, first every model on it, then all on its arrays."""
    calls: list[_Call] = []
    for index in range(len(texts)):
        single = texts[index : index + 1]
        asked = {name: model for name, model in predictors.items() if index in own[name]}
        for name, predictor in asked.items():
            calls.append(((name, "text"), _bound(predictor.predict, single)))
        for name, predictor in asked.items():
            arrays = predictor.encode(single)
            calls.append(((name, "arrays"), _bound(predictor.predict_encoded, arrays)))
    return calls


def _batch_calls(
    predictors: Mapping[str, Predictor], texts: Texts, own: Mapping[str, list[int]]
) -> list[_Call]:
    """The calls of one round: batch by batch, as long as a model has texts for another."""
    size = THROUGHPUT_BATCH_SIZE
    filled = list(itertools.islice(itertools.cycle(texts), -(-len(texts) // size) * size))
    return [
        ((name, "batch"), _bound(predictor.predict, filled[start : start + size]))
        for start in range(0, len(filled), size)
        for name, predictor in predictors.items()
        if start < len(own[name])
    ]


def _bound(function: Callable[[Any], Any], argument: Any) -> Callable[[], Any]:
    return lambda: function(argument)


def _timed_rounds(
    calls: list[_Call], rounds: int, clock: Callable[[], float], stepped: Callable[[], object]
) -> dict[tuple[str, str], list[float]]:
    """Seconds of every call by its key, after one round that is not counted."""
    for _, call in calls:
        call()
    stepped()
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key, _ in calls}
    for _ in range(rounds):
        for key, call in calls:
            start = clock()
            call()
            seconds[key].append(clock() - start)
        stepped()
    return seconds


def _latency(text: list[float], arrays: list[float], batch: list[float]) -> Latency:
    milliseconds = 1000 * np.percentile([text, arrays], PERCENTILES, axis=1).T
    per_second = THROUGHPUT_BATCH_SIZE * len(batch) / sum(batch)
    return Latency(*[*milliseconds.ravel().tolist(), per_second, len(text)])
