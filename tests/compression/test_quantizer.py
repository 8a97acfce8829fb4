"""One small BERT by every recipe: what the files hold is read from the files themselves."""

import sys
import warnings

import keras
import numpy as np
import pytest

from tests.compression.constants import constants
from tests.toys import classifier_of, spread_out, texts_of_words, tiny_backbone
from tfkd.compression import flatbuffer, quantizer, recipes
from tfkd.compression.calibration import Calibration
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.recipes import find
from tfkd.compression.saved_model import write_saved_model
from tfkd.errors import ConversionError
from tfkd.models.encoder import build_encoder_classifier

LENGTHS = (8, 16)
NUM_TOKENS, WIDTH = 2000, 64
RECIPES = {name: one for name, one in recipes.RECIPES.items() if not one.trained}


def build_classifier(width):
    keras.utils.set_random_seed(0)
    encoder = tiny_backbone(NUM_TOKENS, hidden_dim=width)
    model = spread_out(build_encoder_classifier(encoder, num_outputs=3), 0.1)
    return classifier_of(model, length=16)


def random_rows(classifier, num_rows):
    arrays = classifier.encode(texts_of_words(num_rows, 12))
    ids = np.random.default_rng(1).integers(5, NUM_TOKENS, arrays["token_ids"].shape, np.int32)
    return {**arrays, "token_ids": np.where(arrays["padding_mask"] == 1, ids, 0)}


@pytest.fixture(scope="module")
def classifier():
    return build_classifier(WIDTH)


@pytest.fixture(scope="module")
def folders(classifier, tmp_path_factory):
    """A SavedModel for each mask."""
    made = {}
    for bias in (quantizer.MASK_BIAS, quantizer.STATIC_MASK_BIAS):
        made[bias] = str(tmp_path_factory.mktemp("saved"))
        write_saved_model(classifier, LENGTHS, made[bias], bias)
    return made


@pytest.fixture(scope="module")
def files(classifier, folders, tmp_path_factory):
    """A file for each recipe."""
    folder = tmp_path_factory.mktemp("files")
    # The rows of the comparison: what lies outside the ranges is clipped, which is no rounding.
    calibration = Calibration(random_rows(classifier, 64), seed=0)
    made = {}
    with warnings.catch_warnings():
        # ai-edge-quantizer keeps all activations in memory, of which LiteRT warns.
        message = "Warning: Enabling `experimental_preserve_all_tensors`"
        warnings.filterwarnings("ignore", message, UserWarning)
        for name, recipe in RECIPES.items():
            saved = folders[quantizer.mask_bias(recipe)]
            made[name] = folder / f"{name}.tflite"
            made[name].write_bytes(quantizer.litert_bytes(saved, recipe, LENGTHS, calibration))
    return made


def read(path):
    return flatbuffer.read(path.read_bytes())


def table(path):
    """The token table and its bytes."""
    found = [
        (tensor, size_bytes)
        for tensor, size_bytes in constants(path.read_bytes())
        if tensor.shape == (NUM_TOKENS, WIDTH)
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("name", "stored", "bits"),
    [
        ("float32", "float32", 32),
        ("float16", "float16", 16),
        ("dynamic_int8", "int8", 8),
        ("static_int8", "int8", 8),
        ("int16x8", "int8", 8),
        ("int4_tables", "int4", 4),
        ("int4", "int4", 4),
    ],
)
def test_the_token_table_is_stored_once_in_the_bits_of_its_recipe(files, name, stored, bits):
    tensor, size_bytes = table(files[name])
    assert (tensor.type, RECIPES[name].tables) == (stored, stored)
    assert size_bytes == NUM_TOKENS * WIDTH * bits // 8


@pytest.mark.parametrize("name", ["int4_tables", "int4"])
def test_int4_tables_have_a_scale_for_each_block(files, name):
    assert table(files[name])[0].block_size == quantizer.BLOCK_SIZE
    names = [found.name for found in flatbuffer.operators(read(files[name]), "tokens_16")]
    assert "EMBEDDING_LOOKUP" in names and "GATHER" not in names


