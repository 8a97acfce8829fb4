"""Every way to ask the same weights, at a fixed number of tokens and from the raw text."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from ai_edge_litert.interpreter import Interpreter
from onnxruntime import InferenceSession
from peers_files import Material
from peers_network import INPUT_NAMES
from peers_timing import Contender, unchanged

from tfkd.compression.litert import LiteRTModel
from tfkd.compression.saved_model import SIGNATURE_PREFIX
from tfkd.models.classifier import TextClassifier

Arrays = Mapping[str, np.ndarray]
# Order of summation only.
TOLERANCE = 1e-4
ONNX_NAMES = {"float32": "ONNX Runtime float32", "int8": "ONNX Runtime dynamic int8"}
COMPILED = "PyTorch compile"
PADDED, FREE = "padded", "not padded"


def encoded_contenders(material: Material, length: int) -> list[Contender]:
    """All contenders, asked with int32 arrays `[1, length]` of token ids, mask and segments."""
    litert = [_litert(name, file, length) for name, file in material.litert.items()]
    return [*litert, *_onnx(material), *_torch(material), *_keras(material.classifier)]


def text_contenders(material: Material, read_before: Sequence[str]) -> list[Contender]:
    """All contenders, asked with one string.

    ONNX Runtime and PyTorch get the fast tokenizer of Hugging Face, with padding to the student's
    length and without; LiteRT and Keras get tfkd's.

    Args:
        material: `Material`.
        read_before: Strings. What tfkd's tokenizers, which remember words, have seen already.
    """
    found = [
        _litert_from_text(name, file, material, read_before)
        for name, file in material.litert.items()
    ]
    for padding in (PADDED, FREE):
        tokenize = _tokenize(material, padding)
        for peer in (*_onnx(material), *_torch(material)):
            # Without padding every length would be compiled.
            if (peer.name, padding) != (COMPILED, FREE):
                variant = f"{peer.variant}, {padding}".removeprefix(", ")
                found.append(dataclasses.replace(_from_text(peer, tokenize), variant=variant))
    student = material.at_own_length()
    student.encode(read_before)
    found += [_from_text(peer, lambda text: student.encode([text])) for peer in _keras(student)]
    return found


def _litert(name: str, file: Path, length: int) -> Contender:
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner(f"{SIGNATURE_PREFIX}{length}")
    return Contender(
        name,
        lambda arrays: runner(**arrays)["logits"],
        file.stat().st_size,
        tolerance=_litert_tolerance(name),
    )


def _litert_from_text(
    name: str, file: Path, material: Material, read_before: Sequence[str]
) -> Contender:
    model = LiteRTModel(file, material.at_own_length().tokenizer)
    model.encode(read_before)
    return Contender(
        name,
        lambda text: model.predict([text]),
        model.size_bytes,
        tolerance=_litert_tolerance(name),
    )


def _litert_tolerance(name: str) -> float | None:
    return TOLERANCE if "float32" in name else None


def _onnx(material: Material) -> Iterator[Contender]:
    for (precision, variant), session in material.sessions.items():
        yield Contender(
            ONNX_NAMES[precision],
            _session_answer(session),
            material.onnx[precision, variant].stat().st_size,
            variant,
            _int64,
            TOLERANCE if precision == "float32" else None,
        )


def _session_answer(session: InferenceSession) -> Callable[[Arrays], np.ndarray]:
    return lambda arrays: session.run(None, arrays)[0]


def _torch(material: Material) -> Iterator[Contender]:
    size_bytes = material.network.size_bytes
    for name, network in (("PyTorch eager", material.network), (COMPILED, material.compiled)):
        yield Contender(name, _network_answer(network), size_bytes, "", _tensors, TOLERANCE)


def _network_answer(network: Any) -> Callable[[Mapping[str, torch.Tensor]], np.ndarray]:
    @torch.inference_mode()
    def answer(tensors: Mapping[str, torch.Tensor]) -> np.ndarray:
        return network(**tensors).numpy()

    return answer


def _keras(classifier: TextClassifier) -> Iterator[Contender]:
    size_bytes = classifier.size_bytes
    function = classifier.predict_encoded
    yield Contender("Keras tf.function", function, size_bytes, tolerance=TOLERANCE)
    yield Contender(
        "Keras predict",
        lambda arrays: classifier.model.predict(arrays, verbose=0),
        size_bytes,
        tolerance=TOLERANCE,
    )


def _int64(arrays: Arrays) -> dict[str, np.ndarray]:
    return {name: arrays[name].astype(np.int64, copy=False) for name in INPUT_NAMES}


def _tensors(arrays: Arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in _int64(arrays).items()}


def _from_text(peer: Contender, tokenize: Callable[[str], Arrays]) -> Contender:
    """The contender asked with a text: what was prepared before is now timed with the rest."""
    return dataclasses.replace(
        peer, ask=lambda text: peer.ask(peer.prepare(tokenize(text))), prepare=unchanged
    )


def _tokenize(material: Material, padding: str) -> Callable[[str], Arrays]:
    """Hugging Face's tokenizer with the student's vocabulary and length."""
    word_piece = material.classifier.tokenizer.word_piece
    vocabulary = {token: index for index, token in enumerate(word_piece.vocabulary)}
    tokenizer = tokenizers.BertWordPieceTokenizer(vocabulary, lowercase=word_piece.lowercase)
    tokenizer.enable_truncation(material.sequence_length)
    if padding == PADDED:
        tokenizer.enable_padding(length=material.sequence_length, pad_id=word_piece.padding_id)

    def tokenize(text: str) -> Arrays:
        found = tokenizer.encode(text)
        rows = (found.ids, found.attention_mask, found.type_ids)
        return {name: np.array([row]) for name, row in zip(INPUT_NAMES, rows, strict=True)}

    return tokenize
