"""Scores that a study kept of a model: taken as they were written, or refused by name."""

import numpy as np
import pytest

from tests.messages import exactly
from tfkd.artifacts import write_json
from tfkd.errors import ArtifactError
from tfkd.studies.scores import RECORD, Scores, is_scored

DATASET = {"name": "demo", "test_fingerprint": "0123"}


def test_scores_are_of_their_test_rows(tmp_path):
    assert not is_scored(tmp_path)
    logits = np.array([[0.5, -1.0]], np.float32)
    Scores(np.array([1]), {"keras": logits}, 7, {"keras": 9}, "model", DATASET).write(tmp_path)
    assert is_scored(tmp_path) and is_scored(tmp_path, "0123")
    assert not is_scored(tmp_path, "4567")
    read = Scores.read(tmp_path)
    assert (read.labels.tolist(), read.parameters, read.dataset) == ([1], 7, DATASET)
    np.testing.assert_array_equal(read.logits["keras"], logits)


@pytest.mark.parametrize(
    ("value", "received"),
    [
        (None, "no JSON object but None"),
        ([], "no JSON object but []"),
        ({}, "dataset=None"),
        ({"dataset": "demo"}, "dataset='demo'"),
    ],
)
def test_a_record_of_another_shape_is_named(value, received, tmp_path):
    write_json(tmp_path / RECORD, value)
    message = (
        f"Expected {tmp_path / RECORD} as tfkd wrote it. Received: {received}. Delete {tmp_path} "
        "and start the study again."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        is_scored(tmp_path)
