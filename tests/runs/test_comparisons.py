import dataclasses

import numpy as np
import pytest

from tests.toys import QUIET
from tfkd.config.training import DistillConfig
from tfkd.evaluation.verdict import compare
from tfkd.models.checkpoints import resolve
from tfkd.runs.comparisons import compare_arms, warning
from tfkd.runs.material import prepare
from tfkd.runs.student import new_student

FIGURES = {"teacher": 0.93, "control": 0.9}


@pytest.fixture(scope="module")
def material(demo_config, demo_result):
    return prepare(demo_config, demo_config.output_dir.parent, QUIET)


@pytest.fixture(scope="module")
def trained(demo_result):
    return demo_result.student


@pytest.fixture(scope="module")
def fresh(demo_config, material, trained):
    """A student before its training; of another seed, since its head ends near where it starts."""
    config = demo_config.replace(seed=1)
    return new_student(config, resolve("bert_tiny"), trained, material)


def test_arms_are_compared_on_the_rows_that_both_answered(material, trained, fresh):
    rows = material.tokens("validation", trained.tokenizer)
    answered = [(model, model.logits(rows)) for model in (trained, fresh)]
    right = [logits.argmax(axis=1) == rows.labels for _, logits in answered]
    found = compare_arms(material, "validation", *answered, seed=3)
    assert found == compare(*right, seed=3)
    assert found.num_rows == len(rows) == material.summaries["validation"].num_rows


def test_a_student_behind_its_control_is_the_first_thing_said(
    demo_config, material, trained, fresh
):
    found = warning(demo_config, material, {"student": fresh, "control": trained}, FIGURES)
    rows = material.tokens("validation", trained.tokenizer)
    right = [model.logits(rows).argmax(axis=1) == rows.labels for model in (fresh, trained)]
    sentence = compare(*right, seed=demo_config.seed).sentence("student", "control")
    assert sentence.startswith("student is worse than control by ")
    assert found == (
        f"On the validation rows the teacher's help does harm: {sentence}. Try --augmented-copies "
        "4, --unlabelled with texts of yours or a better teacher."
    )


def test_of_a_student_ahead_nothing_is_said(demo_config, material, trained, fresh):
    assert warning(demo_config, material, {"student": trained, "control": fresh}, FIGURES) is None
    assert warning(demo_config, material, {"student": fresh}, FIGURES) is None
    few = {"validation": dataclasses.replace(material.summaries["validation"], num_rows=1)}
    material = dataclasses.replace(material, summaries={**material.summaries, **few})
    arms = {"student": fresh, "control": trained}
    assert warning(demo_config, material, arms, FIGURES) is None


@pytest.mark.parametrize(
    ("settings", "figures", "advice"),
    [
        (
            {"augmented_copies": 2},
            FIGURES,
            "Try --unlabelled with texts of yours or a better teacher.",
        ),
        ({"augmented_copies": 2, "unlabelled": "more.txt"}, FIGURES, "Try a better teacher."),
        (
            {},
            {"teacher": 0.8, "control": 0.85},
            "The teacher itself (accuracy 0.8000) is no better than the control (0.8500): give it "
            "more --teacher-epochs, or take another --teacher.",
        ),
    ],
)
def test_what_was_not_tried_is_named(material, trained, settings, figures, advice):
    """Of two equal arms the difference is none, which is not seen either."""
    arms = {"student": trained, "control": trained}
    config = DistillConfig(dataset="demo", **settings)
    found = warning(config, material, arms, figures)
    assert found.startswith(
        "On the validation rows the teacher's help is not seen: student against control is "
        "inconclusive: no difference (95% interval 0.00 to 0.00, McNemar p=1, 1,000 rows). "
    )
    assert found.endswith(advice)


def test_regression_and_its_like_have_a_verdict_too(material, trained):
    """By the data set's own metric, whatever it is."""
    rows = material.tokens("validation", trained.tokenizer)
    logits = trained.logits(rows)
    other = dataclasses.replace(material.dataset, metric="macro_f1")
    material = dataclasses.replace(material, dataset=other)
    shifted = np.roll(logits, 1, axis=0)
    found = compare_arms(material, "validation", (trained, logits), (trained, shifted), 0)
    assert found.test == "paired bootstrap"
    assert found.difference > 0.3
