"""Hugging Face folders, tiny and random, against a forward pass in plain numpy."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.hugging_face import (
    config_of,
    encoder_alone,
    logits,
    random_tensors,
    vectors,
    write_encoder,
    write_folder,
    write_json,
)
from tfkd.data.examples import MULTI_LABEL, SINGLE_LABEL, Dataset
from tfkd.errors import ModelError
from tfkd.models import huggingface
from tfkd.models.checkpoints import Kind, resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.models.pooling import FirstToken, MaxPooling, MeanPooling

DATASET = Dataset("toy", SINGLE_LABEL, ("world", "sports", "business"), 1, "accuracy", {})
FAMILIES = ("bert", "distilbert", "roberta")


def load(folder, shape=None, dataset=DATASET):
    return load_classifier(resolve(str(folder)), dataset, shape or Shape(sequence_length=16))


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


@pytest.mark.parametrize("family", FAMILIES)
def test_classifier_is_the_published_one(family, tmp_path):
    """Encoder, pooler and head; also after it was saved as one of our own."""
    tensors = random_tensors(family)
    classifier = load(write_folder(tmp_path / "published", family, tensors))
    texts = TEXTS[family]
    expected = [logits(tensors, family, *row) for row in rows_of(classifier, texts)]
    np.testing.assert_allclose(classifier.predict(texts), expected, atol=1e-5)
    classifier.save(tmp_path / "teacher")
    loaded = TextClassifier.load(tmp_path / "teacher")
    np.testing.assert_allclose(loaded.predict(texts), classifier.predict(texts), atol=1e-6)
    assert loaded.label_names == DATASET.label_names


def test_pair_is_read_as_the_published_one_reads_it(tmp_path):
    tensors = random_tensors("bert")
    folder = write_folder(tmp_path / "published", "bert", tensors)
    dataset = Dataset("toy", SINGLE_LABEL, DATASET.label_names, 2, "accuracy", {})
    classifier = load(folder, dataset=dataset)
    pairs = [("oil prices fell", "the team won"), ("late", "oil")]
    rows = list(rows_of(classifier, pairs))
    assert rows[1][0].tolist() == [2, 12, 3, 5, 3]
    assert rows[1][1].tolist() == [0, 0, 0, 1, 1]
    expected = [logits(tensors, "bert", *row) for row in rows]
    np.testing.assert_allclose(classifier.predict(pairs), expected, atol=1e-5)


def test_roberta_keeps_its_token_type(tmp_path):
    """Zero in the published encoder, not after fine-tuning; KerasHub alone leaves it out."""
    tensors = random_tensors("roberta")
    received = load(write_folder(tmp_path / "with", "roberta", tensors)).predict(["oil"])
    name = "roberta.embeddings.token_type_embeddings.weight"
    zero = {**tensors, name: np.zeros_like(tensors[name])}
    without = load(write_folder(tmp_path / "zero", "roberta", zero)).predict(["oil"])
    assert np.abs(received - without).max() > 1e-2
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
    received = load(folder).predict(TEXTS["distilbert"])
    np.testing.assert_array_equal(received, whole.predict(TEXTS["distilbert"]))
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
    # The name alone, as some folders have it.
    write_json(
        folder / "config.json",
        config_of("distilbert", architectures="DistilBertForSequenceClassification"),
    )
    assert resolve(str(folder)).is_ready is True


def said(folder, dataset=DATASET):
    lines = []
    shape = Shape(sequence_length=16)
    classifier = load_classifier(resolve(str(folder)), dataset, shape, say=lines.append)
    return classifier, lines


@pytest.mark.parametrize("labels", [{}, {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}])
def test_label_names_without_meaning_are_those_of_the_data_set(labels, tmp_path):
    """One line says which stands for which."""
    folder = write_folder(tmp_path / "published", "distilbert", id2label=labels)
    classifier, lines = said(folder)
    assert classifier.label_names == DATASET.label_names
    assert lines == [
        f"{folder} has no names for its classes. Taken in the order of toy: LABEL_0 for world, "
        "LABEL_1 for sports, LABEL_2 for business."
    ]
    found = huggingface.read_folder(folder, huggingface.read_config(folder))
    assert huggingface.read_head(found).label_names == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_nothing_is_said_of_names_that_agree(tmp_path):
    assert said(write_folder(tmp_path / "published", "distilbert"))[1] == []


def refusal(folder, dataset=DATASET):
    with pytest.raises(ModelError, match="^Expected ") as caught:
        load(folder, dataset=dataset)
    return str(caught.value)


def test_names_are_shown_in_one_line(tmp_path):
    labels = {"0": "a\nb", "1": "\x1b[31mred", "2": "Größe"}
    folder = write_folder(tmp_path / "published", "distilbert", id2label=labels)
    assert refusal(folder).endswith(r"with 3 classes (a\nb, \x1b[31mred, Größe).")


def pieces_file(*pieces):
    """A SentencePiece model, written as the protocol buffer it is: pieces, scores and kinds."""
    kinds = {"<unk>": 2, "<s>": 3, "</s>": 3}
    content = b""
    for piece in pieces:
        text = piece.encode()
        entry = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", -1.0)
        entry += b"\x18" + bytes([kinds.get(piece, 1)])
        content += b"\x0a" + bytes([len(entry)]) + entry
    return content


def test_xlm_roberta_with_its_pieces(tmp_path):
    """Rows 0 to 3 are <s>, <pad>, </s> and <unk>; the file's own pieces follow from 4 on."""
    tensors = random_tensors("roberta")
    folder = write_folder(
        tmp_path / "published",
        "roberta",
        tensors,
        model_type="xlm-roberta",
        architectures=["XLMRobertaForSequenceClassification"],
    )
    pieces = pieces_file("<unk>", "<s>", "</s>", "▁oil", "▁", "o", "i", "l")
    (folder / "sentencepiece.bpe.model").write_bytes(pieces)
    classifier = load(folder)
    texts = ["oil lo", ""]
    rows = list(rows_of(classifier, texts))
    assert [row.tolist() for row, _ in rows] == [[0, 4, 5, 8, 6, 2], [0, 2]]
    expected = [logits(tensors, "roberta", *row) for row in rows]
    np.testing.assert_allclose(classifier.predict(texts), expected, atol=1e-5)


