"""Each kind of student is converted once, in this process: test_parity starts real children."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.messages import exactly
from tests.toys import classifier_of, spread_out, tiny_backbone
from tfkd import artifacts
from tfkd.compression import conversion, operators
from tfkd.compression.conversion import (
    convert,
    fitting_lengths,
    run_converter,
    signature_lengths,
    write_files,
)
from tfkd.compression.litert import LiteRTModel
from tfkd.errors import ArtifactError, ConfigError, ConversionError
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.without_encoder import build_bilstm, build_cnn
from tfkd.process import Ending

VOCABULARY_SIZE = 2000
TEXTS = [
    "rain",
    "the bank raised its rates again",
    "our striker scored twice before the break and the crowd sang until the lights went out",
    " ".join(["a long report about rivers and bridges"] * 12),
]


def small_bert():
    return build_encoder_classifier(tiny_backbone(VOCABULARY_SIZE, max_sequence_length=64), 3)


MODELS = {
    "bert": small_bert,
    "bilstm": lambda: build_bilstm(VOCABULARY_SIZE, 3, width=16, units=16),
    # Almost all of its bytes are the token table.
    "cnn": lambda: build_cnn(8 * VOCABULARY_SIZE, 3, width=32, filters=16),
}


@pytest.fixture(scope="module", params=list(MODELS))
def converted(request, tmp_path_factory):
    """A saved classifier and its two files."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    model = spread_out(MODELS[request.param](), 0.2)
    classifier = classifier_of(model, TEXTS, 100, 64)
    classifier.save(folder / "student")
    recipes = ("float32", "dynamic_int8")
    files = write_files(folder / "student", recipes, (32, 64), folder / "files")
    return classifier, files


def test_files_are_named_after_their_recipes_with_the_route_beside_them(converted):
    classifier, files = converted
    assert {name: path.name for name, path in files.items()} == {
        "float32": "float32.tflite",
        "dynamic_int8": "dynamic_int8.tflite",
    }
    folder = files["float32"].parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "dynamic_int8.json",
        "dynamic_int8.tflite",
        "float32.json",
        "float32.tflite",
    ]
    route = artifacts.read_json(folder / "float32.json")
    name = classifier.model.name
    assert route["name"] == ("plain" if name == "bilstm" else "lean")
    assert route["reason"].startswith(f"{name} holds no encoder of ") == (route["name"] == "plain")


def test_each_length_has_a_signature_with_the_inputs_of_the_student(converted):
    classifier, files = converted
    model = LiteRTModel(files["dynamic_int8"])
    assert model.lengths == (32, 64)
    assert set(model.input_names) == set(classifier.input_names)
    for length in model.lengths:
        runner = model._interpreter.get_signature_runner(f"tokens_{length}")
        for details in runner.get_input_details().values():
            assert details["shape"].tolist() == [1, length] and details["dtype"] is np.int32
        assert list(runner.get_output_details()) == ["logits"]
        logits = runner.get_output_details()["logits"]
        assert logits["shape"].tolist() == [1, 3] and logits["dtype"] is np.float32


def test_float32_is_the_keras_model(converted):
    classifier, files = converted
    model = LiteRTModel(files["float32"], classifier.tokenizer)
    # Only the order of summation differs.
    np.testing.assert_allclose(model.predict(TEXTS), classifier.predict(TEXTS), rtol=0, atol=1e-5)


def test_int8_is_the_keras_model_within_the_steps_of_its_weights(converted):
    classifier, files = converted
    expected = classifier.predict(TEXTS)
    logits = LiteRTModel(files["dynamic_int8"], classifier.tokenizer).predict(TEXTS)
    # A weight moves by at most half of 1/127 of its range; averaged over a row of them a logit
    # moves by a few percent of the logits' own range.
    np.testing.assert_allclose(logits, expected, rtol=0, atol=0.05 * np.ptp(expected))
    assert np.abs(logits - expected).max() > 1e-5


def test_int8_stores_the_token_table_in_a_quarter_of_the_bytes(converted):
    _, files = converted
    lookups = [
        group
        for group in operators.describe(files["dynamic_int8"]).groups
        if group.name == "GATHER" and group.weights == "int8"
    ]
    assert lookups
    size_bytes = files["dynamic_int8"].stat().st_size
    ratio = size_bytes / files["float32"].stat().st_size
    # The graph itself weighs about 40 kB in each file, which is most of such small models.
    assert ratio < (0.35 if size_bytes > 300_000 else 0.8)


def test_signatures_share_their_weights(converted):
    classifier, files = converted
    num_bytes = 4 * classifier.num_parameters
    assert num_bytes < files["float32"].stat().st_size < num_bytes + 200_000


def test_default_lengths_are_those_the_model_can_read():
    assert signature_lengths(16) == (16,)
    assert signature_lengths(64) == (32, 64)
    assert signature_lengths(96) == (32, 64, 96)
    assert signature_lengths(512) == (32, 64, 128, 512)


def test_given_lengths_are_sorted_and_made_unique():
    assert signature_lengths(64, (48, 16, 48)) == (16, 48)


@pytest.mark.parametrize("length", [3, 65])
def test_a_length_the_model_cannot_read_is_refused(length):
    with pytest.raises(
        ConfigError,
        match=rf"^Expected `lengths` in \[4, 64\], the model's own sequence length\. Received: "
        rf"{length}\. Leave it out, or train with a longer --sequence-length\.$",
    ):
        signature_lengths(64, (32, length))


