"""A Hugging Face folder's tokenizer: vocabulary and rules, from whichever files it has.

transformers 5 writes tokenizer.json alone; versions before it vocab.txt, or vocab.json and
merges.txt, too. What tfkd's tokenizers do not do is refused by its name.
"""

import dataclasses
from pathlib import Path

from tfkd.artifacts import JsonObject
from tfkd.errors import ModelError, shown
from tfkd.models.config_keys import TOKENIZER_KEYS, read_object
from tfkd.models.tokenizer_rules import (
    BYTE_PAIR_RULES,
    WORD_PIECE_RULES,
    check_rules,
    check_template,
    values_of,
)

CONFIG_FILE, TOKENIZER_FILE = "tokenizer_config.json", "tokenizer.json"
PIECES_FILE = "sentencepiece.bpe.model"
# Any tokenizer whose rules are all in tokenizer.json.
GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
_CLASSES = {
    "bert": ("Bert", "DistilBert", "Electra", "MobileBert"),
    "distilbert": ("DistilBert", "Bert"),
    "roberta": ("Roberta",),
    "xlm-roberta": ("XLMRoberta",),
}
_WORD_PIECE_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_BYTE_PAIR_TOKENS = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
# Settings that hold tokens which are found in a text before it is split.
_ADDED = (
    "added_tokens_decoder",
    "additional_special_tokens",
    "extra_special_tokens",
    "never_split",
)
_READ = {
    *("tokenizer_class", "do_lower_case", "strip_accents", "tokenize_chinese_chars"),
    *("add_prefix_space", *_ADDED, *_WORD_PIECE_TOKENS, *_BYTE_PAIR_TOKENS),
}


@dataclasses.dataclass(frozen=True)
class WordPieceRules:
    """A WordPiece tokenizer.

    Attributes:
        family: "bert" or "distilbert".
        vocabulary: Tokens in index order.
        lowercase: Whether capitals become small letters.
        strip_accents: Whether accents are dropped.
    """

    family: str
    vocabulary: list[str]
    lowercase: bool
    strip_accents: bool


@dataclasses.dataclass(frozen=True)
class BytePairRules:
    """A byte-pair tokenizer.

    Attributes:
        vocabulary: Tokens and their indices.
        merges: Pairs to merge, with a blank between, in their order.
        add_prefix_space: Whether a text starts with a blank.
    """

    vocabulary: dict[str, int]
    merges: list[str]
    add_prefix_space: bool


@dataclasses.dataclass(frozen=True)
class PiecesFile:
    """A SentencePiece tokenizer.

    Attributes:
        path: Its model file.
    """

    path: Path


Rules = WordPieceRules | BytePairRules | PiecesFile


def read_rules(folder: Path, config: JsonObject) -> Rules:
    """The tokenizer of a folder.

    Raises:
        ModelError: Its files are missing, or ask for what tfkd does not do.
    """
    family = config["model_type"]
    settings, rules = (read_object(folder / name) for name in (CONFIG_FILE, TOKENIZER_FILE))
    is_generic = _check_class(folder, family, config, settings, bool(rules))
    TOKENIZER_KEYS.check(folder / CONFIG_FILE, settings, _READ)
    if family == "xlm-roberta":
        known = list(_BYTE_PAIR_TOKENS.values())
        _check_tokens(folder, settings, rules, _BYTE_PAIR_TOKENS, known)
        return _pieces(folder)
    if family == "roberta":
        return _byte_pairs(folder, settings, rules, is_generic)
    return _word_pieces(family, folder, settings, rules, is_generic)


def _check_class(
    folder: Path, family: str, config: JsonObject, settings: JsonObject, has_rules: bool
) -> bool:
    """Refuses another kind of tokenizer; whether it is one whose rules are in its file alone."""
    known = [f"{name}Tokenizer{end}" for name in _CLASSES[family] for end in ("", "Fast")]
    name = settings.get("tokenizer_class") or config.get("tokenizer_class")
    if name is None or name in known:
        return False
    if name in GENERIC and has_rules:
        return True
    raise ModelError(
        f"Expected tokenizer_class of {folder} to be one of {', '.join(known)}"
        f"{'' if has_rules else f', or a file {TOKENIZER_FILE}'}. Received: {shown(name)}. Its "
        "tokens would be others than those the model was trained with."
    )


def _word_pieces(
    family: str, folder: Path, settings: JsonObject, rules: JsonObject, is_generic: bool
) -> WordPieceRules:
    path = folder / TOKENIZER_FILE
    check_rules(path, rules, WORD_PIECE_RULES)
    check_template(path, rules, ("[CLS]", "[SEP]", "[SEP]"), is_generic)
    vocabulary = _vocabulary(folder, rules)
    _check_tokens(folder, settings, rules, _WORD_PIECE_TOKENS, vocabulary)
    normalizer = rules.get("normalizer") or {}
    # As in transformers, the class's own settings go before the file's.
    asked = {} if is_generic else settings
    _check_cjk(folder, asked, normalizer)
    lowercase = _flag(folder, asked, "do_lower_case", normalizer.get("lowercase"))
    if lowercase is None:
        # An uncased vocabulary has no capital letter, except in its special tokens.
        lowercase = all(word == word.lower() or word.startswith("[") for word in vocabulary)
    strip_accents = _flag(folder, asked, "strip_accents", normalizer.get("strip_accents"))
    strip_accents = lowercase if strip_accents is None else strip_accents
    return WordPieceRules(family, vocabulary, lowercase, strip_accents)


