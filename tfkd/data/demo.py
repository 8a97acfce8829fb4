"""The built-in data set: generated newswire text whose true class probabilities are known.

A text is drawn from a small language of made-up words. Its length, sentence shape, function words
and names say nothing about the class; topic words do, and so do pairs of a modifier and the head
that follows it, which say something only in that order. Every word belongs to one pool, so the
probability of a class given a text is a sum over its words: the best possible accuracy and the
right calibration are known, and a trained model can be held against them.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from tfkd.data.examples import SINGLE_LABEL, Dataset, Example

LABEL_NAMES = ("politics", "business", "science", "health")
NUM_CLASSES = len(LABEL_NAMES)
# `best_accuracy()`, which takes a second.
BEST_ACCURACY = 0.937
MIN_WORDS, MAX_WORDS = 8, 40

# The class given one topic word, by the word's home class. Rows and columns sum to 1, so no class
# has more topic words than another; related classes share theirs.
TOPIC_AFFINITY = np.array(
    [
        [0.77, 0.13, 0.05, 0.05],
        [0.13, 0.77, 0.05, 0.05],
        [0.05, 0.05, 0.77, 0.13],
        [0.05, 0.05, 0.13, 0.77],
    ]
)
# The share of heads from the group that class and modifier group point to, see `_head_shares`.
PAIR_AFFINITY = 0.58

_LANGUAGE_SEED = 1851
_BLOCK_ROWS = 512
# Mandelbrot's addition to the rank: without it the first word of a pool crowds out the others.
_RANK_SHIFT = 2.7
_SPLITS = ("train", "validation", "test", "reference")

# Pools of words in id order: size and Zipf exponent. Modifiers and heads are few, so that 8,000
# texts show each pair often enough to be learnt.
_POOLS = {
    "function": (60, 1.1),
    "verb": (500, 1.0),
    "noun": (1400, 1.0),
    "name": (600, 0.9),
    "topic": (200, 0.8),
    "modifier": (12, 0.3),
    "head": (12, 0.3),
}
_FUNCTION, _VERB, _NOUN, _NAME, _TOPIC, _MODIFIER, _HEAD = range(len(_POOLS))
# What follows a word of each pool, columns as in _POOLS. Only a modifier brings a head.
_NEXT_POOL = np.array(
    [
        [0.08, 0.02, 0.28, 0.09, 0.42, 0.11, 0.00],
        [0.52, 0.00, 0.10, 0.06, 0.25, 0.07, 0.00],
        [0.46, 0.22, 0.08, 0.03, 0.18, 0.03, 0.00],
        [0.24, 0.52, 0.04, 0.14, 0.06, 0.00, 0.00],
        [0.46, 0.22, 0.10, 0.03, 0.16, 0.03, 0.00],
        [0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 1.00],
        [0.52, 0.26, 0.08, 0.02, 0.12, 0.00, 0.00],
    ]
)
_FIRST_POOL = np.array([0.34, 0.00, 0.20, 0.24, 0.14, 0.08, 0.00])

_ONSETS = "b br d dr f fl g gr h j k kl l m n p pl pr r s sk st t tr v w z".split()
_VOWELS = "a a a e e e i i o o u u ai ea ou".split()
_CODAS = ["", "", "", "", "", "l", "m", "n", "n", "r", "r", "s", "t", "nd", "st"]
_ENDINGS = {"verb": ["ed", "ing", "es", "ates"], "name": ["ov", "ia", "ton", "enko", "ara", "ell"]}

# Ways a word is written, as offsets into the table of written words.
_PLAIN, _CAPITAL, _COMMA, _FULL_STOP = range(4)


def demo_dataset(
    seed: int = 0, num_train: int = 8000, num_validation: int = 1000, num_test: int = 2000
) -> Dataset:
    """The generated data set. Row i of a split depends on the seed, the split and i alone.

    Labels are drawn first, evenly, and the text from the label, so the labels are as uncertain as
    `posterior` says. Another seed gives other texts of the same language.

    Raises:
        ValueError: The seed is negative or a split would be empty.

    Example:

    >>> next(iter(demo_dataset().splits["train"])).label in range(4)
    True
    """
    if seed < 0:
        raise ValueError(f"Expected `seed` to be 0 or more. Received: seed={seed}.")
    sizes = {"train": num_train, "validation": num_validation, "test": num_test}
    for split, size in sizes.items():
        if size < 1:
            raise ValueError(f"Expected `num_{split}` to be 1 or more. Received: {size}.")
    splits = {split: GeneratedSplit(seed, split, size) for split, size in sizes.items()}
    said = (
        f"best possible accuracy: {BEST_ACCURACY:.3f}, since the texts are drawn by known chances"
    )
    return Dataset(
        "demo", SINGLE_LABEL, LABEL_NAMES, 1, "accuracy", splits, findings=lambda: (said,)
    )


def posterior(texts: Sequence[str]) -> np.ndarray:
    """The true probability of each class given each text.

    By Bayes' rule with even classes: every factor of the text's probability that is the same in
    all classes cancels, and the factors of topic words and of modifier-head pairs remain.

    Raises:
        ValueError: A word is not of the demo set.

    Example:

    >>> posterior([next(iter(demo_dataset().splits["test"])).texts[0]]).shape
    (1, 4)
    """
    language = _language()
    rows = [_word_ids(text, row, language) for row, text in enumerate(texts)]
    row_of_word = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    words = np.array(list(itertools.chain.from_iterable(rows)), dtype=np.int64)
    log_likelihood = np.zeros((len(rows), NUM_CLASSES))
    np.add.at(log_likelihood, row_of_word, language.word_evidence[words])
    modifiers, heads = language.modifier_group[words[:-1]], language.head_group[words[1:]]
    pairs = (modifiers >= 0) & (heads >= 0) & (row_of_word[:-1] == row_of_word[1:])
    evidence = np.log(_head_shares()[modifiers[pairs], :, heads[pairs]])
    np.add.at(log_likelihood, row_of_word[:-1][pairs], evidence)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True, initial=-np.inf))
    return likelihood / likelihood.sum(axis=1, keepdims=True)


def best_accuracy(texts: Sequence[str] | None = None) -> float:
    """The expected accuracy of the best possible classifier: the mean of the largest posterior.

    Args:
        texts: Texts of the demo set. Default: 50,000 texts that are in no split, which gives the
            figure for the whole language with a standard error of 0.0006.
    """
    if texts is None:
        return _language_accuracy()
    return float(posterior(texts).max(axis=1).mean())


@functools.cache
def _language_accuracy() -> float:
    return best_accuracy([row.texts[0] for row in GeneratedSplit(0, "reference", 50_000)])


@dataclasses.dataclass(frozen=True)
class GeneratedSplit:
    """Rows of one split, made anew, block by block, each time they are asked for.

    Attributes:
        seed: Seed of the data set.
        split: train, validation, test, or reference for texts that are in none of them.
        num_rows: Number of rows.
    """

    seed: int
    split: str
    num_rows: int

    def __len__(self) -> int:
        return self.num_rows

    def __iter__(self) -> Iterator[Example]:
        for start in range(0, self.num_rows, _BLOCK_ROWS):
            key = [self.seed, _SPLITS.index(self.split), start // _BLOCK_ROWS]
            labels, texts = _block(np.random.default_rng(key))
            rows = zip(labels, texts, strict=True)
            for label, text in itertools.islice(rows, self.num_rows - start):
                yield Example((text,), label)


@dataclasses.dataclass(frozen=True)
class _Language:
    """The words and what each says. Ids run through the pools in the order of `_POOLS`."""

    ids: dict[str, int]
    written: np.ndarray  # str objects [4 * words]: plain, capital, comma, full stop
    pool_starts: np.ndarray  # int64 [pools]
    cumulative: tuple[np.ndarray, ...]  # per pool float64 [rows, words of the pool], by _rows
    word_evidence: np.ndarray  # float64 [words, classes]
    modifier_group: np.ndarray  # int64 [words], -1 for other words
    head_group: np.ndarray  # int64 [words], -1 for other words


@functools.cache
def _language() -> _Language:
    words = _words(np.random.default_rng(_LANGUAGE_SEED))
    starts = np.cumsum([0] + [size for size, _ in _POOLS.values()])[:-1]
    evidence = np.zeros((len(words), NUM_CLASSES))
    groups = np.full((2, len(words)), -1)
    shares = []
    for pool, (size, exponent) in enumerate(_POOLS.values()):
        group, rank = np.arange(size) % NUM_CLASSES, np.arange(size)
        if pool in (_TOPIC, _MODIFIER, _HEAD):
            # Four words share a rank, one of each group: the groups are equally frequent.
            rank = rank // NUM_CLASSES * NUM_CLASSES
        weights = (rank + _RANK_SHIFT) ** -exponent
        by_row = np.ones((1, size))
        span = slice(starts[pool], starts[pool] + size)
        if pool == _TOPIC:
            by_row = TOPIC_AFFINITY[:, group]
            evidence[span] = np.log(by_row.T)
        elif pool == _MODIFIER:
            groups[0, span] = group
        elif pool == _HEAD:
            groups[1, span] = group
            by_row = _head_shares().reshape(-1, NUM_CLASSES)[:, group]
        shares.append(_cumulative(by_row * weights))
    return _Language(
        ids={word.lower(): index for index, word in enumerate(words)},
        written=_written(words),
        pool_starts=starts,
        cumulative=tuple(shares),
        word_evidence=evidence,
        modifier_group=groups[0],
        head_group=groups[1],
    )


def _head_shares() -> np.ndarray:
    """Share of each head group, float64 [modifier group, class, head group].

    Each class turns the modifier's group by its own step: over all modifiers every class uses
    every head equally often, so neither word alone says anything.
    """
    modifier, label, head = np.indices((NUM_CLASSES,) * 3)
    is_favoured = (modifier + label) % NUM_CLASSES == head
    return np.where(is_favoured, PAIR_AFFINITY, (1 - PAIR_AFFINITY) / (NUM_CLASSES - 1))


def _cumulative(weights: np.ndarray) -> np.ndarray:
    cumulative = np.cumsum(weights, axis=-1)
    return cumulative / cumulative[..., -1:]


def _words(random: np.random.Generator) -> list[str]:
    """Made-up words, all different, in id order: short function words, longer others."""
    words: dict[str, None] = {}
    for pool, (size, _) in _POOLS.items():
        wanted = len(words) + size
        while len(words) < wanted:
            num_syllables = 1 if pool == "function" else int(random.integers(2, 4))
            word = "".join(
                str(random.choice(part))
                for _ in range(num_syllables)
                for part in (_ONSETS, _VOWELS, _CODAS)
            )
            if pool in _ENDINGS:
                word = word.rstrip("aeiou") + str(random.choice(_ENDINGS[pool]))
            if len(word) <= (3 if pool == "function" else 9):
                words.setdefault(word)
    names = range(*np.cumsum([0] + [size for size, _ in _POOLS.values()])[[_NAME, _NAME + 1]])
    return [word.capitalize() if i in names else word for i, word in enumerate(words)]


def _written(words: list[str]) -> np.ndarray:
    capitals = [word.capitalize() for word in words]
    commas, full_stops = [word + "," for word in words], [word + "." for word in words]
    return np.array([*words, *capitals, *commas, *full_stops], dtype=object)


def _block(random: np.random.Generator) -> tuple[list[int], list[str]]:
    """Labels and texts of one block of rows."""
    language = _language()
    labels = random.integers(NUM_CLASSES, size=_BLOCK_ROWS)
    lengths = random.integers(MIN_WORDS, MAX_WORDS + 1, size=_BLOCK_ROWS)
    pools = _pools(random, lengths)
    words = np.zeros_like(pools)
    uniform = random.random(pools.shape)
    for pool in range(len(_POOLS)):
        where = np.nonzero(pools == pool)
        row = np.zeros(len(where[0]), dtype=np.int64)
        if pool == _TOPIC:
            row = labels[where[0]]
        elif pool == _HEAD:
            modifiers = language.modifier_group[words[where[0], where[1] - 1]]
            row = modifiers * NUM_CLASSES + labels[where[0]]
        cumulative = language.cumulative[pool]
        # Rows of the table are laid end to end, one unit apart, to search all of them at once.
        table = (cumulative + np.arange(len(cumulative))[:, None]).ravel()
        found = np.searchsorted(table, uniform[where] + row, side="right")
        chosen = np.minimum(found - row * cumulative.shape[1], cumulative.shape[1] - 1)
        words[where] = language.pool_starts[pool] + chosen
    written = language.written[words + _styles(random, pools, lengths) * len(language.ids)]
    rows = zip(written.tolist(), lengths.tolist(), strict=True)
    return labels.tolist(), [" ".join(row[:length]) for row, length in rows]


def _pools(random: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
    """The pool of each word, int64 [rows, MAX_WORDS]: a chain that knows nothing of the class."""
    uniform = random.random((MAX_WORDS, _BLOCK_ROWS, 1))
    pools = np.empty((MAX_WORDS, _BLOCK_ROWS), dtype=np.int64)
    pools[0] = (uniform[0] >= _cumulative(_FIRST_POOL)).sum(axis=-1)
    following = _cumulative(_NEXT_POOL)
    for position in range(1, MAX_WORDS):
        pools[position] = (uniform[position] >= following[pools[position - 1]]).sum(axis=-1)
    last = lengths - 1, np.arange(_BLOCK_ROWS)
    # A modifier whose head would fall behind the end becomes a noun.
    pools[last] = np.where(pools[last] == _MODIFIER, _NOUN, pools[last])
    return pools.T


def _styles(random: np.random.Generator, pools: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Style of each word, int64 [rows, MAX_WORDS]: two sentences from 20 words on."""
    rows = np.arange(_BLOCK_ROWS)
    comma = (random.random(pools.shape) < 0.06) & ((pools == _NOUN) | (pools == _TOPIC))
    styles = np.where(comma, _COMMA, _PLAIN)
    styles[rows, lengths - 1] = _FULL_STOP
    styles[:, 0] = _CAPITAL
    end = (lengths * (0.4 + 0.2 * random.random(_BLOCK_ROWS))).astype(np.int64)
    is_long = (lengths >= 20) & (pools[rows, end] != _MODIFIER)
    styles[rows[is_long], end[is_long]] = _FULL_STOP
    styles[rows[is_long], end[is_long] + 1] = _CAPITAL
    return styles


def _word_ids(text: str, row: int, language: _Language) -> list[int]:
    words = text.lower().replace(",", " ").replace(".", " ").split()
    try:
        return [language.ids[word] for word in words]
    except KeyError as error:
        raise ValueError(
            f"Expected texts of the demo set. Received: the word {error} in row {row}. "
            "Only generated words have a known probability."
        ) from error
