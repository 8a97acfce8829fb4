"""What is said of the data before anything slow starts, and the words that copies take."""

import dataclasses

import numpy as np
import pytest

from tests.messages import exactly
from tests.toys import spread_out, tiny_backbone, vocabulary_of, wordpiece_tokenizer
from tfkd.artifacts import RunFolder
from tfkd.config.data import DataConfig
from tfkd.config.training import DistillConfig, FinetuneConfig
from tfkd.config.verbs import EvaluateConfig
from tfkd.data.augmentation import Augmented, Snippets
from tfkd.data.checks import check
from tfkd.data.examples import Dataset, Example
from tfkd.data.transfer import Unlabelled
from tfkd.errors import ConfigError
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.near_words import known_words, near_words
from tfkd.progress import Progress
from tfkd.runs.material import Material, prepare
from tfkd.runs.own_data import own_material

QUIET = Progress(quiet=True)


VOCABULARY = vocabulary_of("oil gas fuel rain snow sun sea hill tree bird fish bread")
NAMES = ("a", "b", "c")


def taught(num_texts=1):
    """A teacher with an encoder, the words it knows, and rows of them."""
    model = spread_out(build_encoder_classifier(tiny_backbone(len(VOCABULARY)), 3))
    tokenizer = wordpiece_tokenizer(VOCABULARY)
    teacher = TextClassifier(model, tokenizer, "single_label", NAMES, num_texts)
    known = known_words(model, VOCABULARY)
    rows = [Example((" ".join(known[k : k + 4]),) * num_texts, k % 3) for k in range(6)]
    return teacher, known, rows


def material_of(rows, folder):
    splits = dict.fromkeys(("train", "validation", "test"), rows)
    num_texts = len(rows[0].texts)
    dataset = Dataset("toys", "single_label", NAMES, num_texts, "accuracy", splits)
    return Material(dataset, check(dataset), folder / "cache", QUIET)


CONFIG = DistillConfig(dataset="toys")


def test_copies_take_the_words_that_the_teacher_knows(tmp_path, capsys):
    teacher, known, rows = taught()
    material = dataclasses.replace(material_of(rows, tmp_path), progress=Progress())

    wider = material.with_transfer(CONFIG, teacher)

    assert "copies of each text: 8; words, alone and in snippets: 12\n" in capsys.readouterr().err
    near = near_words(known, teacher.reader().predict(known), known)
    assert all(len(words) == 10 for words in near.values())
    snippets = list(Unlabelled(Snippets(rows, known), "single_label"))
    assert [row.texts[0] for row in snippets[:12]] == known and len(snippets) == 48
    expected = [*Augmented(rows, 8, CONFIG.split_seed, near), *snippets]
    assert list(wider.dataset.splits["transfer"]) == expected
    # The second time from the cache, which decides.
    (kept,) = (tmp_path / "cache" / "words").glob("*.npy")
    backwards = np.load(kept)[::-1]
    np.save(kept, backwards)
    kept.with_suffix(".json").unlink()
    again = list(material.with_transfer(CONFIG, teacher).dataset.splits["transfer"])
    assert again == [*Augmented(rows, 8, 0, near_words(known, backwards, known)), *snippets]
    assert again[:6] == rows
    # Whoever says how many copies gets these alone.
    few = material.with_transfer(CONFIG.replace(augmented_copies=1), teacher)
    assert len(list(few.dataset.splits["transfer"])) == 12


def test_texts_without_a_label_have_copies_too(tmp_path):
    teacher, known, rows = taught()
    path = tmp_path / "more.txt"
    path.write_text("some text of mine\nand another\n")
    config = CONFIG.replace(unlabelled=str(path))
    wider = material_of(rows, tmp_path).with_transfer(config, teacher)
    found = [row.texts[0] for row in wider.dataset.splits["transfer"]]
    assert found[:8] == [*(row.texts[0] for row in rows), "some text of mine", "and another"]
    assert len(found) == 8 * 9 + 4 * len(known)
    assert sum({"some", "mine", "another"} & set(text.split()) != set() for text in found) > 16


