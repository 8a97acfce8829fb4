"""Any data set as streaming splits of examples: a path, the demo, a local folder or TFDS.

Sources are asked in that order and the first that has the data wins. What a source lacks is made
up for here in one way: a missing validation split is held out of train, and where only a
validation split has labels it serves as test, so that nothing is chosen on the rows it is judged
by.
"""

import contextlib
import dataclasses
import functools
import importlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tfkd import network
from tfkd.data import files
from tfkd.data.catalog import CATALOG, DatasetSpec, find
from tfkd.data.columns import KNOWN_NAMES, ColumnNames, Reading
from tfkd.data.duplicates import distinct
from tfkd.data.examples import MULTI_LABEL, REGRESSION, Dataset, Example
from tfkd.data.holdout import Holdout, sample
from tfkd.data.kept_rows import KeptExamples
from tfkd.data.labels import LabelForm
from tfkd.errors import ConfigError, DatasetError

SPLITS = ("train", "validation", "test")
NETWORK_SECONDS = 5.0
# Seeds of the demo whose rows a process keeps at the same time.
KEPT_DEMOS = 4


class Splits(dict[str, Iterable[Example]]):
    """The splits of a data set; asking for one it lacks says which there are."""

    def __init__(self, name: str, splits: Mapping[str, Iterable[Example]]) -> None:
        super().__init__(splits)
        self._name = name

    def __missing__(self, split: str) -> Iterable[Example]:
        raise DatasetError(
            f"Expected the split {split} in `{self._name}`. Received: only {', '.join(self)}. Add "
            f"a file {split}.csv to its folder."
        )


@dataclasses.dataclass(frozen=True)
class TfdsSplit:
    """The examples of one TFDS split, in the same order in every pass.

    Attributes:
        builder: A prepared `tfds.core.DatasetBuilder`.
        split: TFDS name of the split.
        spec: Catalog entry that names the features.
    """

    builder: Any
    split: str
    spec: DatasetSpec

    def __iter__(self) -> Iterator[Example]:
        """Streams the rows."""
        import tensorflow_datasets as tfds

        # One file after the other: row i stays row i however many cores read.
        config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        rows = self.builder.as_dataset(split=self.split, shuffle_files=False, read_config=config)
        for row in tfds.as_numpy(rows):
            texts = tuple(row[feature].decode("utf-8") for feature in self.spec.text_features)
            texts = texts if self.spec.num_texts > 1 else (" ".join(texts),)
            yield Example(texts, self._label(row))

    def _label(self, row: Mapping[str, Any]) -> int | float | tuple[int, ...]:
        features = self.spec.label_features
        if self.spec.task == MULTI_LABEL:
            return tuple(index for index, name in enumerate(features) if row[name] > 0.5)
        value = row[features[0]]
        return float(value) if self.spec.task == REGRESSION else int(value)


def load(
    name: str,
    data_dir: Path | None = None,
    fractions: Mapping[str, float | None] = MappingProxyType({}),
    seed: int = 0,
    max_train_rows: int | None = None,
    test_split: str = "test",
    reading: Reading | None = None,
) -> Dataset:
    """A data set by name or path, with train, validation and test where possible.

    Looked for in this order: `name` as a path (a known name needs a `/` at its end to be one), the
    generated demo, `<data_dir>/<name>/` (or `TFKD_DATA_DIR`), prepared TFDS data, a TFDS download.

    Without a test split, validation serves as test. Without a validation split then, a stratified
    part of train is held out; a data set that is one train file gives both.

    Args:
        name: String. A name of the catalog, a folder or a file.
        data_dir: Path of a folder with one folder a data set. Default: `TFKD_DATA_DIR`.
        fractions: "validation" and "test" to the share of train to hold out for it, where it is
            missing, in (0, 1); see `holdout.fitting_fraction` for the defaults.
        seed: Integer. Decides which rows are held out or sampled, and the demo's rows.
        max_train_rows: Integer or None. Keep only so many rows of train, before holding out: the
            first ones, or a stratified sample where these do not have each class in its share.
        test_split: String. "validation" takes the published validation rows for the test rows,
            whether there are others or not; "2/5" the second of five parts of one file.
        reading: `Reading`. What is known of columns and labels beyond what the data set shows.

    Returns:
        A `Dataset` whose splits stream; no row is kept.

    Raises:
        ConfigError: The name is unknown, or known to be of another task.
        DatasetError: The data is nowhere to be had or cannot be understood.

    Example:

    >>> load("ag_news", data_dir=Path("data")).label_names
    ('World', 'Sports', 'Business', 'Sci/Tech')
    """
    dataset = published(name, data_dir, seed, reading or Reading())
    splits = dict(dataset.splits)
    if max_train_rows is not None and "train" in splits:
        rows = sample(splits["train"], dataset.task, max_train_rows, seed)
        splits["train"] = rows
        dataset = dataclasses.replace(dataset, is_sampled=not rows.is_first_rows)
    if test_split == "validation":
        splits["test"] = Splits(name, splits)["validation"]
        del splits["validation"]
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
    fold = _fold(test_split, name, splits)
    missing = {split: fractions.get(split) for split in SPLITS[1:] if split not in splits}
    if missing and "train" in splits:
        splits |= Holdout(splits["train"], dataset.task, missing, seed, fold).splits()
    splits = {split: splits[split] for split in (*SPLITS, files.UNLABELLED) if split in splits}
    return dataclasses.replace(dataset, name=name, splits=Splits(name, splits))


