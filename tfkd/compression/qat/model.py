"""A student that learns to live with the rounding of its file: quantization-aware distillation.

It is a `Distiller` whose student is the tf_keras twin of a Keras 3 one, so that loss, batches,
optimizer, backups and logs are those of any other training.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import keras
import numpy as np

from tfkd.compression import recipes
from tfkd.compression.qat import mirror
from tfkd.compression.qat.scheme import Scheme
from tfkd.compression.recipes import INT4, RECIPES
from tfkd.data.texts import GivenTexts, given_texts
from tfkd.distillation.distiller import Distiller
from tfkd.errors import ConfigError
from tfkd.models.classifier import TextClassifier

if TYPE_CHECKING:
    from tfkd.compression.qat.export import AwareFile


class Losses(TypedDict, total=False):
    """Settings of the loss, as for `Distiller`."""

    temperature: float
    student_loss_weight: float
    distillation_loss: str
    class_weight: Sequence[float] | np.ndarray | None


class QuantizationAware(Distiller):
    """Trains the quantized twin of a student; `quantization_aware` makes one.

    `fit`, `evaluate` and `predict` are those of `Distiller`. The student it was made from stays as
    it is.

    Args:
        classifier: `TextClassifier` in float32 to start from.
        recipe: String. Name of a recipe that trains.
        scheme: `Scheme` of that recipe.
        teacher: Optional `keras.Model`, as for `Distiller`.
        **losses: `temperature`, `student_loss_weight`, `distillation_loss` and `class_weight`, as
            for `Distiller`.

    Attributes:
        twin: `TextClassifier` that answers with all the rounding in place.
    """

    def __init__(
        self,
        classifier: TextClassifier,
        recipe: str,
        scheme: Scheme,
        teacher: keras.Model | None = None,
        **losses: Unpack[Losses],
    ) -> None:
        student = mirror.build(classifier, scheme)
        super().__init__(student=student, teacher=teacher, task=classifier.task, **losses)
        self.classifier, self.recipe, self.scheme = classifier, recipe, scheme
        self.twin = classifier.with_model(student)

    def compile(self, *args: object, jit_compile: bool = False, **kwargs: object) -> None:
        """As of `keras.Model`, but without XLA: on a CPU it makes these models slower."""
        super().compile(*args, jit_compile=jit_compile, **kwargs)

    def arithmetic(self, precision: str) -> contextlib.AbstractContextManager[None]:
        """Accepts float32 alone.

        Raises:
            ConfigError: For any other: its rounding is coarser than what is learned here.
        """
        if precision != "float32":
            raise ConfigError(
                "Expected precision float32 for quantization during training. Received: "
                f"{precision}. Leave --precision out."
            )
        return contextlib.nullcontext()

    def encode(self, texts: GivenTexts, length: int | None = None) -> dict[str, np.ndarray]:
        """Inputs of `fit` and `predict`: int32 arrays `[n, length]` by input name."""
        return self.twin.encode(texts, length)

    def predict_encoded(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits of encoded texts, rounded as in the file: float32, shape `[n, num_outputs]`."""
        return self.twin.predict_encoded(arrays)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each activation's range, by the name of its layer."""
        found = {
            name: float(value)
            for name, value in mirror.variables(self.student).items()
            if name.endswith(("_low", "_high"))
        }
        return {
            name.removesuffix("_low"): (low, found[f"{name.removesuffix('_low')}_high"])
            for name, low in found.items()
            if name.endswith("_low")
        }

    def export(
        self,
        model_folder: Path | str,
        texts: GivenTexts,
        lengths: Sequence[int] = (),
        output_folder: Path | None = None,
    ) -> "AwareFile":
        """Writes the LiteRT file and keeps it if it answers as this model does.

        Args:
            model_folder: Path. Folder that `save` of the float student wrote.
            texts: Strings or pairs of strings not trained on, to compare on. A few hundred.
            lengths: Integers. Signature lengths; empty for 32, 64, 128 up to the student's own.
            output_folder: Path. Folder for the file. Default: `model_folder`.

        Returns:
            The `AwareFile`: path, parity report, operators and the proof that they are integer.

        Raises:
            ConversionError: The conversion failed, or the file did not pass.
        """
        from tfkd.compression.qat.export import export_aware

        rows = given_texts(texts, self.classifier.num_texts)
        return export_aware(Path(model_folder), self, self.recipe, rows, lengths, output_folder)

    def get_config(self) -> dict[str, object]:
        """There is none: what is kept of it is its file.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "Expected `export` to keep what was trained. A model with TF-MOT's quantizers is not "
            "saved by Keras 3."
        )


def scheme_of(
    recipe: str, integer_softmax: bool = False, freeze_after: int | None = None
) -> Scheme:
    """The scheme of a recipe that trains.

    Raises:
        ConfigError: The recipe is unknown, or does not train.

    Example:

    >>> scheme_of("qat_int4_tables").table_bits
    4
    """
    found = recipes.find(recipe)
    if not found.trained:
        known = ", ".join(name for name, one in RECIPES.items() if one.trained)
        raise ConfigError(
            f"Expected a recipe that trains: {known}. Received: recipe={recipe!r}. Write that one "
            "with `tfkd export`."
        )
    return Scheme(4 if found.tables == INT4 else 8, integer_softmax, freeze_after)


def quantization_aware(
    classifier: TextClassifier,
    recipe: str = "qat_int8",
    teacher: keras.Model | None = None,
    integer_softmax: bool = False,
    freeze_after: int | None = None,
    **losses: Unpack[Losses],
) -> QuantizationAware:
    """A student made ready for training with the rounding of its LiteRT file.

    TF-MOT does the rounding; it and tf_keras are loaded by this call and change nothing else in the
    process. Students of BERT's family, BiLSTMs and CNNs are known.

    Args:
        classifier: `TextClassifier`, trained in float32.
        recipe: String. "qat_int8" or "qat_int4_tables".
        teacher: Optional `keras.Model` that takes the same inputs. Without it, targets may be a
            mapping of `label` and `teacher_logits`, or labels alone.
        integer_softmax: Boolean. Attention scores are integers too, for chips without floats.
        freeze_after: Integer or None. Training batches after which the ranges stay.
        **losses: As for `QuantizationAware`.

    Returns:
        `QuantizationAware`: a `keras.Model` with `fit`, `predict` and `export`.

    Raises:
        ConfigError: The recipe does not train.
        ModelError: The student is of another kind.

    Example:

    ```python
    student = tfkd.TextClassifier.load("saved_models/demo/student")
    aware = tfkd.quantization_aware(student)
    aware.compile(optimizer=keras.optimizers.AdamW(1e-4))
    aware.fit(aware.encode(texts), {"label": labels, "teacher_logits": teacher_logits})
    aware.export("saved_models/demo/student", held_out_texts).report.agreement  # 0.998
    ```

    Reference: [Jacob et al., 2018](https://arxiv.org/abs/1712.05877)
    """
    scheme = scheme_of(recipe, integer_softmax, freeze_after)
    return QuantizationAware(classifier, recipe, scheme, teacher, **losses)
