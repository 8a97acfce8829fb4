"""Recipes: the ways a trained student becomes a LiteRT file, declared and not programmed.

Each entry says what the file holds, when to take it, and how far it may be from the Keras model.
The limits belong to the recipe because they follow from its arithmetic.
"""

import dataclasses

from tfkd.config import nearest
from tfkd.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One way to write a LiteRT file, and what its parity gate asks of it.

    Attributes:
        name: As in `tfkd.config.RECIPE_NAMES`; also the file's name.
        summary: What the file holds.
        when_to_use: Advice for `tfkd list recipes`.
        quantizes_weights: Whether weights are stored as int8. Activations are quantized while the
            file runs, so no calibration data is needed.
        minimum_agreement: Smallest share of texts (single_label: same largest logit; multi_label:
            label decisions at probability 0.5) on which file and Keras model must agree.
        maximum_logit_difference: Largest difference of any logit of a classifier.
        maximum_score_difference: Largest difference of a regression's score, in standard
            deviations of the Keras model's scores.
    """

    name: str
    summary: str
    when_to_use: str
    quantizes_weights: bool
    minimum_agreement: float
    maximum_logit_difference: float
    maximum_score_difference: float


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="float32",
            summary="The Keras model's own weights and arithmetic.",
            when_to_use="As the reference, or where the last digit of a logit counts.",
            quantizes_weights=False,
            minimum_agreement=0.999,
            # Order of summation only: below 1e-5 on every model measured.
            maximum_logit_difference=1e-3,
            maximum_score_difference=1e-3,
        ),
        Recipe(
            name="dynamic_int8",
            summary="int8 weights, float32 logits; about a quarter of float32's bytes.",
            when_to_use="By default: the smallest and fastest file, at most one label in 50 moves.",
            quantizes_weights=True,
            # Measured: 0.984 to 0.998 and 0.02 to 0.34; a broken file gives 0.85 and 7.9.
            minimum_agreement=0.98,
            maximum_logit_difference=1.0,
            maximum_score_difference=0.25,
        ),
    )
}


def find(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ConfigError: The name is unknown; the message offers the nearest one.

    Example:

    >>> find("dynamic_int8").minimum_agreement
    0.98
    """
    if name not in RECIPES:
        raise ConfigError(
            f"Expected `recipe` to be one of {', '.join(RECIPES)}. Received: recipe={name!r}. "
            f"{nearest(name, list(RECIPES))}"
        )
    return RECIPES[name]
