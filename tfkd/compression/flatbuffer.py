"""Inside a LiteRT file: its operators, tensors and constants.

Reads and rewrites files through the schema classes that LiteRT itself ships. Nothing here runs a
file; what runs where is told by `tfkd.compression.operators`.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tfkd.errors import ArtifactError

if TYPE_CHECKING:
    import flatbuffers
    from ai_edge_litert.schema_py_generated import (
        ModelT,
        OperatorCodeT,
        OperatorT,
        QuantizationParametersT,
        SubGraphT,
        TensorT,
    )

# The converter leaves smaller constants alone as well; a segment table is not worth its scales.
SMALLEST_TABLE_SIZE = 1024

# Scales, zero points, and the dimension they go along.
_Scales = tuple[tuple[float, ...], tuple[int, ...], int]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor as the file declares it.

    Attributes:
        name: The converter's name.
        shape: Sizes of its dimensions.
        type: Lower-case name of its element type: "float32", "int8", "int4", ...
        is_constant: Whether its values stand in the file.
        is_quantized: Whether its integers stand for real numbers by a scale.
        block_size: Elements that share a scale within a row; 0 where whole rows or tensors do.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    is_constant: bool
    is_quantized: bool
    block_size: int = 0


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator: "FULLY_CONNECTED" or another built-in, a custom one by its own name."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read(content: bytes) -> "ModelT":
    """The file as an object tree of LiteRT's own schema.

    Constants that lie behind the tree, where ai-edge-quantizer puts them, are taken into it:
    programs that add to a file lose them otherwise.

    Raises:
        ArtifactError: The bytes are no LiteRT file.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    if content[4:8] != b"TFL3":
        raise ArtifactError(
            f"Expected a LiteRT file. Received: {len(content)} bytes that do not start as one. "
            "Write it again with `tfkd export --overwrite`."
        )
    return flatbuffer_utils.read_model_from_bytearray(content)


def write(model: "ModelT") -> bytes:
    """The bytes of an object tree. Scales that several signatures share are written once."""
    from ai_edge_litert.tools import flatbuffer_utils

    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    own = [tensor.quantization for tensor in tensors]
    shared: dict[_Scales, _PackedOnce] = {}
    for tensor in tensors:
        key = _scales_key(tensor.quantization)
        if key is not None:
            tensor.quantization = shared.setdefault(key, _PackedOnce(tensor.quantization))
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    # What remembers its place in one file must not be written into the next.
    for tensor, quantization in zip(tensors, own, strict=True):
        tensor.quantization = quantization
    return content


def add_metadata(model: "ModelT", name: str, data: bytes | bytearray) -> None:
    """Adds bytes under a name of their own, which nothing that runs the file reads."""
    from ai_edge_litert import schema_py_generated as schema

    model.buffers.append(schema.BufferT(data=bytearray(data)))
    entry = schema.MetadataT(name=name, buffer=len(model.buffers) - 1)
    model.metadata = [*(model.metadata or []), entry]


def with_lookups(content: bytes, smallest_size: int = SMALLEST_TABLE_SIZE) -> bytes:
    """The same file, with EMBEDDING_LOOKUP where a GATHER reads rows of a constant table.

    ai-edge-quantizer has int4 for the one and leaves the other in float32. A lookup takes ids of
    one dimension only, so other ids are reshaped before and the rows after it.

    Args:
        content: Bytes of a LiteRT file with float32 tables.
        smallest_size: Integer. Numbers a table must hold to be rewritten.

    Example:

    >>> [operator.name for operator in operators(with_lookups(content), "tokens_64")][:1]
    ["EMBEDDING_LOOKUP"]
    """
    model = read(content)
    for graph in model.subgraphs:
        rewritten = []
        for operator in graph.operators:
            is_lookup = _reads_table_rows(model, graph, operator, smallest_size)
            rewritten += _lookup(model, graph, operator) if is_lookup else [operator]
        graph.operators = rewritten
    return write(model)


def operators(model: "ModelT", signature: str) -> list[Operator]:
    """The operators of a signature in the order they run, bodies of its loops behind them.

    Raises:
        ArtifactError: The file has no such signature.
    """
    for entry in model.signatureDefs or []:
        if entry.signatureKey == signature.encode():
            return reachable_operators(model, entry.subgraphIndex)
    raise ArtifactError(
        f"Expected a LiteRT file with the signature `{signature}`. Received: one with "
        f"{', '.join(signatures(model)) or 'none'}. Give a file written by `tfkd export`."
    )


def reachable_operators(model: "ModelT", subgraph: int) -> list[Operator]:
    """The operators of a subgraph, then those of its loops and branches."""
    reached = [subgraph]
    for index in reached:
        for operator in model.subgraphs[index].operators:
            options = vars(operator.builtinOptions) if operator.builtinOptions else {}
            inner = [value for name, value in options.items() if name.endswith("SubgraphIndex")]
            reached += [other for other in inner if other not in reached]
    return [operator for index in reached for operator in _operators(model, index)]


def signatures(model: "ModelT") -> tuple[str, ...]:
    """The signature keys of a file."""
    return tuple(entry.signatureKey.decode() for entry in model.signatureDefs or [])


