"""The queue over stand-in models whose logits are known: text "7" gives 7 and -7."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfkd.serving.batcher import (
    ASKED_AFTER_SECONDS,
    AbandonedError,
    Batcher,
    QueueFullError,
    QueueLimits,
    StoppingError,
)

SECONDS = 60.0


class Numbers:
    """Answers when the gate is open; remembers what it was asked."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self._busy = threading.Lock()

    def predict(self, texts):
        assert self._busy.acquire(blocking=False), "two calls at once"
        self.batches.append(list(texts))
        assert self.gate.wait(SECONDS)
        self._busy.release()
        if "13" in texts:
            raise ValueError("13 is a text this model does not take")
        return np.array([[int(text), -int(text)] for text in texts], np.float32)


def expected(texts):
    return [[float(text), -float(text)] for text in texts]


async def until(condition):
    """Returns when the condition holds; the loop goes on meanwhile."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


def ask(batcher, *texts):
    return asyncio.create_task(batcher.predict(list(texts)))


@contextlib.asynccontextmanager
async def busy(model, limits):
    """A batcher whose only model has taken the text "0" and is held there."""
    batcher = Batcher([model], limits)
    async with batcher.running():
        model.gate.clear()
        first = ask(batcher, "0")
        await until(lambda: model.batches == [["0"]])
        yield batcher
        model.gate.set()
        assert (await first).tolist() == expected("0")


def late_by(seconds):
    """Sets the clock of the loop that runs on, and nobody has to wait."""
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + seconds


def waiting(batcher, count):
    """Lets tasks that were just made take their place in the queue."""
    return until(lambda: batcher._num_waiting == count)


@settings(max_examples=40)
@given(
    requests=st.lists(st.lists(st.integers(20, 99), min_size=1, max_size=6), max_size=30),
    batch_size=st.integers(1, 8),
    workers=st.integers(1, 3),
    pauses=st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_every_request_gets_the_answers_of_its_own_texts(requests, batch_size, workers, pauses):
    models = [Numbers() for _ in range(workers)]
    requests = [[str(number) for number in request] for request in requests]

    async def run():
        batcher = Batcher(models, QueueLimits(batch_size=batch_size))
        async with batcher.running():
            tasks = []
            for texts, pause in zip(requests, pauses, strict=False):
                tasks.append(ask(batcher, *texts))
                if pause:
                    await asyncio.sleep(0)
            return [logits.tolist() for logits in await asyncio.gather(*tasks)], batcher

    answers, batcher = asyncio.run(run())
    assert answers == [expected(texts) for texts in requests]
    assert batcher.num_answered == len(requests)
    batches = [batch for model in models for batch in model.batches]
    assert sorted(sum(batches, [])) == sorted(sum(requests, []))
    for batch in batches:
        assert len(batch) <= batch_size or batch in requests


def test_a_request_whose_sender_has_gone_costs_the_model_nothing():
    async def gone():
        return True

    async def run():
        model = Numbers()
        async with busy(model, QueueLimits(batch_size=2, queue_texts=100)) as batcher:
            left = [
                asyncio.create_task(batcher.predict([str(number)] * 20, gone))
                for number in (1, 2, 3)
            ]
            stayed = ask(batcher, "4")
            await waiting(batcher, 61)
            await asyncio.sleep(ASKED_AFTER_SECONDS)
        assert (await stayed).tolist() == expected("4")
        for task in left:
            with pytest.raises(AbandonedError, match="^$"):
                await task
        assert batcher._num_waiting == 0
        return model.batches, batcher.num_answered

    assert asyncio.run(run()) == ([["0"], ["4"]], 2)


def test_a_request_that_did_not_wait_is_not_asked_about():
    async def gone():
        raise AssertionError

    async def run():
        batcher = Batcher([Numbers()], QueueLimits())
        async with batcher.running():
            return (await batcher.predict(["7"], gone)).tolist()

    assert asyncio.run(run()) == expected("7")


def test_what_waits_together_is_one_batch():
    async def run():
        model = Numbers()
        async with busy(model, QueueLimits(batch_size=8)) as batcher:
            tasks = [ask(batcher, str(number)) for number in range(1, 6)]
            await waiting(batcher, 5)
        assert [(await task).tolist() for task in tasks] == [expected(str(n)) for n in range(1, 6)]
        return model.batches

    assert asyncio.run(run()) == [["0"], ["1", "2", "3", "4", "5"]]


def test_requests_keep_their_order_and_are_never_divided():
    async def run():
        model = Numbers()
        async with busy(model, QueueLimits(batch_size=4)) as batcher:
            for texts in ("123", "45", "56789", "1", "23"):
                ask(batcher, *texts)
            await waiting(batcher, 13)
        return ["".join(batch) for batch in model.batches]

    assert asyncio.run(run()) == ["0", "123", "45", "56789", "123"]


def test_a_full_queue_refuses_what_does_not_fit_and_loses_nothing():
    async def run():
        model = Numbers()
        async with busy(model, QueueLimits(queue_texts=3)) as batcher:
            taken = [ask(batcher, "1", "2"), ask(batcher, "3")]
            await waiting(batcher, 3)
            with pytest.raises(QueueFullError, match=r"^The queue is full\. Try again in 1 s\.$"):
                await batcher.predict(["4"])
        assert [(await task).tolist() for task in taken] == [expected("12"), expected("3")]
        assert batcher.num_answered == 3
        return model.batches

    assert asyncio.run(run()) == [["0"], ["1", "2", "3"]]


def test_retry_comes_when_the_queue_will_be_empty_at_the_pace_of_the_last_batches():
    async def run():
        model = Numbers()
        batcher = Batcher([model], QueueLimits(queue_texts=4, batch_size=1))
        async with batcher.running():
            model.gate.clear()
            slow = ask(batcher, "0")
            await until(lambda: model.batches == [["0"]])
            late_by(60.0)
            model.gate.set()
            await slow
            model.gate.clear()
            ask(batcher, "1")
            await until(lambda: model.batches[-1] == ["1"])
            for text in "2345":
                ask(batcher, text)
            await waiting(batcher, 4)
            with pytest.raises(QueueFullError, match="The queue is full") as caught:
                await batcher.predict(["6"])
            model.gate.set()
        return caught.value.retry_seconds

    # Four texts of at least 60 s each.
    assert 240 <= asyncio.run(run()) < 300


def test_a_request_whose_time_will_be_up_before_its_turn_is_refused_at_once():
    async def run():
        model = Numbers()
        batcher = Batcher([model], QueueLimits(batch_size=1, wait_seconds=100.0))
        async with batcher.running():
            model.gate.clear()
            slow = ask(batcher, "0")
            await until(lambda: model.batches == [["0"]])
            late_by(60.0)
            model.gate.set()
            await slow
            model.gate.clear()
            taken = [ask(batcher, "1")]
            await until(lambda: model.batches[-1] == ["1"])
            # At 60 s a text the third would wait for 120 s.
            for count in (1, 2):
                taken.append(ask(batcher, str(count + 1)))
                await waiting(batcher, count)
            with pytest.raises(
                QueueFullError, match=r"^The queue is full\. Try again in 1[2-9]\d s\.$"
            ):
                await batcher.predict(["4"])
            model.gate.set()
            await asyncio.gather(*taken)
            # It has become quick, and soon that counts.
            for text in "5678":
                await batcher.predict([text])
            model.gate.clear()
            more = [ask(batcher, "20")]
            await until(lambda: model.batches[-1] == ["20"])
            more += [ask(batcher, str(text)) for text in range(21, 41)]
            await waiting(batcher, 20)
            model.gate.set()
            await asyncio.gather(*more)
        return sorted({text for batch in model.batches for text in batch} & {"4", "40"})

    assert asyncio.run(run()) == ["40"]


def test_a_request_that_is_given_up_leaves_its_place_to_another():
    async def run():
        model = Numbers()
        async with busy(model, QueueLimits(queue_texts=1)) as batcher:
            given_up = ask(batcher, "1")
            await waiting(batcher, 1)
            given_up.cancel()
            await waiting(batcher, 0)
            other = ask(batcher, "2")
            await waiting(batcher, 1)
        assert (await other).tolist() == expected("2")
        assert given_up.cancelled()
        return model.batches

    assert asyncio.run(run()) == [["0"], ["2"]]


def test_a_request_given_up_while_it_is_answered_takes_no_other_with_it():
    async def run():
        model = Numbers()
        batcher = Batcher([model], QueueLimits())
        async with batcher.running():
            model.gate.clear()
            given_up, other = ask(batcher, "1"), ask(batcher, "2")
            await until(lambda: model.batches == [["1", "2"]])
            given_up.cancel()
            await asyncio.sleep(0)
            model.gate.set()
            return (await other).tolist(), batcher

    answer, batcher = asyncio.run(run())
    assert (answer, batcher.num_answered) == (expected("2"), 1)


def test_a_request_the_model_fails_on_costs_no_other_its_answer():
    async def run():
        model = Numbers()
        async with busy(model, QueueLimits()) as batcher:
            tasks = [ask(batcher, "1"), ask(batcher, "13"), ask(batcher, "2")]
            await waiting(batcher, 3)
        with pytest.raises(ValueError, match="^13 is a text this model does not take$"):
            await tasks[1]
        assert (await tasks[0]).tolist() == expected("1")
        assert (await tasks[2]).tolist() == expected("2")
        return model.batches

    assert asyncio.run(run()) == [["0"], ["1", "13", "2"], ["1"], ["13"], ["2"]]


def test_after_a_failure_the_next_request_is_answered():
    async def run():
        batcher = Batcher([Numbers()], QueueLimits())
        async with batcher.running():
            with pytest.raises(ValueError, match="^13 is a text this model does not take$"):
                await batcher.predict(["13"])
            return (await batcher.predict(["5"])).tolist()

    assert asyncio.run(run()) == expected("5")


def test_what_waits_at_the_end_is_answered_and_nothing_new_is_taken():
    async def run():
        model = Numbers()
        async with busy(model, QueueLimits(batch_size=1)) as batcher:
            tasks = [ask(batcher, text) for text in "1234"]
            await waiting(batcher, 4)
            batcher.refuse()
            with pytest.raises(
                StoppingError, match=r"^The server is stopping and takes no more requests\.$"
            ):
                await batcher.predict(["5"])
        assert all(task.done() for task in tasks)
        return [(await task).tolist() for task in tasks]

    assert asyncio.run(run()) == [expected(text) for text in "1234"]


def test_models_work_at_the_same_time():
    class Meeting:
        met = threading.Barrier(2)

        def predict(self, texts):
            self.met.wait(SECONDS)
            return np.zeros((len(texts), 2), np.float32)

    async def run():
        batcher = Batcher([Meeting(), Meeting()], QueueLimits(batch_size=1))
        async with batcher.running():
            await asyncio.gather(batcher.predict(["1"]), batcher.predict(["2"]))
            return batcher.num_answered

    assert asyncio.run(run()) == 2


def test_a_batch_waits_until_it_is_full():
    async def run():
        model = Numbers()
        limits = QueueLimits(batch_size=2, batch_wait_seconds=100.0)
        batcher = Batcher([model], limits)
        async with batcher.running():
            first = ask(batcher, "1")
            await waiting(batcher, 1)
            await asyncio.sleep(0.05)
            assert model.batches == []
            await batcher.predict(["2"])
            await first
        return model.batches

    assert asyncio.run(run()) == [["1", "2"]]


def test_a_batch_waits_no_longer_than_its_time():
    async def run():
        batcher = Batcher([Numbers()], QueueLimits(batch_wait_seconds=0.2))
        async with batcher.running():
            start = time.monotonic()
            await batcher.predict(["1"])
            return time.monotonic() - start

    assert 0.19 <= asyncio.run(run()) < SECONDS
