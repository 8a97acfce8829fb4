"""What a model's name stands for, and the one line that is said when it stands for nothing."""

import json
import socket
import time

import keras_hub
import pytest

from tests.hugging_face import write_folder
from tfkd.artifacts import RunFolder, write_json
from tfkd.errors import ModelError
from tfkd.models.checkpoints import Kind, Source, resolve
from tfkd.models.hub import OFFLINE_CHOICES, fetch
from tfkd.models.sizes import SIZE_WORDS

CHOICES = (
    "Give a local folder (a KerasHub preset, a Hugging Face folder with model.safetensors, or a "
    "run of `tfkd finetune`) or a size word (bert_tiny, bert_mini, bert_small, bert_medium, "
    "bert_base, tinybert_4, tinybert_6, minilm_6, minilm_12, distilbert_base, distilroberta_base, "
    "bilstm, bilstm_small, cnn, cnn_small)."
)


@pytest.fixture
def no_network(monkeypatch):
    """A proxy that nobody answers at."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def make_run(path, is_finished=True, model="model"):
    run = RunFolder(path)
    run.start("finetune", {"dataset": "toy"}, overwrite=False)
    if model:
        write_json(path / model / "classifier.json", {})
    if is_finished:
        write_json(run.metrics, {})
    return path


def test_choices_are_offered_in_full():
    assert OFFLINE_CHOICES == CHOICES


@pytest.mark.parametrize("name", SIZE_WORDS)
def test_size_word(name):
    source = resolve(name)
    assert source == Source(name, Kind.SIZE)
    assert (source.is_ready, source.slug) == (False, name)


@pytest.mark.parametrize("model", ["model", "student"])
def test_run_of_our_own(model, tmp_path):
    source = resolve(str(make_run(tmp_path / "toy-finetuned", model=model)))
    assert (source.kind, source.folder) == (Kind.RUN, tmp_path / "toy-finetuned" / model)
    assert (source.is_ready, source.slug) == (True, "toy-finetuned")


def test_model_folder_of_a_run(tmp_path):
    """Also of a run that goes on: the folder is there only when it is whole."""
    folder = make_run(tmp_path / "run", is_finished=False) / "model"
    source = resolve(str(folder))
    assert (source.kind, source.folder, source.is_ready) == (Kind.RUN, folder, True)


@pytest.mark.parametrize("model", ["model", None], ids=["trained", "in training"])
def test_unfinished_run(model, tmp_path):
    path = make_run(tmp_path / "run", is_finished=False, model=model)
    with pytest.raises(ModelError, match="^Expected a finished run") as caught:
        resolve(str(path))
    assert str(caught.value) == (
        f"Expected a finished run. Received: {path}, which has no metrics.json yet. Start its "
        "command again; it goes on where it stopped."
    )


@pytest.mark.parametrize(
    "architecture, is_ready", [("BertForSequenceClassification", True), ("BertModel", False)]
)
def test_hugging_face_folder(architecture, is_ready, tmp_path):
    folder = write_folder(tmp_path / "published", "bert", architectures=[architecture])
    source = resolve(f"{folder}/")
    assert (source.kind, source.folder) == (Kind.HUGGING_FACE, folder)
    assert (source.is_ready, source.slug) == (is_ready, "published")


@pytest.mark.parametrize(
    ("architectures", "is_ready"),
    [(None, False), ([], False), ("BertForSequenceClassification", True), ([3], False)],
)
def test_hugging_face_folder_with_architectures_of_another_shape(architectures, is_ready, tmp_path):
    folder = write_folder(tmp_path / "published", "bert", architectures=architectures)
    assert resolve(str(folder)).is_ready is is_ready


def test_keras_hub_folder(tmp_path):
    write_json(tmp_path / "config.json", {"registered_name": "keras_hub>BertBackbone"})
    source = resolve(str(tmp_path))
    assert (source.kind, source.folder, source.is_ready) == (Kind.KERAS_HUB, tmp_path, False)


def test_folder_that_is_not_a_model(tmp_path):
    for content in ("nothing", {"a": 1}, ["a"], 3, "registered_name"):
        if content != "nothing":
            (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match="^Expected a model folder") as caught:
            resolve(str(tmp_path))
        assert str(caught.value) == (
            f"Expected a model folder. Received: {tmp_path}, which holds neither a run of tfkd, "
            "nor a Hugging Face config.json with model_type, nor a KerasHub preset."
        )


def test_byte_order_mark_before_the_config(tmp_path):
    folder = write_folder(tmp_path / "published", "bert")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(f"\ufeff{config}", encoding="utf-8")
    assert resolve(str(folder)).is_ready


@pytest.mark.parametrize(
    "content", ["{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", b"\xff"], ids=len
)
def test_folder_whose_config_is_no_json(content, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelError, match="^Expected JSON in ") as caught:
        resolve(str(tmp_path))
    assert str(caught.value).startswith(f"Expected JSON in {path}. Received: ")
    assert len(str(caught.value)) < 300


def test_folder_that_does_not_exist(tmp_path):
    name = str(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="^Expected a model folder") as caught:
        resolve(name)
    assert str(caught.value) == (
        f"Expected a model folder. Received: {name}, which does not exist."
    )


@pytest.mark.parametrize(
    "name, closest",
    [
        ("bert_tinny", "bert_tiny"),
        ("CNN", "cnn"),
        ("bert_base_en_uncase", "bert_base_en_uncased"),
        ("distilbert_base_en_uncased", "distil_bert_base_en_uncased"),
        ("roberta_large", "roberta_large_en"),
    ],
)
def test_unknown_name_is_answered_in_one_line(name, closest):
    with pytest.raises(ModelError, match="^Expected a known model") as caught:
        resolve(name)
    assert str(caught.value) == (
        f"Expected a known model. Received: {name!r}. The nearest is `{closest}`. {CHOICES}"
    )


@pytest.mark.parametrize("name", ["?", "gpt-99"])
def test_name_like_no_other_still_gets_an_offer(name):
    message = r"The nearest is `\w+`\. Give a local folder \("
    with pytest.raises(ModelError, match=message) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


HOSTS = {
    "bert_base_en_uncased": "www.kaggle.com",
    "roberta_base_en": "www.kaggle.com",
    "kaggle://keras/bert/keras/bert_tiny_en_uncased": "www.kaggle.com",
    "hf://someone/some-model": "huggingface.co",
}


@pytest.mark.parametrize("name", HOSTS)
def test_preset_that_cannot_be_fetched_is_said_within_ten_seconds(name, no_network):
    start = time.monotonic()
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        resolve(name)
    assert time.monotonic() - start < 10
    assert str(caught.value) == (
        f"Expected to fetch the preset {name!r}. {HOSTS[name]} cannot be reached. {CHOICES}"
    )


def test_a_handle_is_first_looked_for_in_a_folder_of_the_users_own(
    no_network, monkeypatch, tmp_path
):
    folder = tmp_path / "someone" / "some-model"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TFKD_MODEL_DIR", str(tmp_path))
    assert fetch("hf://someone/some-model", "name") == folder
    assert fetch("kaggle://someone/some-model", "name") == folder
    with pytest.raises(ModelError, match=r"^Expected to fetch the preset 'hf://someone/other'\."):
        resolve("hf://someone/other")
    monkeypatch.setenv("TFKD_MODEL_DIR", "")
    with pytest.raises(ModelError, match=r"^Expected to fetch the preset 'name'\."):
        fetch("hf://someone/some-model", "name")


def test_hub_that_never_answers_is_given_up_within_ten_seconds(no_network, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(ModelError, match=r"^Expected to fetch the preset 'hf://a/b'\."):
            resolve("hf://a/b")
        assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "name, slug",
    [
        ("hf://someone/some-model", "some-model"),
        ("kaggle://keras/bert/keras/bert_tiny_en", "bert_tiny_en"),
        ("kaggle://keras/bert/keras/bert_tiny_en/3", "bert_tiny_en"),
        ("hf://someone/some:model", "some-model"),
        ("bert_tiny_en_uncased", "bert_tiny_en_uncased"),
    ],
)
def test_slug_of_a_handle(name, slug, tmp_path):
    assert Source(name, Kind.KERAS_HUB, tmp_path).slug == slug


def test_model_in_the_hugging_face_cache_needs_no_network(no_network, tmp_path, monkeypatch):
    """The cache's own layout; a published classifier is a ready teacher from there too."""
    repository = tmp_path / "models--someone--topics"
    snapshot = repository / "snapshots" / "0123abcd"
    (repository / "refs").mkdir(parents=True)
    snapshot.parent.mkdir()
    write_folder(snapshot, "bert")
    (repository / "refs" / "main").write_text("0123abcd")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = resolve("hf://someone/topics")
    assert source == Source("hf://someone/topics", Kind.HUGGING_FACE, snapshot)
    assert source.is_ready
    assert source.slug == "topics"


def test_preset_in_the_kaggle_cache_needs_no_network(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    handle = keras_hub.models.BertBackbone.presets["bert_tiny_en_uncased"]["kaggle_handle"]
    folder = tmp_path / "models" / handle.removeprefix("kaggle://")
    folder.mkdir(parents=True)
    folder.with_name(f"{folder.name}.complete").touch()
    (folder / "config.json").write_text('{"registered_name": "keras_hub>BertBackbone"}')
    source = resolve("bert_tiny_en_uncased")
    assert source == Source("bert_tiny_en_uncased", Kind.KERAS_HUB, folder)
    assert not source.is_ready
    assert resolve(handle).slug == "bert_tiny_en_uncased"
