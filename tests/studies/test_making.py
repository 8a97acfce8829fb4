"""Arms with several teachers: one tiny study, what it keeps, and what it refuses."""

import csv
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.toys import QUIET, demo_rows
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import FinetuneConfig
from tfkd.config.verbs import ReportConfig, StudyConfig
from tfkd.distillation.mixing import Mixing
from tfkd.distillation.mixture import learned, mixture
from tfkd.errors import ArtifactError, ConfigError
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.runs.material import prepare
from tfkd.runs.record import KeptMixture
from tfkd.runs.routes import Demand
from tfkd.runs.teacher import Teacher, train_logits
from tfkd.studies.form import read_plan
from tfkd.workflows.report import report
from tfkd.workflows.study import study

FORM = """
seeds = [0]
timed_texts = 0
[settings]
augmented_copies = 0
max_train_rows = 200
sequence_length = 16
epochs = 1
learning_rate = 0.01
batch_size = 32
temperature = 3.0
[teachers.A]
model = "cnn_small"
epochs = 2
learning_rate = 0.01
sequence_length = 24
[teachers.B]
ready = "READY"
[students.cnn_small]
[datasets.demo]
dataset = "DATA"
[[arms]]
student = "cnn_small"
teachers = ["A"]
[[arms]]
student = "cnn_small"
teachers = ["A", "B"]
name = "first"
weights = [1, 0]
[[arms]]
student = "cnn_small"
teachers = ["B", "A"]
name = "learned"
weighting = "learned"
average = "logits"
temperatures = [5, 2]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return f"{demo_rows(tmp_path_factory.mktemp('data'), train=200, validation=100, test=200)}/"


@pytest.fixture(scope="module")
def material(data, tmp_path_factory):
    """The rows of the study, with a cache of their own."""
    config = FinetuneConfig(dataset=data, max_train_rows=200)
    return prepare(config, tmp_path_factory.mktemp("material"), QUIET)


@pytest.fixture(scope="module")
def ready(data, tmp_path_factory):
    """A teacher that knows nothing, with other tokens and another length than the study's own."""
    config = FinetuneConfig(dataset=data, max_train_rows=30)
    folder = tmp_path_factory.mktemp("ready")
    dataset = prepare(config, folder, QUIET).dataset
    load_classifier(resolve("cnn_small"), dataset, Shape(12, "auto", 3)).save(folder / "teacher")
    return folder / "teacher"


def config(folder, form):
    path = folder / "mixed.toml"
    path.write_text(form, encoding="utf-8")
    return StudyConfig(study=path, output_dir=folder / "mixed", quiet=True)


@pytest.fixture(scope="module")
def form(data, ready):
    return FORM.replace("DATA", data).replace("READY", str(ready))


@pytest.fixture(scope="module")
def made(form, tmp_path_factory):
    """A finished study: its settings, folder and result."""
    folder = tmp_path_factory.mktemp("study")
    settings = config(folder, form)
    return settings, folder / "mixed", study(settings)


def run(made, arm):
    return RunFolder(made[1] / f"demo-cnn_small-{arm}-seed0")


def heard(made, material, split):
    """What each teacher says, asked anew."""
    folders = KeptMixture.read(run(made, "learned")).folders
    return [
        Teacher(TextClassifier.load(folder), Path(folder), np.zeros(0))
        .answers(split, material, Demand())
        .logits
        for folder in folders.values()
    ]


def test_teachers_have_their_own_tokens_and_caches(made):
    folders = KeptMixture.read(run(made, "learned")).folders
    tokenizers = [TextClassifier.load(folder).tokenizer for folder in folders.values()]
    assert list(folders) == ["A", "B"]
    assert [item.sequence_length for item in tokenizers] == [24, 12]
    assert tokenizers[0].vocabulary_size != tokenizers[1].vocabulary_size
    # Each scored train, test and, for the learned weights, validation; once for all arms.
    assert len(list((made[1] / "cache" / "teacher_logits").iterdir())) == 6


def test_a_teacher_without_weight_leaves_no_trace_in_the_student(made):
    alone, first = (
        keras.saving.load_model(run(made, arm).model / "model.keras", compile=False).get_weights()
        for arm in ("A", "first")
    )
    assert [one.tobytes() for one in alone] == [other.tobytes() for other in first]
    histories = [
        artifacts.read_json(run(made, arm).metrics)["training"]["history"]
        for arm in ("A", "first", "learned")
    ]
    losses = [history[0]["distillation_loss"] for history in histories]
    assert losses[0] == losses[1] != losses[2]


