"""Fits a Distiller as every arm is fitted: one schedule, one budget, one epoch kept, resumable.

Each epoch is one `fit` over that epoch's batches, so that a run killed in the middle goes on with
the very next batch, and a distilled arm and its control differ in the loss alone.
"""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import keras
import numpy as np

from tfkd.data.batching import Batches
from tfkd.distillation.backup import BEST, Backup, Position, load_variables, save_variables
from tfkd.distillation.distiller import Distiller
from tfkd.distillation.optimizer import FusedAdamW
from tfkd.distillation.schedule import WarmupSchedule
from tfkd.errors import ModelError
from tfkd.models.token_table import token_table
from tfkd.progress import Progress, Task

LOG_STEPS = 20
TIE_BREAKER = "nll"
# How a validation figure is called in the history.
HELD_OUT = "validation_"
# Values of a bottleneck too: what no text has read must stay as it is.
NOT_DECAYED = ["bias", "gamma", "beta", "values"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The budget and the optimizer of a training; units as in `TrainingConfig`.

    An epoch has `epoch_rows` examples.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str = "linear"
    warmup_fraction: float = 0.06
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    patience: int = 3
    precision: str = "float32"
    backup_seconds: float = 60.0
    seed: int = 0
    epoch_rows: int = 0


class ScalarLog(Protocol):
    """Log of the figures of a training."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes named figures of a step."""

    def close(self) -> None:
        """Called at the end of the training."""


@dataclasses.dataclass(frozen=True)
class Validation:
    """Judgement of an epoch.

    Attributes:
        measure: Gives the metrics of the model as it is.
        metric: Name of the deciding one; of two epochs that it holds for equal, the one with the
            smaller `nll` is better, where that is measured.
        is_better: Whether its first argument beats its second.
        judges_start: Whether the model is an answer before its first epoch, too, to be kept where
            no epoch is better.
        num_rows: Held-out rows behind `measure`, where an epoch is also kept that is behind the
            best one by no more than a standard error. None: the best one alone.
    """

    measure: Callable[[], dict[str, float]]
    metric: str
    is_better: Callable[[float, float], bool]
    judges_start: bool = False
    num_rows: int | None = None

    def keeps(self, position: Position) -> bool:
        """Whether the weights of the epoch that ended last take the place of an earlier one's.

        Example:

        >>> judge = Validation(dict, "accuracy", operator.gt, num_rows=150)
        >>> history = [{"validation_accuracy": 0.833}, {"validation_accuracy": 0.82}]
        >>> judge.keeps(Position(history=history))
        True
        """
        *others, last = position.history
        if position.start:
            others.insert(0, position.start)
        if not others:
            return True
        best = functools.reduce(lambda a, b: b if self._prefers(b, a) else a, others)
        return self._prefers(last, best) or self._is_near(last, best)

    def _prefers(self, figures: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether an epoch is better than another.

        A hundred held-out rows give only so many accuracies: an epoch often has that of an earlier
        one whose answers were less sure, and less often right on other rows.
        """
        mine, its = figures[HELD_OUT + self.metric], best[HELD_OUT + self.metric]
        if self.is_better(mine, its) or self.is_better(its, mine):
            return self.is_better(mine, its)
        name = HELD_OUT + TIE_BREAKER
        return name in figures and figures[name] < best[name]

    def _is_near(self, figures: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether what an epoch is behind is less than the standard error of a share of the rows.

        The rule of one standard error is that of Breiman et al. (1984) for trees.
        """
        if self.num_rows is None:
            return False
        mine, its = figures[HELD_OUT + self.metric], best[HELD_OUT + self.metric]
        share = min(max(its, 0.0), 1.0)
        return abs(its - mine) <= math.sqrt(share * (1 - share) / self.num_rows)


def train(
    distiller: Distiller,
    batches: Batches,
    plan: Plan,
    validation: Validation,
    folder: Path,
    open_log: Callable[[int], ScalarLog],
    progress: tuple[Progress, str],
) -> Position:
    """Trains to the end of the plan, or until the validation metric stops getting better.

    Of several processes that train together the first judges, logs and keeps the backup, from which
    all of them go on.

    Args:
        distiller: `Distiller`, not compiled. Its student ends with the weights of the epoch that is
            kept, or those it started with, where they are judged and no epoch's are better.
        batches: `Batches` of the training rows.
        plan: `Plan`.
        validation: `Validation`, asked after each epoch.
        folder: Path for the backup; the caller removes it once the model is saved.
        open_log: From the step to go on with to a `ScalarLog`; the first process alone is asked.
        progress: `Progress` that shows what is done, and the name of the arm.

    Raises:
        ModelError: The loss became infinite or no number.
    """
    compile_distiller(distiller, plan, batches.steps_per_epoch)
    is_chief, steps = _is_chief(distiller), batches.steps_per_epoch
    variables = [*distiller.student.variables, *distiller.optimizer.variables]
    backup = Backup(folder, variables, plan.backup_seconds, is_chief)
    position = backup.restore(progress[0].say)
    first_step = position.epoch * steps + position.step
    if distiller.replicas is not None:
        distiller.replicas.agree("go on from one step", [first_step])
        distiller.replicas.set_apart(distiller.student.variables)
    with (
        distiller.arithmetic(plan.precision),
        progress[0].task(f"train {progress[1]}", plan.epochs * steps, first_step) as task,
        contextlib.closing(open_log(first_step)) if is_chief else contextlib.nullcontext() as log,
    ):
        monitor = _Monitor(log, backup, position, batches, (task, progress[1]))
        if is_chief and validation.judges_start and not position.history and not position.start:
            position.start = _held_out(validation.measure())
            save_variables(folder / BEST, distiller.student.variables)
        while position.epoch < plan.epochs and not _is_stopped(position, plan):
            # A backup of the last step leaves only the validation to do.
            if position.step < steps:
                distiller.fit(
                    batches.dataset(position.epoch, position.step),
                    steps_per_epoch=steps - position.step,
                    epochs=1,
                    verbose=0,
                    shuffle=False,
                    callbacks=[monitor],
                )
            _finish_epoch(distiller, validation, position, folder, monitor)
            backup.save(position)
    if is_chief:
        load_variables(folder / BEST, distiller.student.variables)
    return position


def compile_distiller(distiller: Distiller, plan: Plan, steps_per_epoch: int) -> None:
    """AdamW with warm-up, decay and clipping; no weight decay on biases, norms and values."""
    total_steps = plan.epochs * steps_per_epoch
    warmup_steps = min(int(plan.warmup_fraction * total_steps), total_steps - 1)
    optimizer = FusedAdamW(
        WarmupSchedule(plan.learning_rate, total_steps, warmup_steps, plan.schedule),
        weight_decay=plan.weight_decay,
        global_clipnorm=plan.clip_norm,
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    optimizer.build(distiller.student.trainable_variables)
    table = token_table(distiller.student)
    # A student under quantization reads its table whole, to round it; it is of tf_keras.
    if isinstance(table, keras.layers.Embedding) and table.trainable:
        optimizer.let_unread_rows_wait(table.embeddings)
    # XLA makes these models slower to train on a CPU: 0.62 to 0.68 of the speed.
    distiller.compile(optimizer=optimizer, jit_compile=False)


def _is_chief(distiller: Distiller) -> bool:
    """Whether this process trains alone, or is the first of several."""
    return distiller.replicas is None or distiller.replicas.rank == 0


def _is_stopped(position: Position, plan: Plan) -> bool:
    return position.epoch - position.best_epoch >= plan.patience and position.best_epoch > 0


def _finish_epoch(
    distiller: Distiller,
    validation: Validation,
    position: Position,
    folder: Path,
    monitor: "_Monitor",
) -> None:
    """Validates, keeps the best weights and writes the epoch into the history."""
    if distiller.optimizer.lazy_table is not None:
        distiller.optimizer.lazy_table.catch_up()
    means = {name: total / count for name, (total, count) in position.means.items() if count}
    monitor.check(means.get("loss", 0.0))
    position.epoch, position.step, position.means = position.epoch + 1, 0, {}
    if _is_chief(distiller):
        measured = validation.measure()
        position.history.append({"epoch": position.epoch, **means, **_held_out(measured)})
        if validation.keeps(position):
            save_variables(folder / BEST, distiller.student.variables)
            position.best_epoch = position.epoch
        named = {f"validation/{name}": value for name, value in measured.items()}
        monitor.write(named)
    if distiller.replicas is not None:
        [position.best_epoch] = distiller.replicas.from_chief([position.best_epoch])


def _held_out(measured: Mapping[str, float]) -> dict[str, float]:
    return {f"{HELD_OUT}{key}": float(value) for key, value in measured.items()}


class _Monitor(keras.callbacks.Callback):
    """Counts steps, logs figures of the last steps and asks for backups."""

    def __init__(
        self,
        log: ScalarLog | None,
        backup: Backup,
        position: Position,
        batches: Batches,
        task: tuple[Task, str],
    ) -> None:
        super().__init__()
        self._log = log
        self._backup, self._position, (self._task, self._name) = backup, position, task
        self._steps_per_epoch, self._batch_size = batches.steps_per_epoch, batches.batch_size

    @property
    def global_step(self) -> int:
        """Steps finished since the start of the training."""
        return self._position.epoch * self._steps_per_epoch + self._position.step

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Starts the means anew, as Keras does, or where a killed session left them."""
        means = self._position.means
        for metric in self.model.metrics:
            for variable, value in zip(metric.variables, means.get(metric.name, ()), strict=False):
                variable.assign(value)
        self._batches = self._logged_at = self._position.step if means else 0
        self._sums: dict[str, float] = {
            metric.name: float(metric.result()) * self._batches for metric in self.model.metrics
        }
        self._started_at = self._measured_at = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Logs every few steps and backs up when it is time."""
        self._batches += 1
        self._position.step += 1
        if self._batches - self._logged_at >= LOG_STEPS:
            self._write(logs or {})
            self._task.advance(self._batches - self._logged_at, f"loss {self._last_loss:.3f}")
            self._logged_at = self._batches
            now = time.monotonic()
            self._position.seconds += now - self._started_at
            self._started_at = now
            self._keep_means()
            self._backup.save_if_due(self._position)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Counts what is left and keeps the epoch's means."""
        self._task.advance(self._batches - self._logged_at)
        self._position.seconds += time.monotonic() - self._started_at
        self._keep_means()

    def write(self, figures: dict[str, float]) -> None:
        """Logs figures of the step that was finished last, if there is a log."""
        if self._log is not None:
            self._log.scalars(self.global_step, figures)

    def _keep_means(self) -> None:
        self._position.means = {
            metric.name: [float(variable) for variable in metric.variables]
            for metric in self.model.metrics
        }

    def check(self, loss: float) -> None:
        """Ends a training that has gone astray, before anything of it is kept.

        Raises:
            ModelError: The loss is no number any more, from which no training comes back.
        """
        if not math.isfinite(loss):
            raise ModelError(
                f"Expected a finite loss. Received: {loss} by step {self.global_step} of "
                f"{self._name}. Begin again with --overwrite and a lower learning rate, or "
                "--precision float32."
            )

    def _write(self, logs: Mapping[str, float]) -> None:
        """Means of the last steps, from the differences of Keras' running means."""
        self.check(logs["loss"])
        sums = {name: float(value) * self._batches for name, value in logs.items()}
        count, now = self._batches - self._logged_at, time.monotonic()
        figures = {
            name: (value - self._sums.get(name, 0.0)) / count for name, value in sums.items()
        }
        self._sums, self._last_loss = sums, figures["loss"]
        figures["examples_per_second"] = count * self._batch_size / (now - self._measured_at)
        figures["learning_rate"] = float(np.asarray(self.model.optimizer.learning_rate))
        self._measured_at = now
        # TensorBoard sorts by name: losses, then the validation rows, then how the training went.
        self.write(
            {f"{'train' if k.endswith('loss') else 'watch'}/{k}": v for k, v in figures.items()}
        )
