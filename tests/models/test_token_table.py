import keras
import numpy as np
import pytest
import tensorflow as tf

from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.sizes import ModelEntry
from tfkd.models.token_table import read_by_row, token_table
from tfkd.models.without_encoder import build_bilstm, build_cnn


def encoder():
    entry = ModelEntry("toy", "bert", "", 1e-3, num_layers=1, hidden_dim=16, num_heads=2)
    return build_encoder_classifier(encoder_from_scratch(entry, 30), 3)


MODELS = {"bert": encoder, "cnn": lambda: build_cnn(30, 3), "bilstm": lambda: build_bilstm(30, 3)}


def answers(model):
    ids = np.array([[1, 2, 29, 0]], np.int32)
    arrays = {"token_ids": ids, "padding_mask": np.sign(ids), "segment_ids": 0 * ids}
    inputs = {name: tf.constant(arrays[name]) for name in model.input}
    with tf.GradientTape() as tape:
        logits = model(inputs, training=False)
    return np.array(logits), tape.gradient(logits, token_table(model).embeddings.value)


@pytest.mark.parametrize("name", MODELS)
def test_rows_and_their_gradients_are_the_same(name):
    model = MODELS[name]()
    logits, gradient = answers(model)
    with read_by_row(model):
        found, slices = answers(model)
    np.testing.assert_array_equal(found, logits)
    assert isinstance(slices, tf.IndexedSlices)
    np.testing.assert_allclose(tf.convert_to_tensor(slices), tf.convert_to_tensor(gradient))


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_reads_no_whole_table_while_the_block_runs(name):
    model = MODELS[name]()
    layer = token_table(model)

    def reads():
        graph = tf.function(lambda ids: layer(ids)).get_concrete_function(tf.constant([[1]])).graph
        return {
            op.type for op in graph.get_operations() if op.type.startswith(("Read", "Resource"))
        }

    with read_by_row(model):
        assert reads() == {"ResourceGather"}
    assert reads() == {"ReadVariableOp"}


def test_a_table_that_masks_its_padding_stays_as_it_is():
    inputs = keras.Input([None], dtype="int32")
    layer = keras.layers.Embedding(9, 2, mask_zero=True, name="token_embedding")
    model = keras.Model(inputs, layer(inputs))
    with read_by_row(model):
        assert "call" not in vars(layer)


def test_a_model_without_a_table_is_left_alone():
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    with read_by_row(model):
        assert model(tf.ones([1, 2])).shape == (1, 1)
