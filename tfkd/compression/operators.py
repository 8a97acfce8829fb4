"""The parts of a LiteRT file that run as integers, and those that XNNPACK takes over.

Types are read from the file. Delegation is read from the interpreter, which lists a node for each
part of the graph it handed over: what lies between such a node's inputs and outputs is inside.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfkd.compression import flatbuffer
from tfkd.compression.flatbuffer import Operator
from tfkd.compression.litert import open_interpreter

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
        count: Number of operators.
        num_delegated: Number of them that XNNPACK runs.
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

    def to_dict(self) -> dict[str, object]:
        """The figures as JSON values."""
        return {
            "groups": [dataclasses.asdict(group) for group in self.groups],
            "partitions": self.partitions,
            "is_whole": self.is_whole,
            "sentence": self.sentence,
        }

    def _counted(self, noun: str, names: Sequence[str]) -> Iterator[str]:
        """Counts of the operators with weights of their own: '15 products int8 weights'."""
        found: Counter[tuple[str, str]] = Counter()
        for group in self.groups:
            if group.name in names and _is_weighted(group):
                found[group.weights, group.arithmetic] += group.count
        for (weights, arithmetic), count in found.most_common():
            kind = f"{weights} weights" if noun == "product" else weights
            # A lookup moves rows; only a product can be exact or not.
            integer = ", integer activations" if noun == "product" and arithmetic == INTEGER else ""
            yield f"{_plural(count, noun)} {kind}{integer}"


@dataclasses.dataclass(frozen=True)
class IntegerProof:
    """Integer operators of a file, over all its signatures and the bodies of its loops.

    Attributes:
        products: Operators that multiply with a kernel or two activations with each other.
        lookups: Operators that read rows of a table.
        loops: WHILE operators. Products inside are asked like all others; states may be float.
        exceptions: Products and lookups that are not integer, and constants that are converted at
            run time: "1 FULLY_CONNECTED hybrid int8". Empty where the file holds its promise.
    """

    products: int
    lookups: int
    loops: int
    exceptions: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The figures as JSON values."""
        return {**dataclasses.asdict(self), "exceptions": list(self.exceptions)}


def describe(path: Path) -> OperatorReport:
    """Reads a file and lets LiteRT divide it.

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


def integer_proof(path: Path, tables: str = "int8") -> IntegerProof:
    """Whether a file does what "quantized during training" promises, read off its operators.

    Every product has integers on both sides and every lookup reads a table of the type asked for,
    in every signature. Nor is a constant converted at run time: two ranges for one table make the
    converter put it on the second one again for each text.

    Args:
        path: Path. A `.tflite` file.
        tables: String. "int8", or "int4" for lookups that give floats.

    Returns:
        `IntegerProof`; `exceptions` is empty if it holds.

    Raises:
        ArtifactError: The file is no LiteRT file.

    Example:

    >>> integer_proof(folder / "dynamic_int8.tflite").exceptions
    ("14 FULLY_CONNECTED hybrid int8", "4 BATCH_MATMUL float", "1 GATHER float float32")
    """
    model = flatbuffer.read(path.read_bytes())
    counts = Counter(
        (operator.name, arithmetic(operator), weight_type(operator))
        for signature in flatbuffer.signatures(model)
        for operator in flatbuffer.operators(model, signature)
    )
    products = [kind for kind in counts if kind[0] in PRODUCTS]
    lookups = [kind for kind in counts if kind[0] in LOOKUPS and kind[2]]
    wrong = [kind for kind in products if kind[1] != INTEGER]
    wrong += [kind for kind in lookups if kind[2] != tables]
    wrong += [kind for kind in counts if kind[0] in _CONVERSIONS and kind[2]]
    exceptions = [" ".join(filter(None, [str(counts[kind]), *kind])) for kind in wrong]
    exceptions += [] if products else ["no product"]
    exceptions += [] if lookups else ["no table lookup"]
    return IntegerProof(
        products=sum(counts[kind] for kind in products),
        lookups=sum(counts[kind] for kind in lookups),
        loops=sum(count for kind, count in counts.items() if kind[0] == "WHILE"),
        exceptions=tuple(exceptions),
    )


def arithmetic(operator: Operator) -> str:
    """Arithmetic of an operator: see `OperatorGroup`."""
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
    """Operators of the first subgraph that XNNPACK runs, and the number of its parts."""
    # No public call lists operators (LiteRT 2.3.0); delegates stand behind those of the file.
    nodes = open_interpreter(path)._get_ops_details()
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
