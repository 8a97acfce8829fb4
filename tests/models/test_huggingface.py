"""Folders as transformers writes them, tiny and random, against a forward pass in plain numpy."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import save_file

from tfkd.data.examples import SINGLE_LABEL, Dataset
from tfkd.errors import ModelError
from tfkd.models import huggingface
from tfkd.models.checkpoints import Kind, resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.models.pooling import MeanPooling

WIDTH, WIDE, HEADS, LAYERS, POSITIONS = 8, 16, 2, 2, 34
LABELS = ("World", "Sports", "Business")
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "oil",
    "prices",
    "fell",
    "cafe",
    "the",
    "team",
    "won",
    "late",
]
BYTE_PAIRS = {
    "<s>": 0,
    "<pad>": 1,
    "</s>": 2,
    "<unk>": 3,
    "o": 4,
    "i": 5,
    "l": 6,
    "oi": 7,
    "oil": 8,
    "Ġ": 9,
    "Ġoil": 10,
    "f": 11,
    "<mask>": 12,
}
DATASET = Dataset("toy", SINGLE_LABEL, ("world", "sports", "business"), 1, "accuracy", {})
# Where each family keeps the parts of a layer.
PARTS = {
    "bert": {
        "layer": "bert.encoder.layer.",
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "output": "attention.output.dense",
        "norm": "attention.output.LayerNorm",
        "wide": "intermediate.dense",
        "narrow": "output.dense",
        "last_norm": "output.LayerNorm",
    },
    "distilbert": {
        "layer": "distilbert.transformer.layer.",
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "output": "attention.out_lin",
        "norm": "sa_layer_norm",
        "wide": "ffn.lin1",
        "narrow": "ffn.lin2",
        "last_norm": "output_layer_norm",
    },
}
PARTS["roberta"] = {**PARTS["bert"], "layer": "roberta.encoder.layer."}
# The layers behind the encoder: from the first token's vector to the logits.
HEAD = {
    "bert": (("bert.pooler.dense", "tanh"), ("classifier", None)),
    "distilbert": (("pre_classifier", "relu"), ("classifier", None)),
    "roberta": (("classifier.dense", "tanh"), ("classifier.out_proj", None)),
}
ARCHITECTURES = {
    "bert": "BertForSequenceClassification",
    "distilbert": "DistilBertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
}


def random_tensors(family, num_outputs=3):
    """A checkpoint's tensors, random, under their proper names."""
    generator = np.random.default_rng(12)
    tables = {"word_embeddings": len(WORDS), "position_embeddings": POSITIONS}
    if family != "distilbert":
        tables["token_type_embeddings"] = {"bert": 2, "roberta": 1}[family]
    shapes = {f"{family}.embeddings.{k}.weight": (rows, WIDTH) for k, rows in tables.items()}
    dense, norms, parts = {}, [f"{family}.embeddings.LayerNorm"], PARTS[family]
    for layer in range(LAYERS):
        prefix = f"{parts['layer']}{layer}."
        for part in ("query", "key", "value", "output"):
            dense[prefix + parts[part]] = (WIDTH, WIDTH)
        dense[prefix + parts["wide"]] = (WIDE, WIDTH)
        dense[prefix + parts["narrow"]] = (WIDTH, WIDE)
        norms += [prefix + parts["norm"], prefix + parts["last_norm"]]
    (pooler, _), (logits, _) = HEAD[family]
    dense |= {pooler: (WIDTH, WIDTH), logits: (num_outputs, WIDTH)}
    shapes |= {f"{name}.weight": shape for name, shape in dense.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in dense.items()}
    shapes |= {f"{name}.{part}": (WIDTH,) for name in norms for part in ("weight", "bias")}
    tensors = {name: generator.normal(0, 0.7, s).astype(np.float32) for name, s in shapes.items()}
    for name in norms:
        tensors[f"{name}.weight"] += 1
    return tensors


def config_of(family, **changes):
    sizes = {
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_size": WIDTH,
        "intermediate_size": WIDE,
        "hidden_dropout_prob": 0.1,
    }
    if family == "distilbert":
        sizes = {
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "dim": WIDTH,
            "hidden_dim": WIDE,
            "dropout": 0.1,
        }
    return {
        "model_type": family,
        "architectures": [ARCHITECTURES[family]],
        "vocab_size": len(WORDS),
        "max_position_embeddings": POSITIONS,
        **sizes,
        "id2label": {str(index): label for index, label in enumerate(LABELS)},
        **changes,
    }


