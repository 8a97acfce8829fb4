"""Times contenders on the same texts, taking turns in one process, and puts the rows together.

Milliseconds of a busy machine wobble; the ratios of one interleaved run hold. Nothing here knows
what a contender is.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfkd.errors import ConversionError
from tfkd.evaluation.table import Table, figures, words

# What the times of a table are divided by.
BASES = ("ONNX Runtime float32", "ONNX Runtime dynamic int8")
LOWEST_FILLING = 0.75
# [CLS] and [SEP].
NUM_SPECIAL_TOKENS = 2
INPUTS_A_TURN = 5


def unchanged(given: Any) -> Any:
    """What was given."""
    return given


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to ask the same weights.

    Attributes:
        name: Row of the table.
        ask: From what `prepare` gives to logits, `[1, num_outputs]`. This is timed.
        size_bytes: Bytes of its file, or of its weights where it has none.
        variant: What tells it from others of the same name; the fastest of them makes the row.
        prepare: From an input to what `ask` takes. This is not timed.
        tolerance: Largest difference of a logit to the Keras student, or None for int8.
    """

    name: str
    ask: Callable[[Any], np.ndarray]
    size_bytes: int
    variant: str = ""
    prepare: Callable[[Any], Any] = unchanged
    tolerance: float | None = None


def filled_texts(
    texts: Sequence[str],
    count_tokens: Callable[[str], int],
    length: int,
    num_texts: int,
) -> list[str]:
    """Real texts, joined and cut so that their tokens fill 75 to 100 % of a length.

    Text `i` starts at row `i` and goes on with the rows after it, word by word; a word that no
    longer fits is left out. The shares are spread evenly from the first text to the last.

    Args:
        texts: Strings. At least `num_texts` rows.
        count_tokens: From a word to its number of tokens.
        length: Integer. Tokens of a full row, special ones included.
        num_texts: Integer. How many texts to make.
    """
    shares = np.linspace(LOWEST_FILLING, 1.0, num_texts)
    budgets = [round(length * share) - NUM_SPECIAL_TOKENS for share in shares]
    return [
        " ".join(_fitting(_words(texts, row), count_tokens, budget))
        for row, budget in enumerate(budgets)
    ]


def _words(texts: Sequence[str], row: int) -> Iterator[str]:
    """The words of all rows, from one row on."""
    return itertools.chain.from_iterable(text.split() for text in [*texts[row:], *texts[:row]])


def _fitting(
    words: Iterator[str], count_tokens: Callable[[str], int], budget: int
) -> Iterator[str]:
    for word in words:
        size = count_tokens(word)
        if size <= budget:
            budget -= size
            yield word
        if budget == 0:
            return


def interleaved(
    contenders: Sequence[Contender],
    inputs: Sequence[Any],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[list[float]], list[np.ndarray]]:
    """Asks every contender for every input but the first, in turns.

    In its turn a contender answers a few inputs one after the other, as it would in service, after
    the input before them, which is not timed: what its neighbour left in the processor's caches is
    not its own cost. Then the next contender answers the same inputs. Every turn begins with
    another one.

    Args:
        contenders: `Contender`s.
        inputs: What their `prepare` takes.
        clock: Function that returns seconds. For tests.

    Returns:
        Seconds of each contender's calls, and its logits, float32 `[len(inputs) - 1, num_outputs]`;
        both in the order of `contenders`.
    """
    prepared = [[contender.prepare(given) for given in inputs] for contender in contenders]
    seconds: list[list[float]] = [[] for _ in contenders]
    answers: list[list[np.ndarray]] = [[] for _ in contenders]
    for turn, first in enumerate(range(1, len(inputs), INPUTS_A_TURN)):
        for place in range(len(contenders)):
            index = (place + turn) % len(contenders)
            ask = contenders[index].ask
            ask(prepared[index][first - 1])
            for given in prepared[index][first : first + INPUTS_A_TURN]:
                start = clock()
                answer = ask(given)
                seconds[index].append(clock() - start)
                answers[index].append(answer)
    return seconds, [np.concatenate(logits) for logits in answers]


def timed_rows(
    contenders: Sequence[Contender], inputs: Sequence[Any], reference: np.ndarray, num_warm: int
) -> list[dict[str, Any]]:
    """One row a contender: median milliseconds, bytes, and nearness to the Keras student.

    Args:
        contenders: `Contender`s.
        inputs: What their `prepare` takes.
        reference: The Keras student's logits of the inputs, float32 `[len(inputs), num_outputs]`.
        num_warm: Integer, at least 1. How many inputs come first and are not timed.

    Raises:
        ConversionError: A float32 contender does not give the Keras student's logits.
    """
    seconds, answers = interleaved(contenders, inputs)
    return [
        {
            "contender": contender.name,
            "variant": contender.variant,
            "size_bytes": contender.size_bytes,
            "p50_ms": 1000 * float(np.median(times[num_warm - 1 :])),
            "num_calls": len(times) - num_warm + 1,
            "agreement": float((logits.argmax(1) == reference[1:].argmax(1)).mean()),
            "max_logit_difference": _difference(contender, logits, reference[1:]),
        }
        for contender, times, logits in zip(contenders, seconds, answers, strict=True)
    ]


def _difference(contender: Contender, logits: np.ndarray, reference: np.ndarray) -> float:
    difference = float(np.abs(logits - reference).max())
    # A NaN is not below the tolerance either.
    if contender.tolerance is None or difference <= contender.tolerance:
        return difference
    raise ConversionError(
        f"Expected {contender.name} to give the Keras student's logits. Received: {difference:.2g} "
        f"away ({contender.variant}). It would be another model's time: see how its weights are "
        "set."
    )


def markdown_tables(measured: Sequence[dict[str, Any]]) -> str:
    """One table a model: milliseconds and their ratios to those of `BASES`, column by column.

    Args:
        measured: Rows of `timed_rows` with `model` and `column`. The fastest variant of a contender
            makes its cell, the smallest its bytes.
    """
    models = dict.fromkeys(row["model"] for row in measured)
    tables = [_table([row for row in measured if row["model"] == model]) for model in models]
    return "\n\n".join(
        f"**{model}**\n\n{table}" for model, table in zip(models, tables, strict=True)
    )


def _table(measured: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(row["column"] for row in measured))
    fastest: dict[tuple[str, str], float] = {}
    for row in measured:
        key = (row["contender"], row["column"])
        fastest[key] = min(row["p50_ms"], fastest.get(key, row["p50_ms"]))
    names = list(dict.fromkeys(row["contender"] for row in measured))
    by_name = {name: [row for row in measured if row["contender"] == name] for name in names}
    sizes = [min(row["size_bytes"] for row in own) / 1e6 for own in by_name.values()]
    agreements = [
        min((row["agreement"] for row in own if row["agreement"] is not None), default=None)
        for own in by_name.values()
    ]
    return Table(
        [
            words("", names),
            figures("MB", sizes, "{:.2f}"),
            figures("agreement", agreements, "{:.3f}"),
            *(
                figures(column, [_cell(fastest, name, column) for name in names])
                for column in columns
            ),
        ]
    ).markdown()


def _cell(fastest: dict[tuple[str, str], float], name: str, column: str) -> str | None:
    if (name, column) not in fastest:
        return None
    milliseconds = fastest[name, column]
    ratios = " / ".join(f"{milliseconds / fastest[base, column]:.2f}" for base in BASES)
    return f"{milliseconds:.3f} ms ({ratios})"
