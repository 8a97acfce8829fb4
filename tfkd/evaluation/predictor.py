"""Protocol of a model under evaluation: it answers texts with logits.

The Keras classifier, a LiteRT file and any later package have these four members, so quality and
speed are measured by the same code, whatever runs underneath.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from tfkd.data.examples import Texts


class Predictor(Protocol):
    """A model that answers texts with logits.

    Example:
    >>> logits = predictor.predict(["Oil prices fell again.", "The striker scored twice."])
    >>> logits.shape
    (2, 4)
    """

    @property
    def size_bytes(self) -> int:
        """Bytes of the model's own files; never a folder's entry, never the tokenizer's files."""
        ...

    def predict(self, texts: Texts) -> np.ndarray:
        """Float32 logits of shape `[num_texts, num_outputs]`, tokenization included."""
        ...

    def encode(self, texts: Texts, length: int | None = None) -> dict[str, np.ndarray]:
        """Int32 arrays of shape `[num_texts, length]` by input name.

        Args:
            texts: Strings, or pairs of strings for a sentence-pair task.
            length: Integer. Width of the arrays. None: what the longest text needs.
        """
        ...

    def predict_encoded(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Float32 logits of shape `[num_texts, num_outputs]` for what `encode` returned."""
        ...
