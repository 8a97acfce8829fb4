"""A folder's tokenizer by whichever files it has, against the tokenizers library."""

import json

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from tests.hugging_face import BYTE_PAIRS, MERGES, write_json
from tfkd.errors import ModelError, TfkdError
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.loading import load_tokenizer
from tfkd.models.tokenizer_files import WordPieceRules, read_rules
from tfkd.models.tokenizers import Tokenizer

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("oil", "Oil", "cafe", "café", "Cafe", "Café", "Caf", "##é", "##s", "中", "!"),
]
TEXTS = ["Café oil", "CAFÉS, Oil!", "oils cafe 中中 Café", "", "x" * 120]
BERT = {"model_type": "bert"}


def word_pieces(lowercase=True, strip_accents=None, **options):
    """The tokenizer of the library, with BERT's template."""
    indices = {word: index for index, word in enumerate(WORDS)}
    made = tokenizers.Tokenizer(models.WordPiece(indices, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents, **options
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def byte_pairs(add_prefix_space=False):
    """The library's RoBERTa tokenizer."""
    merges = [tuple(pair.split()) for pair in MERGES]
    made = tokenizers.Tokenizer(models.BPE(BYTE_PAIRS, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def folder_of(path, made, settings=None, files=("tokenizer.json",)):
    """A folder with some of tokenizer.json, vocab.txt and tokenizer_config.json."""
    path.mkdir(exist_ok=True)
    if "tokenizer.json" in files:
        made.save(str(path / "tokenizer.json"))
    if "vocab.txt" in files:
        (path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    if settings is not None:
        write_json(path / "tokenizer_config.json", settings)
    return path


def changed(path, part, **changes):
    """The folder's tokenizer.json with other rules in a part of it."""
    rules = json.loads((path / "tokenizer.json").read_text())
    rules[part] = {**(rules[part] or {}), **changes} if changes else None
    write_json(path / "tokenizer.json", rules)
    return path


def ids(tokenizer, texts):
    arrays = tokenizer.encode(texts)
    masks = arrays["padding_mask"].astype(bool)
    return [row[mask].tolist() for row, mask in zip(arrays["token_ids"], masks, strict=True)]


def load(folder, family="bert"):
    write_json(folder / "config.json", {"model_type": family})
    return load_tokenizer(Source(str(folder), Kind.HUGGING_FACE, folder), 64)


def refusal(folder, config=BERT):
    with pytest.raises(ModelError, match="^Expected ") as caught:
        read_rules(folder, config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [None, True, False])
@pytest.mark.parametrize("files", [("tokenizer.json",), ("vocab.txt",)])
def test_tokens_are_those_of_the_library(files, strip_accents, lowercase, tmp_path):
    """From tokenizer.json, whose own rules count, and from vocab.txt with the class's settings."""
    expected = word_pieces(lowercase, strip_accents)
    settings = {"do_lower_case": lowercase, "strip_accents": strip_accents}
    settings = settings if files == ("vocab.txt",) else None
    received = load(folder_of(tmp_path / "folder", expected, settings, files))
    assert received.vocabulary == WORDS
    assert ids(received, TEXTS) == [expected.encode(text).ids for text in TEXTS]
    received.save(tmp_path / "saved")
    assert ids(Tokenizer.load(tmp_path / "saved"), TEXTS) == ids(received, TEXTS)


@pytest.mark.parametrize(
    "settings, lowercase, strip_accents",
    [
        ({"do_lower_case": True}, True, True),
        ({"do_lower_case": True, "strip_accents": None}, True, True),
        ({"do_lower_case": True, "strip_accents": False}, True, False),
        ({"do_lower_case": False}, False, False),
        ({"do_lower_case": False, "strip_accents": True}, False, True),
        ({}, False, False),
        (None, False, False),
    ],
)
def test_text_is_normalized_as_the_settings_say(settings, lowercase, strip_accents, tmp_path):
    """Without a word on it, a vocabulary with capitals is taken for a cased one."""
    folder = folder_of(tmp_path, None, settings, ("vocab.txt",))
    assert read_rules(folder, BERT) == WordPieceRules("bert", WORDS, lowercase, strip_accents)


def test_vocabulary_without_capitals_is_an_uncased_one(tmp_path):
    words = [word for word in WORDS if word == word.lower() or word.startswith("[")]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    assert read_rules(tmp_path, BERT) == WordPieceRules("bert", words, True, True)


@pytest.mark.parametrize(
    "settings, lowercase",
    [
        ({"do_lower_case": False, "tokenizer_class": "BertTokenizer"}, False),
        ({"do_lower_case": None, "tokenizer_class": "BertTokenizer"}, True),
        ({"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"}, True),
        ({"do_lower_case": False, "tokenizer_class": "TokenizersBackend"}, True),
    ],
)
def test_settings_of_the_class_go_before_the_file(settings, lowercase, tmp_path):
    """As in transformers, where a tokenizer without a class of its own follows its file alone."""
    folder = folder_of(tmp_path, word_pieces(), settings)
    assert read_rules(folder, BERT).lowercase is lowercase


@pytest.mark.parametrize("files", [("vocab.txt", "tokenizer.json"), ("tokenizer.json",)])
def test_both_files_give_the_same_vocabulary(files, tmp_path):
    folder = folder_of(tmp_path, word_pieces(), {}, files)
    assert read_rules(folder, {"model_type": "distilbert"}).vocabulary == WORDS


def test_other_vocabulary_in_the_other_file(tmp_path):
    folder = folder_of(tmp_path, word_pieces(), {}, ("vocab.txt", "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(reversed(WORDS)), encoding="utf-8")
    assert refusal(folder) == (
        f"Expected the same vocabulary in {folder}/vocab.txt and tokenizer.json. They differ. Take "
        "away the one that the model was not trained with."
    )


@pytest.mark.parametrize("add_prefix_space", [True, False])
@pytest.mark.parametrize("files", ["tokenizer.json", "vocab.json"])
def test_byte_pairs_are_those_of_the_library(files, add_prefix_space, tmp_path):
    expected = byte_pairs(add_prefix_space)
    if files == "tokenizer.json":
        folder_of(tmp_path, expected)
    else:
        expected.model.save(str(tmp_path))
        write_json(tmp_path / "tokenizer_config.json", {"add_prefix_space": add_prefix_space})
    received = load(tmp_path, "roberta")
    texts = ["oil oil", "foil", "oil"]
    assert ids(received, texts) == [expected.encode(text).ids for text in texts]
    received.save(tmp_path / "saved")
    assert ids(Tokenizer.load(tmp_path / "saved"), texts) == ids(received, texts)


@pytest.mark.parametrize(
    "settings, config, received",
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, BERT, "'BertJapaneseTokenizer'"),
        ({}, {**BERT, "tokenizer_class": "BertweetTokenizer"}, "'BertweetTokenizer'"),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, BERT, "'PreTrainedTokenizerFast'"),
        ({"tokenizer_class": "XLMRobertaTokenizer"}, BERT, "'XLMRobertaTokenizer'"),
        ({"tokenizer_class": ["a"]}, BERT, "['a']"),
    ],
)
def test_other_classes_are_refused(settings, config, received, tmp_path):
    folder = folder_of(tmp_path, None, settings, ("vocab.txt",))
    assert refusal(folder, config) == (
        f"Expected tokenizer_class of {folder} to be one of BertTokenizer, BertTokenizerFast, "
        "DistilBertTokenizer, DistilBertTokenizerFast, ElectraTokenizer, ElectraTokenizerFast, "
        f"MobileBertTokenizer, MobileBertTokenizerFast, or a file tokenizer.json. Received: "
        f"{received}. Its tokens would be others than those the model was trained with."
    )


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"tokenize_chinese_chars": False},
            "Expected tokenize_chinese_chars of true in {folder}. Received: false. Its Chinese "
            "characters are no words of their own, which tfkd's tokenizers make of them. Give "
            "another model.",
        ),
        (
            {"do_lower_case": "yes"},
            "Expected do_lower_case of true or false in {folder}/tokenizer_config.json. Received: "
            "'yes'.",
        ),
        (
            {"do_basic_tokenize": False},
            "Expected do_basic_tokenize of True in {folder}/tokenizer_config.json. Received: "
            "False, which tfkd does not compute. Give another model.",
        ),
        (
            {"truncation_side": "left"},
            "Expected truncation_side of 'right' in {folder}/tokenizer_config.json. Received: "
            "'left', which tfkd does not compute. Give another model.",
        ),
        (
            {"mecab_kwargs": {"mecab_dic": "ipadic"}},
            "Expected settings in {folder}/tokenizer_config.json that tfkd knows. Received: "
            "mecab_kwargs={{'mecab_dic': 'ipadic'}}, which sounds as if it changed the numbers. "
            "Take it out of the file if it does not, or give another model.",
        ),
        (
            {"unk_token": {"content": "<unk>", "lstrip": False}},
            "Expected unk_token of {folder} to be [UNK]. Received: '<unk>'.",
        ),
        (
            {"added_tokens_decoder": {"0": {"content": "[PAD]"}, "16": {"content": "<user>"}}},
            "Expected no tokens besides [CLS], [MASK], [PAD], [SEP], [UNK] that are taken out of a "
            "text before it is split in {folder}. Received: '<user>'.",
        ),
        (
            {"never_split": ["[UNK]", "C++"]},
            "Expected no tokens besides [CLS], [MASK], [PAD], [SEP], [UNK] that are taken out of a "
            "text before it is split in {folder}. Received: 'C++'.",
        ),
    ],
)
def test_settings_that_are_not_followed_are_refused(settings, message, tmp_path):
    folder = folder_of(tmp_path, None, settings, ("vocab.txt",))
    assert refusal(folder) == message.format(folder=folder)


