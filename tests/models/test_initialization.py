"""Starts from a teacher: reduced tables against numpy's SVD, copied layers against their source."""

import keras
import numpy as np
import pytest

from tests.toys import tiny_backbone
from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.initialization import reduce_table, start_anew, start_layers, start_table
from tfkd.models.sizes import ModelEntry
from tfkd.models.token_table import token_table
from tfkd.models.without_encoder import build_bilstm, build_cnn

WORDS = 40


def bert(layers=2, width=8, words=WORDS, heads=2, seed=0):
    keras.utils.set_random_seed(seed)
    entry = ModelEntry("x", "bert", "", 1e-3, layers, width, heads)
    return build_encoder_classifier(encoder_from_scratch(entry, words), 3)


def other_encoder(family):
    return build_encoder_classifier(tiny_backbone(WORDS, family, hidden_dim=8), 3)


MODELS = {
    "bert": bert,
    "distilbert": lambda: other_encoder("DistilBert"),
    "roberta": lambda: other_encoder("Roberta"),
    "xlm_roberta": lambda: other_encoder("XLMRoberta"),
    "cnn": lambda: build_cnn(WORDS, 3, width=8, filters=4),
    "bilstm": lambda: build_bilstm(WORDS, 3, width=8, units=4),
}


def table_of(model):
    return np.array(token_table(model).embeddings)


def layer_weights(model, index):
    layers = {layer.name: layer for layer in model._flatten_layers()}
    return layers[f"transformer_layer_{index}"].get_weights()


def assert_equal_weights(received, expected):
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def table():
    generator = np.random.default_rng(2)
    return (generator.normal(size=(WORDS, 12)) @ generator.normal(size=(12, 12)) + 3).astype("f4")


@pytest.mark.parametrize("name", MODELS)
def test_table_is_found(name):
    model = MODELS[name]()
    assert token_table(model).embeddings.shape == (WORDS, 8)
    marked = np.arange(WORDS * 8, dtype=np.float32).reshape(WORDS, 8)
    token_table(model).embeddings.assign(marked)
    assert any(np.array_equal(marked, weights) for weights in model.get_weights())


def test_model_without_a_table():
    vectors = keras.Input((4, 8))
    assert token_table(keras.Model(vectors, keras.layers.Dense(2)(vectors))) is None


@pytest.mark.parametrize("width", [1, 5, 12])
def test_reduced_table_is_the_principal_columns(table, width):
    """As numpy's SVD has them; the sign of a column is free."""
    centred = table.astype(np.float64) - table.mean(axis=0, dtype=np.float64)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :width] * values[:width]
    expected *= 0.05 / expected.std()
    reduced = reduce_table(table, width)
    assert reduced.shape == (WORDS, width)
    assert reduced.dtype == np.float32
    signs = np.sign((reduced * expected).sum(axis=0))
    np.testing.assert_allclose(reduced * signs, expected, atol=1e-6)
    assert reduced.std() == pytest.approx(0.05, abs=1e-6)
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-6)


def test_full_width_keeps_all_distances_between_words(table):
    def distances(rows):
        rows = rows.astype(np.float64)
        return np.linalg.norm(rows[:, None] - rows[None], axis=-1)

    before, after = distances(table), distances(reduce_table(table, 12))
    scale = after[0, 1] / before[0, 1]
    np.testing.assert_allclose(after, scale * before, atol=1e-5 * after.max())


def test_fewer_columns_keep_the_largest_part_of_the_variance(table):
    centred = table.astype(np.float64) - table.mean(axis=0, dtype=np.float64)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    reduced = reduce_table(table, 4).astype(np.float64)
    shares = (reduced**2).sum(axis=0) / (reduced**2).sum()
    np.testing.assert_allclose(shares, variances[:4] / variances[:4].sum(), atol=1e-5)


@pytest.mark.parametrize("student", ["cnn", "bilstm", "distilbert", "roberta"])
def test_table_of_equal_width_is_copied(student):
    teacher, model = bert(), MODELS[student]()
    assert start_table(model, teacher) is True
    np.testing.assert_array_equal(table_of(model), table_of(teacher))


def test_wider_table_is_reduced():
    teacher, student = bert(width=16), MODELS["cnn"]()
    assert start_table(student, teacher) is True
    np.testing.assert_array_equal(table_of(student), reduce_table(table_of(teacher), 8))


