"""The encoder's twin is the student for every family, and its file is integer in one piece."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toys import WORDS, tiny_backbone
from tfkd.compression import operators
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.qat import encoder, export, mirror
from tfkd.compression.qat.scheme import Placement, Scheme
from tfkd.errors import ModelError
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.head import Head
from tfkd.models.sizes import SIZE_WORDS
from tfkd.models.tokenizers import Tokenizer

# One of each number of heads and width of the inner layer: without its layers and its own width, a
# size differs from another in nothing else.
SIZES = {
    (entry.num_heads, entry.intermediate_dim): name
    for name, entry in SIZE_WORDS.items()
    if entry.kind == "bert"
}.values()
VOCABULARY_SIZE, LENGTH, NUM_OUTPUTS = 60, 8, 3
SIZES_OF_ROWS = np.array([[LENGTH], [5], [2], [LENGTH]])
MASK = (np.arange(LENGTH) < SIZES_OF_ROWS).astype(np.int32)
ROWS = {
    "token_ids": np.random.default_rng(1).integers(0, 60, MASK.shape, dtype=np.int32),
    "padding_mask": MASK,
    "segment_ids": np.zeros_like(MASK),
}
PAIRS = {**ROWS, "segment_ids": ((np.arange(LENGTH) >= SIZES_OF_ROWS // 2) * MASK).astype(np.int32)}


def student(pooling="cls", head=None, family="Bert", num_texts=1, whole=None):
    """A small student with weights that hide nothing."""
    keras.utils.set_random_seed(0)
    whole = whole or tiny_backbone(VOCABULARY_SIZE, family, num_layers=2)
    model = build_encoder_classifier(whole, NUM_OUTPUTS, pooling, head=head)
    random = np.random.default_rng(0)
    for weight in model.weights:
        size = 0.2 if len(weight.shape) == 1 else max(weight.shape) ** -0.5
        weight.assign(weight + size * random.standard_normal(weight.shape).astype(np.float32))
    tokenizer = Tokenizer.learn(WORDS, VOCABULARY_SIZE, LENGTH)
    return TextClassifier(model, tokenizer, "single_label", ("a", "b", "c"), num_texts)


def pooler(activation):
    arrays = np.zeros([32, 24], np.float32), np.zeros(24, np.float32)
    logits = np.zeros([24, NUM_OUTPUTS], np.float32), np.zeros(NUM_OUTPUTS, np.float32)
    return Head(arrays, activation, logits, ("a", "b", "c"))


def of(classifier, arrays=ROWS):
    return {name: arrays[name] for name in classifier.input_names}


def assert_equal(classifier, arrays=ROWS):
    """Without `mirror.build`, whose own comparison compiles the student each time."""
    twin = encoder.build(encoder.parts_of(classifier), Placement())
    mirror.copy_to(twin, classifier)
    expected = np.asarray(classifier.model(of(classifier, arrays), training=False))
    assert np.ptp(expected) > 0.5  # else all would be equal
    np.testing.assert_allclose(twin(of(classifier, arrays)), expected, rtol=0, atol=1e-5)
    return twin


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_the_student(size):
    """With its heads, but narrow; layers beyond the second repeat it."""
    entry = SIZE_WORDS[size]
    entry = dataclasses.replace(entry, num_layers=2, hidden_dim=8 * entry.num_heads)
    assert_equal(student(whole=encoder_from_scratch(entry, VOCABULARY_SIZE)))


@pytest.mark.parametrize(
    ("family", "pooling", "head"),
    [
        ("Bert", "mean", None),
        ("DistilBert", "cls", pooler("relu")),
        ("DistilBert", "max", None),
        ("Roberta", "cls", pooler("tanh")),
    ],
)
def test_every_family_pooling_and_head_is_the_student(family, pooling, head):
    assert_equal(student(pooling, head, family))


def test_pairs_are_told_apart():
    classifier = student(num_texts=2)
    twin = assert_equal(classifier, PAIRS)
    assert np.abs(twin(of(classifier, PAIRS)) - twin(of(classifier))).max() > 0.01


def test_an_activation_that_is_not_gelu_is_refused():
    classifier = student()
    for layer in classifier.model.layers:
        if layer.name.startswith("bert_backbone"):
            layer.transformer_layers[
                0
            ]._feedforward_intermediate_dense.activation = keras.activations.relu
    message = (
        "^Expected an encoder that can be trained under .* has the activation relu, not gelu. "
    )
    with pytest.raises(ModelError, match=message):
        encoder.parts_of(classifier)


@pytest.fixture(scope="module")
def classifier():
    return student()


@pytest.fixture(scope="module", params=[False, True], ids=["float_softmax", "integer_softmax"])
def scheme(request):
    return Scheme(integer_softmax=request.param)


@pytest.fixture(scope="module")
def trained(classifier, scheme):
    """A twin with ranges."""
    twin = mirror.build(classifier, scheme)
    twin(of(classifier), training=True)
    return twin


@pytest.fixture(scope="module")
def path(classifier, scheme, trained, tmp_path_factory):
    """Its file."""
    folder = tmp_path_factory.mktemp("encoder")
    classifier.save(folder / "student")
    export.save_variables(folder / "variables.npz", trained)
    export.write_file(
        {
            "model_folder": str(folder / "student"),
            "variables": str(folder / "variables.npz"),
            "scheme": dataclasses.asdict(scheme),
            "recipe": "qat_int8",
            "lengths": [LENGTH],
            "target": str(folder / "qat_int8.tflite"),
        }
    )
    return folder / "qat_int8.tflite"


def test_training_twin_is_near_the_student(classifier, trained):
    logits = classifier.predict_encoded(of(classifier))
    difference = np.abs(trained(of(classifier), training=False).numpy() - logits).max()
    assert 0 < difference < 0.1 * np.ptp(logits)


def test_gradients_reach_every_weight(classifier, trained):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(trained(of(classifier), training=True)[:, 0])
    gradients = tape.gradient(loss, trained.trainable_variables)
    silent = [
        variable.name
        for variable, gradient in zip(trained.trainable_variables, gradients, strict=True)
        if gradient is None or not np.any(gradient)
    ]
    # A key's bias adds the same to all scores of a row.
    keys = [trained.get_layer(f"quant_layer_{index}_key") for index in range(2)]
    assert set(silent) <= {key.trainable_weights[1].name for key in keys}


def test_file_gives_the_numbers_of_the_trained_twin(classifier, trained, path):
    expected = trained(of(classifier), training=False).numpy()
    logits = LiteRTModel(path, classifier.tokenizer).predict_encoded(of(classifier), LENGTH)
    steps = np.abs(logits - expected) / np.ptp(expected) * 255
    # Sums in another order round a tie the other way, which random weights make more of.
    assert np.median(steps) < 0.5
    assert steps.max() < 16


def test_file_is_integer_where_it_counts(scheme, path):
    groups = operators.describe(path).groups
    assert operators.integer_proof(path, "int8").exceptions == ()
    found = {(group.name, group.arithmetic) for group in groups}
    assert ("SOFTMAX", "integer" if scheme.integer_softmax else "float") in found
    assert ("GELU", "float") in found
    assert ("BATCH_MATMUL", "integer") in found


def test_fast_kernels_take_the_file_in_one_piece(scheme, path):
    """Integer softmax and GELU are none of them, which is why both are float by default."""
    assert operators.describe(path).is_whole is not scheme.integer_softmax
