"""Packages asked as programs without tfkd ask them, for the parity gate.

Every function loads the file anew and gives the scores of all texts, so that what is compared is
what lies on the disk.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, InterpreterWithCustomOps

from tfkd.compression.formats import TEXT_SIGNATURE
from tfkd.quiet import native_stderr_hidden

SERVER_BATCH_SIZE = 64


def edge_scores(path: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scores that an edge package gives to tokens.

    Args:
        path: Path. A file with one signature, whose inputs are of batch size 1.
        arrays: Mapping of `token_ids`, `padding_mask` and, for families that use it, `segment_ids`
            to int32 arrays of shape `[n, length]`, the length being the file's own.

    Returns:
        float32 array of shape `[n, num_outputs]`.

    Example:

    >>> edge_scores(path, {"token_ids": ids, "padding_mask": mask})
    array([[0.01, 0.97, 0.02]], dtype=float32)
    """
    with native_stderr_hidden():
        runner = Interpreter(str(path)).get_signature_runner()
    rows = len(arrays["token_ids"])
    # An input that the model has no use for is one all the same.
    unused = np.zeros_like(arrays["token_ids"])
    columns = {name: arrays.get(name, unused) for name in runner.get_input_details()}
    return np.concatenate(
        [
            runner(**{name: values[row : row + 1] for name, values in columns.items()})["scores"]
            for row in range(rows)
        ]
    )


def text_scores(path: Path, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores that a text-tflite package gives to texts, and the tokens it makes of them.

    Args:
        path: Path. A file with the signature `classify_text`.
        texts: `n` strings.

    Returns:
        Scores, float32 `[n, num_outputs]`, and token ids, int32 `[n, length]`.
    """
    # Imported here: the operators are registered by tensorflow_text, which loads TensorFlow.
    from tensorflow_text.core.pybinds import tflite_registrar

    with native_stderr_hidden():
        interpreter = InterpreterWithCustomOps(
            model_path=str(path), custom_op_registerers=tflite_registrar.SELECT_TFTEXT_OPS
        )
        runner = interpreter.get_signature_runner(TEXT_SIGNATURE)
    answers = [runner(text=np.array([text.encode()])) for text in texts]
    scores, token_ids = (
        np.concatenate([answer[name] for answer in answers]) for name in ("scores", "token_ids")
    )
    return scores, token_ids


def served_scores(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Scores that a SavedModel gives to texts: float32 `[n, num_outputs]`.

    Args:
        folder: Path. The SavedModel.
        texts: `n` strings.
    """
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  (registers the tokenizer's operators)

    answer = tf.saved_model.load(str(folder)).signatures["serving_default"]
    batches = [
        tf.constant(texts[start : start + SERVER_BATCH_SIZE])
        for start in range(0, len(texts), SERVER_BATCH_SIZE)
    ]
    return np.concatenate([answer(text=batch)["scores"].numpy() for batch in batches])