@pytest.mark.parametrize(
    "part, changes, received",
    [
        ("model", {"max_input_chars_per_word": 40}, "max_input_chars_per_word of model"),
        ("model", {"type": "Unigram"}, "type of model"),
        ("normalizer", {"type": "Sequence"}, "type of normalizer"),
        ("normalizer", {"clean_text": False}, "clean_text of normalizer"),
        ("pre_tokenizer", {"type": "Whitespace"}, "type of pre_tokenizer"),
        ("truncation", {"direction": "Left"}, "direction of truncation"),
    ],
)
def test_rules_that_are_not_followed_are_refused(part, changes, received, tmp_path):
    folder = changed(folder_of(tmp_path, word_pieces()), part, **changes)
    (value,) = changes.values()
    message = refusal(folder)
    assert message.startswith(f"Expected {received} in {folder}/tokenizer.json to be ")
    assert message.endswith(
        f"Received: {value!r}. Its tokens would be others than those the model was trained with."
    )


def test_chinese_characters_by_the_file(tmp_path):
    folder = folder_of(tmp_path, word_pieces(handle_chinese_chars=False))
    assert refusal(folder).startswith(f"Expected tokenize_chinese_chars of true in {folder}.")


def test_other_templates_are_refused(tmp_path):
    made = word_pieces()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 2)]
    )
    folder = folder_of(tmp_path, made)
    assert refusal(folder) == (
        f"Expected [CLS] A [SEP] as the single of post_processor in {folder}/tokenizer.json. "
        "Received: [CLS] A."
    )
    folder = changed(folder, "post_processor")
    # The class adds its special tokens itself; a tokenizer of no class would add none.
    assert read_rules(folder, BERT).vocabulary == WORDS
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"})
    assert refusal(folder).endswith("Received: nothing.")


