"""Recipes: the ways a trained student becomes a LiteRT file, declared and not programmed.

Each entry says how weights, tables and activations are stored, when to take it, and how far its
file may be from the Keras model. The limits belong to the recipe because they follow from its
arithmetic; `tfkd.compression.quantizer` carries it out. Most quantize a student as it is; the
trained ones train it once more for its file, and their limits are beside what came out of that.
"""

import dataclasses

from tfkd.config.fields import nearest
from tfkd.errors import ConfigError

FLOAT32, FLOAT16, INT16, INT8, INT4 = "float32", "float16", "int16", "int8", "int4"
EDGE = "edge"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to write a LiteRT file, and what its parity gate asks of it.

    Attributes:
        name: As in `tfkd.config.RECIPE_NAMES`; also the file's name.
        summary: A line on the file.
        when_to_use: Advice for `tfkd list recipes`.
        weights: Type of the stored kernels of products.
        tables: Type of the stored token tables.
        activations: Type of what flows between operators. Anything but "float32" needs a fixed
            range for each activation: from calibration data, or from the training.
        trained: Whether the student learns to live with the rounding before the file is written:
            `tfkd quantize` does that, `tfkd export` does not.
        extra: Extra of tfkd that brings the quantizer; "" where TensorFlow's own does it.
        minimum_agreement: Smallest share of texts (single_label: same largest logit; multi_label:
            label decisions) on which file and Keras model must agree.
        maximum_logit_difference: Largest difference of any logit of a classifier; None for that
            of a score.
        maximum_score_difference: Largest difference of a regression's score, in standard
            deviations of the Keras model's scores.
    """

    name: str
    summary: str
    when_to_use: str
    weights: str = FLOAT32
    tables: str = FLOAT32
    activations: str = FLOAT32
    trained: bool = False
    extra: str = ""
    minimum_agreement: float
    maximum_logit_difference: float | None
    maximum_score_difference: float

    @property
    def needs_calibration(self) -> bool:
        """Whether texts of the training split must be run to find ranges."""
        return self.activations != FLOAT32 and not self.trained


# The figures behind the limits: largest measured on BERT-tiny, BERT-mini, MiniLM, CNN and BiLSTM
# that answer rightly, beside what a broken file gives (0.85 and 7.9 or worse).
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="float32",
            summary="The Keras model's own weights and arithmetic.",
            when_to_use="As the reference, or where the last digit of a logit counts.",
            minimum_agreement=0.999,
            # Order of summation only: below 1e-5 on every model measured.
            maximum_logit_difference=1e-3,
            maximum_score_difference=1e-3,
        ),
        Recipe(
            name="float16",
            summary="float16 weights, float32 arithmetic; half of float32's bytes.",
            when_to_use="For float32's answers in half its bytes; no faster on a CPU.",
            weights=FLOAT16,
            tables=FLOAT16,
            minimum_agreement=0.998,
            # 11 bits of a weight: 0.004.
            maximum_logit_difference=0.03,
            maximum_score_difference=0.01,
        ),
        Recipe(
            name="dynamic_int8",
            summary="int8 weights, float32 logits; about a quarter of float32's bytes.",
            when_to_use="By default: the fastest file on a CPU, at most one label in 50 moves.",
            weights=INT8,
            tables=INT8,
            # 0.984 and 0.34.
            minimum_agreement=0.98,
            maximum_logit_difference=1.0,
            maximum_score_difference=0.25,
        ),
        Recipe(
            name="static_int8",
            summary="int8 weights and int8 activations with ranges fixed by calibration.",
            when_to_use="For chips that only compute in integers. On a CPU a BERT is two to four "
            "times slower than dynamic_int8 and less exact; a BiLSTM cannot be converted.",
            weights=INT8,
            tables=INT8,
            activations=INT8,
            extra=EDGE,
            # 0.998 and 1.15; MiniLM's 0.85 and 4.1 is to be refused.
            minimum_agreement=0.97,
            maximum_logit_difference=2.5,
            maximum_score_difference=0.4,
        ),
        Recipe(
            name="int16x8",
            summary="int8 weights and int16 activations with ranges fixed by calibration.",
            when_to_use="For chips with 16-bit activations: nearly float32's answers. A CPU has no "
            "fast kernels for it: tens of times slower than dynamic_int8.",
            weights=INT8,
            tables=INT8,
            activations=INT16,
            extra=EDGE,
            # 0.999 and 0.26.
            minimum_agreement=0.98,
            maximum_logit_difference=1.0,
            maximum_score_difference=0.25,
        ),
        Recipe(
            name="int4_tables",
            summary="int4 token tables in blocks of 32, int8 weights, float32 logits.",
            when_to_use="For the least bytes at nearly dynamic_int8's speed: the table is most of "
            "a small model.",
            weights=INT8,
            tables=INT4,
            extra=EDGE,
            # 0.986, and 1.71 where logits are large.
            minimum_agreement=0.975,
            maximum_logit_difference=2.0,
            maximum_score_difference=0.3,
        ),
        Recipe(
            name="int4",
            summary="int4 token tables and int4 weights in blocks of 32, float32 logits.",
            when_to_use="For larger encoders, where layers weigh as much as the table; "
            "somewhat slower than dynamic_int8.",
            weights=INT4,
            tables=INT4,
            extra=EDGE,
            # 0.964 and 1.26.
            minimum_agreement=0.95,
            maximum_logit_difference=2.5,
            maximum_score_difference=0.4,
        ),
        Recipe(
            name="qat_int8",
            summary="Quantized during training: int8 weights, tables, products and most of what "
            "flows between them.",
            when_to_use="For speed and bytes together, when minutes of training may be spent on "
            "it: BERT's family, BiLSTM and CNN; `tfkd quantize` trains from the teacher's logits.",
            weights=INT8,
            tables=INT8,
            activations=INT8,
            trained=True,
            minimum_agreement=0.98,
            maximum_logit_difference=1.0,
            maximum_score_difference=0.25,
        ),
        Recipe(
            name="qat_int4_tables",
            summary="qat_int8 with token tables in blocks of 32 int4, rounded so in training.",
            when_to_use="For the least bytes, where int4_tables costs accuracy; trains as qat_int8 "
            "does.",
            weights=INT8,
            tables=INT4,
            activations=INT8,
            trained=True,
            extra=EDGE,
            minimum_agreement=0.98,
            maximum_logit_difference=1.0,
            maximum_score_difference=0.25,
        ),
    )
}


# Where a token lies between two keys, the last bit decides which value is read: a step from one
# value to the next, which no precision makes smaller. So labels are held to what the recipe asks,
# and logits to a share of the spread they have, beyond which labels would move: whatever their
# scale, and however a student was trained. Recipes that are not here keep their scores' limit.
_NEAREST_KEY_LIMITS = {"float32": 0.1, "float16": 0.15, "dynamic_int8": 0.5, "int16x8": 0.5}


def with_nearest_keys(recipe: Recipe) -> Recipe:
    """The recipe with the limits for a student that reads values of nearest keys.

    The share of labels that must agree stays as it is.

    Example:

    >>> with_nearest_keys(find("float32")).maximum_score_difference
    0.1
    """
    limit = _NEAREST_KEY_LIMITS.get(recipe.name, recipe.maximum_score_difference)
    return dataclasses.replace(
        recipe, maximum_logit_difference=None, maximum_score_difference=limit
    )


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
