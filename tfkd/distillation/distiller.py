"""The Distiller: a `keras.Model` whose training step mixes the labels' loss and the teacher's.

It takes a live teacher, or the teacher's logits with each example. Stored logits let teacher and
student have different tokenizers and lengths, and cost the teacher one pass however many students
follow. Without either it trains on labels alone, which is how teachers and controls are made.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd.config.training import STUDENT_LOSS_WEIGHT
from tfkd.distillation import arguments
from tfkd.distillation.losses import DISTILLATION_LOSSES, label_loss, teacher_loss
from tfkd.distillation.optimizer import FusedAdamW, merged
from tfkd.distillation.replicas import Replicas
from tfkd.models.precision import training_arithmetic

# Targets by name, and what they are for the loss.
_CASTS = {
    "label": lambda labels: labels,
    "teacher_logits": lambda logits: ops.cast(logits, "float32"),
    "is_labelled": lambda are_there: ops.cast(are_there, "bool"),
    "is_answered": lambda are_there: ops.cast(are_there, "bool"),
}
# A tensor, or tensors by name.
Tensors: TypeAlias = tf.Tensor | Mapping[str, tf.Tensor]


@keras.saving.register_keras_serializable(package="tfkd")
class Distiller(keras.Model):
    """Trains a student on labels and on a teacher's softened predictions.

    The loss of an example is `student_loss_weight * label_loss + (1 - student_loss_weight) *
    temperature**2 * KL(teacher || student)`; a batch's loss is the mean, each example multiplied by
    its sample weight. For multi-label tasks the divergence is the labels' Bernoulli one, for
    regression both parts are squared errors. With `distillation_loss="mse"` the mean squared error
    of the logits stands in place of `temperature**2 * KL`. What the student's layers add
    (regularizers) comes on top.

    Args:
        models: None; they are given by keyword.
        student: `keras.Model` from inputs to logits `[batch, num_outputs]`.
        teacher: Optional `keras.Model` that takes the same inputs. It is asked in every step and
            never trained. Without it, targets may be a mapping of `label`, `teacher_logits`
            (float `[batch, num_outputs]`) and, optionally, of booleans `[batch]`: where
            `is_labelled` is False the label counts nothing and the teacher what it counts
            elsewhere; where `is_answered` is False the teacher counts nothing and the label whole.
        task: String. "single_label", "multi_label", "regression", or "embedding": the logits are
            vectors, of which directions and similarities are learned, and labels count nothing.
        temperature: Float, at least 1. Softens both predictions; without effect for "mse".
        student_loss_weight: Float in [0, 1]. Weight of the label loss; the rest goes to the
            teacher.
        distillation_loss: String. "kl", "mse", or "hard": the label loss of what the teacher
            decides for.
        class_weight: Optional floats `[num_outputs]`, for "single_label": an example's label loss
            is multiplied by its class's. What the teacher says of it has no class and stays, as
            what it says of texts without labels.

    Raises:
        TypeError: A model is given by position or is none, there is no student, an argument is
            unknown, or a number is none.
        ValueError: For a temperature below 1, a weight outside [0, 1], an unknown loss, or class
            weights of another task or number; for a teacher that is the student, and for models
            that give probabilities.

    Example:

    ```python
    distiller = tfkd.Distiller(student=student, teacher=teacher, temperature=2.0)
    distiller.compile(optimizer=keras.optimizers.AdamW(1e-3), metrics=["accuracy"])
    distiller.fit(dataset, epochs=3)   # history: loss, student_loss, distillation_loss
    logits = distiller.predict(inputs)
    ```

    Reference: [Hinton et al., 2015](https://arxiv.org/abs/1503.02531); for "mse" [Ba and Caruana,
    2014](https://arxiv.org/abs/1312.6184) and [Tang et al., 2019](https://arxiv.org/abs/1903.12136)
    """

    def __init__(
        self,
        *models: keras.Model,
        student: keras.Model | None = None,
        teacher: keras.Model | None = None,
        task: str = "single_label",
        temperature: float = 2.0,
        student_loss_weight: float = STUDENT_LOSS_WEIGHT,
        distillation_loss: str = "kl",
        class_weight: Sequence[float] | np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        arguments.check_names(kwargs, Distiller.__init__.__kwdefaults__ or ())
        super().__init__(**kwargs)
        if models or student is None:
            raise TypeError(
                "Expected `student` and `teacher` by keyword, Distiller(student=..., teacher=...): "
                "keras.distillation takes them in the other order. Received: "
                f"{len(models)} by position{'' if student else ', no `student`'}"
            )
        arguments.check_models({"student": student, "teacher": teacher})
        arguments.check_numbers(temperature, student_loss_weight)
        if distillation_loss not in DISTILLATION_LOSSES:
            raise ValueError(
                f"Expected `distillation_loss` to be one of {', '.join(DISTILLATION_LOSSES)}. "
                f"Received: distillation_loss={distillation_loss!r}"
            )
        if class_weight is not None:
            arguments.check_class_weight(class_weight, task, student.output_shape[-1])
        self.student, self.teacher, self.task = student, teacher, task
        self.class_weight = None if class_weight is None else [float(x) for x in class_weight]
        self.temperature, self.student_loss_weight = temperature, student_loss_weight
        self.distillation_loss = distillation_loss
        # The processes that train together, if this is one of several.
        self.replicas: Replicas | None = None
        if teacher is not None:
            teacher.trainable = False
        self._trackers = {
            name: keras.metrics.Mean(name=name)
            for name in ("loss", "student_loss", "distillation_loss", "gradient_norm")
        }
        self.built = True

    def fit(self, x: object = None, y: object = None, *args: Any, **kwargs: Any) -> Any:
        """As of `keras.Model`.

        Raises:
            ValueError: A loss was compiled; labels are strings, or have another shape than those of
                the task; a score or a teacher's logit is no finite number; targets have unknown
                names.
            tf.errors.InvalidArgumentError: A label is out of range, as Keras' own losses say it.
        """
        self._check_targets(y)
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x: object = None, y: object = None, *args: Any, **kwargs: Any) -> Any:
        """As of `keras.Model`. Raises what `fit` does."""
        self._check_targets(y)
        return super().evaluate(x, y, *args, **kwargs)

    def _check_targets(self, targets: object) -> None:
        """Refuses arrays with what Keras calls "Invalid dtype: str32", or would make a loss NaN."""
        arguments.check_distribution()
        if getattr(self, "loss", None) is not None:
            raise ValueError(
                "Expected no `loss` in `compile`: the Distiller has its own, see "
                f"`distillation_loss`. Received: loss={self.loss!r:.100}"
            )
        arrays = targets if isinstance(targets, Mapping) else {"label": targets}
        labels = arrays.get("label")
        if isinstance(labels, np.ndarray) and labels.dtype.kind in "OSU":
            outputs = self.student.output_shape[-1] if self.student.built else 1
            label_loss(self.task, labels, np.zeros((1, outputs)))
        looked_at = ["label"] if self.task == "regression" and "is_labelled" not in arrays else []
        # At weight 1 the teacher is not followed.
        is_followed = self.student_loss_weight < 1 and "is_answered" not in arrays
        looked_at += ["teacher_logits"] if is_followed else []
        for name in looked_at:
            values = arrays.get(name)
            if isinstance(values, np.ndarray) and values.dtype.kind == "f":
                for row in np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))[:1]:
                    raise ValueError(
                        f"Expected finite numbers as `{name}`. Received: {values[row]} in row {row}"
                    )

    def call(self, inputs: Tensors, training: bool | None = None) -> tf.Tensor:
        """The student's logits."""
        return self.student(inputs, training=training)

    def train_step(self, data: tuple[Tensors, ...]) -> dict[str, tf.Tensor]:
        """One step of the student; the teacher is only asked."""
        if isinstance(self.optimizer, FusedAdamW) and self.optimizer.lazy_table is not None:
            self.optimizer.lazy_table.catch_up(data[0]["token_ids"])
        batch_size, share = ops.shape(tf.nest.flatten(data)[0])[0], 1.0
        if self.replicas is not None:
            data, share = self.replicas.portion(data)
        inputs, targets, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            logits = self.student(inputs, training=True)
            parts = self._loss_parts(targets, logits, sample_weight)
            parts = {name: share * value for name, value in parts.items()}
            scaled_loss = self.optimizer.scale_loss(parts["loss"])
        variables = self.student.trainable_variables
        gradients = [merged(gradient) for gradient in tape.gradient(scaled_loss, variables)]
        if self.replicas is not None:
            parts, sums = self.replicas.summed(parts, gradients)
            gradients = [merged(gradient) for gradient in sums]
        parts["gradient_norm"] = tf.linalg.global_norm(gradients)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._results(parts, batch_size, targets["label"], logits, sample_weight)

    def test_step(self, data: tuple[Tensors, ...]) -> dict[str, tf.Tensor]:
        """The same losses and metrics without a step."""
        inputs, targets, sample_weight = self._unpack(data)
        logits = self.student(inputs, training=False)
        parts = self._loss_parts(targets, logits, sample_weight)
        batch_size = ops.shape(logits)[0]
        return self._results(parts, batch_size, targets["label"], logits, sample_weight)

    def _unpack(
        self, data: tuple[Tensors, ...]
    ) -> tuple[Tensors, dict[str, tf.Tensor], tf.Tensor | None]:
        """Inputs, targets by name (the label at least) and sample weights or None."""
        inputs, targets, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        # For targets in a mapping, `fit` makes a mapping of the weights too.
        if isinstance(sample_weight, dict):
            sample_weight = sample_weight["label"]
        if targets is None:
            raise ValueError("Expected labels as `y`, or with each batch. Received: None")
        if isinstance(targets, dict):
            if "label" not in targets or not _CASTS.keys() >= targets.keys():
                raise ValueError(
                    "Expected targets `label` and, if there are any, `teacher_logits`, "
                    f"`is_labelled` and `is_answered`. Received: {', '.join(targets)}"
                )
            return (
                inputs,
                {name: _CASTS[name](value) for name, value in targets.items()},
                sample_weight,
            )
        if self.teacher is None:
            return inputs, {"label": targets}, sample_weight
        teacher_logits = ops.stop_gradient(self.teacher(inputs, training=False))
        return inputs, {"label": targets, "teacher_logits": teacher_logits}, sample_weight

    def _loss_parts(
        self, targets: dict[str, tf.Tensor], logits: tf.Tensor, sample_weight: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Mean loss of the batch and its two parts, each a scalar."""
        labels = targets["label"]
        if "is_labelled" in targets:
            # What stands where there is none may be -1, or anything.
            labels = _where(targets["is_labelled"], labels)
        label_losses = label_loss(self.task, labels, logits)
        if self.class_weight is not None:
            classes = ops.reshape(ops.cast(labels, "int32"), [-1])
            weights = ops.convert_to_tensor(self.class_weight, label_losses.dtype)
            label_losses *= ops.take(weights, classes)
        if "is_labelled" in targets:
            # Not a product: what no label bounds may be infinite.
            label_losses = ops.where(targets["is_labelled"], label_losses, 0.0)
        student_loss = _mean(label_losses, sample_weight)
        added = sum(self.student.losses)
        if "teacher_logits" not in targets:
            return {"loss": student_loss + added, "student_loss": student_loss}
        answers, answered = targets["teacher_logits"], targets.get("is_answered")
        if answered is not None:
            answers = _where(answered, answers)
        losses = teacher_loss(self.task, answers, logits, self.temperature, self.distillation_loss)
        if answered is not None:
            losses = ops.where(answered, losses, 0.0)
            # Where no answer stands beside it, the label counts for both.
            label_losses = ops.where(answered, 0.0, label_losses)
        distillation_loss = _mean(losses, sample_weight)
        weight = self.student_loss_weight
        # At weight 1 the teacher is watched, not followed: 0 * inf would poison the gradient.
        loss = student_loss
        if weight < 1:
            loss = weight * student_loss + (1 - weight) * distillation_loss
            if answered is not None:
                loss += (1 - weight) * _mean(label_losses, sample_weight)
        return {
            "loss": loss + added,
            "student_loss": student_loss,
            "distillation_loss": distillation_loss,
        }

    def _results(
        self,
        parts: dict[str, tf.Tensor],
        batch_size: tf.Tensor,
        labels: tf.Tensor,
        logits: tf.Tensor,
        sample_weight: tf.Tensor | None,
    ) -> dict[str, tf.Tensor]:
        for name, value in parts.items():
            self._trackers[name].update_state(value, sample_weight=batch_size)
        results = {name: self._trackers[name].result() for name in parts}
        compiled = self.compute_metrics(None, labels, logits, sample_weight)
        return {**{k: v for k, v in compiled.items() if k not in self._trackers}, **results}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Trackers of the loss parts and the compiled metrics; Keras resets them each epoch."""
        return [
            *self._trackers.values(),
            *(m for m in super().metrics if m.name not in self._trackers),
        ]

    def arithmetic(self, precision: str) -> AbstractContextManager[None]:
        """Lets the student's products compute in a precision while a block runs.

        Args:
            precision: String. "float32" or "bfloat16"; weights stay float32.
        """
        return training_arithmetic(self.student, precision)

    def get_config(self) -> dict[str, object]:
        """Arguments of `from_config`; student and teacher are saved with it."""
        return {
            **super().get_config(),
            "student": keras.saving.serialize_keras_object(self.student),
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "task": self.task,
            "temperature": self.temperature,
            "student_loss_weight": self.student_loss_weight,
            "distillation_loss": self.distillation_loss,
            "class_weight": self.class_weight,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, object] | None = None
    ) -> Self:
        """The reverse of `get_config`."""
        models = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("student", "teacher")
        }
        return cls(**{**config, **models})


def _where(are_there: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Labels or answers with zeros in the rows that have none."""
    rows = tf.reshape(are_there, [-1, *[1] * (values.shape.rank - 1)])
    return tf.where(rows, values, tf.zeros_like(values))


def _mean(losses: tf.Tensor, sample_weight: tf.Tensor | None) -> tf.Tensor:
    """The mean over the batch, each example multiplied by its weight (Keras' own reduction)."""
    if sample_weight is not None:
        # A column of weights would make a square of the losses.
        losses = losses * ops.reshape(ops.cast(sample_weight, losses.dtype), ops.shape(losses))
    return ops.mean(losses)
