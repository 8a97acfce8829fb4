"""A recipe carried out: from a SavedModel to the bytes of a LiteRT file.

The only module that knows the two quantizers. TensorFlow's converter makes every file; int4 and
fixed ranges are made from its float32 file by ai-edge-quantizer: TensorFlow's own calibration
stores a table once for each length, and ends the process on an LSTM. Callers run all of it in a
child: see `conversion`.
"""

import importlib.util
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfkd.compression import flatbuffer
from tfkd.compression.calibration import Calibration
from tfkd.compression.file_seal import sealed
from tfkd.compression.formats import TEXT_SIGNATURE
from tfkd.compression.recipes import EDGE, FLOAT16, FLOAT32, INT4, INT8, Recipe
from tfkd.compression.saved_model import SIGNATURE_PREFIX
from tfkd.errors import ConversionError

if TYPE_CHECKING:
    import tensorflow as tf
    from ai_edge_quantizer.qtyping import QSV
    from ai_edge_quantizer.recipe_manager import RecipeManager

MASK_BIAS = -100.0
# Fixed ranges hold the masked scores too: a larger mask would leave the real ones few steps, and
# exp(-20) is still nothing.
STATIC_MASK_BIAS = -20.0
BLOCK_SIZE = 32
_BITS = {"int4": 4, "int8": 8, "int16": 16}
_BLOCKWISE_OPERATORS = {"EMBEDDING_LOOKUP": "tables", "FULLY_CONNECTED": "weights"}


def check_ready(recipe: Recipe, calibration: Calibration | None) -> None:
    """Finds out before anything slow whether a recipe can be carried out here.

    Raises:
        ConversionError: The extra package is not installed.
        ValueError: The recipe needs calibration data and there is none.
    """
    if recipe.extra == EDGE and not _has_edge_quantizer():
        raise ConversionError(
            f"Expected ai-edge-quantizer for recipe {recipe.name}. It is not installed. Install "
            "it with `pip install 'tfkd[edge]'`."
        )
    if recipe.needs_calibration and calibration is None:
        raise ValueError(
            f"Expected `calibration` for recipe {recipe.name}, whose activations get fixed ranges. "
            "Received: None"
        )


def is_ready(recipe: Recipe, width: int) -> bool:
    """Whether a recipe without calibration can be carried out here on tables of a width."""
    is_whole = recipe.tables != INT4 or width % BLOCK_SIZE == 0
    return is_whole and (recipe.extra != EDGE or _has_edge_quantizer())


def table_row_bytes(recipe: Recipe, width: int) -> int:
    """Bytes of a row of a token table in a file: int4 has a float16 scale for each block.

    Example:

    >>> table_row_bytes(find("int4_tables"), 128)
    72
    """
    bits = {FLOAT32: 32, FLOAT16: 16, INT8: 8, INT4: 4}[recipe.tables]
    scales = 2 * width // BLOCK_SIZE if recipe.tables == INT4 else 0
    return width * bits // 8 + scales


def _has_edge_quantizer() -> bool:
    return importlib.util.find_spec("ai_edge_quantizer") is not None


def mask_bias(recipe: Recipe) -> float:
    """Bias on the score of a padded position in the SavedModel a recipe reads."""
    return STATIC_MASK_BIAS if recipe.needs_calibration else MASK_BIAS


def litert_bytes(
    folder: str,
    recipe: Recipe,
    lengths: Sequence[int],
    calibration: Calibration | None = None,
    takes_text: bool = False,
) -> bytes:
    """The LiteRT file of a SavedModel.

    Args:
        folder: String. SavedModel with a signature `tokens_<length>` for each length. For a recipe
            that trains, its graph says by fake quantization how all but 4-bit tables is rounded.
        recipe: `Recipe`.
        lengths: Integers. Lengths of the signatures in the file, over the same weights.
        calibration: `Calibration`, for recipes that need it.
        takes_text: Boolean. The SavedModel has the one signature `classify_text` instead, with the
            tokenizer's custom operators in its graph; `lengths` is empty.

    Raises:
        ConversionError: The extra package is not installed.

    Example:

    ```python
    content = litert_bytes(folder, find("int4_tables"), (32, 64))
    ```
    """
    check_ready(recipe, calibration)
    converter = _converter(folder, lengths, takes_text)
    if recipe.extra == EDGE and not recipe.trained:
        content = converter.convert()
        return _edge_bytes(content, recipe, lengths, calibration)
    import tensorflow as tf

    if recipe.weights != FLOAT32:
        # Without it fake quantization runs in float, each operator between rounding and undoing.
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe.weights == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    content = converter.convert()
    if recipe.trained and recipe.tables == INT4:
        return _with_int4_tables(content)
    # The converter writes a kernel's scales again for each signature.
    return content if takes_text else sealed(content)


