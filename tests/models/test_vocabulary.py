"""Which tokens stay, written out by hand; what every smaller vocabulary must keep true."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.toys import QUIET, byte_pair_tokenizer, vocabulary_of, wordpiece_tokenizer
from tfkd.data import tokens as data_tokens
from tfkd.data.examples import SINGLE_LABEL, Example
from tfkd.errors import ConfigError, ModelError
from tfkd.models import vocabulary as module
from tfkd.models.tokenizers import RESERVED_TOKENS, Tokenizer
from tfkd.models.vocabulary import TrimReport, compare, count_tokens, fitting_size, kept_rows, trim

LETTERS = "abcdef"
# Every string of up to three letters, at a word's start and inside it.
WORDS = ["".join(word) for size in (2, 3) for word in itertools.product(LETTERS, repeat=size)]
VOCABULARY = [
    *RESERVED_TOKENS,
    "[unused0]",
    *LETTERS,
    *WORDS,
    ".",
    "7",
    *("##" + piece for piece in [*LETTERS, *WORDS, "7"]),
]
SMALL = vocabulary_of("[unused0] a b ##a ##b ab ba aab ##ab bb ж ##ж жж 字 . 7 ##7")
SMALL_NEEDED = [0, 1, 2, 3, 4, 6, 7, 8, 9, 19, 20, 21]


def word_piece(vocabulary, sequence_length=24):
    return wordpiece_tokenizer(vocabulary, sequence_length, strip_accents=True)


def tokenized(folder, tokenizer, texts):
    rows = [Example((text,) if isinstance(text, str) else text, 0) for text in texts]
    return data_tokens.write(
        folder / "tokens",
        rows,
        tokenizer.encode,
        SINGLE_LABEL,
        2,
        "mark",
        (QUIET, len(rows)),
    )


def counts_of(**occurrences):
    """Counts over SMALL by token, its marks spelled as names."""
    names = {"in_ab": "##ab", "zhzh": "жж", "zh": "ж", "han": "字", "unused": "[unused0]"}
    counts = np.zeros(len(SMALL), np.int64)
    for name, count in occurrences.items():
        counts[SMALL.index(names.get(name, name))] = count
    return counts


def strings(tokenizer, texts):
    arrays = tokenizer.encode(texts)
    vocabulary = np.array(tokenizer.vocabulary)
    return [
        vocabulary[row[mask.astype(bool)]].tolist()
        for row, mask in zip(arrays["token_ids"], arrays["padding_mask"], strict=True)
    ]


@pytest.fixture(scope="module")
def whole():
    return word_piece(VOCABULARY)


def test_tokens_are_counted_in_parts_and_without_padding(tmp_path, whole, monkeypatch):
    texts = ["abc abc a", "fed", "ab. abcd ab"]
    tokens = tokenized(tmp_path, whole, texts)
    monkeypatch.setattr(module, "COUNTED_AT_ONCE", 4)
    counts = count_tokens(tokens, len(VOCABULARY))
    expected = {"[CLS]": 3, "[SEP]": 3, "abc": 3, "a": 1, "fed": 1, "ab": 2, ".": 1, "##d": 1}
    assert counts.dtype == np.int64
    assert {VOCABULARY[i]: counts[i] for i in np.flatnonzero(counts)} == expected


@pytest.mark.parametrize(
    "min_count, dropped",
    [
        (0, []),
        (1, ["[unused0]", "bb", "ж", "##ж", "жж", "字"]),
        (2, ["[unused0]", "bb", "aab", "ж", "##ж", "жж", "字"]),
        (4, ["[unused0]", "bb", "aab", "##ab", "ж", "##ж", "жж", "字"]),
        (10, ["[unused0]", "ab", "ba", "bb", "aab", "##ab", "ж", "##ж", "жж", "字"]),
    ],
)
def test_frequent_tokens_stay_in_their_order(min_count, dropped):
    counts = counts_of(ab=5, ba=5, aab=1, in_ab=3)
    rows = kept_rows(SMALL, counts, min_count=min_count)
    assert [SMALL[row] for row in rows] == [token for token in SMALL if token not in dropped]


@pytest.mark.parametrize(
    "occurrences, kept",
    [
        ({}, {".", "7", "##7"}),
        ({"ab": 1}, {".", "7", "##7", "a", "b", "##a", "##b", "ab"}),
        ({"zhzh": 1}, {".", "7", "##7", "ж", "##ж", "жж"}),
        ({"zh": 1}, {".", "7", "##7", "ж", "##ж"}),
        ({"han": 2, "in_ab": 1}, {".", "7", "##7", "字", "a", "b", "##a", "##b", "##ab"}),
    ],
    ids=["none", "latin", "cyrillic", "one letter", "two scripts"],
)
def test_single_characters_of_the_scripts_that_occur_stay(occurrences, kept):
    rows = kept_rows(SMALL, counts_of(**occurrences))
    assert {SMALL[row] for row in rows} == kept | set(RESERVED_TOKENS)


@pytest.mark.parametrize(
    "seen, unseen",
    [
        ("é", "z"),
        ("カ", "ー"),
        ("漢", "字"),
        ("한", "글"),
        ("ا", "ب"),
        ("क", "ि"),
        ("𝒶", "𝒷"),
    ],
)
def test_letters_and_marks_of_one_script_stay_together(seen, unseen):
    vocabulary = [*RESERVED_TOKENS, seen + seen, unseen, "##" + unseen, "ж", "##"]
    counts = np.array([0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    assert kept_rows(vocabulary, counts).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("character", ["z", "ж", "字", "글", "ब", "ि", "𝒶"])
def test_letters_and_marks_of_other_scripts_go(character):
    vocabulary = [*RESERVED_TOKENS, "αα", character, "##" + character, "β"]
    counts = np.array([0, 0, 0, 0, 0, 1, 0, 0, 0])
    assert kept_rows(vocabulary, counts).tolist() == [0, 1, 2, 3, 4, 5, 8]


@pytest.mark.parametrize("sign", ["٣", "€", "😀", "—", "。", "½", "#"])
def test_signs_and_digits_of_all_scripts_stay(sign):
    vocabulary = [*RESERVED_TOKENS, sign, "##" + sign, "ж"]
    assert kept_rows(vocabulary, np.zeros(8, np.int64)).tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_special_tokens_bring_no_script():
    counts = np.zeros(len(SMALL), np.int64)
    counts[:4] = 100
    assert "a" not in [SMALL[row] for row in kept_rows(SMALL, counts)]


@pytest.mark.parametrize(
    "size, others",
    [
        (12, []),
        (13, ["ba"]),
        (14, ["ab", "ba"]),
        (15, ["ab", "ba", "aab"]),
        (16, ["ab", "ba", "aab", "##ab"]),
        (99, ["ab", "ba", "aab", "##ab"]),
    ],
)
def test_most_frequent_tokens_fill_the_size(size, others):
    """Of equally frequent ones the first; what never occurs is not taken to fill up."""
    rows = kept_rows(SMALL, counts_of(ab=5, ba=7, aab=2, in_ab=2), vocabulary_size=size)
    expected = [t for i, t in enumerate(SMALL) if i in SMALL_NEEDED or t in others]
    assert [SMALL[row] for row in rows] == expected


def test_size_and_least_count_hold_together():
    counts = counts_of(ab=5, ba=7, aab=2, in_ab=2)
    assert len(kept_rows(SMALL, counts, vocabulary_size=15, min_count=3)) == 14
    assert len(kept_rows(SMALL, counts, vocabulary_size=13, min_count=3)) == 13


def test_size_below_the_needed_tokens():
    message = (
        r"^Expected `vocabulary_size` of at least 12: the special tokens and the single characters "
        r"of the scripts in the training text\. Received: vocabulary_size=11\.$"
    )
    with pytest.raises(ConfigError, match=message):
        kept_rows(SMALL, counts_of(ab=1), vocabulary_size=11)


COUNTS = st.lists(st.integers(0, 9), min_size=len(VOCABULARY), max_size=len(VOCABULARY))


@settings(max_examples=60)
@given(counts=COUNTS.map(np.array), min_count=st.integers(1, 9), size=st.integers(30, 500))
def test_every_choice_is_sound(counts, min_count, size):
    needed = set(kept_rows(VOCABULARY, counts, min_count=10).tolist())
    rows = kept_rows(VOCABULARY, counts, size, min_count)
    assert (np.diff(rows) > 0).all()
    assert rows[: len(RESERVED_TOKENS)].tolist() == list(range(len(RESERVED_TOKENS)))
    assert len(rows) <= size
    chosen = set(rows.tolist()) - needed
    assert all(counts[row] >= min_count for row in chosen)
    left = set(range(len(VOCABULARY))) - needed - chosen
    if len(rows) < size:
        assert all(counts[row] < min_count for row in left)
    elif chosen:
        assert min(counts[row] for row in chosen) >= max((counts[row] for row in left), default=0)
    assert needed | chosen >= set(kept_rows(VOCABULARY, counts, size - 1, min_count).tolist())


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    counts=COUNTS.map(np.array),
    min_count=st.integers(2, 9),
    texts=st.lists(st.text(LETTERS + "7. ", max_size=30), min_size=1, max_size=20),
)
def test_every_text_keeps_its_known_words_and_gets_no_unknown_ones(whole, counts, min_count, texts):
    counts[VOCABULARY.index("abc")] = 1
    rows = kept_rows(VOCABULARY, counts, min_count=min_count)
    smaller = whole.with_vocabulary([VOCABULARY[row] for row in rows])
    known = set(smaller.vocabulary)
    arrays = smaller.encode(texts)
    assert arrays["token_ids"].max() < len(rows)
    assert smaller.vocabulary.index("[UNK]") not in arrays["token_ids"]
    for before, after in zip(strings(whole, texts), strings(smaller, texts), strict=True):
        if known >= set(before):
            assert after == before
        elif len(after) < whole.sequence_length:
            assert spelled(after) == spelled(before)


def spelled(tokens):
    return "".join(token.removeprefix("##") for token in tokens)


def test_report_counted_by_hand(tmp_path, whole):
    """Training tokens: 3 x [CLS], 3 x [SEP], abc 3, ab 2, fed 1, ##d 1, "." 1, a 1: 15."""
    train = tokenized(tmp_path, whole, ["abc abc a", "fed", "ab. abcd ab"])
    held_out = ["abc ab", "fed abc", "ж a", "a."]
    result = trim(whole, train, held_out, table_width=8, min_count=2)
    assert result.tokenizer.vocabulary == [VOCABULARY[row] for row in result.rows]
    # Special tokens, letters twice, "." and 7 twice, abc and ab.
    assert len(result.rows) == 5 + 2 * 6 + 3 + 2
    assert result.report == TrimReport(
        tokens_before=len(VOCABULARY),
        tokens_after=22,
        table_bytes_before=len(VOCABULARY) * 8 * 4,
        table_bytes_after=22 * 8 * 4,
        lost_share=pytest.approx(1 / 15),
        num_texts=4,
        same_share=0.75,
        # "fed abc" is spelled f ##e ##d abc: 18 tokens instead of 16.
        length_ratio=pytest.approx(18 / 16),
        unknown_share_before=pytest.approx(1 / 16),
        unknown_share_after=pytest.approx(1 / 18),
    )


