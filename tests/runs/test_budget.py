import pytest

from tests.toys import QUIET, classifier_of
from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.models.checkpoints import Kind, Source, resolve
from tfkd.models.without_encoder import build_cnn
from tfkd.runs.budget import PRETRAINED, STUDENT, patience
from tfkd.runs.material import prepare
from tfkd.runs.student import student_plan
from tfkd.runs.training import plan, training_sentence


@pytest.mark.parametrize(
    ("num_rows", "student", "teacher"),
    [
        (1, 60, 10),
        (800, 60, 10),
        (3_333, 60, 10),
        (5_000, 40, 8),
        (10_000, 20, 4),
        (20_000, 10, 3),
        (120_000, 4, 3),
        (5_000_000, 4, 3),
    ],
)
def test_few_rows_are_seen_more_often(num_rows, student, teacher):
    assert (STUDENT.epochs(num_rows), PRETRAINED.epochs(num_rows)) == (student, teacher)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 3), (9, 3), (12, 4), (60, 20)])
def test_patience_grows_with_the_training(epochs, expected):
    assert patience(epochs) == expected


def test_what_is_given_is_kept():
    config = DistillConfig(dataset="demo", epochs=7, patience=2, precision="float32")
    found = plan(config, 0.01, STUDENT, 800)
    assert (found.epochs, found.patience, found.learning_rate) == (7, 2, 0.01)
    found = plan(config.replace(epochs=None, patience=None), 0.01, STUDENT, 5_000)
    assert (found.epochs, found.patience) == (40, 13)
    found = plan(FinetuneConfig(dataset="demo"), 0.01, PRETRAINED, 5_000)
    assert (found.epochs, found.patience, found.batch_size) == (8, 3, 32)


def test_a_students_rows_are_all_that_it_sees(tmp_path):
    """Altered copies count; the control, which has none, is trained by its labelled rows."""
    config = DistillConfig(dataset="demo", max_train_rows=4_000, augmented_copies=4)
    material = prepare(config, tmp_path, QUIET)
    size = resolve("cnn")
    teacher = classifier_of(build_cnn(60, 4, width=8, filters=4))
    assert student_plan(config, size, material).epochs == 50
    altered = material.with_transfer(config, teacher)
    taught = student_plan(config, size, altered)
    assert (taught.epochs, taught.epoch_rows) == (10, 20_000)
    of_labels = config.replace(student_loss_weight=1.0)
    control = student_plan(of_labels, size, altered)
    assert (control.epochs, control.epoch_rows) == (50, 4_000)
    given = student_plan(of_labels.replace(epochs=7), size, altered)
    assert given == student_plan(config.replace(epochs=7), size, altered)
    assert (given.epochs, given.epoch_rows) == (7, 20_000)
    trained = Source("somewhere", Kind.HUGGING_FACE, tmp_path)
    assert student_plan(config, trained, material).epochs == 10


def test_the_length_in_words():
    config = DistillConfig(dataset="demo", precision="float32")
    assert training_sentence("student", plan(config, 1e-3, STUDENT, 5_000)) == (
        "train student for 40 epochs of 5,000 rows (3,160 steps of 64) at a learning rate of 0.001 "
        "in float32, fewer if 13 of them bring nothing"
    )
    config = config.replace(epochs=1)
    assert training_sentence("student", plan(config, 2e-5, STUDENT, 130)) == (
        "train student for 1 epoch of 130 rows (3 steps of 64) at a learning rate of 2e-05 "
        "in float32"
    )
