"""The trained part of a classifier and its inputs: of a bottleneck the values alone.

What its frozen half finds lies in the cache, shared by all runs beside each other: arms that differ
in teacher, temperature or weights have the same.
"""

from collections.abc import Sequence

from tfkd.data.batching import Rows
from tfkd.data.tokens import Tokens
from tfkd.models import bottleneck, readings
from tfkd.models.classifier import TextClassifier
from tfkd.models.first_token import first_token_model
from tfkd.runs.material import Material


def trained_part(classifier: TextClassifier) -> TextClassifier:
    """The trained part of a classifier, with its layers and what its head reads.

    Of a bottleneck the values; of a head on the first token what that needs of the last layer.
    """
    if bottleneck.find_bottleneck(classifier.model) is None:
        shorter = first_token_model(classifier.model)
        return classifier if shorter is None else classifier.with_model(shorter)
    trained = bottleneck.trained_half(classifier.model)
    return classifier.with_model(trained)


def trained_part_rows(classifier: TextClassifier, split: str, material: Material) -> Rows:
    """A split as that part takes it: tokens, or what a frozen encoder found in them.

    Arms of the same keys share the encoder's pass over a split, be it to train or to score.
    """
    tokens = material.tokens(split, classifier.tokenizer)
    if bottleneck.find_bottleneck(classifier.model) is None:
        return tokens
    return _read([classifier], tokens, material)[0]


def read_together(classifiers: Sequence[TextClassifier], material: Material) -> None:
    """Finds what `trained_part_rows` gives of all splits, for several students at once."""
    for split in (material.transfer, "validation", "test"):
        _read(classifiers, material.tokens(split, classifiers[0].tokenizer), material)


def _read(
    classifiers: Sequence[TextClassifier], tokens: Tokens, material: Material
) -> list[readings.Readings]:
    folder = material.cache / "readings"
    return readings.load_or_read(classifiers, tokens, folder, material.progress)