def test_report_says_it_in_one_sentence():
    report = TrimReport(30522, 8000, 15627264, 4096000, 0.0539, 2000, 0.145, 1.0587, 0, 0.00012)
    assert report.sentence() == (
        "8,000 of 30,522 tokens stay (table 15.6 -> 4.1 MB in float32): 5.4% of the training "
        "tokens are lost, 14.5% of 2,000 held-out texts are tokenized as before, length x 1.059, "
        "[UNK] 0.00% -> 0.01%."
    )
    assert TrimReport(**report.to_dict()) == report


def test_whole_vocabulary_changes_nothing(tmp_path, whole):
    train = tokenized(tmp_path, whole, ["abc def"])
    result = trim(whole, train, [("abc", "ab"), ("f", "fed ж")], table_width=4, min_count=0)
    assert result.rows.tolist() == list(range(len(VOCABULARY)))
    assert result.tokenizer.fingerprint == whole.fingerprint
    report = result.report
    assert (report.lost_share, report.same_share, report.length_ratio) == (0, 1, 1)
    assert report.unknown_share_before == report.unknown_share_after == pytest.approx(1 / 11)


def test_texts_are_compared_in_parts(whole, monkeypatch):
    rows = kept_rows(VOCABULARY, np.full(len(VOCABULARY), 1), vocabulary_size=40)
    smaller = whole.with_vocabulary([VOCABULARY[row] for row in rows])
    texts = ["abc", "abcdef fed", "a", "ж", "fed. 7"]
    at_once = compare(whole, smaller, rows, texts)
    monkeypatch.setattr(module, "TEXTS_AT_ONCE", 2)
    assert compare(whole, smaller, rows, texts) == at_once
    assert 0 < at_once["same_share"] < 1


