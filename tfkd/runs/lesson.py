"""What a student is told: its teacher's answers, and where they lack, its control's beside them.

A teacher that is not ahead of the control, which has learned from the labels alone, has little to
teach. What the two say together is right more often than either, and the control is there anyway.
"""

import dataclasses
from typing import Any, Self, TypeAlias

import numpy as np

from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.data.examples import REGRESSION
from tfkd.data.tokens import is_answered
from tfkd.distillation.mixing import LEARNED, LOGITS, Mixing
from tfkd.distillation.mixture import learned, mixture
from tfkd.evaluation.temperature import fitted_temperature
from tfkd.evaluation.verdict import BETTER, FEWEST_JUDGED
from tfkd.models.classifier import TextClassifier
from tfkd.models.description import Description
from tfkd.runs.answers import AnswerTeacher
from tfkd.runs.comparisons import compare_arms
from tfkd.runs.material import Material
from tfkd.runs.record import TEMPERATURE, KeptMixture
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
        sentences: Why, in words.
        temperature: What the answers were divided by, since they were too sure, or not enough.
    """

    logits: np.ndarray
    kept: KeptMixture | None = None
    sentences: tuple[str, ...] = ()
    temperature: float = 1.0

    @property
    def record(self) -> dict[str, Any]:
        """Entries in metrics.json, from which `train_logits` makes the answers again."""
        mixture = {"mixture": self.kept.to_dict()} if self.kept else {}
        return {**mixture, TEMPERATURE: self.temperature}

    def calibrated(self, task: str, held_out: np.ndarray, labels: np.ndarray) -> Self:
        """The same as sure as it should be by labelled rows of validation.

        Args:
            task: String. "single_label" or "multi_label".
            held_out: Float array `[num_rows, num_outputs]`: the logits for these rows.
            labels: Their labels.
        """
        found = fitted_temperature(task, held_out, labels)
        name = "the answers of both" if self.kept else "the teacher's answers"
        return dataclasses.replace(
            self,
            logits=self.logits / np.float32(found.value),
            sentences=(*self.sentences, f"For the student {found.sentence(name)}."),
            temperature=found.value,
        )


def lesson(
    config: DistillConfig,
    material: Material,
    teacher: AnyTeacher,
    answers: np.ndarray,
    control: TextClassifier | None,
    run: RunFolder,
) -> Lesson:
    """The teacher's answers, or those mixed with the control's, as sure as they should be.

    They are mixed unless the validation rows show the teacher to be better than the control: the
    mean of logits (of scores), in the weights that suit these rows. A mean of probabilities follows
    the surer of two, right or wrong. At last a temperature is fitted on the same rows: a teacher
    that was trained to the end on few rows is too sure of all others. Files of answers have had
    theirs. Fewer than 30 validation rows, of those that the teacher has answered, leave the word
    to the teacher, as it is.

    Example:

    ```python
    lesson(config, material, teacher, answers, control, run).sentences[0]
    # 'On the validation rows teacher is worse than control by 6.00 points (...): the student is
    #  told 0.24 of the teacher's answers and 0.76 of the control's.'
    ```
    """
    # A student of labels alone hears nobody.
    if config.student_loss_weight == 1:
        return Lesson(answers)
    heard = [teacher.answers("validation", material, Demand()).logits]
    rows = is_answered(heard[0])
    if rows.sum() < FEWEST_JUDGED:
        return Lesson(answers)
    found, task = Lesson(answers), material.dataset.task
    if control is not None:
        heard.append(split_logits(control, "validation", material))
        found = _beside_control(config, material, (teacher, control), (answers, heard), run)
    if teacher.classifier is not None and task != REGRESSION:
        judged = heard[0]
        if found.kept is not None:
            judged = mixture(task, heard, config.temperature, found.kept.mixing)
        found = found.calibrated(task, judged[rows], material.labels("validation")[rows])
    for sentence in found.sentences:
        material.progress.say(sentence)
    return found


def _beside_control(
    config: DistillConfig,
    material: Material,
    models: tuple[AnyTeacher, TextClassifier],
    answers: tuple[np.ndarray, list[np.ndarray]],
    run: RunFolder,
) -> Lesson:
    """The teacher's answers, or the mean of both models', if the teacher is not ahead.

    Answers: the teacher's to all texts, and both models' to the validation rows.
    """
    (teacher, control), (own, heard) = models, answers
    pairs = (teacher, heard[0]), (control, heard[1])
    found = compare_arms(material, "validation", *pairs, config.seed)
    if found.verdict == BETTER:
        return Lesson(own)
    task, rows = material.dataset.task, is_answered(heard[0])
    rule = Mixing(weighting=LEARNED, average=None if task == REGRESSION else LOGITS)
    labels = material.labels("validation")[rows]
    mixing = learned(task, [logits[rows] for logits in heard], labels, rule)
    told = (
        f"On the validation rows {found.sentence('teacher', 'control', material.dataset.metric)}: "
        f"the student is told {mixing.weights[0]:.2f} of the teacher's answers and "
        f"{mixing.weights[1]:.2f} of the control's."
    )
    both = [own, split_logits(control, material.transfer, material)]
    mixed = mixture(task, both, config.temperature, mixing)
    # The control's word alone is no answer.
    mixed = np.where(is_answered(own)[:, None], mixed, np.nan)
    if teacher.classifier is None:
        return Lesson(mixed, None, (told,))
    folders = {"teacher": teacher.folder, "control": run.path / "control"}
    kept = KeptMixture(
        {name: run.noted(folder) for name, folder in folders.items()},
        mixing,
        {name: Description.read(folder).model_sha256 for name, folder in folders.items()},
    )
    return Lesson(mixed, kept, (told,))
