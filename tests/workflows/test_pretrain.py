"""`tfkd pretrain` on a small encoder: what is learned, what is kept, and the student of a task."""

import dataclasses

import numpy as np
import pytest

import tfkd
from tests.toys import QUIET, Stopped, Stopping, demo_rows, frozen_encoder, spread_out
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig, PretrainConfig
from tfkd.data import sources
from tfkd.data.checks import check
from tfkd.errors import ArtifactError, ConfigError, DatasetError, ModelError
from tfkd.models.checkpoints import Kind, resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.models.token_table import token_table
from tfkd.progress import Progress
from tfkd.runs.choices import check_names
from tfkd.runs.known_texts import check_held_out, text_hashes
from tfkd.runs.material import prepare
from tfkd.runs.pretraining import read_texts
from tfkd.runs.student import student_plan
from tfkd.workflows.pretrain import pretrain


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a data set, a text file and an encoder whose vectors differ."""
    folder = tmp_path_factory.mktemp("pretrain")
    (folder / "rows").mkdir()
    demo_rows(folder / "rows", train=120, validation=40, test=40)
    dataset = sources.load(str(folder / "rows"), None)
    texts = [row.texts[0] for row in dataset.splits["train"]]
    (folder / "more.txt").write_text("\n\n".join(f"{text} again" for text in texts[:60]) + "\n")
    encoder = TextClassifier.load(frozen_encoder(folder / "encoder", texts, dataset.label_names))
    spread_out(encoder.model)
    encoder.save(folder / "encoder")
    return folder


def config_of(folder, **changes):
    settings = {
        "encoder": str(folder / "encoder"),
        "texts": (str(folder / "rows"), str(folder / "more.txt")),
        "student": "cnn_small",
        "encoder_sequence_length": 24,
        "sequence_length": 24,
        "validation_fraction": 0.1,
        "epochs": 4,
        "batch_size": 16,
        "output_dir": folder / "general",
        "quiet": True,
    }
    return PretrainConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def result(folder):
    return pretrain(config_of(folder))


class Told(Progress):
    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def held_out_texts(folder):
    """The texts of which the run's figures are, by its own seed."""
    material = read_texts(config_of(folder), folder / "cache", QUIET)
    return [row.texts[0] for row in material.dataset.splits["validation"]]


def test_figures_are_those_of_the_saved_student_on_held_out_texts(result, folder):
    assert result.num_rows == 162
    texts = held_out_texts(folder)
    assert len(texts) == 18
    expected = TextClassifier.load(folder / "encoder").reader().predict(texts)
    received = TextClassifier.load(result.path / "model").predict(texts)
    assert received.shape == expected.shape == (18, 24)
    cosines = (expected * received).sum(axis=1) / (
        np.linalg.norm(expected, axis=1) * np.linalg.norm(received, axis=1)
    )
    # The encoder may have read, and the student been judged, with products in bfloat16.
    assert result.metrics["cosine"] == pytest.approx(cosines.mean(), abs=3e-3)
    kept = artifacts.read_json(result.path / "metrics.json")
    assert kept["metrics"] == result.metrics
    assert kept["data"]["splits"]["train"]["num_rows"] == 162


def test_the_vectors_are_learned(result):
    history = artifacts.read_json(result.path / "metrics.json")["training"]["history"]
    cosines = [epoch["validation_cosine"] for epoch in history]
    assert cosines[-1] > cosines[0]
    assert result.metrics["cosine"] == max(cosines) > 0.8


def test_a_task_gets_the_student_with_logits_of_its_own(result, folder):
    source = resolve(str(result.path))
    assert (source.kind, source.size) == (Kind.PRETRAINED, "cnn_small")
    assert resolve(str(result.path / "model")).size == "cnn_small"
    dataset = sources.load(str(folder / "rows"), None)
    student = load_classifier(source, dataset, Shape(20, seed=1))
    general = TextClassifier.load(result.path / "model")
    assert student.label_names == dataset.label_names
    assert student.tokenizer.sequence_length == 20
    assert student.predict(["Oil prices fell."]).shape == (1, len(dataset.label_names))
    for mine, its in zip(student.model.weights, general.model.weights, strict=True):
        if mine.path.startswith("logits"):
            assert mine.shape[-1] == len(dataset.label_names)
        else:
            np.testing.assert_array_equal(mine, its)


def test_the_student_is_trained_as_its_size_word_is(result, folder):
    """Not as a published encoder, whose rate would hardly move it."""
    config = DistillConfig(dataset=str(folder / "rows"), student=str(result.path))
    material = prepare(config, folder, QUIET)
    mine, its = (
        student_plan(config, resolve(name), material) for name in (str(result.path), "cnn_small")
    )
    assert mine == its
    assert (mine.learning_rate, mine.epochs) == (1e-3, 60)


def test_distilling_into_it_starts_both_arms_from_it(result, folder, converted_here):
    run = tfkd.distill(
        DistillConfig(
            dataset=str(folder / "rows"),
            teacher=str(folder / "encoder"),
            student=str(result.path),
            epochs=1,
            # Nothing moves, so that the start is seen.
            learning_rate=1e-8,
            recipes=("float32",),
            timing=False,
            output_dir=folder / "task",
            quiet=True,
        )
    )
    splits = artifacts.read_json(run.path / "metrics.json")["data"]["splits"]
    # Eight altered copies of each of so few texts, and the 68 words of the encoder four times.
    assert (splits["train"]["num_rows"], splits["transfer"]["num_rows"]) == (120, 9 * 120 + 4 * 68)
    general = np.asarray(token_table(TextClassifier.load(result.path / "model").model).embeddings)
    for arm in ("student", "control"):
        found = TextClassifier.load(run.path / arm)
        np.testing.assert_allclose(token_table(found.model).embeddings, general, atol=1e-5)
        assert found.num_texts == 1


