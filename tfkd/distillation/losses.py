"""Losses of a student, by labels and by its teacher, one value an example.

All are pure functions in log space; reduction and weighting are the caller's. `task` is
"single_label", "multi_label" or "regression"; a student that learns an encoder's vectors of texts,
"embedding", has a teacher alone.
"""

from typing import TypeAlias

import numpy as np
import tensorflow as tf
from keras import ops

DISTILLATION_LOSSES = ("kl", "mse", "hard")
# What makes the similarities of a batch's texts count about as much as their directions.
SIMILARITY_WEIGHT = 10.0

Array: TypeAlias = tf.Tensor | np.ndarray


def distillation_loss(
    teacher_logits: Array, student_logits: Array, temperature: float
) -> tf.Tensor:
    """Divergence of the student's softened prediction from the teacher's.

    Computes `temperature**2 * KL(teacher || student)` in log space, so that large logits do not
    underflow. The factor keeps gradients comparable across temperatures.

    Args:
        teacher_logits: Float tensor, shape `[batch, num_classes]`. No gradient needed.
        student_logits: Float tensor, same shape.
        temperature: Float, at least 1. Typical values are 2 to 5.

    Returns:
        Float tensor, shape `[batch]`.

    Example:

    >>> distillation_loss(logits, logits, temperature=2.0)  # same logits: zeros

    Reference: [Hinton et al., 2015](https://arxiv.org/abs/1503.02531)
    """
    teacher = ops.log_softmax(teacher_logits / temperature, axis=-1)
    student = ops.log_softmax(student_logits / temperature, axis=-1)
    return temperature**2 * ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)


def binary_distillation_loss(
    teacher_logits: Array, student_logits: Array, temperature: float
) -> tf.Tensor:
    """The same for independent labels: the mean of the labels' Bernoulli divergences.

    Args:
        teacher_logits: Float tensor, shape `[batch, num_labels]`.
        student_logits: Float tensor, same shape.
        temperature: Float, at least 1.

    Returns:
        Float tensor, shape `[batch]`.
    """
    teacher, student = teacher_logits / temperature, student_logits / temperature
    probability = ops.sigmoid(teacher)
    # log(1 - sigmoid(x)) = log_sigmoid(-x), without cancellation.
    divergence = probability * (ops.log_sigmoid(teacher) - ops.log_sigmoid(student)) + (
        1 - probability
    ) * (ops.log_sigmoid(-teacher) - ops.log_sigmoid(-student))
    return temperature**2 * ops.mean(divergence, axis=-1)


def squared_error(target: Array, prediction: Array) -> tf.Tensor:
    """Mean squared difference of an example's outputs.

    Args:
        target: Float tensor, shape `[batch]` or `[batch, num_outputs]`.
        prediction: Float tensor, shape `[batch, num_outputs]`.

    Returns:
        Float tensor, shape `[batch]`.
    """
    target = ops.reshape(ops.cast(target, prediction.dtype), ops.shape(prediction))
    return ops.mean(ops.square(target - prediction), axis=-1)


def embedding_loss(teacher_vectors: Array, student_vectors: Array) -> tf.Tensor:
    """How far the student's vectors point elsewhere, alone and among each other.

    Computes `1 - cosine(teacher, student)` of each text, and 10 times the mean squared difference
    of its cosines to all texts of the batch, the teacher's from the student's. The length of a
    vector counts nothing.

    Args:
        teacher_vectors: Float tensor, shape `[batch, width]`. No gradient needed.
        student_vectors: Float tensor, same shape.

    Returns:
        Float tensor, shape `[batch]`.

    Example:

    >>> embedding_loss(vectors, 3 * vectors)  # same directions: zeros

    Reference: [Reimers and Gurevych, 2020](https://arxiv.org/abs/2004.09813), [Park et al., 2019](
    https://arxiv.org/abs/1904.05068)
    """
    teacher, student = (
        ops.normalize(vectors, axis=-1) for vectors in (teacher_vectors, student_vectors)
    )
    direction = 1 - ops.sum(teacher * student, axis=-1)
    difference = ops.matmul(teacher, ops.transpose(teacher)) - ops.matmul(
        student, ops.transpose(student)
    )
    return direction + SIMILARITY_WEIGHT * ops.mean(ops.square(difference), axis=-1)


