import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfkd.compression import operators
from tfkd.compression.flatbuffer import Operator, Tensor
from tfkd.compression.operators import IntegerProof, OperatorGroup, OperatorReport
from tfkd.errors import ArtifactError

FLOATS = Tensor("floats", (1, 8), "float32", False, False)
INTEGERS = Tensor("integers", (1, 8), "int8", False, True)
IDS = Tensor("ids", (8,), "int32", False, False)
INT8 = Tensor("int8", (8, 8), "int8", True, True)
INT4 = Tensor("int4", (8, 8), "int4", True, True, 32)
BIAS = Tensor("bias", (8,), "int32", True, True)
WEIGHTS = Tensor("weights", (8, 8), "float32", True, False)
SHAPE = Tensor("shape", (2,), "int32", True, False)


@pytest.mark.parametrize(
    ("operator", "arithmetic", "weights"),
    [
        (Operator("FULLY_CONNECTED", (FLOATS, WEIGHTS), (FLOATS,)), "float", "float32"),
        (Operator("FULLY_CONNECTED", (FLOATS, INT8), (FLOATS,)), "hybrid", "int8"),
        (Operator("FULLY_CONNECTED", (INTEGERS, INT8, BIAS), (INTEGERS,)), "integer", "int8"),
        (Operator("EMBEDDING_LOOKUP", (IDS, INT4), (FLOATS,)), "hybrid", "int4"),
        (Operator("GATHER", (INT8, IDS), (INTEGERS,)), "integer", "int8"),
        (Operator("ADD", (FLOATS, FLOATS), (FLOATS,)), "float", ""),
        (Operator("RESHAPE", (INTEGERS, SHAPE), (INTEGERS,)), "integer", ""),
        (Operator("RESHAPE", (IDS, SHAPE), (IDS,)), "index", ""),
        (Operator("CAST", (IDS,), (FLOATS,)), "conversion", ""),
        (Operator("DEQUANTIZE", (INTEGERS,), (FLOATS,)), "conversion", ""),
    ],
)
def test_arithmetic_follows_from_the_types(operator, arithmetic, weights):
    assert operators.arithmetic(operator) == arithmetic
    assert operators.weight_type(operator) == weights


REPORT = OperatorReport(
    (
        OperatorGroup("ADD", "float", "", 30, 30),
        OperatorGroup("FULLY_CONNECTED", "hybrid", "int8", 14, 14),
        OperatorGroup("SOFTMAX", "float", "", 7, 7),
        OperatorGroup("EMBEDDING_LOOKUP", "hybrid", "int4", 2, 0),
        OperatorGroup("RESHAPE", "index", "", 1, 0),
    ),
    partitions=1,
)


def test_the_sentence_counts_products_lookups_and_the_rest():
    assert REPORT.sentence == (
        "14 products int8 weights, 2 lookups int4, 37 float; whole in 1 partition"
    )
    integer = OperatorGroup("CONV_2D", "integer", "int8", 1, 0)
    assert OperatorReport((integer,), 2).sentence == (
        "1 product int8 weights, integer activations; 2 partitions"
    )


def test_whole_means_one_part_with_nothing_but_lookups_outside():
    assert REPORT.is_whole
    assert not dataclasses.replace(REPORT, partitions=2).is_whole
    left = OperatorGroup("GELU", "float", "", 2, 1)
    assert not dataclasses.replace(REPORT, groups=(*REPORT.groups, left)).is_whole


def test_the_report_is_plain_json():
    values = REPORT.to_dict()
    assert values["groups"][3] == {
        "name": "EMBEDDING_LOOKUP",
        "arithmetic": "hybrid",
        "weights": "int4",
        "count": 2,
        "num_delegated": 0,
    }
    assert (values["partitions"], values["is_whole"]) == (1, True)
    assert values["sentence"] == REPORT.sentence


class TwoParts(tf.Module):
    """Two products that XNNPACK runs, and between them an operator that it does not."""

    def __init__(self):
        super().__init__()
        values = np.random.default_rng(0).standard_normal((64, 64)).astype("float32")
        self.kernel = tf.Variable(values)

    @tf.function(input_signature=[tf.TensorSpec([1, 64], tf.float32, name="vectors")])
    def run(self, vectors):
        hidden = tf.matmul(vectors, self.kernel)
        order = tf.argsort(hidden, axis=-1)
        return {"vectors": tf.matmul(tf.cast(order, tf.float32) + hidden, self.kernel)}


def written(folder, *, optimizations=(), types=()):
    module = TwoParts()
    tf.saved_model.save(module, str(folder / "saved"), {"run": module.run})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"), ["run"])
    converter.optimizations = list(optimizations)
    converter.target_spec.supported_types = list(types)
    path = folder / "file.tflite"
    path.write_bytes(converter.convert())
    return path


def group(report, name):
    return next(found for found in report.groups if found.name == name)


