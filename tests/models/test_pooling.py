"""Poolings in closed form, on vectors whose padded positions hold what would ruin the answer."""

import keras
import numpy as np
import pytest
from keras import ops

from tfkd.models.pooling import NAMES, FirstToken, MaxPooling, MeanPooling, pool

# Two texts of 3 and 1 real tokens; width 2.
VECTORS = np.array(
    [
        [[1.0, -4.0], [2.0, -1.0], [6.0, -7.0], [900.0, 900.0]],
        [[-3.0, 5.0], [-900.0, 900.0], [900.0, -900.0], [900.0, 900.0]],
    ],
    np.float32,
)
MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0]], np.int32)
EXPECTED = {
    "cls": [[1.0, -4.0], [-3.0, 5.0]],
    "mean": [[3.0, -4.0], [-3.0, 5.0]],
    "max": [[6.0, -1.0], [-3.0, 5.0]],
}


@pytest.mark.parametrize("name", NAMES)
def test_closed_form(name):
    np.testing.assert_allclose(pool(VECTORS, MASK, name), EXPECTED[name], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_padded_positions_never_count(name):
    other = np.where(MASK[:, :, None] == 1, VECTORS, np.float32(-12345.0))
    longer = np.pad(other, ((0, 0), (0, 3), (0, 0)), constant_values=777.0)
    mask = np.pad(MASK, ((0, 0), (0, 3)))
    np.testing.assert_allclose(pool(longer, mask, name), EXPECTED[name], rtol=1e-6)


@pytest.mark.parametrize("name", ["mean", "max"])
def test_text_without_tokens_stays_finite(name):
    pooled = pool(VECTORS, np.zeros_like(MASK), name)
    assert np.isfinite(np.asarray(pooled)).all()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_vectors_keep_their_type(name):
    pooled = pool(ops.cast(VECTORS, "bfloat16"), MASK, name)
    assert keras.backend.standardize_dtype(pooled.dtype) in ("bfloat16", "float32")
    np.testing.assert_allclose(ops.cast(pooled, "float32"), EXPECTED[name], rtol=1e-2)


@pytest.mark.parametrize("layer", [FirstToken, MeanPooling, MaxPooling])
def test_layer_comes_back_from_its_config(layer):
    config = keras.saving.serialize_keras_object(layer(name="pooling"))
    assert config["registered_name"] == f"tfkd>{layer.__name__}"
    assert isinstance(keras.saving.deserialize_keras_object(config, safe_mode=True), layer)


@pytest.mark.parametrize("name", NAMES)
def test_mask_that_keras_attaches_ends_here(name):
    """Without a warning, which the test run would raise."""
    vectors = keras.layers.Masking(mask_value=0.0)(keras.Input((4, 2)))
    pooled = pool(vectors, keras.Input((4,)), name)
    assert getattr(pooled, "_keras_mask", None) is None


def test_unknown_name():
    message = r"^Expected `pooling` in \('cls', 'mean', 'max'\)\. Received: pooling='sum'$"
    with pytest.raises(ValueError, match=message):
        pool(VECTORS, MASK, "sum")
