"""The classification head of a published classifier, as plain arrays.

Alone because the readers of checkpoints, which fill it, do without TensorFlow, and the builder of
encoders, which takes it, does not.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Head:
    """A published classifier's own head, to be taken over as it is.

    Attributes:
        pooler: Kernel `[width, width]` and bias `[width]` of the layer before the logits, or None
            where the backbone has it inside (BERT).
        pooler_activation: "tanh" or "relu".
        logits: Kernel `[width, num_outputs]` and bias `[num_outputs]`.
        label_names: Class names in index order.
    """

    pooler: tuple[np.ndarray, np.ndarray] | None
    pooler_activation: str
    logits: tuple[np.ndarray, np.ndarray]
    label_names: tuple[str, ...]
