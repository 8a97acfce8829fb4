import numpy as np
import pytest

from tfkd.evaluation.latency import Latency, measure_latency


class Clock:
    """Time that passes only when a predictor says so."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class FakePredictor:
    """Writes down every call and lets known times pass: warm-up calls last 1,000 s."""

    size_bytes = 1

    def __init__(self, name, clock, log, durations, warm_up_calls):
        self.name, self.clock, self.log = name, clock, log
        self.durations, self.warm_up_calls = durations, warm_up_calls
        self.num_calls = {"text": 0, "arrays": 0, "batch": 0}

    def _pass_time(self, kind):
        call = self.num_calls[kind] - self.warm_up_calls[kind]
        self.num_calls[kind] += 1
        times = self.durations[kind]
        self.clock.seconds += 1000.0 if call < 0 else times[call % len(times)]

    def predict(self, texts):
        kind = "text" if len(texts) == 1 else "batch"
        self.log.append((self.name, kind, texts[0] if kind == "text" else tuple(texts)))
        self._pass_time(kind)

    def encode(self, texts, length=None):
        self.clock.seconds += 500.0  # Encoding ahead of time is not timed.
        return {"token_ids": np.array([[len(text) for text in texts]])}

    def predict_encoded(self, arrays):
        self.log.append((self.name, "arrays", int(arrays["token_ids"][0, 0])))
        self._pass_time("arrays")


def fake(name, clock, log, num_texts=3, batches=1, **durations):
    durations = {"text": [0.02], "arrays": [0.01], "batch": [0.5]} | durations
    warm_up_calls = {"text": num_texts, "arrays": num_texts, "batch": batches}
    return FakePredictor(name, clock, log, durations, warm_up_calls)


TEXTS = ["a", "bb", "ccc"]


def test_percentiles_are_exact_and_warm_up_is_not_counted():
    clock = Clock()
    times = [0.001 * step for step in range(1, 301)]
    predictor = fake("student", clock, [], text=times, arrays=[0.5 * t for t in times], batch=[0.4])
    found = measure_latency({"student": predictor}, TEXTS, rounds=100, clock=clock)["student"]
    assert found.p50_ms == pytest.approx(150.5)
    assert found.p95_ms == pytest.approx(285.05)
    assert found.p99_ms == pytest.approx(297.01)
    assert found.encoded_p50_ms == pytest.approx(75.25)
    assert found.encoded_p95_ms == pytest.approx(142.525)
    assert found.encoded_p99_ms == pytest.approx(148.505)
    assert found.throughput_per_second == pytest.approx(80.0)
    assert found.num_calls == 300


def test_models_take_turns_text_by_text():
    clock, log = Clock(), []
    predictors = {name: fake(name, clock, log) for name in ("teacher", "student")}
    measure_latency(predictors, TEXTS, rounds=2, clock=clock)
    one_round = []
    for text in TEXTS:
        one_round += [("teacher", "text", text), ("student", "text", text)]
        one_round += [("teacher", "arrays", len(text)), ("student", "arrays", len(text))]
    batch = tuple((TEXTS * 11)[:32])
    batches = [("teacher", "batch", batch), ("student", "batch", batch)]
    # The uncounted round and two timed ones, of single texts and then of batches.
    assert log == one_round * 3 + batches * 3


def test_models_are_told_apart():
    clock, log = Clock(), []
    predictors = {
        "teacher": fake("teacher", clock, log, text=[0.3], arrays=[0.2], batch=[2.0]),
        "student": fake("student", clock, log, text=[0.01], arrays=[0.005], batch=[0.1, 0.3]),
    }
    found = measure_latency(predictors, TEXTS, rounds=4, clock=clock)
    assert list(found) == ["teacher", "student"]
    assert found["teacher"].p50_ms / found["student"].p50_ms == pytest.approx(30.0)
    assert found["teacher"].encoded_p99_ms == pytest.approx(200.0)
    assert found["teacher"].throughput_per_second == pytest.approx(16.0)
    assert found["student"].throughput_per_second == pytest.approx(160.0)


def test_every_text_is_in_a_batch_and_every_batch_is_full():
    clock, log = Clock(), []
    texts = [f"text {index:02}" for index in range(40)]
    predictor = fake("student", clock, log, num_texts=40, batches=2)
    found = measure_latency({"student": predictor}, texts, rounds=3, clock=clock)["student"]
    batches = [batch for _, kind, batch in log if kind == "batch"]
    assert batches == [tuple(texts[:32]), tuple(texts[32:] + texts[:24])] * 4
    assert found.throughput_per_second == pytest.approx(64.0)
    assert found.num_calls == 120


def test_a_slow_model_answers_fewer_texts_on_a_budget():
    clock, log = Clock(), []
    texts = [f"text {index:02}" for index in range(40)]
    # The share of each is 30 s: at 0.5 s and two calls a text, 15 texts in a warm round and a
    # timed one; the last model takes the 15 that are needed for 30 calls, however slow it is.
    seconds = {"fast": 0.001, "slow": 0.5, "slower": 60.0}
    predictors = {
        name: FakePredictor(
            name,
            clock,
            log,
            {"text": [value], "arrays": [value], "batch": [32 * value]},
            {"text": 0, "arrays": 0, "batch": 0},
        )
        for name, value in seconds.items()
    }
    found = measure_latency(predictors, texts, 2, clock, budget_seconds=3 * 45.0)
    assert {name: item.num_calls for name, item in found.items()} == {
        "fast": 80,
        "slow": 30,
        "slower": 30,
    }
    for name, item in found.items():
        assert item.p50_ms == pytest.approx(1000 * seconds[name])
        assert item.throughput_per_second == pytest.approx(1 / seconds[name])
    asked = {
        name: [text for who, kind, text in log if (who, kind) == (name, "text")] for name in seconds
    }
    probes = [texts[0], texts[13], texts[26]] * 2
    assert asked["fast"] == probes + texts * 3
    spread = [texts[index * 40 // 15] for index in range(15)]
    assert asked["slow"] == asked["slower"] == probes + spread * 3
    # All are asked between the fast one's calls, not in a block of their own.
    first = [who for who, kind, text in log if kind == "text"][18:24]
    assert first == ["fast", "slow", "slower", "fast", "fast", "slow"]
    # The second batch of 32 is filled from texts that only the fast one answers.
    batches = [who for who, kind, _ in log if kind == "batch"]
    assert batches == ["fast", "slow", "slower", "fast"] * 3


def test_pairs_of_texts_stay_pairs():
    clock, log = Clock(), []
    pairs = [("a cat", "an animal"), ("a dog", "a tree")]
    measure_latency({"student": fake("student", clock, log, num_texts=2)}, pairs, 1, clock)
    assert log[0] == ("student", "text", ("a cat", "an animal"))
    assert log[-1] == ("student", "batch", tuple(pairs * 16))


def test_the_real_clock_counts_real_time():
    class Busy(FakePredictor):
        def _pass_time(self, kind):
            sum(range(1000))

    predictor = Busy("student", Clock(), [], {}, {})
    found = measure_latency({"student": predictor}, TEXTS, rounds=2)["student"]
    assert 0 < found.p50_ms <= found.p95_ms <= found.p99_ms
    # One call of many may wait for other programs.
    assert found.p50_ms < 1000


def test_to_dict():
    latency = Latency(1.0, 2.0, 3.0, 0.5, 0.6, 0.7, 100.0, 10)
    assert latency.to_dict() == {
        "p50_ms": 1.0,
        "p95_ms": 2.0,
        "p99_ms": 3.0,
        "encoded_p50_ms": 0.5,
        "encoded_p95_ms": 0.6,
        "encoded_p99_ms": 0.7,
        "throughput_per_second": 100.0,
        "num_calls": 10,
    }


@pytest.mark.parametrize(
    ("names", "texts", "rounds", "received"),
    [
        ([], TEXTS, 1, "0 predictors, 3 texts, 1 rounds"),
        (["student"], [], 1, "1 predictors, 0 texts, 1 rounds"),
        (["student"], TEXTS, 0, "1 predictors, 3 texts, 0 rounds"),
    ],
)
def test_nothing_to_measure(names, texts, rounds, received):
    predictors = {name: fake(name, Clock(), []) for name in names}
    message = (
        r"^Expected at least one predictor, one text and one round\. "
        rf"Received: {received}\.$"
    )
    with pytest.raises(ValueError, match=message):
        measure_latency(predictors, texts, rounds)
