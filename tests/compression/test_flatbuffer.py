import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from tests.compression.constants import constants
from tfkd.compression import flatbuffer
from tfkd.compression.file_seal import sealed
from tfkd.errors import ArtifactError

NUM_ROWS, WIDTH = 40, 32
IDS = np.array([3, 0, 39, 3], np.int32)


class Tables(tf.Module):
    """Lookups of the kinds that students hold, and one that is none."""

    def __init__(self):
        super().__init__()
        values = np.random.default_rng(0).standard_normal((NUM_ROWS, WIDTH)).astype("float32")
        self.table = tf.Variable(values)
        self.small = tf.Variable(values[:2])

    @tf.function(input_signature=[tf.TensorSpec([4], tf.int32, name="ids")])
    def flat(self, ids):
        return {"rows": tf.gather(self.table, ids) * 2.0}

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.int32, name="ids")])
    def batched(self, ids):
        return {"rows": tf.gather(self.table, ids) + 1.0}

    @tf.function(input_signature=[tf.TensorSpec([4], tf.int32, name="ids")])
    def others(self, ids):
        columns = tf.gather(self.table, ids % WIDTH, axis=1)
        return {"rows": tf.reduce_sum(columns) + tf.gather(self.small, ids % 2)}


def converted(module, folder, names, optimizations=()):
    tf.saved_model.save(module, folder, {name: getattr(module, name) for name in names})
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=names)
    converter.optimizations = list(optimizations)
    return converter.convert()


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tables"))
    return converted(Tables(), folder, ["flat", "batched", "others"])


@pytest.fixture(scope="module")
def rewritten(content):
    return flatbuffer.with_lookups(content)


def names(content, signature):
    return [operator.name for operator in flatbuffer.operators(flatbuffer.read(content), signature)]


def answer(content, signature, ids):
    return Interpreter(model_content=content).get_signature_runner(signature)(ids=ids)["rows"]


def test_signatures_and_operators_are_read(content):
    model = flatbuffer.read(content)
    assert set(flatbuffer.signatures(model)) == {"flat", "batched", "others"}
    gather, product = flatbuffer.operators(model, "flat")
    assert (gather.name, product.name) == ("GATHER", "MUL")
    table, ids = gather.inputs
    assert (table.type, table.shape, table.is_constant) == ("float32", (40, 32), True)
    assert (ids.type, ids.shape, ids.is_constant) == ("int32", (4,), False)
    assert (table.is_quantized, table.block_size) == (False, 0)
    assert product.inputs[1].shape == ()


def test_a_constant_of_several_signatures_is_stored_once(content):
    tables = [
        size_bytes for tensor, size_bytes in constants(content) if tensor.shape == (NUM_ROWS, WIDTH)
    ]
    assert tables == [4 * NUM_ROWS * WIDTH]


def test_flat_ids_are_looked_up_as_they_are(content, rewritten):
    assert names(rewritten, "flat") == ["EMBEDDING_LOOKUP", "MUL"]
    np.testing.assert_array_equal(answer(rewritten, "flat", IDS), answer(content, "flat", IDS))


def test_batched_ids_are_reshaped_around_the_lookup(content, rewritten):
    assert names(rewritten, "batched") == ["RESHAPE", "EMBEDDING_LOOKUP", "RESHAPE", "ADD"]
    ids = IDS[None]
    np.testing.assert_array_equal(
        answer(rewritten, "batched", ids), answer(content, "batched", ids)
    )


def test_small_tables_and_columns_stay_gathers(content, rewritten):
    assert "EMBEDDING_LOOKUP" not in names(rewritten, "others")
    assert names(rewritten, "others").count("GATHER") == 2
    np.testing.assert_array_equal(answer(rewritten, "others", IDS), answer(content, "others", IDS))


def test_small_tables_are_looked_up_when_asked_for(content):
    every = flatbuffer.with_lookups(content, smallest_size=1)
    assert names(every, "others").count("EMBEDDING_LOOKUP") == 1
    assert names(every, "others").count("GATHER") == 1
    np.testing.assert_array_equal(answer(every, "others", IDS), answer(content, "others", IDS))


def test_rewriting_again_changes_nothing(rewritten):
    assert flatbuffer.with_lookups(rewritten) == rewritten


def test_int8_constants_are_known_as_quantized(tmp_path):
    content = converted(Tables(), str(tmp_path), ["flat"], [tf.lite.Optimize.DEFAULT])
    gather = flatbuffer.operators(flatbuffer.read(content), "flat")[0]
    assert (gather.inputs[0].type, gather.inputs[0].is_quantized) == ("int8", True)


def test_buffers_behind_the_tree_are_taken_inside(content):
    """As ai-edge-quantizer writes them: programs that add to a file drop what lies behind."""
    model = flatbuffer.read(content)
    stored = [buffer for buffer in model.buffers if buffer.data is not None]
    buffer = max(stored, key=lambda buffer: len(buffer.data))
    table, buffer.data = bytes(buffer.data), None
    # Two passes: the length of the tree decides the offset, and does not depend on its value.
    buffer.offset, buffer.size = 2**20, len(table)
    start = -(-len(flatbuffer.write(model)) // 16) * 16
    buffer.offset = start
    outside = flatbuffer.write(model).ljust(start, b"\0") + table
    np.testing.assert_array_equal(answer(outside, "flat", IDS), answer(content, "flat", IDS))

    inside = sealed(outside)
    assert all(not buffer.offset for buffer in flatbuffer.read(inside).buffers)
    np.testing.assert_array_equal(answer(inside, "flat", IDS), answer(content, "flat", IDS))


def test_bytes_that_are_no_file_are_refused():
    with pytest.raises(ArtifactError, match=r"^Expected a LiteRT file\. Received: 11 bytes that"):
        flatbuffer.read(b"not a model")


def test_a_signature_that_is_not_there_is_named(content):
    with pytest.raises(
        ArtifactError,
        match=r"^Expected a LiteRT file with the signature `tokens_8`\. Received: one with ",
    ):
        flatbuffer.operators(flatbuffer.read(content), "tokens_8")