@pytest.mark.parametrize("width", [8, 16])
def test_smaller_vocabulary_starts_from_its_rows_of_the_whole_table(width):
    """Each token starts as it would beside all others."""
    rows = np.array([0, 1, 2, 5, 7, 30, WORDS - 1])
    teacher, student, whole = bert(width=width), bert(words=len(rows), seed=1), MODELS["cnn"]()
    assert start_table(whole, teacher) is True
    assert start_table(student, teacher, rows) is True
    np.testing.assert_array_equal(table_of(student), table_of(whole)[rows])


def test_all_rows_are_the_whole_table():
    teacher, one, other = bert(width=16), MODELS["cnn"](), MODELS["cnn"]()
    assert start_table(one, teacher) is True
    assert start_table(other, teacher, np.arange(WORDS)) is True
    np.testing.assert_array_equal(table_of(one), table_of(other))


@pytest.mark.parametrize("num_rows", [WORDS - 1, WORDS + 1])
def test_rows_that_do_not_fit_leave_the_student_alone(num_rows):
    student = MODELS["cnn"]()
    before = table_of(student)
    assert start_table(student, bert(words=WORDS + 1), np.arange(num_rows)) is False
    np.testing.assert_array_equal(table_of(student), before)


@pytest.mark.parametrize("teacher", [{"words": WORDS + 1}, {"width": 4}], ids=["words", "width"])
def test_table_that_does_not_fit_leaves_the_student_alone(teacher):
    student = MODELS["cnn"]()
    before = table_of(student)
    assert start_table(student, bert(**teacher)) is False
    np.testing.assert_array_equal(table_of(student), before)


@pytest.mark.parametrize(
    "num_layers, chosen", [(1, [0]), (2, [0, 5]), (3, [0, 2, 5]), (6, [0, 1, 2, 3, 4, 5])]
)
def test_evenly_spread_layers_are_copied(num_layers, chosen):
    teacher, student = bert(layers=6, seed=1), bert(layers=num_layers, seed=2)
    assert start_layers(student, teacher) == num_layers
    for index, source in enumerate(chosen):
        assert_equal_weights(layer_weights(student, index), layer_weights(teacher, source))


@pytest.mark.parametrize(
    "student",
    [
        {"width": 16, "layers": 2},
        {"heads": 4, "layers": 2},
        {"layers": 4},
    ],
    ids=["other width", "other heads", "deeper"],
)
def test_layers_that_do_not_fit_leave_the_student_alone(student):
    model = bert(seed=2, **student)
    before = model.get_weights()
    assert start_layers(model, bert(layers=3, seed=1)) == 0
    assert_equal_weights(model.get_weights(), before)


@pytest.mark.parametrize("name", ["cnn", "bilstm"])
def test_models_without_layers_of_attention(name):
    assert start_layers(MODELS[name](), bert()) == 0
    assert start_layers(bert(), MODELS[name]()) == 0


def test_student_with_all_of_its_teacher_differs_in_its_head_alone():
    """The same shape: what is left out is positions, segments, norm, pooler and head."""
    teacher, student = bert(seed=1), bert(seed=2)
    assert start_table(student, teacher) is True
    assert start_layers(student, teacher) == 2
    differing = {
        "/".join(mine.path.split("/")[-2:])
        for mine, other in zip(student.weights, teacher.weights, strict=True)
        if not np.array_equal(mine.numpy(), other.numpy())
    }
    assert differing == {
        "position_embedding/embeddings",
        "segment_embedding/embeddings",
        "pooled_dense/kernel",
        "logits/kernel",
    }


def test_what_was_made_before_leaves_no_trace():
    """Neither in the names that Keras counts up, nor in the weights, nor in the dropout."""
    made = []
    for before in (0, 3):
        for _ in range(before):
            build_cnn(WORDS, 3, width=8, filters=6)
        start_anew(5)
        model = build_cnn(WORDS, 3, width=8, filters=6)
        inputs = {name: np.ones((2, 5), "int32") for name in model.input}
        answers = np.asarray(model(inputs, training=True))
        made.append(([layer.name for layer in model.layers], model.get_weights(), answers))
    (names, weights, answers), (others, other_weights, other_answers) = made
    assert names == others
    assert "dropout" in names
    np.testing.assert_array_equal(answers, other_answers)
    for weight, other in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(weight, other)
