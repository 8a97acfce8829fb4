"""A teacher that is no model: answers in files, joined to the rows, calibrated, and mixed.

It stands where a scored teacher does. What only a model could give (a token table to start from,
near words for altered copies) is done without. A row that is held out is never learned from,
whoever has answered it.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tfkd import artifacts, seals
from tfkd.artifacts import JsonObject, RunFolder
from tfkd.config.training import DistillConfig
from tfkd.data.examples import DEFAULT_THRESHOLD, MULTI_LABEL, REGRESSION, Example
from tfkd.data.shards import write_array
from tfkd.data.tokens import is_answered
from tfkd.distillation.mixture import mixture
from tfkd.distillation.teacher_answers import (
    KeyColumns,
    TeacherAnswers,
    answer_files,
    read_answers,
)
from tfkd.errors import ArtifactError, DatasetError
from tfkd.evaluation.temperature import fitted_temperature
from tfkd.evaluation.thresholds import tuned_thresholds
from tfkd.evaluation.verdict import FEWEST_JUDGED
from tfkd.models.loading import learned_tokenizer
from tfkd.models.tokenizers import Tokenizer
from tfkd.runs.lengths import LEAST
from tfkd.runs.material import Material
from tfkd.runs.routes import Answers, Demand, Route

ROUTE = "answers"
PATH = Path("training") / "answers.npy"


@dataclasses.dataclass(frozen=True)
class LearnedStart:
    """What a student starts from where no teacher's model is at hand: a vocabulary of the texts.

    Attributes:
        material: `Material` with all texts the student learns from.
    """

    material: Material
    model: None = None

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """Learned when a student asks that brings none."""
        dataset = self.material.dataset
        splits = {"train": dataset.splits[self.material.transfer]}
        return learned_tokenizer(dataclasses.replace(dataset, splits=splits), LEAST)


@dataclasses.dataclass(frozen=True)
class AnswerTeacher:
    """The answers of some files as one teacher.

    Attributes:
        files: `TeacherAnswers`; a row that several have answered is given their mean.
        temperatures: Of each file; its logits are divided by it.
        test_logits: float32 `[num_test_rows, num_outputs]`; NaN in rows without an answer.
        thresholds: Of several labels, where each is given.
        folder: Where a teacher's model would be; there is none.
        sentences: What was found, in words.
    """

    files: tuple[TeacherAnswers, ...]
    temperatures: tuple[float, ...]
    test_logits: np.ndarray
    thresholds: float | Sequence[float]
    folder: Path
    sentences: tuple[str, ...]
    classifier: None = None

    @property
    def name(self) -> str:
        """The files' names."""
        return "answers of " + " and ".join(answers.path.name for answers in self.files)

    @functools.cached_property
    def sha256(self) -> str:
        """Changes with the files, by which a training knows whose answers it learned from."""
        paths = [path for answers in self.files for path in answer_files(answers.path)]
        files = list(map(artifacts.file_sha256, paths))
        return artifacts.fingerprint({"files": files, "temperatures": self.temperatures})

    def answers(self, split: str, material: Material, demand: Demand) -> Answers:
        """The answers to the rows of a split; NaN in rows that have none."""
        logits = heard(self.files, self.temperatures, split, material, demand.temperature)
        return Answers(logits, Route(ROUTE, num_rows=int(is_answered(logits).sum())))

    def start(self, material: Material) -> LearnedStart:
        """What a student starts from."""
        return LearnedStart(material)

    def record(self, run: RunFolder) -> JsonObject:
        """Entry in metrics.json."""
        names = [str(answers.path) for answers in self.files]
        temperatures = dict(zip(names, self.temperatures, strict=True))
        return {"teacher_folder": None, "teacher_answers": temperatures}


def heard(
    files: Sequence[TeacherAnswers],
    temperatures: Sequence[float],
    split: str,
    material: Material,
    temperature: float,
) -> np.ndarray:
    """Answers of files to the rows of a split, each softened by its own temperature, mixed.

    Returns:
        float32 `[num_rows, num_outputs]`; NaN in rows that none of them has answered.
    """
    rows = material.dataset.splits[split]
    logits = [
        (answers.of(answers.find(rows)) / own).astype(np.float32)
        for answers, own in zip(files, temperatures, strict=True)
    ]
    return mixture(material.dataset.task, logits, temperature)


def prepare_answers(
    paths: Sequence[Path], config: DistillConfig, material: Material, run: RunFolder
) -> AnswerTeacher:
    """Reads files of answers, joins them to the rows, calibrates them, and says what was found.

    Raises:
        DatasetError: A file or a row of it is bad, joins nothing, or its ids stand for several
            rows.
    """
    columns = key_columns(config, material.dataset.num_texts)
    with material.progress.stage("read and check", "read the teacher's answers"):
        files = tuple(read_answers(path, material.dataset, columns) for path in paths)
        sentences = [_joined(answers, config, material) for answers in files]
        calibrated = [_calibrated(answers, material) for answers in files]
        temperatures = tuple(temperature for temperature, _ in calibrated)
        sentences += [sentence for _, sentence in calibrated if sentence]
        test_logits = heard(files, temperatures, "test", material, 1.0)
        sentences.append(_of_test(test_logits))
    for sentence in sentences:
        material.progress.say(sentence)
    return AnswerTeacher(
        files,
        temperatures,
        test_logits,
        _thresholds(files, temperatures, material),
        run.path / "teacher",
        tuple(sentences),
    )


