"""Writes the folders of formats that bring their own program.

Beside the model lie the vocabulary, what the answers mean, and the programs of this package. The
tokenizer in Python is tfkd's own module; the one in JavaScript reads the same table of characters.
"""

import json
import re
from pathlib import Path

from tfkd.compression.formats import ONNX, PYTHON, WEB
from tfkd.models import code_points, wordpiece
from tfkd.models.classifier import TextClassifier

_HERE = Path(__file__).parent
_IN_PYTHON = (_HERE / "text_classifier.py", Path(wordpiece.__file__), Path(code_points.__file__))
_PROGRAMS = {
    PYTHON: _IN_PYTHON,
    ONNX: _IN_PYTHON,
    WEB: tuple(sorted((_HERE / "web").iterdir())),
}
_REQUIREMENTS = {
    PYTHON: "ai-edge-litert>=2.3\nnumpy>=2.0\n",
    ONNX: "numpy>=2.0\nonnxruntime>=1.20\n",
}


def write_kit(
    format_name: str, classifier: TextClassifier, length: int, model: bytes, folder: Path
) -> None:
    """Writes a folder that answers texts.

    Args:
        format_name: String. One of `tfkd.compression.formats.KITS`.
        classifier: `TextClassifier` with a WordPiece vocabulary.
        length: Integer. Tokens of the longest text.
        model: Bytes of the file made from it: ONNX, or LiteRT with the signatures
            `tokens_<length>`.
        folder: Path. Is made.
    """
    tokenizer = classifier.tokenizer.word_piece
    settings = {
        "task": classifier.task,
        "label_names": classifier.label_names,
        "thresholds": classifier.label_thresholds,
        "num_texts": classifier.num_texts,
        "sequence_length": length,
        "lowercase": tokenizer.lowercase,
    }
    contents = {
        "model.onnx" if format_name == ONNX else "model.tflite": model,
        "vocabulary.txt": "\n".join(tokenizer.vocabulary).encode(),
        "settings.json": json.dumps(settings, ensure_ascii=False, indent=2).encode(),
        code_points.PATH.name: code_points.PATH.read_bytes(),
    }
    for source in _PROGRAMS[format_name]:
        contents[source.name] = _without_tfkd(source)
    if format_name in _REQUIREMENTS:
        contents["requirements.txt"] = _REQUIREMENTS[format_name].encode()
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def _without_tfkd(source: Path) -> bytes:
    """A program as it is, its imports from the same folder."""
    text = source.read_text(encoding="utf-8")
    return re.sub(
        r"^from tfkd\.(?:\w+\.)*(\w+) import", r"from \1 import", text, flags=re.M
    ).encode()
