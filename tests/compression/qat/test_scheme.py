"""Layers are wrapped where they were placed and nowhere else, in each of the three ways."""

import numpy as np
import pytest

from tfkd.compression.qat.legacy import tf_keras
from tfkd.compression.qat.quantizers import BlockRange, StoredRange, WeightRange
from tfkd.compression.qat.scheme import PREFIX, Placement, Scheme, apply, bake

IDS = np.array([[1, 2, 3], [4, 5, 6]], np.int32)


def build(place):
    """A table, a sum that nobody placed, a product."""
    ids = tf_keras.Input((None,), dtype="int32", name="ids")
    table = tf_keras.layers.Embedding(8, 32, name="table")
    rows = place(table, ["embeddings"])(ids)
    total = tf_keras.layers.Add(name="total")([rows, rows])
    product = tf_keras.layers.Dense(4, name="product")
    return tf_keras.Model(ids, place(product, ["kernel"], "range")(total))


@pytest.fixture(scope="module")
def training():
    tf_keras.utils.set_random_seed(0)
    return apply(build(Placement(Scheme())), [])


def test_float_placement_gives_the_layer_itself():
    layer = tf_keras.layers.Dense(4, name="product")
    assert Placement()(layer, ["kernel"], "range") is layer


def test_a_layer_without_quantizers_stays_itself():
    layer = tf_keras.layers.Add(name="total")
    assert Placement(Scheme())(layer) is layer


def test_only_placed_layers_are_wrapped(training):
    """TF-MOT's own scheme would round token ids and the sum before a placed layer."""
    assert [layer.name for layer in training.layers] == [
        "ids",
        f"{PREFIX}table",
        "total",
        f"{PREFIX}product",
    ]


def test_unknown_output_is_refused():
    layer = tf_keras.layers.Dense(4, name="product")
    with pytest.raises(ValueError, match=r"^Expected `output` in \(None, 'range', .*'wide'$"):
        Placement(Scheme())(layer, output="wide")


@pytest.mark.parametrize(("table_bits", "quantizer"), [(8, WeightRange(False)), (4, BlockRange())])
def test_tables_are_rounded_as_the_scheme_says(table_bits, quantizer):
    model = apply(build(Placement(Scheme(table_bits=table_bits))), [])
    assert model.get_layer("quant_table").quantize_config.weights == {"embeddings": quantizer}
    assert model.get_layer("quant_product").quantize_config.weights == {"kernel": WeightRange(True)}


def test_training_rounds_weights_and_follows_outputs(training):
    table, product = (training.get_layer(f"quant_{name}") for name in ("table", "product"))
    (rows, quantizer, _), (kernel, _, _) = table._weight_vars[0], product._weight_vars[0]
    total = 2 * quantizer(rows, True, {}).numpy()[IDS]
    expected = total @ WeightRange(True)(kernel, True, {}).numpy()
    result = training(IDS, training=True).numpy()
    low, high = (product._output_quantizer_vars[name].numpy() for name in ("low", "high"))
    np.testing.assert_allclose([low, high], [expected.min(), expected.max()], rtol=1e-5)
    np.testing.assert_allclose(result, expected, rtol=0, atol=0.51 * (high - low) / 255)
    np.testing.assert_array_equal(training(IDS, training=False), result)


def test_baked_weights_are_rounded_for_good_and_tables_keep_a_range():
    model = apply(build(Placement(Scheme(), baked=True)), [])
    table, product = (model.get_layer(f"quant_{name}") for name in ("table", "product"))
    assert [type(quantizer) for _, quantizer, _ in table._weight_vars] == [StoredRange]
    assert product._weight_vars == []
    kernel, rows = (layer.trainable_weights[0].numpy() for layer in (product, table))
    for layer in (table, product):
        bake(layer)
    np.testing.assert_array_equal(
        product.trainable_weights[0], WeightRange(True)(kernel, False, {})
    )
    np.testing.assert_array_equal(table.trainable_weights[0], WeightRange(False)(rows, False, {}))
    np.testing.assert_allclose(table._weight_vars[0][2]["limit"], np.abs(rows).max(), rtol=1e-6)


def test_baked_small_tables_are_left_to_the_file():
    model = apply(build(Placement(Scheme(table_bits=4), baked=True)), [])
    table = model.get_layer("quant_table")
    rows = table.trainable_weights[0].numpy()
    assert table._weight_vars == []
    bake(table)
    np.testing.assert_array_equal(table.trainable_weights[0], BlockRange()(rows, False, {}))


def test_ranges_stay_after_the_batches_of_the_scheme():
    model = apply(build(Placement(Scheme(freeze_after=1))), [])
    kept = model.get_layer("quant_product")._output_quantizer_vars
    model(IDS, training=True)
    low = kept["low"].numpy()
    model.get_layer("quant_table").trainable_weights[0].assign(np.ones([8, 32]) * 9)
    model(IDS, training=True)
    assert kept["low"].numpy() == low
    assert kept["count"].numpy() == 2
