import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toys import spread_out, tiny_backbone
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.first_token import first_token_model
from tfkd.models.without_encoder import build_bilstm, build_cnn

FAMILIES = ("Bert", "DistilBert", "Roberta")
LENGTHS = (9, 1, 5, 7)


def classifier(family="Bert", pooling="cls", **sizes):
    keras.utils.set_random_seed(0)
    backbone = tiny_backbone(60, family, **{"num_layers": 2, "dropout": 0.3, **sizes})
    return spread_out(build_encoder_classifier(backbone, 3, pooling), 0.1)


def inputs(model):
    random = np.random.default_rng(0)
    mask = (np.arange(9) < np.array(LENGTHS)[:, None]).astype(np.int32)
    arrays = {
        "token_ids": random.integers(1, 60, mask.shape).astype(np.int32),
        "padding_mask": mask,
        "segment_ids": np.zeros_like(mask),
    }
    return {name: tf.constant(arrays[name]) for name in model.input}


def gradients(model, weights):
    with tf.GradientTape() as tape:
        logits = model(inputs(model), training=False)
        loss = tf.reduce_sum(logits * tf.constant([[1.0, -2.0, 0.5]]))
    found = tape.gradient(loss, weights)
    return [logits, *(tf.convert_to_tensor(gradient) for gradient in found)]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_those_of_the_whole_model(family, layers):
    model = classifier(family, num_layers=layers)
    shorter = first_token_model(model)
    weights = model.trainable_weights
    assert {id(weight) for weight in shorter.trainable_weights} == {id(w) for w in weights}
    assert list(shorter.input) == list(model.input)
    whole, short = gradients(model, weights), gradients(shorter, weights)
    for expected, found in zip(whole, short, strict=True):
        scale = max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(found, expected, atol=2e-5 * scale)


def test_weights_are_shared():
    model = classifier()
    shorter = first_token_model(model)
    for weight in shorter.trainable_weights:
        weight.assign(0.5 * weight)
    np.testing.assert_allclose(shorter(inputs(model)), model(inputs(model)), atol=1e-5)


def test_dropout_is_at_work_in_training():
    shorter = first_token_model(classifier())
    first, second = (np.array(shorter(inputs(shorter), training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_other_poolings_need_every_row(pooling):
    assert first_token_model(classifier(pooling=pooling)) is None


@pytest.mark.parametrize("model", [build_cnn(30, 3), build_bilstm(30, 3)], ids=["cnn", "bilstm"])
def test_models_without_an_encoder_stay_as_they_are(model):
    assert first_token_model(model) is None
