"""What several test files share: quiet libraries, and one small but whole run on the demo set."""

import os
import pickle
from pathlib import Path

# Before TensorFlow is imported anywhere. A worker has a core, and its models are small: more
# threads would only wait for one another.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from filelock import FileLock

from tfkd.config.training import DistillConfig

# An example may take as long as the machine needs for it.
hypothesis.settings.register_profile("tfkd", deadline=None)
hypothesis.settings.load_profile("tfkd")
HERE = Path(__file__).parent
# By the time they take. pytest-xdist hands out files in the order of their tests, so workers that
# begin with these end together.
LONGEST_FIRST = (
    "workflows/test_distill.py",
    "studies/test_pool.py",
    "test_cluster.py",
    "runs/test_strategy.py",
    "workflows/test_study.py",
    "compression/qat/test_encoder.py",
    "distillation/test_training.py",
    "compression/test_package.py",
    "compression/qat/test_model.py",
    "compression/qat/test_export.py",
    "runs/test_lesson.py",
    "runs/test_search.py",
    "runs/test_aware.py",
    "workflows/test_pretrain.py",
    "workflows/test_analyze.py",
    "compression/qat/test_bilstm.py",
    "compression/qat/test_mirror.py",
    "compression/test_parity.py",
    "compression/qat/test_legacy.py",
    "workflows/test_other_rows.py",
    "runs/test_comparisons.py",
    "workflows/test_teacher_answers.py",
    "runs/test_routes.py",
    "studies/test_making.py",
    "compression/test_conversion.py",
    "workflows/test_quantize.py",
    "workflows/test_multi_label.py",
    "workflows/test_export.py",
    "runs/test_student.py",
    "runs/test_teacher.py",
    "workflows/test_predict.py",
    "workflows/test_quantize_published.py",
    "workflows/test_kills.py",
    "serving/test_processes.py",
)


def pytest_collection_modifyitems(items):
    ranks = {HERE / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session")
def demo_config(tmp_path_factory):
    """Settings of a whole run of half a minute: a CNN teacher, a BERT-tiny student, its control."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # All workers of this session have their folders in it.
        folder = folder.parent
    return DistillConfig(
        dataset="demo",
        max_train_rows=2100,
        augmented_copies=0,
        output_dir=folder / "demo_run" / "demo-bert_tiny",
        teacher="cnn",
        teacher_epochs=2,
        teacher_learning_rate=3e-3,
        teacher_sequence_length=48,
        student="bert_tiny",
        sequence_length=48,
        epochs=2,
        batch_size=32,
        learning_rate=3e-3,
        quiet=True,
    )


@pytest.fixture(scope="session")
def demo_result(demo_config):
    """The result of that run, made by the first worker that asks.

    Only tests/workflows/test_distill.py writes beside the run; others write into a copy.
    """
    from tfkd.evaluation.latency import LEAST_CALLS
    from tfkd.workflows.distill import distill

    kept = demo_config.output_dir.parent / "result.pickle"
    kept.parent.mkdir(exist_ok=True)
    with FileLock(f"{kept}.lock"):
        if not kept.is_file():
            with pytest.MonkeyPatch.context() as patch:
                # As few calls as there may be.
                patch.setattr("tfkd.workflows.distill.TIMED_TEXTS", LEAST_CALLS)
                patch.setattr("tfkd.workflows.distill.TIMED_ROUNDS", 1)
                kept.write_bytes(pickle.dumps(distill(demo_config)))
    return pickle.loads(kept.read_bytes())


@pytest.fixture(scope="module")
def converted_here():
    """Has the files of a module's tests converted in this process.

    A child imports TensorFlow anew, 5 s; tests/compression tests what it does with its job.
    """
    from tests.toys import run_converter_here

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfkd.compression.conversion.run_converter", run_converter_here)
        # What a child tells its parent.
        patch.setattr("tfkd.process._tell", lambda line: None)
        yield
