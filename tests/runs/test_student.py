"""A bottleneck in `tfkd distill`: which students may have one, its keys kept, arms alike."""

import dataclasses

import numpy as np
import pytest

from tests.toys import QUIET, frozen_encoder
from tfkd.compression.graph import find_backbone
from tfkd.config.training import DistillConfig
from tfkd.errors import ConfigError, ModelError
from tfkd.models.bottleneck import find_bottleneck
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.without_encoder import build_cnn
from tfkd.runs.choices import choose
from tfkd.runs.material import prepare
from tfkd.runs.scoring import split_logits
from tfkd.runs.student import bottleneck_student, student_plan

SETTINGS = {"dataset": "demo", "max_train_rows": 120, "sequence_length": 24, "bottleneck_keys": 20}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("saved_models")


@pytest.fixture(scope="module")
def material(place):
    return prepare(DistillConfig(**SETTINGS), place, QUIET)


@pytest.fixture(scope="module")
def encoder(place, material):
    """The folder of a finished classifier whose encoder is to be frozen."""
    dataset = material.dataset
    texts = [example.texts[0] for example in dataset.splits["train"]]
    return frozen_encoder(place / "encoder", texts, dataset.label_names)


def made(config, encoder, material, teacher=None):
    teacher = teacher or TextClassifier.load(encoder)
    return bottleneck_student(config, resolve(str(encoder)), teacher, material)


def kept(material, kind):
    return {path: path.stat().st_mtime_ns for path in (material.cache / kind).rglob("*.npy")}


def test_arms_start_alike_and_keys_are_found_once(encoder, material, tmp_path):
    config = DistillConfig(**SETTINGS, bottleneck="mlp", seed=3)
    first = made(config, encoder, material)
    written = kept(material, "keys")
    assert len(written) == 1
    second = made(config, encoder, material)
    assert kept(material, "keys") == written
    anew = made(config, encoder, dataclasses.replace(material, cache=tmp_path))
    assert len(kept(dataclasses.replace(material, cache=tmp_path), "keys")) == 1
    for one, other, third in zip(
        first.model.get_weights(), second.model.get_weights(), anew.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, third)
    assert find_bottleneck(first.model).keys.keys.shape == (2, 20, 12)
    assert first.label_names == material.dataset.label_names
    # Its encoder is the other's, weight for weight.
    for one, other in zip(
        find_backbone(first.model).get_weights(),
        find_backbone(TextClassifier.load(encoder).model).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_keys_of_the_teacher(encoder, material):
    config = DistillConfig(**SETTINGS, bottleneck="mlp")
    teacher = made(config, encoder, material)
    carried = config.replace(bottleneck="values", bottleneck_key_source="teacher", seed=8)
    written = kept(material, "keys")
    student = made(carried, encoder, material, teacher)
    np.testing.assert_array_equal(
        find_bottleneck(student.model).keys.keys, find_bottleneck(teacher.model).keys.keys
    )
    assert kept(material, "keys") == written
    with pytest.raises(ModelError, match="^Expected a teacher with a bottleneck .* one without"):
        made(carried, encoder, material)


def test_the_encoder_reads_the_test_rows_once_for_all_arms_of_its_keys(encoder, material, tmp_path):
    config = DistillConfig(**SETTINGS, bottleneck="mlp", seed=5)
    student = made(config, encoder, material)
    whole = student.logits(material.tokens("test", student.tokenizer))
    assert np.ptp(whole) > 0.01
    np.testing.assert_allclose(split_logits(student, "test", material), whole, atol=1e-6)
    written = kept(material, "readings")
    assert len(written) == 1

    student.save(tmp_path / "student")
    kept_student = TextClassifier.load(tmp_path / "student")
    np.testing.assert_allclose(split_logits(kept_student, "test", material), whole, atol=1e-6)
    split_logits(made(config.replace(bottleneck="values"), encoder, material), "test", material)
    assert kept(material, "readings") == written
    split_logits(made(config.replace(seed=6), encoder, material), "test", material)
    assert len(kept(material, "readings")) == 2


def test_only_a_model_with_an_encoder_can_be_frozen(place, encoder, material):
    tokenizer = TextClassifier.load(encoder).tokenizer
    dataset = material.dataset
    model = build_cnn(tokenizer.vocabulary_size, dataset.num_outputs, width=8, filters=4)
    TextClassifier(model, tokenizer, dataset.task, dataset.label_names).save(place / "cnn")
    config = DistillConfig(**SETTINGS, bottleneck="mlp")
    with pytest.raises(ModelError, match="^Expected a model with an encoder. .* with cnn. Give an"):
        made(config, place / "cnn", material)
    longer = config.replace(sequence_length=64)
    with pytest.raises(
        ModelError, match="^Expected a sequence length of at most 32, the positions"
    ):
        made(longer, encoder, material)


def test_students_and_recipes_that_do_not_go_with_it(encoder):
    choose(DistillConfig(dataset="demo", student=str(encoder), bottleneck="values"))
    message = "^Expected a student with a trained encoder .* Received: bert_tiny. Give a preset"
    with pytest.raises(ConfigError, match=message):
        choose(DistillConfig(dataset="demo", student="bert_tiny", bottleneck="mlp"))
    message = "^Expected pooling mean .* Received: cls. Leave --pooling out.$"
    with pytest.raises(ConfigError, match=message):
        choose(DistillConfig(dataset="demo", student=str(encoder), bottleneck="mlp", pooling="cls"))
    message = "^Expected recipes that need no training .* Received: qat_int8. Quantize it after"
    with pytest.raises(ConfigError, match=message):
        choose(
            DistillConfig(
                dataset="demo", student=str(encoder), bottleneck="mlp", recipes=("qat_int8",)
            )
        )
    with pytest.raises(ConfigError, match="^Expected `bottleneck` to be one of mlp, values."):
        DistillConfig(dataset="demo", bottleneck="softmax")


@pytest.mark.parametrize(("decoder", "rate"), [("mlp", 3e-3), ("values", 1e-1)])
def test_learning_rate_follows_the_decoder_unless_one_is_given(encoder, material, decoder, rate):
    config = DistillConfig(dataset="demo", student=str(encoder), bottleneck=decoder)
    source = resolve(str(encoder))
    assert student_plan(config, source, material).learning_rate == rate
    given = config.replace(learning_rate=0.2)
    assert student_plan(given, source, material).learning_rate == 0.2
    plain = config.replace(bottleneck=None)
    assert student_plan(plain, source, material).learning_rate == 5e-5
