"""Looks at the arguments of a Distiller, and at what Keras was told beside it."""

from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np

from tfkd.config.fields import nearest

# What `keras.Model` takes, and what arguments of the Distiller are called elsewhere.
_OF_KERAS = {"name", "trainable", "dtype", "autocast", "activity_regularizer"}
_ELSEWHERE = {
    "alpha": "student_loss_weight",
    "distillation_loss_weights": "student_loss_weight",
    "strategy": "distillation_loss",
}


def check_names(given: Collection[str], known: Collection[str]) -> None:
    """Refuses arguments that there are not, with the name that they have here.

    Raises:
        TypeError: Neither the Distiller nor `keras.Model` has one of them.
    """
    for name in sorted(set(given) - _OF_KERAS):
        hint = nearest(_ELSEWHERE.get(name, name), list(known))
        if "feature" in name or "layer" in name:
            hint = "There is no loss between layers: the teacher's answers are all it gives."
        raise TypeError(f"Expected arguments of tfkd.Distiller. Received: `{name}`. {hint}")


def check_class_weight(
    class_weight: Sequence[float] | np.ndarray, task: str, num_outputs: int
) -> None:
    """Refuses weights of another task or number.

    Raises:
        ValueError: They are.
    """
    if task != "single_label" or len(class_weight) != num_outputs:
        raise ValueError(
            f"Expected `class_weight` for {num_outputs} classes of a single_label task. Received: "
            f"{len(class_weight)} numbers for {task}"
        )


def check_numbers(temperature: float, student_loss_weight: float) -> None:
    """Refuses what is no number, or out of range.

    Raises:
        TypeError: It is no number.
        ValueError: It is out of range.
    """
    numbers = {"temperature": temperature, "student_loss_weight": student_loss_weight}
    for name, value in numbers.items():
        if isinstance(value, str) or value is None:
            raise TypeError(f"Expected a number as `{name}`. Received: {name}={value!r}")
    if not 1 <= temperature < float("inf"):
        raise ValueError(
            f"Expected `temperature` of at least 1. Received: temperature={temperature}"
        )
    if not 0 <= student_loss_weight <= 1:
        raise ValueError(
            "Expected `student_loss_weight` in [0, 1]. Received: "
            f"student_loss_weight={student_loss_weight}"
        )


def check_models(models: Mapping[str, keras.Model | None]) -> None:
    """Refuses what cannot be distilled from or into.

    Raises:
        TypeError: It is no model.
        ValueError: Its outputs are probabilities, or teacher and student are one model, which
            would be frozen.
    """
    if models["teacher"] is models["student"]:
        raise ValueError("Expected another model as `teacher` than the student. Received: the same")
    for name, model in models.items():
        if model is None:
            continue
        # A student under quantization is a model of tf_keras.
        if not hasattr(model, "trainable_variables"):
            raise TypeError(f"Expected a keras.Model as `{name}`. Received: {model!r:.100}")
        last = model.layers[-1] if getattr(model, "layers", None) else None
        if (
            isinstance(last, keras.layers.Softmax)
            or getattr(last, "activation", None) is keras.activations.softmax
        ):
            raise ValueError(
                f"Expected logits from `{name}`. Received: probabilities, from the softmax of its "
                "last layer. Build it without."
            )


def check_distribution() -> None:
    """Refuses Keras' own distribution, which on TensorFlow trains on one device without a word.

    Raises:
        ValueError: One is set.
    """
    if keras.distribution.distribution() is not None:
        raise ValueError(
            "Expected no keras.distribution, which on TensorFlow trains on one device alone. "
            f"Received: {type(keras.distribution.distribution()).__name__}. Take tf.distribute, or "
            "`tfkd distill --strategy mirrored`."
        )