def write_folder(folder, family, tensors=None, **changes):
    folder.mkdir()
    save_file(tensors or random_tensors(family), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config_of(family, **changes)))
    if family == "roberta":
        (folder / "vocab.json").write_text(json.dumps(BYTE_PAIRS))
        (folder / "merges.txt").write_text("#version: 0.2\no i\noi l\nĠ oil\n")
        (folder / "tokenizer_config.json").write_text("{}")
    else:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    return folder


def load(folder, shape=None, dataset=DATASET):
    return load_classifier(resolve(str(folder)), dataset, shape or Shape(sequence_length=16))


def dense(tensors, name, x):
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def norm(tensors, name, x, epsilon):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_by_tanh(x):
    return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def forward(tensors, family, row, segments, activation=gelu):
    """Logits of one row of token ids without padding, as transformers computes them."""
    epsilon = 1e-5 if family == "roberta" else 1e-12
    first_position = 2 if family == "roberta" else 0
    tables = f"{family}.embeddings."
    x = tensors[tables + "word_embeddings.weight"][row]
    x = x + tensors[tables + "position_embeddings.weight"][first_position:][: len(row)]
    if family != "distilbert":
        x = x + tensors[tables + "token_type_embeddings.weight"][segments]
    x = norm(tensors, tables + "LayerNorm", x, epsilon)
    for layer in range(LAYERS):
        parts = PARTS[family]
        name = {k: f"{parts['layer']}{layer}.{v}" for k, v in parts.items()}
        query, key, value = (
            dense(tensors, name[part], x).reshape(len(row), HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = softmax(query @ key.transpose(0, 2, 1) / math.sqrt(WIDTH / HEADS))
        mixed = (scores @ value).transpose(1, 0, 2).reshape(len(row), WIDTH)
        x = norm(tensors, name["norm"], x + dense(tensors, name["output"], mixed), epsilon)
        wide = activation(dense(tensors, name["wide"], x))
        x = norm(tensors, name["last_norm"], x + dense(tensors, name["narrow"], wide), epsilon)
    vector = x[0]
    for layer, after in HEAD[family]:
        vector = dense(tensors, layer, vector)
        vector = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0), None: lambda v: v}[after](
            vector
        )
    return vector


def rows_of(classifier, texts):
    arrays = classifier.tokenizer.encode(texts)
    for index, mask in enumerate(arrays["padding_mask"].astype(bool)):
        row = arrays["token_ids"][index][mask]
        yield row, arrays.get("segment_ids", np.zeros_like(arrays["token_ids"]))[index][mask]


TEXTS = {
    "bert": ["oil prices fell", "the team won late", ""],
    "distilbert": ["oil prices fell", "the team won late", ""],
    "roberta": ["oil oil oil", "foil", ""],
}
CLASSES = "3 classes (world, sports, business)"


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_classifier_is_the_published_one(family, tmp_path):
    """Encoder, pooler and head; also after it was saved as one of our own."""
    tensors = random_tensors(family)
    classifier = load(write_folder(tmp_path / "published", family, tensors))
    texts = TEXTS[family]
    expected = [forward(tensors, family, *row) for row in rows_of(classifier, texts)]
    # KerasHub's BERT has the tanh form of GELU, at most 5e-4 off at each activation.
    tolerance = 2e-3 if family == "bert" else 1e-5
    np.testing.assert_allclose(classifier.predict(texts), expected, atol=tolerance)
    classifier.save(tmp_path / "teacher")
    loaded = TextClassifier.load(tmp_path / "teacher")
    np.testing.assert_allclose(loaded.predict(texts), classifier.predict(texts), atol=1e-6)
    assert loaded.label_names == DATASET.label_names


def test_bert_differs_from_the_published_one_in_its_gelu_alone(tmp_path):
    """When this fails KerasHub has BERT's own GELU, and the tolerance above can go."""
    tensors = random_tensors("bert")
    classifier = load(write_folder(tmp_path / "published", "bert", tensors))
    logits = classifier.predict(TEXTS["bert"])
    rows = list(rows_of(classifier, TEXTS["bert"]))
    expected = [forward(tensors, "bert", *row, activation=gelu_by_tanh) for row in rows]
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    exact = [forward(tensors, "bert", *row) for row in rows]
    assert np.abs(logits - exact).max() > 1e-4


