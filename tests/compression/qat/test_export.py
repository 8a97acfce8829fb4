"""A small student that has learned its ranges, made into files that prove themselves."""

import dataclasses
import shutil
from typing import Any

import keras
import numpy as np
import pytest

from tests.toys import classifier_of, spread_out, texts_of_words, tiny_backbone
from tfkd import artifacts
from tfkd.compression import conversion, flatbuffer, operators
from tfkd.compression.export import is_kept
from tfkd.compression.litert import LiteRTModel
from tfkd.compression.qat import export, mirror
from tfkd.compression.qat.quantizers import BlockRange
from tfkd.compression.qat.scheme import Scheme
from tfkd.errors import ConfigError, ConversionError
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier

LENGTHS = (8, 16)
NUM_TOKENS, WIDTH = 60, 32
TEXTS = texts_of_words(64, 14)


@dataclasses.dataclass(frozen=True)
class Aware:
    """A twin beside its float student, as training leaves them."""

    classifier: TextClassifier
    scheme: Scheme
    student: Any

    def encode(self, texts, length=None):
        return self.classifier.encode(texts, length)

    def predict_encoded(self, arrays):
        return self.student(arrays, training=False).numpy()


def trained(classifier, scheme):
    """A twin with ranges of real rows and with weights of its own."""
    twin = mirror.build(classifier, scheme)
    random = np.random.default_rng(1)
    for weight in twin.trainable_weights:
        weight.assign_add(0.1 * random.standard_normal(weight.shape).astype("float32"))
    twin(classifier.encode(TEXTS), training=True)
    return Aware(classifier, scheme, twin)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    keras.utils.set_random_seed(0)
    encoder = tiny_backbone(NUM_TOKENS, hidden_dim=WIDTH)
    model = spread_out(build_encoder_classifier(encoder, num_outputs=3), 0.4)
    folder = tmp_path_factory.mktemp("run") / "student"
    classifier_of(model, length=LENGTHS[-1]).save(folder)
    return folder


@pytest.fixture(scope="module")
def aware(folder):
    return trained(TextClassifier.load(folder), Scheme())


@pytest.fixture(scope="module")
def kept(folder, aware, tmp_path_factory):
    """The whole way, in a child process."""
    output = tmp_path_factory.mktemp("files")
    return export.export_aware(folder, aware, "qat_int8", TEXTS, LENGTHS, output)


def test_a_file_that_passes_lies_alone_beside_its_record(kept, folder):
    output = kept.path.parent
    assert sorted(path.name for path in output.iterdir()) == ["qat_int8.json", "qat_int8.tflite"]
    record = artifacts.read_json(output / "qat_int8.json")
    assert record["sha256"] == artifacts.file_sha256(kept.path)
    assert record["model_sha256"] == artifacts.file_sha256(folder / "model.keras")
    assert record["size_bytes"] == kept.path.stat().st_size
    assert list(record["difference_by_length"]) == ["8", "16"]
    assert record["integer_proof"] == kept.proof.to_dict()
    assert record["operators"] == kept.operators.to_dict()
    assert record["float_agreement"] == kept.float_report.agreement
    assert record["float_logit_difference"] == kept.float_report.largest_logit_difference
    assert record["scheme"] == dataclasses.asdict(Scheme())


def test_every_product_and_lookup_of_every_length_is_integer(kept):
    # Six dense layers, two attention products, the pooler and the logits; tokens and positions.
    assert (kept.proof.products, kept.proof.lookups) == (2 * 10, 2 * 2)
    assert kept.proof.exceptions == ()


def test_the_file_answers_as_the_trained_twin_and_not_as_the_float_student(kept, aware):
    model = LiteRTModel(kept.path, aware.classifier.tokenizer)
    assert model.lengths == LENGTHS
    assert set(model.input_names) == set(aware.classifier.input_names)
    expected = aware.predict_encoded(aware.encode(TEXTS))
    near = 0.05 * np.ptp(expected)
    np.testing.assert_allclose(model.predict(TEXTS), expected, rtol=0, atol=near)
    assert kept.report.agreement >= 0.98
    assert kept.report.worst_difference < near
    assert kept.float_report.largest_logit_difference > 5 * near


def test_a_kept_file_is_known_as_such(kept, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "student")
    for file in kept.path.parent.iterdir():
        shutil.copy(file, copy)
    assert is_kept(copy, "qat_int8")


