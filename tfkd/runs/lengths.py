"""How many tokens of a text a model reads where nobody says: as many as nearly all texts have.

Batches are as long as their longest text, so a length that few texts need costs little, while one
that cuts long texts costs what stands behind the cut.
"""

import dataclasses

import numpy as np

from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import positions
from tfkd.models.tokenizers import Tokenizer
from tfkd.runs.material import Material, first_texts

LEAST, MOST, MULTIPLE = 16, 256, 8
# Of the first training texts, so many are not cut.
COUNTED_TEXTS, WHOLE_SHARE = 2000, 0.99


def fitting_length(tokenizer: Tokenizer, material: Material, most: int = MOST) -> int:
    """The length in tokens that holds 99 of 100 training texts whole; a multiple of 8.

    Args:
        tokenizer: `Tokenizer`, of any length.
        material: `Material`, of which the first 2,000 training texts are counted.
        most: Integer. Not more than this, whatever the texts.
    """
    texts = first_texts(material.dataset.splits["train"], COUNTED_TEXTS)
    lengths = tokenizer.with_length(most).encode(texts)["padding_mask"].sum(axis=1)
    found = int(np.quantile(lengths, WHOLE_SHARE, method="higher"))
    return min(max(-(-found // MULTIPLE) * MULTIPLE, LEAST), most)


def with_length(
    classifier: TextClassifier, length: int | None, material: Material
) -> TextClassifier:
    """The classifier, reading so many tokens of a text.

    Args:
        classifier: `TextClassifier`.
        length: Integer. None: `fitting_length`, at most the positions that its encoder knows.
        material: `Material`.
    """
    if length is None:
        most = positions(classifier.model, MOST)
        length = fitting_length(classifier.tokenizer, material, most)
    return dataclasses.replace(classifier, tokenizer=classifier.tokenizer.with_length(length))