def test_pair_is_read_as_the_published_one_reads_it(tmp_path):
    tensors = random_tensors("bert")
    folder = write_folder(tmp_path / "published", "bert", tensors)
    dataset = Dataset("toy", SINGLE_LABEL, DATASET.label_names, 2, "accuracy", {})
    classifier = load(folder, dataset=dataset)
    pairs = [("oil prices fell", "the team won"), ("late", "oil")]
    rows = list(rows_of(classifier, pairs))
    assert rows[1][0].tolist() == [2, 12, 3, 5, 3]
    assert rows[1][1].tolist() == [0, 0, 0, 1, 1]
    expected = [forward(tensors, "bert", *row, activation=gelu_by_tanh) for row in rows]
    np.testing.assert_allclose(classifier.predict(pairs), expected, atol=1e-5)


def test_roberta_keeps_its_token_type(tmp_path):
    """Zero in the published encoder, not after fine-tuning; KerasHub alone leaves it out."""
    tensors = random_tensors("roberta")
    logits = load(write_folder(tmp_path / "with", "roberta", tensors)).predict(["oil"])
    name = "roberta.embeddings.token_type_embeddings.weight"
    zero = {**tensors, name: np.zeros_like(tensors[name])}
    without = load(write_folder(tmp_path / "zero", "roberta", zero)).predict(["oil"])
    assert np.abs(logits - without).max() > 1e-2
    del zero[name]
    absent = load(write_folder(tmp_path / "absent", "roberta", zero)).predict(["oil"])
    np.testing.assert_array_equal(absent, without)


def test_weights_in_several_files_and_in_half_precision(tmp_path):
    tensors = {k: v.astype(np.float16) for k, v in random_tensors("distilbert").items()}
    whole = load(write_folder(tmp_path / "whole", "distilbert", tensors))
    folder = write_folder(tmp_path / "sharded", "distilbert", tensors)
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"1.safetensors": names[::2], "2.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / shard)
    index = {name: shard for shard, held in shards.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    logits = load(folder).predict(TEXTS["distilbert"])
    np.testing.assert_array_equal(logits, whole.predict(TEXTS["distilbert"]))
    del index["classifier.bias"]
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(ModelError, match="^Expected the classification head `classifier` in"):
        load(folder)


def test_ready_classifier_is_known_by_its_architecture(tmp_path):
    folder = write_folder(tmp_path / "published", "distilbert")
    source = resolve(str(folder))
    assert (source.kind, source.folder, source.is_ready) == (Kind.HUGGING_FACE, folder, True)
    (folder / "config.json").write_text(
        json.dumps(config_of("distilbert", architectures=["DistilBertModel"]))
    )
    assert resolve(str(folder)).is_ready is False


def test_label_names_without_meaning_are_those_of_the_data_set(tmp_path):
    folder = write_folder(tmp_path / "published", "distilbert", id2label={})
    assert load(folder).label_names == DATASET.label_names
    config = huggingface.read_config(folder)
    head = huggingface.read_head(folder, config)
    assert head.label_names == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    "labels, received",
    [
        (("Sports", "World", "Business"), "3 classes (Sports, World, Business)"),
        (("World", "Sports"), "2 classes (World, Sports)"),
        (("LABEL_0", "LABEL_1"), "2 classes (LABEL_0, LABEL_1)"),
        (tuple("abcdefghi"), "9 classes (a, b, c, d, e, f, g, h, ...)"),
    ],
)
def test_head_of_other_classes_is_refused(labels, received, tmp_path):
    folder = write_folder(
        tmp_path / "published",
        "distilbert",
        random_tensors("distilbert", len(labels)),
        id2label={str(index): label for index, label in enumerate(labels)},
    )
    with pytest.raises(ModelError, match="^Expected a head with the 3 classes") as caught:
        load(folder)
    assert str(caught.value) == (
        f"Expected a head with the {CLASSES} of toy in this order. Received: {folder} with "
        f"{received}."
    )


def test_missing_head_is_not_made_up(tmp_path):
    tensors = random_tensors("roberta")
    del tensors["classifier.out_proj.weight"]
    folder = write_folder(tmp_path / "published", "roberta", tensors)
    with pytest.raises(ModelError, match="^Expected the classification head") as caught:
        load(folder)
    assert str(caught.value) == (
        f"Expected the classification head `classifier.out_proj` in {folder}. Its weights do not "
        "hold it, though config.json names a ...ForSequenceClassification architecture."
    )


