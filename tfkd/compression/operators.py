"""What of a LiteRT file really runs as integers, and how much of it XNNPACK takes over.

Types are read from the file. Delegation is read from the interpreter, which lists a node for each
part of the graph it handed over: what lies between such a node's inputs and outputs is inside.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tfkd.compression import flatbuffer
from tfkd.compression.flatbuffer import Operator
from tfkd.errors import ArtifactError
from tfkd.quiet import native_stderr_hidden

INTEGER, HYBRID, FLOAT, CONVERSION, INDEX = "integer", "hybrid", "float", "conversion", "index"
PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_MATMUL")
LOOKUPS = ("GATHER", "EMBEDDING_LOOKUP")
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE", "CAST")
_FLOATS = ("float32", "float16")


@dataclasses.dataclass(frozen=True)
class OperatorGroup:
    """Operators of one name that compute alike.

    Attributes:
        name: "FULLY_CONNECTED", ...
        arithmetic: "integer": all its numbers are integers with a scale; "hybrid": integer weights,
            float activations; "float"; "conversion": from one of these to another; "index": ids,
            masks and shapes.
        weights: Type of its constant, "int4", "int8", "float32", ...; "" where it has none.
        count: How many there are.
        num_delegated: How many of them XNNPACK runs.
    """

    name: str
    arithmetic: str
    weights: str
    count: int
    num_delegated: int


@dataclasses.dataclass(frozen=True)
class OperatorReport:
    """The operators of a file's first signature; the others differ in length only.

    Attributes:
        groups: `OperatorGroup`s, the most frequent first. Bodies of loops are counted, but the
            interpreter does not tell whether XNNPACK runs them.
        partitions: Parts of the graph that XNNPACK runs; 0 where it runs none.
    """

    groups: tuple[OperatorGroup, ...]
    partitions: int

    @property
    def is_whole(self) -> bool:
        """Whether XNNPACK runs all but lookups and conversions in one piece."""
        outside = [group for group in self.groups if group.num_delegated < group.count]
        return self.partitions == 1 and all(
            group.name in LOOKUPS or group.arithmetic in (INDEX, CONVERSION) for group in outside
        )

    @property
    def sentence(self) -> str:
        """One line for a table.

        Example:

        >>> describe(path).sentence
        '15 products int8 weights, 1 lookup int4, 61 float; 2 partitions'
        """
        parts = [
            *self._counted("product", PRODUCTS),
            *self._counted("lookup", LOOKUPS),
        ]
        rest: Counter[str] = Counter()
        for group in self.groups:
            if group.arithmetic in (INTEGER, HYBRID, FLOAT) and not _is_weighted(group):
                rest[group.arithmetic] += group.count
        parts += [f"{count} {arithmetic}" for arithmetic, count in rest.most_common()]
        whole = "whole in " if self.is_whole else ""
        return f"{', '.join(parts)}; {whole}{_plural(self.partitions, 'partition')}"

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "groups": [dataclasses.asdict(group) for group in self.groups],
            "partitions": self.partitions,
            "is_whole": self.is_whole,
            "sentence": self.sentence,
        }

    def _counted(self, noun: str, names: Sequence[str]) -> Iterator[str]:
        """What operators with weights of their own look like: '15 products int8 weights'."""
        found: Counter[tuple[str, str]] = Counter()
        for group in self.groups:
            if group.name in names and _is_weighted(group):
                found[group.weights, group.arithmetic] += group.count
        for (weights, arithmetic), count in found.most_common():
            kind = f"{weights} weights" if noun == "product" else weights
            # A lookup moves rows; only a product can be exact or not.
            integer = ", integer activations" if noun == "product" and arithmetic == INTEGER else ""
            yield f"{_plural(count, noun)} {kind}{integer}"


def describe(path: Path) -> OperatorReport:
    """Reads a file and lets LiteRT divide it.

    Args:
        path: Path. A `.tflite` file.

    Returns:
        `OperatorReport`.

    Raises:
        ArtifactError: The file is no LiteRT file.

    Example:

    ```python
    describe(folder / "dynamic_int8.tflite").is_whole
    ```
    """
    model = flatbuffer.read(path.read_bytes())
    inside, partitions = _delegated(path, len(model.subgraphs[0].operators))
    counts: Counter[tuple[str, str, str]] = Counter()
    delegated: Counter[tuple[str, str, str]] = Counter()
    for index, operator in enumerate(_as_stored(flatbuffer.reachable_operators(model, 0))):
        key = operator.name, arithmetic(operator), weight_type(operator)
        counts[key] += 1
        delegated[key] += index in inside
    groups = [OperatorGroup(*key, count, delegated[key]) for key, count in counts.most_common()]
    return OperatorReport(tuple(groups), partitions)


def arithmetic(operator: Operator) -> str:
    """How an operator computes: see `OperatorGroup`."""
    flowing = [tensor for tensor in (*operator.inputs, *operator.outputs) if not tensor.is_constant]
    has_floats = any(tensor.type in _FLOATS for tensor in flowing)
    has_integers = any(tensor.is_quantized for tensor in flowing)
    if operator.name in _CONVERSIONS:
        return CONVERSION
    if has_floats and (has_integers or weight_type(operator).startswith("int")):
        return HYBRID
    if has_floats:
        return FLOAT
    return INTEGER if has_integers else INDEX


def weight_type(operator: Operator) -> str:
    """Type of the constant that an operator multiplies with or reads from; "" without one."""
    for tensor in operator.inputs:
        if tensor.is_constant and (tensor.is_quantized or tensor.type in _FLOATS):
            return tensor.type
    return ""


def _as_stored(operators: Sequence[Operator]) -> list[Operator]:
    """Operators with float16 constants as their own, which the file unpacks for them first."""
    packed = {
        operator.outputs[0].name: operator.inputs[0]
        for operator in operators
        if operator.name == "DEQUANTIZE" and operator.inputs[0].is_constant
    }
    return [
        dataclasses.replace(
            operator, inputs=tuple(packed.get(tensor.name, tensor) for tensor in operator.inputs)
        )
        for operator in operators
    ]


def _delegated(path: Path, num_operators: int) -> tuple[set[int], int]:
    """Which operators of the first subgraph XNNPACK runs, and in how many parts."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        with native_stderr_hidden():
            interpreter = Interpreter(str(path), num_threads=1)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"Expected a LiteRT file. Received: {path}, which cannot be read: {error}. Write it "
            "again with `tfkd export --overwrite`."
        ) from error
    # No public call lists operators (LiteRT 2.3.0); delegates stand behind those of the file.
    nodes = interpreter._get_ops_details()
    makers = {
        int(tensor): index
        for index, node in enumerate(nodes[:num_operators])
        for tensor in node["outputs"]
    }
    inside: set[int] = set()
    for node in nodes[num_operators:]:
        given = {int(tensor) for tensor in node["inputs"]}
        wanted = [int(tensor) for tensor in node["outputs"]]
        while wanted:
            tensor = wanted.pop()
            if tensor not in given and tensor in makers and makers[tensor] not in inside:
                inside.add(makers[tensor])
                wanted += [int(source) for source in nodes[makers[tensor]]["inputs"]]
    return inside, len(nodes) - num_operators


def _is_weighted(group: OperatorGroup) -> bool:
    return group.name in (*PRODUCTS, *LOOKUPS) and group.weights != ""


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
