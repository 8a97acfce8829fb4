import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfkd.compression import operators
from tfkd.compression.flatbuffer import Operator, Tensor
from tfkd.compression.operators import OperatorGroup, OperatorReport
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
        "name": "EMBEDDING_LOOKUP", "arithmetic": "hybrid", "weights": "int4", "count": 2,
        "num_delegated": 0,
    }  # fmt: skip
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
