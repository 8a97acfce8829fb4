"""The CNN's lean graph gives the Keras model's logits, whatever stands under the padding."""

import keras
import numpy as np
import pytest

from tests.toys import spread_out
from tfkd.compression.cnn_graph import CnnGraph, is_cnn
from tfkd.models.without_encoder import build_bilstm, build_cnn

LENGTH = 12
IDS = np.random.default_rng(1).integers(0, 50, (4, LENGTH), dtype=np.int32)
# A full row, padded ones, one of two tokens.
MASK = (np.arange(LENGTH) < np.array([[LENGTH], [11], [7], [2]])).astype(np.int32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return spread_out(build_cnn(50, 3, width=8, filters=16))


def lean_logits(graph, ids, output="logits"):
    endpoint = graph.endpoint(LENGTH, output)
    rows = [
        {"token_ids": ids[row : row + 1], "padding_mask": MASK[row : row + 1]} for row in range(4)
    ]
    return np.concatenate([endpoint(row)[output].numpy() for row in rows])


def test_logits_are_those_of_keras(model):
    expected = np.asarray(model({"token_ids": IDS, "padding_mask": MASK}, training=False))
    assert np.ptp(expected, axis=0).min() > 0.1
    np.testing.assert_allclose(lean_logits(CnnGraph(model), IDS), expected, rtol=0, atol=1e-6)


def test_what_stands_under_the_padding_does_not_count(model):
    graph = CnnGraph(model)
    others = np.where(MASK == 1, IDS, 49 - IDS)
    np.testing.assert_array_equal(lean_logits(graph, others), lean_logits(graph, IDS))


def test_scores_are_what_the_task_makes_of_logits(model):
    logits = lean_logits(CnnGraph(model), IDS).astype(np.float64)
    scores = lean_logits(CnnGraph(model, "multi_label"), IDS, "scores")
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), rtol=0, atol=1e-6)


def test_only_what_build_cnn_made_is_taken(model):
    assert is_cnn(model) and is_cnn(build_cnn(20, 2))
    assert not is_cnn(build_bilstm(20, 2))
    deeper = keras.layers.LeakyReLU()(model.get_layer("pooling").output)
    deeper = keras.Model(model.input, keras.layers.Dense(2, name="logits")(deeper), name="deeper")
    assert not is_cnn(deeper)
    with pytest.raises(ValueError, match=r"^Expected a model of build_cnn\. Received: deeper$"):
        CnnGraph(deeper)
