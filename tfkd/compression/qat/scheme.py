"""The scheme of rounding: one `QuantizeConfig` for every layer, and the three ways to place one.

A twin is written once, as calls of a `Placement`. That leaves its layers as they are (the float
twin), has TF-MOT wrap them with quantizers (training), or with those of outputs alone over weights
that are rounded already (baked: what the converter turns into integers).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import tensorflow as tf

from tfkd.compression.qat.legacy import tf_keras, tfmot
from tfkd.compression.qat.quantizers import (
    ActivationRange,
    BlockRange,
    FixedRange,
    MaskedRange,
    Quantizer,
    StoredRange,
    WeightRange,
)

TABLE = "embeddings"
# Not far below live scores, which have only 256 values; far enough to be nothing after softmax.
INTEGER_MASK_BIAS = -32.0
PREFIX = "quant_"


@dataclasses.dataclass(frozen=True)
class Scheme:
    """The choices that a twin is trained and exported by.

    Attributes:
        table_bits: 8 for token tables with one scale, 4 for blocks of 32 with a scale each.
        integer_softmax: Whether attention scores, too, are integers, for processors that have
            nothing else; float is more exact and, on a CPU, faster.
        freeze_after: Training batches after which ranges stay; None for never.
    """

    table_bits: int = 8
    integer_softmax: bool = False
    freeze_after: int | None = None


class LayerQuantization(tfmot.quantization.keras.QuantizeConfig):
    """Quantizers of a layer's weights and of its output.

    Args:
        weights: Mapping of the attributes that hold them to quantizers.
        output: Quantizer of what the layer gives, or None.
        stored: Boolean. The weights are rounded already: `load` in `tfkd.compression.qat.mirror`
            does it, and the layer does not.
    """

    def __init__(
        self,
        weights: Mapping[str, Quantizer],
        output: Quantizer | None = None,
        stored: bool = False,
    ) -> None:
        self.weights = dict(weights)
        self.output = output
        self.stored = stored
        self.variables: dict[str, tf.Variable] = {}

    def get_weights_and_quantizers(
        self, layer: tf_keras.layers.Layer
    ) -> list[tuple[tf.Variable, Quantizer]]:
        """Variables and what rounds them in the graph."""
        # Once the layer was called, its attributes are rounded tensors.
        self.variables = {name: getattr(layer, name) for name in self.weights}
        return [(self.variables[name], quantizer) for name, quantizer in self._active().items()]

    def set_quantize_weights(
        self, layer: tf_keras.layers.Layer, quantize_weights: Sequence[tf.Tensor]
    ) -> None:
        """Puts the rounded weights in the place of the variables."""
        for name, value in zip(self._active(), quantize_weights, strict=True):
            setattr(layer, name, value)

    def get_activations_and_quantizers(
        self, layer: tf_keras.layers.Layer
    ) -> list[tuple[object, Quantizer]]:
        """None: an activation is a layer of its own."""
        return []

    def set_quantize_activations(
        self, layer: tf_keras.layers.Layer, quantize_activations: Sequence[object]
    ) -> None:
        """Nothing to set."""
        return None

    def get_output_quantizers(self, layer: tf_keras.layers.Layer) -> list[Quantizer]:
        """The output's quantizer, if there is one."""
        return [] if self.output is None else [self.output]

    def get_config(self) -> dict[str, object]:
        """The arguments of the constructor, quantizers and all: the model is never saved whole."""
        return {"weights": self.weights, "output": self.output, "stored": self.stored}

    def _active(self) -> dict[str, Quantizer]:
        """A stored table keeps a range in the graph, or the converter would leave it in float."""
        if not self.stored:
            return self.weights
        return {
            name: StoredRange()
            for name, quantizer in self.weights.items()
            if isinstance(quantizer, WeightRange) and not quantizer.per_channel
        }


