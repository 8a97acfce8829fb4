"""The lean graph gives the Keras model's logits: every size, family, pooling and kind of row."""

import dataclasses

import keras
import keras_hub
import numpy as np
import pytest

from tfkd.compression.graph import LeanGraph, why_not_lean
from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.head import Head
from tfkd.models.pooling import NAMES
from tfkd.models.sizes import SIZE_WORDS
from tfkd.models.without_encoder import build_bilstm, build_cnn

# One of each width: sizes that differ in their number of layers alone are the same here.
SIZES = {
    (entry.hidden_dim, entry.num_heads, entry.intermediate_dim): name
    for name, entry in SIZE_WORDS.items()
    if entry.kind == "bert"
}.values()
FAMILIES = {
    "bert": keras_hub.models.BertBackbone,
    "distil_bert": keras_hub.models.DistilBertBackbone,
    "roberta": keras_hub.models.RobertaBackbone,
    "xlm_roberta": keras_hub.models.XLMRobertaBackbone,
}
VOCABULARY_SIZE, LENGTH, NUM_OUTPUTS = 50, 12, 3
# A full row, a padded one, one of two tokens; what stands under the padding must not count.
IDS = np.random.default_rng(1).integers(1, VOCABULARY_SIZE, (3, LENGTH), dtype=np.int32)
REAL_LENGTHS = np.array([LENGTH, 7, 2])
MASK = (np.arange(LENGTH) < REAL_LENGTHS[:, None]).astype(np.int32)
# The second text starts in the middle.
SEGMENTS = ((np.arange(LENGTH) >= REAL_LENGTHS[:, None] // 2) * MASK).astype(np.int32)
SINGLE = {"token_ids": IDS, "padding_mask": MASK, "segment_ids": np.zeros_like(IDS)}
PAIRS = {**SINGLE, "segment_ids": SEGMENTS}
# The largest difference of all tests here is 9e-7, at logits up to 2.
TOLERANCE = 1e-5


def randomized(model):
    """Weights that hide nothing: biases that are not 0, normalizations that are not 1."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        size = 0.2 if len(weight.shape) == 1 else max(weight.shape) ** -0.5
        noise = size * random.standard_normal(weight.shape, dtype=np.float32)
        weight.assign(weight + noise if len(weight.shape) == 1 else noise)
    return model


def encoder(family="bert", **changes):
    sizes = {
        "num_layers": 2,
        "num_heads": 4,
        "hidden_dim": 32,
        "intermediate_dim": 64,
        "max_sequence_length": 16,
        **changes,
    }
    return FAMILIES[family](vocabulary_size=VOCABULARY_SIZE, **sizes)


def classifier(pooling="cls", head=None, **settings):
    return randomized(
        build_encoder_classifier(encoder(**settings), NUM_OUTPUTS, pooling, head=head)
    )


def keras_logits(model, arrays=SINGLE):
    return np.asarray(model({name: arrays[name] for name in model.input}, training=False))


def lean_logits(graph, arrays=SINGLE, output="logits"):
    endpoint = graph.endpoint(LENGTH, output)
    rows = [
        {name: arrays[name][row : row + 1] for name in graph.input_names} for row in range(len(IDS))
    ]
    return np.concatenate([endpoint(row)[output].numpy() for row in rows])


def assert_equal(model, arrays=SINGLE, **settings):
    expected = keras_logits(model, arrays)
    logits = lean_logits(LeanGraph(model, **settings), arrays)
    assert np.ptp(expected) > 0.5  # else all would be equal
    np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_the_keras_model(size):
    """At the true widths and heads; layers beyond the second repeat it."""
    entry = dataclasses.replace(SIZE_WORDS[size], num_layers=2)
    backbone = encoder_from_scratch(entry, VOCABULARY_SIZE)
    assert_equal(randomized(build_encoder_classifier(backbone, NUM_OUTPUTS)))


@pytest.mark.parametrize("pooling", NAMES)
@pytest.mark.parametrize("family", ["bert", "distil_bert", "roberta"])
def test_every_family_and_pooling_is_the_keras_model(family, pooling):
    assert_equal(classifier(pooling, family=family))


@pytest.mark.parametrize(
    "changes", [{"num_layers": 1}, {"num_layers": 3, "num_heads": 1}, {"family": "xlm_roberta"}]
)
def test_other_shapes_are_the_keras_model(changes):
    assert_equal(classifier(**changes))


def test_whole_last_layer_is_the_keras_model():
    assert_equal(classifier(), whole_last_layer=True)


@pytest.mark.parametrize(
    ("family", "activation"), [("distil_bert", "relu"), ("roberta", "tanh"), ("bert", "tanh")]
)
def test_a_published_head_is_taken_over(family, activation):
    pooler = np.zeros([32, 24], np.float32), np.zeros(24, np.float32)
    logits = np.zeros([24, NUM_OUTPUTS], np.float32), np.zeros(NUM_OUTPUTS, np.float32)
    assert_equal(classifier(head=Head(pooler, activation, logits, ("a", "b", "c")), family=family))


@pytest.mark.parametrize("pooling", NAMES)
def test_pairs_are_told_apart_by_their_segments(pooling):
    model = classifier(pooling)
    assert_equal(model, PAIRS, num_texts=2)
    assert_equal(model, SINGLE, num_texts=2)
    assert np.abs(keras_logits(model, PAIRS) - keras_logits(model, SINGLE)).max() > 0.01


def test_single_texts_take_segments_and_do_not_read_them():
    graph = LeanGraph(classifier())
    np.testing.assert_array_equal(lean_logits(graph, PAIRS), lean_logits(graph, SINGLE))


def test_an_encoder_with_one_segment_has_no_second():
    model = classifier(num_segments=1)
    assert_equal(model, SINGLE, num_texts=2)


@pytest.mark.parametrize("pooling", NAMES)
def test_tokens_under_the_padding_do_not_count(pooling):
    graph = LeanGraph(classifier(pooling))
    other = {**SINGLE, "token_ids": np.where(MASK == 1, IDS, 0)}
    assert (other["token_ids"] != IDS).any()
    np.testing.assert_allclose(lean_logits(graph, other), lean_logits(graph), rtol=0, atol=1e-6)


def test_positions_are_those_of_the_row_whatever_the_mask():
    mask = MASK.copy()
    mask[:, 1] = 0
    assert_equal(classifier("mean"), {**SINGLE, "padding_mask": mask})


def test_a_bias_near_zero_lets_padding_through():
    model = classifier()
    expected = keras_logits(model)
    np.testing.assert_allclose(
        lean_logits(LeanGraph(model, mask_bias=-20.0)), expected, rtol=0, atol=TOLERANCE
    )
    leaking = lean_logits(LeanGraph(model, mask_bias=-1.0))
    assert np.abs(leaking - expected).max(axis=1).round(3)[0] == 0  # no padding in the first row
    assert np.abs(leaking - expected)[1:].max() > 0.01


def test_scores_are_what_the_task_makes_of_logits():
    model = classifier()
    logits = keras_logits(model).astype(np.float64)
    exponentials = np.exp(logits)
    expected = {
        "single_label": exponentials / exponentials.sum(axis=1, keepdims=True),
        "multi_label": 1 / (1 + np.exp(-logits)),
        "regression": logits,
    }
    for task, scores in expected.items():
        graph = LeanGraph(model, task=task)
        np.testing.assert_allclose(lean_logits(graph, output="scores"), scores, rtol=0, atol=1e-5)


def test_lengths_share_the_weights():
    model = classifier()
    graph = LeanGraph(model)
    num_weights = sum(variable.shape.num_elements() for variable in graph.variables)
    for length in (2, 5, LENGTH):
        row = {name: values[:1, :length] for name, values in SINGLE.items()}
        logits = graph.endpoint(length)(row)["logits"]
        np.testing.assert_allclose(logits, keras_logits(model, row), rtol=0, atol=TOLERANCE)
    assert sum(variable.shape.num_elements() for variable in graph.variables) == num_weights
    # All weights of the Keras model but the two segment rows, which the positions hold.
    assert num_weights == model.count_params() - 2 * 32


def test_positions_beyond_the_longest_text_are_left_out():
    model = classifier()
    whole, cut = LeanGraph(model), LeanGraph(model, num_positions=LENGTH)
    np.testing.assert_array_equal(lean_logits(cut), lean_logits(whole))
    sizes = [
        sum(variable.shape.num_elements() for variable in graph.variables) for graph in (whole, cut)
    ]
    assert sizes[0] - sizes[1] == (16 - LENGTH) * 32


def test_refusals():
    graph = LeanGraph(classifier(), num_positions=8)
    with pytest.raises(
        ValueError,
        match=r"^Expected `length` of at most 8, the positions of the graph. Received: length=9$",
    ):
        graph.endpoint(9)
    with pytest.raises(
        ValueError, match=r"^Expected `output` in \(logits, scores\). Received: output='labels'$"
    ):
        graph.endpoint(8, "labels")
    with pytest.raises(
        ValueError, match="^Expected a model that has a lean graph. Received: cnn holds no encoder"
    ):
        LeanGraph(build_cnn(20, 2, width=8, filters=4))


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_speaks_against_the_families(family):
    assert why_not_lean(classifier(family=family)) is None


def test_other_models_are_told_why():
    families = "BertBackbone, DistilBertBackbone, RobertaBackbone, XLMRobertaBackbone"
    assert why_not_lean(build_cnn(20, 2)) == f"cnn holds no encoder of {families}"
    assert why_not_lean(build_bilstm(20, 2)) == f"bilstm holds no encoder of {families}"


def test_a_layer_it_does_not_know_is_named():
    backbone = encoder()
    pooled = backbone(backbone.input)["pooled_output"]
    squeezed = keras.layers.Dense(8, name="bottleneck")(pooled)
    logits = keras.layers.Dense(NUM_OUTPUTS, name="logits")(squeezed)
    model = keras.Model(backbone.input, logits, name="student")
    assert why_not_lean(model) == "student has a layer bottleneck that the lean graph does not know"


def test_pre_norm_layers_are_not_taken_for_post_norm():
    model = classifier()
    model.layers[-3].transformer_layers[1].normalize_first = True
    assert why_not_lean(model) == (
        "transformer_layer_1 normalizes before its products, not after them"
    )
