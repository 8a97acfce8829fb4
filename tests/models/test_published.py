"""Every arithmetic a folder may ask for, against a forward pass in plain numpy."""

import keras_hub
import numpy as np
import pytest
from scipy.special import expit

from tests.hugging_face import (
    LAYERS,
    config_of,
    encoder_alone,
    gelu,
    gelu_by_tanh,
    logits,
    random_tensors,
    vectors,
    write_encoder,
    write_folder,
)
from tfkd.compression.graph import LeanGraph
from tfkd.data.examples import SINGLE_LABEL, Dataset
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder_config import ACTIVATIONS, EncoderConfig, check_tensors
from tfkd.models.first_token import first_token_model
from tfkd.models.loading import Shape, load_classifier, load_encoder
from tfkd.models.pooling import FirstToken, MeanPooling
from tfkd.models.published import build_encoder
from tfkd.models.weights import Weights

LABELS = ("world", "sports", "business")
PAIR = [("oil prices fell", "the team won"), ("late", "oil")]
TEXTS = {
    "bert": ["oil prices fell", "the team won late", ""],
    "distilbert": ["oil prices fell", "the team won late", ""],
    "roberta": ["oil oil oil", "foil", ""],
}
FORMULAS = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_accurate": gelu_by_tanh,
    "gelu_fast": gelu_by_tanh,
    "gelu_new": gelu_by_tanh,
    "gelu_python_tanh": gelu_by_tanh,
    "gelu_pytorch_tanh": gelu_by_tanh,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": expit,
    "silu": lambda x: x * expit(x),
    "swish": lambda x: x * expit(x),
    "tanh": np.tanh,
    "linear": lambda x: x,
}


def load(folder, num_texts=1, **shape):
    dataset = Dataset("toy", SINGLE_LABEL, LABELS, num_texts, "accuracy", {})
    return load_classifier(resolve(str(folder)), dataset, Shape(16, **shape))


def rows_of(tokenizer, texts):
    arrays = tokenizer.encode(texts)
    for index, mask in enumerate(arrays["padding_mask"].astype(bool)):
        row = arrays["token_ids"][index][mask]
        yield row, arrays.get("segment_ids", np.zeros_like(arrays["token_ids"]))[index][mask]


def check_logits(classifier, tensors, family, texts=None, **options):
    texts = texts or TEXTS[family]
    rows = rows_of(classifier.tokenizer, texts)
    expected = [logits(tensors, family, *row, **options) for row in rows]
    np.testing.assert_allclose(classifier.predict(texts), expected, atol=2e-5)


def check_vectors(folder, tensors, family, **options):
    """The encoder's own vectors of every real token."""
    backbone, tokenizer = load_encoder(resolve(str(folder)), Shape(16))
    arrays = tokenizer.encode(TEXTS[family])
    outputs = backbone({name: arrays[name] for name in backbone.input})
    received = np.asarray(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)
    for index, row in enumerate(rows_of(tokenizer, TEXTS[family])):
        expected = vectors(tensors, family, *row, **options)
        np.testing.assert_allclose(received[index, : len(expected)], expected, atol=2e-5)