@pytest.mark.parametrize("damage", ["cut short", "no tensor"])
def test_damaged_weights_are_one_line(damage, tmp_path):
    tensors = random_tensors("distilbert")
    del tensors["distilbert.embeddings.LayerNorm.weight"]
    folder = write_folder(tmp_path / "published", "distilbert", tensors)
    if damage == "cut short":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"^Expected a loadable model\. Received: .*size word \("):
        load(folder)


def test_unsupported_family_and_pickled_weights_are_refused_before_loading(tmp_path):
    folder = write_folder(tmp_path / "published", "bert", model_type="mamba")
    with pytest.raises(ModelError, match="of family bert, distilbert, roberta") as caught:
        resolve(str(folder))
    assert str(caught.value) == (
        "Expected a Hugging Face folder of family bert, distilbert, roberta, xlm-roberta. "
        f"Received: {folder} with model_type='mamba'."
    )
    folder = write_folder(tmp_path / "pickled", "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled weights are not loaded") as caught:
        resolve(str(folder))
    assert str(caught.value) == (
        f"Expected {folder / 'model.safetensors'}. It does not exist. Save the model with "
        "safe_serialization=True; pickled weights are not loaded."
    )


@pytest.mark.parametrize(
    "settings, lowercase, strip_accents",
    [
        ('{"do_lower_case": true}', True, True),
        ('{"do_lower_case": true, "strip_accents": null}', True, True),
        ('{"do_lower_case": true, "strip_accents": false}', True, False),
        ('{"do_lower_case": false}', False, False),
        ('{"do_lower_case": false, "strip_accents": true}', False, True),
        ("{}", True, True),
        (None, True, True),
    ],
)
def test_text_is_normalised_as_the_folder_says(settings, lowercase, strip_accents, tmp_path):
    """Without a word on it, an all lower-case vocabulary is taken for an uncased one."""
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    if settings is not None:
        (tmp_path / "tokenizer_config.json").write_text(settings)
    expected = {"lowercase": lowercase, "strip_accents": strip_accents}
    assert huggingface.normalization(tmp_path) == expected


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_accents_are_stripped_for_an_uncased_vocabulary(family, tmp_path):
    folder = write_folder(tmp_path / "published", family)
    expected = [[2, 8, 5, 3, 0, 0, 0, 0]]
    assert load(folder).encode(["Café Oil"])["token_ids"].tolist() == expected
    # KerasHub itself needs the file that says so.
    (folder / "tokenizer_config.json").unlink()
    assert load(folder).encode(["Café Oil"])["token_ids"].tolist() == expected


def test_vocabulary_with_capitals_is_a_cased_one(tmp_path):
    folder = write_folder(tmp_path / "published", "bert")
    (folder / "vocab.txt").write_text("\n".join([*WORDS[:-1], "Oil"]) + "\n")
    (folder / "tokenizer_config.json").unlink()
    assert huggingface.normalization(folder) == {"lowercase": False, "strip_accents": False}
    assert load(folder).encode(["Oil oil"])["token_ids"][0][:4].tolist() == [2, 12, 5, 3]


@pytest.mark.parametrize("is_mean", [True, False])
def test_sentence_transformers_folder_is_pooled_as_it_was_trained(is_mean, tmp_path):
    """An encoder alone; its tensors have no family before their names."""
    tensors = random_tensors("bert")
    bare = {k.removeprefix("bert."): v for k, v in tensors.items() if k.startswith("bert.")}
    folder = write_folder(tmp_path / "encoder", "bert", bare, architectures=["BertModel"])
    (folder / "1_Pooling").mkdir()
    settings = {"pooling_mode_mean_tokens": is_mean, "pooling_mode_cls_token": not is_mean}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    layers = {layer.name: layer for layer in load(folder).model.layers}
    assert isinstance(layers.get("pooling"), MeanPooling) is is_mean
    # What the user says counts more.
    asked = load(folder, Shape(16, pooling="cls" if is_mean else "mean"))
    layers = {layer.name: layer for layer in asked.model.layers}
    assert isinstance(layers.get("pooling"), MeanPooling) is not is_mean


def test_text_longer_than_the_positions_is_refused(tmp_path):
    folder = write_folder(tmp_path / "published", "roberta")
    assert load(folder, Shape(32)).predict(["oil " * 50]).shape == (1, 3)
    with pytest.raises(ModelError, match="^Expected a sequence length of at most 32") as caught:
        load(folder, Shape(33))
    assert str(caught.value) == (
        f"Expected a sequence length of at most 32, the positions {folder} knows. Received: 33."
    )
