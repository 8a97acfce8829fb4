import cpuinfo
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.precision import resolved, set_precision, training_arithmetic
from tfkd.models.sizes import ModelEntry
from tfkd.models.without_encoder import build_cnn
from tfkd.process import has_bfloat16


def bert():
    keras.utils.set_random_seed(0)
    entry = ModelEntry("toy", "bert", "", 1e-3, num_layers=1, hidden_dim=16, num_heads=2)
    return build_encoder_classifier(encoder_from_scratch(entry, 30), 3)


def inputs(model):
    arrays = {"token_ids": [[1, 2, 3, 4]], "padding_mask": [[1, 1, 1, 0]]}
    arrays["segment_ids"] = [[0, 0, 0, 0]]
    return {name: tf.constant(arrays[name]) for name in model.input}


def policies(model):
    """Names of the layers, by the type that they compute in."""
    found = {}
    for layer in model._flatten_layers(include_self=False):
        found.setdefault(layer.compute_dtype, set()).add(type(layer).__name__)
    return found


def test_products_are_in_bfloat16_and_all_else_is_not():
    model = bert()
    set_precision(model, "bfloat16")
    assert policies(model)["bfloat16"] == {"EinsumDense", "Dense", "MultiHeadAttention"}
    assert {"LayerNormalization", "Dropout", "ReversibleEmbedding", "Softmax"} <= (
        policies(model)["float32"]
    )
    assert model.get_layer("logits").compute_dtype == "float32"
    assert model(inputs(model)).dtype == "float32"
    set_precision(model, "float32")
    assert set(policies(model)) == {"float32"}


def test_convolution_is_a_product():
    model = build_cnn(30, 3, width=8, filters=4)
    set_precision(model, "bfloat16")
    assert policies(model)["bfloat16"] == {"Conv1D"}


def wide(model):
    """The layer whose activation is a GELU."""
    return next(
        layer for layer in model._flatten_layers() if layer.name == "feedforward_intermediate_dense"
    )


def test_activation_is_computed_in_float32_and_comes_back():
    model = bert()
    own = wide(model).activation
    set_precision(model, "bfloat16")
    set_precision(model, "bfloat16")
    # Rounded once, at the end.
    values = tf.cast(tf.linspace(-4.0, 4.0, 1001), "bfloat16")
    exact = tf.cast(own(tf.cast(values, "float32")), "bfloat16")
    np.testing.assert_array_equal(wide(model).activation(values), exact)
    assert wide(model).activation(values).dtype == "bfloat16"
    set_precision(model, "float32")
    assert wide(model).activation is own


@pytest.mark.parametrize(("name", "tolerance"), [("float32", 1e-6), ("bfloat16", 0.02)])
def test_training_has_the_same_values_and_gradients(name, tolerance):
    model = bert()
    before, own = step(model), wide(model).activation
    with training_arithmetic(model, name):
        assert wide(model).activation is not own
        for ours, exact in zip(step(model), before, strict=True):
            scale = np.abs(exact).max()
            np.testing.assert_allclose(ours, exact, atol=tolerance * scale)
    assert wide(model).activation is own
    for ours, exact in zip(step(model), before, strict=True):
        np.testing.assert_array_equal(ours, exact)


def step(model):
    """Logits, and gradients of their sum of squares."""
    with tf.GradientTape() as tape:
        logits = model(inputs(model), training=False)
        loss = tf.reduce_sum(tf.square(logits))
    weights = wide(model).trainable_variables
    return [np.array(value) for value in (logits, *tape.gradient(loss, weights))]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["avx2", "avx512f"], "float32"),
        (["avx512f", "avx512_bf16"], "bfloat16"),
        (["asimd", "bf16"], "bfloat16"),
        ([], "float32"),
    ],
)
def test_auto_follows_the_processors_flags(monkeypatch, flags, expected):
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"flags": flags})
    has_bfloat16.cache_clear()
    assert resolved("auto") == expected
    assert has_bfloat16() == (expected == "bfloat16")
    has_bfloat16.cache_clear()


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_precision_that_is_asked_for_is_taken(name):
    assert resolved(name) == name
