"""Label names and vocabulary inside a LiteRT file, where MediaPipe's text tasks look for them.

The format is TFLite Metadata: a FlatBuffers table in the file's buffer `TFLITE_METADATA` says what
each tensor means and names two text files, which are a zip archive at the end of the file. It is
written from the published schema, so neither MediaPipe nor tflite-support is needed; any client
that can open a zip archive can read the texts back.
"""

import dataclasses
import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import flatbuffers

from tfkd.compression import flatbuffer
from tfkd.compression.file_seal import sealed

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT

METADATA_NAME = "TFLITE_METADATA"
VOCABULARY_FILE = "vocab.txt"
LABELS_FILE = "labels.txt"
THRESHOLDS_FILE = "thresholds.txt"
# What MediaPipe calls the inputs of a BERT classifier.
INPUT_NAMES = {"token_ids": "ids", "padding_mask": "mask", "segment_ids": "segment_ids"}

_IDENTIFIER = b"M001"
# The first version of the schema that knows BertTokenizerOptions.
_PARSER_VERSION = "1.1.0"
_UNKNOWN, _AXIS_LABELS, _VOCABULARY = 0, 2, 5
_BERT_TOKENIZER_OPTIONS = 4
# The fields of each table in the order of the schema, up to the last one that is written here.
_FIELDS = {
    "ModelMetadata": (
        "name",
        "description",
        "version",
        "subgraph_metadata",
        "author",
        "license",
        "associated_files",
        "min_parser_version",
    ),
    "SubGraphMetadata": (
        "name",
        "description",
        "input_tensor_metadata",
        "output_tensor_metadata",
        "associated_files",
        "input_process_units",
    ),
    "TensorMetadata": (
        "name",
        "description",
        "dimension_names",
        "content",
        "process_units",
        "stats",
        "associated_files",
    ),
    "ProcessUnit": ("options_type", "options"),
    "BertTokenizerOptions": ("vocab_file",),
    "AssociatedFile": ("name", "description", "type"),
}
# The archive's own clock: the same model gives the same bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class _Table:
    """A FlatBuffers table: its kind in the schema and its fields; integers are one byte wide."""

    kind: str
    fields: "Mapping[str, _Value]"

    def written(self, builder: flatbuffers.Builder) -> int:
        """Adds the table to the builder, what it points to first; its offset."""
        values = {name: _written(builder, value) for name, value in self.fields.items()}
        names = _FIELDS[self.kind]
        builder.StartObject(len(names))
        for name, value in values.items():
            if isinstance(self.fields[name], int):
                builder.PrependInt8Slot(names.index(name), value, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(names.index(name), value, 0)
        return builder.EndObject()


_Value = str | int | _Table | list[_Table]


def with_metadata(
    content: bytes,
    label_names: Sequence[str],
    vocabulary: Sequence[str],
    thresholds: Sequence[float] = (),
) -> bytes:
    """The same LiteRT file with label names and vocabulary in it.

    Args:
        content: Bytes of a LiteRT file with one signature: inputs `token_ids`, `padding_mask` and,
            for families that use it, `segment_ids`, int32 `[1, length]`; one output, a float32
            `[1, num_labels]` of scores.
        label_names: Strings. Class names in index order.
        vocabulary: Strings. WordPiece tokens in index order.
        thresholds: Of multi_label: the probability above which each label is given, for clients
            that read the archive; MediaPipe knows no such thing and gives scores.

    Returns:
        Bytes of the file. It has all three inputs, as clients of BERT classifiers give them; one
        that the model has no use for is not read.

    Raises:
        ValueError: The file has other inputs, several signatures or another number of scores.

    Example:

    ```python
    path.write_bytes(with_metadata(content, ("money", "sport"), tokenizer.vocabulary))
    ```

    Reference: `metadata_schema.fbs` of [TFLite
    Support](https://github.com/tensorflow/tflite-support/tree/master/tensorflow_lite_support/metadata)
    """
    model = flatbuffer.read(content)
    _check_signature(model, len(label_names))
    inputs = _input_names(model)
    flatbuffer.add_metadata(model, METADATA_NAME, _metadata(inputs, bool(thresholds)))
    # The archive's own index counts from the start of the file, so it is added to the whole.
    stream = io.BytesIO(sealed(flatbuffer.write(model)))
    # Stored, not deflated: phones map the file into memory and read the texts in place.
    files = {VOCABULARY_FILE: vocabulary, LABELS_FILE: label_names}
    if thresholds:
        files[THRESHOLDS_FILE] = [str(value) for value in thresholds]
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, lines in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), "\n".join(lines) + "\n")
    return sealed(stream.getvalue())


