"""A published classifier goes to small files without a training of ours."""

import csv
import itertools
import json
import shutil

import numpy as np
import pytest

from tests import hugging_face
from tests.hugging_face import LABELS, WORDS, random_tensors, write_encoder, write_folder
from tests.messages import exactly
from tests.toys import QUIET
from tfkd.compression.litert import LiteRTModel
from tfkd.config.verbs import QuantizeConfig
from tfkd.errors import ArtifactError, ConfigError, ModelError
from tfkd.runs.published_run import published
from tfkd.workflows.quantize import quantize
from tfkd.workflows.report import report

pytestmark = pytest.mark.usefixtures("converted_here")
RECIPES = ("float32", "dynamic_int8")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the rows and a classifier of them, in which commands are run."""
    path = tmp_path_factory.mktemp("published")
    rows = itertools.product(WORDS[5:], WORDS[5:], WORDS[5:8])
    with (path / "news.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for number, words in enumerate(rows):
            writer.writerow([" ".join(words), LABELS[number % 3]])
    (path / "models" / "owner").mkdir(parents=True)
    write_folder(path / "models" / "owner" / "bert", "bert")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("TFKD_MODEL_DIR", str(path / "models"))
        yield path


def settings(**changes):
    return QuantizeConfig(
        **{"run": "models/owner/bert", "dataset": "news.csv", "recipes": RECIPES, **changes}
    )


@pytest.fixture(scope="module")
def result(place):
    return quantize(settings(), QUIET)


def test_its_files_answer_as_the_published_weights_do(place, result):
    assert result.path.as_posix() == "saved_models/news-bert-published"
    model = LiteRTModel(place / result.path / "model" / "float32.tflite")
    ids = [2, *(WORDS.index(word) for word in ("the", "team", "won")), 3]
    expected = hugging_face.logits(random_tensors("bert"), "bert", ids, [0] * len(ids))
    # The rows' classes stand in alphabetical order.
    order = [LABELS.index(name) for name in sorted(LABELS)]
    found = model.predict(["the team won"])[0]
    np.testing.assert_allclose(found, np.array(expected)[order], atol=1e-3)
    assert [file.recipe for file in result.files] == list(RECIPES)
    for file in result.files:
        assert abs(result.float_metrics["accuracy"] - file.metrics["accuracy"]) <= 0.02
        assert file.latency.p50_ms > 0


def test_the_table_stands_beside_the_figures_of_the_original(result):
    size = (result.path / "model" / "model.keras").stat().st_size / 1e6
    accuracy = result.float_metrics["accuracy"]
    assert result.sentences[0] == f"The Keras model: accuracy {accuracy:.4f}, {size:.2f} MB."
    assert result.render()[0].columns[0].cells == RECIPES
    metrics = json.loads((result.path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["rows"][0]["command"] == result.command
    assert result.command.startswith("python -m tfkd quantize models/owner/bert --dataset news.csv")
    # Every other verb takes it for a run.
    report(folders=(result.path,))


def test_it_is_taken_up_again_until_its_files_are_others(place, result):
    model = result.path / "model" / "model.keras"
    before = model.stat().st_mtime_ns
    again = quantize(settings(recipes=RECIPES[:1]), QUIET)
    assert (again.path, model.stat().st_mtime_ns) == (result.path, before)
    other = write_folder(place / "other", "bert", problem_type="single_label_classification")
    shutil.move(place / "models" / "owner" / "bert", place / "first")
    shutil.move(other, place / "models" / "owner" / "bert")
    message = (
        "Expected in saved_models/news-bert-published what was made of models/owner/bert as it is "
        "now. Received: another run. Add --overwrite to replace it, or move it away."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        quantize(settings(), QUIET)


def test_a_handle_keeps_its_strokes(place):
    source = published(settings(run="hf://owner/bert"))
    assert source.name == "hf://owner/bert"
    assert source.folder == place / "models" / "owner" / "bert"


def test_what_is_no_classifier_of_these_classes_is_refused(place):
    encoder = write_encoder(place / "encoder", "bert")
    message = (
        "Expected a classifier to quantize. Received: encoder, an encoder that knows no classes. "
        "Train it first: `tfkd finetune --model encoder --dataset NAME`."
    )
    with pytest.raises(ModelError, match=exactly(message)):
        quantize(settings(run=encoder.name), QUIET)
    message = (
        "Expected --dataset with models/owner/bert: texts with labels to compare and score its "
        "files on. Received: none."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        quantize(settings(dataset=None), QUIET)
    names = {"0": "World", "1": "Sport", "2": "Business"}
    write_folder(place / "sport", "bert", id2label=names)
    with pytest.raises(ModelError, match="^Expected a head with the 3 classes .* of news.csv. Rec"):
        quantize(settings(run="sport"), QUIET)
    assert not (place / "saved_models" / "news-sport-published").exists()
    with pytest.raises(ArtifactError, match="Received: nothing-here, which has no config.json.$"):
        quantize(settings(run="nothing-here"), QUIET)
