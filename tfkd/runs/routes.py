"""The quickest way to a teacher's answers that agrees with the teacher.

Exact is the Keras model in float32. The same model answers with products in bfloat16 where the
processor has them, and its int8 LiteRT file with a thread for each core. What is worth a trial is
tried on some hundred rows of the split; what answers them alike may answer the rest.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from tfkd import artifacts, seals
from tfkd.artifacts import JsonObject
from tfkd.compression.conversion import convert, fitting_lengths
from tfkd.compression.file_scorer import FileScorer
from tfkd.compression.file_seal import check_seal
from tfkd.data.batching import Rows
from tfkd.data.shards import Shards
from tfkd.data.tokens import Tokens
from tfkd.distillation.teacher_logits import Scorer
from tfkd.errors import ConversionError
from tfkd.locks import locked
from tfkd.models.classifier import TextClassifier
from tfkd.models.description import Description
from tfkd.models.precision import set_precision
from tfkd.process import has_bfloat16, num_cores
from tfkd.progress import Progress
from tfkd.runs.trial import EXACT, Distance, Trial, distance

BFLOAT16, FILE = "bfloat16", "dynamic_int8"
LOGITS = "teacher_logits"
# Rows of a trial, at most one of so many rows; before it, so many tell whether one is worth it,
# which fewer rows never are.
SAMPLE_ROWS, SAMPLE_EVERY, FIRST_ROWS, FEW_ROWS = 512, 25, 128, 2048
# A trial is made where the best way so far would take longer than this: some times what it costs.
WORTH_SECONDS = {BFLOAT16: 20.0, FILE: 60.0}
# A length of its own saves padding and takes the converter some seconds more.
FEW_LENGTHS, MANY_LENGTHS, MANY_ROWS = 2, 4, 20_000


@dataclasses.dataclass(frozen=True)
class Demand:
    """What is asked of a teacher's answers.

    Attributes:
        is_exact: Whether the Keras model in float32 alone will do.
        temperature: Softens the probabilities that are compared.
    """

    is_exact: bool = True
    temperature: float = 1.0

    @classmethod
    def of(cls, settings: Mapping[str, Any], temperatures: Sequence[float] = ()) -> Self:
        """The demand of a distillation; a squared error of logits knows no temperature.

        Args:
            settings: Mapping. Of a `DistillConfig`, or of a run's `config.json`, which may be of a
                time when all answers were exact.
            temperatures: Floats. Of several teachers, where they have their own.
        """
        is_softened = settings.get("distillation_loss", "kl") == "kl"
        sharpest = min(temperatures, default=settings.get("temperature", 1.0))
        return cls(settings.get("scoring", "exact") == "exact", sharpest if is_softened else 1.0)


@dataclasses.dataclass(frozen=True)
class Route:
    """The way that was taken, and why.

    Attributes:
        name: `EXACT`, `BFLOAT16` or `FILE`.
        temperature: Softened the probabilities that were compared.
        num_rows: Rows of the trial; 0 without one.
        tried: `Distance` and rows a second of each way that was tried, by its name.
    """

    name: str
    temperature: float = 1.0
    num_rows: int = 0
    tried: Mapping[str, tuple[Distance, float]] = dataclasses.field(default_factory=dict)

    def mark(self, exact: str) -> str:
        """Name of the folder of such answers, from that of the exact ones."""
        return exact if self.name == EXACT else f"{exact}-{self.name}"

    def to_dict(self) -> JsonObject:
        """Plain JSON values."""
        tried = {
            name: {**dataclasses.asdict(found), "rows_per_second": rate}
            for name, (found, rate) in self.tried.items()
        }
        return {
            "route": self.name,
            "temperature": self.temperature,
            "num_rows": self.num_rows,
            "tried": tried,
        }

    def sentence(self) -> str:
        """What was gained and what it cost, in words."""
        found, rate = self.tried[self.name]
        agreement = "" if found.agreement is None else f"agreement {found.agreement:.4f}, "
        return (
            f"the teacher answers in {self.name}, {rate / self.tried[EXACT][1]:.1f} times as fast "
            f"as exactly: {agreement}largest difference {found.largest_difference:.3f} on "
            f"{self.num_rows} rows"
        )


EXACT_ROUTE = Route(EXACT)


class Answers(NamedTuple):
    """A teacher's answers, and how they were had.

    Attributes:
        logits: float32 `[num_rows, num_outputs]`; NaN in rows without an answer.
        route: `Route`.
    """

    logits: np.ndarray
    route: Route


@dataclasses.dataclass(frozen=True)
class Routes:
    """The ways to a teacher's answers to the rows of a split.

    Attributes:
        classifier: `TextClassifier`, the teacher.
        model_folder: Path of its model folder.
        tokens: `Tokens` of the split.
        cache: Path of the cache, which keeps trials and LiteRT files of teachers.
        progress: `Progress`.
    """

    classifier: TextClassifier
    model_folder: Path
    tokens: Tokens
    cache: Path
    progress: Progress

    def choose(self, mark: str, temperature: float) -> Route:
        """The way to take; once one was tried, it is chosen from what was measured then."""
        path = self.cache / "teacher_trials" / f"{mark}.npz"
        with locked(path):
            trial = seals.kept(path, Trial.load, self.progress.say)
            if trial is None:
                exact = Shards(self.cache / LOGITS / mark, "logits", len(self.tokens))
                if len(self.tokens) < FEW_ROWS or not exact.missing():
                    return EXACT_ROUTE
                trial = self._tried(temperature)
                trial.save(path)
        tried = {
            name: (
                distance(self.classifier, trial.logits[EXACT], logits, temperature),
                trial.rows_per_second[name],
            )
            for name, logits in trial.logits.items()
        }
        name = trial.fastest(self.classifier, temperature)
        route = Route(name, temperature, len(trial.rows), tried)
        if name != EXACT:
            self.progress.say(route.sentence())
        return route

    def open(self, name: str) -> Scorer:
        """What answers by one way.

        Raises:
            ConversionError: There is no such file of this teacher.
        """
        if name == EXACT:
            return self.classifier
        if name == BFLOAT16:
            return Bfloat16Scorer(self.classifier)
        return FileScorer(self._file(), num_cores())

    def _tried(self, temperature: float) -> Trial:
        """A trial of every way that is worth one."""
        trial = self._exactly(FIRST_ROWS)
        if len(self.tokens) / trial.rows_per_second[EXACT] < min(WORTH_SECONDS.values()):
            return trial
        trial = self._exactly(sample_size(len(self.tokens)))
        for name, worth_seconds in WORTH_SECONDS.items():
            best = trial.fastest(self.classifier, temperature)
            seconds = len(self.tokens) / trial.rows_per_second[best]
            if seconds < worth_seconds or (name == BFLOAT16 and not has_bfloat16()):
                continue
            self.progress.say(f"the teacher would take {seconds:.0f} s in {best}: try {name}")
            try:
                trial.run(name, self.open(name), self.tokens)
            except ConversionError as error:
                self.progress.say(str(error))
        return trial

    def _exactly(self, num_rows: int) -> Trial:
        """The exact answers to rows spread evenly over the split."""
        rows = np.linspace(0, len(self.tokens) - 1, num_rows).astype(int)
        trial = Trial(np.unique(rows))
        trial.run(EXACT, self.classifier, self.tokens)
        return trial

    def _file(self) -> Path:
        """The teacher's LiteRT file, with lengths that suit the split; converted where missing."""
        mark = artifacts.fingerprint(
            {
                "model": Description.read(self.model_folder).model_sha256,
                "tokens": self.tokens.fingerprint,
            }
        )
        path = self.cache / "teacher_files" / mark / f"{FILE}.tflite"
        with locked(path.parent):
            if seals.kept(path, check_seal, self.progress.say) is None:
                most = FEW_LENGTHS if len(self.tokens) < MANY_ROWS else MANY_LENGTHS
                lengths = fitting_lengths(self.tokens.lengths, most)
                convert(self.model_folder, [FILE], lengths, path.parent)
        return path


def sample_size(num_rows: int) -> int:
    """Rows of a trial for a split of `num_rows`.

    Example:

    >>> sample_size(6000)
    240
    """
    return min(SAMPLE_ROWS, max(FIRST_ROWS, num_rows // SAMPLE_EVERY))


class Bfloat16Scorer:
    """The Keras model with products in bfloat16, in float32 again between two batches."""

    def __init__(self, classifier: TextClassifier) -> None:
        self._classifier = classifier

    def score(
        self, tokens: Rows, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and answers, batch by batch, of the rows `[start, stop)`."""
        batches = self._classifier.score(tokens, start, stop)
        while True:
            set_precision(self._classifier.model, BFLOAT16)
            try:
                batch = next(batches, None)
            finally:
                set_precision(self._classifier.model, EXACT)
            if batch is None:
                return
            yield batch
