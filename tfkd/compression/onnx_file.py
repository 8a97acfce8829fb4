"""A classifier as an ONNX file: the lean graph for texts of any length, float32 or int8.

The other owner of converters beside `quantizer`: tf2onnx writes the graph, ONNX Runtime quantizes
it. As there, callers run both in a child.
"""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from tfkd.compression.recipes import INT8, Recipe
from tfkd.compression.saved_model import lean_graph
from tfkd.errors import ConfigError, ModelError
from tfkd.models.classifier import TextClassifier

PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
# ONNX Runtime's own of 2022: what runs older programs should run this.
_OPSET = 17


def check_installed() -> None:
    """Finds out before anything slow whether the extra packages are there.

    Raises:
        ConfigError: One is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Expected {', '.join(PACKAGES[:-1])} and {PACKAGES[-1]} for format onnx. Received: no "
            f"{', no '.join(missing)}. Install them with `pip install 'tfkd[onnx]'`."
        )


def onnx_bytes(classifier: TextClassifier, recipe: Recipe, length: int) -> bytes:
    """The ONNX file of a classifier.

    It takes the model's own inputs as int32 `[1, any]` and gives `logits`, float32
    `[1, num_outputs]`.

    Args:
        classifier: `TextClassifier`.
        recipe: `Recipe`. float32 or dynamic_int8: with uint8 tables and kernels, since products of
            uint8 with int8 overflow on processors without VNNI.
        length: Integer. Tokens of the longest text.

    Raises:
        ModelError: The recipe is int8 and the model has a loop.

    Example:

    ```python
    content = onnx_bytes(student, find("dynamic_int8"), 128)
    ```
    """
    import onnxruntime
    import tf2onnx

    lean, _ = lean_graph(classifier, num_positions=length)
    endpoint: Any = lean.endpoint(None) if lean else _plain_endpoint(classifier)
    model, _ = tf2onnx.convert.from_function(endpoint, endpoint.input_signature, opset=_OPSET)
    if recipe.weights == INT8:
        model = _quantized(model)
    content = model.SerializeToString()
    # Here, where nothing but this child ends if its C++ cannot take the file.
    onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content


def _plain_endpoint(classifier: TextClassifier) -> Any:
    """The graph that Keras runs, for a text of any length."""
    import tensorflow as tf

    specs = {name: tf.TensorSpec([1, None], tf.int32, name) for name in classifier.input_names}
    return tf.function(
        lambda inputs: {"logits": classifier.model(inputs, training=False)},
        input_signature=[specs],
    )


def _quantized(model: Any) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if any(node.op_type == "Loop" for node in model.graph.node):
        raise ModelError(
            "Expected a model without loops for int8 in ONNX. Received: one that reads its tokens "
            "in turn, as LSTMs do. Use --recipe float32"
        )
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        # What has no known type is a number as well.
        options = {"DefaultTensorType": onnx.TensorProto.FLOAT}
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8, extra_options=options)
        return onnx.load(target)
