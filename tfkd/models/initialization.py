"""The start of a model: by a seed, and a student's from its teacher.

A student takes the teacher's token table by PCA, and its layers where widths agree. Its tokens must
be among the teacher's. A fresh table learns little from the rare words of a small data set; the
teacher's has seen them.
"""

import keras
import numpy as np

from tfkd.models.token_table import token_table

TABLE_STANDARD_DEVIATION = 0.05
_LAYER_PREFIX = "transformer_layer_"


def start_anew(seed: int) -> None:
    """Has the next model be what its seed and its form make it, whatever was made before it.

    Keras counts up the names of layers in a process: a session that goes on with a training would
    else write other names, and so another file, than one that did it all.
    """
    # Collecting garbage takes longer than building a small student.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)


def reduce_table(table: np.ndarray, width: int) -> np.ndarray:
    """The table's principal columns, centred and scaled to a standard deviation of 0.05.

    Args:
        table: Float array, shape `[vocabulary_size, teacher_width]`.
        width: Integer, at most `teacher_width`: columns to keep.

    Returns:
        float32 array, shape `[vocabulary_size, width]`.
    """
    centred = table.astype(np.float64) - table.mean(axis=0, dtype=np.float64)
    # The covariance is teacher_width squared; a full SVD of the table would be 60 times the work.
    _, directions = np.linalg.eigh(centred.T @ centred)
    reduced = centred @ directions[:, ::-1][:, :width]
    return (reduced * (TABLE_STANDARD_DEVIATION / reduced.std())).astype(np.float32)


def start_table(student: keras.Model, teacher: keras.Model, rows: np.ndarray | None = None) -> bool:
    """Starts the student's token table from the teacher's. False when the tables do not fit.

    Args:
        student: `keras.Model` whose table is set.
        teacher: `keras.Model` whose table is read.
        rows: Integers, shape `[student_vocabulary_size]`. The teacher's rows of the student's
            tokens. Default: both have the same vocabulary.
    """
    source, target = token_table(teacher), token_table(student)
    if source is None or target is None:
        return False
    table = np.asarray(source.embeddings)
    num_tokens, width = target.embeddings.shape
    if num_tokens != (len(table) if rows is None else len(rows)) or table.shape[1] < width:
        return False
    # Reduced before it is cut: a token starts the same, whatever other tokens stay.
    reduced = table if table.shape[1] == width else reduce_table(table, width)
    target.embeddings.assign(reduced if rows is None else reduced[rows])
    return True


def start_layers(student: keras.Model, teacher: keras.Model) -> int:
    """Copies evenly spread teacher layers where shapes agree; how many were copied."""
    sources, targets = _layers(teacher), _layers(student)
    if not sources or not targets or len(sources) < len(targets):
        return 0
    chosen = np.linspace(0, len(sources) - 1, len(targets)).round().astype(int)
    copied = 0
    for index, target in zip(chosen, targets, strict=True):
        weights = sources[index].get_weights()
        if [w.shape for w in weights] == [w.shape for w in target.get_weights()]:
            target.set_weights(weights)
            copied += 1
    return copied


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    found = [layer for layer in model._flatten_layers() if layer.name.startswith(_LAYER_PREFIX)]
    return sorted(found, key=lambda layer: int(layer.name.removeprefix(_LAYER_PREFIX)))
