"""A text classifier in a folder, for Python.

Install what requirements.txt names, and ask it:

    from text_classifier import TextClassifier

    TextClassifier().predict(["Oil prices fell again on Friday."])

On the command line, a JSON object a text (the two of a pair with a tab between):

    python text_classifier.py "Oil prices fell again on Friday."
"""

import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfkd.models.wordpiece import WordPieceTokenizer

Texts = str | Sequence[str] | Sequence[tuple[str, ...]]
Arrays = Mapping[str, np.ndarray]
# From token arrays to logits, the names of the arrays, and the lengths the file takes; None: any.
_Opened = tuple[Callable[[Arrays], np.ndarray], list[str], list[int] | None]


class TextClassifier:
    """Answers texts with labels and probabilities. One object is for one thread at a time.

    Args:
        folder: Path. Holds the model, `vocabulary.txt` and `settings.json`.
        threads: Integer. Threads of one prediction.

    Example:

    >>> TextClassifier().predict("Oil prices fell again on Friday.")
    [{'label': 'business', 'probability': 0.97, 'probabilities': {'business': 0.97, ...}}]
    """

    def __init__(self, folder: Path | str = Path(__file__).parent, threads: int = 1) -> None:
        folder = Path(folder)
        self.settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        self.label_names = self.settings["label_names"]
        is_onnx = (folder / "model.onnx").exists()
        opened = _open_onnx(folder, threads) if is_onnx else _open_litert(folder, threads)
        self.answer, self.input_names, self._lengths = opened
        self.tokenizer = WordPieceTokenizer(
            (folder / "vocabulary.txt").read_bytes().decode().split("\n"),
            self.settings["sequence_length"],
            self.settings["lowercase"],
            has_segments="segment_ids" in self.input_names,
        )

    def encode(self, text: str | tuple[str, ...]) -> dict[str, np.ndarray]:
        """What the model reads of one text: int32 `[1, length]` by name."""
        number = self.settings["num_texts"]
        if (1 if isinstance(text, str) else len(text)) != number:
            raise ValueError(f"Expected {number} text(s) in each row. Received: {text!r}")
        return self.tokenizer.encode([text], self._lengths)

    def logits(self, texts: Texts) -> np.ndarray:
        """The model's own numbers: float32 `[n, num_outputs]`."""
        rows = [texts] if isinstance(texts, str) else texts
        return np.concatenate([self.answer(self.encode(row)) for row in rows])

    def scores(self, texts: Texts) -> np.ndarray:
        """Probabilities, for a regression the score itself: float64 `[n, num_outputs]`."""
        logits = self.logits(texts).astype(np.float64)
        if self.settings["task"] == "regression":
            return logits
        if self.settings["task"] == "multi_label":
            return 1 / (1 + np.exp(-logits))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, texts: Texts) -> list[dict[str, Any]]:
        """Label, or labels above their thresholds, or score of each text."""
        return [self._named(row) for row in self.scores(texts).tolist()]

    def _named(self, row: list[float]) -> dict[str, Any]:
        if self.settings["task"] == "regression":
            return {"score": row[0]}
        probabilities = dict(zip(self.label_names, row, strict=True))
        if self.settings["task"] == "multi_label":
            given = np.array(row) > self.settings["thresholds"]
            labels = list(itertools.compress(self.label_names, given))
            return {"labels": labels, "probabilities": probabilities}
        best = int(np.argmax(row))
        return {
            "label": self.label_names[best],
            "probability": row[best],
            "probabilities": probabilities,
        }


def _open_onnx(folder: Path, threads: int) -> _Opened:
    """The file for ONNX Runtime, which takes texts of any length."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    names = [entry.name for entry in session.get_inputs()]

    def answer(arrays: Arrays) -> np.ndarray:
        return session.run(["logits"], {name: arrays[name] for name in names})[0]

    return answer, names, None


def _open_litert(folder: Path, threads: int) -> _Opened:
    """The file for LiteRT, which has one signature for each length, over the same weights."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "model.tflite"), num_threads=threads)
    # `tokens_32`, `tokens_64`, ...
    runners = {
        int(name.removeprefix("tokens_")): interpreter.get_signature_runner(name)
        for name in interpreter.get_signature_list()
    }
    lengths = sorted(runners)
    names = list(runners[lengths[0]].get_input_details())

    def answer(arrays: Arrays) -> np.ndarray:
        runner = runners[arrays["token_ids"].shape[1]]
        return runner(**{name: arrays[name] for name in names})["logits"]

    return answer, names, lengths


if __name__ == "__main__":
    classifier = TextClassifier()
    for line in sys.argv[1:] or sys.stdin.read().splitlines():
        is_pair = classifier.settings["num_texts"] == 2
        found = classifier.predict([tuple(line.split("\t", 1))] if is_pair else line)
        sys.stdout.write(json.dumps(found[0], ensure_ascii=False) + "\n")