@pytest.mark.parametrize("name", RECIPES)
def test_kernels_are_stored_in_the_type_of_their_recipe(files, name):
    kernels = {
        tensor.type
        for tensor, _ in constants(files[name].read_bytes())
        if tensor.shape in {(WIDTH, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, WIDTH)}
    }
    assert kernels == {RECIPES[name].weights}


@pytest.mark.parametrize(
    ("name", "flowing"), [("static_int8", "int8"), ("int16x8", "int16"), ("int4", "float32")]
)
def test_activations_have_the_type_of_their_recipe(files, name, flowing):
    products = [
        found
        for found in flatbuffer.operators(read(files[name]), "tokens_8")
        if found.name == "FULLY_CONNECTED"
    ]
    assert RECIPES[name].activations == flowing
    assert {found.inputs[0].type for found in products} == {flowing}


@pytest.mark.parametrize("name", RECIPES)
def test_every_file_takes_ids_and_gives_float_logits_near_the_student(files, classifier, name):
    rows = random_rows(classifier, 64)
    expected = classifier.predict_encoded(rows)
    model = LiteRTModel(files[name])
    assert model.lengths == LENGTHS
    logits = model.predict_encoded(rows)
    assert logits.dtype == np.float32
    # Error of a sum of many rounded terms, in parts of the logits' range: 2^-11 of a weight for
    # float16, 1/254 for int8, 1/14 for int4.
    share = {"float32": 1e-6, "float16": 2e-3, "int4_tables": 0.2, "int4": 0.3}.get(name, 0.1)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=share * np.ptp(expected))
    assert (logits.argmax(1) == expected.argmax(1)).mean() > 0.8


def test_files_of_fewer_bits_are_smaller(files):
    sizes = {name: files[name].stat().st_size for name in RECIPES}
    assert sizes["int4"] < sizes["int4_tables"] < sizes["dynamic_int8"] < sizes["float16"]
    assert sizes["float16"] < sizes["float32"]


def test_other_programs_find_every_constant_inside_the_tree(files):
    from ai_edge_litert import schema_py_generated as schema

    for name in ("int4_tables", "int4", "int16x8"):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(files[name].read_bytes()))
        assert all(not buffer.offset for buffer in model.buffers)


def test_widths_that_are_no_whole_blocks_get_a_scale_for_each_row(tmp_path):
    narrow = build_classifier(20)
    write_saved_model(narrow, (8,), str(tmp_path))
    content = quantizer.litert_bytes(str(tmp_path), find("int4_tables"), (8,))
    tables = [tensor for tensor, _ in constants(content) if tensor.shape == (NUM_TOKENS, 20)]
    assert [(tensor.type, tensor.block_size) for tensor in tables] == [("int4", 0)]


def test_static_recipes_read_a_model_with_a_small_mask():
    assert quantizer.mask_bias(find("static_int8")) == -20.0
    assert quantizer.mask_bias(find("int16x8")) == -20.0
    assert quantizer.mask_bias(find("int4")) == -100.0


@pytest.mark.parametrize("name", ["static_int8", "int16x8"])
def test_a_recipe_without_its_calibration_data_is_refused(name):
    with pytest.raises(ValueError, match=rf"^Expected `calibration` for recipe {name}, whose act"):
        quantizer.litert_bytes("nowhere", find(name), LENGTHS)


def test_a_missing_extra_is_told_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(
        ConversionError,
        match=r"^Expected ai-edge-quantizer for recipe int4_tables\. It is not installed\. Install "
        r"it with `pip install 'tfkd\[edge\]'`\.$",
    ):
        quantizer.litert_bytes("nowhere", find("int4_tables"), LENGTHS)
    quantizer.check_ready(find("dynamic_int8"), None)