def _converter(folder: str, lengths: Sequence[int], takes_text: bool) -> "tf.lite.TFLiteConverter":
    import tensorflow as tf

    keys = [TEXT_SIGNATURE, *(f"{SIGNATURE_PREFIX}{length}" for length in lengths)]
    # Not `from_concrete_functions`: it drops Keras 3 weights without a word and gives NaN.
    converter = tf.lite.TFLiteConverter.from_saved_model(
        folder, signature_keys=keys if takes_text else keys[1:]
    )
    converter.allow_custom_ops = takes_text
    return converter


def _edge_bytes(
    content: bytes, recipe: Recipe, lengths: Sequence[int], calibration: Calibration | None
) -> bytes:
    """A float32 file quantized by ai-edge-quantizer."""
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe_manager import RecipeManager

    content = flatbuffer.with_lookups(content)
    steps, ranges = RecipeManager(), None
    if calibration is not None and recipe.needs_calibration:
        _add_static(steps, recipe)
        ranges = _ranges(content, steps, lengths, calibration)
    else:
        _add_dynamic(steps, recipe, content)
    result = Quantizer(bytearray(content), steps.get_quantization_recipe()).quantize(ranges)
    return sealed(bytes(result.quantized_model))


def _with_int4_tables(content: bytes) -> bytes:
    """A file with its float32 tables in blocks of int4; what is integer already stays as it is."""
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe_manager import RecipeManager

    content = flatbuffer.with_lookups(content, smallest_size=1)
    steps = RecipeManager()
    steps.add_dynamic_config(
        ".*", TFLOperationName.EMBEDDING_LOOKUP, _BITS[INT4], QuantGranularity.BLOCKWISE_32
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Input model is already partially quantized")
        result = Quantizer(bytearray(content), steps.get_quantization_recipe()).quantize(None)
    return sealed(bytes(result.quantized_model))


def _ranges(
    content: bytes, steps: "RecipeManager", lengths: Sequence[int], calibration: Calibration
) -> "dict[str, QSV]":
    """The smallest and largest value of every activation over all rows, for every signature."""
    from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    calibrator = Calibrator(
        bytearray(content),
        num_threads=1,
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        # The default is a moving average, which clips every logit above the usual.
        qsv_update_func=min_max_update,
    )
    rows = {f"{SIGNATURE_PREFIX}{length}": calibration.rows(length) for length in lengths}
    calibrator.calibrate({name: list(found) for name, found in rows.items()}, steps)
    return calibrator.get_model_qsvs()


def _add_dynamic(steps: "RecipeManager", recipe: Recipe, content: bytes) -> None:
    """Integer weights under float activations."""
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName

    # Convolutions and whatever else has weights: int4 in blocks is for tables and products only.
    steps.add_dynamic_config(".*", TFLOperationName.ALL_SUPPORTED, _BITS[INT8])
    for operator, kind in _BLOCKWISE_OPERATORS.items():
        if getattr(recipe, kind) == INT4:
            granularity = QuantGranularity.BLOCKWISE_32
            if not _fits_blocks(content, operator):
                granularity = QuantGranularity.CHANNELWISE
            steps.add_dynamic_config(".*", TFLOperationName[operator], _BITS[INT4], granularity)


def _add_static(steps: "RecipeManager", recipe: Recipe) -> None:
    """Integer weights and activations; lookups have no such kernel and give floats."""
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName

    steps.add_static_config(
        ".*", TFLOperationName.ALL_SUPPORTED, _BITS[recipe.activations], _BITS[recipe.weights]
    )
    # One scale for the whole table: a scale and a zero point a row would add a tenth to it.
    steps.add_dynamic_config(
        ".*", TFLOperationName.EMBEDDING_LOOKUP, _BITS[recipe.tables], QuantGranularity.TENSORWISE
    )
    # Logits leave the file as float32, as from every other recipe.
    steps.add_quantization_config(
        ".*", TFLOperationName.OUTPUT, algorithm_key=AlgorithmName.NO_QUANTIZE
    )


def _fits_blocks(content: bytes, operator: str) -> bool:
    """Whether the rows of all constants of an operator are whole numbers of blocks."""
    model = flatbuffer.read(content)
    widths = {
        tensor.shape[-1]
        for signature in flatbuffer.signatures(model)
        for found in flatbuffer.operators(model, signature)
        for tensor in found.inputs
        if found.name == operator and tensor.is_constant and len(tensor.shape) > 1
    }
    return all(width % BLOCK_SIZE == 0 for width in widths)
