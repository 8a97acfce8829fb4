"""From a resolved name to a classifier: seeds, tokenizers, the user's choices, other classes."""

import dataclasses
import fnmatch

import keras_hub
import numpy as np
import pytest

from tests.toys import vocabulary_of, wordpiece_tokenizer
from tfkd.data.examples import MULTI_LABEL, SINGLE_LABEL, Dataset, Example
from tfkd.errors import ModelError
from tfkd.models import loading
from tfkd.models.checkpoints import Kind, Source, resolve
from tfkd.models.hub import REPOSITORY_FILES
from tfkd.models.loading import Shape, check_classes, load_classifier
from tfkd.models.pooling import MaxPooling, MeanPooling
from tfkd.models.sizes import SIZE_WORDS

VOCABULARY = vocabulary_of("rain goal vote team")
TEXTS = ["Rain over the harbour", "A late goal for the team", "The vote is on Sunday"]
LABELS = ("weather", "sport", "politics")


def dataset(label_names=LABELS, task=SINGLE_LABEL, num_texts=1, rows=30):
    train = [Example((TEXTS[row % 3],) * num_texts, row % 3) for row in range(rows)]
    return Dataset("toy", task, label_names, num_texts, "accuracy", {"train": train})


@pytest.fixture(scope="module")
def tokenizer():
    return wordpiece_tokenizer(VOCABULARY, 64)


