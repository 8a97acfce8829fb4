"""The students that are no transformers: sizes by formula, blind to padding, saved, trainable."""

import keras
import numpy as np
import pytest

from tfkd.models.without_encoder import build_bilstm, build_cnn

VOCABULARY_SIZE, NUM_OUTPUTS, WIDTH, UNITS = 30, 3, 6, 5
STUDENTS = {
    "cnn": lambda: build_cnn(VOCABULARY_SIZE, NUM_OUTPUTS, width=WIDTH, filters=UNITS),
    "bilstm": lambda: build_bilstm(VOCABULARY_SIZE, NUM_OUTPUTS, width=WIDTH, units=UNITS),
}


@pytest.fixture(scope="module", params=STUDENTS)
def student(request):
    """Biases are zero at the start, which would hide what reads them where it should not."""
    keras.utils.set_random_seed(4)
    model = STUDENTS[request.param]()
    generator = np.random.default_rng(4)
    model.set_weights([generator.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def inputs(lengths, width):
    generator = np.random.default_rng(8)
    rows = generator.integers(1, VOCABULARY_SIZE, (len(lengths), max(lengths)))
    token_ids = np.zeros((len(lengths), width), np.int32)
    for row, length in enumerate(lengths):
        token_ids[row, :length] = rows[row, :length]
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int32)
    return {"token_ids": token_ids, "padding_mask": mask}


def logits(model, arrays):
    return np.asarray(model(arrays, training=False))


def test_one_row_of_logits_a_text(student):
    assert list(student.input) == ["token_ids", "padding_mask"]
    answer = logits(student, inputs([1, 4, 9], 16))
    assert answer.shape == (3, NUM_OUTPUTS)
    assert answer.dtype == np.float32


def test_logits_do_not_depend_on_padding(student):
    lengths = [1, 2, 5, 8]
    expected = logits(student, inputs(lengths, 8))
    longer = inputs(lengths, 24)
    np.testing.assert_allclose(logits(student, longer), expected, atol=1e-5)
    longer["token_ids"] = np.where(longer["padding_mask"] == 1, longer["token_ids"], 7)
    np.testing.assert_allclose(logits(student, longer), expected, atol=1e-5)


def test_text_alone_has_the_logits_it_has_in_a_batch(student):
    batch = inputs([3, 7, 5], 8)
    alone = [logits(student, {k: v[i : i + 1] for k, v in batch.items()}) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(alone), logits(student, batch), atol=1e-5)


def test_order_of_words_counts(student):
    arrays = inputs([6], 8)
    turned = {**arrays, "token_ids": arrays["token_ids"].copy()}
    turned["token_ids"][0, :6] = arrays["token_ids"][0, :6][::-1]
    assert abs(logits(student, turned) - logits(student, arrays)).max() > 1e-3


def test_cnn_parameter_count():
    table = VOCABULARY_SIZE * WIDTH
    convolution = 3 * WIDTH * UNITS + UNITS
    head = UNITS * NUM_OUTPUTS + NUM_OUTPUTS
    assert STUDENTS["cnn"]().count_params() == table + convolution + head
    # The size a user gets: 8,000 words of 128, 512 detectors of three tokens, 4 classes.
    assert build_cnn(8000, 4).count_params() == 8000 * 128 + (3 * 128 * 512 + 512) + 512 * 4 + 4


def test_bilstm_parameter_count():
    table = VOCABULARY_SIZE * WIDTH
    direction = 4 * ((WIDTH + UNITS) * UNITS + UNITS)
    head = 2 * UNITS * NUM_OUTPUTS + NUM_OUTPUTS
    assert STUDENTS["bilstm"]().count_params() == table + 2 * direction + head
    assert build_bilstm(8000, 4).count_params() == (
        8000 * 128 + 8 * (256 * 128 + 128) + 256 * 4 + 4
    )


def test_saved_model_gives_equal_logits(student, tmp_path):
    arrays = inputs([2, 6], 8)
    student.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(logits(loaded, arrays), logits(student, arrays))


@pytest.mark.parametrize("name", STUDENTS)
def test_one_step_moves_every_weight_downhill(name):
    keras.utils.set_random_seed(1)
    model = STUDENTS[name]()
    arrays, labels = inputs([3, 8, 5, 6], 8), np.array([0, 2, 1, 0])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    before = [w.copy() for w in model.get_weights()]
    first = float(loss(labels, logits(model, arrays)))
    # Dropout would make the loss of one step a matter of luck.
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss, jit_compile=False)
    model.train_on_batch(arrays, labels)
    assert float(loss(labels, logits(model, arrays))) < first
    for weights, old in zip(model.get_weights(), before, strict=True):
        assert np.abs(weights - old).max() > 0
