import dataclasses
import functools
import shutil

import numpy as np
import pytest

from tests.toys import QUIET
from tfkd.artifacts import RunFolder, file_sha256
from tfkd.evaluation.temperature import fitted_temperature
from tfkd.evaluation.verdict import compare
from tfkd.models.checkpoints import resolve
from tfkd.runs.lesson import Lesson, lesson
from tfkd.runs.material import prepare
from tfkd.runs.routes import Answers, Route
from tfkd.runs.student import new_student
from tfkd.runs.teacher import Teacher


@pytest.fixture(scope="module")
def material(demo_config, demo_result, tmp_path_factory):
    found = prepare(demo_config, demo_config.output_dir.parent, QUIET)
    return dataclasses.replace(found, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def trained(demo_result):
    return demo_result.student, demo_result.path / "student"


@pytest.fixture(scope="module")
def fresh(demo_config, material, trained, tmp_path_factory):
    """A student before its training, in a folder."""
    config = demo_config.replace(seed=1)
    student = new_student(config, resolve("bert_tiny"), trained[0], material)
    folder = tmp_path_factory.mktemp("fresh") / "student"
    student.save(folder)
    return student, folder


@pytest.fixture(scope="module")
def heard(material, trained, fresh):
    """Logits of both of a split, in this order."""

    @functools.cache
    def answers(split):
        return [
            model.logits(material.tokens(split, model.tokenizer)) for model, _ in (trained, fresh)
        ]

    return answers


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A run whose control is the trained model."""
    run = RunFolder(tmp_path_factory.mktemp("run"))
    shutil.copytree(trained[1], run.path / "control")
    return run


def as_teacher(model, folder):
    return Teacher(model, folder, np.zeros((0, 4), np.float32))


def test_a_teacher_ahead_of_the_control_teaches_alone(
    demo_config, material, trained, fresh, heard, run
):
    answers, _ = heard("train")
    found = lesson(demo_config, material, as_teacher(*trained), answers, fresh[0], run)
    held_out = material.labels("validation")
    fitted = fitted_temperature("single_label", heard("validation")[0], held_out)
    np.testing.assert_array_equal(found.logits, answers / np.float32(fitted.value))
    said = fitted.sentence("the teacher's answers")
    assert (found.kept, found.sentences) == (None, (f"For the student {said}.",))
    assert found.record == {"told_temperature": fitted.value}


def test_a_teacher_too_sure_of_itself_is_told_by_as_much_less(
    demo_config, material, trained, fresh, heard, run
):
    """Three times the logits, a third of them told."""
    answers, _ = heard("train")
    plain = lesson(demo_config, material, as_teacher(*trained), answers, fresh[0], run)
    told = 3 * heard("validation")[0]

    class Sure(Teacher):
        def answers(self, split, material, demand):
            return Answers(told, Route("exact"))

    teacher = Sure(*trained, np.zeros((0, 4), np.float32))
    found = lesson(demo_config, material, teacher, 3 * answers, None, run)
    assert found.temperature == pytest.approx(3 * plain.temperature, rel=0.01)
    np.testing.assert_allclose(found.logits, plain.logits, rtol=0.02, atol=0.02)


def test_answers_of_files_have_had_their_temperature(
    demo_config, material, trained, fresh, heard, run
):
    held_out, answers = 3 * heard("validation")[0], heard("train")[0]

    class Files(Teacher):
        def answers(self, split, material, demand):
            return Answers(held_out, Route("answers"))

    teacher = Files(None, trained[1], np.zeros((0, 4), np.float32))
    assert lesson(demo_config, material, teacher, answers, None, run) == Lesson(answers)


def test_beside_a_teacher_behind_it_the_control_is_heard(
    demo_config, material, trained, fresh, heard, run
):
    good, bad = heard("train")
    found = lesson(demo_config, material, as_teacher(*fresh), bad, trained[0], run)
    weights = found.kept.mixing.weights
    # A student before its training knows nothing that the trained one does not.
    assert weights[0] < 0.1
    assert sum(weights) == pytest.approx(1)
    assert list(found.kept.folders.values()) == [str(fresh[1]), "control"]
    assert found.kept.sha256 == {
        "teacher": file_sha256(fresh[1] / "model.keras"),
        "control": file_sha256(trained[1] / "model.keras"),
    }
    expected = weights[0] * bad + weights[1] * good
    np.testing.assert_allclose(found.logits, expected / found.temperature, atol=1e-4)
    labels = material.tokens("validation", trained[0].tokenizer).labels
    right = [logits.argmax(axis=1) == labels for logits in heard("validation")]
    verdict = compare(*right[::-1], seed=demo_config.seed).sentence("teacher", "control")
    assert verdict.startswith("teacher is worse than control by ")
    both = weights[0] * heard("validation")[1] + weights[1] * heard("validation")[0]
    fitted = fitted_temperature("single_label", both, labels)
    assert found.temperature == pytest.approx(fitted.value, abs=2e-4)
    assert found.sentences == (
        f"On the validation rows {verdict}: the student is told {weights[0]:.2f} of the teacher's "
        f"answers and {weights[1]:.2f} of the control's.",
        f"For the student {fitted.sentence('the answers of both')}.",
    )
    kept, temperature = found.kept.to_dict(), found.temperature
    assert found.record == {"mixture": kept, "told_temperature": temperature}


def test_a_control_as_good_as_the_teacher_has_half_the_say(
    demo_config, material, trained, heard, run
):
    answers, _ = heard("train")
    found = lesson(demo_config, material, as_teacher(*trained), answers, trained[0], run)
    assert found.kept.mixing.weights == (0.5, 0.5)
    np.testing.assert_allclose(found.logits, answers / found.temperature, atol=1e-4)


def test_the_controls_word_alone_is_no_answer(demo_config, material, trained, fresh, heard, run):
    bad = heard("train")[1].copy()
    bad[::7] = np.nan
    found = lesson(demo_config, material, as_teacher(*fresh), bad, trained[0], run)
    assert found.kept is not None
    np.testing.assert_array_equal(np.isnan(found.logits), np.isnan(bad))


def test_few_rows_that_the_teacher_has_answered_leave_it_the_word(
    demo_config, material, trained, fresh, heard, run
):
    held_out, bad = heard("validation")[1].copy(), heard("train")[1]
    held_out[29:] = np.nan

    class Partly(Teacher):
        def answers(self, split, material, demand):
            return Answers(held_out, Route("answers"))

    teacher = Partly(*fresh, np.zeros((0, 4), np.float32))
    assert lesson(demo_config, material, teacher, bad, trained[0], run) == Lesson(bad)


def test_without_a_teacher_or_rows_to_judge_by_nothing_is_changed(
    demo_config, material, trained, fresh, heard, run
):
    held_out, bad = heard("validation")[1], heard("train")[1]
    alone = demo_config.replace(student_loss_weight=1.0)
    assert lesson(alone, material, as_teacher(*fresh), bad, trained[0], run) == Lesson(bad)

    class Few(Teacher):
        def answers(self, split, material, demand):
            return Answers(held_out[:29], Route("exact"))

    teacher = Few(*fresh, np.zeros((0, 4), np.float32))
    assert lesson(demo_config, material, teacher, bad, trained[0], run) == Lesson(bad)


def test_without_a_control_nothing_is_mixed(demo_config, material, fresh, heard, run):
    _, bad = heard("train")
    found = lesson(demo_config, material, as_teacher(*fresh), bad, None, run)
    assert found.kept is None
    np.testing.assert_allclose(found.logits, bad / found.temperature, rtol=1e-6)