@pytest.mark.parametrize(
    "content, received",
    [
        ("[]", "Expected a JSON object in {path}. Received: []."),
        ("{", "Expected JSON in {path}. Received: "),
        ('{"model": 3}', "Expected model in {path}. Received: 3."),
        ('{"model": {"type": "WordPiece"}, "normalizer": null}', "Expected normalizer in {path}."),
    ],
)
def test_tokenizer_file_of_another_shape(content, received, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(TfkdError, match="^Expected ") as caught:
        read_rules(tmp_path, BERT)
    assert str(caught.value).startswith(received.format(path=path))


@pytest.mark.parametrize(
    "vocabulary, received",
    [
        (["[PAD]"], "Received: ['[PAD]']."),
        ({"[PAD]": "0"}, "Received: {'[PAD]': '0'}."),
        ({"[PAD]": 0, "[UNK]": 2}, "Received: none for 1, or two tokens with one."),
        ({"[PAD]": 0, "[UNK]": 0}, "Received: none for 1, or two tokens with one."),
    ],
)
def test_vocabulary_of_another_shape(vocabulary, received, tmp_path):
    folder = changed(folder_of(tmp_path, word_pieces()), "model", vocab=vocabulary)
    assert refusal(folder).endswith(received)


@pytest.mark.parametrize(
    "family, message",
    [
        ("bert", "Expected {folder}/vocab.txt or tokenizer.json beside it. Neither exists."),
        (
            "roberta",
            "Expected vocab.json and merges.txt, or tokenizer.json, in {folder}. They do not "
            "exist.",
        ),
        (
            "xlm-roberta",
            "Expected {folder}/sentencepiece.bpe.model. It does not exist. Save the tokenizer "
            "with transformers 4, which writes it; tokenizer.json alone is not enough for "
            "SentencePiece.",
        ),
    ],
)
def test_no_file_at_all(family, message, tmp_path):
    assert refusal(tmp_path, {"model_type": family}) == message.format(folder=tmp_path)


def test_vocabulary_without_special_tokens(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[CLS]\n[SEP]\noil\n")
    assert refusal(tmp_path) == (
        f"Expected [MASK], [UNK] in the vocabulary of {tmp_path}. Give the files the model was "
        "trained with."
    )


def test_byte_order_mark_is_no_part_of_the_first_token(tmp_path):
    text = "\ufeff" + "\r\n".join(WORDS) + "\r\n"
    (tmp_path / "vocab.txt").write_bytes(text.encode())
    assert read_rules(tmp_path, BERT).vocabulary == WORDS


@pytest.mark.parametrize("merges, received", [(["o"], "'o'"), ([["o", "i"], 3], "3"), (7, "7")])
def test_merges_of_another_shape(merges, received, tmp_path):
    folder = changed(folder_of(tmp_path, byte_pairs()), "model", merges=merges)
    assert refusal(folder, {"model_type": "roberta"}) == (
        f"Expected pairs of tokens to merge in {folder}. Received: {received}."
    )


def test_vocabulary_that_is_no_text(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    assert refusal(tmp_path).startswith(f"Expected UTF-8 in {tmp_path}/vocab.txt. Received: ")
