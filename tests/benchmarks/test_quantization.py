"""The table of recipes over seeds: means, spreads, paired tests and what is said of them."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import quantization  # noqa: E402
from quantization import FLOAT, Scored, collect, markdown, row_scores  # noqa: E402

from tfkd.config.training import DistillConfig  # noqa: E402

NUM_ROWS = 400
# Right answers of 400: by seed.
RIGHT = {
    FLOAT: (300, 310),
    "float32": (300, 310),
    "dynamic_int8": (299, 309),
    "static_int8": (250, 260),
    "qat_int8": (320, 330),
}
MODEL_MS = {"float32": 0.2, "dynamic_int8": 0.1, "static_int8": 0.3, "qat_int8": 0.08}


def scored(seed, right=RIGHT):
    def accuracy(name):
        return right[name][seed] / NUM_ROWS

    files = [
        {
            "recipe": name,
            "parity": {"size_bytes": 1000 + place},
            "metrics": {"accuracy": accuracy(name), "agreement": 0.99},
            "latency": {"encoded_p50_ms": MODEL_MS[name]},
            "operators": {"sentence": "1 product"},
        }
        for place, name in enumerate(MODEL_MS)
    ]
    report = {
        "files": files,
        "metric": "accuracy",
        "seed": seed,
        "command": "python -m tfkd quantize x",
        "float_metrics": {"accuracy": accuracy(FLOAT)},
    }
    rows = {name: np.arange(NUM_ROWS) < counts[seed] for name, counts in right.items()}
    scores = {name: values.astype(np.float64) for name, values in rows.items()}
    return Scored(f"run-seed{seed}", "emotion", report, scores)


@pytest.fixture(scope="module")
def found():
    return collect([scored(0), scored(1)])["emotion"]


def test_a_row_holds_mean_spread_difference_and_ratio(found):
    (row,) = (row for row in found["rows"] if row["recipe"] == "static_int8")
    assert row["values"] == [0.625, 0.65]
    assert row["mean"] == pytest.approx(0.6375)
    assert row["deviation"] == pytest.approx(0.025 / np.sqrt(2))
    assert row["difference"] == pytest.approx(-0.125)
    assert (row["size_bytes"], row["p50_ratio"]) == (1002, pytest.approx(1.5))


def test_trained_recipes_are_tested_against_float_and_the_best_made_after_training(found):
    assert found["best_after_training"] == "dynamic_int8"
    assert list(found["comparisons"]) == [
        "dynamic_int8 / Keras",
        "static_int8 / Keras",
        "qat_int8 / Keras",
        "qat_int8 / dynamic_int8",
    ]
    comparison = found["comparisons"]["qat_int8 / dynamic_int8"]
    assert comparison["difference"] == pytest.approx(21 / 400)
    assert comparison["verdict"] == "BETTER"
    assert not any("is not proved" in sentence for sentence in found["sentences"])


def test_a_training_that_wins_nothing_is_said_in_words():
    right = {**RIGHT, "qat_int8": (299, 309)}
    found = collect([scored(seed, right) for seed in (0, 1)])["emotion"]
    assert (
        "So qat_int8 is not proved more accurate than dynamic_int8, made without training."
        in found["sentences"]
    )


def test_the_table_shows_one_line_a_recipe_under_its_titles(found):
    lines = markdown({"datasets": {"emotion": found}}).splitlines()
    assert lines[0] == "**emotion**, 2 seeds, 400 test rows"
    assert lines[4] == "| Keras | - | 0.7625 | 0.7500 to 0.7750 | - | - | - |"
    assert lines[8] == ("| qat_int8 | 0.00 | 0.8125 | 0.8000 to 0.8250 | +5.00 | 0.9900 | 0.40 |")


def test_a_run_that_was_not_quantized_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "config.json").write_text(
        json.dumps({"verb": "distill", **DistillConfig(dataset="demo").to_dict()})
    )
    (tmp_path / "metrics.json").write_text("{}")
    assert quantization.main([str(tmp_path), "--output", str(tmp_path / "x.json")]) == 1
    assert capsys.readouterr().err == (
        f"Error: Expected {tmp_path} to hold quantization.json. It does not. Run `tfkd quantize "
        f"{tmp_path}` first.\n"
    )


def test_a_row_of_each_task_has_its_score():
    logits = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]])
    assert row_scores("single_label", logits, np.array([0, 1])).tolist() == [True, False]
    # Probabilities of 0.75 and 0.25.
    logits = np.log(3) * np.array([[1, -1, 1], [-1, 1, -1], [-1, -1, -1]])
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert row_scores("multi_label", logits, labels).tolist() == [0.5, 1.0, 1.0]
    assert row_scores("multi_label", logits, labels, [0.2, 0.8, 0.8]).tolist() == [1.0, 0.0, 0.0]
    errors = row_scores("regression", np.array([[1.0], [5.0]]), np.array([3.0, 5.0]))
    assert errors.tolist() == [-4.0, 0.0]