def _check_cjk(folder: Path, settings: JsonObject, normalizer: JsonObject) -> None:
    otherwise = normalizer.get("handle_chinese_chars")
    if _flag(folder, settings, "tokenize_chinese_chars", otherwise) is False:
        raise ModelError(
            f"Expected tokenize_chinese_chars of true in {folder}. Received: false. Its Chinese "
            "characters are no words of their own, which tfkd's tokenizers make of them. Give "
            "another model."
        )


def _flag(folder: Path, settings: JsonObject, key: str, otherwise: object) -> bool | None:
    """A setting that is true, false or not there."""
    value = settings.get(key)
    value = otherwise if value is None else value
    if value is not None and not isinstance(value, bool):
        raise ModelError(
            f"Expected {key} of true or false in {folder / CONFIG_FILE}. Received: {shown(value)}."
        )
    return value


def _vocabulary(folder: Path, rules: JsonObject) -> list[str]:
    """The tokens in index order, from tokenizer.json or from vocab.txt."""
    path = folder / "vocab.txt"
    indices = rules["model"].get("vocab") if rules else None
    if not path.is_file():
        if not rules:
            raise ModelError(f"Expected {path} or {TOKENIZER_FILE} beside it. Neither exists.")
        tokens = _in_order(folder / TOKENIZER_FILE, indices)
        return [token.rstrip() for token in tokens]
    tokens = _lines(path)
    if rules and indices != {token: index for index, token in enumerate(tokens)}:
        raise ModelError(
            f"Expected the same vocabulary in {path} and {TOKENIZER_FILE}. They differ. Take away "
            "the one that the model was not trained with."
        )
    # As it is written into a model folder and read again.
    return [token.rstrip() for token in tokens]


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            return [line.rstrip("\n") for line in lines]
    except UnicodeDecodeError as error:
        raise ModelError(f"Expected UTF-8 in {path}. Received: {error}.") from error


def _in_order(path: Path, indices: object) -> list[str]:
    """Tokens by index, of which none may be missing."""
    if not isinstance(indices, dict) or not all(type(each) is int for each in indices.values()):
        raise ModelError(
            f"Expected tokens and their indices as the vocabulary of {path}. Received: "
            f"{shown(indices)}."
        )
    tokens = sorted(indices, key=indices.__getitem__)
    gaps = [place for place, token in enumerate(tokens) if indices[token] != place]
    if gaps:
        raise ModelError(
            f"Expected an index for every token from 0 on in {path}. Received: none for {gaps[0]}, "
            "or two tokens with one."
        )
    return tokens


def _byte_pairs(
    folder: Path, settings: JsonObject, rules: JsonObject, is_generic: bool
) -> BytePairRules:
    path = folder / TOKENIZER_FILE
    check_rules(path, rules, BYTE_PAIR_RULES)
    check_template(path, rules, ("<s>", "</s> </s>", "</s>"), is_generic)
    files = folder / "vocab.json", folder / "merges.txt"
    if all(file.is_file() for file in files):
        vocabulary = read_object(files[0])
        merges = [line for line in _lines(files[1]) if not line.startswith("#version")]
        merges = [line for line in merges if line]
    elif rules:
        vocabulary = rules["model"].get("vocab")
        found = values_of(rules["model"].get("merges"))
        merges = [" ".join(map(str, pair)) if isinstance(pair, list) else pair for pair in found]
    else:
        raise ModelError(
            f"Expected vocab.json and merges.txt, or {TOKENIZER_FILE}, in {folder}. They do not "
            "exist."
        )
    _in_order(path if rules else files[0], vocabulary)
    for pair in merges:
        if not isinstance(pair, str) or len(pair.split(" ")) != 2:
            raise ModelError(
                f"Expected pairs of tokens to merge in {folder}. Received: {shown(pair)}."
            )
    _check_tokens(folder, settings, rules, _BYTE_PAIR_TOKENS, vocabulary)
    before = (rules.get("pre_tokenizer") or {}).get("add_prefix_space", False)
    asked = {} if is_generic else settings
    return BytePairRules(vocabulary, merges, bool(_flag(folder, asked, "add_prefix_space", before)))


def _pieces(folder: Path) -> PiecesFile:
    path = folder / PIECES_FILE
    if not path.is_file():
        raise ModelError(
            f"Expected {path}. It does not exist. Save the tokenizer with transformers 4, which "
            f"writes it; {TOKENIZER_FILE} alone is not enough for SentencePiece."
        )
    return PiecesFile(path)


def _check_tokens(
    folder: Path,
    settings: JsonObject,
    rules: JsonObject,
    special: dict[str, str],
    vocabulary: list[str] | dict[str, int],
) -> None:
    """Refuses special tokens of other names, and added ones, which are found in any text."""
    named = {**read_object(folder / "special_tokens_map.json"), **settings}
    for key, expected in special.items():
        token = _content(named.get(key))
        if token is not None and token != expected:
            raise ModelError(
                f"Expected {key} of {folder} to be {expected}. Received: {shown(token)}."
            )
    missing = sorted(set(special.values()) - set(vocabulary))
    if missing:
        raise ModelError(
            f"Expected {', '.join(missing)} in the vocabulary of {folder}. Give the files the "
            "model was trained with."
        )
    added = [*read_object(folder / "added_tokens.json"), *values_of(rules.get("added_tokens"))]
    for key in _ADDED:
        added += values_of(named.get(key))
    others = sorted({str(_content(token)) for token in added} - set(special.values()))
    if others:
        raise ModelError(
            f"Expected no tokens besides {', '.join(sorted(set(special.values())))} that are taken "
            f"out of a text before it is split in {folder}. Received: {shown(', '.join(others))}."
        )


def _content(token: object) -> object:
    return token.get("content") if isinstance(token, dict) else token