def test_file_that_a_library_cannot_read_is_one_line(tmp_path):
    """TensorFlow's errors, too, which are none of Python's own."""
    folder = write_folder(
        tmp_path / "published",
        "roberta",
        model_type="xlm-roberta",
        architectures=["XLMRobertaForSequenceClassification"],
    )
    (folder / "sentencepiece.bpe.model").write_bytes(b"no protocol buffer")
    message = refusal(folder)
    assert message.startswith(f"Expected a loadable model. Received: '{folder}': ")
    assert "\n" not in message


def test_label_names_that_are_exchanged_are_no_names_without_meaning(tmp_path):
    labels = {"0": "LABEL_1", "1": "LABEL_0", "2": "LABEL_2"}
    folder = write_folder(tmp_path / "published", "distilbert", id2label=labels)
    assert refusal(folder).endswith("with 3 classes (LABEL_1, LABEL_0, LABEL_2).")


@pytest.mark.parametrize(
    "labels",
    [{"0": "a", "1": "b"}, {str(index): "a" for index in range(4)}, {"1": "a", "2": "b", "3": "c"}],
)
def test_names_that_are_not_those_of_the_head_are_refused(labels, tmp_path):
    folder = write_folder(tmp_path / "published", "bert", id2label=labels)
    assert refusal(folder) == (
        f"Expected a name for each of the 3 outputs of the head as id2label in {folder}/config.json"
        f". Received: {labels}."
    )


def test_number_of_labels_that_is_not_the_heads_is_refused(tmp_path):
    folder = write_folder(tmp_path / "published", "bert", num_labels=2, id2label=None)
    assert refusal(folder) == (
        f"Expected num_labels of 3 in {folder}/config.json, the outputs of its head. Received: 2."
    )


