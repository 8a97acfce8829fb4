"""Losses of a student, by labels and by its teacher, one value an example.

All are pure functions in log space; reduction and weighting are the caller's. `task` is
"single_label", "multi_label" or "regression"; a student that learns an encoder's vectors of texts,
"embedding", has a teacher alone.
"""

from typing import TypeAlias

import numpy as np
import tensorflow as tf
from keras import ops

DISTILLATION_LOSSES = ("kl", "mse")
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
        labels: Class indices `[batch]`, multi-hot rows `[batch, num_labels]`, or scores `[batch]`.
        logits: Float tensor, shape `[batch, num_outputs]`.

    Returns:
        Float tensor, shape `[batch]`: cross-entropy, mean binary cross-entropy or squared error;
        zeros for "embedding", which has no labels.

    Raises:
        ValueError: The task is unknown.
    """
    if task == "single_label":
        # keras.losses.sparse_categorical_crossentropy would serve, but not in log space for all
        # backends; this is the same value.
        # Labels may come as a column, as Keras' own losses take them.
        labels = ops.reshape(ops.cast(labels, "int32"), [-1])
        picked = ops.one_hot(labels, ops.shape(logits)[-1], dtype=logits.dtype)
        return -ops.sum(picked * ops.log_softmax(logits, axis=-1), axis=-1)
    if task == "multi_label":
        labels = ops.cast(labels, logits.dtype)
        return -ops.mean(
            labels * ops.log_sigmoid(logits) + (1 - labels) * ops.log_sigmoid(-logits), axis=-1
        )
    if task == "regression":
        return squared_error(labels, logits)
    if task == "embedding":
        return ops.zeros_like(logits[:, 0])
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
        loss: String. "kl", the task's divergence, or "mse", the mean squared error of logits.
            Scores have the squared error, and vectors `embedding_loss`, either way.

    Returns:
        Float tensor, shape `[batch]`.

    Example:

    >>> teacher_loss("single_label", teacher_logits, teacher_logits + 3, 2.0, "mse")  # nines

    Reference: [Ba and Caruana, 2014](https://arxiv.org/abs/1312.6184), [Tang et al., 2019](
    https://arxiv.org/abs/1903.12136)
    """
    if task == "embedding":
        return embedding_loss(teacher_logits, student_logits)
    if loss == "mse":
        return squared_error(teacher_logits, student_logits)
    if task == "single_label":
        return distillation_loss(teacher_logits, student_logits, temperature)
    if task == "multi_label":
        return binary_distillation_loss(teacher_logits, student_logits, temperature)
    return squared_error(teacher_logits, student_logits)