def test_pairs_have_no_snippets(tmp_path):
    teacher, known, rows = taught(num_texts=2)
    transfer = material_of(rows, tmp_path).with_transfer(CONFIG, teacher).dataset.splits["transfer"]
    assert [len(row.texts) for row in transfer] == [2] * 54


def said(tmp_path, capsys, **settings) -> list[str]:
    prepare(DataConfig(**settings), tmp_path / "runs", Progress())
    return capsys.readouterr().err.splitlines()


def write(path, labels, column="label"):
    rows = "".join(f'text {row},"{label}"\n' for row, label in enumerate(labels))
    path.write_text(f"text,{column}\n{rows}")
    return str(path)


def test_task_and_classes_are_said(tmp_path, capsys):
    path = write(tmp_path / "a.csv", ["food, home", "work"] * 20, "labels")
    assert said(tmp_path, capsys, dataset=path) == [
        f"read and check {path}",
        "labels: multi_label, 3 labels: food, home, work (',' between them; --label-separator says "
        "otherwise)",
        "rows: train 26, validation 6, test 8",
    ]
    assert said(tmp_path, capsys, dataset=path, label_separator="|")[1] == (
        "labels: single_label, 2 classes: food, home, work (one in each row of `labels`; --task "
        "multi_label takes them for several)"
    )
    assert said(tmp_path, capsys, dataset=path, task="single_label")[1] == (
        "labels: single_label, 2 classes: food, home, work"
    )


def messy(tmp_path):
    """Thirty rows of two classes, and some that are empty, repeated, or spelled otherwise."""
    rows = [f"text {row},{'xy'[row % 2]}" for row in range(30)]
    rows += ["TEXT 0,X", "text 1,x", " ,y", "text 29,"]
    (tmp_path / "train.csv").write_text("\n".join(["body,kind", *rows]))
    (tmp_path / "test.csv").write_text("body,kind\ntext 2,x\nnew,y\n")
    return {"dataset": str(tmp_path), "text_column": "body", "label_columns": ("kind",)}


def test_a_training_says_the_worst_of_its_rows_first(tmp_path, capsys):
    config = FinetuneConfig(**messy(tmp_path), drop_empty=True)
    prepare(config, tmp_path / "runs", Progress())
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "columns: body as text, kind as label"
    assert lines[4] == "left out of train: 2 without a text or a label"
    assert lines[5].startswith("Rows with a text that a split to judge by has as well: ")
    assert lines[6].startswith("Rows with the text of an earlier row and another label: ")
    assert lines[7].startswith("Rows with the text of an earlier row of the same split: 2 of ")
    assert lines[8] == ("Classes that look alike: 'X' = 'x'. --fold-case takes them for one.")
    assert lines[9:] == ["without a row of test: X (1 of train)"]


def test_repairs_are_said_and_recorded(tmp_path, capsys):
    repairs = {"drop_empty": True, "drop_duplicates": True, "fold_case": True}
    config = FinetuneConfig(**messy(tmp_path), **repairs)
    material = prepare(config, tmp_path / "runs", Progress())
    assert capsys.readouterr().err.splitlines()[4:] == [
        "left out of train: 2 without a text or a label, 2 whose text comes before, 1 whose text "
        "test or validation has; 1 with another label",
        "labels of train spelled as most of their class: 1",
    ]
    assert material.describe()["repairs"] == {
        "train": {"empty": 2, "duplicates": 2, "leaks": 1, "conflicts": 1, "folded": 1}
    }
    assert material.describe()["label_names"] == ["x", "y"]
    good = DataConfig(dataset=write(tmp_path / "good.csv", [0, 1] * 20))
    assert "repairs" not in prepare(good, tmp_path, QUIET).describe()