def test_every_activation_has_a_formula_here():
    assert set(FORMULAS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_is_the_folders(name, tmp_path):
    tensors = random_tensors("bert")
    folder = write_folder(tmp_path / "published", "bert", tensors, hidden_act=name)
    check_vectors(folder, tensors, "bert", activation=FORMULAS[name])


@pytest.mark.parametrize(
    "family, settings, options",
    [
        ("bert", {"layer_norm_eps": 0.05}, {"epsilon": 0.05}),
        ("roberta", {"layer_norm_eps": 0.3}, {"epsilon": 0.3}),
        ("roberta", {"hidden_act": "relu"}, {"activation": FORMULAS["relu"]}),
        # transformers' default, not that of the published encoders.
        ("roberta", {"layer_norm_eps": None}, {"epsilon": 1e-12}),
    ],
)
def test_epsilon_and_activation_of_other_families(family, settings, options, tmp_path):
    tensors = random_tensors(family)
    folder = write_folder(tmp_path / "published", family, tensors, **settings)
    check_vectors(folder, tensors, family, **options)


@pytest.mark.parametrize(
    "family, settings, options",
    [
        ("bert", {"hidden_act": "tanh", "layer_norm_eps": 0.05}, {"activation": np.tanh}),
        ("distilbert", {"activation": "relu"}, {"activation": FORMULAS["relu"]}),
    ],
)
def test_settings_stay_with_the_model(family, settings, options, tmp_path):
    """In its file, in the lean graph, and where the last layer has one row."""
    options["epsilon"] = settings.get("layer_norm_eps")
    tensors = random_tensors(family)
    classifier = load(write_folder(tmp_path / "published", family, tensors, **settings))
    classifier.save(tmp_path / "saved")
    saved = TextClassifier.load(tmp_path / "saved")
    check_logits(saved, tensors, family, **options)
    expected = saved.predict(TEXTS[family])
    shorter = saved.with_model(first_token_model(saved.model))
    np.testing.assert_allclose(shorter.predict(TEXTS[family]), expected, atol=2e-5)
    lean = LeanGraph(saved.model).logits(saved.encode(TEXTS[family][:1], 8))
    np.testing.assert_allclose(lean, expected[:1], atol=2e-5)


def test_xlm_roberta_is_a_roberta_with_settings_of_its_own(tmp_path):
    """Its tokenizer needs a file of SentencePiece, so that the encoder is built without it."""
    tensors = random_tensors("roberta")
    folder = write_encoder(tmp_path / "encoder", "roberta", tensors)
    settings = {"model_type": "xlm-roberta", "hidden_act": "relu", "layer_norm_eps": 0.05}
    config = EncoderConfig.read(folder, config_of("roberta", **settings))
    weights = Weights.of(folder)
    check_tensors(config, weights)
    row = np.array([0, 10, 9, 8, 2])
    inputs = {"token_ids": row[None], "padding_mask": np.ones((1, 5), np.int32)}
    received = build_encoder(config, weights)(inputs)[0]
    options = {"activation": FORMULAS["relu"], "epsilon": 0.05}
    expected = vectors(tensors, "roberta", row, np.zeros(5, int), **options)
    np.testing.assert_allclose(received, expected, atol=2e-5)


def test_layers_left_out_leave_the_settings(tmp_path):
    folder = write_encoder(tmp_path / "encoder", "bert", hidden_act="relu", layer_norm_eps=0.05)
    backbone, _ = load_encoder(resolve(str(folder)), Shape(16, layers=(1,)))
    config = backbone.get_config()
    received = config["num_layers"], config["activation"], config["layer_norm_epsilon"]
    assert received == (1, "relu", 0.05)


@pytest.mark.parametrize(
    "family, settings, kind",
    [
        ("bert", {"hidden_act": "gelu_new"}, keras_hub.models.BertBackbone),
        ("distilbert", {}, keras_hub.models.DistilBertBackbone),
        ("roberta", {}, keras_hub.models.RobertaBackbone),
    ],
)
def test_kerashubs_own_class_where_it_computes_the_same(family, settings, kind, tmp_path):
    folder = write_encoder(tmp_path / "encoder", family, dropout=None, **settings)
    assert type(load_encoder(resolve(str(folder)), Shape(16))[0]) is kind


@pytest.mark.parametrize(
    "family, key", [("bert", "hidden_dropout_prob"), ("distilbert", "dropout")]
)
def test_dropout_is_the_folders(family, key, tmp_path):
    folder = write_encoder(tmp_path / "encoder", family, **{key: 0.25})
    backbone, _ = load_encoder(resolve(str(folder)), Shape(16))
    assert (backbone.dropout, backbone.transformer_layers[0].dropout) == (0.25, 0.25)


@pytest.mark.parametrize("prefix", ["", "own", "model."])
@pytest.mark.parametrize("family", TEXTS)
def test_encoder_is_found_under_any_prefix(family, prefix, tmp_path):
    tensors = random_tensors(family)
    prefix = f"{family}." if prefix == "own" else prefix
    folder = write_encoder(tmp_path / "encoder", family, encoder_alone(tensors, family, prefix))
    check_vectors(folder, tensors, family)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_head_is_found_behind_another_prefix(family, tmp_path):
    tensors = random_tensors(family)
    wrapped = {f"model.{name}": values for name, values in tensors.items()}
    check_logits(load(write_folder(tmp_path / "wrapped", family, wrapped)), tensors, family)


def test_normalizations_of_the_first_checkpoints(tmp_path):
    """Gamma and beta, as TensorFlow named them."""
    tensors = random_tensors("bert")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): values
        for name, values in tensors.items()
    }
    assert len(set(old) - set(tensors)) == 2 * (1 + 2 * LAYERS)
    check_vectors(write_folder(tmp_path / "old", "bert", old), tensors, "bert")


@pytest.mark.parametrize("pooling, layer", [("auto", MeanPooling), ("cls", FirstToken)])
def test_encoder_without_pooler_is_averaged(pooling, layer, tmp_path):
    """As masked-LM training leaves it: no vector of a whole text was ever trained."""
    tensors = random_tensors("bert")
    left = {name: tensors[name] for name in tensors if name.startswith(("bert.emb", "bert.enc"))}
    left["cls.predictions.bias"] = np.zeros(13, np.float32)
    folder = write_encoder(tmp_path / "mlm", "bert", left, architectures=["BertForMaskedLM"])
    classifier = load(folder, pooling=pooling)
    assert type(classifier.model.get_layer("pooling")) is layer
    rows = [vectors(tensors, "bert", *row) for row in rows_of(classifier.tokenizer, TEXTS["bert"])]
    expected = [row.mean(axis=0) if layer is MeanPooling else row[0] for row in rows]
    received = classifier.reader().predict(TEXTS["bert"])
    np.testing.assert_allclose(received, expected, atol=2e-5)


@pytest.mark.parametrize("num_types", [1, 3])
def test_types_of_texts_as_many_as_the_folder_has(num_types, tmp_path):
    """Of one type both texts of a pair are."""
    tensors = random_tensors("bert", token_type_embeddings=num_types)
    folder = write_folder(tmp_path / "published", "bert", tensors, type_vocab_size=num_types)
    check_logits(load(folder), tensors, "bert")
    pairs = load(folder, num_texts=2)
    rows = [
        (row, np.minimum(segments, num_types - 1))
        for row, segments in rows_of(pairs.tokenizer, PAIR)
    ]
    expected = [logits(tensors, "bert", *row) for row in rows]
    np.testing.assert_allclose(pairs.predict(PAIR), expected, atol=2e-5)


def test_first_layers_of_more(tmp_path):
    """Transformers takes them, too."""
    tensors = random_tensors("bert")
    folder = write_encoder(tmp_path / "deep", "bert", encoder_alone(tensors, "bert"))
    deep = load_encoder(resolve(str(folder)), Shape(16, layers=(0,)))[0]
    folder = write_encoder(tmp_path / "first", "bert", num_hidden_layers=1)
    first = load_encoder(resolve(str(folder)), Shape(16))[0]
    for mine, theirs in zip(first.get_weights(), deep.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
