"""The BiLSTM's twin: one loop over both directions that equals Keras' masked LSTMs."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toys import classifier_of, spread_out, texts_of_words
from tfkd.compression import flatbuffer, operators
from tfkd.compression.conversion import write_files
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.qat import bilstm, export, mirror
from tfkd.compression.qat.model import quantization_aware
from tfkd.compression.qat.scheme import Placement, Scheme
from tfkd.errors import ModelError
from tfkd.models.classifier import TextClassifier
from tfkd.models.sizes import SIZE_WORDS
from tfkd.models.without_encoder import build_bilstm, build_cnn

pytestmark = pytest.mark.usefixtures("converted_here")
LENGTH, NUM_TOKENS, WIDTH, UNITS = 12, 60, 32, 8
TEXTS = texts_of_words(64, 10)
KERNELS = ["embeddings", "kernel", "forward_kernel", "backward_kernel", "kernel"]


@pytest.fixture(scope="module")
def classifier():
    """A student whose gates are driven far enough to matter."""
    keras.utils.set_random_seed(0)
    return classifier_of(spread_out(build_bilstm(NUM_TOKENS, 3, width=WIDTH, units=UNITS)))


@pytest.fixture(scope="module", params=[8, 4])
def scheme(request):
    return Scheme(table_bits=request.param, freeze_after=2)


@pytest.fixture(scope="module")
def trained(classifier, scheme):
    """A twin whose ranges are those of the texts."""
    twin = mirror.build(classifier, scheme)
    twin(classifier.encode(TEXTS), training=True)
    return twin


@pytest.fixture(scope="module")
def float_twin(classifier):
    return mirror.build(classifier)


def rows(length=LENGTH):
    """A full row, a padded one and one of two tokens."""
    mask = (np.arange(length) < [[LENGTH], [7], [2]]).astype(np.int32)
    token_ids = np.random.default_rng(1).integers(0, NUM_TOKENS, mask.shape, dtype=np.int32)
    return {"token_ids": token_ids, "padding_mask": mask}


def answer(twin, arrays):
    return twin(arrays, training=False).numpy()


def range_of(twin):
    """Low, high and count of the recurrent products."""
    variables = mirror.variables(twin)
    return [float(variables[f"bilstm/product_{name}"]) for name in ("low", "high", "count")]


def test_float_twin_gives_the_students_logits_on_full_and_padded_rows(classifier, float_twin):
    arrays = rows()
    expected = classifier.predict_encoded(arrays)
    whole = {**arrays, "padding_mask": np.ones_like(arrays["padding_mask"])}
    assert (np.abs(classifier.predict_encoded(whole) - expected)[1:].max(axis=1) > 0.05).all()
    np.testing.assert_allclose(answer(float_twin, arrays), expected, rtol=0, atol=1e-5)
    assert mirror.check(float_twin, classifier) < 1e-5


def test_both_directions_share_one_projection(classifier):
    weights = bilstm.read(classifier.model)
    twin = bilstm.build(bilstm.parts_of(classifier), Placement())
    assert [weight.shape for weight in twin.trainable_weights] == [
        *((NUM_TOKENS, WIDTH), (WIDTH, 8 * UNITS), (8 * UNITS,)),
        *((UNITS, 4 * UNITS), (UNITS, 4 * UNITS), (2 * UNITS, 3), (3,)),
    ]
    shapes = [array.shape for array in (*weights["projection"], *weights["bilstm"])]
    assert shapes == [(32, 64), (64,), (8, 32), (8, 32)]
    # The gates of each have another order than in Keras, but are the same.
    for found, own in zip(
        np.split(weights["projection"][0], 2, axis=1),
        (classifier.model.get_layer("bilstm").weights[index] for index in (0, 3)),
        strict=True,
    ):
        gates = [
            sorted(np.split(np.asarray(array), 4, axis=1), key=np.sum) for array in (found, own)
        ]
        np.testing.assert_array_equal(*gates)


def test_a_cnn_is_no_bilstm(classifier):
    model = build_cnn(NUM_TOKENS, 3, width=8, filters=4)
    other = TextClassifier(model, classifier.tokenizer, "single_label", ("a", "b", "c"))
    assert bilstm.parts_of(other) is None


def test_steps_hold_a_text_forwards_and_from_its_own_end_backwards():
    """Of two texts of three and of one token; row and direction are in the number."""
    numbers = 100 * np.arange(2)[:, None, None] + 10 * np.arange(3)[:, None] + np.arange(2)
    projected = np.repeat(numbers, 4, axis=2).astype(np.float32)
    steps = bilstm.Steps(1)([tf.constant(projected), tf.constant([[1, 1, 1], [1, 0, 0]])])
    forward_and_backward = steps.numpy()[:, :, 0].astype(int).tolist()
    assert forward_and_backward[0] == [0, 100, 21, 101]
    assert [step[0] for step in forward_and_backward] == [0, 10, 20]
    assert [step[2] for step in forward_and_backward] == [21, 11, 1]


def test_a_lone_text_gets_what_it_gets_beside_others(trained, float_twin):
    arrays = rows()
    for twin in (trained, float_twin):
        together = answer(twin, arrays)
        for row in range(3):
            alone = {name: values[row : row + 1] for name, values in arrays.items()}
            np.testing.assert_allclose(answer(twin, alone)[0], together[row], rtol=0, atol=1e-6)


def test_what_lies_behind_a_text_does_not_matter(trained):
    short, long = rows(), rows(2 * LENGTH)
    long["token_ids"][:, :LENGTH] = short["token_ids"]
    long["padding_mask"][:, LENGTH:] = 0
    np.testing.assert_allclose(answer(trained, short), answer(trained, long), rtol=0, atol=1e-6)


def test_every_kernel_and_the_table_have_a_quantizer(trained):
    names = []
    for layer in trained.layers:
        rounded = [variable for variable, _, _ in getattr(layer, "_weight_vars", [])]
        names += [variable.name.split("/")[-1].removesuffix(":0") for variable in rounded]
        for variable in layer.trainable_weights:
            assert (len(variable.shape) == 1) != any(variable is other for other in rounded)
    assert names == KERNELS


def test_gradients_reach_every_weight(classifier, scheme):
    twin = mirror.build(classifier, scheme)
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(twin(classifier.encode(TEXTS), training=True)))
        for gradient in tape.gradient(loss, twin.trainable_variables):
            assert tf.reduce_any(tf.convert_to_tensor(gradient) != 0)


def test_gradients_of_the_float_twin_are_the_students(classifier, float_twin):
    arrays = rows()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(float_twin(arrays, training=True)))
    found = tape.gradient(loss, float_twin.trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(classifier.model(arrays, training=False)))
    weights = [weight.value for weight in classifier.model.trainable_weights]
    student = build_bilstm(NUM_TOKENS, 3, width=WIDTH, units=UNITS)
    for weight, gradient in zip(student.weights, tape.gradient(loss, weights), strict=True):
        weight.assign(tf.convert_to_tensor(gradient))
    expected = [array for arrays in bilstm.read(student).values() for array in arrays]
    for gradient, array in zip(found, expected, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(gradient), array, rtol=0, atol=2e-4)


def test_range_of_the_products_is_set_by_the_first_batch_and_stays_in_the_end(classifier, scheme):
    twin = mirror.build(classifier, scheme)
    assert range_of(twin) == [0.0, 0.0, 0.0]
    arrays = classifier.encode(TEXTS)
    # Nothing is rounded before a range is known, so the loop sees its float states.
    first = twin(arrays, training=True).numpy()
    low, high, count = range_of(twin)
    assert low < -0.1 < 0.1 < high and count == 1
    assert np.abs(first - answer(twin, arrays)).max() < 0.2 * np.ptp(first)
    twin(rows(), training=True)
    moved = range_of(twin)[:2]
    assert moved != [low, high] and np.allclose(moved, [low, high], rtol=0.02)
    twin(rows(), training=True)
    assert range_of(twin) == [*moved, 3.0]


def test_form_for_the_converter_answers_as_training_does(classifier, scheme, trained):
    twin = mirror.build(classifier, scheme, baked=True)
    mirror.load(twin, {name: value.numpy() for name, value in mirror.variables(trained).items()})
    np.testing.assert_array_equal(answer(twin, rows()), answer(trained, rows()))


def test_file_walks_one_loop_with_integer_products(classifier, tmp_path):
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
    found = {(group.name, group.arithmetic): group for group in operators.describe(file).groups}
    # The projection and the logits, and in the loop one product for each direction.
    assert found["FULLY_CONNECTED", "integer"].count == 4
    assert ("FULLY_CONNECTED", "hybrid") not in found and ("FULLY_CONNECTED", "float") not in found
    tables = [
        tensor
        for operator in flatbuffer.reachable_operators(flatbuffer.read(file.read_bytes()), 0)
        for tensor in operator.inputs
        if operator.name == "GATHER" and tensor.is_constant and tensor.shape[0] == NUM_TOKENS
    ]
    assert [table.type for table in tables] == ["int8"]
    loops = [name for name, _ in found if name == "WHILE"]
    assert len(loops) == 1
    arrays = rows()
    logits = LiteRTModel(file, classifier.tokenizer).predict_encoded(arrays, LENGTH)
    steps = np.ptp(answer(twin, classifier.encode(TEXTS)), axis=0).max() / 255
    np.testing.assert_allclose(logits, answer(twin, arrays), rtol=0, atol=3 * steps)


def test_the_small_size_becomes_files_too(classifier, tmp_path):
    entry = SIZE_WORDS["bilstm_small"]
    keras.utils.set_random_seed(0)
    model = spread_out(build_bilstm(NUM_TOKENS, 3, width=entry.hidden_dim, units=entry.units))
    small = dataclasses.replace(classifier, model=model, _folder=None, _functions={})
    small.save(tmp_path / "student")
    arrays = small.encode(TEXTS, LENGTH)
    expected = small.predict_encoded(arrays)
    plain = write_files(tmp_path / "student", ("dynamic_int8",), (LENGTH,), tmp_path / "plain")
    aware = quantization_aware(small)
    aware.student(arrays, training=True)
    trained = aware.export(tmp_path / "student", TEXTS, (LENGTH,)).path
    for path in (plain["dynamic_int8"], trained):
        found = LiteRTModel(path, small.tokenizer).predict_encoded(arrays, LENGTH)
        assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)
    with pytest.raises(ModelError, match="^Expected a table with a multiple of 32 columns for 4"):
        quantization_aware(small, "qat_int4_tables")