@pytest.mark.parametrize(
    "architecture", ["JinaBertForSequenceClassification", "RobertaForSequenceClassification"]
)
def test_head_of_another_class_is_refused(architecture, tmp_path):
    folder = write_folder(tmp_path / "published", "bert", architectures=[architecture])
    assert refusal(folder) == (
        f"Expected the head of BertForSequenceClassification in {folder}. Received: "
        f"'{architecture}'. Give a model of that class, or an encoder to fine-tune."
    )


@pytest.mark.parametrize(
    "problem, task, is_refused",
    [
        (None, MULTI_LABEL, False),
        ("single_label_classification", SINGLE_LABEL, False),
        ("multi_label_classification", MULTI_LABEL, False),
        ("multi_label_classification", SINGLE_LABEL, True),
        ("single_label_classification", MULTI_LABEL, True),
    ],
)
def test_task_is_the_one_the_head_was_trained_for(problem, task, is_refused, tmp_path):
    folder = write_folder(tmp_path / "published", "bert", problem_type=problem)
    dataset = Dataset("toy", task, DATASET.label_names, 1, "accuracy", {})
    if not is_refused:
        assert load(folder, dataset=dataset).task == task
        return
    assert refusal(folder, dataset) == (
        f"Expected a head for {task}, the task of toy. Received: {folder}, whose problem_type is "
        f"one for {problem.removesuffix('_classification')}. Give another model, or an encoder."
    )


def test_task_without_a_name_is_refused(tmp_path):
    folder = write_folder(tmp_path / "published", "bert", problem_type="ranking")
    assert refusal(folder) == (
        "Expected problem_type of single_label_classification, multi_label_classification, "
        f"regression in {folder}/config.json. Received: 'ranking'."
    )


@pytest.mark.parametrize(
    "labels, received",
    [
        (("Sports", "World", "Weather"), "3 classes (Sports, World, Weather)"),
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
        f"Expected a head with the {CLASSES} of toy. Received: {folder} with {received}."
    )


def test_classes_in_another_order_are_taken_by_their_names(tmp_path):
    names = {"0": "SPORTS", "1": "Business", "2": "World"}
    other = load(write_folder(tmp_path / "other", "bert", id2label=names))
    logits = load(write_folder(tmp_path / "same", "bert")).predict(["oil prices fell"])
    np.testing.assert_allclose(other.predict(["oil prices fell"]), logits[:, [2, 0, 1]], atol=1e-6)


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


def test_damaged_weights_are_one_line(tmp_path):
    folder = write_folder(tmp_path / "published", "distilbert")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ModelError, match="^Expected whole weights in") as caught:
        load(folder)
    assert str(caught.value).startswith(
        f"Expected whole weights in {weights}. They cannot be read: Error while deserializing "
    )
    assert str(caught.value).endswith(". Copy or fetch the file again.")


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


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_accents_are_stripped_for_an_uncased_vocabulary(family, tmp_path):
    folder = write_folder(tmp_path / "published", family)
    expected = [[2, 8, 5, 3, 0, 0, 0, 0]]
    assert load(folder).encode(["Café Oil"])["token_ids"].tolist() == expected
    # KerasHub itself needs the file that says so.
    (folder / "tokenizer_config.json").unlink()
    assert load(folder).encode(["Café Oil"])["token_ids"].tolist() == expected


def pooled(folder, **settings):
    """The folder as sentence-transformers writes it, with a pooling."""
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(folder / "1_Pooling" / "config.json", settings)
    return folder


@pytest.mark.parametrize(
    "settings, layer, of",
    [
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
            MeanPooling,
            lambda rows: rows.mean(axis=0),
        ),
        # The first token itself: BERT's pooler takes no part in it.
        (
            {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
            FirstToken,
            lambda rows: rows[0],
        ),
        ({"pooling_mode_max_tokens": True}, MaxPooling, lambda rows: rows.max(axis=0)),
        ({"pooling_mode": "mean"}, MeanPooling, lambda rows: rows.mean(axis=0)),
    ],
)
def test_sentence_transformers_folder_is_pooled_as_it_was_trained(settings, layer, of, tmp_path):
    tensors = random_tensors("bert")
    folder = write_encoder(tmp_path / "encoder", "bert", encoder_alone(tensors, "bert"))
    classifier = load(pooled(folder, word_embedding_dimension=8, **settings))
    assert type(classifier.model.get_layer("pooling")) is layer
    rows = rows_of(classifier, TEXTS["bert"])
    expected = [of(vectors(tensors, "bert", *row)) for row in rows]
    np.testing.assert_allclose(classifier.reader().predict(TEXTS["bert"]), expected, atol=1e-5)