def test_a_sample_and_classes_without_a_row_are_said(tmp_path, capsys):
    write(tmp_path / "train.csv", [0] * 60 + [2] * 40)
    (tmp_path / "labels.txt").write_text("ape\nbear\ncat\n")
    assert said(tmp_path, capsys, dataset=str(tmp_path), max_train_rows=50)[1:] == [
        "labels: single_label, 3 classes: ape, bear, cat",
        "rows: train 32, validation 8, test 10; train is a sample with each class in its share",
        "without a row of train: bear",
    ]


@pytest.mark.parametrize(
    ("changes", "num_rows"),
    [({"split_seed": 3}, 65), ({"validation_fraction": 0.4}, 40), ({"test_split": "2/4"}, 64)],
)
def test_texts_of_the_runs_own_file_are_none_that_are_held_out(tmp_path, changes, num_rows):
    path = write(tmp_path / "a.csv", ["good", "bad"] * 50)
    config = DistillConfig(dataset=path, unlabelled=path, **changes)
    material = prepare(config, tmp_path / "runs", QUIET)
    train = [row.texts for row in material.dataset.splits["train"]]
    found = [row.texts for row in material.unlabelled_rows(config)]
    assert set(found) <= set(train) and len(found) == num_rows
    assert len(train) == num_rows


def test_of_uneven_classes_the_headline_is_macro_f1_and_said(tmp_path, capsys):
    path = write(tmp_path / "a.csv", ["calm"] * 380 + ["angry"] * 20)
    assert said(tmp_path, capsys, dataset=path)[-1] == (
        "headline metric: macro F1, since calm has 247 rows of train and angry has 13, which "
        "accuracy would hardly see; --class-weight balanced has all classes count alike in "
        "training, too"
    )
    balanced = said(tmp_path, capsys, dataset=path, class_weight="balanced")[-1]
    assert balanced.endswith(" has 13, which accuracy would hardly see")
    material = prepare(DataConfig(dataset=path), tmp_path / "runs", QUIET)
    assert material.dataset.metric == material.describe()["metric"] == "macro_f1"
    assert material.class_weights is None
    balanced = DataConfig(dataset=path, class_weight="balanced")
    weights = prepare(balanced, tmp_path / "runs", QUIET).class_weights
    np.testing.assert_allclose(weights, [260 / (2 * 13), 260 / (2 * 247)])


def test_the_catalogs_metric_stays(tmp_path):
    folder = tmp_path / "sst2"
    folder.mkdir()
    for split, rows in (("train", 200), ("validation", 40), ("test", 40)):
        write(folder / f"{split}.csv", [0] * (rows - 12) + [1] * 12)
    config = DataConfig(dataset="sst2", data_dir=tmp_path)
    assert prepare(config, tmp_path / "runs", QUIET).dataset.metric == "accuracy"
    own = prepare(DataConfig(dataset=str(folder)), tmp_path / "runs", QUIET)
    assert own.dataset.metric == "macro_f1"


def test_a_run_keeps_the_metric_it_was_judged_by(tmp_path):
    """Also where the split that would tell is not read."""
    path = write(tmp_path / "a.csv", ["calm"] * 380 + ["angry"] * 20)
    config = DataConfig(dataset=path)
    run = RunFolder(tmp_path / "runs" / "run")
    settings = FinetuneConfig(dataset=path, model="cnn").to_dict()
    run.start("finetune", settings, False, prepare(config, run.path.parent, QUIET).record())
    again = own_material(run, EvaluateConfig(run=run.path), QUIET, ["test"])
    assert again.dataset.metric == "macro_f1"


def test_classes_of_rows_with_several_cannot_be_balanced(tmp_path):
    path = write(tmp_path / "a.csv", ["food, home", "work"] * 20, "labels")
    message = (
        "Expected `class_weight` none for a multi_label task, whose rows are of no one class. "
        "Received: class_weight='balanced'. Leave it out."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        prepare(DataConfig(dataset=path, class_weight="balanced"), tmp_path / "runs", QUIET)