def published(name: str, data_dir: Path | None, seed: int, reading: Reading) -> Dataset:
    """A data set as its source has it: nothing is held out, and of a file all rows are train.

    Args and errors are those of `load`.
    """
    dataset = _find(name, _data_dir(data_dir), seed, reading)
    if not reading.drop_duplicates:
        return dataset
    splits, repeats = distinct(dataset.splits)
    own = dataset.repairs()
    counts = {split: own.get(split, Counter()) + repeats[split] for split in splits}
    return dataclasses.replace(dataset, splits=splits, repairs=lambda: counts)


def _fold(test_split: str, name: str, splits: Mapping[str, object]) -> tuple[int, int] | None:
    """Which of how many parts of a file is its test split, if it is one."""
    number, slash, parts = test_split.partition("/")
    if not slash:
        return None
    if set(splits) - {files.UNLABELLED} != {"train"}:
        raise DatasetError(
            f"Expected one file, or a folder with train alone, to test on part {test_split} of it. "
            f"Received: {name} with {', '.join(splits)}. Put all rows into one file."
        )
    return int(number), int(parts)


def load_split(
    name: str, data_dir: Path | None, split: str, seed: int, reading: Reading | None = None
) -> Dataset:
    """A data set with one split as its source has it: nothing is held out, a file is all of it.

    Args:
        name: String. A name of the catalog, a folder or a file.
        data_dir: Path of a folder with one folder a data set. Default: `TFKD_DATA_DIR`.
        split: String. "train", "validation" or "test"; for the last, validation serves where a
            folder lacks it.
        seed: Integer. Decides the demo's rows.
        reading: `Reading`. Of the labels it counts where the catalog knows nothing.

    Raises:
        ConfigError: The name is unknown.
        DatasetError: The data is nowhere to be had or cannot be understood, or lacks the split.
    """
    reading = reading or Reading()
    if is_listed(name):
        reading = dataclasses.replace(reading, labels=LabelForm())
    dataset = _find(name, _data_dir(data_dir), seed, reading)
    splits = dict(dataset.splits)
    if split == "test" and "validation" in splits:
        splits.setdefault("test", splits["validation"])
    is_file = list(splits) == ["train"] and Path(name).expanduser().is_file()
    rows = splits["train"] if is_file else Splits(name, splits)[split]
    return dataclasses.replace(dataset, name=name, splits=Splits(name, {split: rows}))


def load_texts(
    name: str, data_dir: Path | None = None, names: ColumnNames = KNOWN_NAMES
) -> Dataset:
    """A data set of which the texts alone are asked for: no label is read, nothing is held out.

    Names that a folder or a file lacks are the known ones.

    Raises:
        ConfigError: The name is unknown.
        DatasetError: The data is nowhere to be had, or its columns are not.
    """
    is_path = _is_path(name)
    names = files.names_there(Path(name).expanduser(), names) if is_path else KNOWN_NAMES
    reading = Reading(names, drop_empty=True, texts_only=True)
    found = _find(name, None if is_path else _data_dir(data_dir), 0, reading)
    return dataclasses.replace(found, name=name, splits=Splits(name, found.splits))


def place(name: str, data_dir: Path | None = None) -> dict[str, str | None]:
    """Where `load` finds a data set, in absolute paths, for those who ask from another folder.

    Returns:
        `dataset` and `data_dir` to give to `load`, as JSON values.
    """
    found = _data_dir(data_dir)
    return {
        "dataset": os.path.abspath(Path(name).expanduser()) if _is_path(name) else name,
        "data_dir": None if found is None else os.path.abspath(found),
    }


def found_by_name(data_dir: Path | None = None) -> dict[str, list[str]]:
    """Names of the data sets that `load` finds without a download, by where they lie."""
    own = _data_dir(data_dir)
    found = {str(_tfds_dir()): [name for name, spec in CATALOG.items() if _prepared(spec)]}
    names = sorted(path.name for path in own.iterdir() if path.is_dir()) if own else []
    return found | {str(own): names} if own else found


def is_listed(name: str) -> bool:
    """Whether a data set is one of the catalog, and no path of its name is asked for."""
    return _spec(name) is not None and not name.endswith(os.sep)


def _is_path(name: str) -> bool:
    """Whether a name is taken for a path; a known name needs a `/` at its end."""
    return Path(name).expanduser().exists() and not is_listed(name)


