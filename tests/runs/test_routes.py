import dataclasses

import numpy as np
import pytest

from tests.toys import (
    QUIET,
    Stopped,
    classifier_of,
    convert_here,
    spread_out,
    texts_of_words,
    tiny_backbone,
)
from tfkd.compression.litert import LiteRTModel
from tfkd.data import shards
from tfkd.data.checks import check
from tfkd.data.examples import Dataset, Example
from tfkd.errors import ConversionError
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier
from tfkd.runs import routes as routes_module
from tfkd.runs.material import Material
from tfkd.runs.routes import BFLOAT16, EXACT_ROUTE, FILE, Demand, Route, Routes
from tfkd.runs.teacher import Teacher
from tfkd.runs.trial import EXACT, Distance

NUM_ROWS = 200
QUICK = Demand(is_exact=False, temperature=2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    classifier_of(spread_out(build_encoder_classifier(tiny_backbone(60), 3), 0.1)).save(folder)
    return folder


@pytest.fixture
def teacher(folder):
    return Teacher(TextClassifier.load(folder), folder, np.zeros([0, 3]))


@pytest.fixture
def material(tmp_path):
    rows = [Example((text,), row % 3) for row, text in enumerate(texts_of_words(NUM_ROWS, 12))]
    splits = {"train": rows, "validation": rows[9:18], "test": rows[:9]}
    dataset = Dataset("words", "single_label", ("a", "b", "c"), 1, "accuracy", splits)
    return Material(dataset, check(dataset), tmp_path / "cache", QUIET)


@pytest.fixture
def eager(monkeypatch):
    """Every way is worth a trial, the file wins, and it is converted in this process."""
    monkeypatch.setattr(routes_module, "FEW_ROWS", 1)
    monkeypatch.setattr(routes_module, "WORTH_SECONDS", {BFLOAT16: 0.0, FILE: 0.0})
    monkeypatch.setattr(routes_module, "has_bfloat16", lambda: True)
    monkeypatch.setattr(routes_module, "convert", convert_here)
    monkeypatch.setattr(shards, "SHARD_ROWS", 64)
    monkeypatch.setattr(
        routes_module.Trial, "fastest", lambda trial, *_: FILE if FILE in trial.logits else EXACT
    )
    return monkeypatch


def exact_logits(teacher, material):
    return teacher.classifier.logits(material.tokens("train", teacher.classifier.tokenizer))


def test_the_way_that_was_chosen_answers_all_rows(teacher, material, eager):
    found = teacher.answers("train", material, QUICK)
    assert (found.route.name, found.route.temperature) == (FILE, 2.0)
    assert list(found.route.tried) == [EXACT, BFLOAT16, FILE]
    assert found.route.tried[EXACT][0] == Distance(1.0, 0.0)
    assert 0 < found.route.tried[FILE][0].largest_difference < 0.1
    files = list((material.cache / "teacher_files").rglob("*.tflite"))
    assert [path.name for path in files] == ["dynamic_int8.tflite"]
    rows = material.tokens("train", teacher.classifier.tokenizer).arrays(np.arange(NUM_ROWS))
    np.testing.assert_array_equal(found.logits, LiteRTModel(files[0]).predict_encoded(rows))
    exact = exact_logits(teacher, material)
    assert 0 < np.abs(found.logits - exact).max() < 0.2 * np.abs(exact).max()


def test_what_was_tried_once_is_not_tried_again(teacher, material, eager):
    first = teacher.answers("train", material, QUICK)
    eager.setattr(Routes, "_tried", None)
    eager.setattr(TextClassifier, "score", None)
    again = teacher.answers("train", material, QUICK)
    np.testing.assert_array_equal(again.logits, first.logits)
    assert again.route == first.route


def test_exact_answers_are_the_keras_models_and_lie_beside_the_quick_ones(teacher, material, eager):
    quick = teacher.answers("train", material, QUICK)
    exact = teacher.answers("train", material, Demand())
    assert exact.route == EXACT_ROUTE
    np.testing.assert_allclose(exact.logits, exact_logits(teacher, material), atol=1e-6)
    # Who was answered quickly goes on with the same answers.
    np.testing.assert_array_equal(teacher.answers("train", material, QUICK).logits, quick.logits)


def test_exact_answers_that_are_there_are_taken(teacher, material, eager):
    exact = teacher.answers("train", material, Demand())
    found = teacher.answers("train", material, QUICK)
    assert found.route == EXACT_ROUTE
    np.testing.assert_array_equal(found.logits, exact.logits)
    assert not list((material.cache / "teacher_trials").glob("*.npz"))


def test_a_killed_scoring_goes_on_by_the_same_way(teacher, material, eager, tmp_path):
    whole = dataclasses.replace(material, cache=tmp_path / "whole")
    expected = teacher.answers("train", whole, QUICK).logits
    scored = []

    class Killed(routes_module.FileScorer):
        def score(self, tokens, start=0, stop=None):
            if start == 64:
                raise Stopped
            scored.append(start)
            return super().score(tokens, start, stop)

    with eager.context() as patch, pytest.raises(Stopped, match="^$"):
        patch.setattr(routes_module, "FileScorer", Killed)
        teacher.answers("train", material, QUICK)
    # The trial and the first shard.
    assert scored == [0, 0]
    found = teacher.answers("train", material, QUICK)
    assert found.route.name == FILE
    np.testing.assert_array_equal(found.logits, expected)


def test_few_rows_are_answered_exactly_without_a_trial(teacher, material):
    assert teacher.answers("train", material, QUICK).route == EXACT_ROUTE
    assert not list((material.cache / "teacher_trials").glob("*.npz"))


@pytest.mark.parametrize(("num_rows", "expected"), [(2048, 128), (6272, 250), (100_000, 512)])
def test_a_trial_is_a_small_part_of_the_work(num_rows, expected):
    assert routes_module.sample_size(num_rows) == expected


def test_what_takes_seconds_is_not_worth_another_way(teacher, material, eager):
    eager.setattr(routes_module, "WORTH_SECONDS", {BFLOAT16: 1e6, FILE: 1e6})
    found = teacher.answers("train", material, QUICK)
    assert (found.route.name, list(found.route.tried)) == (EXACT, [EXACT])


def test_a_teacher_that_cannot_be_converted_answers_itself(teacher, material, eager):
    def refuse(*_):
        raise ConversionError("Expected LiteRT files. The converter failed.")

    eager.setattr(routes_module, "convert", refuse)
    assert list(teacher.answers("train", material, QUICK).route.tried) == [EXACT, BFLOAT16]


def test_without_bfloat16_it_is_not_tried(teacher, material, eager):
    eager.setattr(routes_module, "has_bfloat16", lambda: False)
    assert list(teacher.answers("train", material, QUICK).route.tried) == [EXACT, FILE]


def test_bfloat16_leaves_the_teacher_in_float32(teacher, material, eager):
    tokens_of = material.tokens("train", teacher.classifier.tokenizer)
    routes = Routes(teacher.classifier, teacher.folder, tokens_of, material.cache, QUIET)
    rows, logits = zip(*routes.open(BFLOAT16).score(tokens_of), strict=True)
    assert teacher.classifier.model.dtype_policy.name == "float32"
    rough = np.concatenate(logits)[np.argsort(np.concatenate(rows))]
    exact = exact_logits(teacher, material)
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("settings", "temperatures", "expected"),
    [
        ({}, (), Demand(True, 1.0)),
        ({"scoring": "exact", "temperature": 3.0}, (), Demand(True, 3.0)),
        ({"scoring": "auto", "temperature": 3.0}, (), Demand(False, 3.0)),
        ({"scoring": "auto", "temperature": 3.0}, (2.0, 5.0), Demand(False, 2.0)),
        (
            {"scoring": "auto", "temperature": 3.0, "distillation_loss": "mse"},
            (),
            Demand(False, 1.0),
        ),
    ],
)
def test_demand(settings, temperatures, expected):
    assert Demand.of(settings, temperatures) == expected


def test_route_in_words_and_as_json():
    tried = {EXACT: (Distance(1.0, 0.0), 20.0), FILE: (Distance(0.9961, 0.0514), 70.0)}
    route = Route(FILE, 2.0, 512, tried)
    assert route.sentence() == (
        "the teacher answers in dynamic_int8, 3.5 times as fast as exactly: agreement 0.9961, "
        "largest difference 0.051 on 512 rows"
    )
    assert route.to_dict() == {
        "route": FILE,
        "temperature": 2.0,
        "num_rows": 512,
        "tried": {
            EXACT: {"agreement": 1.0, "largest_difference": 0.0, "rows_per_second": 20.0},
            FILE: {"agreement": 0.9961, "largest_difference": 0.0514, "rows_per_second": 70.0},
        },
    }