@pytest.fixture
def empty_model_folder(tmp_path):
    description = {
        "task": "single_label",
        "label_names": ["a", "b"],
        "num_texts": 1,
        "sequence_length": 64,
        "model_sha256": "",
    }
    (tmp_path / "classifier.json").write_text(json.dumps(description))
    return tmp_path


def test_an_unknown_recipe_fails_before_the_child_starts(empty_model_folder):
    with pytest.raises(ConfigError, match=r"Did you mean `float32`\?$"):
        convert(empty_model_folder, ["float23"], (), empty_model_folder)
    message = "^Expected recipes that need no training. Received: qat_int8. Train the student for"
    with pytest.raises(ConfigError, match=message):
        convert(empty_model_folder, ["qat_int8"], (), empty_model_folder)


def test_a_folder_without_a_model_fails_before_the_child_starts(empty_model_folder):
    with pytest.raises(ArtifactError, match=r"^Expected model\.keras in .+ It does not exist\."):
        convert(empty_model_folder, ["float32"], (), empty_model_folder)


def test_a_folder_that_is_no_model_folder_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"classifier\.json\. It does not exist\.$"):
        convert(tmp_path, ["float32"], (), tmp_path)


def test_a_conversion_that_takes_too_long_is_stopped(empty_model_folder):
    (empty_model_folder / "model.keras").write_bytes(b"never read")
    with pytest.raises(
        ConversionError,
        match=r"^Expected LiteRT files of .+ within 0\.2 s\. The converter was stopped\. "
        r"Convert fewer lengths, or on a faster machine\.$",
    ):
        convert(empty_model_folder, ["float32"], (), empty_model_folder / "files", 0.2)
    assert not (empty_model_folder / "files").exists()


@pytest.fixture
def run_code(tmp_path, monkeypatch):
    """Runs lines of Python as a converter."""
    monkeypatch.syspath_prepend(tmp_path)

    def run(code):
        head = "import os, signal, sys\nfrom tfkd.process import announce_stage\n"
        (tmp_path / "converter_of_test.py").write_text(head + code, encoding="utf-8")
        run_converter("converter_of_test", {}, "a file", 60.0)

    return run


def test_a_crash_of_the_child_is_an_error_that_names_signal_and_stage(run_code):
    with pytest.raises(
        ConversionError,
        match=r"^Expected a file\. The converter crashed with SIGSEGV while writing x\.tflite: "
        r"it said nothing\. Leave that recipe or layer out\.$",
    ):
        run_code("announce_stage('writing x.tflite'); os.kill(os.getpid(), signal.SIGSEGV)")


def test_an_exception_of_the_child_is_told_in_its_last_line(run_code):
    with pytest.raises(
        ConversionError,
        match=r"^Expected a file\. The converter failed: ValueError: no such operator\. Leave",
    ):
        run_code("raise ValueError('no such operator')")


def test_the_stage_is_told_when_the_time_is_over(monkeypatch):
    """tests/test_process.py has a real child whose time runs out."""
    late = Ending(-9, "", "loading the model", "", is_late=True)
    monkeypatch.setattr(conversion, "run_child", lambda *arguments: late)
    message = (
        "Expected a file within 2 s. The converter was stopped while loading the model. "
        "Convert fewer lengths, or on a faster machine."
    )
    with pytest.raises(ConversionError, match=exactly(message)):
        run_converter("converter_of_test", {}, "a file", 2.0)


def test_output_of_a_child_that_succeeds_is_not_shown(run_code, capfd):
    run_code("print('chatter'); print('chatter', file=sys.stderr)")
    assert capfd.readouterr() == ("", "")


def test_the_reason_is_the_sentence_behind_the_locations(run_code):
    error = 'lite.ConverterError: <unknown>:0: error: loc(fused["Add:", "a/b"]): rank 3.\n'
    with pytest.raises(
        ConversionError, match=r"The converter failed: lite\.ConverterError: rank 3\. Leave that"
    ):
        run_code(f"sys.stderr.write({error!r}); sys.exit(1)")


def test_the_module_starts_as_a_program_without_tensorflow():
    code = (
        "import sys, tfkd.compression.conversion, tfkd.compression.recipes;"
        "sys.exit(bool({'tensorflow', 'keras', 'ai_edge_litert'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_keras_add_still_takes_a_column_for_a_bias():
    """Why masks are chosen with `where`: fails when Keras is fixed (3.15.1 gives [[1, 2], ...])."""
    column = keras.ops.convert_to_tensor([[[1.0], [2.0]]])
    total = keras.ops.add(keras.ops.zeros((1, 2, 2)), column)
    assert np.array_equal(total, [[[1.0, 2.0], [1.0, 2.0]]])


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        (range(1, 101), 4, (32, 56, 80, 100)),
        (range(1, 101), 1, (100,)),
        ([5] * 9 + [64], 2, (8, 64)),
        ([7], 4, (7,)),
        ([2, 3], 2, (4,)),
    ],
)
def test_fitting_lengths_are_quantiles(lengths, most, expected):
    found = fitting_lengths(np.array(lengths), most)
    assert found == expected
    assert all(type(length) is int for length in found)