def test_pooling_that_the_user_names_counts_more(tmp_path):
    folder = pooled(write_encoder(tmp_path / "encoder", "bert"), pooling_mode_mean_tokens=True)
    layers = [layer.name for layer in load(folder, Shape(16, pooling="cls")).model.layers]
    assert "pooling" not in layers


@pytest.mark.parametrize(
    "settings, received",
    [
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "pooling_mode_cls_token, pooling_mode_mean_tokens",
        ),
        ({"pooling_mode_weightedmean_tokens": True}, "pooling_mode_weightedmean_tokens"),
        ({"pooling_mode": "lasttoken"}, "'lasttoken'"),
        ({}, "None"),
    ],
)
def test_poolings_that_tfkd_lacks_are_refused(settings, received, tmp_path):
    folder = pooled(write_encoder(tmp_path / "encoder", "bert"), **settings)
    with pytest.raises(ModelError, match="^Expected one pooling of mean, cls or max") as caught:
        load(folder)
    assert str(caught.value) == (
        f"Expected one pooling of mean, cls or max in {folder}/1_Pooling/config.json. Received: "
        f"{received}. Choose one by --pooling, or --teacher-pooling."
    )
    assert load(folder, Shape(16, pooling="mean")).predict(["oil"]).shape == (1, 3)


def modules(*kinds):
    return [{"idx": 0, "type": f"sentence_transformers.models.{kind}"} for kind in kinds]


def test_modules_behind_the_pooling(tmp_path):
    folder = write_encoder(tmp_path / "encoder", "bert")
    write_json(folder / "modules.json", modules("Transformer", "Pooling", "Normalize"))
    assert resolve(str(folder)).kind is Kind.HUGGING_FACE
    write_json(folder / "modules.json", modules("Transformer", "Pooling", "Dense"))
    with pytest.raises(ModelError, match="^Expected modules Transformer, Pooling") as caught:
        resolve(str(folder))
    assert str(caught.value) == (
        f"Expected modules Transformer, Pooling, Normalize, Dropout in {folder}/modules.json. "
        "Received: 'Dense', which tfkd does not load. Take modules.json away to use the encoder "
        "alone."
    )


def test_lower_case_of_sentence_transformers(tmp_path):
    """A tokenizer of small letters does the same."""
    folder = write_encoder(tmp_path / "encoder", "bert")
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 9, "do_lower_case": True})
    assert resolve(str(folder)).kind is Kind.HUGGING_FACE
    write_json(folder / "tokenizer_config.json", {"do_lower_case": False})
    with pytest.raises(ModelError, match="^Expected do_lower_case of false in") as caught:
        resolve(str(folder))
    assert str(caught.value) == (
        f"Expected do_lower_case of false in {folder}/sentence_bert_config.json for a tokenizer "
        "with capitals. Received: true. Take it out to use the encoder on text as it is."
    )


def test_adapter_beside_the_model_is_refused(tmp_path):
    folder = write_encoder(tmp_path / "encoder", "bert")
    write_json(folder / "adapter_config.json", {"peft_type": "LORA"})
    with pytest.raises(ModelError, match="^Expected a whole model") as caught:
        resolve(str(folder))
    assert str(caught.value) == (
        f"Expected a whole model. Received: {folder} with adapter_config.json, whose adapter is "
        "not loaded. Merge the adapter into the model, and save that."
    )


def test_text_longer_than_the_positions_is_refused(tmp_path):
    folder = write_folder(tmp_path / "published", "roberta")
    assert load(folder, Shape(32)).predict(["oil " * 50]).shape == (1, 3)
    with pytest.raises(ModelError, match="^Expected a sequence length of at most 32") as caught:
        load(folder, Shape(33))
    assert str(caught.value) == (
        f"Expected a sequence length of at most 32, the positions {folder} knows. Received: 33."
    )
