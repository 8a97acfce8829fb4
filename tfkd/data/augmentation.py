"""More text for the teacher to answer: altered copies of the training texts, without labels.

A student learns from the teacher's answer, so a text need not be true to a label, or good English,
as long as it is near what will be asked. Each copy is altered by words alone: those of other texts,
or near ones by what a teacher says of each, in any language that writes words apart.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from tfkd.data.examples import Example, example_of

POOL_ROWS = 20_000
DROPPED, REPLACED, CUT = 0.1, 0.2, 0.25
# With near words.
NEAR_DROPPED, NEAR_REPLACED = 0.05, 0.3
# Words of a snippet, and snippets of each word that a teacher knows.
SHORTEST_SNIPPET, LONGEST_SNIPPET, CONTEXTS = 2, 5, 3
# Altered copies where nobody says how many: as many as give so many rows, and few of many.
WANTED_ROWS, MOST_COPIES = 40_000, 8
_LETTERS = re.compile(r"[^\W\d_]+")


def fitting_copies(num_rows: int) -> int:
    """Altered copies of each of so many texts, where nobody says how many.

    Example:

    >>> [fitting_copies(num_rows) for num_rows in (1_000, 5_000, 10_000, 30_000)]
    [8, 7, 3, 0]
    """
    return max(min(WANTED_ROWS // num_rows - 1, MOST_COPIES), 0)


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
    words replace often. A copy has its row's weight and label, which need not be true of it.

    With near words, in every copy each word is replaced by a near one, if it has some,
    with probability 0.3 and dropped with probability 0.05; the joining stays.

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
                yield example_of(texts, example.label, None, example.weight)


@dataclasses.dataclass(frozen=True)
class Snippets:
    """Texts that bring in words which no training text has: for the teacher to answer.

    Each word alone, then each again in the place of one of the two to five words of a snippet of a
    training text, once a context.

    Args:
        rows: Re-iterable of `Example` with one text each, of which the first 20,000 are taken.
        words: The words.
        contexts: Integer. Snippets of each word.
        seed: Integer. The same seed gives the same texts.

    Example:

    >>> rows = [Example(("a fine day at the sea",), 0)]
    >>> list(Snippets(rows, ["rain", "sun"], contexts=1))
    ['rain', 'sun', 'fine day rain the sea', 'sun day at']
    """

    rows: Iterable[Example]
    words: Sequence[str]
    contexts: int = CONTEXTS
    seed: int = 0

    def __iter__(self) -> Iterator[str]:
        yield from self.words
        pool = [row.texts[0].split() for row in itertools.islice(self.rows, POOL_ROWS)]
        for context in range(self.contexts):
            random = np.random.default_rng((self.seed, context))
            for word in self.words:
                text = pool[int(random.integers(len(pool)))]
                length = int(random.integers(SHORTEST_SNIPPET, LONGEST_SNIPPET + 1))
                start = int(random.integers(max(len(text) - length, 0) + 1))
                snippet = text[start : start + length]
                snippet[int(random.integers(len(snippet)))] = word
                yield " ".join(snippet)


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
