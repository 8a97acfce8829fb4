"""What several test files share: quiet libraries, and one small but whole run on the demo set."""

import os

# Before TensorFlow is imported anywhere. A worker has a core, and its models are small: more
# threads would only wait for one another.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from tfkd.training_config import DistillConfig


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Starts with the files that need the demo's run, in one worker, so that it is made once."""
    demo = {item.path for item in items if "demo_result" in item.fixturenames}
    for item in items:
        # A file stays in one worker: its fixtures are made once. xdist reads the mark in a hook of
        # its own, which must come after this one.
        name = "demo" if item.path in demo else item.path.name
        item.add_marker(pytest.mark.xdist_group(name))
    items.sort(key=lambda item: item.path not in demo)


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
