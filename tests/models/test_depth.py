"""Some layers of a pretrained encoder: which stay, and that they compute what they did."""

import keras
import keras_hub
import numpy as np
import pytest

from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.errors import ModelError
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.depth import check_depth, keep_layers
from tfkd.runs.choices import choose

SIZES = {
    "vocabulary_size": 20,
    "num_layers": 4,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 6,
}
TOKENS = {"token_ids": np.array([[3, 4, 5, 0]]), "padding_mask": np.array([[1, 1, 1, 0]])}


@pytest.mark.parametrize("family", ["BertBackbone", "DistilBertBackbone", "RobertaBackbone"])
def test_the_layers_that_stay_compute_what_they_did(family):
    whole = getattr(keras_hub.models, family)(**SIZES)
    inputs = TOKENS | ({"segment_ids": np.zeros((1, 4), int)} if family[:4] == "Bert" else {})
    shallow = keep_layers(whole, [1, 3], "encoder")
    assert [len(model.transformer_layers) for model in (whole, shallow)] == [4, 2]
    assert keep_layers(whole, [0, 1, 2, 3], "encoder").count_params() == whole.count_params()
    vectors = keras.Model(whole.inputs, whole.get_layer("embeddings_dropout").output)(inputs)
    for layer in (whole.transformer_layers[1], whole.transformer_layers[3]):
        vectors = layer(vectors, padding_mask=inputs["padding_mask"])
    found = shallow(inputs)
    found = found["sequence_output"] if isinstance(found, dict) else found
    np.testing.assert_allclose(found[:, :3], vectors[:, :3], atol=1e-6)


def test_bert_keeps_its_pooler():
    whole = keras_hub.models.BertBackbone(**SIZES)
    shallow = keep_layers(whole, [2], "encoder")
    for first, second in zip(
        whole.get_layer("pooled_dense").get_weights(),
        shallow.get_layer("pooled_dense").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("layers", [[1, 0], [1, 1], [0, 4], [-1, 2], []])
def test_layers_that_are_not_there(layers):
    whole = keras_hub.models.BertBackbone(**SIZES)
    received = ", ".join(map(str, layers)) or "none"
    message = f"^Expected layers of tiny in rising order from 0 to 3. Received: {received}.$"
    with pytest.raises(ModelError, match=message):
        keep_layers(whole, layers, "tiny")


def test_shared_layers_cannot_be_dropped():
    sizes = {**SIZES, "embedding_dim": 4}
    albert = keras_hub.models.AlbertBackbone(**sizes)
    with pytest.raises(ModelError, match="^Expected an encoder with layers of its own"):
        keep_layers(albert, [0], "albert")


def test_what_has_no_layers_to_keep():
    check_depth(Source("cnn", Kind.SIZE), None)
    message = r"^Expected a pretrained encoder to keep layers 0, 2 of. Received: cnn, which is untr"
    with pytest.raises(ModelError, match=message):
        check_depth(Source("cnn", Kind.SIZE), [0, 2])
    with pytest.raises(ModelError, match="Received: cnn, which is untrained"):
        choose(FinetuneConfig(dataset="demo", model="cnn", layers=(0, 2)))
    with pytest.raises(ModelError, match="Received: bert_mini, which is untrained"):
        choose(DistillConfig(dataset="demo", teacher_layers=(0, 2)))
    with pytest.raises(ModelError, match="Received: cnn, which is untrained"):
        choose(DistillConfig(dataset="demo", student="cnn", layers=(0, 2)))
