"""The words a user may give for a model, and what they stand for."""

import pytest

from tfkd.models.catalog import CATALOG, PRETRAINED_LEARNING_RATE, default_learning_rate

SIZES = {
    "bert_tiny": (2, 128, 2),
    "bert_mini": (4, 256, 4),
    "bert_small": (4, 512, 8),
    "bert_medium": (8, 512, 8),
    "bert_base": (12, 768, 12),
}


def test_words():
    assert list(CATALOG) == [*SIZES, "bilstm", "cnn", "cnn_small"]
    assert [entry.name for entry in CATALOG.values()] == list(CATALOG)
    assert [entry.kind for entry in CATALOG.values()] == ["bert"] * 5 + ["bilstm", "cnn", "cnn"]


@pytest.mark.parametrize("name", SIZES)
def test_bert_sizes(name):
    entry = CATALOG[name]
    assert (entry.num_layers, entry.hidden_dim, entry.num_heads) == SIZES[name]
    layers, width, _ = SIZES[name]
    assert entry.description == f"BERT with {layers} layers of {width}, from scratch"


@pytest.mark.parametrize(
    ("name", "width", "filters"), [("bilstm", 128, 0), ("cnn", 128, 512), ("cnn_small", 64, 256)]
)
def test_models_without_attention(name, width, filters):
    entry = CATALOG[name]
    assert (entry.hidden_dim, entry.num_heads, entry.filters) == (width, 0, filters)


def test_learning_rates_fall_with_the_size():
    rates = [CATALOG[name].learning_rate for name in SIZES]
    assert rates == sorted(rates, reverse=True)
    assert default_learning_rate("bert_tiny") == 1e-3
    assert default_learning_rate("bilstm") == 2e-3
    assert default_learning_rate("bert_base_en_uncased") == PRETRAINED_LEARNING_RATE == 5e-5