def test_texts_it_has_read_are_noted_and_said_of_a_task(result, folder, tmp_path):
    kept = np.load(result.path / "training" / "texts.npy")
    rows = list(sources.load(str(folder / "rows"), None).splits["train"])
    # The encoder's file repeats the first sixty with a word more.
    assert len(kept) == 180
    assert np.isin(text_hashes(rows), kept).all()
    told = Told()
    config = DistillConfig(dataset=str(folder / "rows"), student=str(result.path))
    material = dataclasses.replace(prepare(config, tmp_path, QUIET), progress=told)
    check_held_out(resolve(str(result.path)), material)
    assert told.lines == []
    splits = {**material.dataset.splits, "test": rows[:3] + list(material.dataset.splits["test"])}
    dataset = dataclasses.replace(material.dataset, splits=splits)
    check_held_out(
        resolve(str(result.path)),
        dataclasses.replace(material, dataset=dataset, summaries=check(dataset)),
    )
    assert told.lines == [f"{result.path} has read 3 of 43 rows of test, without their labels"]


def test_a_column_of_texts_is_enough(folder, tmp_path):
    lines = "".join(f"rain number {row}\n" for row in range(40))
    (tmp_path / "notes.csv").write_text(f"text\n{lines}")
    config = config_of(folder, texts=(str(tmp_path / "notes.csv"),))
    check_names(config)
    material = read_texts(config, tmp_path, QUIET)
    counts = [material.summaries[name].num_rows for name in ("train", "validation")]
    assert counts == [36, 4]


def test_started_again_it_goes_on_and_ends_the_same(result, folder):
    config = config_of(folder, output_dir=folder / "stopped", backup_seconds=0.0)
    with pytest.raises(Stopped, match="^train model for 4 epochs of 162 rows"):
        pretrain(config, Stopping(start="train model"))
    assert not RunFolder(config.output_dir).is_finished
    assert pretrain(config).metrics == result.metrics
    files = [
        (path / "model" / "model.keras").read_bytes() for path in (config.output_dir, result.path)
    ]
    assert files[0] == files[1]
    with pytest.raises(ArtifactError, match="^Expected an output folder without a finished run"):
        pretrain(config)
    assert pretrain(config.replace(overwrite=True)).metrics == pytest.approx(
        result.metrics, abs=1e-5
    )


def test_pairs_are_two_texts(folder, tmp_path):
    rows = ["sentence1,sentence2,label", "oil fell,a harbour,0", "a bank,the river,1"]
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.csv").write_text("\n".join([*rows, ""]))
    config = config_of(folder, texts=(str(tmp_path),), output_dir=tmp_path / "run", epochs=1)
    assert pretrain(config.replace(validation_fraction=0.25)).num_rows == 3


@pytest.mark.parametrize(
    "changes, error, message",
    [
        (
            {"student": "bert_tyni"},
            ModelError,
            r"^Expected a size word as --student of pretrain\. Received: 'bert_tyni'\. Did you "
            r"mean `bert_tiny`\?$",
        ),
        (
            {"encoder": "bert_tiny"},
            ModelError,
            r"^Expected a trained encoder to learn from\. Received: bert_tiny, which is untrained\."
            " Give a preset, folder or handle of an encoder, or a finished run.$",
        ),
        (
            {"texts": ("nowhere.txt",)},
            DatasetError,
            r"^Expected a text file for --text\. Received: nowhere\.txt, which is not there\. "
            r"Correct the path\.$",
        ),
        (
            {"texts": ("ag_newz",)},
            ConfigError,
            "^Expected a known data set or an existing folder or file. Received: `ag_newz`.",
        ),
    ],
)
def test_names_are_checked_before_anything_is_read(folder, changes, error, message):
    with pytest.raises(error, match=message):
        check_names(config_of(folder, **changes))


def test_a_single_text_is_too_few(folder, tmp_path):
    (tmp_path / "one.txt").write_text("Oil prices fell again.\n")
    config = config_of(folder, texts=(str(tmp_path / "one.txt"),), output_dir=tmp_path / "run")
    with pytest.raises(DatasetError, match="^Expected 3 different texts of a class or more"):
        pretrain(config)
    assert not config.output_dir.exists()


def test_verbs_for_classifiers_refuse_it_by_name(result):
    message = (
        "^Expected a folder written by `tfkd finetune` or `tfkd distill`. Received: "
        f"{result.path}, a student of `tfkd pretrain`, which knows no classes yet. Give it to "
        "--student of `tfkd distill`.$"
    )
    with pytest.raises(ArtifactError, match=message):
        RunFolder(result.path).read_config()


def test_it_can_teach_a_smaller_one(result, folder):
    """Its own vectors are what the next student learns."""
    config = config_of(folder, encoder=str(result.path), student="bilstm_small", epochs=1)
    smaller = pretrain(config.replace(output_dir=folder / "smaller"))
    assert TextClassifier.load(smaller.path / "model").predict(["Oil fell."]).shape == (1, 24)


def test_settings_are_written_as_given(result, folder):
    settings = artifacts.read_json(result.path / "config.json")
    assert settings["verb"] == "pretrain"
    given = config_of(folder)
    assert settings["texts"] == list(given.texts)
    assert dataclasses.replace(given).to_dict() == {
        key: value for key, value in settings.items() if key not in ("written_by", "verb", "data")
    }
