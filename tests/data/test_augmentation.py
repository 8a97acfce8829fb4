"""Altered copies: which words they are made of, in which order, and that a seed decides them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfkd.data.augmentation import Augmented, Snippets, fitting_copies, words_of
from tfkd.data.examples import Example

ROWS = [Example(("a fine day at the sea",), 0), Example(("rain and no end of it",), 1)]
WORDS = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8).map(" ".join)


def texts(rows, side=0):
    return [example.texts[side] for example in rows]


def test_golden_copies():
    assert texts(Augmented(ROWS, copies=2, seed=0)) == [
        "a fine day at the sea",
        "rain and no end of it",
        "it at the sea",
        "end it",
        "a fine day at the sea it",
        "rain and of it",
    ]


@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(0, 3), st.integers(0, 5))
@settings(max_examples=50)
def test_rows_come_first_and_every_copy_is_made_of_their_words(given_texts, copies, seed):
    rows = [Example((text,), label) for label, text in enumerate(given_texts)]
    found = list(Augmented(rows, copies, seed))
    assert found[: len(rows)] == rows
    assert [example.label for example in found] == list(range(len(rows))) * (copies + 1)
    words = {word for text in given_texts for word in text.split()}
    for example in found:
        assert example.texts[0]
        assert set(example.texts[0].split()) <= words
    assert list(Augmented(rows, copies, seed)) == found


def test_more_copies_leave_the_first_ones():
    rows = [Example((f"some words of text {i}",), 0) for i in range(20)]
    few, many = list(Augmented(rows, 2)), list(Augmented(rows, 4))
    assert many[: len(few)] == few
    assert list(Augmented(rows, 2, seed=1)) != few


def test_shares_of_dropped_and_replaced_words():
    # Every row has words of its own, so a word that is not the row's was put in from another.
    rows = [Example((" ".join(f"{i}-{j}" for j in range(40)),), 0) for i in range(500)]
    altered = texts(Augmented(rows, copies=1))[500:]
    own = [[w for w in t.split() if w.startswith(f"{i}-")] for i, t in enumerate(altered)]
    whole = [i for i, t in enumerate(altered) if len(t.split()) > 30]
    kept = np.mean([len(own[i]) for i in whole]) / 40
    replaced = np.mean([len(altered[i].split()) - len(own[i]) for i in whole]) / 40
    assert kept == pytest.approx(0.7, abs=0.02)
    assert replaced == pytest.approx(0.2, abs=0.02)
    assert np.mean([len(t.split()) for t in altered]) < 36
    shortest = min(len(t.split()) for t in altered)
    assert 12 <= shortest <= 24


def test_joined_texts_are_a_start_and_an_end():
    rows = [Example((f"{i}a {i}b {i}c {i}d",), 0) for i in range(50)]
    for row, text in zip(rows, texts(Augmented(rows, copies=2))[100:], strict=True):
        own, words = row.texts[0].split(), text.split()
        length = next(n for n in range(len(words) + 1) if words[n:][:1] != own[n:][:1] or n == 4)
        assert words[:length] == own[:length] != []
        end = [word[-1] for word in words[length:]]
        assert end == list("abcd")[4 - len(end) :]


def test_one_text_of_a_pair_is_altered():
    rows = [Example((f"left one of {i} here", f"right one of {i} there"), 0.5) for i in range(40)]
    found = list(Augmented(rows, copies=2))[40:]
    for example, row in zip(found, rows * 2, strict=True):
        assert sum(a == b for a, b in zip(example.texts, row.texts, strict=True)) >= 1
    for side in (0, 1):
        changed = [a != b for a, b in zip(texts(found, side), texts(rows * 2, side), strict=True)]
        assert 15 < sum(changed) < 65


def test_what_has_no_words_stays():
    rows = [Example(("", "one text is missing"), 0)]
    assert all(example.texts[0] == "" for example in Augmented(rows, copies=4))
    assert all(example.texts[1] for example in Augmented(rows, copies=4))


NEAR = {"fine": ("good", "nice"), "rain": ("snow",), "sea": ("lake", "ocean")}


def test_near_words_stand_where_a_word_stood():
    """What is around the letters stays, and a word without near ones is only ever dropped."""
    rows = [Example(('A "fine", day: Rain at the sea.',), 0)] * 400
    altered = [text.split() for text in texts(Augmented(rows, copies=1, near=NEAR))[400:]]
    whole = [text for text in altered if len(text) == 7]
    assert {text[1] for text in whole} == {'"fine",', '"good",', '"nice",'}
    assert {text[3] for text in whole} == {"Rain", "snow"}
    assert {text[6] for text in whole} == {"sea.", "lake.", "ocean."}
    for text in whole:
        assert [text[place] for place in (0, 2, 4, 5)] == ["A", "day:", "at", "the"]


def test_shares_of_near_and_of_dropped_words():
    rows = [Example((" ".join(["fine", "plain"] * 20),), 0)] * 300
    altered = [text.split() for text in texts(Augmented(rows, copies=1, near=NEAR))[300:]]
    near = np.mean([sum(word in NEAR["fine"] for word in text) for text in altered]) / 20
    assert near == pytest.approx(0.3, abs=0.02)
    assert np.mean([len(text) for text in altered]) / 40 == pytest.approx(0.95, abs=0.01)


def test_second_copies_are_joined_too():
    rows = [*ROWS, *ROWS]
    second = texts(Augmented(rows, copies=2, seed=1, near={"fine": ("good",)}))[8:]
    ends = {"sea", "it"}
    assert any(len(ends & set(text.split())) == 2 for text in second)


def test_golden_snippets():
    rows = [Example(("a fine day at the sea",), 0)]
    assert list(Snippets(rows, ["rain", "sun"], contexts=2)) == [
        "rain",
        "sun",
        "fine day rain the sea",
        "sun day at",
        "day at the rain",
        "a fine day sun",
    ]


@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(0, 3), st.integers(0, 5))
@settings(max_examples=50)
def test_a_snippet_is_a_part_of_a_text_with_one_other_word(given_texts, contexts, seed):
    words = ["X", "Y", "Z"]
    rows = [Example((text,), 0) for text in given_texts]
    found = list(Snippets(rows, words, contexts, seed))
    assert found[:3] == words
    parts = set()
    for text in given_texts:
        own = text.split()
        parts |= {tuple(own[i : i + n]) for n in range(1, 6) for i in range(len(own) - n + 1)}
    for place, snippet in enumerate(found[3:]):
        own = snippet.split()
        here = own.index(words[place % 3])
        assert any(
            part[:here] + part[here + 1 :] == (*own[:here], *own[here + 1 :])
            for part in parts
            if len(part) == len(own)
        )
    assert len(found) == 3 + 3 * contexts
    assert list(Snippets(rows, words, contexts, seed)) == found
    longest = max(len(text.split()) for text in given_texts)
    assert all(
        min(2, min(len(t.split()) for t in given_texts)) <= len(t.split()) <= min(longest, 5)
        for t in found[3:]
    )


@pytest.mark.parametrize(
    ("num_rows", "copies"),
    [(1, 8), (4444, 8), (4445, 7), (10_000, 3), (13_333, 2), (20_000, 1), (20_001, 0)],
)
def test_copies_by_the_number_of_rows(num_rows, copies):
    assert fitting_copies(num_rows) == copies


def test_words_are_letters_as_they_are_and_in_lower_case():
    rows = [Example(("It's 2 PM, Grüße", "x_1"), 0)]
    assert list(dict.fromkeys(words_of(rows))) == [
        "It",
        "it",
        "s",
        "PM",
        "pm",
        "Grüße",
        "grüße",
        "x",
    ]
