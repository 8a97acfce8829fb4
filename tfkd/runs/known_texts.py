"""The texts a model has learned from, as hashes, so that none of them is later held out from it.

Of a text that a teacher was trained on it knows the label, and so does its student. Settings do not
tell: another seed, or a row that moved from train to test, holds out other rows of the same file.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tfkd import seals
from tfkd.artifacts import RunFolder
from tfkd.data.examples import Example
from tfkd.data.shards import write_array
from tfkd.errors import ArtifactError
from tfkd.models.checkpoints import Kind, Source
from tfkd.runs.material import Material

PATH = Path("training") / "texts.npy"
HELD_OUT = ("validation", "test")
# Published sets have some texts in two of their splits: 0.7 % of the test rows of MASSIVE, 0.55 %
# of emotion's. With fewer rows of train than a teacher had, these count.
TOLERATED_SHARE = 0.01


def text_hashes(rows: Iterable[Example]) -> np.ndarray:
    """A hash of each row's text or pair of texts: uint64, in the order of the rows.

    >>> text_hashes([Example(("Oil fell.",), 0), Example(("Oil fell.",), 1)]).tolist()
    [1123923470063325332, 1123923470063325332]
    """
    digests = (
        hashlib.blake2b(
            json.dumps(row.texts, ensure_ascii=False).encode("utf-8", "surrogatepass"),
            digest_size=8,
        ).digest()
        for row in rows
    )
    return np.frombuffer(b"".join(digests), "<u8")


def keep_texts(run: RunFolder, material: Material, start: Source) -> None:
    """Notes in a run the texts it learns from, and those that the model it starts from knows."""
    earlier = _known(start)
    keep(run, material.dataset.splits["train"], [] if earlier is None else [earlier])


def keep(run: RunFolder, rows: Iterable[Example], earlier: Sequence[np.ndarray] = ()) -> None:
    """Notes in a run the texts of rows, unless it has its note."""
    path = run.path / PATH
    if path.is_file():
        return
    known = [text_hashes(rows), *earlier]
    write_array(path, np.unique(np.concatenate(known)))


def check_held_out(source: Source, material: Material) -> None:
    """Refuses a trained model that has learned from rows which are held out now.

    A text that is in train as well is no news to anyone, and does not count. Of less than a
    hundredth of a split it is only said.

    Raises:
        ArtifactError: It knows some of them.
    """
    if source.kind is Kind.PRETRAINED:
        _say_what_was_read(source, material)
        return
    if not source.is_ready:
        return
    known = _known(source)
    if known is None:
        run = RunFolder((source.folder or Path()).resolve().parent)
        if run.is_run and run.changed_rows(material.describe(), ["train"]) is None:
            # Of a time before hashes were noted, and of the same rows.
            return
        material.progress.say(
            f"what {source.name} was trained on is not noted: if rows of test are among it, the "
            "figures are too good"
        )
        return
    splits = material.dataset.splits
    # What train has, this run may learn itself.
    known = np.setdiff1d(known, text_hashes(splits["train"]))
    found, shares = [], [0.0]
    for name in HELD_OUT if len(known) else ():
        rows = np.flatnonzero(np.isin(text_hashes(splits[name]), known))
        if len(rows):
            count = material.summaries[name].num_rows
            shares.append(len(rows) / count)
            found.append(
                f"{len(rows):,} of {count:,} rows of {name} (the first: row {rows[0] + 1})"
            )
    if found and max(shares) < TOLERATED_SHARE:
        material.progress.say(f"{source.name} was trained on {' and '.join(found)}")
    elif found:
        raise ArtifactError(
            f"Expected {source.name} to know no row that is held out. It was trained on "
            f"{' and '.join(found)}. Leave it out to have one made of the rows of train, or hold "
            "out what it does not know."
        )


def _say_what_was_read(source: Source, material: Material) -> None:
    """Says how many rows of test a general student has read: their texts, not their labels."""
    run = RunFolder((source.folder or Path()).resolve().parent)
    number = num_known(run, material.dataset.splits["test"])
    if number:
        count = material.summaries["test"].num_rows
        material.progress.say(
            f"{source.name} has read {number:,} of {count:,} rows of test, without their labels"
        )


def num_known(run: RunFolder, rows: Iterable[Example]) -> int:
    """Number of rows whose texts are among those noted in a run; 0 where none are noted."""
    known = _noted(run)
    return 0 if known is None else int(np.isin(text_hashes(rows), known).sum())


def _known(source: Source) -> np.ndarray | None:
    """Hashes of the texts a model has learned from, in rising order; None where none are noted."""
    if source.kind is not Kind.RUN or source.folder is None:
        return None
    return _noted(RunFolder(source.folder.resolve().parent))


def _noted(run: RunFolder) -> np.ndarray | None:
    path = run.path / PATH
    # Where the hash is there alone, the texts are missed.
    noted = seals.check_files(path.with_suffix(".json"), path.name)
    if path.name not in noted and not path.is_file():
        return None
    return np.load(path, allow_pickle=False)
