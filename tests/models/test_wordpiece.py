"""Tokens written out by hand, beside the reference BERT tokenizer, and without TensorFlow."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from tests.hard_texts import HARD_TEXTS, character_vocabulary
from tfkd.models import wordpiece
from tfkd.models.wordpiece import MAX_WORD_BYTES, WordPieceTokenizer, fitting_length
from tfkd.models.wordpiece_files import load_if_fast

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "oil",
    "price",
    "##s",
    "fell",
    "again",
    "un",
    "##want",
    "##ed",
    "want",
    "cafe",
    "caf",
    "##é",
    ".",
    "[",
    "]",
    "中",
    "文",
    "a",
    "##a",
    "##aa",
]
PAGE = Path(__file__).parents[2] / "docs" / "tokenization.md"


def word_piece(length=64, **options):
    return WordPieceTokenizer(VOCABULARY, length, **options)


def tokens(tokenizer, text):
    arrays = tokenizer.encode([text])
    row = arrays["token_ids"][0][arrays["padding_mask"][0] == 1]
    return [tokenizer.vocabulary[index] for index in row[1:-1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Oil prices\tfell\n", ["oil", "price", "##s", "fell"]),
        ("unwanted", ["un", "##want", "##ed"]),
        ("unwantedly again", ["[UNK]", "again"]),
        ("CAFÉ café cafe\u0301", ["cafe", "cafe", "cafe"]),
        ("oil中文.", ["oil", "中", "文", "."]),
        ("[SEP]", ["[", "[UNK]", "]"]),
        ("o\u200bil", ["oil"]),
        ("o\x00il", ["[UNK]", "[UNK]"]),
        ("ｏｉｌ", ["oil"]),
        ("\ud800 oil", ["[UNK]", "oil"]),
        ("a" * 7, ["a", "##aa", "##aa", "##aa"]),
    ],
)
def test_tokens_written_out(text, expected):
    assert tokens(word_piece(), text) == expected


def test_cased_vocabulary_keeps_capitals_and_accents():
    assert tokens(word_piece(lowercase=False), "Oil café") == ["[UNK]", "caf", "##é"]


def test_word_limit_is_in_bytes():
    assert MAX_WORD_BYTES == 100
    tokenizer = WordPieceTokenizer([*VOCABULARY, "é"], 128, lowercase=False)
    assert tokens(tokenizer, "a" * 100) == ["a", *["##aa"] * 49, "##a"]
    assert tokens(tokenizer, "a" * 101 + ".") == ["[UNK]", "."]
    assert tokens(tokenizer, "é" * 50) == ["é", *["##é"] * 49]
    assert tokens(tokenizer, "é" * 51) == ["[UNK]"]
    assert tokens(tokenizer, "a" * 5000 + " oil") == ["[UNK]", "oil"]


@pytest.mark.parametrize("blanks", [" ", "  ", " " * 30, " \t\n ", "\n", " \x00\u200b "])
def test_no_token_is_lost_or_won_between_any_blanks(blanks):
    text = blanks + blanks.join(["oil", "prices", "fell", "again", "a"])
    whole = [2, 5, 6, 7, 8, 9, 22, 3]
    assert word_piece(64).encode([text])["token_ids"].tolist() == [whole]
    assert word_piece(6).encode([text])["token_ids"].tolist() == [[*whole[:5], 3]]


def test_segments_are_left_out_on_request():
    tokenizer = word_piece(8, lowercase=False)
    without = tokenizer.without_segments()
    arrays = tokenizer.encode([("oil", "Fell again")])
    assert without.encode([("oil", "Fell again")]).keys() == {"token_ids", "padding_mask"}
    np.testing.assert_array_equal(
        without.encode([("oil", "Fell again")])["token_ids"], arrays["token_ids"]
    )
    assert without.without_segments() is without and tokenizer.has_segments


def test_arrays_are_the_callers_own():
    tokenizer = word_piece(8)
    for values in tokenizer.encode(["oil", ("oil", "fell")], 8).values():
        assert values.dtype == np.int32
        values[:] = 7
    arrays = tokenizer.encode(["oil", ("oil", "fell")], 8)
    assert arrays["token_ids"].tolist() == [[2, 5, 3, 0, 0, 0, 0, 0], [2, 5, 3, 8, 3, 0, 0, 0]]
    assert arrays["padding_mask"].tolist() == [[1] * 3 + [0] * 5, [1] * 5 + [0] * 3]
    assert arrays["segment_ids"].tolist() == [[0] * 8, [0, 0, 0, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize("length", [4, 12])
def test_padding_is_the_vocabularys_own_token_at_any_width(length):
    tokenizer = WordPieceTokenizer([*VOCABULARY[1:], "[PAD]"], 8)
    arrays = tokenizer.encode(["oil fell again"], length)
    assert arrays["token_ids"].tolist() == [[1, 4, 7, 8, 2, *[24] * 7][:length]]
    assert arrays["padding_mask"].tolist() == [[*[1] * 5, *[0] * 7][:length]]


@pytest.mark.parametrize("length", [3, 4, 5, 8, 9])
@pytest.mark.parametrize("sizes", [(0, 0), (1, 9), (9, 1), (3, 3), (4, 2), (2, 5), (9, 9)])
def test_long_pairs_are_cut_in_turn(length, sizes):
    """One token from each text by turns, the first text first, as long as there is room."""
    kept = [0, 0]
    while sum(kept) < length - 3 and kept != list(sizes):
        for side in (0, 1):
            kept[side] += kept[side] < sizes[side] and sum(kept) < length - 3
    arrays = word_piece(length).encode([("oil " * sizes[0], "fell " * sizes[1])], length)
    row = [2, *[5] * kept[0], 3, *[8] * kept[1], 3]
    padding = [0] * (length - len(row))
    assert arrays["token_ids"].tolist() == [row + padding]
    assert arrays["padding_mask"].tolist() == [[1] * len(row) + padding]
    segments = [0] * (kept[0] + 2) + [1] * (kept[1] + 1)
    assert arrays["segment_ids"].tolist() == [segments + padding]


@pytest.mark.parametrize("length", [11, 12])
def test_pairs_are_cut_as_longest_first_cuts_them_but_for_an_odd_token(length):
    """The reference gives it to the longer text, and to the second of equal ones."""
    reference = BertWordPieceTokenizer({word: row for row, word in enumerate(VOCABULARY)})
    reference.enable_truncation(length, strategy="longest_first")
    room = length - 3
    for first, second in itertools.product(range(1, 14), repeat=2):
        pair = " ".join(["oil"] * first), " ".join(["fell"] * second)
        received = word_piece(length).encode([pair])["token_ids"][0].tolist()
        expected = reference.encode(*pair).ids
        if room % 2 and first > room // 2 and second > room // 2 and second >= first:
            place = expected.index(3)
            expected = [*expected[:place], 5, *expected[place:-2], 3]
        assert received[: len(expected)] == expected, (first, second)


def test_a_vocabulary_without_special_tokens_is_refused():
    message = (
        r"^Expected a vocabulary with \[PAD\], .*Received: one without \[UNK\], \[SEP\]\. Give"
    )
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer(["[PAD]", "[CLS]", "oil"], 8)


def write(folder, class_name="BertTextClassifierPreprocessor", **settings):
    settings = {"lowercase": True, "strip_accents": True, **settings}
    config = {"tokenizer": {"config": settings}, "sequence_length": 12}
    folder.mkdir(exist_ok=True)
    (folder / "preprocessor.json").write_text(
        json.dumps({"class_name": class_name, "config": config})
    )
    (folder / "vocabulary.txt").write_text("\n".join(VOCABULARY) + "\n")
    return folder


def test_folder_is_read(tmp_path):
    tokenizer = load_if_fast(write(tmp_path, lowercase=False, strip_accents=False))
    assert tokenizer.vocabulary == VOCABULARY
    assert (tokenizer.vocabulary_size, tokenizer.sequence_length) == (len(VOCABULARY), 12)
    assert tokens(tokenizer, "oil café") == ["oil", "caf", "##é"]
    distilbert = write(tmp_path, "DistilBertTextClassifierPreprocessor")
    arrays = load_if_fast(distilbert).encode([("oil", "fell")])
    assert set(arrays) == {"token_ids", "padding_mask"}


@pytest.mark.parametrize(
    "settings",
    [
        {"class_name": "RobertaTextClassifierPreprocessor"},
        {"strip_accents": False},
        {"lowercase": False},
        {"oov_token": "<unk>"},
        {"special_tokens_in_strings": True},
    ],
)
def test_rules_that_the_operators_do_not_know_are_left_to_kerashub(settings, tmp_path):
    folder = write(tmp_path, **settings)
    assert load_if_fast(folder) is None


def section(lowercase):
    """The page's section on one kind of vocabulary."""
    heading = f"### {'Lower-case' if lowercase else 'Cased'} vocabularies\n"
    return PAGE.read_text(encoding="utf-8").split(heading)[1].split("\n#")[0]


