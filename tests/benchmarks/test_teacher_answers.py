"""The program that asks what is lost to answers as a language model gives them."""

import json

import numpy as np

from benchmarks.teacher_answers import FORM, likeliest, write_answers
from tests.toys import QUIET, classifier_of, demo_rows
from tfkd.config.data import DataConfig
from tfkd.config.verbs import StudyConfig
from tfkd.models.without_encoder import build_cnn
from tfkd.runs.material import prepare
from tfkd.studies.form import read_plan


def test_answers_are_the_likeliest_classes_of_nine_rows_in_ten(tmp_path):
    rows = demo_rows(tmp_path, train=200, validation=20, test=20)
    material = prepare(DataConfig(dataset=f"{rows}/"), tmp_path / "runs", QUIET)
    names = material.dataset.label_names
    teacher = classifier_of(build_cnn(60, len(names), width=8, filters=8), labels=names)
    path = tmp_path / "llm.jsonl"
    write_answers(path, teacher, material)
    said = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert 200 < len(said) < 232
    known = {row.texts[0] for split in material.dataset.splits.values() for row in split}
    assert {row["text"] for row in said} <= known
    for row in said:
        logarithms = list(row["logprobs"].values())
        assert len(logarithms) == 3 and logarithms == sorted(logarithms, reverse=True)
        assert 0.75 <= np.exp(logarithms).sum() <= 1
    assert likeliest([-3.0, -0.1, -2.71828, -5.0], "abcd") == {"b": -0.1, "c": -2.718, "a": -3.0}


def test_the_study_asks_soft_and_hard_of_exact_and_told(tmp_path):
    words = {"seeds": [0], "name": "demo"}
    words |= dict.fromkeys(("teacher", "answers"), f'"{tmp_path}"')
    words |= {"student": '"cnn"', "dataset": '"demo"'}
    path = tmp_path / "answers.toml"
    path.write_text(FORM.format(**words) + "max_train_rows = 9\n")
    plan = read_plan(StudyConfig(study=path))
    assert [arm.name for arm in plan.arms] == [
        f"{student}-{taught}"
        for student in ("soft", "hard")
        for taught in ("control", "exact", "llm")
    ]
    assert {arm.start for arm in plan.arms} == {"exact"}
    assert {arm.config.max_train_rows for arm in plan.arms} == {9}
