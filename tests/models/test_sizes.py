"""The words a user may give for a model, and what they stand for."""

import pytest

from tfkd.models.sizes import PRETRAINED_LEARNING_RATE, SIZE_WORDS, default_learning_rate

SIZES = {
    "bert_tiny": (2, 128, 2),
    "bert_mini": (4, 256, 4),
    "bert_small": (4, 512, 8),
    "bert_medium": (8, 512, 8),
    "bert_base": (12, 768, 12),
}


# Family in words, layers, width, heads, rows of the token table.
PUBLISHED = {
    "tinybert_4": ("bert", "BERT", 4, 312, 12, 30_522),
    "tinybert_6": ("bert", "BERT", 6, 768, 12, 30_522),
    "minilm_6": ("bert", "BERT", 6, 384, 12, 30_522),
    "minilm_12": ("bert", "BERT", 12, 384, 12, 30_522),
    "distilbert_base": ("distil_bert", "DistilBERT", 6, 768, 12, 30_522),
    "distilroberta_base": ("roberta", "RoBERTa", 6, 768, 12, 50_265),
}


def test_words():
    words = [*SIZES, *PUBLISHED, "bilstm", "bilstm_small", "cnn", "cnn_small"]
    assert list(SIZE_WORDS) == words
    assert [entry.name for entry in SIZE_WORDS.values()] == words
    kinds = ["bert"] * 9 + ["distil_bert", "roberta"] + ["bilstm"] * 2 + ["cnn"] * 2
    assert [entry.kind for entry in SIZE_WORDS.values()] == kinds


@pytest.mark.parametrize("name", SIZES)
def test_bert_sizes(name):
    entry = SIZE_WORDS[name]
    assert (entry.num_layers, entry.hidden_dim, entry.num_heads) == SIZES[name]
    layers, width, _ = SIZES[name]
    assert entry.description == f"BERT with {layers} layers of {width}, from scratch"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes(name):
    entry = SIZE_WORDS[name]
    kind, family, layers, width, heads, rows = PUBLISHED[name]
    assert (entry.kind, entry.num_layers, entry.hidden_dim) == (kind, layers, width)
    assert (entry.num_heads, entry.vocabulary_size) == (heads, rows)
    assert entry.intermediate_dim == (1200 if name == "tinybert_4" else None)
    assert entry.description == f"{family} with {layers} layers of {width}, from scratch"


@pytest.mark.parametrize(
    ("name", "width", "filters", "units"),
    [
        ("bilstm", 128, 0, 128),
        ("bilstm_small", 16, 0, 8),
        ("cnn", 128, 512, 0),
        ("cnn_small", 64, 256, 0),
    ],
)
def test_models_without_attention(name, width, filters, units):
    entry = SIZE_WORDS[name]
    assert (entry.hidden_dim, entry.num_heads) == (width, 0)
    assert (entry.filters, entry.units) == (filters, units)


def test_learning_rates_fall_with_the_size():
    rates = [SIZE_WORDS[name].learning_rate for name in SIZES]
    assert rates == sorted(rates, reverse=True)
    assert default_learning_rate("bert_tiny") == 1e-3
    assert default_learning_rate("bilstm") == 2e-3
    assert default_learning_rate(None) == PRETRAINED_LEARNING_RATE == 5e-5
