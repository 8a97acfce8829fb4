"""A mirror is the student, says so each time it is made, and gives its weights back."""

import keras
import numpy as np
import pytest

from tests.toys import classifier_of, spread_out, tiny_backbone
from tfkd.compression.qat import mirror
from tfkd.compression.qat.scheme import Scheme
from tfkd.errors import ConversionError, ModelError
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.without_encoder import build_bilstm, build_cnn

VOCABULARY_SIZE, LENGTH = 60, 8
STUDENTS = ["encoder", "bilstm", "cnn"]


def untrained(name):
    keras.utils.set_random_seed(0)
    if name == "bilstm":
        return build_bilstm(VOCABULARY_SIZE, 3, width=32, units=8)
    if name == "cnn":
        return build_cnn(VOCABULARY_SIZE, 3, width=32, filters=8)
    return build_encoder_classifier(tiny_backbone(VOCABULARY_SIZE, num_layers=2), 3)


def wrapped(model):
    """A classifier whose weights are all away from where they start."""
    return classifier_of(spread_out(model), length=LENGTH)


@pytest.fixture(scope="module", params=STUDENTS)
def classifier(request):
    return wrapped(untrained(request.param))


@pytest.fixture(scope="module")
def floating(classifier):
    return mirror.build(classifier)


@pytest.fixture(scope="module")
def trained(classifier):
    """A twin with ranges."""
    twin = mirror.build(classifier, Scheme())
    twin(rows(classifier), training=True)
    return twin


def rows(classifier):
    mask = (np.arange(LENGTH) < np.array([[LENGTH], [5], [2], [LENGTH]])).astype(np.int32)
    ids = np.random.default_rng(1).integers(0, VOCABULARY_SIZE, mask.shape, dtype=np.int32)
    arrays = {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(mask)}
    return {name: arrays[name] for name in classifier.input_names}


def arrays_of(model):
    return {name: variable.numpy() for name, variable in mirror.variables(model).items()}


def test_float_mirror_is_the_student(classifier, floating):
    logits = classifier.predict_encoded(rows(classifier))
    assert np.ptp(logits) > 0.5  # else all would be equal
    np.testing.assert_allclose(floating(rows(classifier)), logits, rtol=0, atol=1e-5)
    assert mirror.check(floating, classifier) < 1e-5


def test_training_twin_is_near_the_student(classifier, trained):
    logits = classifier.predict_encoded(rows(classifier))
    difference = np.abs(trained(rows(classifier), training=False).numpy() - logits)
    assert 0 < difference.max() < 0.1 * np.ptp(logits)


def test_every_matrix_of_a_training_twin_has_a_quantizer(trained):
    """Vectors (biases, normalizations) are the only trained numbers that are not rounded."""
    rounded = {
        variable.ref()
        for layer in trained.layers
        for variable, _, _ in getattr(layer, "_weight_vars", [])
    }
    matrices = [variable for variable in trained.trainable_variables if len(variable.shape) > 1]
    assert len(matrices) >= 3
    assert [matrix.name for matrix in matrices if matrix.ref() not in rounded] == []


def test_names_of_variables_are_one_each_and_the_same_in_every_twin(classifier, trained):
    names = mirror.variables(trained).keys()
    steps = sum(variable.name.endswith("optimizer_step:0") for variable in trained.variables)
    assert len(names) + steps == len(trained.variables)
    again = mirror.variables(mirror.build(classifier, Scheme(freeze_after=3)))
    assert again.keys() == names
    assert all(
        again[name].shape == variable.shape for name, variable in mirror.variables(trained).items()
    )


def test_baked_twin_answers_as_the_trained_one(classifier, trained):
    baked = mirror.build(classifier, Scheme(), baked=True)
    mirror.load(baked, arrays_of(trained))
    expected = trained(rows(classifier), training=False).numpy()
    np.testing.assert_allclose(baked(rows(classifier), training=False), expected, rtol=0, atol=1e-5)


def test_a_mirror_of_other_weights_is_refused(classifier):
    floating = mirror.build(classifier)
    random = np.random.default_rng(3)
    for variable in floating.trainable_variables:
        variable.assign_add(0.1 * random.standard_normal(variable.shape).astype(np.float32))
    with pytest.raises(ConversionError, match="^Expected a mirror whose logits differ by at most"):
        mirror.check(floating, classifier)
    mirror.copy_to(floating, classifier)
    assert mirror.check(floating, classifier) < 1e-5


def test_a_variable_without_array_is_named(floating):
    arrays = arrays_of(floating)
    del arrays["logits/bias"]
    message = "^Expected arrays for all variables. Missing: logits/bias$"
    with pytest.raises(ValueError, match=message):
        mirror.load(floating, arrays)


def test_a_student_of_another_kind_has_no_mirror():
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(60, 8)(ids))
    model = keras.Model({"token_ids": ids, "padding_mask": mask}, pooled, name="bag")
    message = (
        "^Expected a student of BERT's family, a BiLSTM or a CNN. Received: bag. "
        "Quantize it after training: --recipe dynamic_int8.$"
    )
    with pytest.raises(ModelError, match=message):
        mirror.build(wrapped(model))
