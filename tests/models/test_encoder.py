"""Heads on an encoder: sizes as published, and logits in closed form from the encoder's output."""

import dataclasses

import keras
import numpy as np
import pytest

from tests.toys import tiny_backbone
from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.head import Head
from tfkd.models.pooling import FirstToken, MaxPooling, MeanPooling
from tfkd.models.sizes import SIZE_WORDS, ModelEntry

# Parameters of the published encoders. DistilRoBERTa's 82,118,400 count a pooler too, which belongs
# to the head of a published classifier, and three rows that nothing reads: see the test.
PUBLISHED = {
    "bert_tiny": 4_385_920,
    "bert_mini": 11_170_560,
    "bert_small": 28_763_648,
    "bert_medium": 41_373_184,
    "bert_base": 109_482_240,
    "tinybert_4": 14_350_248,
    "tinybert_6": 66_955_008,
    "minilm_6": 22_713_216,
    "minilm_12": 33_360_000,
    "distilbert_base": 66_362_880,
    "distilroberta_base": 82_118_400 - (768 * 768 + 768) - 3 * 768,
}
WIDTH, NUM_OUTPUTS = 8, 3
IDS = np.array([[2, 5, 6, 7, 3, 0, 0, 0], [2, 9, 3, 0, 0, 0, 0, 0]], np.int32)
INPUTS = {
    "token_ids": IDS,
    "padding_mask": (IDS != 0).astype(np.int32),
    "segment_ids": np.zeros_like(IDS),
}


def tiny_bert():
    keras.utils.set_random_seed(3)
    backbone = encoder_from_scratch(ModelEntry("x", "bert", "", 1e-3, 2, WIDTH, 2), 20)
    return with_random_weights(backbone)


def tiny_roberta():
    backbone = tiny_backbone(20, "Roberta", hidden_dim=WIDTH, max_sequence_length=32)
    return with_random_weights(backbone)


def with_random_weights(model):
    generator = np.random.default_rng(5)
    model.set_weights([generator.normal(0, 0.4, w.shape) for w in model.get_weights()])
    return model


def answer(model, arrays=INPUTS):
    arrays = {name: arrays[name] for name in model.input}
    output = model(arrays, training=False)
    return (
        {k: np.asarray(v) for k, v in output.items()}
        if isinstance(output, dict)
        else (np.asarray(output))
    )


def head_weights(model, name="logits"):
    return [np.asarray(weights) for weights in model.get_layer(name).get_weights()]


def parameter_count(entry, vocabulary_size):
    """Token, position and segment tables, norm, layers, and BERT's pooler."""
    width, inner = entry.hidden_dim, entry.intermediate_dim or 4 * entry.hidden_dim
    dense, norm = width * width + width, 2 * width
    layer = 4 * dense + norm + (width * inner + inner) + (inner * width + width) + norm
    segments, poolers = (2, 1) if entry.kind == "bert" else (0, 0)
    tables = (vocabulary_size + 512 + segments) * width
    return tables + norm + entry.num_layers * layer + poolers * dense


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_is_the_published_one(name):
    """The formula gives the published number, and the model the formula's with fewer layers."""
    entry = SIZE_WORDS[name]
    assert parameter_count(entry, entry.vocabulary_size) == PUBLISHED[name]
    flat = dataclasses.replace(entry, num_layers=min(entry.num_layers, 4))
    backbone = encoder_from_scratch(flat, 20)
    assert backbone.count_params() == parameter_count(flat, 20)
    assert (backbone.num_layers, backbone.num_heads) == (flat.num_layers, entry.num_heads)
    assert ("segment_ids" in backbone.input) == (entry.kind == "bert")


def test_cls_reads_berts_own_pooler():
    backbone = tiny_bert()
    model = build_encoder_classifier(backbone, NUM_OUTPUTS)
    kernel, bias = head_weights(model)
    outputs = answer(backbone)
    pooler, pooler_bias = head_weights(backbone, "pooled_dense")
    pooled = np.tanh(outputs["sequence_output"][:, 0] @ pooler + pooler_bias)
    np.testing.assert_allclose(outputs["pooled_output"], pooled, atol=1e-5)
    np.testing.assert_allclose(answer(model), pooled @ kernel + bias, atol=1e-5)
    assert backbone.get_layer("pooled_dense").trainable


