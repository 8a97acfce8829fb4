"""What a run's models have wrong: choices of test rows to read, confusions, and their pictures."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfkd.evaluation.rows import TEACHER, Row
from tfkd.evaluation.table import Table, figures, words
from tfkd.reports.page import Browser
from tfkd.reports.plots import Picture, flip_picture, matrix_picture, reliability_picture
from tfkd.reports.predictions import (
    CONFIDENCE,
    LABEL,
    LABEL_ISSUE,
    OF_LABEL,
    ROW,
    SECOND_TEXT,
    TEXT,
    Predictions,
)

# More classes are a list of the most frequent confusions, not a picture.
MOST_CLASSES, MOST_CONFUSIONS = 30, 15
# With pictures and words the page stays under 5 MB.
MOST_TEXT_BYTES, LONGEST_TEXT = 3_000_000, 1_000
# Choices of test rows.
WRONG, LOST, DISAGREE = "wrong, most certain first", "wrong, teacher right", "not as the teacher"
DOUBTED, ALL = "label probably wrong", "all"


def answer_pictures(found: Predictions, names: Sequence[str], file: Row) -> list[Picture]:
    """Confusion, reliability and what quantization changed, of single labels.

    Args:
        found: `Predictions`.
        names: Strings. The classes.
        file: `Row` of the file that is shipped.
    """
    arms = [name for name in (TEACHER, "control", "student", "model") if name in found.models]
    main = arms[-1]
    pictures = []
    if len(names) <= MOST_CLASSES:
        counted = {name: _matrix(found, name, names) for name in (TEACHER, main) if name in arms}
        for name, matrix in counted.items():
            note = "Test rows by label and answer; the diagonal is right."
            pictures.append(matrix_picture(f"Confusion of the {name}", note, names, matrix))
        if len(counted) == 2 and found.is_answered(TEACHER).all():
            note = (
                f"How many more test rows the {main} has there than the teacher; below zero, fewer."
            )
            change = counted[main] - counted[TEACHER]
            title = f"Confusion, {main} minus teacher"
            pictures.append(matrix_picture(title, note, names, change))
    models = [*arms, *([file.recipe] if file.recipe in found.models else [])]
    pictures.append(reliability_picture("How sure, and how often right", _sure(found, models)))
    if file.recipe in found.models and len(names) <= MOST_CLASSES:
        before, after = found.agree(main), found.agree(file.recipe)
        lost, won = (
            _counts(found.columns[LABEL][rows], names)
            for rows in (before & ~after, ~before & after)
        )
        if lost.any() or won.any():
            title = f"What {file.recipe} changes"
            pictures.append(flip_picture(title, names, lost, won))
    return pictures


def _sure(found: Predictions, models: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    sure = {}
    for name in models:
        heard = found.is_answered(name)
        sure[name] = (found.columns[f"{name}{CONFIDENCE}"][heard], found.agree(name)[heard])
    return sure


def _counts(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    return np.array([np.count_nonzero(labels == name) for name in names])


def _matrix(found: Predictions, model: str, names: Sequence[str]) -> np.ndarray:
    places = {name: place for place, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), int)
    for one, two in zip(found.columns[LABEL], found.columns[model], strict=True):
        if two is not None:
            matrix[places[one], places[two]] += 1
    return matrix


def confusions(found: Predictions, model: str) -> Table:
    """The most frequent pairs of a label and a wrong answer, with the teacher's count of them."""
    labels = found.columns[LABEL]
    pairs = {
        name: _pair_counts(labels, found.columns[name])
        for name in (model, TEACHER)
        if name in found.models
    }
    first = sorted(pairs[model].items(), key=lambda item: -item[1])[:MOST_CONFUSIONS]
    return Table(
        [
            words("Label", [one for (one, _), _ in first]),
            words("Taken for", [two for (_, two), _ in first]),
            *(
                figures(f"By the {name}", [counts.get(pair, 0) for pair, _ in first])
                for name, counts in pairs.items()
            ),
        ]
    )


