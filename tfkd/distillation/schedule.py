"""The learning rate over a run: a linear rise, then linear or cosine decay to zero, or constant."""

import math

import keras
import tensorflow as tf
from keras import ops

SHAPES = ("linear", "cosine", "constant")


@keras.saving.register_keras_serializable(package="tfkd")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly for `warmup_steps`, then decays to zero at `total_steps`.

    Args:
        peak: Float. Highest learning rate, reached after the warm-up.
        total_steps: Integer. Steps of the whole run.
        warmup_steps: Integer, less than `total_steps`.
        shape: String. "linear", "cosine" or "constant".

    Example:

    >>> float(WarmupSchedule(1e-3, total_steps=100, warmup_steps=10)(55))  # half way down
    0.0005

    Reference: [Devlin et al., 2019](https://arxiv.org/abs/1810.04805), appendix A.2
    """

    def __init__(
        self, peak: float, total_steps: int, warmup_steps: int = 0, shape: str = "linear"
    ) -> None:
        if shape not in SHAPES:
            raise ValueError(f"Expected `shape` in {SHAPES}. Received: shape={shape!r}")
        if not 0 <= warmup_steps < total_steps:
            raise ValueError(
                f"Expected `warmup_steps` in [0, {total_steps}). Received: {warmup_steps}"
            )
        self.peak, self.total_steps = peak, total_steps
        self.warmup_steps, self.shape = warmup_steps, shape

    def __call__(self, step: int | tf.Tensor | keras.Variable) -> tf.Tensor:
        """The learning rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        # Step 0 must move too, so the rise ends one step early.
        rise = (step + 1) / (self.warmup_steps + 1)
        done = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        done = ops.clip(done, 0.0, 1.0)
        if self.shape == "linear":
            decay = 1 - done
        elif self.shape == "cosine":
            decay = 0.5 * (1 + ops.cos(math.pi * done))
        else:
            decay = ops.ones_like(done)
        return self.peak * ops.minimum(rise, decay)

    def get_config(self) -> dict[str, object]:
        """The arguments."""
        return {
            "peak": self.peak,
            "total_steps": self.total_steps,
            "warmup_steps": self.warmup_steps,
            "shape": self.shape,
        }