def _operators(model: "ModelT", index: int) -> Iterator[Operator]:
    graph = model.subgraphs[index]
    for operator in graph.operators:
        yield Operator(
            _operator_name(model.operatorCodes[operator.opcodeIndex]),
            # -1 stands for an optional input that is absent.
            tuple(_tensor(model, graph.tensors[i]) for i in operator.inputs if i >= 0),
            tuple(_tensor(model, graph.tensors[i]) for i in operator.outputs),
        )


def _tensor(model: "ModelT", tensor: "TensorT") -> Tensor:
    data = model.buffers[tensor.buffer].data
    quantization = tensor.quantization
    details = quantization.details if quantization else None
    scale = quantization.scale if quantization else None
    return Tensor(
        name=tensor.name.decode(),
        shape=tuple(int(size) for size in _sizes(tensor)),
        type=_names("TensorType")[tensor.type].lower(),
        is_constant=data is not None and len(data) > 0,
        is_quantized=details is not None or (scale is not None and len(scale) > 0),
        block_size=int(getattr(details, "blockSize", 0)),
    )


def _sizes(tensor: "TensorT") -> Iterable[int]:
    """The shape of a tensor; a scalar's is absent."""
    return () if tensor.shape is None else tensor.shape


@functools.cache
def _names(enumeration: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    members = vars(getattr(schema, enumeration))
    return {value: name for name, value in members.items() if isinstance(value, int)}


def _operator_name(code: "OperatorCodeT") -> str:
    if code.customCode:
        return code.customCode.decode()
    return _names("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _reads_table_rows(
    model: "ModelT", graph: "SubGraphT", operator: "OperatorT", smallest_size: int
) -> bool:
    """Whether an operator is a GATHER of whole rows of a float32 table by int32 ids."""
    if _operator_name(model.operatorCodes[operator.opcodeIndex]) != "GATHER":
        return False
    table, ids = (_tensor(model, graph.tensors[i]) for i in operator.inputs)
    options = operator.builtinOptions
    return (
        table.is_constant
        and (table.type, ids.type, len(table.shape)) == ("float32", "int32", 2)
        and math.prod(table.shape) >= smallest_size
        and (options is None or (options.axis, options.batchDims) == (0, 0))
    )


def _lookup(model: "ModelT", graph: "SubGraphT", gather: "OperatorT") -> "list[OperatorT]":
    """The operators that take the place of a GATHER."""
    table, ids = gather.inputs
    (rows,) = gather.outputs
    shape = [int(size) for size in graph.tensors[ids].shape]
    if len(shape) == 1:
        return [_operator(model, "EMBEDDING_LOOKUP", [ids, table], [rows])]
    num_ids, width = math.prod(shape), int(graph.tensors[table].shape[1])
    flat_ids = _added_like(graph, ids, [num_ids])
    flat_rows = _added_like(graph, rows, [num_ids, width])
    return [
        _reshape(model, graph, ids, flat_ids),
        _operator(model, "EMBEDDING_LOOKUP", [flat_ids, table], [flat_rows]),
        _reshape(model, graph, flat_rows, rows),
    ]


def _reshape(model: "ModelT", graph: "SubGraphT", source: int, target: int) -> "OperatorT":
    """A RESHAPE to the shape of its target."""
    from ai_edge_litert import schema_py_generated as schema

    options = schema.ReshapeOptionsT(newShape=[int(size) for size in graph.tensors[target].shape])
    operator = _operator(model, "RESHAPE", [source], [target])
    operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    operator.builtinOptions = options
    return operator


def _operator(model: "ModelT", name: str, inputs: list[int], outputs: list[int]) -> "OperatorT":
    """A new operator; its code is added to the file where it is not there yet."""
    from ai_edge_litert import schema_py_generated as schema

    known = [_operator_name(code) for code in model.operatorCodes]
    if name not in known:
        number = getattr(schema.BuiltinOperator, name)
        model.operatorCodes.append(
            schema.OperatorCodeT(builtinCode=number, deprecatedBuiltinCode=number, version=1)
        )
        known.append(name)
    return schema.OperatorT(opcodeIndex=known.index(name), inputs=inputs, outputs=outputs)


def _added_like(graph: "SubGraphT", index: int, shape: list[int]) -> int:
    """Adds a tensor of another shape without values of its own; its index."""
    from ai_edge_litert import schema_py_generated as schema

    model_tensor = graph.tensors[index]
    graph.tensors.append(
        schema.TensorT(
            shape=shape, type=model_tensor.type, buffer=0, name=model_tensor.name + b"_flat"
        )
    )
    return len(graph.tensors) - 1


class _PackedOnce:
    """A part of the tree that is written once, however many tensors point to it."""

    def __init__(self, part: "QuantizationParametersT") -> None:
        self._part = part
        self._offset: int | None = None

    def Pack(self, builder: "flatbuffers.Builder") -> int:  # noqa: N802  (the schema's own name)
        """Offset of the part in the file."""
        if self._offset is None:
            self._offset = self._part.Pack(builder)
        return self._offset


def _scales_key(quantization: "QuantizationParametersT | None") -> _Scales | None:
    """Equal for equal scales; None where there are none, or more than scales."""
    if quantization is None or quantization.scale is None or quantization.details is not None:
        return None
    zero_points = () if quantization.zeroPoint is None else tuple(quantization.zeroPoint)
    return tuple(quantization.scale), zero_points, quantization.quantizedDimension
