"""Metadata is read back slot by slot, by the numbers of the published schema and not by names."""

import zipfile

import flatbuffers.number_types as numbers
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from flatbuffers.table import Table

from tfkd.compression import flatbuffer
from tfkd.compression.metadata import with_metadata

LABELS = ("money", "sport", "Wetter & Höhe")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "oil", "##s", "\x1c", "\u2028", "é", "全")
LENGTH = 8
# Slots of the schema's tables.
MODEL_NAME, MODEL_GRAPHS, MODEL_PARSER_VERSION = 0, 3, 7
GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_INPUT_UNITS = 2, 3, 5
TENSOR_NAME, TENSOR_FILES = 0, 6
FILE_NAME, FILE_TYPE = 0, 2
UNIT_TYPE, UNIT_OPTIONS = 0, 1
BERT_TOKENIZER_VOCABULARY = 0


class Toy(tf.Module):
    """Scores that depend on every input."""

    def __init__(self, names, num_outputs=3):
        super().__init__()
        random = np.random.default_rng(0)
        self.kernel = tf.Variable(random.standard_normal([LENGTH, num_outputs]), dtype=tf.float32)
        specs = {name: tf.TensorSpec([1, LENGTH], tf.int32, name=name) for name in names}
        self.answer = tf.function(self._scores, input_signature=[specs])

    def _scores(self, inputs):
        total = sum(
            (index + 1.0) * tf.cast(inputs[name], tf.float32)
            for index, name in enumerate(sorted(inputs))
        )
        return {"scores": tf.nn.softmax(tf.matmul(total, self.kernel))}


def litert(folder, *names, num_outputs=3, num_signatures=1):
    toy = Toy(names, num_outputs)
    keys = [f"tokens_{number}" for number in range(num_signatures)]
    tf.saved_model.save(toy, str(folder), dict.fromkeys(keys, toy.answer))
    return tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=keys).convert()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    return litert(folder, "token_ids", "padding_mask", "segment_ids")


@pytest.fixture(scope="module")
def edge(plain, tmp_path_factory):
    path = tmp_path_factory.mktemp("edge") / "edge.tflite"
    path.write_bytes(with_metadata(plain, LABELS, VOCABULARY))
    return path


@pytest.fixture(scope="module")
def without_segments(tmp_path_factory):
    """A file of a model that takes two inputs, before and after."""
    folder = tmp_path_factory.mktemp("two")
    content = litert(folder / "model", "token_ids", "padding_mask")
    paths = folder / "plain.tflite", folder / "edge.tflite"
    paths[0].write_bytes(content)
    paths[1].write_bytes(with_metadata(content, LABELS, VOCABULARY))
    return paths