class Placement:
    """Places the layers of a functional twin.

    Args:
        scheme: `Scheme`, or None for the float twin.
        baked: Boolean. For export: weights are rounded when they are loaded, not in the graph.

    Example:

    ```python
    place = Placement(Scheme())
    vectors = place(tf_keras.layers.Dense(128, name="key"), ["kernel"], "symmetric")(vectors)
    ```
    """

    def __init__(self, scheme: Scheme | None = None, baked: bool = False) -> None:
        self.scheme = scheme
        self.baked = baked

    def __call__(
        self, layer: tf_keras.layers.Layer, weights: Sequence[str] = (), output: str | None = None
    ) -> tf_keras.layers.Layer:
        """The layer, ready to be called in a functional model.

        Args:
            layer: tf_keras layer with a name of its own.
            weights: Attributes to round: "embeddings" as a table, any other as a kernel, with a
                range for each index of its last axis.
            output: "range" (follows what flows), "symmetric" (the same, zero in the middle),
                "probabilities", "tanh", "mask" and "masked" (the bias of integer scores, and their
                sum), or None to leave the output in float.

        Raises:
            ValueError: The output is none of these.
        """
        if self.scheme is None or not (weights or output):
            return layer
        quantization = LayerQuantization(
            {name: _of_weight(name, self.scheme) for name in weights},
            _of_output(output, self.scheme),
            self.baked,
        )
        return tfmot.quantization.keras.quantize_annotate_layer(layer, quantization)


def _of_weight(name: str, scheme: Scheme) -> Quantizer:
    if name != TABLE:
        return WeightRange(per_channel=True)
    return WeightRange(per_channel=False) if scheme.table_bits == 8 else BlockRange()


def _of_output(kind: str | None, scheme: Scheme) -> Quantizer | None:
    quantizers = {
        None: None,
        "range": ActivationRange(freeze_after=scheme.freeze_after),
        "symmetric": ActivationRange(symmetric=True, freeze_after=scheme.freeze_after),
        "masked": MaskedRange(INTEGER_MASK_BIAS, freeze_after=scheme.freeze_after),
        "mask": FixedRange(INTEGER_MASK_BIAS, 0.0),
        "probabilities": FixedRange(0.0, 255 / 256),
        "tanh": FixedRange(-1.0, 127 / 128),
    }
    if kind not in quantizers:
        raise ValueError(f"Expected `output` in {tuple(quantizers)}. Received: {kind!r}")
    return quantizers[kind]


class _AsPlaced(
    tfmot.quantization.keras.QuantizeScheme, tfmot.quantization.keras.QuantizeLayoutTransform
):
    """Wraps the layers that were placed and no others.

    TF-MOT's default adds quantizers behind inputs, token ids too, and behind layers it knows.
    """

    def get_layout_transformer(self) -> "_AsPlaced":
        return self

    def apply(
        self, model: tf_keras.Model, layer_quantize_map: Mapping[str, object]
    ) -> tuple[tf_keras.Model, Mapping[str, object]]:
        return model, layer_quantize_map

    def get_quantize_registry(self) -> "_AsPlaced":
        return self

    def supports(self, layer: tf_keras.layers.Layer) -> bool:
        return False


def apply(annotated: tf_keras.Model, custom_objects: Iterable[type]) -> tf_keras.Model:
    """The model with its annotated layers wrapped by TF-MOT.

    Args:
        annotated: Functional model whose layers a `Placement` placed.
        custom_objects: Layer classes in it that tf_keras does not know.

    Returns:
        A new model; a wrapped layer's name starts with `PREFIX`.
    """
    known = (LayerQuantization, ActivationRange, FixedRange, MaskedRange, *custom_objects)
    with tfmot.quantization.keras.quantize_scope({one.__name__: one for one in known}):
        return tfmot.quantization.keras.quantize_apply(annotated, scheme=_AsPlaced())


def bake(wrapper: tfmot.quantization.keras.QuantizeWrapper) -> None:
    """Rounds the weights of a layer placed for export to what its quantizers make of them."""
    quantization = wrapper.quantize_config
    for name, quantizer in quantization.weights.items():
        variable = quantization.variables[name]
        variable.assign(quantizer(variable, training=False, weights={}))
    for variable, _, kept in wrapper._weight_vars:
        kept["limit"].assign(tf.reduce_max(tf.abs(variable)))
