"""The key-value bottleneck: by hand, frozen where it must be, and the same in a LiteRT file."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toys import tiny_backbone
from tfkd.compression import export
from tfkd.compression.graph import LeanGraph, why_not_lean
from tfkd.compression.operators import describe
from tfkd.compression.qat import mirror
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.training import Plan, compile_distiller
from tfkd.errors import ModelError
from tfkd.models.bottleneck import (
    Bottleneck,
    NearestKeys,
    ValueTable,
    build_bottleneck_classifier,
    carry_keys,
    find_bottleneck,
    frozen_half,
    set_keys,
    trained_half,
)
from tfkd.models.classifier import TextClassifier
from tfkd.models.keys import encoder_of
from tfkd.models.tokenizers import Tokenizer

VOCABULARY_SIZE, LENGTH, WIDTH, NUM_OUTPUTS = 60, 12, 24, 3
WORDS = "oil prices fell again bridge river rain night".split()
# Two codebooks of three keys over vectors of four numbers.
KEYS = np.array([[[0, 0], [2, 0], [0, 2]], [[1, 1], [-1, -1], [5, 5]]], np.float32)
VECTORS = np.array(
    [[[1.5, 0.2, -3, -3], [0.1, 0.4, 4, 4]], [[-1, 3, 0.5, 0], [1, 0, 9, 9]]], np.float32
)
NEAREST = [[[1, 1], [0, 2]], [[2, 0], [0, 2]]]  # of (1, 0), keys 0 and 1 are equally near


def by_hand(decoder, value_width):
    keys, table = NearestKeys(2, 3), ValueTable(3, value_width, decoder)
    keys.build(VECTORS.shape)
    keys.keys.assign(KEYS)
    table.build((None, 2))
    table.values.assign(np.arange(6 * value_width).reshape(6, value_width))
    return Bottleneck(keys, table)


def read(bottleneck, vectors=VECTORS):
    return bottleneck.values(bottleneck.keys(vectors))


def encoder(family="DistilBert"):
    keras.utils.set_random_seed(1)
    sizes = {"num_layers": 2, "hidden_dim": WIDTH, "dropout": 0.5}
    backbone = tiny_backbone(VOCABULARY_SIZE, family, **sizes)
    random = np.random.default_rng(1)
    for weight in backbone.weights:
        weight.assign(weight + 0.2 * random.standard_normal(weight.shape).astype(np.float32))
    return backbone


def student(decoder, family="DistilBert", num_keys=7):
    model = build_bottleneck_classifier(encoder(family), NUM_OUTPUTS, 4, num_keys, decoder)
    random = np.random.default_rng(2)
    keys, table = find_bottleneck(model)
    keys.keys.assign(random.standard_normal(keys.keys.shape))
    table.values.assign(random.standard_normal(table.values.shape))
    return model


def rows():
    lengths = np.array([LENGTH, 5, 2, 9])
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
    ids = np.random.default_rng(3).integers(0, VOCABULARY_SIZE, mask.shape, dtype=np.int32)
    return {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(mask)}


def inputs(model):
    return {name: array for name, array in rows().items() if name in model.input}


def logits(model, arrays=None, training=False):
    return np.asarray(model(arrays or inputs(model), training=training))


DECODERS = ["mlp", "values"]


def test_nearest_key_of_each_slice_and_the_first_of_equal_ones():
    found = by_hand("mlp", 2).keys(VECTORS)
    np.testing.assert_array_equal(found, NEAREST)
    distances = np.linalg.norm(VECTORS.reshape(2, 2, 2, 1, 2) - KEYS, axis=-1)
    np.testing.assert_array_equal(found, distances.argmin(-1))


def test_decoder_mlp_puts_the_values_side_by_side():
    """Codebook 0 holds the values (0 1) (2 3) (4 5), codebook 1 (6 7) (8 9) (10 11)."""
    np.testing.assert_array_equal(
        read(by_hand("mlp", 2)),
        [[[2, 3, 8, 9], [0, 1, 10, 11]], [[4, 5, 6, 7], [0, 1, 10, 11]]],
    )


def test_decoder_values_averages_over_the_codebooks():
    """Codebook 0 holds the values (0 1 2) (3 4 5) (6 7 8), codebook 1 (9 10 11) and so on."""
    np.testing.assert_array_equal(
        read(by_hand("values", 3)),
        [[[7.5, 8.5, 9.5], [7.5, 8.5, 9.5]], [[7.5, 8.5, 9.5], [7.5, 8.5, 9.5]]],
    )


def test_logits_of_decoder_values_are_the_mean_over_codebooks_and_real_tokens():
    model = student("values")
    found = np.asarray(frozen_half(model)(inputs(model), training=False))
    table = np.asarray(find_bottleneck(model).values.values).reshape(4, 7, NUM_OUTPUTS)
    mask = rows()["padding_mask"]
    for row, answer in enumerate(logits(model)):
        read = [table[c, found[row, t, c]] for t in range(mask[row].sum()) for c in range(4)]
        np.testing.assert_allclose(answer, np.mean(read, axis=0), atol=1e-6)


def test_values_get_gradients_only_where_they_were_read_and_keys_none():
    bottleneck = by_hand("mlp", 2)
    vectors = tf.constant(VECTORS)
    with tf.GradientTape() as tape:
        tape.watch([vectors, bottleneck.keys.keys.value])
        loss = tf.reduce_sum(read(bottleneck, vectors))
    sources = [bottleneck.values.values.value, bottleneck.keys.keys.value, vectors]
    values, keys, below = tape.gradient(loss, sources)
    times = np.bincount((np.array(NEAREST) + [0, 3]).ravel(), minlength=6)
    np.testing.assert_array_equal(tf.convert_to_tensor(values)[:, 0], times)
    assert keys is None
    assert below is None
    trained = [variable.name for layer in bottleneck for variable in layer.trainable_variables]
    assert trained == ["values"]


@pytest.mark.parametrize("decoder", DECODERS)
def test_training_moves_values_and_head_alone(decoder):
    model = student(decoder)
    names = {"values": ["values"], "mlp": ["values", "kernel", "bias"]}[decoder]
    assert [variable.name for variable in model.trainable_variables] == names
    before = {variable.path: np.array(variable) for variable in model.variables}
    distiller = Distiller(student=model, temperature=2.0, student_loss_weight=0.5)
    distiller.compile(optimizer=keras.optimizers.SGD(1.0), jit_compile=False)
    targets = {
        "label": np.array([0, 1, 2, 1]),
        "teacher_logits": np.random.default_rng(4).normal(size=(4, 3)).astype(np.float32),
    }
    losses = [distiller.train_on_batch(inputs(model), targets, return_dict=True)["loss"]]
    for _ in range(4):
        losses.append(distiller.train_on_batch(inputs(model), targets, return_dict=True)["loss"])
    assert losses[-1] < losses[0]
    moved = {
        variable.name
        for variable in model.variables
        if not np.array_equal(before[variable.path], variable)
    }
    assert moved - {"seed_generator_state"} == set(names)


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_encoder_is_a_frozen_copy_without_dropout(family):
    backbone = encoder(family)
    model = build_bottleneck_classifier(backbone, NUM_OUTPUTS, 4, 7, "values")
    find_bottleneck(model).values.values.assign(np.random.default_rng(0).normal(size=(28, 3)))
    np.testing.assert_array_equal(logits(model, training=True), logits(model))
    assert np.ptp(logits(model)) > 0.1
    assert backbone.trainable
    assert backbone.dropout == 0.5
    assert len(model.trainable_variables) == 1


def test_padding_says_nothing():
    model = student("mlp")
    arrays = inputs(model)
    other = {**arrays, "token_ids": np.where(arrays["padding_mask"] == 1, arrays["token_ids"], 9)}
    np.testing.assert_allclose(logits(model, other), logits(model), atol=1e-5)


@pytest.mark.parametrize(
    ("decoder", "expected"),
    [
        ("mlp", [[-0.99327, -1.60265, 0.07986]]),
        ("values", [[-0.20138, -0.31790, 0.47900]]),
    ],
)
def test_golden_logits(decoder, expected):
    """Held against changes of the arithmetic: seeded weights, the first row."""
    np.testing.assert_allclose(logits(student(decoder))[:1], expected, atol=2e-4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_saved_model_gives_equal_logits(decoder, tmp_path):
    model = student(decoder)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(logits(loaded), logits(model))
    assert not find_bottleneck(loaded).keys.keys.trainable
    assert [v.path for v in loaded.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]


def test_sizes_by_default():
    """12 numbers a slice; a value is as wide as its slice, or as the logits."""
    backbone = encoder()
    keys, table = find_bottleneck(build_bottleneck_classifier(backbone, NUM_OUTPUTS, num_keys=5))
    assert (keys.keys.shape, table.values.shape) == ((2, 5, 12), (10, 12))
    model = build_bottleneck_classifier(backbone, NUM_OUTPUTS, num_keys=5, decoder="values")
    assert find_bottleneck(model).values.values.shape == (10, NUM_OUTPUTS)
    np.testing.assert_array_equal(logits(model), 0)  # nothing is read that was not taught


def test_sizes_that_do_not_fit():
    message = "^Expected a number of codebooks that divides 24, .* Received: 5. Give --bottleneck-"
    with pytest.raises(ModelError, match=message):
        build_bottleneck_classifier(encoder(), NUM_OUTPUTS, 5)
    with pytest.raises(ValueError, match="num_codebooks=3, width=4$"):
        NearestKeys(3, 2).build((None, 4))
    with pytest.raises(ValueError, match="^Expected `decoder` in .* Received: decoder='mean'$"):
        ValueTable(2, 2, "mean")


def test_keys_of_a_teacher_are_carried_over():
    teacher, model = student("mlp"), student("values")
    keys = np.random.default_rng(9).normal(size=(4, 7, 6)).astype(np.float32)
    find_bottleneck(teacher).keys.keys.assign(keys)
    values = np.array(find_bottleneck(model).values.values)
    carry_keys(model, teacher)
    np.testing.assert_array_equal(find_bottleneck(model).keys.keys, keys)
    np.testing.assert_array_equal(find_bottleneck(model).values.values, values)
    message = r"^Expected a teacher with a bottleneck of keys \(4, 7, 6\) .* Received: keys \(4, 8"
    with pytest.raises(ModelError, match=message):
        carry_keys(model, student("mlp", num_keys=8))
    with pytest.raises(
        ModelError, match="Received: one without. Give --bottleneck-key-source data"
    ):
        carry_keys(model, keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)]))


def test_values_start_as_their_keys():
    """Where every vector of the data is a key, the untrained student is a mean and its head."""
    model = student("mlp", num_keys=4 * LENGTH)
    keys, table = find_bottleneck(model)
    vectors = np.asarray(encoder_of(model)[0](inputs(model), training=False))
    set_keys(model, vectors.reshape(4 * LENGTH, 4, 6).transpose(1, 0, 2))
    np.testing.assert_array_equal(np.reshape(table.values, keys.keys.shape), keys.keys)
    mask = rows()["padding_mask"][..., None]
    mean = (vectors * mask).sum(1) / mask.sum(1)
    np.testing.assert_allclose(logits(model), model.get_layer("logits")(mean), atol=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_bfloat16_leaves_keys_and_logits_in_float32(decoder):
    model = student(decoder)
    expected = logits(model)
    distiller = Distiller(student=model)
    with distiller.arithmetic("bfloat16"):
        assert {layer.compute_dtype for layer in find_bottleneck(model)} == {"float32"}
        assert logits(model).dtype == np.float32
    np.testing.assert_array_equal(logits(model), expected)


@pytest.mark.parametrize("decoder", DECODERS)
def test_lean_graph_is_the_keras_model(decoder):
    model = student(decoder, "Bert")
    assert why_not_lean(model) is None
    endpoint = LeanGraph(model).endpoint(LENGTH)
    arrays = inputs(model)
    found = [
        endpoint({k: v[row : row + 1] for k, v in arrays.items()})["logits"] for row in range(4)
    ]
    np.testing.assert_allclose(np.concatenate(found), logits(model), atol=1e-5)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    tokenizer = Tokenizer.learn([" ".join(WORDS)] * 3, VOCABULARY_SIZE, 12)
    classifier = TextClassifier(student("values"), tokenizer, "single_label", ("a", "b", "c"))
    classifier.save(tmp_path_factory.mktemp("model") / "student")
    return classifier


@pytest.mark.usefixtures("converted_here")
def test_litert_files_pass_their_gate(saved):
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 1 + number % 9)) for number in range(60)]
    files = export.export(
        saved._folder, export.HeldOut(saved, texts), ["float32", "dynamic_int8"], (12,)
    )
    assert files["float32"].report.agreement == 1.0
    groups = {group.name: group.count for group in describe(files["float32"].path).groups}
    assert groups["ARG_MIN"] == 4
    assert groups["GATHER"] == 3  # tokens, positions, values


def test_training_under_quantization_is_refused_in_one_line(saved):
    message = r"^Expected a student of BERT's family, .* Received: key_value_bottleneck. Quantize"
    with pytest.raises(ModelError, match=message):
        mirror.build(saved)


@pytest.mark.parametrize("decoder", DECODERS)
def test_training_the_second_half_trains_the_student_alike(decoder, tmp_path):
    """Dropout included: the halves share its layer, and so its random state."""
    whole, cut = student(decoder), student(decoder)
    frozen, trained = frozen_half(cut), trained_half(cut)
    arrays = inputs(whole)
    numbers = {
        "key_numbers": np.asarray(frozen(inputs(cut), training=False)),
        "padding_mask": arrays["padding_mask"],
    }
    targets = {
        "label": np.array([0, 1, 2, 1]),
        "teacher_logits": np.random.default_rng(4).normal(size=(4, 3)).astype(np.float32),
    }
    before = logits(cut)
    for model, taken in ((whole, arrays), (trained, numbers)):
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign([7, 0])
        distiller = Distiller(student=model, temperature=2.0, student_loss_weight=0.5)
        compile_distiller(distiller, Plan(epochs=1, batch_size=4, learning_rate=0.05), 6)
        for _ in range(6):
            distiller.train_on_batch(taken, targets)
    np.testing.assert_allclose(logits(cut), logits(whole), atol=1e-5)
    assert np.abs(logits(cut) - before).max() > 0.05
    np.testing.assert_array_equal(logits(trained, numbers), logits(cut))
    with pytest.raises(ValueError, match="^Expected a model with a bottleneck. Received: one w"):
        trained_half(keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)]))
    # What was cut is saved as if it never had been.
    cut.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(logits(loaded), logits(cut))
    np.testing.assert_array_equal(logits(trained_half(loaded), numbers), logits(cut))


def test_values_that_no_text_reads_stay_as_they_are():
    """No weight decay on a bottleneck's table: it reaches every row, read or not."""
    keras.utils.set_random_seed(0)
    numbers = keras.Input((None, 2), dtype="int32", name="key_numbers")
    table = ValueTable(4, 3, name="values")
    pooled = keras.layers.GlobalAveragePooling1D()(table(numbers))
    model = keras.Model({"key_numbers": numbers}, keras.layers.Dense(2)(pooled))
    before = np.array(table.values)
    distiller = Distiller(student=model)
    plan = Plan(epochs=1, batch_size=2, learning_rate=0.1, weight_decay=0.5, warmup_fraction=0.0)
    compile_distiller(distiller, plan, 3)
    given = {"key_numbers": np.array([[[0, 1]], [[0, 3]]], np.int32)}
    for _ in range(3):
        distiller.train_on_batch(given, np.array([0, 1]))
    is_read = np.isin(np.arange(8), [0, 4 + 1, 4 + 3])
    np.testing.assert_array_equal(np.array(table.values)[~is_read], before[~is_read])
    assert (np.abs(np.array(table.values) - before)[is_read].max(axis=1) > 1e-3).all()
