"""What several test files share: quiet libraries, and one small but whole run on the demo set."""

import os
from pathlib import Path

# Before TensorFlow is imported anywhere. A worker has a core, and its models are small: more
# threads would only wait for one another.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from xdist.scheduler import LoadFileScheduling

from tfkd.config.training import DistillConfig

HERE = Path(__file__).parent
DEMO = {path.name for path in HERE.rglob("test_*.py") if "demo_result" in path.read_text("utf-8")}


class Files(LoadFileScheduling):
    """A file stays in one worker, since its fixtures are made once; the demo's files share one."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return "demo" if Path(file).name in DEMO else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hands out files by that rule. Groups by marks do nothing with pytest 9.2, xdist 3.8."""
    return Files(config, log)


def pytest_collection_modifyitems(items):
    """Starts with the demo's files, which take longest."""
    items.sort(key=lambda item: item.path.name not in DEMO)


@pytest.fixture(scope="session")
def demo_config(tmp_path_factory):
    """Settings of a whole run of a minute: a CNN teacher, a BERT-tiny student, its control."""
    return DistillConfig(
        dataset="demo",
        max_train_rows=3000,
        output_dir=tmp_path_factory.mktemp("saved_models") / "demo-bert_tiny",
        teacher="cnn",
        teacher_epochs=3,
        teacher_sequence_length=48,
        student="bert_tiny",
        sequence_length=48,
        epochs=2,
        quiet=True,
    )


@pytest.fixture(scope="session")
def demo_result(demo_config):
    """The result of that run."""
    from tfkd.workflows.distill import distill

    return distill(demo_config)