def _check_signature(model: "ModelT", num_labels: int) -> None:
    if len(model.signatureDefs or []) != 1:
        raise ValueError(
            f"Expected one signature. Received: {', '.join(flatbuffer.signatures(model)) or 'none'}"
        )
    (signature,) = model.signatureDefs
    names = {entry.name.decode() for entry in signature.inputs}
    if not {"token_ids", "padding_mask"} <= names <= set(INPUT_NAMES):
        raise ValueError(
            f"Expected inputs {', '.join(INPUT_NAMES)}. Received: {', '.join(sorted(names))}"
        )
    graph = model.subgraphs[signature.subgraphIndex]
    shapes = [list(graph.tensors[index].shape) for index in graph.outputs]
    if shapes != [[1, num_labels]]:
        raise ValueError(f"Expected one output [1, {num_labels}]. Received: {shapes}")


def _input_names(model: "ModelT") -> list[str]:
    """The model's names of all inputs in the order of the file, which clients go by."""
    (signature,) = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    names = {entry.tensorIndex: entry.name.decode() for entry in signature.inputs}
    for name in INPUT_NAMES:
        if name not in names.values():
            names[_added_input(model, name)] = name
    return [names[index] for index in graph.inputs]


def _added_input(model: "ModelT", name: str) -> int:
    """Adds an input like the first one, which no operator reads; its tensor's index."""
    from ai_edge_litert import schema_py_generated as schema

    (signature,) = model.signatureDefs
    graph = model.subgraphs[signature.subgraphIndex]
    first = graph.tensors[graph.inputs[0]]
    index = len(graph.tensors)
    graph.tensors.append(schema.TensorT(shape=first.shape, type=first.type, buffer=0, name=name))
    graph.inputs = [*graph.inputs, index]
    signature.inputs.append(schema.TensorMapT(name=name, tensorIndex=index))
    return index


def _metadata(input_names: Sequence[str], has_thresholds: bool) -> bytearray:
    """The FlatBuffers table that says what the tensors mean."""
    vocabulary = _associated_file(VOCABULARY_FILE, "WordPiece tokens", _VOCABULARY)
    labels = _associated_file(LABELS_FILE, "Class names", _AXIS_LABELS)
    tokenizer = _Table(
        "ProcessUnit",
        {
            "options_type": _BERT_TOKENIZER_OPTIONS,
            "options": _Table("BertTokenizerOptions", {"vocab_file": [vocabulary]}),
        },
    )
    scores: dict[str, _Value] = {"name": "probability", "associated_files": [labels]}
    graph: dict[str, _Value] = {
        "input_tensor_metadata": [
            _Table("TensorMetadata", {"name": INPUT_NAMES[name]}) for name in input_names
        ],
        "output_tensor_metadata": [_Table("TensorMetadata", scores)],
        "input_process_units": [tokenizer],
    }
    model: dict[str, _Value] = {
        "name": "TextClassifier",
        "description": "Gives each class of a text a score in [0, 1].",
        "subgraph_metadata": [_Table("SubGraphMetadata", graph)],
        "min_parser_version": _PARSER_VERSION,
    }
    if has_thresholds:
        told = "A label is given where its score is above its line here"
        model["associated_files"] = [_associated_file(THRESHOLDS_FILE, told, _UNKNOWN)]
    builder = flatbuffers.Builder()
    builder.Finish(_Table("ModelMetadata", model).written(builder), _IDENTIFIER)
    return builder.Output()


def _associated_file(name: str, description: str, kind: int) -> _Table:
    return _Table("AssociatedFile", {"name": name, "description": description, "type": kind})


def _written(builder: flatbuffers.Builder, value: _Value) -> int:
    """A field's value as its table stores it: the integer itself, or where it was put."""
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, _Table):
        return value.written(builder)
    offsets = [table.written(builder) for table in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):  # a vector is written from its end
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
