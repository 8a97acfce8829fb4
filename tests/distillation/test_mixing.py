"""The rule by which teachers are weighed: what it refuses, and its words."""

import re

import pytest

from tests.messages import exactly
from tfkd.distillation.mixing import Mixing
from tfkd.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": (1, -1)}, "Expected `weights` in [0, inf]. Received: weights=-1.0."),
        ({"weights": (0, 0)}, "with a finite sum above 0. Received: weights=[0.0, 0.0]."),
        ({"weights": (1, float("inf"))}, "a finite sum above 0. Received: weights=[1.0, inf]."),
        ({"weights": (1, float("nan"))}, "`weights` to be a number. Received: weights=nan."),
        ({"weights": (1, True)}, "Expected `weights` to be a number. Received: weights=True."),
        ({"weighting": "enropy"}, "Received: weighting='enropy'. Did you mean `entropy`?"),
        ({"average": "median"}, "Expected `average` to be one of probabilities, logits."),
        ({"temperatures": (2, 0.5)}, "in [1.0, 100.0]. Received: temperatures=0.5."),
        (
            {"weights": (1, 2), "weighting": "equal"},
            "Expected `weights` or `weighting`. Received: weights=[1.0, 2.0] and "
            "weighting='equal'. Take one out.",
        ),
    ],
)
def test_bad_rule_is_refused(values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Mixing(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"weighting": "confidence"},
        {"weighting": "entropy"},
        {"average": "logits"},
        {"average": "probabilities"},
        {"temperatures": (2.0, 3.0)},
    ],
)
def test_scores_are_averaged_and_nothing_else(values):
    ((key, value),) = values.items()
    value = list(value) if isinstance(value, tuple) else value
    message = (
        "Expected only `weights`, or `weighting` equal or learned, for the teachers of a "
        f"regression, whose scores are no probabilities. Received: {key}={value!r}. Take it out."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        Mixing(**values).check_task("regression")
    Mixing(**values).check_task("single_label")


@pytest.mark.parametrize("values", [{}, {"weighting": "learned"}, {"weights": (1, 2)}])
def test_weights_serve_every_task(values):
    for task in ("single_label", "multi_label", "regression"):
        Mixing(**values).check_task(task)


@pytest.mark.parametrize(
    ("mixing", "found", "words"),
    [
        (Mixing(), None, "A, B, equal"),
        (Mixing(weights=(3, 1)), None, "A 0.7500, B 0.2500, fixed"),
        (Mixing(weights=(0.2, 0.8)), "learned", "A 0.2000, B 0.8000, learned"),
        (
            Mixing(weighting="entropy", average="logits", temperatures=(2, 3)),
            "entropy",
            "A, B, weighed row by row by entropy; mean of logits; temperatures 2.0, 3.0",
        ),
    ],
)
def test_rule_in_words(mixing, found, words):
    assert mixing.describe(["A", "B"], found) == words


def test_rule_survives_json():
    mixing = Mixing(weights=(0.1, 0.2, 0.7), average="logits", temperatures=(1, 2, 3))
    assert Mixing.from_mapping(mixing.to_dict()) == mixing
