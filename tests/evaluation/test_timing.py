import ast
import textwrap
from pathlib import Path

import pytest

import tfkd.evaluation.timing as timing
from tfkd.errors import ModelError
from tfkd.evaluation.latency import Latency, num_steps
from tfkd.evaluation.timing import time_models
from tfkd.process import TimedModel

LOADERS = '''
    import os
    import time

    LIMITS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


    class Model:
        """Takes as many milliseconds for a call as its file says."""

        size_bytes = 1

        def __init__(self, path):
            self.seconds = float(path.read_text()) / 1000

        def predict(self, texts):
            time.sleep(self.seconds)

        def encode(self, texts, length=None):
            return {}

        def predict_encoded(self, arrays):
            time.sleep(self.seconds / 4)


    class Threads(Model):
        """Breaks unless it has two threads."""

        def __init__(self, path):
            if [os.environ.get(name) for name in LIMITS] != ["2"] * 3:
                raise RuntimeError("not two threads")
            self.seconds = 0.0


    class Pairs(Model):
        def predict(self, texts):
            if not all(isinstance(text, tuple) and len(text) == 2 for text in texts):
                raise TypeError("no pairs")


    def broken(path):
        raise KeyError("no weights here")
'''


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Makes a saved model that takes some milliseconds."""
    (tmp_path / "timed_of_test.py").write_text(textwrap.dedent(LOADERS), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def make(loader="Model", milliseconds=0.0):
        path = tmp_path / f"{loader}-{milliseconds}"
        path.write_text(str(milliseconds), encoding="utf-8")
        return TimedModel(f"timed_of_test:{loader}", path)

    return make


def test_models_are_timed_each_with_its_own_figures(model):
    models = {"teacher": model(milliseconds=8.0), "student": model(milliseconds=2.0)}
    steps = []
    found = time_models(models, ["a text", "another"], 3, stepped=lambda: steps.append(1))
    assert len(steps) == num_steps(3) == 8
    assert list(found) == ["teacher", "student"]
    for name, milliseconds in (("teacher", 8.0), ("student", 2.0)):
        latency = found[name]
        assert isinstance(latency, Latency)
        assert latency.num_calls == 6
        # A sleep is never shorter than asked for.
        assert milliseconds <= latency.p50_ms <= latency.p95_ms <= latency.p99_ms
        assert milliseconds / 4 <= latency.encoded_p50_ms
        assert 0 < latency.throughput_per_second <= 32 * 1000 / milliseconds


def test_a_slow_model_is_called_less_often_on_a_budget(model):
    # Of its 3.5 s the one would need 4 x 40 ms for each text, and so takes the fewest there may
    # be; the other takes all, however busy the machine: it has 22 ms for a call that does nothing.
    models = {"teacher": model(milliseconds=40.0), "student": model()}
    texts = [f"text {index}" for index in range(40)]
    found = time_models(models, texts, 1, budget_seconds=7.0)
    assert found["teacher"].num_calls == 30
    assert found["student"].num_calls == 40


def test_process_has_the_threads_it_is_told(model):
    found = time_models({"student": model("Threads")}, ["a text"], rounds=1, threads=2)
    assert found["student"].num_calls == 1
    message = (
        "^Expected the models to be timed in a fresh process. "
        "Received: RuntimeError: not two threads$"
    )
    with pytest.raises(ModelError, match=message):
        time_models({"student": model("Threads")}, ["a text"], rounds=1)


def test_pairs_arrive_as_pairs(model):
    found = time_models({"student": model("Pairs")}, [("a cat", "an animal")] * 2, rounds=2)
    assert found["student"].num_calls == 4


def test_a_model_that_does_not_load(model):
    message = (
        "^Expected the models to be timed in a fresh process. "
        "Received: KeyError: 'no weights here'$"
    )
    with pytest.raises(ModelError, match=message):
        time_models({"good": model(), "bad": model("broken")}, ["a text"], rounds=1)


def test_a_model_that_takes_too_long(model):
    message = (
        "^Expected the models to be timed in a fresh process within 1 s. Received: no answer. "
        "Try again on a less busy machine.$"
    )
    with pytest.raises(ModelError, match=message):
        time_models({"slow": model(milliseconds=30_000)}, ["a text"], 1, timeout_seconds=1.0)


def test_no_text():
    with pytest.raises(ModelError, match="Expected at least one predictor, one text and one round"):
        time_models({}, [], rounds=1)


def test_module_knows_no_model_class():
    tree = ast.parse(Path(timing.__file__).read_text(encoding="utf-8"))
    imported = {
        node.module.split(".")[:2][-1]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tfkd.")
    }
    assert imported == {"evaluation", "process"}
