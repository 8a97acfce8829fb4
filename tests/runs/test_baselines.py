"""Baselines of a run: scored once for rows that stay as they are, and a start that may be kept."""

import csv

import numpy as np
import pytest

from tests.hugging_face import write_encoder
from tfkd.artifacts import RunFolder, read_json
from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress
from tfkd.runs import baselines
from tfkd.runs.baselines import embeddings_row, word_baseline
from tfkd.runs.material import prepare
from tfkd.workflows.finetune import finetune

WORDS = ("oil prices fell", "the team won", "late cafe")
NAMES = ["embeddings + logistic regression", "TF-IDF + linear SVM"]


class Heard(Progress):
    """Keeps what was said."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three classes by their words, in files."""
    folder = tmp_path_factory.mktemp("data")
    for split, first, count in (("train", 0, 60), ("validation", 60, 30), ("test", 90, 30)):
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            for row in range(first, first + count):
                text = " ".join([WORDS[row % 3], *WORDS[(row // 7) % 3].split()[: row % 3]])
                writer.writerow([f"{text} {row}", "abc"[row % 3]])
    return folder


@pytest.fixture(scope="module")
def tuned(data, tmp_path_factory):
    """An encoder whose fine-tuning does nothing but harm."""
    folder, heard = tmp_path_factory.mktemp("runs"), Heard()
    config = FinetuneConfig(
        dataset=str(data),
        model=str(write_encoder(folder / "encoder", "bert")),
        learning_rate=1.0,
        epochs=1,
        sequence_length=16,
        output_dir=folder / "run",
    )
    return finetune(config, heard), heard.lines


def test_a_start_that_fine_tuning_harms_is_the_model(tuned):
    result, lines = tuned
    training = read_json(result.path / "metrics.json")["training"]
    assert training["best_epoch"] == 0
    start, (epoch,) = training["start"], training["history"]
    assert start["validation_accuracy"] > epoch["validation_accuracy"]
    told = f"(accuracy {start['validation_accuracy']:.4f})"
    expected = (
        f"no epoch of model is better on the validation rows than its start {told}, which is kept"
    )
    assert expected in lines
    embeddings, _, model = result.rows
    for name in ("accuracy", "macro_f1", "nll", "ece"):
        assert model.metrics[name] == pytest.approx(embeddings.metrics[name], abs=1e-6)
    assert embeddings.metrics["agreement"] == 1.0


def test_table_of_a_fine_tuning_has_its_baselines(tuned):
    result, _ = tuned
    shown = [(row.arm, row.model, row.recipe) for row in result.rows]
    assert shown[:2] == [("baseline", name, "scikit-learn") for name in NAMES]
    assert shown[2][0] == "model"
    assert result.rows[0].size_bytes == result.rows[2].size_bytes
    record = read_json(result.path / "metrics.json")
    assert record["rows"] == [row.to_dict() for row in result.rows]
    warned, first = result.render()[:2]
    assert warned.startswith("The test is too small: of 30 rows ")
    assert first.startswith("The model (Accuracy ")
    page = (result.path / "README.md").read_text()
    assert page.index(f"\n{warned}\n") < page.index(f"\n{first}\n")


def test_words_are_fitted_once_for_the_same_rows(data, tuned, monkeypatch):
    result, _ = tuned
    runs = result.path.parent
    material = prepare(DistillConfig(dataset=str(data)), runs, Progress(quiet=True))
    monkeypatch.setattr(baselines, "word_model", None)
    kept = word_baseline(material)
    labels = np.array([row.label for row in material.dataset.splits["test"]])
    accuracy = float((kept.logits.argmax(axis=1) == labels).mean())
    assert accuracy == result.rows[1].metrics["accuracy"] > 0.9
    assert kept.note["latency"]["p50_ms"] > 0
    with pytest.raises(TypeError, match="^'NoneType' object is not callable$"):
        word_baseline(
            prepare(
                DistillConfig(dataset=str(data), class_weight="balanced"),
                runs,
                Progress(quiet=True),
            )
        )


def test_a_student_table_takes_the_row_of_the_encoder_from_its_teacher(data, tuned):
    result, _ = tuned
    material = prepare(DistillConfig(dataset=str(data)), result.path.parent, Progress(quiet=True))
    folder = RunFolder(result.path).model
    shared = result.rows[2]
    assert embeddings_row(folder, shared, material) == result.rows[0]
    # Of other test rows its figures say nothing.
    few = DistillConfig(dataset=str(data), test_split="validation")
    others = prepare(few, result.path.parent, Progress(quiet=True))
    assert embeddings_row(folder, shared, others) is None
    assert TextClassifier.load(folder).label_names == ("a", "b", "c")
