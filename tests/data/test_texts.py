"""Whatever is handed over as texts comes out as the same strings, or is refused with what it is."""

import numpy as np
import pyarrow
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.messages import exactly
from tfkd.data.texts import given_rows, given_texts
from tfkd.errors import DatasetError

TWO = ["oil", "für gold"]
PAIRS = [("oil", "fell"), ("für", "gold")]


class Column:
    """A pandas or polars series: iterable, and a numpy array on request."""

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)

    def to_numpy(self):
        return np.array(self.values, object)


class Frame(Column):
    """A frame: iterating gives the names of its columns."""

    def __iter__(self):
        return iter(["first", "second"])


@pytest.mark.parametrize(
    "texts",
    [
        TWO,
        tuple(TWO),
        [text.encode() for text in TWO],
        np.array(TWO),
        np.array(TWO, object),
        np.char.encode(np.array(TWO), "utf-8"),
        np.array([[text] for text in TWO]),
        [np.str_(text) for text in TWO],
        [np.array(text) for text in TWO],
        [(text,) for text in TWO],
        (text for text in TWO),
        Column(TWO),
        Frame([[text] for text in TWO]),
        tf.constant(TWO),
        tf.constant([[text] for text in TWO]),
        tf.data.Dataset.from_tensor_slices(TWO),
        pyarrow.array(TWO),
        pyarrow.chunked_array([TWO]),
        list(pyarrow.array(TWO)),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_every_container_gives_its_texts_in_order(texts):
    assert given_texts(texts, 1) == TWO


@pytest.mark.parametrize(
    "text",
    ["oil fell", b"oil fell", np.str_("oil fell"), np.array("oil fell"), tf.constant("oil fell")],
    ids=lambda text: type(text).__name__,
)
def test_a_text_alone_is_one_row(text):
    assert given_texts(text, 1) == ["oil fell"]
    assert given_texts(text) == ["oil fell"]


@pytest.mark.parametrize(
    "pairs",
    [
        PAIRS,
        tuple(PAIRS),
        [list(pair) for pair in PAIRS],
        ["\t".join(pair) for pair in PAIRS],
        tuple("\t".join(pair) for pair in PAIRS),
        ["oil\tfell", ["für", "gold"]],
        [(b"oil", b"fell"), ("für", np.str_("gold"))],
        np.array(PAIRS),
        Frame(PAIRS),
        tf.constant(PAIRS),
        tf.data.Dataset.from_tensor_slices(PAIRS),
        pyarrow.array(PAIRS),
        (pair for pair in PAIRS),
        zip(*zip(*PAIRS, strict=True), strict=True),
    ],
    ids=lambda pairs: type(pairs).__name__,
)
def test_every_form_of_pairs_gives_tuples(pairs):
    assert given_texts(pairs, 2) == PAIRS


def test_a_tuple_of_two_strings_is_what_the_model_takes():
    assert given_texts(("oil", "fell"), 1) == ["oil", "fell"]
    assert given_texts(("oil", "fell"), 2) == [("oil", "fell")]
    assert given_texts(("oil\tfell", "a\tb"), 2) == [("oil", "fell"), ("a", "b")]
    # A tab inside a pair is part of its text.
    assert given_texts([("oil\tfell", "gold")], 2) == [("oil\tfell", "gold")]


def test_without_a_number_the_first_row_decides():
    assert given_texts(TWO) == TWO
    assert given_texts(PAIRS) == PAIRS
    assert given_texts(iter([["oil", "fell"]])) == [("oil", "fell")]
    with pytest.raises(DatasetError, match=exactly(message_of_row(1, 2, 2))):
        given_texts(["oil", ("für", "gold")])


@pytest.mark.parametrize("texts", [[], (), np.array([]), iter(()), tf.constant([], tf.string)])
@pytest.mark.parametrize("num_texts", [1, 2, None])
def test_nothing_is_no_row(texts, num_texts):
    assert given_texts(texts, num_texts) == []


def test_an_empty_string_is_a_text():
    assert given_texts("", 1) == [""]
    assert given_texts(["", "oil", ""], 1) == ["", "oil", ""]
    assert given_texts([("", "oil")], 2) == [("", "oil")]


@pytest.mark.parametrize(
    ("texts", "received"),
    [
        (None, "None"),
        (7, "int 7"),
        (2.5, "float 2.5"),
        ({"text": "oil"}, "dict {'text': 'oil'}"),
        ({"oil"}, "set {'oil'}"),
        (frozenset(["oil"]), "frozenset frozenset({'oil'})"),
        (np.float64(3), "float 3.0"),
    ],
)
@pytest.mark.parametrize("num_texts", [1, 2, None])
def test_what_holds_no_rows_is_refused_at_once(texts, received, num_texts):
    message = (
        "Expected texts: a string, or strings in a list or another iterable that has an order. "
        f"Received: {received}"
    )
    with pytest.raises(TypeError, match=exactly(message)):
        given_texts(texts, num_texts)
    if num_texts is not None:
        with pytest.raises(TypeError, match=exactly(message)):
            given_rows(texts, num_texts)


@pytest.mark.parametrize(
    ("texts", "number", "received"),
    [
        (["oil", None], 2, "None"),
        (["oil", float("nan")], 2, "float nan"),
        ([1, 2], 1, "int 1"),
        (np.arange(3), 1, "int 0"),
        (bytearray(b"oil"), 1, "int 111"),
        ([{"text": "oil"}], 1, "dict {'text': 'oil'}"),
        (pyarrow.table({"text": TWO}), 1, "dict {'text': 'oil'}"),
        (np.ma.array(TWO, mask=[False, True], dtype=object), 2, "None"),
        (["oil", True], 2, "bool True"),
    ],
)
def test_a_row_that_is_no_text_is_refused_by_its_number(texts, number, received):
    message = f"Expected a string as text {number}. Received: {received}"
    with pytest.raises(TypeError, match=exactly(message)):
        given_texts(texts, 1)


def message_of_row(num_texts, row, received):
    return (
        f"Expected {num_texts} {'text' if num_texts == 1 else 'texts'} in row {row}. Received: "
        f"{received}. The model was trained on {'single texts' if num_texts == 1 else 'pairs'}."
    )


@pytest.mark.parametrize(
    ("texts", "num_texts", "message"),
    [
        (PAIRS, 1, message_of_row(1, 1, 2)),
        (np.array(PAIRS), 1, message_of_row(1, 1, 2)),
        (["oil", []], 1, message_of_row(1, 2, 0)),
        ([("a", "b"), ("a", "b", "c")], 2, message_of_row(2, 2, 3)),
        ([("oil",)], 2, message_of_row(2, 1, 1)),
        (
            ["oil", "fell"],
            2,
            "Expected 2 sentences with a tab between them in text 1. Received: 1 in 'oil'.",
        ),
        (
            "a\tb\tc",
            2,
            "Expected 2 sentences with a tab between them in text 1. Received: 3 in 'a\\tb\\tc'.",
        ),
        (
            ["oil", b"f\xfcr"],
            1,
            "Expected UTF-8 in text 2. Received: invalid start byte at byte 1. Decode the bytes in "
            "their own encoding first.",
        ),
        (
            ["oil", "a \ud800"],
            1,
            "Expected Unicode in text 2. Received: half a surrogate pair in 'a \\ud800'. Decode "
            "the text from UTF-8 again.",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_its_number(texts, num_texts, message):
    with pytest.raises(DatasetError, match=exactly(message)):
        given_texts(texts, num_texts)


def test_rows_stream():
    def endless():
        while True:
            yield "oil"

    rows = given_rows(endless(), 1)
    assert [next(rows), next(rows)] == [("oil",), ("oil",)]


# Hypothesis' text has no lone surrogates.
@given(st.lists(st.text()))
def test_any_strings_are_kept_in_any_form(texts):
    assert given_texts(texts, 1) == texts
    assert given_texts(iter(texts), 1) == texts
    assert given_texts([text.encode() for text in texts], 1) == texts
    assert given_texts(np.array(texts, object), 1) == texts
    assert given_texts([(text, "") for text in texts], 2) == [(text, "") for text in texts]
