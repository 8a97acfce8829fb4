"""A smaller vocabulary for a student: the tokens that the training text needs, and no others.

Longest match first makes it safe: a word whose pieces all stay is cut as before, and every other
word falls back on shorter pieces, at last on single characters, which stay for every script seen.
"""

import dataclasses
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfkd.data.examples import Texts
from tfkd.data.tokens import Tokens
from tfkd.errors import ConfigError
from tfkd.models.tokenizers import RESERVED_TOKENS, Tokenizer
from tfkd.models.wordpiece import CONTINUATION

COUNTED_AT_ONCE = 1 << 20
TEXTS_AT_ONCE = 512
BYTES_PER_VALUE = 4


@dataclasses.dataclass(frozen=True)
class TrimReport:
    """Savings and changes of a smaller vocabulary. Shares are in [0, 1].

    Attributes:
        tokens_before: Tokens of the whole vocabulary.
        tokens_after: Tokens that stay.
        table_bytes_before: Bytes of the student's float32 token table with all tokens.
        table_bytes_after: The same with the tokens that stay.
        lost_share: Share of the tokens in the training rows that are now spelled by others.
        num_texts: Held-out texts behind the figures below.
        same_share: Share of these texts that are tokenized as before.
        length_ratio: Their tokens after, divided by their tokens before.
        unknown_share_before: Share of their tokens that were [UNK].
        unknown_share_after: Share of their tokens that are [UNK].
    """

    tokens_before: int
    tokens_after: int
    table_bytes_before: int
    table_bytes_after: int
    lost_share: float
    num_texts: int
    same_share: float
    length_ratio: float
    unknown_share_before: float
    unknown_share_after: float

    def to_dict(self) -> dict[str, object]:
        """The fields as plain JSON values."""
        return dataclasses.asdict(self)

    def sentence(self) -> str:
        """The report in one sentence."""
        return (
            f"{self.tokens_after:,} of {self.tokens_before:,} tokens stay "
            f"(table {self.table_bytes_before / 1e6:.1f} -> {self.table_bytes_after / 1e6:.1f} MB "
            f"in float32): {self.lost_share:.1%} of the training tokens are lost, "
            f"{self.same_share:.1%} of {self.num_texts:,} held-out texts are tokenized as before, "
            f"length x {self.length_ratio:.3f}, "
            f"[UNK] {self.unknown_share_before:.2%} -> {self.unknown_share_after:.2%}."
        )


@dataclasses.dataclass(frozen=True)
class Trim:
    """A student's smaller vocabulary.

    Attributes:
        tokenizer: The tokenizer over the tokens that stay.
        rows: int64, shape `[tokens_after]`, rising: their rows in the whole vocabulary.
        report: `TrimReport`.
    """

    tokenizer: Tokenizer
    rows: np.ndarray
    report: TrimReport


def trim(
    tokenizer: Tokenizer,
    train: Tokens,
    held_out: Texts,
    table_width: int,
    vocabulary_size: int | None = None,
    min_count: int = 1,
) -> Trim:
    """Cuts a WordPiece vocabulary to what the training text needs. The same input, the same cut.

    Args:
        tokenizer: `Tokenizer` with the whole vocabulary and the student's length.
        train: `Tokens` of the training split, made by this tokenizer.
        held_out: Texts, or pairs, that are not in the training split.
        table_width: Integer. Columns of the student's token table.
        vocabulary_size: Integer. At most so many tokens, the most frequent ones.
        min_count: Integer. Tokens that occur less often in the training text are dropped.

    Raises:
        ConfigError: `vocabulary_size` is too small for the tokens that must stay.
        ModelError: The tokenizer is no WordPiece tokenizer.

    Example:

    ```python
    student = trim(teacher.tokenizer, tokens, texts, table_width=128, vocabulary_size=8000)
    student.tokenizer.vocabulary_size, student.report.sentence()
    ```
    """
    vocabulary = tokenizer.vocabulary
    counts = count_tokens(train, len(vocabulary))
    rows = kept_rows(vocabulary, counts, vocabulary_size, min_count)
    smaller = tokenizer.with_vocabulary([vocabulary[row] for row in rows])
    report = TrimReport(
        tokens_before=len(vocabulary),
        tokens_after=len(rows),
        table_bytes_before=len(vocabulary) * table_width * BYTES_PER_VALUE,
        table_bytes_after=len(rows) * table_width * BYTES_PER_VALUE,
        lost_share=float(1 - counts[rows].sum() / counts.sum()),
        **compare(tokenizer, smaller, rows, held_out),
    )
    return Trim(smaller, rows, report)


def count_tokens(tokens: Tokens, vocabulary_size: int) -> np.ndarray:
    """Count of each token, special tokens included: int64, shape `[vocabulary_size]`.

    Reads the memory-mapped tokens in parts, so that memory does not grow with the split.
    """
    counts = np.zeros(vocabulary_size, np.int64)
    for start in range(0, len(tokens.token_ids), COUNTED_AT_ONCE):
        part = tokens.token_ids[start : start + COUNTED_AT_ONCE]
        counts += np.bincount(part, minlength=vocabulary_size)
    return counts