def _data_dir(data_dir: Path | None) -> Path | None:
    from_environment = os.environ.get("TFKD_DATA_DIR")
    source = "--data-dir" if data_dir else "TFKD_DATA_DIR"
    if data_dir is None and from_environment:
        data_dir = Path(from_environment)
    if data_dir is not None and not data_dir.is_dir():
        raise DatasetError(
            f"Expected {source} to be an existing folder. Received: {data_dir}. Correct the path."
        )
    return data_dir


def _find(name: str, data_dir: Path | None, seed: int, reading: Reading) -> Dataset:
    """The data set as its source has it."""
    spec = _spec(name)
    path = Path(name).expanduser()
    if _is_path(name):
        if path.is_dir():
            return files.read_folder(path, name, reading=reading)
        return files.read_file(path, name, reading)
    if spec is not None and reading.labels.task not in (None, spec.task):
        raise ConfigError(
            f"Expected no other task than {spec.task} for {spec.name}. Received: "
            f"task={reading.labels.task!r}. Leave it out."
        )
    if spec is not None and spec.name == "demo":
        _check_no_columns(name, reading)
        return _demo(seed)
    if data_dir is not None:
        folder = data_dir / (spec.folder if spec else name)
        if folder.is_dir():
            return files.read_folder(folder, name, spec, reading)
    if spec is None and not name.startswith("massive/"):
        if len(path.parts) > 1 or name.endswith(files.SUFFIXES):
            raise DatasetError(
                f"Expected an existing folder or file. Received: {name}. Correct the path."
            )
    _check_no_columns(name, reading)
    return _from_tfds(find(name) if spec is None else spec, data_dir)


def _check_no_columns(name: str, reading: Reading) -> None:
    if reading.columns != KNOWN_NAMES:
        raise ConfigError(
            f"Expected a folder or a file to take columns of. Received: {name}, whose columns are "
            "known. Leave out --text-column, --label-column and the like."
        )


@functools.lru_cache(KEPT_DEMOS)
def _demo(seed: int) -> Dataset:
    """The demo's rows, generated once a process."""
    from tfkd.data.demo import demo_dataset

    dataset = demo_dataset(seed)
    splits = {split: KeptExamples.of(rows) for split, rows in dataset.splits.items()}
    return dataclasses.replace(dataset, splits=splits)


def _spec(name: str) -> DatasetSpec | None:
    try:
        return find(name)
    except ConfigError:
        return None


def _from_tfds(spec: DatasetSpec, data_dir: Path | None) -> Dataset:
    if spec.tfds_name is None:
        raise _missing(spec, data_dir, "has no download")
    tfds_dir, prepared = _tfds_dir(), _prepared(spec)
    if prepared:
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(prepared[-1])
    else:
        manual_dir = tfds_dir / "downloads" / "manual"
        is_manual = spec.manual_file is not None and (manual_dir / spec.manual_file).is_file()
        # Asked before TFDS: it would retry for minutes, and its import alone takes seconds.
        if not is_manual and not network.is_reachable(spec.host or "", NETWORK_SECONDS):
            raise _missing(spec, data_dir, f"{spec.host} cannot be reached")
        builder = _prepare(spec, tfds_dir, data_dir)
    splits = {
        ours: KeptExamples.of(TfdsSplit(builder, theirs, spec))
        for ours, theirs in spec.splits.items()
    }
    return Dataset(spec.name, spec.task, spec.label_names, spec.num_texts, spec.metric, splits)


def _tfds_dir() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _prepared(spec: DatasetSpec) -> list[Path]:
    """Folders of what TFDS has written, the newest last."""
    found = (_tfds_dir() / (spec.tfds_name or "")).glob("[0-9]*/dataset_info.json")
    return sorted(file.parent for file in found)


def _prepare(spec: DatasetSpec, tfds_dir: Path, data_dir: Path | None) -> Any:
    """Downloads the data and lets TFDS write it; gives the builder."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    importlib.import_module("tfkd.data.builders")  # TFDS knows builders that were imported.
    try:
        # TFDS reports to standard output, which belongs to the command's result.
        with contextlib.redirect_stdout(sys.stderr):
            builder = tfds.builder(str(spec.tfds_name), data_dir=tfds_dir)
            builder.download_and_prepare()
        return builder
    except (OSError, tfds.download.DownloadError, NonMatchingChecksumError) as error:
        raise _missing(spec, data_dir, f"the download failed: {error}") from error


def _missing(spec: DatasetSpec, data_dir: Path | None, reason: str) -> DatasetError:
    looked = f"{data_dir / spec.folder} is not there" if data_dir else "no data directory is given"
    ways = [f"put {spec.folder}/train.csv (and so on) under --data-dir or TFKD_DATA_DIR"]
    if spec.tfds_name:
        ways.append(f"prepare TFDS data of {spec.tfds_name} and point TFDS_DATA_DIR at it")
        ways.append("run where the network can be reached")
    return DatasetError(
        f"Expected the data set `{spec.name}`. Received: nothing ({looked}; {reason}). "
        f"Either {', or '.join(ways)}. `--dataset demo` needs no data."
    )
