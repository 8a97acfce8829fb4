"""An exported folder that answers the same calls as the student it was made from.

For the parity gate and for timing: what is asked is the program in Python that the folder holds,
and of a folder for browsers the same program.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfkd.compression.kits.text_classifier import TextClassifier
from tfkd.data.examples import Texts
from tfkd.quiet import native_stderr_hidden


class KitModel:
    """Predicts with a folder of `tfkd.compression.formats.KITS`.

    Args:
        path: Path. The folder.
        threads: Integer. Threads of one prediction.

    Example:

    >>> KitModel(Path("saved_models/demo/student/onnx-dynamic_int8")).predict(["Oil."])
    array([[0.31, 0.02, -0.4]], dtype=float32)
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        with native_stderr_hidden():
            self._client = TextClassifier(path, threads)

    def encode(self, texts: Texts, length: int | None = None) -> dict[str, np.ndarray]:
        """Token arrays of the texts, int32 `[n, length]`."""
        return self._client.tokenizer.encode(texts, length)

    def predict(self, texts: Texts) -> np.ndarray:
        """Logits of texts or pairs of texts: float32 `[n, num_outputs]`."""
        return self._client.logits(texts)

    def predict_encoded(
        self, arrays: Mapping[str, np.ndarray], length: int | None = None
    ) -> np.ndarray:
        """Logits of encoded texts, row by row.

        Args:
            arrays: Mapping of the model's inputs to int32 arrays of shape `[n, width]`.
            length: Integer. Columns to read. Default: all.
        """
        rows = [
            {name: values[row : row + 1, :length] for name, values in arrays.items()}
            for row in range(len(arrays["token_ids"]))
        ]
        return np.concatenate([self._client.answer(row) for row in rows])
