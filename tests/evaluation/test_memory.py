import ast
import sys
import textwrap
from pathlib import Path

import pytest

import tfkd.evaluation.memory as memory
from tfkd.errors import ModelError
from tfkd.process import KERAS_LOADER, LITERT_LOADER, TimedModel

MEGABYTE = 2**20

LOADERS = '''
    import sys
    import time


    class Model:
        """Holds as many megabytes as its file says."""

        def __init__(self, path):
            self.block = b"x" * (int(path.read_text()) * 2**20)

        @classmethod
        def load(cls, path):
            return cls(path)

        def predict(self, texts):
            self.texts = texts


    class Forgetful(Model):
        def predict(self, texts):
            self.block = None


    class Hungry(Model):
        def predict(self, texts):
            return len(b"x" * (len(texts[0]) * 2**20))


    class Chatty(Model):
        def predict(self, texts):
            print("12 of 12 steps done", end="")


    class Pairs(Model):
        def predict(self, texts):
            if texts != [("a cat", "an animal")]:
                raise ValueError(f"no pair: {texts}")


    class Slow(Model):
        def predict(self, texts):
            time.sleep(60)


    def broken(path):
        raise KeyError("no weights here")


    def quitting(path):
        sys.exit(7)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the loaders and with a model file of no size to speak of."""
    (tmp_path / "loaders_of_test.py").write_text(textwrap.dedent(LOADERS), encoding="utf-8")
    (tmp_path / "model").write_text("0", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def peak_megabytes(folder, loader, texts=("a",), megabytes=0):
    (folder / "model").write_text(str(megabytes), encoding="utf-8")
    model = TimedModel(f"loaders_of_test:{loader}", folder / "model")
    found = memory.fresh_start(model, texts).peak_memory_bytes
    assert isinstance(found, int)
    return found / MEGABYTE


def test_what_the_model_holds_is_counted(folder):
    without = peak_megabytes(folder, "Model.load")
    assert 5 < without < 100
    assert 94 < peak_megabytes(folder, "Model.load", megabytes=96) - without < 104


def test_the_peak_counts_not_the_end(folder):
    without = peak_megabytes(folder, "Model")
    assert 94 < peak_megabytes(folder, "Forgetful", megabytes=96) - without < 104


def test_prediction_counts_too_and_texts_come_one_by_one(folder):
    without = peak_megabytes(folder, "Hungry", texts=[""])
    assert 62 < peak_megabytes(folder, "Hungry", texts=["x" * 64, "x" * 32]) - without < 72


def test_the_callers_own_memory_does_not_count(folder):
    held = b"x" * (300 * MEGABYTE)
    assert peak_megabytes(folder, "Model") < 100
    assert len(held) == 300 * MEGABYTE


def test_a_model_that_prints_does_not_disturb(folder):
    assert 5 < peak_megabytes(folder, "Chatty") < 100


def test_pairs_stay_pairs(folder):
    assert 5 < peak_megabytes(folder, "Pairs", texts=[("a cat", "an animal")]) < 100


def test_loader_that_fails(folder):
    path = folder / "model"
    message = (
        rf"^Expected the models of {path} to load and answer 1 texts in a fresh process\. "
        r"Received: KeyError: 'no weights here'$"
    )
    with pytest.raises(ModelError, match=message):
        memory.fresh_start(TimedModel("loaders_of_test:broken", path), ["a"])


def test_process_that_ends_without_a_word(folder):
    with pytest.raises(ModelError, match=r"in a fresh process\. Received: code 7$"):
        memory.fresh_start(TimedModel("loaders_of_test:quitting", folder / "model"), ["a"])


def test_too_slow(folder):
    message = (
        r"model to load and answer 2 texts in a fresh process within 1\.5 s\. "
        r"Received: no answer\. "
        r"Try again on a less busy machine\.$"
    )
    model = TimedModel("loaders_of_test:Slow", folder / "model")
    with pytest.raises(ModelError, match=message):
        memory.fresh_start(model, ["a", "b"], timeout_seconds=1.5)


def test_own_peak_is_this_process():
    assert memory._own_peak_bytes() > 10 * MEGABYTE
    assert sys.platform in ("linux", "darwin")


@pytest.mark.parametrize("loader", [KERAS_LOADER, LITERT_LOADER])
def test_loaders_are_names_of_tfkd(loader):
    # Read, not imported: the import takes TensorFlow.
    module, _, name = loader.partition(":")
    root = Path(memory.__file__).parents[2]
    tree = ast.parse((root / Path(*module.split("."))).with_suffix(".py").read_text("utf-8"))
    for part in name.split("."):
        named = {node.name: node for node in tree.body if hasattr(node, "name")}
        assert part in named
        tree = named[part]


def test_first_call_is_that_of_the_first_text_alone(folder):
    source = textwrap.dedent(
        '''
        import os
        import time


        class Cold:
            """Slower each time; breaks unless it has two threads and its option."""

            def __init__(self, path, threads):
                if os.environ["TF_NUM_INTRAOP_THREADS"] != "2" or threads != 2:
                    raise RuntimeError("not two threads")
                self.now, self.seconds = 0.0, 0.5
                time.perf_counter = lambda: self.now

            def predict(self, texts):
                self.now += self.seconds
                self.seconds *= 2
        '''
    )
    (folder / "cold_of_test.py").write_text(source, encoding="utf-8")
    model = TimedModel("cold_of_test:Cold", folder / "model", {"threads": 2})
    found = memory.fresh_start(model, ["a", "b"], threads=2)
    assert found.first_call_ms == 500.0
    assert found.peak_memory_bytes > MEGABYTE