def test_smaller_tokenizer_lives_in_files(tmp_path, whole):
    train = tokenized(tmp_path, whole, ["abc abc fed", "ж"])
    smaller = trim(whole, train, ["abc"], table_width=4, vocabulary_size=22).tokenizer
    smaller.save(tmp_path / "tokenizer")
    loaded = Tokenizer.load(tmp_path / "tokenizer")
    assert loaded.vocabulary == smaller.vocabulary
    assert loaded.fingerprint == smaller.fingerprint != whole.fingerprint
    texts = ["abc fed ж", "def 7."]
    np.testing.assert_array_equal(
        loaded.encode(texts)["token_ids"], smaller.encode(texts)["token_ids"]
    )
    assert loaded.sequence_length == whole.sequence_length


def test_byte_pairs_are_refused(tmp_path):
    tokenizer = byte_pair_tokenizer()
    train = tokenized(tmp_path, tokenizer, ["ab", "a b"])
    with pytest.raises(ModelError, match="Expected a WordPiece tokenizer to give another vocab"):
        trim(tokenizer, train, ["ab"], table_width=4)


def test_tokens_that_bytes_have_room_for():
    counts = counts_of(ab=5, in_ab=3, ba=3, a=1)
    ranked = ["a", *(SMALL[i] for i in SMALL_NEEDED if SMALL[i] != "a"), "ab", "ba", "##ab"]
    needed = len(ranked) - 3
    bytes_of = [10 + len(token.encode()) + 1 for token in ranked]
    for num_tokens in range(needed, len(ranked) + 1):
        taken = sum(bytes_of[:num_tokens])
        assert fitting_size(SMALL, counts, 10, taken) == (num_tokens, taken)
        assert fitting_size(SMALL, counts, 10, taken - 1)[0] == max(num_tokens - 1, needed)
        assert set(kept_rows(SMALL, counts, num_tokens)) == {
            SMALL.index(token) for token in ranked[:num_tokens]
        }
    everything = (len(ranked), sum(bytes_of))
    assert fitting_size(SMALL, counts, 10, np.inf) == everything
    # What must stay stays, and the caller sees that there is no room.
    assert fitting_size(SMALL, counts, 10, 0) == (needed, sum(bytes_of[:needed]))