class View:
    """A table of a FlatBuffers buffer by its slots."""

    def __init__(self, content, position):
        self.table = Table(content, position)

    def _position(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        assert offset, f"slot {slot} is empty"
        return self.table.Pos + offset

    def string(self, slot):
        return self.table.String(self._position(slot)).decode()

    def byte(self, slot):
        return self.table.Get(numbers.Uint8Flags, self._position(slot))

    def child(self, slot):
        return View(self.table.Bytes, self.table.Indirect(self._position(slot)))

    def children(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        start, count = self.table.Vector(offset), self.table.VectorLen(offset)
        return [
            View(self.table.Bytes, self.table.Indirect(start + 4 * index)) for index in range(count)
        ]


def metadata_table(path):
    model = flatbuffer.read(path.read_bytes())
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    content = bytes(model.buffers[entry.buffer].data)
    assert content[4:8] == b"M001"
    return View(content, int.from_bytes(content[:4], "little")), model


def inputs_of(path):
    """Metadata names beside the model's own, in the order of the file."""
    table, model = metadata_table(path)
    (graph,) = table.children(MODEL_GRAPHS)
    (signature,) = model.signatureDefs
    names = {entry.tensorIndex: entry.name.decode() for entry in signature.inputs}
    described = [tensor.string(TENSOR_NAME) for tensor in graph.children(GRAPH_INPUTS)]
    own = [names[index] for index in model.subgraphs[signature.subgraphIndex].inputs]
    return dict(zip(own, described, strict=True))


def scores(path, **arrays):
    runner = Interpreter(str(path)).get_signature_runner()
    shown = {name: np.array([values], np.int32) for name, values in arrays.items()}
    return runner(**shown)["scores"]


def test_the_texts_are_a_stored_archive_that_any_program_can_read(edge):
    with zipfile.ZipFile(edge) as archive:
        assert [(info.filename, info.compress_type) for info in archive.infolist()] == [
            ("vocab.txt", zipfile.ZIP_STORED),
            ("labels.txt", zipfile.ZIP_STORED),
        ]
        assert archive.read("labels.txt").decode() == "money\nsport\nWetter & Höhe\n"
        # Two of these tokens end a line for Python's `splitlines`, but not in a file.
        assert archive.read("vocab.txt").decode().split("\n") == [*VOCABULARY, ""]
        assert archive.testzip() is None


def test_the_model_says_what_it_is(edge):
    table, _ = metadata_table(edge)
    assert table.string(MODEL_NAME) == "TextClassifier"
    assert table.string(MODEL_PARSER_VERSION) == "1.1.0"


def test_inputs_have_the_names_clients_look_for_in_the_order_of_the_file(edge):
    assert inputs_of(edge) == {
        "token_ids": "ids",
        "padding_mask": "mask",
        "segment_ids": "segment_ids",
    }


def test_labels_belong_to_the_scores(edge):
    table, _ = metadata_table(edge)
    (graph,) = table.children(MODEL_GRAPHS)
    (output,) = graph.children(GRAPH_OUTPUTS)
    (labels,) = output.children(TENSOR_FILES)
    # TENSOR_AXIS_LABELS
    assert (labels.string(FILE_NAME), labels.byte(FILE_TYPE)) == ("labels.txt", 2)


def test_the_vocabulary_belongs_to_a_bert_tokenizer(edge):
    table, _ = metadata_table(edge)
    (graph,) = table.children(MODEL_GRAPHS)
    (unit,) = graph.children(GRAPH_INPUT_UNITS)
    # BertTokenizerOptions
    assert unit.byte(UNIT_TYPE) == 4
    (vocabulary,) = unit.child(UNIT_OPTIONS).children(BERT_TOKENIZER_VOCABULARY)
    # VOCABULARY
    assert (vocabulary.string(FILE_NAME), vocabulary.byte(FILE_TYPE)) == ("vocab.txt", 5)


def test_the_file_answers_as_before(edge, plain, tmp_path):
    before = tmp_path / "plain.tflite"
    before.write_bytes(plain)
    arrays = {"token_ids": range(8), "padding_mask": [1] * 8, "segment_ids": [0, 1] * 4}
    assert np.array_equal(scores(edge, **arrays), scores(before, **arrays))


def test_the_same_model_gives_the_same_bytes(edge, plain):
    assert with_metadata(plain, LABELS, VOCABULARY) == edge.read_bytes()


def test_an_input_the_model_has_no_use_for_is_taken_and_not_read(without_segments):
    before, after = without_segments
    assert inputs_of(after)["segment_ids"] == "segment_ids"
    arrays = {"token_ids": range(8), "padding_mask": [1] * 8}
    expected = scores(before, **arrays)
    for segment_ids in ([0] * 8, range(8)):
        assert np.array_equal(scores(after, **arrays, segment_ids=segment_ids), expected)


def test_metadata_costs_little_more_than_its_texts(edge, plain):
    texts = sum(len(f"{line}\n".encode()) for line in (*LABELS, *VOCABULARY))
    assert 0 < edge.stat().st_size - len(plain) - texts < 1500


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("token_ids", "padding_mask"), {"num_outputs": 2}, r"one output \[1, 3\]\. .*\[1, 2\]"),
        (("token_ids", "other"), {}, r"padding_mask, segment_ids\. Received: other, token_ids$"),
        (("token_ids", "padding_mask"), {"num_signatures": 2}, "one signature. .* tokens_0, token"),
    ],
)
def test_a_file_that_is_no_classifier_of_tokens_is_refused(tmp_path, names, options, message):
    content = litert(tmp_path, *names, **options)
    with pytest.raises(ValueError, match=message):
        with_metadata(content, LABELS, VOCABULARY)
