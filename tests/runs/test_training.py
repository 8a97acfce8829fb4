"""By which rule the epochs of a training are judged."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfkd.data.batching import Batches
from tfkd.runs.training import Objective, Training

HELD_OUT = range(150)


def judge(num_labelled=None, **objective):
    part = SimpleNamespace(task="single_label")
    batches = Batches(range(900), ("token_ids",), 32, num_labelled=num_labelled)
    given = Objective(np.zeros((900, 2), np.float32), **objective)
    return Training(None, part, given, None, batches, HELD_OUT, "accuracy").judge


@pytest.mark.parametrize(
    ("num_labelled", "num_rows"),
    [
        # Answers to texts beside the labelled ones, as to altered copies.
        (100, 150),
        # Labelled rows alone: a control, a teacher, a recipe that trains, a student without copies.
        (None, None),
    ],
)
def test_a_late_epoch_is_kept_of_a_student_that_hears_more_than_its_labelled_rows(
    num_labelled, num_rows
):
    found = judge(num_labelled, student_loss_weight=0.3)
    assert (found.metric, found.num_rows, found.judges_start) == ("accuracy", num_rows, False)


def test_a_start_that_is_an_answer_is_judged():
    assert judge(starts_ready=True).judges_start
