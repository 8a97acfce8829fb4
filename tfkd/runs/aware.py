"""Recipes that train: a run's student learns to live with the rounding of its file."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfkd import artifacts, seals
from tfkd.artifacts import RunFolder
from tfkd.compression.export import is_kept
from tfkd.config.training import AwareConfig
from tfkd.data.batching import Batches
from tfkd.data.examples import Texts
from tfkd.distillation.tensorboard import RunLog
from tfkd.distillation.training import Plan, train
from tfkd.errors import ArtifactError
from tfkd.models.classifier import TextClassifier
from tfkd.models.description import Description
from tfkd.runs.material import Material
from tfkd.runs.training import training_record, validation
from tfkd.written_files import remove_backup

if TYPE_CHECKING:
    from tfkd.compression.qat.model import QuantizationAware

# Of the student's own learning rate: little is left to learn.
RATE_SHARE = 0.1
# For runs of `tfkd finetune`, which have no teacher, and runs older than a setting.
_LOSS = {
    "temperature": 1.0,
    "student_loss_weight": 1.0,
    "distillation_loss": "kl",
    "class_weight": None,
}


@dataclasses.dataclass(frozen=True)
class AwareTraining:
    """Trains the student of a run once more, for each recipe that asks for it.

    Batch size, schedule, weight decay, losses and their weight, temperature and seed are those the
    student was trained by; the arithmetic is float32 whatever it was then. A student without a
    teacher, one of `tfkd finetune`, learns from the labels alone.

    Attributes:
        run: `RunFolder` with the trained student.
        student: `TextClassifier`, the run's own.
        material: `Material`.
        config: `AwareConfig`.
        teacher_logits: Gives float32 `[num_train_rows, num_outputs]`, or None where there is no
            teacher. Asked only when there is something to train.
    """

    run: RunFolder
    student: TextClassifier
    material: Material
    config: AwareConfig
    teacher_logits: Callable[[], np.ndarray | None]

    def write(self, recipe: str, texts: Texts) -> dict[str, Any]:
        """Makes the file of a recipe in the run's model folder, training first where it must.

        Returns:
            What is recorded beside the file: parity, operators, proof that they are integer.

        Raises:
            ModelError: Students of this kind cannot be trained so.
            ConversionError: The file could not be converted or did not pass.
        """
        aware = self.train(recipe)
        self.material.progress.say(f"convert {recipe} and compare on {len(texts)} held-out texts")
        path = aware.export(self.run.model, texts).path
        record = artifacts.read_record(self._record_path(recipe))
        record["file_sha256"] = artifacts.file_sha256(path)
        self._write_record(recipe, record)
        return artifacts.read_record(path.with_suffix(".json"))

    def is_kept(self, recipe: str) -> bool:
        """Whether the file of a recipe is there and comes from a training with these settings."""
        if not (
            is_kept(self.run.model, recipe, self.material.progress.say) and self._is_trained(recipe)
        ):
            return False
        written = artifacts.read_record(self.run.model / f"{recipe}.json")["sha256"]
        return artifacts.read_record(self._record_path(recipe)).get("file_sha256") == written

    def train(self, recipe: str) -> "QuantizationAware":
        """The trained model of a recipe.

        Its variables and history are kept in `<run>/qat`; a training that was interrupted goes on
        where it was, and one that is done is not done again.

        Raises:
            ModelError: Students of this kind cannot be trained so.
        """
        from tfkd.compression.qat import mirror
        from tfkd.compression.qat.model import quantization_aware

        settings = self._settings(recipe)
        aware = quantization_aware(
            self.student,
            recipe,
            None,
            settings["integer_softmax"],
            settings["freeze_after"],
            **{name: settings[name] for name in _LOSS},
        )
        if self._is_trained(recipe):
            with np.load(self._variables_path(recipe), allow_pickle=False) as arrays:
                mirror.load(aware.student, arrays)
        else:
            with self.material.progress.stage(f"train {recipe}"):
                self._fit(recipe, aware, settings)
        return aware

    def _fit(self, recipe: str, aware: "QuantizationAware", settings: Mapping[str, Any]) -> None:
        """Trains, and keeps what came out; the record comes last and so marks it complete."""
        from tfkd.compression.qat.export import save_variables

        logits, plan, names = self.teacher_logits(), self._plan, self.student.input_names
        tokens = self.material.tokens("train", self.student.tokenizer)
        weights = self.material.weights("train")
        batches = Batches(tokens, names, plan.batch_size, plan.seed, logits, weights=weights)
        judge = validation(
            aware.twin,
            self.material.tokens("validation", self.student.tokenizer),
            self.material.dataset.metric,
        )
        steps = plan.epochs * batches.steps_per_epoch
        self.material.progress.say(f"{recipe} is learned: train the student for {steps:,} steps")
        work = self.run.path / "unfinished" / recipe
        position = train(
            aware,
            batches,
            plan,
            judge,
            work / artifacts.fingerprint(settings),
            lambda step: RangeLog(self.run.logs / recipe, step, aware),
            (self.material.progress, recipe),
        )
        self.material.progress.took(position.seconds)
        path = self._variables_path(recipe)
        self._record_path(recipe).unlink(missing_ok=True)
        save_variables(path, aware.student)
        self._write_record(
            recipe,
            {
                "settings": settings,
                **dataclasses.asdict(position),
                "variables_sha256": artifacts.file_sha256(path),
                "versions": artifacts.versions(),
            },
        )
        remove_backup(work)

    def _is_trained(self, recipe: str) -> bool:
        record_path, path = self._record_path(recipe), self._variables_path(recipe)
        if not (record_path.is_file() and path.is_file()):
            return False
        try:
            record = seals.read_record(record_path, seals.ANEW)
            seals.check(path, record.get("variables_sha256"), seals.ANEW)
        except ArtifactError as damage:
            self.material.progress.say(str(damage))
            return False
        return bool({**_LOSS, **record.get("settings", {})} == self._settings(recipe))

    def _settings(self, recipe: str) -> dict[str, Any]:
        """All that decides what comes out, as JSON values."""
        run, plan = self.run.read_config(), self._plan
        weights = self.material.class_weights
        rows = self.material.summaries["train"]
        steps = plan.epochs * -(-rows.num_rows // plan.batch_size)
        moving_steps = round((1 - self.config.qat_frozen_fraction) * steps)
        values = dataclasses.asdict(plan)
        del values["backup_seconds"]
        return {
            "recipe": recipe,
            **values,
            **{name: run.get(name, value) for name, value in _LOSS.items()},
            "class_weight": None if weights is None else weights.tolist(),
            "integer_softmax": self.config.integer_softmax,
            # The first batch sets the ranges, so it always counts.
            "freeze_after": max(1, moving_steps),
            "train_fingerprint": rows.fingerprint,
            "model_sha256": Description.read(self.run.model).model_sha256,
        }

    @property
    def _plan(self) -> Plan:
        """The student's own plan, but for what belongs to this training."""
        plan = Plan(**training_record(self.run, self.run.model.name)["plan"])
        rate = self.config.qat_learning_rate or RATE_SHARE * plan.learning_rate
        return dataclasses.replace(
            plan, epochs=self.config.qat_epochs, learning_rate=rate, precision="float32"
        )

    def _write_record(self, recipe: str, record: Mapping[str, Any]) -> None:
        variables = self._variables_path(recipe).name
        artifacts.write_record(self._record_path(recipe), record, [variables])

    def _record_path(self, recipe: str) -> Path:
        return self.run.path / "qat" / f"{recipe}.json"

    def _variables_path(self, recipe: str) -> Path:
        return self.run.path / "qat" / f"{recipe}.npz"


class RangeLog(RunLog):
    """A `RunLog` with the ranges of the activations beside every figure of the training."""

    def __init__(self, folder: Path, finished_steps: int, aware: "QuantizationAware") -> None:
        super().__init__(folder, finished_steps)
        self._aware = aware

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to each named curve and to those of the ranges."""
        ranges = {
            f"ranges/{name}/{end}": value
            for name, ends in self._aware.ranges().items()
            for end, value in zip(("low", "high"), ends, strict=True)
        }
        super().scalars(step, {**values, **ranges})
