"""The teacher's answer to every training row, asked once and kept in shards.

A killed scoring goes on where it was, and several machines could share it. The folder is named
after a fingerprint of teacher, tokenizer, length and data: a change of any leads to another folder,
never to a mix.
"""

from pathlib import Path

import numpy as np

from tfkd.artifacts import locked, read_json, write_json
from tfkd.data import shards
from tfkd.data.shards import Shards
from tfkd.data.tokens import Tokens
from tfkd.errors import ArtifactError
from tfkd.models.classifier import TextClassifier
from tfkd.progress import Progress

BYTES_PER_LOGIT = 4


def score_shard(teacher: TextClassifier, tokens: Tokens, store: Shards, shard: int) -> None:
    """Scores the rows of one shard unless its file is there.

    Args:
        teacher: `TextClassifier`.
        tokens: `Tokens` of the whole split, made with the teacher's tokenizer.
        store: `Shards` of the logits: float32, shape `[rows of the shard, num_outputs]`.
        shard: Integer. Number of the shard.
    """
    if store.path(shard).is_file():
        return
    start, stop = store.rows(shard)
    logits = np.zeros((stop - start, len(teacher.label_names)), np.float32)
    for rows, values in teacher.score(tokens, start, stop):
        logits[rows - start] = values
    store.write(shard, logits)


def load_or_score(
    teacher: TextClassifier, tokens: Tokens, folder: Path, fingerprint: str, progress: Progress
) -> np.ndarray:
    """The teacher's logits of all rows, scoring what is missing.

    Costs `4 * num_outputs` bytes a row.

    Args:
        teacher: `TextClassifier`.
        tokens: `Tokens` of the split, made with the teacher's tokenizer.
        folder: Path of the logits.
        fingerprint: String. Of teacher, tokenizer, length, data and row count.
        progress: `Progress`.

    Returns:
        float32 array, shape `[num_rows, num_outputs]`; row i is row i of the split.

    Raises:
        ArtifactError: The folder holds logits of another teacher, data set, length or row count.
    """
    manifest = {
        "fingerprint": fingerprint,
        "num_rows": len(tokens),
        "num_outputs": len(teacher.label_names),
        "shard_rows": shards.SHARD_ROWS,
        "bytes_per_row": BYTES_PER_LOGIT * len(teacher.label_names),
    }
    _check_manifest(folder, manifest)
    store = Shards(folder, "logits", len(tokens))
    with locked(folder):
        missing = store.missing()
        num_done = store.count - len(missing)
        with progress.task("score with the teacher", store.count, num_done) as task:
            for shard in missing:
                score_shard(teacher, tokens, store, shard)
                task.advance()
    logits = np.concatenate(store.load())
    num_bad = int((~np.isfinite(logits)).any(axis=-1).sum())
    if logits.shape != (len(tokens), len(teacher.label_names)) or num_bad:
        raise ArtifactError(
            f"Expected {len(tokens)} rows of finite teacher logits in {folder}. Received: shape "
            f"{logits.shape}, {num_bad} rows with NaN or infinity. Delete that folder to score "
            "again."
        )
    return logits


def _check_manifest(folder: Path, manifest: dict[str, object]) -> None:
    path = folder / "manifest.json"
    if not path.is_file():
        write_json(path, manifest)
    found = read_json(path)
    for key, value in manifest.items():
        if found.get(key) != value:
            raise ArtifactError(
                f"Expected teacher logits with {key}={value!r} in {folder}. Received: "
                f"{key}={found.get(key)!r}. Delete that folder to score again."
            )
