"""Answers in files as a teacher: joined, counted, calibrated, and kept from what is held out."""

import csv
import json

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit, softmax

from tests.messages import exactly
from tests.toys import QUIET
from tfkd.artifacts import RunFolder
from tfkd.config.data import DataConfig
from tfkd.config.training import DistillConfig
from tfkd.data.tokens import is_answered
from tfkd.errors import ArtifactError, ConfigError, DatasetError
from tfkd.runs.answers import keep_answers, kept_answers, prepare_answers
from tfkd.runs.choices import choose
from tfkd.runs.material import prepare
from tfkd.runs.own_data import own_config
from tfkd.runs.routes import Demand
from tfkd.runs.teacher import train_logits

NAMES = ("no", "yes")
SIZES = {"train": 40, "validation": 40, "test": 10}


@pytest.fixture
def folder(tmp_path):
    """Rows whose ids are split and number; every tenth of train has no label."""
    (tmp_path / "rows").mkdir()
    for split, size in SIZES.items():
        with (tmp_path / "rows" / f"{split}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["ticket", "text", "label"])
            for row in range(size):
                label = "" if split == "train" and row % 10 == 0 else NAMES[row % 2]
                writer.writerow([f"{split}{row}", f"{split} text {row}", label])
    return tmp_path


def answers(folder, rows, name="llm.jsonl"):
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def sure(split, rows, confidence=0.95, right=lambda row: True):
    """Answers to some rows of a split by their ids, right where it is said."""
    return [
        {
            "id": f"{split}{row}",
            "label": NAMES[(row + (not right(row))) % 2],
            "confidence": confidence,
        }
        for row in rows
    ]


def configured(folder, *paths, **changes):
    return DistillConfig(
        **{
            "dataset": f"{folder}/rows",
            "teacher_answers": paths,
            "id_column": "ticket",
            "student": "cnn_small",
            "quiet": True,
            **changes,
        }
    )


def teacher_of(folder, *paths, **changes):
    config = configured(folder, *paths, **changes)
    material = prepare(config, folder / "runs", QUIET)
    run = RunFolder(folder / "runs" / "run")
    return prepare_answers(config.teacher_answers, config, material, run), material, config


def test_rows_are_joined_counted_and_calibrated(folder):
    (folder / "more.csv").write_text("ticket,text\nm0,more text\nm1,another\nv,validation text 3\n")
    rows = sure("train", range(36)) + sure("test", range(5))
    rows += sure("validation", range(40), right=lambda row: row % 4)
    rows += [{"id": name, "label": "yes", "confidence": 0.8} for name in ("m1", "gone")]
    rows.append({"id": "m0"})
    path = answers(folder, rows)
    teacher, material, config = teacher_of(folder, path, unlabelled=str(folder / "more.csv"))
    # Three of four are right where 0.95 was said; the prior on 40 rows asks for a little less.
    sure_of, slope = logit(0.95), lambda t: (expit(logit(0.95) / t) - 0.75) * logit(0.95) / t
    temperature = brentq(lambda t: slope(t) - np.log(t) / 40, 1, sure_of / logit(0.75))
    assert teacher.temperatures[0] == pytest.approx(temperature, rel=1e-3)
    chance = expit(sure_of / temperature)
    assert chance == pytest.approx(0.75, abs=0.02)

    def loss(sure):
        return -0.75 * np.log(sure) - 0.25 * np.log(1 - sure)

    assert teacher.sentences == (
        "answers of llm.jsonl: rows answered 32 of 36 of train, 40 of 40 of validation, 5 of 10 of "
        "test, 5 of 6 of unlabelled; 4 of train learn from their label alone; 1 have neither label "
        "nor answer and are left out; 1 of the file have no answer; 1 answers join no row",
        "answers of llm.jsonl are calibrated on 40 rows of validation: temperature "
        f"{temperature:.2f}, negative log-likelihood {loss(0.95):.4f} before and "
        f"{loss(chance):.4f} after, expected calibration error 0.2000 before and "
        f"{chance - 0.75:.4f} after",
        "the teacher's row of the table, and what is compared with it, is of the 5 of 10 rows of "
        "test that have an answer",
    )
    wider = material.with_transfer(config, None)
    split = list(wider.dataset.splits["transfer"])
    assert [row.id for row in split[-6:]] == ["train0", "train10", "train20", "train30", "m0", "m1"]
    logits, route = teacher.answers(wider.transfer, wider, Demand())
    assert (route.name, route.num_rows) == ("answers", 37)
    for row, found in zip(split, logits, strict=True):
        number = int(row.id.removeprefix("train")) if row.id[0] == "t" else None
        if row.id == "m0" or (number is not None and number >= 36):
            assert np.isnan(found).all()
        elif number is not None:
            assert softmax(found)[number % 2] == pytest.approx(chance, rel=1e-3)
    assert is_answered(teacher.test_logits).tolist() == [True] * 5 + [False] * 5
    assert teacher.record(RunFolder(folder)) == {
        "teacher_folder": None,
        "teacher_answers": {str(path): teacher.temperatures[0]},
    }


def test_several_files_are_mixed_and_one_is_enough_for_a_row(folder):
    first = answers(folder, sure("train", range(1, 5), 0.9))
    second = answers(folder, sure("train", range(3, 7), 0.7), "people.jsonl")
    teacher, material, _ = teacher_of(folder, first, second)
    assert teacher.temperatures == (1.0, 1.0)
    assert teacher.name == "answers of llm.jsonl and people.jsonl"
    logits, _ = teacher.answers("train", material, Demand())
    chances = softmax(logits[:7], axis=-1)[np.arange(7), [1, 0, 1, 0, 1, 0, 1]]
    np.testing.assert_allclose(chances[:6], [0.9, 0.9, 0.8, 0.8, 0.7, 0.7], rtol=1e-5)
    assert np.isnan(chances[6])
    # Probabilities are averaged as the student softens them.
    logits, _ = teacher.answers("train", material, Demand(temperature=2.0))
    mean = (expit(logit(0.9) / 2) + expit(logit(0.7) / 2)) / 2
    assert softmax(logits[2] / 2)[1] == pytest.approx(mean, rel=1e-5)
    assert teacher.sentences[-1] == (
        "the table has no row of the teacher: no answers are of rows of test"
    )
    assert teacher.sentences[2] == (
        "answers of llm.jsonl are not calibrated: 0 rows of validation have one, and fewer than 30 "
        "do not tell how sure they should be"
    )


def test_a_file_that_changes_is_another_teacher(folder):
    path = answers(folder, sure("train", range(5)))
    before = teacher_of(folder, path)[0].sha256
    assert teacher_of(folder, path)[0].sha256 == before
    answers(folder, sure("train", range(6)))
    assert teacher_of(folder, path)[0].sha256 != before


def test_answers_to_held_out_rows_alone_teach_nothing(folder):
    path = answers(folder, sure("test", range(10)) + sure("validation", range(40)))
    message = (
        f"Expected answers to rows of train in {path}. Received: 50 answers, of which none has the "
        "id of one. Give each the id that it has in the data, letter by letter."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        teacher_of(folder, path)


def test_an_id_of_two_texts_is_refused(folder):
    """Else the answer to a row of test would be learned from as that to one of train."""
    path = answers(folder, sure("train", range(10)))
    rows = (folder / "rows" / "test.csv").read_text().replace("test5,", "train5,")
    (folder / "rows" / "test.csv").write_text(rows)
    message = (
        f"Expected ids of one text each, to join {path} by. Received: 'train5' for a text of train "
        "and another of test. Make them unique, or leave out --id-column to join by the texts."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        teacher_of(folder, path)


def test_rows_without_a_label_are_refused_where_nobody_answers(folder):
    message = f"^Expected a label in {folder}/rows/train.csv, row 1 "
    with pytest.raises(DatasetError, match=message):
        prepare(DataConfig(dataset=f"{folder}/rows"), folder / "runs", QUIET)


def test_a_run_is_read_again_as_it_was(folder):
    path = answers(folder, sure("train", range(36)))
    teacher, material, config = teacher_of(folder, path)
    run = RunFolder(folder / "runs" / "run")
    assert kept_answers(run, 36) is None
    run.start("distill", config.to_dict(), False, material.record())
    again = prepare(own_config(run, None, None), folder / "runs", QUIET)
    assert again.describe() == material.describe()
    logits, _ = teacher.answers("train", material, Demand())
    keep_answers(run, logits)
    np.testing.assert_array_equal(train_logits(run, again), logits)
    message = (
        f"Expected answers to 35 rows of train in {run.path}/training/answers.npy. Received: 36. "
        "Make the run again."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        kept_answers(run, 35)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"teacher": "cnn"}, "--teacher"),
        ({"augmented_copies": 2}, "--augmented-copies"),
        ({"bottleneck_key_source": "teacher"}, "--bottleneck-key-source teacher"),
    ],
)
def test_what_only_a_model_can_do_is_refused(folder, changes, name):
    config = configured(folder, answers(folder, []), **changes)
    message = (
        f"Expected --teacher-answers without {name}: there is no model to ask. Received both. "
        "Leave one out; a model's answers come from `tfkd predict --all-classes`."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        choose(config)


def test_a_file_that_is_not_there_is_said_at_once(folder):
    message = (
        f"Expected a file of answers. Received: {folder}/gone.csv, which is not there. Correct "
        "--teacher-answers."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        choose(configured(folder, folder / "gone.csv"))
    assert list(choose(configured(folder, answers(folder, [])))) == ["student"]