@pytest.fixture(scope="module")
def saved(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "cnn"
    classifier = load_classifier(resolve("cnn"), dataset(), Shape(16), tokenizer)
    classifier.save(folder)
    return classifier, folder


@pytest.mark.parametrize("name", ["cnn", "bilstm", "bert_tiny"])
def test_size_word_takes_the_given_vocabulary_at_its_own_length(name, tokenizer):
    classifier = load_classifier(resolve(name), dataset(), Shape(12), tokenizer)
    assert classifier.tokenizer.vocabulary == VOCABULARY
    assert (classifier.tokenizer.sequence_length, tokenizer.sequence_length) == (12, 64)
    assert (classifier.task, classifier.label_names) == (SINGLE_LABEL, LABELS)
    assert classifier.model.name == ("classifier" if name == "bert_tiny" else name)
    assert classifier.predict(["rain", "goal team"]).shape == (2, 3)
    tables = [w.shape for w in classifier.model.weights if w.shape[0] == len(VOCABULARY)]
    assert tables == [(len(VOCABULARY), 128)]


@pytest.mark.parametrize(
    ("name", "family"),
    [("distilbert_base", "DistilBertBackbone"), ("distilroberta_base", "RobertaBackbone")],
)
def test_encoders_without_segments_take_the_wordpieces_of_a_bert_teacher(
    name, family, tokenizer, monkeypatch
):
    entry = dataclasses.replace(SIZE_WORDS[name], num_layers=1, hidden_dim=24, intermediate_dim=8)
    monkeypatch.setitem(SIZE_WORDS, name, entry)
    student = load_classifier(resolve(name), dataset(), Shape(12), tokenizer)
    assert student.input_names == ("token_ids", "padding_mask")
    assert family in {type(layer).__name__ for layer in student.model.layers}
    assert student.predict(["rain", "goal team"]).shape == (2, 3)


def test_a_small_cnn_has_the_sizes_of_its_entry(tokenizer):
    model = load_classifier(resolve("cnn_small"), dataset(), Shape(12), tokenizer).model
    assert [w.shape for w in model.weights] == [
        (len(VOCABULARY), 64),
        (3, 64, 256),
        (256,),
        (256, 3),
        (3,),
    ]


def test_a_small_bilstm_has_the_sizes_of_its_entry(tokenizer):
    model = load_classifier(resolve("bilstm_small"), dataset(), Shape(12), tokenizer).model
    direction = [(16, 32), (8, 32), (32,)]
    assert [w.shape for w in model.weights] == [
        (len(VOCABULARY), 16),
        *direction,
        *direction,
        (16, 3),
        (3,),
    ]


@pytest.mark.parametrize("name", ["cnn", "bert_tiny"])
def test_seed_decides_the_weights(name, tokenizer):
    """Student and control start equal by it."""
    one, same, other = (
        load_classifier(
            resolve(name), dataset(), Shape(12, seed=seed), tokenizer
        ).model.get_weights()
        for seed in (5, 5, 6)
    )
    for mine, again in zip(one, same, strict=True):
        np.testing.assert_array_equal(mine, again)
    assert np.abs(one[0] - other[0]).max() > 1e-3


def test_vocabulary_is_learned_from_both_texts_of_the_training_rows(monkeypatch):
    monkeypatch.setattr(loading, "LEARNED_FROM_ROWS", 20)
    pairs = Dataset(
        "toy",
        SINGLE_LABEL,
        LABELS,
        2,
        "accuracy",
        {
            "train": [Example(("Rain", "harbour"), 0)] * 20 + [Example(("zebra", "zoo"), 1)] * 20,
            "test": [Example(("quiz", "quarter"), 0)] * 20,
        },
    )
    classifier = load_classifier(resolve("cnn"), pairs, Shape(16))
    assert {"rain", "harbour"} <= set(classifier.tokenizer.vocabulary)
    assert not {"zebra", "zoo", "quiz"} & set(classifier.tokenizer.vocabulary)
    assert classifier.num_texts == 2
    # [CLS] rain [SEP] harbour [SEP]
    assert classifier.encode([("Rain", "Harbour")])["padding_mask"].sum() == 5


@pytest.mark.parametrize(
    "pooling, layer",
    [("auto", None), ("cls", None), ("mean", MeanPooling), ("max", MaxPooling)],
)
def test_pooling_is_the_users_choice(pooling, layer, tokenizer):
    classifier = load_classifier(resolve("bert_tiny"), dataset(), Shape(12, pooling), tokenizer)
    layers = {layer.name: type(layer) for layer in classifier.model.layers}
    assert layers.get("pooling") is layer


def test_longer_texts_than_positions_are_refused_where_there_are_positions(tokenizer):
    with pytest.raises(ModelError, match="^Expected a sequence length") as caught:
        load_classifier(resolve("bert_tiny"), dataset(), Shape(513), tokenizer)
    assert str(caught.value) == (
        "Expected a sequence length of at most 512, the positions bert_tiny knows. Received: 513."
    )
    classifier = load_classifier(resolve("cnn"), dataset(), Shape(600), tokenizer)
    assert classifier.predict(["rain " * 700]).shape == (1, 3)


def test_saved_run_is_loaded_as_it_is(saved):
    classifier, folder = saved
    source = resolve(str(folder))
    assert source.kind is Kind.RUN
    loaded = load_classifier(source, dataset(), Shape(48, seed=9))
    assert loaded.tokenizer.sequence_length == 16
    np.testing.assert_array_equal(loaded.predict(TEXTS), classifier.predict(TEXTS))


HAS = "Received: toy-run: single_label of texts, 3 classes (weather, sport, politics)."
FIX = "Give a model of these classes or an encoder to fine-tune."


@pytest.mark.parametrize(
    "other, wanted",
    [
        (dataset(("no", "yes")), "single_label of texts, 2 classes (no, yes)"),
        (
            dataset(("sport", "weather", "politics")),
            "single_label of texts, 3 classes (sport, weather, politics)",
        ),
        (
            dataset(task=MULTI_LABEL),
            "multi_label of texts, 3 classes (weather, sport, politics)",
        ),
        (
            dataset(num_texts=2),
            "single_label of pairs of texts, 3 classes (weather, sport, politics)",
        ),
        (
            dataset(tuple("abcdefghij")),
            "single_label of texts, 10 classes (a, b, c, d, e, f, g, h, ...)",
        ),
    ],
    ids=["classes", "order", "task", "pairs", "many"],
)
def test_classifier_of_another_question_is_refused(other, wanted, saved):
    classifier, folder = saved
    message = f"Expected a classifier of toy: {wanted}. {HAS} {FIX}"
    with pytest.raises(ModelError, match="^Expected a classifier of toy") as caught:
        check_classes(classifier, other, "toy-run")
    assert str(caught.value) == message
    with pytest.raises(ModelError, match="^Expected a classifier of toy"):
        load_classifier(resolve(str(folder)), other, Shape(16))


def test_classifier_of_the_same_question_is_given_back(saved):
    classifier, _ = saved
    assert check_classes(classifier, dataset(rows=3), "toy-run") is classifier


def test_source_without_its_folder():
    with pytest.raises(ValueError, match="^Expected a source with a folder"):
        load_classifier(Source("x", Kind.RUN), dataset(), Shape(16))


@pytest.mark.parametrize("lowercase", [True, False])
def test_preset_in_lower_case_has_no_accents(lowercase, tmp_path):
    """KerasHub's own presets leave `strip_accents` off."""
    vocabulary = [*VOCABULARY[:5], "cafe", "Caf", "##é"]
    backbone = keras_hub.models.BertBackbone(len(vocabulary), 1, 2, 8, 16, max_sequence_length=16)
    backbone.save_to_preset(str(tmp_path))
    keras_hub.models.BertTokenizer(vocabulary, lowercase=lowercase).save_to_preset(str(tmp_path))
    classifier = load_classifier(resolve(str(tmp_path)), dataset(), Shape(16))
    received = classifier.tokenizer.encode(["Café"])["token_ids"].tolist()
    assert received == [[2, 5, 3, 0, 0, 0, 0, 0] if lowercase else [2, 6, 7, 3, 0, 0, 0, 0]]
    assert classifier.tokenizer.word_piece.lowercase is lowercase


@pytest.mark.parametrize(
    "name, is_fetched",
    [
        ("config.json", True),
        ("model.safetensors", True),
        ("model-00001-of-00002.safetensors", True),
        ("model.safetensors.index.json", True),
        ("vocab.txt", True),
        ("merges.txt", True),
        ("sentencepiece.bpe.model", True),
        ("1_Pooling/config.json", True),
        ("model.weights.h5", True),
        ("task.weights.h5", True),
        ("assets/tokenizer/vocabulary.txt", True),
        ("pytorch_model.bin", False),
        ("tf_model.h5", False),
        ("flax_model.msgpack", False),
        ("rust_model.ot", False),
    ],
)
def test_files_fetched_of_a_repository(name, is_fetched):
    """Both layouts of a published model, and none of its copies in other formats."""
    assert any(fnmatch.fnmatch(name, pattern) for pattern in REPOSITORY_FILES) is is_fetched