@pytest.fixture(scope="module")
def four_bits(folder, tmp_path_factory):
    """A 4-bit twin and its file."""
    aware = trained(TextClassifier.load(folder), Scheme(table_bits=4))
    part = tmp_path_factory.mktemp("four")
    export.save_variables(part / "variables.npz", aware.student)
    export.write_file(
        {
            "model_folder": str(folder),
            "variables": str(part / "variables.npz"),
            "scheme": dataclasses.asdict(aware.scheme),
            "recipe": "qat_int4_tables",
            "lengths": LENGTHS[-1:],
            "target": str(part / "qat_int4_tables.tflite"),
        }
    )
    return aware, part / "qat_int4_tables.tflite"


def stored_rows(path, shape):
    """The float32 rows that an int4 table of a file stands for."""
    model = flatbuffer.read(path.read_bytes())
    graph = model.subgraphs[0]
    (table,) = (
        tensor
        for tensor in graph.tensors
        if list(tensor.shape) == list(shape) and tensor.quantization.details is not None
    )
    scales = graph.tensors[table.quantization.details.scales]
    scale = np.frombuffer(bytes(model.buffers[scales.buffer].data), np.float16)
    packed = np.frombuffer(bytes(model.buffers[table.buffer].data), np.uint8)
    steps = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1, 32).astype(np.int8)
    steps = np.where(steps > 7, steps - 16, steps)
    return (steps * scale.astype(np.float32)[:, None]).reshape(shape)


def test_an_int4_table_holds_the_numbers_that_training_saw(four_bits):
    aware, path = four_bits
    table = mirror.variables(aware.student)["token_embedding/embeddings"]
    expected = BlockRange()(table, training=False, weights={}).numpy()
    np.testing.assert_array_equal(stored_rows(path, (NUM_TOKENS, WIDTH)), expected)


def test_an_int4_file_answers_as_its_twin(four_bits):
    aware, path = four_bits
    proof = operators.integer_proof(path, "int4")
    assert (proof.lookups, proof.exceptions) == (2, ())
    expected = aware.predict_encoded(aware.encode(TEXTS))
    answers = LiteRTModel(path, aware.classifier.tokenizer).predict(TEXTS)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=0.05 * np.ptp(expected))


def instead_of_the_child(monkeypatch, source):
    """Lets a file that is there already come out of the conversion."""

    def run_converter(module, job, purpose, timeout_seconds):
        shutil.copy(source, job["target"])

    monkeypatch.setattr(conversion, "run_converter", run_converter)


def test_a_file_with_float_products_is_refused(folder, aware, tmp_path, monkeypatch):
    files = conversion.write_files(folder, ["float32"], LENGTHS[:1], tmp_path)
    instead_of_the_child(monkeypatch, files["float32"])
    with pytest.raises(
        ConversionError,
        match=r"^Expected from qat_int8\.tflite integer products and int8 table lookups alone\. "
        r"Received: 8 FULLY_CONNECTED .+, 2 BATCH_MATMUL float, .+\. The file was not kept\. "
        r"Quantize this student after training: --recipe dynamic_int8\.$",
    ):
        export.export_aware(folder, aware, "qat_int8", TEXTS, LENGTHS, tmp_path / "files")
    assert not list((tmp_path / "files").iterdir())


def test_a_file_of_other_weights_is_refused(kept, folder, aware, tmp_path, monkeypatch):
    instead_of_the_child(monkeypatch, kept.path)
    kernel = mirror.variables(aware.student)["logits/kernel"]
    before = kernel.numpy()
    kernel.assign(before[:, ::-1])
    try:
        with pytest.raises(
            ConversionError,
            match=r"^Expected from qat_int8\.tflite agreement of at least 0\.98 and logits within ",
        ):
            export.export_aware(folder, aware, "qat_int8", TEXTS, LENGTHS, tmp_path)
    finally:
        kernel.assign(before)
    assert not list(tmp_path.iterdir())


def test_a_conversion_that_takes_too_long_leaves_nothing(folder, aware, tmp_path):
    with pytest.raises(
        ConversionError, match=r"^Expected qat_int8\.tflite of .+student within 0\.2 s\. The conv"
    ):
        export.export_aware(
            folder, aware, "qat_int8", TEXTS, LENGTHS, tmp_path, timeout_seconds=0.2
        )
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_told_before_the_child_starts(folder, aware, tmp_path):
    with pytest.raises(ConfigError, match=r"^Expected `lengths` in \[4, 16\].+Received: 32\."):
        export.export_aware(folder, aware, "qat_int8", TEXTS, (8, 32), tmp_path / "new")
    with pytest.raises(ValueError, match=r"^Expected at least one text to compare on\."):
        export.export_aware(folder, aware, "qat_int8", [], LENGTHS, tmp_path / "new")
    assert not (tmp_path / "new").exists()
