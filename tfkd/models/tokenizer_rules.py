"""What a tokenizer.json says beside the vocabulary, so far as tfkd's tokenizers do the same."""

from pathlib import Path
from typing import Any

from tfkd.artifacts import JsonObject
from tfkd.errors import ModelError, shown

# What the rules of tokenizer.json may be; a setting that is not there is KerasHub's own, too.
WORD_PIECE_RULES: dict[tuple[str, str], tuple[object, ...]] = {
    ("model", "type"): ("WordPiece",),
    ("model", "unk_token"): ("[UNK]",),
    ("model", "continuing_subword_prefix"): ("##",),
    ("model", "max_input_chars_per_word"): (100,),
    ("normalizer", "type"): ("BertNormalizer",),
    ("normalizer", "clean_text"): (True,),
    ("pre_tokenizer", "type"): ("BertPreTokenizer",),
    ("truncation", "direction"): ("Right",),
}
BYTE_PAIR_RULES: dict[tuple[str, str], tuple[object, ...]] = {
    ("model", "type"): ("BPE",),
    ("model", "dropout"): (0.0,),
    ("model", "continuing_subword_prefix"): ("",),
    ("model", "end_of_word_suffix"): ("",),
    ("model", "byte_fallback"): (False,),
    ("model", "ignore_merges"): (False,),
    ("normalizer", "type"): (),
    ("pre_tokenizer", "type"): ("ByteLevel",),
    ("pre_tokenizer", "use_regex"): (True,),
    ("truncation", "direction"): ("Right",),
}


def check_rules(
    path: Path, rules: JsonObject, known: dict[tuple[str, str], tuple[object, ...]]
) -> None:
    """Refuses rules that tfkd's tokenizers do not follow.

    Raises:
        ModelError: There is one.
    """
    if not rules:
        return
    for part in ("model", "normalizer", "pre_tokenizer"):
        needed = ("normalizer", "type") not in known or known[part, "type"]
        section = rules.get(part)
        if not isinstance(section, dict) and (section is not None or needed):
            raise ModelError(f"Expected {part} in {path}. Received: {shown(section)}.")
    for (part, key), values in known.items():
        section = rules.get(part)
        value = section.get(key) if isinstance(section, dict) else None
        if value is not None and value not in values:
            ours = " or ".join(map(repr, values)) or "nothing"
            raise ModelError(
                f"Expected {key} of {part} in {path} to be {ours}. Received: {shown(value)}. Its "
                "tokens would be others than those the model was trained with."
            )


def check_template(path: Path, rules: JsonObject, around: tuple[str, ...], needed: bool) -> None:
    """Refuses other special tokens around a text, or a pair, than the family's own.

    Args:
        path: Path of tokenizer.json.
        rules: JSON object in it; empty without the file.
        around: Tokens before a text, between two and at the end.
        needed: Boolean. Whether the file alone says it; else the class does where it is silent.

    Raises:
        ModelError: They are others.
    """
    post: Any = rules.get("post_processor")
    if not rules or (post is None and not needed):
        return
    first, between, last = around
    expected = {
        "single": [first, "A", last],
        "pair": [first, "A", *between.split(), "B", last],
    }
    received = _template(post) if isinstance(post, dict) else {}
    for form, tokens in expected.items():
        if received.get(form) != tokens:
            raise ModelError(
                f"Expected {' '.join(tokens)} as the {form} of post_processor in {path}. Received: "
                f"{' '.join(received.get(form, ())) or 'nothing'}."
            )


def _template(post: JsonObject) -> dict[str, list[str]]:
    """What a post-processor makes of one text, A, and of two, A and B."""
    if post.get("type") in ("BertProcessing", "RobertaProcessing"):
        start, end = (str([*values_of(post.get(key)), "?"][0]) for key in ("cls", "sep"))
        between = [end] if post["type"] == "BertProcessing" else [end, end]
        return {"single": [start, "A", end], "pair": [start, "A", *between, "B", end]}
    return {
        form: [
            str(part.get("id"))
            for each in values_of(post.get(form))
            for part in values_of(each)
            if isinstance(part, dict)
        ]
        for form in ("single", "pair")
    }


def values_of(value: object) -> list[Any]:
    """Those of a list or an object; of nothing none, of another value that one."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
