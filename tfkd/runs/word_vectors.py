"""A teacher's vectors of single words, which the cache keeps."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfkd import seals
from tfkd.artifacts import fingerprint, sealed_file
from tfkd.locks import locked
from tfkd.models.classifier import TextClassifier
from tfkd.models.readings import weights_sha256
from tfkd.progress import Progress

WORDS_AT_ONCE = 1024


def word_vectors(
    teacher: TextClassifier, words: Sequence[str], cache: Path, progress: Progress
) -> np.ndarray:
    """What a teacher's logits layer reads of each word, which is a text of its own.

    Returns:
        Float32 array, shape `[num_words, width]`.
    """
    mark = fingerprint({"words": list(words), "model": weights_sha256(teacher.model)})
    path = cache / "words" / f"{mark}.npy"
    with locked(path):
        vectors = seals.kept(path, np.load, progress.say)
        if vectors is None:
            vectors = _read(teacher, words, progress)
            with sealed_file(path) as part:
                np.save(part, vectors)
    return vectors


def _read(teacher: TextClassifier, words: Sequence[str], progress: Progress) -> np.ndarray:
    # A word is one text, whatever the teacher reads else.
    reader, parts = dataclasses.replace(teacher.reader(), num_texts=1), []
    with progress.task("read single words", len(words)) as task:
        for start in range(0, len(words), WORDS_AT_ONCE):
            part = words[start : start + WORDS_AT_ONCE]
            parts.append(reader.predict(part))
            task.advance(len(part))
    return np.concatenate(parts)
