"""A shallower encoder: some layers of a pretrained one, as DistilBERT's student starts.

The embeddings stay, the chosen layers follow each other, the others are dropped.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfkd.errors import ModelError
from tfkd.models.checkpoints import Kind, Source

if TYPE_CHECKING:
    import keras_hub


def check_depth(source: Source, layers: Sequence[int] | None) -> None:
    """Refuses to keep some layers of what has none to keep.

    Raises:
        ModelError: The model is untrained, or a classifier already.
    """
    if layers is None or not (source.size is not None or source.is_ready):
        return
    reasons = {Kind.SIZE: "untrained", Kind.PRETRAINED: "a student of `tfkd pretrain`"}
    reason = reasons.get(source.kind, "a classifier already")
    raise ModelError(
        f"Expected a pretrained encoder to keep layers {', '.join(map(str, layers))} of. Received: "
        f"{source.name}, which is {reason}. Leave out the layers, or give an encoder."
    )


def keep_layers(
    backbone: "keras_hub.models.Backbone", layers: Sequence[int], name: str
) -> "keras_hub.models.Backbone":
    """A copy of an encoder with some of its transformer layers.

    Args:
        backbone: `keras_hub.models.Backbone` with `transformer_layers`.
        layers: Integers in rising order: the layers that stay, counted from 0.
        name: String. The user's name of the model, for the error message.

    Returns:
        A new backbone of the same class with the weights of the layers that stay.

    Raises:
        ModelError: The encoder has no such layers, or shares them.

    Example:

    ```python
    student = keep_layers(bert_base, [0, 2, 4, 7, 9, 11], "bert_base_en_uncased")
    ```

    Reference: [Sanh et al., 2019](https://arxiv.org/abs/1910.01108)
    """
    found = getattr(backbone, "transformer_layers", [])
    config = backbone.get_config()
    if "num_layers" not in config or len(found) != config["num_layers"]:
        raise ModelError(
            f"Expected an encoder with layers of its own to keep some of. Received: {name}, "
            f"a {type(backbone).__name__}. Leave out the layers."
        )
    known = range(len(found))
    if not layers or [index for index in known if index in layers] != list(layers):
        raise ModelError(
            f"Expected layers of {name} in rising order from 0 to {len(found) - 1}. "
            f"Received: {', '.join(map(str, layers)) or 'none'}."
        )
    shallow = type(backbone).from_config({**config, "num_layers": len(layers)})
    kept = {id(layer) for layer in shallow.transformer_layers}
    for layer in shallow.layers:
        if id(layer) not in kept:
            layer.set_weights(backbone.get_layer(layer.name).get_weights())
    for index, layer in zip(layers, shallow.transformer_layers, strict=True):
        layer.set_weights(found[index].get_weights())
    return shallow