def key_columns(config: DistillConfig, num_texts: int) -> KeyColumns:
    """Columns of ids and texts that a file of answers may have, as the data has them or by rule."""
    row_id = config.id_column
    given = (config.text_column, config.second_text_column)[:num_texts]
    texts: list[tuple[str, ...]] = [("text",) if num_texts == 1 else ("sentence1", "sentence2")]
    if None not in given:
        texts.insert(0, tuple(map(str, given)))
    return KeyColumns((row_id, "id") if row_id else (), tuple(dict.fromkeys(texts)))


def _joined(answers: TeacherAnswers, config: DistillConfig, material: Material) -> str:
    """How many rows of each split a file answers, in words.

    Raises:
        DatasetError: None of those a student learns from, or an id is that of two texts.
    """
    more = material.unlabelled_rows(config)
    splits: dict[str, Iterable[Example]] = dict(material.dataset.splits)
    splits = {name: splits[name] for name in ("train", "validation", "test")}
    if more is not None:
        splits["unlabelled"] = more
    if answers.is_by_id:
        _check_ids(answers, splits)
    found = {name: answers.find(rows) for name, rows in splits.items()}
    counts = {name: int((rows >= 0).sum()) for name, rows in found.items()}
    if not counts["train"] + counts.get("unlabelled", 0):
        what = "id" if answers.is_by_id else "text"
        raise DatasetError(
            f"Expected answers to rows of train in {answers.path}. Received: "
            f"{len(answers.logits):,} answers, of which none has the {what} of one. Give each the "
            f"{what} that it has in the data, letter by letter."
        )
    said = ", ".join(f"{counts[name]:,} of {len(rows):,} of {name}" for name, rows in found.items())
    notes = [f"answers of {answers.path.name}: rows answered {said}"]
    alone = len(found["train"]) - counts["train"]
    dropped = len(found.get("unlabelled", ())) - counts.get("unlabelled", 0)
    joined = {index for rows in found.values() for index in rows.tolist()} - {-1}
    for number, note in (
        (alone, "of train learn from their label alone"),
        (dropped, "have neither label nor answer and are left out"),
        (answers.num_empty, "of the file have no answer"),
        (len(answers.logits) - len(joined), "answers join no row"),
        (answers.num_averaged, "rows have several answers, of which the mean is taken"),
    ):
        if number:
            notes.append(f"{number:,} {note}")
    return "; ".join(notes)


def _check_ids(answers: TeacherAnswers, splits: dict[str, Iterable[Example]]) -> None:
    """Refuses an id that two texts have: one of them may be held out.

    Raises:
        DatasetError: There is one.
    """
    seen: dict[int, tuple[str, tuple[str, ...]]] = {}
    for name, rows in splits.items():
        for number, row in zip(answers.find(rows).tolist(), rows, strict=True):
            first, texts = seen.setdefault(number, (name, row.texts))
            if number >= 0 and texts != row.texts:
                row_id = next(key for key, value in answers.numbers.items() if value == number)
                raise DatasetError(
                    f"Expected ids of one text each, to join {answers.path} by. Received: "
                    f"{row_id!r} for a text of {first} and another of {name}. Make them unique, or "
                    "leave out --id-column to join by the texts."
                )


def _calibrated(answers: TeacherAnswers, material: Material) -> tuple[float, str]:
    """The temperature under which labelled validation rows are likeliest, and a sentence on it."""
    task = material.dataset.task
    if task == REGRESSION:
        return 1.0, ""
    logits = answers.of(answers.find(material.dataset.splits["validation"]))
    rows = is_answered(logits)
    name = f"answers of {answers.path.name}"
    if rows.sum() < FEWEST_JUDGED:
        return 1.0, (
            f"{name} are not calibrated: {rows.sum()} rows of validation have one, and fewer than "
            f"{FEWEST_JUDGED} do not tell how sure they should be"
        )
    found = fitted_temperature(task, logits[rows], material.labels("validation")[rows])
    return found.value, found.sentence(name)


def _of_test(logits: np.ndarray) -> str:
    rows = is_answered(logits)
    if rows.all():
        return "the teacher's row of the table is of its answers to the rows of test"
    if rows.sum() < 2:
        return "the table has no row of the teacher: no answers are of rows of test"
    return (
        "the teacher's row of the table, and what is compared with it, is of the "
        f"{rows.sum():,} of {len(rows):,} rows of test that have an answer"
    )


def _thresholds(
    files: Sequence[TeacherAnswers], temperatures: Sequence[float], material: Material
) -> float | Sequence[float]:
    if material.dataset.task != MULTI_LABEL:
        return DEFAULT_THRESHOLD
    logits = heard(files, temperatures, "validation", material, 1.0)
    rows = is_answered(logits)
    if rows.sum() < FEWEST_JUDGED:
        return DEFAULT_THRESHOLD
    return tuned_thresholds(logits[rows], material.labels("validation")[rows]).tolist()


def keep_answers(run: RunFolder, logits: np.ndarray) -> None:
    """Keeps what a student was told of the training rows: its teacher cannot be asked again."""
    write_array(run.path / PATH, logits)


def kept_answers(run: RunFolder, num_rows: int) -> np.ndarray | None:
    """What `keep_answers` kept; None where a teacher's model answered.

    Raises:
        ArtifactError: The file was changed, or is of another number of rows.
    """
    path = run.path / PATH
    if not path.is_file():
        return None
    seals.check_files(path.with_suffix(".json"), path.name)
    logits = np.load(path, allow_pickle=False)
    if len(logits) != num_rows:
        raise ArtifactError(
            f"Expected answers to {num_rows:,} rows of train in {path}. Received: {len(logits):,}. "
            "Make the run again."
        )
    return logits
