"""Every model tfkd can build by a word alone, with what a user should know before choosing it.

Presets, folders and `hf://` or `kaggle://` handles are models too; they are found by
`tfkd.models.checkpoints` and are not listed here one by one.
"""

import dataclasses

PRETRAINED_LEARNING_RATE = 5e-5
BERT_VOCABULARY_SIZE, ROBERTA_VOCABULARY_SIZE = 30_522, 50_265
# By decoder. Rows of a table that few examples touch: an encoder's rate would hardly move them.
BOTTLENECK_LEARNING_RATES = {"mlp": 3e-3, "values": 1e-1}


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """One word of `--model`, `--teacher` or `--student`.

    Attributes:
        name: The word.
        kind: "bert", "distil_bert" or "roberta" (an encoder), "bilstm" or "cnn".
        description: One line for `tfkd list models`.
        learning_rate: Peak learning rate used when none is given; a starting point, not tuned.
        num_layers: Transformer layers, or recurrent layers.
        hidden_dim: Width of a token vector.
        num_heads: Attention heads; 0 where there is no attention.
        filters: Detectors of a CNN; 0 for all others.
        units: LSTM units in each direction; 0 for all others.
        intermediate_dim: Width between the two products of a transformer layer. None: four times
            `hidden_dim`.
        vocabulary_size: Rows of the published token table. A student has its teacher's instead.
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
    intermediate_dim: int | None = None
    vocabulary_size: int = BERT_VOCABULARY_SIZE


def _encoder(
    name: str, family: str, layers: int, width: int, learning_rate: float, **shape: int
) -> ModelEntry:
    """An encoder of one of the three families; heads of 64 unless `num_heads` says otherwise."""
    kind = {"BERT": "bert", "DistilBERT": "distil_bert", "RoBERTa": "roberta"}[family]
    return ModelEntry(
        name,
        kind,
        f"{family} with {layers} layers of {width}, from scratch",
        learning_rate,
        layers,
        width,
        **{"num_heads": width // 64, **shape},
    )


SIZE_WORDS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        _encoder("bert_tiny", "BERT", 2, 128, 1e-3),
        _encoder("bert_mini", "BERT", 4, 256, 5e-4),
        _encoder("bert_small", "BERT", 4, 512, 3e-4),
        _encoder("bert_medium", "BERT", 8, 512, 2e-4),
        _encoder("bert_base", "BERT", 12, 768, 1e-4),
        # https://arxiv.org/abs/1909.10351, whose four layers have heads of 26.
        _encoder("tinybert_4", "BERT", 4, 312, 5e-4, num_heads=12, intermediate_dim=1200),
        _encoder("tinybert_6", "BERT", 6, 768, 1e-4),
        # https://arxiv.org/abs/2002.10957
        _encoder("minilm_6", "BERT", 6, 384, 3e-4, num_heads=12),
        _encoder("minilm_12", "BERT", 12, 384, 2e-4, num_heads=12),
        # https://arxiv.org/abs/1910.01108
        _encoder("distilbert_base", "DistilBERT", 6, 768, 1e-4),
        _encoder(
            "distilroberta_base", "RoBERTa", 6, 768, 1e-4, vocabulary_size=ROBERTA_VOCABULARY_SIZE
        ),
        ModelEntry(
            "bilstm",
            "bilstm",
            "Bidirectional LSTM over a token table, max pooling",
            2e-3,
            units=128,
        ),
        ModelEntry(
            "bilstm_small",
            "bilstm",
            "The same with 8 units each way over a table of width 16",
            5e-3,
            hidden_dim=16,
            units=8,
        ),
        ModelEntry(
            "cnn", "cnn", "1-D convolutions over a token table, max pooling", 1e-3, filters=512
        ),
        ModelEntry(
            "cnn_small",
            "cnn",
            "The same with half the detectors and half the width",
            1e-3,
            hidden_dim=64,
            filters=256,
        ),
    )
}


def default_learning_rate(size: str | None) -> float:
    """The rate of a size word's entry; of none, the one for published encoders."""
    return PRETRAINED_LEARNING_RATE if size is None else SIZE_WORDS[size].learning_rate
