"""What the programs in benchmarks/ do with their figures; the libraries they time are not here."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tfkd.errors import ConversionError, DatasetError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import codebooks  # noqa: E402
import peers  # noqa: E402
from peers_timing import (  # noqa: E402
    Contender,
    filled_texts,
    interleaved,
    markdown_tables,
    timed_rows,
)

ROWS = [
    "Oil prices fell again on Monday",
    "A long-awaited match ended in a draw",
    "Chips are up a lot",
]


def count_letters(word: str) -> int:
    return len(word)


def answering(name, value, calls=None, **options):
    def ask(given):
        if calls is not None:
            calls.append((name, given))
        return np.array([[value, 0.0]], np.float32)

    return Contender(name, ask, size_bytes=1000, **options)


class TestFilledTexts:
    def test_tokens_fill_the_shares_exactly(self):
        found = filled_texts(ROWS, count_letters, length=22, num_texts=3)
        assert [sum(map(len, text.split())) for text in found] == [14, 17, 20]

    def test_each_begins_with_the_next_row_and_goes_on_with_the_rows_after_it(self):
        found = filled_texts(ROWS, count_letters, length=42, num_texts=3)
        assert [text.split()[0] for text in found] == ["Oil", "A", "Chips"]
        assert found[2] == "Chips are up a lot Oil prices fell again on Monday"

    def test_a_word_that_does_not_fit_is_left_out(self):
        assert filled_texts(["aaaa bbbbb cc"], count_letters, length=10, num_texts=1) == ["aaaa cc"]


def test_a_turn_is_the_input_before_and_five_more_and_begins_with_another_contender():
    calls = []
    contenders = [answering(name, 1.0, calls) for name in "abc"]
    interleaved(contenders, list(range(13)))
    turns = (range(6), range(5, 11), range(10, 13))
    assert calls == [
        (name, given)
        for names, given_in_turn in zip(("abc", "bca", "cab"), turns, strict=True)
        for name in names
        for given in given_in_turn
    ]


def test_the_first_call_of_a_turn_is_not_timed():
    ticks = iter([0.0, 3.0, 10.0, 10.5, 20.0, 21.0, 30.0, 30.25])
    contenders = [answering("a", 1.0), answering("b", 1.0)]
    seconds, answers = interleaved(contenders, [0, 1, 2], clock=lambda: next(ticks))
    assert seconds == [[3.0, 0.5], [1.0, 0.25]]
    assert [logits.shape for logits in answers] == [(2, 2), (2, 2)]


def test_rows_hold_what_was_answered_and_leave_the_warm_up_out():
    reference = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.5], [1.0, 0.0]], np.float32)
    (row,) = timed_rows([answering("a", 1.25, variant="fused")], [0, 1, 2, 3], reference, 2)
    assert row.pop("p50_ms") > 0
    assert row == {
        "contender": "a",
        "variant": "fused",
        "size_bytes": 1000,
        "num_calls": 2,
        "agreement": 2 / 3,
        "max_logit_difference": 1.25,
    }


def test_what_is_prepared_is_what_is_asked():
    calls = []
    interleaved([answering("a", 1.0, calls, prepare=str)], [0, 1])
    assert calls == [("a", "0"), ("a", "1")]


@pytest.mark.parametrize("value", [1.5, np.nan])
def test_a_float_contender_with_other_logits_is_refused(value):
    reference = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    with pytest.raises(
        ConversionError,
        match=r"Expected a to give the Keras student's logits\. Received: (0\.5|nan) away \(fused",
    ):
        timed_rows([answering("a", value, variant="fused", tolerance=0.1)], [0, 1], reference, 1)


def measured(contender, column, milliseconds, **values):
    row = {"contender": contender, "column": column, "p50_ms": milliseconds, "model": "tiny"}
    return {**row, "size_bytes": 2_000_000, "agreement": 1.0} | values


def test_the_table_takes_the_fastest_variant_and_the_smallest_file():
    rows = [
        measured("LiteRT", "32 tokens", 0.1, size_bytes=1_500_000, agreement=0.95),
        measured("ONNX Runtime float32", "32 tokens", 0.5),
        measured("ONNX Runtime float32", "32 tokens", 0.4, size_bytes=3_000_000),
        measured("ONNX Runtime dynamic int8", "32 tokens", 0.2, agreement=None),
    ]
    assert markdown_tables(rows).splitlines() == [
        "**tiny**",
        "",
        "|  | MB | agreement | 32 tokens |",
        "| :--- | ---: | ---: | ---: |",
        "| LiteRT | 1.50 | 0.950 | 0.100 ms (0.25 / 0.50) |",
        "| ONNX Runtime float32 | 2.00 | 1.000 | 0.400 ms (1.00 / 2.00) |",
        "| ONNX Runtime dynamic int8 | 2.00 | - | 0.200 ms (0.50 / 1.00) |",
    ]


def test_the_command_names_no_place_of_this_machine(tmp_path):
    options = peers._parser().parse_args(
        [
            str(tmp_path / "ag_news-bert_tiny" / "student"),
            "bert_mini",
            "--data-dir",
            str(tmp_path),
            "--output",
            str(tmp_path / "peers.json"),
        ]
    )
    assert peers.command(options) == (
        "python benchmarks/peers.py --dataset ag_news --data-dir $TFKD_DATA_DIR --texts 20 "
        "--rounds 10 --output results/peers.json saved_models/ag_news-bert_tiny/student bert_mini"
    )


def test_figures_that_cannot_be_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        peers.main(["model", "--output", "peers.json", "--rounds", "0"])
    assert "argument --rounds: invalid count value: '0'" in capsys.readouterr().err


def test_too_few_test_rows_are_refused():
    options = peers._parser().parse_args(["model", "--dataset", "demo", "--texts", "900000"])
    with pytest.raises(
        DatasetError,
        match=r"Expected 9900000 test rows, --texts for each of --rounds and a first one\. "
        r"Received: demo with \d+\. Ask for fewer\.",
    ):
        peers.read_texts(options)


def test_distances_are_in_deviations_of_the_student():
    expected = np.array([[2.0, -2.0], [-2.0, 2.0]])
    found = np.array([[-1.0, 1.0], [-2.0, 2.0]])
    assert codebooks.distances(expected, found, "single_label") == {
        "agreement": 0.5,
        "deviation": 2.0,
        "mean_difference": 0.75,
        "largest_difference": 1.5,
    }
    assert codebooks.distances(expected, found, "regression")["agreement"] is None


def test_other_slices_are_the_same_vectors_moved():
    random = np.random.default_rng(0)
    vectors = (5 + 3 * random.normal(size=(50, 6))).astype(np.float32)
    splits = {"train": codebooks.Split(None, vectors), "test": codebooks.Split(None, vectors[:9])}
    standardized = codebooks.moved(splits, codebooks.STANDARDIZED)
    np.testing.assert_allclose(standardized["train"].vectors.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardized["train"].vectors.std(axis=0), 1, atol=1e-5)
    rotated = codebooks.moved(splits, codebooks.ROTATED)
    lengths = [np.linalg.norm(part, axis=1) for part in (rotated["train"].vectors, vectors)]
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    assert np.abs(rotated["train"].vectors - vectors).max() > 1
    for made in (standardized, rotated):
        np.testing.assert_allclose(made["test"].vectors, made["train"].vectors[:9], rtol=1e-5)
    assert codebooks.moved(splits, codebooks.RAW) is splits