def kept_rows(
    vocabulary: Sequence[str],
    counts: np.ndarray,
    vocabulary_size: int | None = None,
    min_count: int = 1,
) -> np.ndarray:
    """The rows of the tokens that stay, in their old order.

    Special tokens stay, and so do all single characters, alone or inside a word, that are no
    letters or belong to a script that occurs. Among the others the most frequent stay; of equally
    frequent ones the first.

    Args:
        vocabulary: Tokens in index order; pieces inside a word begin with "##".
        counts: Integers, shape `[len(vocabulary)]`. Count of each token.
        vocabulary_size: Integer. At most so many rows.
        min_count: Integer. Least count of a token that need not stay.

    Raises:
        ConfigError: `vocabulary_size` is too small for the tokens that must stay.

    Example:

    >>> kept_rows(["[PAD]", "[UNK]", "a", "ab", "##b", "ж"], np.array([0, 0, 0, 3, 0, 0]))
    array([0, 1, 2, 3, 4])
    """
    ranked, needed = _ranked(vocabulary, counts, min_count)
    if vocabulary_size is not None and vocabulary_size < needed:
        raise ConfigError(
            f"Expected `vocabulary_size` of at least {needed}: the special tokens and the "
            "single characters of the scripts in the training text. Received: "
            f"vocabulary_size={vocabulary_size}."
        )
    return np.sort(ranked[:vocabulary_size])


def fitting_size(
    vocabulary: Sequence[str], counts: np.ndarray, row_bytes: int, num_bytes: float
) -> tuple[int, int]:
    """How many tokens of `kept_rows` so many bytes have room for, and the bytes they take.

    A token takes its row of the table and its spelling with a line end. Fewer tokens than must stay
    are never given: the bytes are then more than there are.

    Example:

    >>> fitting_size(["[PAD]", "a", "ab"], np.array([0, 1, 9]), row_bytes=8, num_bytes=30)
    (2, 24)
    """
    ranked, needed = _ranked(vocabulary, counts, 1)
    taken = np.cumsum([row_bytes + len(vocabulary[row].encode()) + 1 for row in ranked])
    size = max(int(np.searchsorted(taken, num_bytes, "right")), needed)
    return size, int(taken[size - 1])


def _ranked(
    vocabulary: Sequence[str], counts: np.ndarray, min_count: int
) -> tuple[np.ndarray, int]:
    """Rows of the tokens that may stay, the first to stay first, and how many must stay."""
    needed = _needed(vocabulary, counts)
    # The last key is the first to sort by: needed ones, then frequent ones, then the old order.
    order = np.lexsort((-counts, ~needed))
    return order[needed[order] | (counts[order] >= min_count)], int(needed.sum())


def compare(before: Tokenizer, after: Tokenizer, rows: np.ndarray, texts: Texts) -> dict[str, Any]:
    """Differences between two tokenizers on the same texts.

    Returns:
        The fields of `TrimReport` from `num_texts` on.
    """
    unknown = before.vocabulary.index("[UNK]")
    same = 0
    lengths, unknowns = np.zeros(2, np.int64), np.zeros(2, np.int64)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = texts[start : start + TEXTS_AT_ONCE]
        arrays = [tokenizer.encode(part, before.sequence_length) for tokenizer in (before, after)]
        token_ids = [arrays[0]["token_ids"], rows[arrays[1]["token_ids"]]]
        same += int((token_ids[0] == token_ids[1]).all(axis=1).sum())
        lengths += [int(each["padding_mask"].sum()) for each in arrays]
        unknowns += [int((ids == unknown).sum()) for ids in token_ids]
    return {
        "num_texts": len(texts),
        "same_share": same / len(texts),
        "length_ratio": float(lengths[1] / lengths[0]),
        "unknown_share_before": float(unknowns[0] / lengths[0]),
        "unknown_share_after": float(unknowns[1] / lengths[1]),
    }


def _needed(vocabulary: Sequence[str], counts: np.ndarray) -> np.ndarray:
    """Tokens that stay whatever their count: bool, shape `[len(vocabulary)]`."""
    spellings = [token.removeprefix(CONTINUATION) or token for token in vocabulary]
    special = np.isin(vocabulary, RESERVED_TOKENS)
    letters = {
        letter for row in np.flatnonzero((counts > 0) & ~special) for letter in spellings[row]
    }
    scripts = {_script(letter) for letter in letters} | {""}
    single = [len(spelling) == 1 and _script(spelling) in scripts for spelling in spellings]
    return special | np.array(single)


def _script(character: str) -> str:
    """LATIN, CYRILLIC, CJK, ...: the first word of a letter's or mark's name; "" for all others.

    Python's Unicode tables have no script property; the names begin with it.
    """
    if unicodedata.category(character)[0] not in "LM":
        return ""
    return unicodedata.name(character, "").replace("-", " ").split(" ")[0]