@pytest.mark.parametrize("pooling, layer", [("mean", MeanPooling), ("max", MaxPooling)])
def test_mean_and_max_read_the_real_tokens(pooling, layer):
    backbone = tiny_bert()
    model = build_encoder_classifier(backbone, NUM_OUTPUTS, pooling)
    kernel, bias = head_weights(model)
    rows = answer(backbone)["sequence_output"]
    reduce = {"mean": np.mean, "max": np.max}[pooling]
    pooled = np.stack([reduce(rows[0, :5], axis=0), reduce(rows[1, :3], axis=0)])
    np.testing.assert_allclose(answer(model), pooled @ kernel + bias, atol=1e-5)
    assert isinstance(model.get_layer("pooling"), layer)


def test_cls_without_a_pooler_reads_the_first_token():
    backbone = tiny_roberta()
    model = build_encoder_classifier(backbone, NUM_OUTPUTS, "cls")
    kernel, bias = head_weights(model)
    np.testing.assert_allclose(answer(model), answer(backbone)[:, 0] @ kernel + bias, atol=1e-5)
    assert isinstance(model.get_layer("pooling"), FirstToken)
    assert list(model.input) == ["token_ids", "padding_mask"]


def test_unknown_pooling():
    with pytest.raises(ValueError, match=r"^Expected `pooling` in .*Received: pooling='sum'$"):
        build_encoder_classifier(tiny_bert(), NUM_OUTPUTS, "sum")


def test_pooler_that_is_not_read_is_frozen():
    """Every trainable weight has a gradient; Keras warns of one that has none."""
    model = build_encoder_classifier(tiny_bert(), NUM_OUTPUTS, "mean")
    trainable = {weight.path for weight in model.trainable_weights}
    assert not any("pooled_dense" in path for path in trainable)
    assert len(model.weights) - len(trainable) == 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss, jit_compile=False)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    model.train_on_batch({name: INPUTS[name] for name in model.input}, np.array([0, 2]))
    for weight, old in zip(model.trainable_weights, before, strict=True):
        if "key/bias" not in weight.path:  # A constant on every key changes no attention.
            assert np.abs(weight.numpy() - old).max() > 0, weight.path


def test_head_is_taken_over_exactly():
    generator = np.random.default_rng(9)
    head = Head(
        None, "tanh", (generator.normal(size=(WIDTH, 2)), generator.normal(size=2)), ("a", "b")
    )
    backbone = tiny_bert()
    model = build_encoder_classifier(backbone, 2, head=head)
    expected = answer(backbone)["pooled_output"] @ head.logits[0] + head.logits[1]
    np.testing.assert_allclose(answer(model), expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_head_with_its_own_pooler_is_taken_over_exactly(activation):
    generator = np.random.default_rng(9)
    pooler = generator.normal(size=(WIDTH, WIDTH)), generator.normal(size=WIDTH)
    logits = generator.normal(size=(WIDTH, 2)), generator.normal(size=2)
    backbone = tiny_roberta()
    model = build_encoder_classifier(backbone, 2, head=Head(pooler, activation, logits, ("a", "b")))
    hidden = answer(backbone)[:, 0] @ pooler[0] + pooler[1]
    hidden = np.tanh(hidden) if activation == "tanh" else np.maximum(hidden, 0)
    np.testing.assert_allclose(answer(model), hidden @ logits[0] + logits[1], atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_logits_do_not_depend_on_padding(pooling):
    model = build_encoder_classifier(tiny_bert(), NUM_OUTPUTS, pooling)
    longer = {name: np.pad(values, ((0, 0), (0, 8))) for name, values in INPUTS.items()}
    longer["token_ids"] = np.where(longer["padding_mask"] == 1, longer["token_ids"], 11)
    np.testing.assert_allclose(answer(model, longer), answer(model), atol=1e-5)


def test_logits_are_float32_and_small_at_the_start():
    model = build_encoder_classifier(tiny_bert(), NUM_OUTPUTS)
    assert answer(model).dtype == np.float32
    kernel, bias = head_weights(model)
    assert np.abs(kernel).max() <= 0.04 + 1e-6  # Truncated at two standard deviations of 0.02.
    assert not bias.any()
