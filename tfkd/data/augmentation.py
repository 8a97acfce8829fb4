"""More text for the teacher to answer: altered copies of the training texts, without labels.

A student learns from the teacher's answer, so a text need not be true to a label, or good English,
as long as it is near what will be asked. Each copy is altered by words alone: those of other texts,
or near ones by a teacher's token table, in any language that writes words apart.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from tfkd.data.examples import Example

POOL_ROWS = 20_000
DROPPED, REPLACED, CUT = 0.1, 0.2, 0.25
# With near words.
NEAR_DROPPED, NEAR_REPLACED = 0.05, 0.3
# Altered copies where nobody says how many: as many as give so many rows, few of many, and more of
# few short texts, as long as the teacher has no more than so many tokens to read.
WANTED_ROWS, MOST_COPIES = 40_000, 8
WANTED_TOKENS, MOST_SHORT_COPIES = 500_000, 24
_LETTERS = re.compile(r"[^\W\d_]+")


def fitting_copies(num_rows: int, num_tokens: int) -> int:
    """Altered copies of so many training texts of so many tokens, where nobody says how many.

    Example:

    >>> [fitting_copies(num_rows, 12 * num_rows) for num_rows in (1_000, 3_000, 10_000, 30_000)]
    [24, 12, 3, 0]
    >>> fitting_copies(1_000, 60_000)
    8
    """
    wanted = WANTED_ROWS // num_rows - 1
    short = min(WANTED_TOKENS // max(num_tokens, 1) - 1, MOST_SHORT_COPIES)
    return max(min(wanted, max(short, MOST_COPIES)), 0)


def words_of(rows: Iterable[Example]) -> Iterator[str]:
    """All words of letters in the texts of rows, in lower case and as they are."""
    for example in rows:
        for text in example.texts:
            for word in _LETTERS.findall(text):
                yield word
                yield word.lower()


@dataclasses.dataclass(frozen=True)
class Augmented:
    """The rows of a split, then altered copies of all of them, then the next copies.

    Copies take turns: in the first, third ... each word is dropped with probability 0.1 or replaced
    by a word of the pool with probability 0.2, and a quarter of the texts are cut to a part of at
    least half their words; in the second, fourth ... the start of a text is joined to the end of
    another one. Of a pair, one text is altered. The pool is the first 20,000 rows, so frequent
    words replace often. A copy has the label of its row, which need not be true of it.

    With near words, each word that has some is replaced by one of them with probability 0.3, and
    any word dropped with probability 0.05, in every copy; the joining stays.

    Args:
        rows: Re-iterable of `Example`.
        copies: Integer. Altered copies of each row.
        seed: Integer. The same seed gives the same copies.
        near: Mapping from a word to what may stand in its place.

    Example:

    >>> rows = [Example(("a fine day at the sea",), 0), Example(("rain and no end of it",), 1)]
    >>> [example.texts[0] for example in Augmented(rows, copies=2, seed=0)][2:]
    ['it at the sea', 'end it', 'a fine day at the sea it', 'rain and of it']

    Reference: [Tang et al., 2019](https://arxiv.org/abs/1903.12136), who drop and replace words
    and sample n-grams; [Jiao et al., 2020](https://arxiv.org/abs/1909.10351), whose words are near.
    """

    rows: Iterable[Example]
    copies: int
    seed: int = 0
    near: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[Example]:
        pool: list[Example] = []
        for example in self.rows:
            if len(pool) < POOL_ROWS:
                pool.append(example)
            yield example
        for copy in range(self.copies):
            random = np.random.default_rng((self.seed, copy))
            for example in self.rows:
                side = int(random.integers(len(example.texts)))
                words = example.texts[side].split()
                other = pool[int(random.integers(len(pool)))].texts[side].split()
                altered = _joined(words, other, random) if copy % 2 else words
                if self.near:
                    altered = _near(altered, self.near, random)
                elif copy % 2 == 0:
                    altered = _altered(words, pool, random)
                texts = list(example.texts)
                texts[side] = " ".join(altered) or texts[side]
                yield Example(tuple(texts), example.label)


def _altered(words: list[str], pool: Sequence[Example], random: np.random.Generator) -> list[str]:
    """Some words dropped, some replaced, sometimes a part of it all."""
    kept = []
    for word, chance in zip(words, random.random(len(words)), strict=True):
        if chance >= DROPPED + REPLACED:
            kept.append(word)
        elif chance >= DROPPED:
            kept.append(_word(pool, random) or word)
    if random.random() < CUT and len(kept) > 1:
        length = int(random.integers((len(kept) + 1) // 2, len(kept) + 1))
        start = int(random.integers(len(kept) - length + 1))
        kept = kept[start : start + length]
    return kept


def _near(
    words: list[str], near: Mapping[str, Sequence[str]], random: np.random.Generator
) -> list[str]:
    """Some words replaced by near ones, what stands around their letters kept, and some dropped."""
    kept = []
    for word, chance in zip(words, random.random(len(words)), strict=True):
        letters = _LETTERS.search(word)
        found = near.get(letters[0]) or near.get(letters[0].lower()) if letters else None
        if found and letters and chance < NEAR_REPLACED:
            other = found[int(random.integers(len(found)))]
            kept.append(word[: letters.start()] + other + word[letters.end() :])
        elif chance < 1 - NEAR_DROPPED:
            kept.append(word)
    return kept


def _word(pool: Sequence[Example], random: np.random.Generator) -> str | None:
    """A word of a text of the pool."""
    texts = pool[int(random.integers(len(pool)))].texts
    words = texts[int(random.integers(len(texts)))].split()
    return words[int(random.integers(len(words)))] if words else None


def _joined(words: list[str], other: list[str], random: np.random.Generator) -> list[str]:
    """The start of one text and the end of another, at least a word of each that has one."""
    start = int(random.integers(1, len(words) + 1)) if words else 0
    end = int(random.integers(len(other))) if other else 0
    return words[:start] + other[end:]
