"""A classifier as one thing: every way to ask it agrees, and a saved one answers the same."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import tfkd
from tests.messages import exactly
from tests.toys import QUIET, byte_pair_tokenizer, vocabulary_of, wordpiece_tokenizer
from tfkd.artifacts import file_sha256, read_json, write_json
from tfkd.data import tokens
from tfkd.data.examples import MULTI_LABEL, SINGLE_LABEL, Example
from tfkd.errors import ArtifactError
from tfkd.models.classifier import (
    SCORING_BATCH_SIZE,
    TextClassifier,
    batch_texts,
)
from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.precision import set_precision
from tfkd.models.sizes import ModelEntry
from tfkd.models.without_encoder import build_cnn

WORDS = ["oil", "price", "fell", "again", "the", "team", "won", "a", "goal", "late"]
VOCABULARY = vocabulary_of(WORDS)
LABELS = ("markets", "sport", "weather")
TEXTS = ["oil price fell", "the team won a goal late", "", "again", "a late goal again the team"]
PAIRS = [("oil price fell", "the team"), ("again", "again"), ("a", "goal late again won")]


def bert_tokenizer():
    return wordpiece_tokenizer(VOCABULARY, 24)


def cnn(tokenizer=None):
    keras.utils.set_random_seed(6)
    model = build_cnn(len(VOCABULARY), len(LABELS), width=8, filters=6)
    return TextClassifier(model, tokenizer or bert_tokenizer(), SINGLE_LABEL, LABELS)


def bert(pooling="mean", num_texts=1):
    keras.utils.set_random_seed(6)
    backbone = encoder_from_scratch(ModelEntry("x", "bert", "", 1e-3, 2, 16, 2), len(VOCABULARY))
    generator = np.random.default_rng(6)
    backbone.set_weights([generator.normal(0, 0.3, w.shape) for w in backbone.get_weights()])
    model = build_encoder_classifier(backbone, len(LABELS), pooling)
    model.get_layer("logits").set_weights([generator.normal(size=(16, 3)), np.arange(3.0)])
    return TextClassifier(model, bert_tokenizer(), SINGLE_LABEL, LABELS, num_texts)


CLASSIFIERS = {"cnn": cnn, "bert": bert}


@pytest.fixture(scope="module", params=CLASSIFIERS)
def classifier(request):
    return CLASSIFIERS[request.param]()


def tokenized(classifier, rows, folder):
    examples = [Example(row if isinstance(row, tuple) else (row,), 0) for row in rows]
    return tokens.write(
        folder,
        examples,
        classifier.tokenizer.encode,
        SINGLE_LABEL,
        3,
        "mark",
        (QUIET, len(rows)),
    )


def test_arrays_are_those_the_model_takes(classifier):
    expected = {"token_ids", "padding_mask"}
    if "segment_ids" in classifier.model.input:
        expected |= {"segment_ids"}
    assert set(classifier.input_names) == set(classifier.encode(TEXTS)) == expected
    assert classifier.encode(TEXTS, length=16)["token_ids"].shape == (5, 16)


def test_predict_is_the_models_answer_to_the_encoded_texts(classifier):
    arrays = classifier.encode(TEXTS)
    logits = classifier.predict(TEXTS)
    assert logits.shape == (5, 3)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, classifier.predict_encoded(arrays))
    expected = np.asarray(classifier.model(arrays, training=False))
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_batch_of_n_is_n_batches_of_one(classifier):
    alone = np.concatenate([classifier.predict([text]) for text in TEXTS])
    np.testing.assert_allclose(classifier.predict(TEXTS), alone, atol=1e-5)


def test_more_texts_than_a_batch_and_none(classifier):
    texts = [TEXTS[i % 5] for i in range(SCORING_BATCH_SIZE + 3)]
    logits = classifier.predict(texts)
    expected = classifier.predict(TEXTS)[[i % 5 for i in range(len(texts))]]
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert classifier.predict([]).shape == (0, 3)
    assert classifier.predict([]).dtype == np.float32


def test_logits_of_tokens_are_in_the_order_of_the_rows(classifier, tmp_path):
    """Rows of like length share a batch, whatever their order."""
    rows = [" ".join(WORDS[: 1 + (7 * i) % 10]) for i in range(SCORING_BATCH_SIZE + 20)]
    scored = []
    logits = classifier.logits(tokenized(classifier, rows, tmp_path / "tokens"), scored.append)
    assert sum(scored) == len(rows)
    np.testing.assert_allclose(logits, classifier.predict(rows), atol=1e-5)
    assert len(np.unique(logits.round(4), axis=0)) == 10


def test_part_of_the_rows_is_scored(classifier, tmp_path):
    rows = [" ".join(WORDS[: 1 + i]) for i in range(10)]
    split = tokenized(classifier, rows, tmp_path / "tokens")
    scored = list(classifier.score(split, start=3, stop=8, batch_size=2))
    numbers = np.concatenate([numbers for numbers, _ in scored])
    assert sorted(numbers) == [3, 4, 5, 6, 7]
    expected = classifier.predict(rows)[numbers]
    np.testing.assert_allclose(np.concatenate([v for _, v in scored]), expected, atol=1e-5)


def test_pairs_are_read_with_their_segments(tmp_path):
    classifier = bert("cls", num_texts=2)
    logits = classifier.predict(PAIRS)
    split = tokenized(classifier, PAIRS, tmp_path / "tokens")
    np.testing.assert_allclose(classifier.logits(split), logits, atol=1e-5)
    turned = classifier.predict([(second, first) for first, second in PAIRS])
    assert abs(turned[0] - logits[0]).max() > 1e-3
    np.testing.assert_allclose(turned[1], logits[1], atol=1e-5)


def test_texts_of_rows():
    assert batch_texts([("a",), ("b",)]) == ["a", "b"]
    assert batch_texts([("a", "b"), ("c", "d")]) == [("a", "b"), ("c", "d")]


def test_saved_and_loaded_gives_equal_logits(classifier, tmp_path):
    folder = tmp_path / "student"
    classifier.save(folder)
    loaded = TextClassifier.load(folder)
    assert (loaded.task, loaded.label_names, loaded.num_texts) == (SINGLE_LABEL, LABELS, 1)
    assert loaded.num_parameters == classifier.num_parameters
    assert loaded.tokenizer.fingerprint == classifier.tokenizer.fingerprint
    assert loaded.size_bytes == classifier.size_bytes
    assert loaded.size_bytes == (folder / "model.keras").stat().st_size
    np.testing.assert_array_equal(loaded.predict(TEXTS), classifier.predict(TEXTS))
    # What is saved again is the same model.
    loaded.save(tmp_path / "again")
    again = TextClassifier.load(tmp_path / "again")
    np.testing.assert_array_equal(again.predict(TEXTS), classifier.predict(TEXTS))


def test_folder_says_what_it_holds(tmp_path):
    classifier = cnn()
    classifier.task, classifier.num_texts = MULTI_LABEL, 2
    classifier.save(tmp_path / "student")
    names = {path.name for path in (tmp_path / "student").iterdir()}
    assert names == {"model.keras", "tokenizer", "labels.txt", "classifier.json"}
    assert (tmp_path / "student" / "labels.txt").read_text() == "markets\nsport\nweather\n"
    description = read_json(tmp_path / "student" / "classifier.json")
    assert len(description.pop("model_sha256")) == 64
    assert description == {
        "format_version": 1,
        "task": "multi_label",
        "label_names": list(LABELS),
        "num_texts": 2,
        "sequence_length": 24,
        "num_parameters": classifier.num_parameters,
        "thresholds": [0.5, 0.5, 0.5],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_thresholds_come_back_as_they_were_saved(tmp_path):
    classifier = cnn()
    classifier.task = MULTI_LABEL
    classifier.thresholds = np.array([0.1, 0.5, 0.9], np.float32).tolist()
    classifier.save(tmp_path / "student")
    assert TextClassifier.load(tmp_path / "student").thresholds == classifier.thresholds
    path = tmp_path / "student" / "classifier.json"
    description = read_json(path)
    # A folder from before there were any, and before there were seals.
    del description["thresholds"]
    write_json(path, description)
    assert TextClassifier.load(tmp_path / "student").thresholds == 0.5


def test_fresh_process_loads_it_and_answers_the_same(tmp_path):
    """Nothing but the classifier is imported there, and its strings hash differently."""
    classifiers = {"mean": bert(), "byte_pairs": cnn(byte_pair_tokenizer(24))}
    for name, classifier in classifiers.items():
        classifier.save(tmp_path / name)
    program = (
        "import json, sys; from tfkd import TextClassifier\n"
        "for folder in sys.argv[1:]:\n"
        "    classifier = TextClassifier.load(folder)\n"
        "    logits = classifier.predict(['oil price fell', 'oi']).tolist()\n"
        "    print(json.dumps([classifier.tokenizer.fingerprint, logits]))"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": str(Path(tfkd.__file__).parents[1]),
    }
    answer = subprocess.run(
        [sys.executable, "-c", program, *(str(tmp_path / name) for name in classifiers)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for line, classifier in zip(answer.stdout.splitlines(), classifiers.values(), strict=True):
        fingerprint, logits = json.loads(line)
        assert fingerprint == classifier.tokenizer.fingerprint
        np.testing.assert_allclose(logits, classifier.predict(["oil price fell", "oi"]), atol=1e-5)


def test_size_of_one_in_memory_is_not_known():
    message = r"^Expected a saved classifier\. Received: one in memory only\.$"
    with pytest.raises(ValueError, match=message):
        _ = cnn().size_bytes


PARTS = (
    "model.keras",
    "labels.txt",
    "tokenizer/vocabulary.txt",
    "tokenizer/preprocessor.json",
)
REMEDY = "Put it back as it was, or make the run again with --overwrite."


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("damage", "received"),
    [
        (lambda content: content[:-1] + b"?", "another content"),
        (lambda content: content[: len(content) // 2], "another content"),
        (lambda content: b"", "an empty file"),
        (None, "no such file"),
    ],
)
def test_changed_file_is_refused(part, damage, received, tmp_path):
    cnn().save(tmp_path / "student")
    path = tmp_path / "student" / part
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    message = f"Expected {path} as tfkd wrote it. Received: {received}. {REMEDY}"
    with pytest.raises(ArtifactError, match=exactly(message)):
        TextClassifier.load(tmp_path / "student")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label_names", ["weather", "sport", "markets"]),
        ("sequence_length", 8),
        ("num_texts", 2),
        ("task", MULTI_LABEL),
    ],
)
def test_changed_description_is_refused(name, value, tmp_path):
    cnn().save(tmp_path / "student")
    path = tmp_path / "student" / "classifier.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {name: value}))
    message = f"Expected {path} as tfkd wrote it. Received: another content. {REMEDY}"
    with pytest.raises(ArtifactError, match=exactly(message)):
        TextClassifier.load(tmp_path / "student")
    # Other blanks are no other content.
    path.write_text(json.dumps(content))
    assert TextClassifier.load(tmp_path / "student").label_names == LABELS


def test_folder_from_before_there_were_seals_is_read(tmp_path):
    cnn().save(tmp_path / "student")
    for name in ("classifier.json", "tokenizer/preprocessor.json"):
        path = tmp_path / "student" / name
        write_json(path, read_json(path))
    logits = TextClassifier.load(tmp_path / "student").predict(TEXTS)
    np.testing.assert_array_equal(logits, cnn().predict(TEXTS))
    weights = tmp_path / "student" / "model.keras"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(
        ArtifactError, match=rf"^Expected {weights} as tfkd wrote it\. Received: an"
    ):
        TextClassifier.load(tmp_path / "student")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("task", None, "to be single_label, multi_label, regression, embedding. Received: None"),
        ("label_names", {"a": 1}, "to be a list of names. Received: {'a': 1}"),
        ("label_names", ["a", 2], "to be a list of names. Received: ['a', 2]"),
        ("num_texts", True, "to be 1 or 2. Received: True"),
        ("num_texts", 3, "to be 1 or 2. Received: 3"),
        ("sequence_length", "8", "to be a whole number above 0. Received: '8'"),
        ("thresholds", [0.5, 2], "to be probabilities, one a label. Received: [0.5, 2]"),
        ("model_sha256", 7, "to be a hash. Received: 7"),
    ],
)
def test_description_of_another_shape_is_refused(name, value, expected, tmp_path):
    content = {
        "task": SINGLE_LABEL,
        "label_names": ["a", "b"],
        "num_texts": 1,
        "sequence_length": 8,
        "model_sha256": "0",
    }
    path = tmp_path / "classifier.json"
    write_json(path, content | {name: value})
    with pytest.raises(
        ArtifactError, match=exactly(f"Expected `{name}` in {path} {expected}. {REMEDY}")
    ):
        TextClassifier.load(tmp_path)


def test_names_are_as_many_as_outputs(tmp_path):
    cnn().save(tmp_path / "student")
    path = tmp_path / "student" / "classifier.json"
    write_json(path, read_json(path) | {"label_names": ["markets", "sport"]})
    message = (
        f"Expected 3 names in {path}, as many as the model gives numbers. Received: 2. {REMEDY}"
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        TextClassifier.load(tmp_path / "student")


@pytest.mark.parametrize("layer", ["Lambda", "TFSMLayer"])
def test_model_that_brings_code_is_refused(layer, tmp_path):
    """Its maker can write hashes, too: Keras itself reads neither code nor a SavedModel."""
    classifier = cnn()
    classifier.save(tmp_path / "student")
    weights = tmp_path / "student" / "model.keras"
    with zipfile.ZipFile(weights) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    layers = config["config"]["layers"]
    layers[-1] |= {"class_name": layer, "module": "keras.layers", "registered_name": None}
    layers[-1]["config"] = (
        {"name": "logits", "function": {"class_name": "__lambda__", "config": {"code": "x"}}}
        if layer == "Lambda"
        else {"name": "logits", "filepath": str(tmp_path), "call_endpoint": "serve"}
    )
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(weights, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    path = tmp_path / "student" / "classifier.json"
    write_json(path, read_json(path) | {"model_sha256": file_sha256(weights)})
    with pytest.raises(
        ArtifactError, match=f"^Expected a model of tfkd in {weights}. Keras refus"
    ) as e:
        TextClassifier.load(tmp_path / "student")
    assert "\n" not in str(e.value) and layer in str(e.value)
    assert len(str(e.value)) < 500


def test_folder_without_a_classifier_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"classifier\.json\. It does not exist\.$"):
        TextClassifier.load(tmp_path)


@pytest.mark.parametrize("make", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_other_precision_is_near_and_the_way_back_is_exact(make):
    """Also when it was asked before: a graph would keep the precision of its first call."""
    classifier = make()
    weights = classifier.model.get_weights()
    expected = classifier.predict(TEXTS)
    set_precision(classifier.model, "bfloat16")
    rough = classifier.predict(TEXTS)
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - expected).max() < 0.05 * np.abs(expected).max()
    assert {layer.variable_dtype for layer in classifier.model._flatten_layers()} == {"float32"}
    assert classifier.model.get_layer("logits").compute_dtype == "float32"
    set_precision(classifier.model, "float32")
    np.testing.assert_array_equal(classifier.predict(TEXTS), expected)
    for before, after in zip(weights, classifier.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
