"""The questions of a study and their answers: who is compared with whom, by the headline metric.

Each student stands against its control, against itself taught by others, against other students
taught by the same, and against each of its own teachers; each file that may differ stands against
its Keras model. Every question is judged by itself at the 5% level.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfkd.data.tokens import is_answered
from tfkd.evaluation.resampling import answers_of, columns
from tfkd.evaluation.seeds import SeedsComparison, compare_seeds
from tfkd.studies.plan import CONTROL, StudyPlan
from tfkd.studies.scores import KERAS, Scores

# Nothing to prove: the same logits but for the last digits.
EXACT = ("float32", "float16")
# A model's name in the study and one of its files.
Side = tuple[str, str]


def questions(plan: StudyPlan) -> list[tuple[Side, Side]]:
    """Pairs to compare on one data set: control, other teachers, other students, teachers, files.

    Args:
        plan: `StudyPlan` of one data set; see `StudyPlan.of`.

    Example:
    >>> questions(plan)[0]
    (('bert_tiny-A', 'keras'), ('bert_tiny-control', 'keras'))
    """
    arms = {name: seeds[0] for name, seeds in plan.seeds_of().items()}
    taught = {name: arm for name, arm in arms.items() if arm.teachers}
    rivals = list(itertools.combinations(taught.values(), 2))
    pairs = [
        *((name, f"{arm.student}-{CONTROL}") for name, arm in taught.items()),
        *((a.name, b.name) for a, b in rivals if a.student == b.student),
        *(
            (a.name, b.name)
            for a, b in rivals
            if a.student != b.student and (a.teachers, a.mixing) == (b.teachers, b.mixing)
        ),
        *((name, teacher) for name, arm in taught.items() for teacher in arm.teachers),
    ]
    files = [
        ((name, recipe), (name, KERAS))
        for name, arm in taught.items()
        for recipe in arm.config.recipes
        if recipe not in EXACT
    ]
    return [((a, KERAS), (b, KERAS)) for a, b in pairs] + files


def answered(plan: StudyPlan, scored: Mapping[str, Sequence[Scores]]) -> list[dict[str, Any]]:
    """Compares the pairs of `questions`.

    Args:
        plan: `StudyPlan` of one data set.
        scored: `Scores` by name: of a teacher alone, of an arm one a seed.

    Returns:
        One a question: `a`, `b`, the fields of `SeedsComparison`, and `sentence`.
    """
    teachers = {item.name for item in plan.teachers}
    found = []
    for a, b in questions(plan):
        sides = _sides(scored, a, b)
        if not sides[0]:
            continue
        first = sides[0][0]
        metric, task = first.dataset["metric"], first.dataset["task"]
        named = list(zip(sides, (a, b), strict=True))
        asked = [one.logits[kind] for side, (_, kind) in named for one in side]
        rows = is_answered(np.stack(asked)).all(axis=0)
        labels = columns(task, first.labels[rows], first.logits[KERAS].shape[1])
        answers_a, answers_b = (
            np.stack([answers_of(task, one.logits[kind][rows], one.thresholds) for one in side])
            for side, (_, kind) in named
        )
        outcome = compare_seeds(metric, labels, answers_a, answers_b)
        names = _called(*a), _called(*b)
        sentence = in_words(outcome, *names, metric, b[0] in teachers)
        found.append({"a": names[0], "b": names[1], **outcome.to_dict(), "sentence": sentence})
    return found


def in_words(outcome: SeedsComparison, a: str, b: str, metric: str, is_teacher: bool) -> str:
    """An answer in words; against a teacher also the share of its figure that a reaches.

    Args:
        outcome: `SeedsComparison` of a with b.
        a: String. Name of a student or of one of its files.
        b: String. Name of what it is compared with.
        metric: String. The compared metric.
        is_teacher: Boolean. Whether b is a's teacher.
    """
    if not is_teacher:
        return outcome.sentence(a, b, metric)
    sentence = outcome.sentence(a, f"its teacher {b}", metric)
    if outcome.mean_b > 0:
        share = outcome.mean_a / outcome.mean_b
        sentence += f" It reaches {share:.1%} of the teacher's figure."
    return sentence


def _sides(
    scored: Mapping[str, Sequence[Scores]], a: Side, b: Side
) -> tuple[Sequence[Scores], Sequence[Scores]]:
    """The scores of both; of a file and its Keras model those of the seeds that have the file."""
    if a[0] != b[0]:
        return scored[a[0]], scored[b[0]]
    kept = [one for one in scored[a[0]] if a[1] in one.logits]
    return kept, kept


def _called(name: str, kind: str) -> str:
    return name if kind == KERAS else f"{name} {kind}"