def label_loss(task: str, labels: Array, logits: Array) -> tf.Tensor:
    """The loss of a task on its labels.

    Args:
        task: String.
        labels: Class indices from 0 `[batch]`, multi-hot rows `[batch, num_labels]`, or scores
            `[batch]`; what is `[batch]` may be a column.
        logits: Float tensor, shape `[batch, num_outputs]`.

    Returns:
        Float tensor, shape `[batch]`: cross-entropy, mean binary cross-entropy or squared error;
        zeros for "embedding", which has no labels.

    Raises:
        ValueError: The task is unknown, or has labels of another shape or type.
        tf.errors.InvalidArgumentError: A label is out of range, as of Keras' own loss. Compiled
            with XLA, which has no such errors, the loss of single labels is NaN instead.
    """
    if task == "embedding":
        return ops.zeros_like(logits[:, 0])
    if task in _LABEL_FORMS:
        labels = _checked_labels(task, labels, logits)
    if task == "single_label":
        if tf.as_dtype(labels.dtype).is_floating:
            whole = tf.reduce_all(tf.floor(labels) == labels)
            labels = _asserted(labels, whole, "class indices, which are whole numbers")
        indices = ops.reshape(ops.cast(labels, "int32"), [-1])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(indices, logits)
    if task == "multi_label":
        labels = ops.cast(labels, logits.dtype)
        in_range = tf.reduce_all((labels >= 0) & (labels <= 1))
        labels = _asserted(labels, in_range, "multi-hot rows of values from 0 to 1")
        return -ops.mean(
            labels * ops.log_sigmoid(logits) + (1 - labels) * ops.log_sigmoid(-logits), axis=-1
        )
    if task == "regression":
        return squared_error(labels, logits)
    raise ValueError(
        "Expected `task` to be single_label, multi_label, regression or embedding. Received: "
        f"task={task!r}"
    )


def teacher_loss(
    task: str, teacher_logits: Array, student_logits: Array, temperature: float, loss: str = "kl"
) -> tf.Tensor:
    """The distillation loss of a task.

    The squared error asks for the teacher's logits themselves, also for what they have in common,
    which changes no probability. For logits of mean 0 it is twice the limit of the divergence as
    the temperature grows (Hinton et al., equation 4).

    Args:
        task: String.
        teacher_logits: Float tensor, shape `[batch, num_outputs]`.
        student_logits: Float tensor, same shape.
        temperature: Float, at least 1. For "kl" alone; scores (regression) are not softened.
        loss: String. "kl", the task's divergence; "mse", the mean squared error of logits; or
            "hard", the label loss of what the teacher decides for: its likeliest class, or the
            labels that are likelier than not. Scores have the squared error, and vectors
            `embedding_loss`, whichever it is.

    Returns:
        Float tensor, shape `[batch]`.

    Raises:
        ValueError: Teacher and student have not the same number of outputs.

    Example:

    >>> teacher_loss("single_label", teacher_logits, teacher_logits + 3, 2.0, "mse")  # nines

    Reference: [Ba and Caruana, 2014](https://arxiv.org/abs/1312.6184), [Tang et al., 2019](
    https://arxiv.org/abs/1903.12136)
    """
    widths = teacher_logits.shape[-1], student_logits.shape[-1]
    if None not in widths and widths[0] != widths[1]:
        raise ValueError(
            f"Expected teacher logits for {widths[1]} outputs, as the student has. Received: "
            f"{widths[0]}. Give a teacher of the same classes."
        )
    if task == "embedding":
        return embedding_loss(teacher_logits, student_logits)
    if loss == "mse":
        return squared_error(teacher_logits, student_logits)
    if loss == "hard" and task == "single_label":
        return label_loss(task, ops.argmax(teacher_logits, axis=-1), student_logits)
    if loss == "hard" and task == "multi_label":
        return label_loss(task, ops.cast(teacher_logits > 0, "int32"), student_logits)
    if task == "single_label":
        return distillation_loss(teacher_logits, student_logits, temperature)
    if task == "multi_label":
        return binary_distillation_loss(teacher_logits, student_logits, temperature)
    return squared_error(teacher_logits, student_logits)


# What to give, by task.
_LABEL_FORMS = {
    "single_label": "class indices from 0, shape [batch] (of one-hot rows: rows.argmax(axis=-1); "
    'rows of several labels are of task="multi_label")',
    "multi_label": "multi-hot rows, a 0 or 1 for each output",
    "regression": "scores, one number for each output",
}


def _checked_labels(task: str, labels: Array, logits: Array) -> tf.Tensor:
    """Labels that are numbers in a shape which no arithmetic would stretch or fold in silence."""
    labels = tf.convert_to_tensor(labels)
    outputs = logits.shape[-1]
    widths = [(outputs,)] if task == "multi_label" else [(), (1,)]
    if task == "regression" and outputs != 1:
        widths = [(outputs,)]
    if labels.dtype == tf.string:
        received = "strings"
    elif labels.shape.rank is not None and tuple(labels.shape[1:]) not in [*widths, (None,)]:
        received = f"shape [{', '.join(map(str, ('batch', *labels.shape[1:])))}]"
    else:
        return labels
    raise ValueError(
        f"Expected labels for {outputs} outputs as {_LABEL_FORMS[task]}. Received: {received}"
    )


def _asserted(labels: tf.Tensor, holds: tf.Tensor, expected: str) -> tf.Tensor:
    """The labels, once they are known to be what is expected."""
    found = [f"Expected {expected}. Received labels from", tf.reduce_min(labels)]
    check = tf.debugging.Assert(holds, [*found, "to", tf.reduce_max(labels)])
    # Eager code has raised by now and has no operation to wait for.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(labels)
