"""Every model tfkd can build by a word alone, with what a user should know before choosing it.

Presets, folders and `hf://` or `kaggle://` handles are models too; they are found by
`tfkd.models.checkpoints` and are not listed here one by one.
"""

import dataclasses

PRETRAINED_LEARNING_RATE = 5e-5


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """One word of `--model`, `--teacher` or `--student`.

    Attributes:
        name: The word.
        kind: "bert", "bilstm" or "cnn".
        description: One line for `tfkd list models`.
        learning_rate: Peak learning rate used when none is given; a starting point, not tuned.
        num_layers: Transformer layers, or recurrent layers.
        hidden_dim: Width of a token vector.
        num_heads: Attention heads; 0 where there is no attention.
        filters: Detectors of a CNN; 0 for all others.
        units: LSTM units in each direction; 0 for all others.
    """

    name: str
    kind: str
    description: str
    learning_rate: float
    num_layers: int = 1
    hidden_dim: int = 128
    num_heads: int = 0
    filters: int = 0
    units: int = 0


def _bert(name: str, layers: int, width: int, learning_rate: float) -> ModelEntry:
    return ModelEntry(
        name, "bert", f"BERT with {layers} layers of {width}, from scratch", learning_rate,
        layers, width, width // 64,
    )  # fmt: skip


CATALOG: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        _bert("bert_tiny", 2, 128, 1e-3),
        _bert("bert_mini", 4, 256, 5e-4),
        _bert("bert_small", 4, 512, 3e-4),
        _bert("bert_medium", 8, 512, 2e-4),
        _bert("bert_base", 12, 768, 1e-4),
        ModelEntry(
            "bilstm", "bilstm", "Bidirectional LSTM over a token table, max pooling", 2e-3,
            units=128,
        ),
        ModelEntry(
            "bilstm_small", "bilstm", "The same with 8 units each way over a table of width 16",
            5e-3, hidden_dim=16, units=8,
        ),
        ModelEntry(
            "cnn", "cnn", "1-D convolutions over a token table, max pooling", 1e-3, filters=512
        ),
        ModelEntry(
            "cnn_small", "cnn", "The same with half the detectors and half the width", 1e-3,
            hidden_dim=64, filters=256,
        ),
    )
}  # fmt: skip


def default_learning_rate(name: str) -> float:
    """The entry's own rate, or the one for pretrained encoders."""
    return CATALOG[name].learning_rate if name in CATALOG else PRETRAINED_LEARNING_RATE