@pytest.fixture(params=[True, False], ids=["uncased", "cased"])
def peers(request):
    """Whether lower case, the tokenizer, and the reference over the same vocabulary."""
    vocabulary = character_vocabulary()
    numbered = {token: index for index, token in enumerate(vocabulary)}
    return (
        request.param,
        WordPieceTokenizer(vocabulary, 10_010, request.param),
        BertWordPieceTokenizer(numbered, lowercase=request.param),
    )


def test_differences_to_the_reference_are_those_of_the_page(peers):
    lowercase, tokenizer, reference = peers
    differing = {
        name
        for name, text in HARD_TEXTS
        if tokens(tokenizer, text) != reference.encode(text).tokens[1:-1]
    }
    assert differing == set(re.findall(r'"([^"]+)"', section(lowercase)))


def test_page_counts_the_hard_texts():
    counts = re.findall(r"(\d+) hard\s+texts", PAGE.read_text(encoding="utf-8"))
    assert counts == [str(len(HARD_TEXTS))] * 2


def test_examples_of_the_page(peers):
    lowercase, tokenizer, reference = peers
    rows = re.findall(r"\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|", section(lowercase))
    assert len(rows) >= 3
    for cells in rows:
        text, here, there = (json.loads(f'"{cell}"') for cell in cells)
        assert tokens(tokenizer, text) == here.split(), text
        assert reference.encode(text).tokens[1:-1] == there.split(), text