def _pair_counts(labels: np.ndarray, answers: np.ndarray) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for pair in zip(labels, answers, strict=True):
        if pair[0] != pair[1] and pair[1] is not None:
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def choices(found: Predictions, model: str) -> dict[str, np.ndarray]:
    """Choices of test rows that are worth reading, as indices, those to read first first.

    Of scores all rows, by how far they are from the label or the teacher.

    Args:
        found: `Predictions`.
        model: String. Name of the model that is judged.
    """
    others = [LABEL, *([TEACHER] if TEACHER in found.models and model != TEACHER else [])]
    if found.is_scores:
        apart = [np.abs(found.columns[model] - found.columns[name]) for name in others]
        orders = [np.argsort(-far, kind="stable")[: np.isfinite(far).sum()] for far in apart]
        return dict(zip((WRONG, DISAGREE), orders, strict=False))
    sure, wrong = found.columns[f"{model}{CONFIDENCE}"], ~found.agree(model)

    def surest(rows: np.ndarray) -> np.ndarray:
        indices = np.flatnonzero(rows)
        return indices[np.argsort(-sure[indices], kind="stable")]

    chosen = {WRONG: surest(wrong)}
    if TEACHER in others:
        chosen[LOST] = surest(wrong & found.agree(TEACHER))
        chosen[DISAGREE] = surest(found.is_answered(TEACHER) & ~found.agree(model, TEACHER))
    if LABEL_ISSUE in found.columns:
        rows = np.flatnonzero(found.columns[LABEL_ISSUE])
        chosen[DOUBTED] = rows[np.argsort(found.columns[OF_LABEL][rows], kind="stable")]
    return chosen


def browser(found: Predictions, model: str) -> Browser:
    """The test texts with what the model and its teacher answer, as many as a page may hold.

    Args:
        found: `Predictions`.
        model: String. Name of the model that is judged.
    """
    chosen = {**choices(found, model), ALL: np.arange(len(found))}
    names = [ROW, TEXT, SECOND_TEXT, LABEL, model, f"{model}{CONFIDENCE}"]
    names += [TEACHER, f"{TEACHER}{CONFIDENCE}"] if model != TEACHER else []
    columns = {name: found.columns[name].tolist() for name in names if name in found.columns}
    places: dict[int, int] = {}
    rows: list[list[Any]] = []
    size = 0
    # What is worth reading is kept first.
    for index in dict.fromkeys(np.concatenate(list(chosen.values())).tolist()):
        row = [_cell(column[index]) for column in columns.values()]
        size += len(json.dumps(row))
        if size > MOST_TEXT_BYTES:
            break
        places[index] = len(rows)
        rows.append(row)
    filters = [
        (
            f"{'' if title in (DOUBTED, ALL) else f'{model}: '}{title}",
            [places[i] for i in kept if i in places],
        )
        for title, kept in ((title, indices.tolist()) for title, indices in chosen.items())
    ]
    heads = [name.replace(CONFIDENCE, ", sure").replace("_", " ").capitalize() for name in columns]
    return Browser(heads, rows, filters, _note(found, len(rows)))


def _note(found: Predictions, num_kept: int) -> str:
    parts = [f"Texts of more than {LONGEST_TEXT:,} characters are cut."]
    if num_kept < len(found):
        parts.append(
            f"{num_kept:,} of {len(found):,} test rows are on this page, those worth reading "
            "first; predictions.parquet has all of them."
        )
    if LABEL_ISSUE in found.columns:
        judge = TEACHER if TEACHER in found.models else "model"
        parts.append(
            f"A label is probably wrong where the {judge}, which was not trained on these rows, "
            "finds another class likely, and likelier (confident learning, Northcutt et al., "
            "2021, arXiv 1911.00068)."
        )
    return " ".join(parts)


def _cell(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}…"
    if isinstance(value, float):
        return None if value != value else round(value, 3)
    return value
