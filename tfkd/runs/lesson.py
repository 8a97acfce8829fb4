"""What a student is told: its teacher's answers, and where they lack, its control's beside them.

A teacher that is not ahead of the control, which has learned from the labels alone, has little to
teach. What the two say together is right more often than either, and the control is there anyway.
"""

import dataclasses
from typing import Any, TypeAlias

import numpy as np

from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.data.examples import REGRESSION
from tfkd.data.tokens import is_answered
from tfkd.distillation.mixing import LEARNED, LOGITS, Mixing
from tfkd.distillation.mixture import learned, mixture
from tfkd.evaluation.verdict import BETTER, FEWEST_JUDGED
from tfkd.models.classifier import TextClassifier
from tfkd.models.description import Description
from tfkd.runs.answers import AnswerTeacher
from tfkd.runs.comparisons import compare_arms
from tfkd.runs.material import Material
from tfkd.runs.record import KeptMixture
from tfkd.runs.routes import Demand
from tfkd.runs.scoring import split_logits
from tfkd.runs.teacher import Teacher

AnyTeacher: TypeAlias = Teacher | AnswerTeacher


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What a student learns from, besides labels.

    Attributes:
        logits: float32 `[num_rows, num_outputs]`, of the rows of the material's transfer split.
        kept: Teacher and control with their weights; None where the teacher teaches alone, or is
            no model that could be asked again.
        sentences: Why, in words; none where it does.
    """

    logits: np.ndarray
    kept: KeptMixture | None = None
    sentences: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """Entry in metrics.json, as `KeptMixture.read` finds it; empty where nothing is mixed."""
        return {"mixture": self.kept.to_dict()} if self.kept else {}


def lesson(
    config: DistillConfig,
    material: Material,
    teacher: AnyTeacher,
    answers: np.ndarray,
    control: TextClassifier | None,
    run: RunFolder,
) -> Lesson:
    """The teacher's answers, or those mixed with the control's.

    They are mixed unless the validation rows show the teacher to be better than the control: the
    mean of logits (of scores), in the weights that suit these rows. A mean of probabilities follows
    the surer of two, right or wrong. Fewer than 30 validation rows, of those that the teacher has
    answered, leave the word to the teacher.

    Example:

    ```python
    lesson(config, material, teacher, answers, control, run).sentences[0]
    # 'On the validation rows teacher is worse than control by 6.00 points (...): the student is
    #  told 0.24 of the teacher's answers and 0.76 of the control's.'
    ```
    """
    # A student of labels alone hears nobody.
    is_told = config.student_loss_weight < 1
    if control is None or not is_told or material.summaries["validation"].num_rows < FEWEST_JUDGED:
        return Lesson(answers)
    heard = [
        teacher.answers("validation", material, Demand()).logits,
        split_logits(control, "validation", material),
    ]
    rows = is_answered(heard[0])
    if rows.sum() < FEWEST_JUDGED:
        return Lesson(answers)
    pairs = (teacher, heard[0]), (control, heard[1])
    found = compare_arms(material, "validation", *pairs, config.seed)
    if found.verdict == BETTER:
        return Lesson(answers)
    task = material.dataset.task
    rule = Mixing(weighting=LEARNED, average=None if task == REGRESSION else LOGITS)
    labels = material.labels("validation")[rows]
    mixing = learned(task, [logits[rows] for logits in heard], labels, rule)
    weights = mixing.weights
    told = (
        f"On the validation rows {found.sentence('teacher', 'control', material.dataset.metric)}: "
        f"the student is told {weights[0]:.2f} of the teacher's answers and {weights[1]:.2f} of "
        "the control's."
    )
    material.progress.say(told)
    both = [answers, split_logits(control, material.transfer, material)]
    mixed = mixture(task, both, config.temperature, mixing)
    # The control's word alone is no answer.
    mixed = np.where(is_answered(answers)[:, None], mixed, np.nan)
    if teacher.classifier is None:
        return Lesson(mixed, None, (told,))
    folders = {"teacher": teacher.folder, "control": run.path / "control"}
    kept = KeptMixture(
        {name: run.noted(folder) for name, folder in folders.items()},
        mixing,
        {name: Description.read(folder).model_sha256 for name, folder in folders.items()},
    )
    return Lesson(mixed, kept, (told,))