def test_learned_weights_are_those_of_the_validation_rows(made, material):
    logits = heard(made, material, "validation")
    labels = np.array([example.label for example in material.dataset.splits["validation"]])
    rule = Mixing(weighting="learned", average="logits", temperatures=(2, 5))
    expected = learned("single_label", logits, labels, rule)
    kept = artifacts.read_json(run(made, "learned").metrics)["mixture"]
    assert kept["mixing"] == expected.to_dict()
    assert kept["mixing"]["weights"][0] > 0.5


def test_table_tells_the_weights(made, tmp_path):
    settings, path, result = made
    first, second = KeptMixture.read(run(made, "learned")).mixing.weights
    words = (
        f"Teachers of cnn_small-learned: A {first:.4f}, B {second:.4f}, learned; mean of logits; "
        "temperatures 2.0, 5.0."
    )
    assert words in result.markdown()
    assert words in result.render()
    assert "Teachers of cnn_small-first: A 1.0000, B 0.0000, fixed." in result.markdown()
    assert report(ReportConfig(folders=(path,), output_dir=tmp_path)).studies == (result,)


def test_agreement_is_with_the_mixture_that_taught(made):
    rows = {row["arm"]: row for row in made[2].datasets["demo"]["rows"]}
    assert rows["cnn_small-first"]["agreement"] == rows["cnn_small-A"]["agreement"]
    assert rows["cnn_small-A"]["mixture"] is None


def test_mixture_is_heard_again_by_recipes_that_train(made, material):
    logits = heard(made, material, "train")
    found = train_logits(run(made, "first"), material)
    np.testing.assert_array_equal(found, logits[0])
    np.testing.assert_array_equal(found, train_logits(run(made, "A"), material))
    rule = KeptMixture.read(run(made, "learned")).mixing
    found = train_logits(run(made, "learned"), material)
    np.testing.assert_array_equal(found, mixture("single_label", logits, 3.0, rule))
    assert train_logits(run(made, "control"), material) is None


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("weights = [1, 1]", "to be made with weights=[1.0, 1.0]. Received: weights=[1.0, 0.0]."),
        ("", "to be made with weights=None. Received: weights=[1.0, 0.0]. Delete it"),
        (
            "weights = [1, 0]\ntemperatures = [3, 4]",
            "made with temperatures=[3.0, 4.0]. Received: ",
        ),
    ],
)
def test_arm_made_by_another_rule_is_not_taken_in_silence(made, form, tmp_path, after, message):
    shutil.copytree(made[1], tmp_path / "mixed")
    with pytest.raises(ArtifactError, match=re.escape(message)):
        study(config(tmp_path, form.replace("weights = [1, 0]", after)))


def test_arm_made_before_there_were_rules_is_taken(made, form, tmp_path):
    """Its folder says nothing of weights."""
    shutil.copytree(made[1], tmp_path / "mixed")
    path = tmp_path / "mixed" / "demo-cnn_small-A-seed0" / "config.json"
    settings = artifacts.read_json(path)
    for key in ("weights", "weighting", "average", "temperatures"):
        assert settings.pop(key) is None
    artifacts.write_json(path, settings)
    # Nor are there seals.
    metrics = path.with_name("metrics.json")
    artifacts.write_json(metrics, artifacts.read_json(metrics))
    assert study(config(tmp_path, form)) == made[2]


def test_probabilities_of_a_regression_are_refused_before_anything_is_trained(tmp_path):
    folder = tmp_path / "data" / "scores"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        with (folder / f"{split}.csv").open("w", encoding="utf-8") as stream:
            rows = [(f"text number {number}", number + 0.5) for number in range(20)]
            csv.writer(stream).writerows([("text", "label"), *rows])
    form = FORM.replace(
        '[datasets.demo]\ndataset = "DATA"', f'[datasets.scores]\ndataset = "{folder}"'
    )
    form = form.replace("READY", "nowhere")
    settings = config(tmp_path, form)
    with pytest.raises(ConfigError, match="of a regression, .* Received: average='logits'"):
        study(settings)
    assert not [arm.path for arm in read_plan(settings).items if arm.path.exists()]
