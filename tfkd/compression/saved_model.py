"""The SavedModel that the LiteRT converter reads: one batch-1 signature for each text length.

BERT-family students and the CNN go the lean way (`tfkd.compression.graph` and `cnn_graph`); every
other model is traced as Keras runs it, and the route says why.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfkd.compression.graph import TextGraph
    from tfkd.models.classifier import TextClassifier

LEAN, PLAIN = "lean", "plain"
SIGNATURE_PREFIX = "tokens_"


@dataclasses.dataclass(frozen=True)
class Route:
    """Route from a model to its SavedModel.

    Attributes:
        name: "lean", or "plain" for the graph that Keras itself runs.
        reason: Why it is plain, as an end of a sentence; empty for lean.
    """

    name: str
    reason: str = ""


def write_saved_model(
    classifier: "TextClassifier",
    lengths: Sequence[int],
    folder: Path | str,
    mask_bias: float = -100.0,
    whole_last_layer: bool = False,
    output: str = "logits",
) -> Route:
    """Writes the model of a classifier with the signatures `tokens_<length>`.

    A signature takes the model's own inputs as int32 `[1, length]` and gives `output`, float32
    `[1, num_outputs]`.

    Args:
        classifier: `TextClassifier`.
        lengths: Integers. Tokens of a text, padding included; one signature each.
        folder: Path of the SavedModel.
        mask_bias: Float. See `LeanGraph`; the plain route has Keras' own.
        whole_last_layer: Boolean. See `LeanGraph`; the plain route always computes it whole.
        output: String. "logits", or "scores": probabilities, for regression the score itself.

    Example:

    ```python
    write_saved_model(student, (32, 64, 128), folder)  # Route(name="lean", reason="")
    ```
    """
    import tensorflow as tf

    lean, route = lean_graph(
        classifier,
        mask_bias=mask_bias,
        whole_last_layer=whole_last_layer,
        num_positions=max(lengths),
    )
    if lean is None:
        _write_plain(classifier, lengths, folder, output)
        return route
    signatures = {
        f"{SIGNATURE_PREFIX}{length}": lean.endpoint(length, output) for length in lengths
    }
    tf.saved_model.save(lean, str(folder), signatures)
    return route


def lean_graph(classifier: "TextClassifier", **settings: Any) -> "tuple[TextGraph | None, Route]":
    """The lean graph of a classifier, None when it has none, and the `Route` that this is."""
    from tfkd.compression.cnn_graph import CnnGraph, is_cnn
    from tfkd.compression.graph import LeanGraph, why_not_lean

    model, task = classifier.model, classifier.task
    if is_cnn(model):
        return CnnGraph(model, task), Route(LEAN)
    reason = why_not_lean(model)
    if reason is not None:
        return None, Route(PLAIN, reason)
    return LeanGraph(model, classifier.num_texts, task=task, **settings), Route(LEAN)


def _write_plain(
    classifier: "TextClassifier", lengths: Sequence[int], folder: Path | str, output: str
) -> None:
    """The graph that Keras runs, at static shapes."""
    import keras
    import tensorflow as tf

    from tfkd.compression.graph import SCORES

    def answer(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        logits = classifier.model(inputs, training=False)
        return {output: logits if output == "logits" else SCORES[classifier.task](logits)}

    archive = keras.export.ExportArchive()
    archive.track(classifier.model)
    for length in lengths:
        specs = {
            name: tf.TensorSpec([1, length], tf.int32, name=name) for name in classifier.input_names
        }
        archive.add_endpoint(f"{SIGNATURE_PREFIX}{length}", answer, input_signature=[specs])
    archive.write_out(str(folder), verbose=False)
