"""The teacher's answer to every training row, asked once and kept in shards.

A killed scoring goes on where it was, and several machines could share it. The folder is named
after a fingerprint of teacher, tokenizer, length and data: a change of any leads to another folder,
never to a mix.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from tfkd import seals
from tfkd.artifacts import write_record
from tfkd.data import shards
from tfkd.data.batching import Rows
from tfkd.data.shards import Shards
from tfkd.data.tokens import Tokens
from tfkd.errors import ArtifactError
from tfkd.locks import locked
from tfkd.progress import Progress

BYTES_PER_LOGIT = 4


class Scorer(Protocol):
    """What answers rows: `TextClassifier`, `FileScorer`."""

    def score(
        self, tokens: Rows, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and logits, some rows at a time, of the rows `[start, stop)`."""
        ...


def score_shard(scorer: Scorer, tokens: Tokens, store: Shards, shard: int) -> None:
    """Scores the rows of one shard unless its file is there."""
    if store.path(shard).is_file():
        return
    rows, logits = zip(*scorer.score(tokens, *store.rows(shard)), strict=True)
    store.write(shard, np.concatenate(logits)[np.argsort(np.concatenate(rows))])


def load_or_score(
    open_scorer: Callable[[], Scorer],
    num_outputs: int,
    tokens: Tokens,
    folder: Path,
    fingerprint: str,
    progress: Progress,
) -> np.ndarray:
    """The teacher's logits of all rows, scoring what is missing.

    Costs `4 * num_outputs` bytes a row.

    The scorer is opened when a row is missing. The fingerprint is of teacher, tokenizer, length,
    data, row count and scorer.

    Returns:
        float32 array, shape `[num_rows, num_outputs]`; row i is row i of the split.

    Raises:
        ArtifactError: The folder holds logits of another teacher, data set, length or row count.
    """
    manifest = {
        "fingerprint": fingerprint,
        "num_rows": len(tokens),
        "num_outputs": num_outputs,
        "shard_rows": shards.SHARD_ROWS,
        "bytes_per_row": BYTES_PER_LOGIT * num_outputs,
    }
    store = Shards(folder, "logits", len(tokens))
    with locked(folder):
        _check_manifest(folder, manifest, progress)
        store.remove_damaged(progress.say)
        missing = store.missing()
        num_done = store.count - len(missing)
        with progress.task("score with the teacher", store.count, num_done) as task:
            if missing:
                scorer = open_scorer()
            for shard in missing:
                score_shard(scorer, tokens, store, shard)
                task.advance()
    logits = np.concatenate(store.load())
    num_bad = int((~np.isfinite(logits)).any(axis=-1).sum())
    if logits.shape != (len(tokens), num_outputs) or num_bad:
        raise ArtifactError(
            f"Expected {len(tokens)} rows of finite teacher logits in {folder}. Received: shape "
            f"{logits.shape}, {num_bad} rows with NaN or infinity. Delete that folder to score "
            "again."
        )
    return logits


def _check_manifest(folder: Path, manifest: dict[str, object], progress: Progress) -> None:
    path = folder / "manifest.json"
    found = seals.kept(path, seals.read_record, progress.say)
    if found is None:
        write_record(path, manifest)
        return
    for key, value in manifest.items():
        if found.get(key) != value:
            raise ArtifactError(
                f"Expected teacher logits with {key}={value!r} in {path}. Received: "
                f"{key}={found.get(key)!r}. Delete that folder to score again."
            )