def test_what_lies_between_two_delegates_is_outside(tmp_path):
    report = operators.describe(written(tmp_path, optimizations=[tf.lite.Optimize.DEFAULT]))
    products = group(report, "FULLY_CONNECTED")
    assert (products.arithmetic, products.weights) == ("hybrid", "int8")
    assert (products.count, products.num_delegated) == (2, 2)
    assert group(report, "TOPK_V2").num_delegated == 0
    assert (report.partitions, report.is_whole) == (2, False)
    assert report.sentence.startswith("2 products int8 weights, ")


def test_float16_weights_are_those_of_the_product_not_of_their_unpacking(tmp_path):
    path = written(tmp_path, optimizations=[tf.lite.Optimize.DEFAULT], types=[tf.float16])
    products = group(operators.describe(path), "FULLY_CONNECTED")
    assert (products.arithmetic, products.weights) == ("float", "float16")


def test_a_file_that_cannot_be_run_is_refused(tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"not a model")
    with pytest.raises(ArtifactError, match=r"^Expected a LiteRT file\. Received: 11 bytes that"):
        operators.describe(path)


def round_to(values, limit):
    return tf.quantization.fake_quant_with_min_max_args(values, -limit, limit, narrow_range=True)


class Trained(tf.Module):
    """A lookup and two products as training under quantization leaves them, but for one place."""

    def __init__(self, left_out=""):
        super().__init__()
        random = np.random.default_rng(0)
        self.table = tf.Variable(random.standard_normal((60, 32)).astype("float32"))
        kernel = random.standard_normal((32, 32)).astype("float32") / 6
        steps = np.abs(kernel).max(axis=0) / 127
        self.kernel = tf.Variable(np.round(kernel / steps) * steps)
        self.left_out = left_out

    def rounded(self, place, values, limit):
        return values if place == self.left_out else round_to(values, limit)

    def vectors(self, token_ids):
        rows = tf.gather(self.rounded("table", self.table, 4.0), token_ids)
        if self.left_out == "one range for the table":
            rows = round_to(rows, 3.0)
        return tf.reshape(tf.sin(rows), [4, 32])

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.int32, name="token_ids")])
    def call(self, token_ids):
        vectors = self.rounded("input", self.vectors(token_ids), 1.0)
        hidden = tf.nn.relu(tf.matmul(vectors, self.kernel))
        logits = tf.matmul(self.rounded("hidden", hidden, 6.0), self.kernel)
        return {"logits": self.rounded("logits", logits, 6.0)}

    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.int32, name="token_ids")])
    def loop(self, token_ids):
        _, states = tf.while_loop(
            lambda step, state: step < 4,
            lambda step, state: (step + 1, tf.tanh(tf.matmul(state, self.kernel))),
            (0, self.vectors(token_ids)),
        )
        return {"logits": round_to(tf.matmul(round_to(states, 1.0), self.kernel), 6.0)}


def proof(folder, left_out="", function="call"):
    module = Trained(left_out)
    tf.saved_model.save(module, str(folder / "saved"), {"run": getattr(module, function)})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"), ["run"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path = folder / "file.tflite"
    path.write_bytes(converter.convert())
    return operators.integer_proof(path)


def test_a_file_of_integer_products_and_lookups_is_proved(tmp_path):
    found = proof(tmp_path)
    assert found == IntegerProof(products=2, lookups=1, loops=0, exceptions=())
    assert found.to_dict() == {"products": 2, "lookups": 1, "loops": 0, "exceptions": []}
    other = operators.integer_proof(tmp_path / "file.tflite", tables="int4")
    assert other.exceptions == ("1 GATHER integer int8",)


@pytest.mark.parametrize(("place", "count"), [("input", 1), ("hidden", 2), ("logits", 1)])
def test_a_product_that_falls_back_to_float_is_seen(tmp_path, place, count):
    exceptions = proof(tmp_path, left_out=place).exceptions
    assert exceptions == (f"{count} FULLY_CONNECTED float float32",)


def test_a_table_in_float_is_seen(tmp_path):
    assert proof(tmp_path, left_out="table").exceptions == ("1 GATHER float float32",)


def test_a_table_that_is_converted_for_each_text_is_seen(tmp_path):
    found = proof(tmp_path, left_out="one range for the table")
    assert found.exceptions == ("1 QUANTIZE conversion int8", "no table lookup")


def test_a_float_product_inside_a_loop_is_seen(tmp_path):
    found = proof(tmp_path, function="loop")
    assert (found.products, found.lookups, found.loops) == (2, 1, 1)
    assert found.exceptions == ("1 FULLY_CONNECTED float float32",)


def test_a_file_without_tables_proves_nothing(tmp_path):
    path = written(tmp_path, optimizations=[tf.lite.Optimize.DEFAULT])
    assert operators.integer_proof(path).exceptions == (
        "2 FULLY_CONNECTED hybrid int8",
        "no table lookup",
    )
