"""How much a row counts: a column of the user's, from file or memory into every loss."""

from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.distillation.test_training import NAMES, toy_logits, toy_model, toy_tokens
from tests.messages import exactly
from tests.runs.test_linear_head import classifier, vectors_of
from tests.toys import QUIET
from tfkd.artifacts import RunFolder
from tfkd.config.data import DataConfig
from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.config.verbs import CheckConfig, EvaluateConfig
from tfkd.data.augmentation import Augmented
from tfkd.data.batching import Batches, Chosen
from tfkd.data.columns import ColumnNames
from tfkd.data.examples import Example, example_of
from tfkd.data.kept_rows import KeptExamples
from tfkd.distillation.distiller import Distiller
from tfkd.errors import ConfigError, DatasetError
from tfkd.models.checkpoints import resolve
from tfkd.runs import linear_head
from tfkd.runs.linear_head import start_head
from tfkd.runs.material import TRANSFER, prepare
from tfkd.runs.settings import settings_of
from tfkd.runs.teacher import finetune_config

TEXTS, LABELS = ["Rain.", "A goal.", "Sun."], ["weather", "sport", "weather"]


def folder(path, *weights):
    """Train with weights; validation and test without the column."""
    path.mkdir(exist_ok=True)
    rows = [f"text {row},{'xy'[row % 2]},{weight}" for row, weight in enumerate(weights)]
    (path / "train.csv").write_text("\n".join(["text,label,n", *rows, ""]))
    for split in ("validation", "test"):
        (path / f"{split}.csv").write_text(f"text,label\n{split} a,x\n{split} b,y\n")
    return str(path)


def material_of(path, weight_column="n", **settings):
    config = DistillConfig(dataset=path, weight_column=weight_column, **settings)
    return prepare(config, Path(path).parent / "runs", QUIET)


def sums(rows, logits, weights):
    """Summed losses of one batch, and what it moves each variable by, for their sum."""
    student = toy_model(dropout=0.0)
    before = [value.numpy() for value in student.trainable_variables]
    distiller = Distiller(student=student, student_loss_weight=0.3, class_weight=[0.5, 2.0])
    distiller.compile(optimizer=keras.optimizers.SGD(float(len(rows))))
    batches = Batches(rows, NAMES, len(rows), 0, logits, weights=weights)
    found = distiller.fit(batches.dataset(0), steps_per_epoch=1, shuffle=False, verbose=0).history
    after = [value.numpy() for value in student.trainable_variables]
    losses = [value[0] * len(rows) for name, value in found.items() if name != "gradient_norm"]
    return losses, [one - two for one, two in zip(before, after, strict=True)]