def litert_file(folder):
    """A `.tflite` file whose three logits count tokens, with its tokenizer beside it."""
    import tensorflow as tf

    names = ("token_ids", "padding_mask")

    @tf.function(input_signature=[tf.TensorSpec([1, 8], tf.int32, name=name) for name in names])
    def count(token_ids, padding_mask):
        ids, mask = tf.cast(token_ids, tf.float32), tf.cast(padding_mask, tf.float32)
        total = tf.reduce_sum(ids * mask, axis=1)
        return {"logits": tf.stack([total, total + 1, total + 2], axis=1)}

    module = tf.Module()
    tf.saved_model.save(module, str(folder / "saved"), signatures={"tokens_8": count})
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / "saved"), signature_keys=["tokens_8"]
    )
    (folder / "count.tflite").write_bytes(converter.convert())
    write(folder / "tokenizer")
    return folder / "count.tflite"


def test_litert_files_take_texts_without_tensorflow(tmp_path):
    path = litert_file(tmp_path)
    code = (
        "import sys\n"
        "from tfkd.compression.litert import LiteRTModel\n"
        f"logits = LiteRTModel({str(path)!r}).predict(['Oil prices fell', 'a a'])\n"
        "heavy = {'tensorflow', 'tensorflow_text', 'keras', 'keras_hub'} & set(sys.modules)\n"
        "print(logits.tolist(), sorted(heavy))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    first, second = 2 + 5 + 6 + 7 + 8 + 3, 2 + 22 + 22 + 3
    expected = [[float(total + more) for more in range(3)] for total in (first, second)]
    assert (ended.stdout, ended.stderr) == (f"{expected} []\n", "")


@pytest.mark.parametrize(
    ("longest", "length", "width"),
    [
        (9, None, 16),
        (16, None, 16),
        (30, None, 24),
        (9, 12, 12),
        (9, (8, 16, 24), 16),
        (8, (8, 16, 24), 8),
        (25, (8, 16, 24), 24),
    ],
)
def test_width_is_what_was_asked_for_or_the_first_that_holds_the_longest_row(
    longest, length, width
):
    assert fitting_length(longest, length, 24) == width


def test_words_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(wordpiece, "REMEMBERED_WORDS", 3)
    cut = []
    words = wordpiece._Remembered(lambda word: cut.append(word) or bytes([len(word)]))
    assert [words[word] for word in ("a", "bb", "a", "ccc")] == [b"\1", b"\2", b"\1", b"\3"]
    assert cut == ["a", "bb", "ccc"]
    assert words["dddd"] == b"\4"
    assert dict(words) == {"dddd": b"\4"}


def test_long_words_are_not_remembered():
    words = wordpiece._Remembered(lambda word: bytes([len(word)]))
    assert (words["a" * 64], words["a" * 65]) == (b"\100", b"\101")
    assert list(words) == ["a" * 64]
