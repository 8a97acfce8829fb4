"""WordPiece tokenizers of model folders, read without TensorFlow; other kinds are told apart."""

import operator
from pathlib import Path
from typing import TypedDict

from tfkd import artifacts, seals
from tfkd.errors import ArtifactError
from tfkd.models.wordpiece import CONTINUATION, UNKNOWN, WordPieceTokenizer

SETTINGS_FILE, VOCABULARY_FILE = "preprocessor.json", "vocabulary.txt"
# What settings of another shape, or files that are no vocabulary, make of their readers.
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OSError, RecursionError)
# Preprocessors of KerasHub, and whether their models take segment ids.
FAMILIES = {
    "BertTextClassifierPreprocessor": True,
    "DistilBertTextClassifierPreprocessor": False,
}
PAIR_TRUNCATION = "round_robin"
# Settings of KerasHub that nothing but its own code follows when they differ.
_TOKENIZER_SETTINGS = {
    "split": True,
    "suffix_indicator": CONTINUATION,
    "oov_token": UNKNOWN,
    "special_tokens_in_strings": False,
}


def load_if_fast(folder: Path) -> WordPieceTokenizer | None:
    """The tokenizer of a model folder, or None when it is one that only KerasHub can run.

    Raises:
        ArtifactError: The folder holds no tokenizer, or a file in it was changed.
    """
    settings = read_settings(folder)
    try:
        options = fast_options(settings)
        if options is None:
            return None
        with (folder / VOCABULARY_FILE).open(encoding="utf-8") as lines:
            return WordPieceTokenizer([line.rstrip() for line in lines], **options)
    except UNREADABLE as error:
        raise ArtifactError(
            f"Expected tokenizer files in {folder}. They cannot be read: {error}"
        ) from error


class FastOptions(TypedDict):
    """Options of `WordPieceTokenizer` besides the vocabulary."""

    sequence_length: int
    lowercase: bool
    has_segments: bool


def read_settings(folder: Path) -> artifacts.JsonObject:
    """The settings of a model folder's tokenizer, as Keras serializes them.

    Raises:
        ArtifactError: They are missing, or a file of the tokenizer was changed.
    """
    settings = seals.read_record(folder / SETTINGS_FILE)
    seals.check_files(folder / SETTINGS_FILE)
    return settings


def fast_options(settings: artifacts.JsonObject) -> FastOptions | None:
    """Options of `WordPieceTokenizer` besides the vocabulary, or None for another tokenizer.

    Args:
        settings: JSON object. A KerasHub preprocessor as Keras serializes it.
    """
    if settings["class_name"] not in FAMILIES:
        return None
    config = settings["config"]
    tokenizer = config["tokenizer"]["config"]
    same = all(tokenizer.get(name, value) == value for name, value in _TOKENIZER_SETTINGS.items())
    same = same and config.get("truncate", PAIR_TRUNCATION) == PAIR_TRUNCATION
    # Capitals without accents, or accents without capitals, is no form of tf_text's operator.
    if not same or tokenizer["lowercase"] != tokenizer["strip_accents"]:
        return None
    return {
        "sequence_length": operator.index(config["sequence_length"]),
        "lowercase": tokenizer["lowercase"],
        "has_segments": FAMILIES[settings["class_name"]],
    }
