"""KerasHub preset folders: an encoder alone, and a text classifier with its trained head."""

import json

import keras
import keras_hub
import numpy as np
import pytest

from tests.toys import BYTE_PAIRS, MERGES, tiny_backbone, vocabulary_of
from tfkd.data.examples import SINGLE_LABEL, Dataset
from tfkd.errors import ModelError
from tfkd.models import presets
from tfkd.models.checkpoints import Kind, resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier

WORDS = vocabulary_of("oil price fell the team won")
DATASET = Dataset("toy", SINGLE_LABEL, ("world", "sports", "business"), 1, "accuracy", {})
TEXTS = ["oil price fell", "the team won the oil", "oil"]
# Without characters beyond the tiny vocabulary, for which KerasHub has two answers.
BYTE_PAIR_TEXTS = ["oil", "oil oil lio", "io"]
SHAPE = Shape(sequence_length=16)
FAMILIES = ("Bert", "DistilBert", "Roberta")


def backbone_of(family):
    keras.utils.set_random_seed(2)
    rows = len(BYTE_PAIRS if family == "Roberta" else WORDS)
    return randomize(tiny_backbone(rows, family, hidden_dim=8, max_sequence_length=32))


def randomize(model):
    generator = np.random.default_rng(2)
    model.set_weights([generator.normal(0.2, 0.6, w.shape) for w in model.get_weights()])
    return model


def preprocessor_of(family):
    tokenizer_class = getattr(keras_hub.models, f"{family}Tokenizer")
    if family == "Roberta":
        tokenizer = tokenizer_class(vocabulary=BYTE_PAIRS, merges=MERGES)
    else:
        tokenizer = tokenizer_class(WORDS, lowercase=True)
    kind = getattr(keras_hub.models, f"{family}TextClassifierPreprocessor")
    return kind(tokenizer, sequence_length=24)


def texts_of(task):
    return BYTE_PAIR_TEXTS if "roberta" in task.name else TEXTS


def answer_of(task):
    """As `task.predict`, without its graphs."""
    return np.asarray(task(task.preprocessor(texts_of(task)), training=False))


def task_of(family, **options):
    kind = getattr(keras_hub.models, f"{family}TextClassifier")
    return randomize(kind(backbone_of(family), 3, preprocessor=preprocessor_of(family), **options))


@pytest.fixture(scope="module", params=FAMILIES)
def published(request, tmp_path_factory):
    """A fine-tuned text classifier, and the folder it was saved to."""
    task = task_of(request.param)
    folder = tmp_path_factory.mktemp("presets") / request.param
    task.save_to_preset(str(folder))
    return task, folder


def test_text_classifier_brings_its_head(published, tmp_path):
    """Also after it was saved as one of our own."""
    task, folder = published
    source = resolve(str(folder))
    assert (source.kind, source.folder, source.is_ready) == (Kind.KERAS_HUB, folder, True)
    classifier = load_classifier(source, DATASET, SHAPE)
    assert classifier.label_names == DATASET.label_names
    assert classifier.tokenizer.sequence_length == 16
    expected = answer_of(task)
    np.testing.assert_allclose(classifier.predict(texts_of(task)), expected, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    classifier.save(tmp_path / "teacher")
    loaded = TextClassifier.load(tmp_path / "teacher")
    np.testing.assert_allclose(loaded.predict(texts_of(task)), expected, atol=1e-5)


def test_head_with_a_softmax_gives_the_logits_before_it(tmp_path):
    task = task_of("Bert", activation="softmax")
    task.save_to_preset(str(tmp_path / "preset"))
    classifier = load_classifier(resolve(str(tmp_path / "preset")), DATASET, SHAPE)
    odds = np.exp(classifier.predict(TEXTS))
    expected = answer_of(task)
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), expected, atol=1e-5)


def test_head_of_another_number_of_classes_is_refused(published):
    _, folder = published
    dataset = Dataset("toy", SINGLE_LABEL, ("no", "yes"), 1, "accuracy", {})
    with pytest.raises(ModelError, match="^Expected a head with the 2 classes") as caught:
        load_classifier(resolve(str(folder)), dataset, SHAPE)
    assert str(caught.value) == (
        f"Expected a head with the 2 classes (no, yes) of toy. Received: {folder} with 3 classes "
        "(LABEL_0, LABEL_1, LABEL_2)."
    )


def test_encoder_alone_has_a_fresh_head(tmp_path):
    backbone = backbone_of("Bert")
    backbone.save_to_preset(str(tmp_path / "preset"))
    preprocessor_of("Bert").save_to_preset(str(tmp_path / "preset"))
    source = resolve(str(tmp_path / "preset"))
    assert (source.kind, source.is_ready) == (Kind.KERAS_HUB, False)
    classifier = load_classifier(source, DATASET, SHAPE)
    kernel, bias = classifier.model.get_layer("logits").get_weights()
    arrays = classifier.encode(TEXTS)
    pooled = np.asarray(backbone(arrays, training=False)["pooled_output"])
    np.testing.assert_allclose(classifier.predict(TEXTS), pooled @ kernel + bias, atol=1e-5)


def test_other_tasks_and_lost_head_weights_are_encoders_alone(published, tmp_path):
    _, folder = published
    assert presets.has_head(folder) is True
    assert presets.has_head(tmp_path) is presets.is_preset(tmp_path) is False
    (tmp_path / "task.json").write_text(json.dumps({"class_name": "BertTextClassifier"}))
    assert presets.has_head(tmp_path) is False
    (tmp_path / "task.weights.h5").write_bytes(b"")
    assert presets.has_head(tmp_path) is True
    for other in ({"class_name": "BertMaskedLM"}, [], None):
        (tmp_path / "task.json").write_text(json.dumps(other))
        assert presets.has_head(tmp_path) is False


def test_folder_with_lost_weights_is_one_line(tmp_path):
    backbone_of("Bert").save_to_preset(str(tmp_path / "preset"))
    (tmp_path / "preset" / "model.weights.h5").unlink()
    with pytest.raises(ModelError, match=r"^Expected a loadable model\. Received: .*size word \("):
        load_classifier(resolve(str(tmp_path / "preset")), DATASET, SHAPE)