@pytest.mark.parametrize("has_teacher", [False, True])
def test_a_row_of_weight_2_is_the_row_twice(has_teacher):
    rows, weights = toy_tokens(5), np.array([2, 1, 0, 3, 1])
    logits = toy_logits(rows) if has_teacher else None
    repeated = np.repeat(np.arange(5), weights)
    of_repeated = None if logits is None else logits[repeated]
    losses, moved = sums(rows, logits, weights.astype(np.float32))
    expected, as_much = sums(Chosen(rows, repeated), of_repeated, None)
    assert len(losses) == 2 + has_teacher
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for one, two in zip(moved, as_much, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    assert max(np.abs(one).max() for one in moved) > 0.1


def test_the_first_head_weighs_rows_as_scikit_learn(monkeypatch):
    monkeypatch.setattr(linear_head, "STRENGTHS", (0.1,))
    rows, found = toy_tokens(300), classifier()
    weights = np.random.default_rng(0).integers(0, 4, 300).astype(float)
    start_head(found, rows, rows, QUIET, weights)
    scaled = StandardScaler().fit_transform(vectors_of(found, rows))
    expected = LogisticRegression(C=0.1, max_iter=300).fit(scaled, rows.labels, weights)
    logits = found.logits(rows)
    np.testing.assert_allclose(
        logits[:, 1] - logits[:, 0], expected.decision_function(scaled), atol=1e-3
    )


def test_the_column_weighs_train_alone(tmp_path):
    material = material_of(folder(tmp_path / "a", 2, "0.5", 0, 1))
    assert material.dataset.columns == "text as text, label as label, n as weight"
    assert material.weights("train").tolist() == [2.0, 0.5, 0.0, 1.0]
    assert material.weights("test").tolist() == [1.0, 1.0]
    assert material.label_weights(np.array([0, 1, 0, 1])).tolist() == [2.0, 0.5, 0.0, 1.0]
    alike = material_of(str(tmp_path / "a"), None)
    assert alike.weights("train") is None
    assert alike.label_weights(np.array([0, 1, 0, 1])) is None


def test_rows_and_classes_multiply(tmp_path):
    material = material_of(folder(tmp_path / "a", 2, 4, 0, 1, 3), class_weight="balanced")
    labels = material.labels("train")
    expected = np.array([5 / 6, 5 / 4])[labels] * [2, 4, 0, 1, 3]
    np.testing.assert_allclose(material.label_weights(labels), expected)


def test_weights_are_part_of_what_is_learned_from_alone(tmp_path):
    """A run with weights and one without are judged by the same rows."""
    marks = [
        {name: item.fingerprint for name, item in material_of(path, column).summaries.items()}
        for path, column in (
            (folder(tmp_path / "a", 2, 1, 1), "n"),
            (folder(tmp_path / "b", 1, 2, 1), "n"),
            (folder(tmp_path / "c", 1, 1, "1.0"), "n"),
            (folder(tmp_path / "d", 2, 1, 1), None),
        )
    ]
    assert len({mark["train"] for mark in marks}) == 3
    assert marks[2] == marks[3]
    assert len({(mark["validation"], mark["test"]) for mark in marks}) == 1


def test_rows_held_out_of_one_file_are_judged_by_without_weights(tmp_path):
    lines = [f"text {row},{'xy'[row % 2]},{row % 3}" for row in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label,n", *lines]))
    material = material_of(str(tmp_path / "a.csv"))
    rows = list(material.dataset.splits["train"])
    assert material.weights("train").tolist() == [int(row.texts[0][5:]) % 3 for row in rows]
    alike = material_of(str(tmp_path / "a.csv"), None)
    changed = [
        name for name in alike.summaries if alike.summaries[name] != material.summaries[name]
    ]
    assert changed == ["train"]


@pytest.mark.parametrize(
    ("weight", "received"),
    [("", "none"), ("-1", "'-1'"), ("nan", "'nan'"), ("inf", "'inf'"), ("much", "'much'")],
)
def test_what_is_no_weight_is_refused_with_its_row(tmp_path, weight, received):
    path = folder(tmp_path / "a", 1, weight)
    message = (
        f"Expected a finite number of 0 or more as weight in {path}/train.csv, row 2 (row 1 is the "
        f"first row of data). Received: {received}."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        material_of(path)


def test_some_row_has_to_count(tmp_path):
    path = folder(tmp_path / "a", 0, 0, "0.0")
    message = (
        f"Expected a weight above 0 in `{path}`, split train. Received: 0 in all of 3 rows. "
        "Correct the column of --weight-column, or leave it out."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        material_of(path)


def test_a_column_that_is_not_there_and_one_that_is_taken(tmp_path):
    path = folder(tmp_path / "a", 1, 1)
    message = f"Expected a column `m` in {path}/train.csv. Received: text, label, n. Correct "
    with pytest.raises(DatasetError, match=f"^{message}--weight-column.$"):
        material_of(path, "m")
    message = "Expected a column of its own for each text and label. Received: `label` twice."
    with pytest.raises(ConfigError, match=f"^{message} Correct the options of columns.$"):
        material_of(path, "label", label_columns=("label",))


def test_a_copy_has_the_weight_of_its_row_and_other_texts_have_1(tmp_path):
    rows = [example_of(["a fine day at sea"], 0, "T-1", 2.5), Example(("rain and no end",), 1)]
    copies = list(Augmented(rows, 2))[2:]
    assert [row.weight for row in copies] == [2.5, 1.0, 2.5, 1.0]
    assert [row.id for row in copies] == [None] * 4
    kept = list(KeptExamples.of(rows))
    assert [(row.id, row.weight) for row in kept] == [("T-1", 2.5), (None, 1.0)]
    path = folder(tmp_path / "a", 3, 2)
    (tmp_path / "more.csv").write_text("text,n\nother,7\n")
    config = {"unlabelled": str(tmp_path / "more.csv"), "augmented_copies": 0}
    material = material_of(path, **config)
    assert material.with_transfer(material.config, None).weights(TRANSFER).tolist() == [3, 2, 1]


def test_weights_in_memory_are_a_column(tmp_path, monkeypatch):
    given = {"texts": TEXTS, "labels": LABELS, "output_dir": tmp_path / "a"}
    config = settings_of(FinetuneConfig, None, {**given, "weights": np.float32([2, 0, 0.5])})
    assert config.weight_column == "weight"
    lines = (Path(config.dataset) / "train.jsonl").read_text().splitlines()
    assert lines[2] == '{"text": "Sun.", "label": "weather", "weight": 0.5}'
    table = {"text": TEXTS, "label": LABELS, "n": [2.0, 0.0, 0.5]}
    given = {"texts": table, "weight_column": "n", "output_dir": tmp_path / "a"}
    assert settings_of(FinetuneConfig, None, given) == config
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    assert settings_of(FinetuneConfig, None, {**given, "texts": rows}) == config
    # What is judged by needs none.
    both = {**given, "test_texts": {"text": TEXTS, "label": LABELS}}
    tested = Path(settings_of(FinetuneConfig, None, both).dataset) / "test.jsonl"
    assert tested.read_text().splitlines()[0] == '{"text": "Rain.", "label": "weather"}'
    monkeypatch.chdir(tmp_path)
    checked = settings_of(CheckConfig, None, {"texts": table, "weight_column": "n"})
    assert checked.weight_column == "weight"


@pytest.mark.parametrize(
    ("config", "given", "error", "message"),
    [
        (
            FinetuneConfig,
            {"texts": TEXTS, "labels": LABELS, "weights": [1]},
            ValueError,
            "Expected as many weights as texts. Received: 1 weights for 3 texts",
        ),
        (
            FinetuneConfig,
            {"texts": {"text": TEXTS, "label": LABELS}, "weights": [1, 1, 1]},
            TypeError,
            "Expected a table's weights by `weight_column`. Received: `weights`",
        ),
        (
            EvaluateConfig,
            {"run": "a", "texts": TEXTS, "labels": LABELS, "weights": [1, 1, 1]},
            ConfigError,
            "Expected only known settings in the keywords. Received: `weights`. Known: ",
        ),
    ],
    ids=["too few", "beside a table", "to evaluate"],
)
def test_other_weights_in_memory_are_refused(config, given, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=f"^{message}"):
        settings_of(config, None, given)


def test_a_run_keeps_its_column_for_its_own_rows(tmp_path):
    names = ColumnNames.of(DataConfig(dataset="a.csv", weight_column="n", id_column="id"))
    assert (names.weight, names.id) == ("n", "id")
    # Other rows, to evaluate or to predict, need none.
    assert ColumnNames().over(names) == ColumnNames(id="id")


def test_a_teacher_of_weighed_rows_has_its_own_folder(tmp_path):
    config = DistillConfig(dataset="a.csv", weight_column="n", class_weight="balanced")
    own = finetune_config(config, resolve("cnn"), RunFolder(tmp_path / "run"))
    assert own.weight_column == "n"
    assert own.output_dir.name == "a.csv-cnn-finetuned-balanced-weighted"
