"""A student in every form: LiteRT files, ONNX files, a PyTorch network."""

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from peers_network import INPUT_NAMES, Network
from peers_timing import NUM_SPECIAL_TOKENS

from tfkd.compression.quantizer import litert_bytes
from tfkd.compression.recipes import find
from tfkd.compression.saved_model import write_saved_model
from tfkd.errors import ModelError
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.sizes import ModelEntry

RECIPES = ("dynamic_int8", "float32", "int4_tables")
RECIPES_OF_WHOLE_LAYER = ("dynamic_int8", "float32")


@dataclasses.dataclass
class Material:
    """One student in all forms.

    Attributes:
        classifier: The Keras student, with a tokenizer for the longest of the timed lengths.
        sequence_length: Its own length in tokens.
        litert: LiteRT files by the name of their row.
        onnx: ONNX files by precision ("float32", "int8") and variant.
        network: The PyTorch network.
    """

    classifier: TextClassifier
    sequence_length: int
    litert: dict[str, Path]
    onnx: dict[tuple[str, str], Path]
    network: Network

    @functools.cached_property
    def sessions(self) -> dict[tuple[str, str], onnxruntime.InferenceSession]:
        """ONNX Runtime with all its optimizations, one session for texts of any length."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        providers = ["CPUExecutionProvider"]
        return {
            key: onnxruntime.InferenceSession(file, options, providers)
            for key, file in self.onnx.items()
        }

    @functools.cached_property
    def compiled(self) -> Any:
        """The network compiled for each length it meets; this happens in the warm-up."""
        return torch.compile(self.network, dynamic=False)

    def count_tokens(self, word: str) -> int:
        """Tokens of a word."""
        return int(self.classifier.encode([word])["padding_mask"].sum()) - NUM_SPECIAL_TOKENS

    def at_own_length(self) -> TextClassifier:
        """The student for its own length, with a tokenizer that has seen no word yet."""
        tokenizer = self.classifier.tokenizer.with_length(self.sequence_length)
        return dataclasses.replace(self.classifier, tokenizer=tokenizer)


def untrained(entry: ModelEntry, like: TextClassifier) -> TextClassifier:
    """An untrained model of a size word with another one's vocabulary, length and classes."""
    keras.utils.set_random_seed(0)
    backbone = encoder_from_scratch(entry, like.tokenizer.vocabulary_size)
    model = build_encoder_classifier(backbone, len(like.label_names))
    return TextClassifier(model, like.tokenizer, like.task, like.label_names, like.num_texts)


def make_material(classifier: TextClassifier, folder: Path, lengths: Sequence[int]) -> Material:
    """Writes all files of a student.

    Args:
        classifier: `TextClassifier` of single texts.
        folder: Path. Where the files go.
        lengths: Integers. Signatures of the LiteRT files, beside the student's own length.

    Raises:
        ModelError: The student is not of the BERT family, or takes pairs of texts.
        ConversionError: ai-edge-quantizer is not installed.
    """
    if classifier.num_texts != 1:
        raise ModelError("Expected a student of single texts. Received: one of pairs of texts.")
    own_length = classifier.tokenizer.sequence_length
    lengths = sorted({*lengths, own_length})
    classifier = dataclasses.replace(
        classifier, tokenizer=classifier.tokenizer.with_length(lengths[-1])
    )
    # Its bytes are those of its file.
    classifier.save(folder / "keras")
    network = Network(classifier)
    litert = write_litert(classifier, lengths, folder / "lean")
    if network.has_pooler:
        litert |= write_litert(classifier, lengths, folder / "whole", whole_last_layer=True)
    return Material(classifier, own_length, litert, write_onnx(network, folder), network)


def write_onnx(network: Network, folder: Path) -> dict[tuple[str, str], Path]:
    """ONNX files for texts of any length, by precision and variant.

    PyTorch's export is one graph; the other is made of it by ONNX Runtime's own optimizer for BERT,
    with its Attention, EmbedLayerNormalization, SkipLayerNormalization and FastGelu. Both are
    quantized by `quantize_dynamic`, all that it knows or the matrix products only.
    """
    exported, fused = folder / "exported.onnx", folder / "fused.onnx"
    # The optimizer knows the attention that is written out and the exporter before `dynamo`.
    network.bert.set_attn_implementation("eager")
    example = torch.ones((1, 16), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example, example, torch.zeros_like(example)),
            str(exported),
            input_names=list(INPUT_NAMES),
            output_names=["logits"],
            opset_version=17,
            dynamic_axes={name: {1: "length"} for name in INPUT_NAMES},
            dynamo=False,
        )
    network.bert.set_attn_implementation("sdpa")
    config = network.bert.config
    optimized = optimize_model(
        str(exported), "bert", config.num_attention_heads, config.hidden_size, opt_level=0
    )
    optimized.save_model_to_file(str(fused))
    files = {("float32", "exported"): exported, ("float32", "fused"): fused}
    for variant, file in (("exported", exported), ("fused", fused)):
        for scope, operators in (("", None), (", products only", ["MatMul", "Attention"])):
            written = folder / f"{variant}{scope.replace(', ', '_')}_int8.onnx"
            quantize_dynamic(
                file,
                written,
                op_types_to_quantize=operators,
                weight_type=QuantType.QInt8,
                # Fused operators have no shape inference, and it asks for the type of results.
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
            )
            files["int8", variant + scope] = written
    return files


def write_litert(
    classifier: TextClassifier,
    lengths: Sequence[int],
    folder: Path,
    whole_last_layer: bool = False,
) -> dict[str, Path]:
    """LiteRT files of the lean graph, by the name of their row.

    Raises:
        ModelError: The classifier has no lean graph.
    """
    saved = folder / "saved_model"
    route = write_saved_model(classifier, lengths, saved, whole_last_layer=whole_last_layer)
    if route.reason:
        raise ModelError(
            f"Expected a student with a lean graph. Received: one without, {route.reason}. Give a "
            "run with a bert_* student."
        )
    files = {}
    for recipe in RECIPES_OF_WHOLE_LAYER if whole_last_layer else RECIPES:
        name = f"LiteRT {recipe}{', whole last layer' if whole_last_layer else ''}"
        files[name] = folder / f"{recipe}.tflite"
        files[name].write_bytes(litert_bytes(str(saved), find(recipe), lengths))
    return files
