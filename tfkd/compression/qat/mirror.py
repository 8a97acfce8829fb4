"""A student as a tf_keras model: TF-MOT knows no other Keras.

The mirror has the student's inputs and gives its logits. Every time one is made, its float form
is compared with the student, so that nothing is trained in its place.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfkd.compression.qat import bilstm, cnn, encoder
from tfkd.compression.qat.legacy import tf_keras
from tfkd.compression.qat.scheme import PREFIX, LayerQuantization, Placement, Scheme, apply, bake
from tfkd.errors import ConversionError, ModelError
from tfkd.models.classifier import TextClassifier

TOLERANCE = 1e-4

Weights = Mapping[str, list[np.ndarray]]


class Kind(Protocol):
    """A module that knows a family of students."""

    @property
    def CUSTOM_LAYERS(self) -> tuple[type, ...]:  # noqa: N802
        """Layers of its twins that tf_keras does not know."""

    def parts_of(self, classifier: TextClassifier) -> Any | None:
        """What `build` needs to know of the student, or None where it is of another kind."""

    def build(self, layers: Any, place: Placement) -> tf_keras.Model:
        """The twin, untrained; every layer with variables has a name that stays the same."""

    def read(self, model: keras.Model) -> Weights:
        """The student's weights as the twin's: layer names to arrays in the layer's own order."""


_KINDS: tuple[Kind, ...] = (encoder, bilstm, cnn)


def build(
    classifier: TextClassifier, scheme: Scheme | None = None, baked: bool = False
) -> tf_keras.Model:
    """The mirror of a student, with its weights.

    Args:
        classifier: `TextClassifier` in float32.
        scheme: `Scheme` to train by, or None for the float mirror.
        baked: Boolean. The form for the converter, whose variables `load` sets.

    Returns:
        Functional tf_keras model from a mapping of the student's input names to int32
        `[batch, length]` to float32 logits `[batch, num_outputs]`.

    Raises:
        ModelError: There is no mirror for such a student.
        ConversionError: The float mirror's logits are not the student's.

    Example:

    ```python
    twin = build(TextClassifier.load("saved_models/demo/student"), Scheme())
    ```
    """
    kind, layers = _known(classifier)
    if scheme is not None and not baked:
        build(classifier)
    mirror = _untrained(kind, layers, Placement(scheme, baked))
    copy_to(mirror, classifier)
    if scheme is None:
        check(mirror, classifier)
    return mirror


def copy_to(mirror: tf_keras.Model, classifier: TextClassifier) -> None:
    """Gives a mirror the weights of its student."""
    weights = _known(classifier)[0].read(classifier.model)
    for layer in _weighted(mirror):
        for variable, array in zip(layer.trainable_weights, weights[_name(layer)], strict=True):
            # Of a position table, the mirror has the rows that texts can reach.
            variable.assign(array[: variable.shape[0]] if variable.shape else array)


def variables(mirror: tf_keras.Model) -> dict[str, tf.Variable]:
    """All variables by names that do not depend on what else the process has built.

    Returns:
        Mapping of "layer/variable" to variables: weights, ranges and their counters.
    """
    found = {}
    for layer in mirror.layers:
        for variable in layer.weights:
            # The first part, where there is one, is a scope that TF-MOT numbered.
            path = variable.name.removesuffix(":0").split("/", maxsplit=1)[-1]
            if path != "optimizer_step":
                found[f"{_name(layer)}/{path}"] = variable
    return found


def load(mirror: tf_keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Sets the variables of a mirror; one built for export gets its weights rounded.

    Args:
        mirror: Model of `build`.
        arrays: Mapping of the names that `variables` gives for a trained mirror to arrays.

    Raises:
        ValueError: A variable has no array.
    """
    own = variables(mirror)
    wanted = {name for name in own if not name.endswith("_limit")}
    if missing := sorted(wanted - arrays.keys()):
        raise ValueError(f"Expected arrays for all variables. Missing: {', '.join(missing)}")
    for name in wanted:
        own[name].assign(arrays[name])
    for layer in mirror.layers:
        if _is_stored(layer):
            bake(layer)


def check(mirror: tf_keras.Model, classifier: TextClassifier) -> float:
    """The largest difference between a float mirror's logits and the student's.

    Returns:
        Largest absolute difference on random rows of several lengths, full and padded.

    Raises:
        ConversionError: It is larger than `TOLERANCE`.
    """
    num_tokens = mirror.get_layer("token_embedding").input_dim
    random = np.random.default_rng(0)
    longest = classifier.tokenizer.sequence_length
    differences = []
    for length in sorted({2, longest // 2, longest}):
        arrays = _random_rows(random, length, num_tokens, classifier)
        logits = mirror(arrays, training=False).numpy()
        differences.append(np.abs(logits - classifier.predict_encoded(arrays)).max())
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:
        raise ConversionError(
            f"Expected a mirror whose logits differ by at most {TOLERANCE:g} from the student's. "
            f"Received: {largest:.2g}. Quantize it after training: --recipe dynamic_int8."
        )
    return largest


# What AutoGraph would convert has no loops; reading it takes half of the time.
@tf.autograph.experimental.do_not_convert
def _untrained(kind: Kind, layers: Any, place: Placement) -> tf_keras.Model:
    mirror = kind.build(layers, place)
    return mirror if place.scheme is None else apply(mirror, kind.CUSTOM_LAYERS)


def _random_rows(
    random: np.random.Generator, length: int, vocabulary_size: int, classifier: TextClassifier
) -> dict[str, np.ndarray]:
    """A full row, a padded one, one of two tokens."""
    sizes = np.array([length, max(2, length * 2 // 3), 2])[:, None]
    mask = (np.arange(length) < sizes).astype(np.int32)
    second = (np.arange(length) >= sizes // 2) & (classifier.num_texts > 1)
    arrays = {
        "token_ids": random.integers(0, vocabulary_size, mask.shape, dtype=np.int32),
        "padding_mask": mask,
        "segment_ids": second * mask,
    }
    return {name: arrays[name] for name in classifier.input_names}


def _known(classifier: TextClassifier) -> tuple[Kind, Any]:
    """The module that knows the student, and what it knows."""
    for kind in _KINDS:
        layers = kind.parts_of(classifier)
        if layers is not None:
            return kind, layers
    raise ModelError(
        "Expected a student of BERT's family, a BiLSTM or a CNN. Received: "
        f"{classifier.model.name}. Quantize it after training: --recipe dynamic_int8."
    )


def _name(layer: tf_keras.layers.Layer) -> str:
    return layer.name.removeprefix(PREFIX)


def _weighted(mirror: tf_keras.Model) -> list[tf_keras.layers.Layer]:
    return [layer for layer in mirror.layers if layer.trainable_weights]


def _is_stored(layer: tf_keras.layers.Layer) -> bool:
    quantization = getattr(layer, "quantize_config", None)
    return isinstance(quantization, LayerQuantization) and quantization.stored
