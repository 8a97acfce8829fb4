"""The CNN's twin: equal to the student before training, integer from end to end after it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toys import classifier_of, spread_out, texts_of_words
from tfkd.compression import operators
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.qat import cnn, export, mirror
from tfkd.compression.qat.scheme import Placement, Scheme
from tfkd.models.classifier import TextClassifier
from tfkd.models.without_encoder import build_bilstm, build_cnn

LENGTH, NUM_TOKENS = 12, 60
TEXTS = texts_of_words(64, 10)
# A full row, a padded one and one of two tokens; token 0 is a token like any other.
SIZES = np.array([[LENGTH], [7], [2]])


@pytest.fixture(scope="module")
def classifier():
    """A student whose detectors answer to zeros, too: a mask must keep padding from winning."""
    keras.utils.set_random_seed(0)
    return classifier_of(spread_out(build_cnn(NUM_TOKENS, 3, width=32, filters=16)))


@pytest.fixture(scope="module", params=[8, 4])
def scheme(request):
    return Scheme(table_bits=request.param)


@pytest.fixture(scope="module")
def trained(classifier, scheme):
    """A twin whose ranges are those of the texts."""
    twin = mirror.build(classifier, scheme)
    twin(classifier.encode(TEXTS), training=True)
    return twin


@pytest.fixture(scope="module")
def baked(classifier, scheme, trained):
    """The same, in the form for the converter."""
    twin = mirror.build(classifier, scheme, baked=True)
    mirror.load(twin, {name: value.numpy() for name, value in mirror.variables(trained).items()})
    return twin


def rows(length=LENGTH):
    mask = (np.arange(length) < SIZES).astype(np.int32)
    token_ids = np.random.default_rng(1).integers(0, NUM_TOKENS, mask.shape, dtype=np.int32)
    return {"token_ids": token_ids, "padding_mask": mask}


def answer(twin, arrays):
    return twin(arrays, training=False).numpy()


def test_float_twin_gives_the_students_logits_on_full_and_padded_rows(classifier):
    twin = mirror.build(classifier)
    arrays = rows()
    expected = classifier.predict_encoded(arrays)
    # Padding taken for text would win somewhere, so a twin without a mask does not pass.
    token_ids = arrays["token_ids"] * arrays["padding_mask"]
    unmasked = {"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)}
    assert (np.abs(classifier.predict_encoded(unmasked) - expected)[1:].max(axis=1) > 0.05).all()
    np.testing.assert_allclose(answer(twin, arrays), expected, rtol=0, atol=1e-5)
    assert mirror.check(twin, classifier) < 1e-5


def test_windows_see_zeros_beyond_the_text_and_the_first_again_over_padding():
    vectors = tf.constant([[[5.0], [1.0], [9.0], [7.0]]])
    windows = cnn.Windows(3)([vectors, tf.constant([[1, 1, 1, 0]])])
    assert windows.numpy().tolist() == [[[0, 5, 1], [5, 1, 9], [1, 9, 0], [0, 5, 1]]]


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_windows_of_any_size_lie_as_a_convolution_of_keras_does(size):
    vectors = tf.reshape(tf.range(1.0, 11.0), [1, 5, 2])
    weights = np.random.default_rng(0).standard_normal((size, 2, 1)).astype("float32")
    convolution = keras.layers.Conv1D(1, size, padding="same", use_bias=False)
    convolution.build((None, 5, 2))
    convolution.set_weights([weights])
    windows = cnn.Windows(size)([vectors, tf.ones([1, 5], tf.int32)])
    np.testing.assert_allclose(windows @ weights.reshape(-1, 1), convolution(vectors), rtol=1e-5)


def test_weights_of_the_convolution_are_those_of_a_dense_layer(classifier):
    weights = cnn.read(classifier.model)
    shapes = [weight.shape for weight in cnn_of(classifier).trainable_weights]
    assert shapes == [(NUM_TOKENS, 32), (96, 16), (16,), (16, 3), (3,)]
    assert [array.shape for array in weights["trigrams"]] == [(96, 16), (16,)]
    kernel, bias = weights["trigrams"]
    layer = classifier.model.get_layer("trigrams")
    np.testing.assert_array_equal(kernel.reshape(3, 32, 16), layer.kernel)
    np.testing.assert_array_equal(bias, layer.bias)


def test_a_bilstm_is_no_cnn(classifier):
    model = build_bilstm(NUM_TOKENS, 3, width=8, units=4)
    other = TextClassifier(model, classifier.tokenizer, "single_label", ("a", "b", "c"))
    assert cnn.parts_of(other) is None


def test_every_kernel_and_the_table_have_a_quantizer(trained):
    for layer in trained.layers:
        rounded = [variable for variable, _, _ in getattr(layer, "_weight_vars", [])]
        for variable in layer.trainable_weights:
            assert (len(variable.shape) == 1) != any(variable is other for other in rounded)


def test_gradients_reach_every_weight_and_no_row_of_padding(classifier, scheme):
    twin = mirror.build(classifier, scheme)
    arrays = classifier.encode(TEXTS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(twin(arrays, training=True)))
    gradients = tape.gradient(loss, twin.trainable_variables)
    assert all(tf.reduce_any(tf.convert_to_tensor(part) != 0) for part in gradients)
    table = tf.convert_to_tensor(gradients[0]).numpy()
    read = np.unique(arrays["token_ids"][arrays["padding_mask"] == 1])
    assert set(np.flatnonzero(table.any(axis=1))) <= set(read)
    assert arrays["token_ids"][arrays["padding_mask"] == 0].tolist().count(0) and 0 not in read


def test_integer_form_of_the_mask_answers_alike_however_long_the_padding(trained, baked):
    for twin in (trained, baked):
        short, long = rows(), rows(2 * LENGTH)
        long["token_ids"][:, :LENGTH] = short["token_ids"]
        long["padding_mask"][:, LENGTH:] = 0
        np.testing.assert_array_equal(answer(twin, short), answer(twin, long))


def test_form_for_the_converter_answers_as_training_does(trained, baked):
    np.testing.assert_array_equal(answer(baked, rows()), answer(trained, rows()))


def test_float_twin_is_not_the_trained_one(classifier, trained):
    float_logits = answer(cnn_of(classifier), rows())
    difference = np.abs(float_logits - answer(trained, rows())).max()
    assert 1e-4 < difference < 0.2 * np.ptp(float_logits)


def cnn_of(classifier):
    twin = cnn.build(cnn.parts_of(classifier), Placement())
    mirror.copy_to(twin, classifier)
    return twin


def test_file_is_integer_from_the_table_to_the_logits(classifier, tmp_path):
    classifier.save(tmp_path / "student")
    twin = mirror.build(classifier, Scheme())
    twin(classifier.encode(TEXTS), training=True)
    export.save_variables(tmp_path / "variables.npz", twin)
    file = tmp_path / "qat_int8.tflite"
    export.write_file(
        {
            "model_folder": tmp_path / "student",
            "variables": tmp_path / "variables.npz",
            "scheme": {},
            "recipe": "qat_int8",
            "lengths": (LENGTH,),
            "target": file,
        }
    )
    report = operators.describe(file)
    found = {(group.name, group.arithmetic, group.weights): group.count for group in report.groups}
    assert found["GATHER", "integer", "int8"] == 1
    assert found["FULLY_CONNECTED", "integer", "int8"] == 2
    assert found["REDUCE_MAX", "integer", ""] == 1
    # Only the logits leave the integers.
    kinds = [kind for _, kind, _ in found]
    assert found["DEQUANTIZE", "conversion", ""] == kinds.count("conversion") == 1
    assert set(kinds) == {"integer", "index", "conversion"}
    arrays = rows()
    logits = LiteRTModel(file, classifier.tokenizer).predict_encoded(arrays, LENGTH)
    steps = np.ptp(answer(twin, classifier.encode(TEXTS)), axis=0).max() / 255
    np.testing.assert_allclose(logits, answer(twin, arrays), rtol=0, atol=2 * steps)
