"""TFDS builders of the two sets TFDS does not have: emotion and massive.

Each reads the files its authors publish, from a download or from TFDS' manual folder, and gives
the features `text` and `label`. Importing this module registers both with TFDS.

    emotion   the `split` configuration on the Hugging Face hub, at one pinned revision (Parquet);
              by hand: emotion/train.txt, val.txt and test.txt, one `text;label` a line
    massive   the archive of version 1.1, one JSONL file a language
              by hand: amazon-massive-dataset-1.1.tar.gz
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from tfkd.artifacts import file_sha256
from tfkd.data.catalog import CATALOG, MASSIVE_INTENTS, MASSIVE_LOCALES
from tfkd.data.readers import open_table
from tfkd.data.streams import RowFault
from tfkd.errors import DatasetError, shown

EMOTION_URL = (
    "https://huggingface.co/datasets/dair-ai/emotion/resolve/"
    "cab853a1dbdf4c42c2b3ef2173804746df8825fe/split/{split}-00000-of-00001.parquet"
)
EMOTION_SHA256 = {
    "train": "10817f0f2ea42358bc62f69a09dfb8bd71701727df6d5a387bea742f3ea06417",
    "validation": "c70f0e660b5ebd1ea9a37d2a851f516f08a6d6477cdfc11be204e22a2f1102fd",
    "test": "6f8407fa1ca9c310f55781f082ed73812f6551e8dda2c61973123a121869245b",
}
EMOTION_FILES = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
MASSIVE_FILE = "amazon-massive-dataset-1.1.tar.gz"
MASSIVE_URL = f"https://amazon-massive-nlu-dataset.s3.amazonaws.com/{MASSIVE_FILE}"
MASSIVE_SHA256 = "4cba5faa11c71437928e17cb1b9b3d8b8e727e7ea363a3a9a8045e19c0491577"
MASSIVE_PARTITIONS = {"train": "train", "validation": "dev", "test": "test"}

Row = tuple[str, dict[str, Any]]


class Emotion(tfds.core.GeneratorBasedBuilder):
    """English tweets with one of six emotions: 16,000 / 2,000 / 2,000 rows.

    Reference: [Saravia et al., 2018](https://aclanthology.org/D18-1404)
    """

    name = "emotion"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The split configuration of dair-ai/emotion."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Optional: put emotion/train.txt, emotion/val.txt and emotion/test.txt here, one "
        "`text;label` a line, to prepare without a download."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=CATALOG["emotion"].description,
            features=_features(CATALOG["emotion"].label_names),
            supervised_keys=("text", "label"),
            homepage="https://github.com/dair-ai/emotion_dataset",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[Row]]:
        folder = _manual(dl_manager, "emotion")
        if folder is not None:
            paths = {split: folder / name for split, name in EMOTION_FILES.items()}
            return {split: self._generate_examples(path) for split, path in paths.items()}
        urls = {split: EMOTION_URL.format(split=split) for split in EMOTION_FILES}
        paths = {split: Path(path) for split, path in dl_manager.download(urls).items()}
        for split, path in paths.items():
            _check_sha256(path, EMOTION_SHA256[split])
        return {split: self._generate_examples(path) for split, path in paths.items()}

    def _generate_examples(self, path: Path) -> Iterator[Row]:
        """Yields rows of one split's file."""
        return _semicolon_rows(path) if path.suffix == ".txt" else _parquet_rows(path)


class Massive(tfds.core.GeneratorBasedBuilder):
    """Requests to a voice assistant with one of 60 intents: 11,514 / 2,033 / 2,974 rows a language.

    One configuration a language, `massive/de_de`.

    Reference: [FitzGerald et al., 2022](https://arxiv.org/abs/2204.08582)
    """

    name = "massive"
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.1.0": "Version 1.1 of the archive, with Catalan."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=locale, description=f"The language {locale}.")
        for locale in ("en_us", *(name for name in MASSIVE_LOCALES if name != "en_us"))
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Optional: put {MASSIVE_FILE} here to prepare without a download."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=CATALOG["massive"].description,
            features=_features(MASSIVE_INTENTS),
            supervised_keys=("text", "label"),
            homepage="https://github.com/alexa/massive",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[Row]]:
        path = _manual(dl_manager, MASSIVE_FILE)
        if path is None:
            path = Path(dl_manager.download(MASSIVE_URL))
            _check_sha256(path, MASSIVE_SHA256)
        return {
            split: self._generate_examples(path, partition)
            for split, partition in MASSIVE_PARTITIONS.items()
        }

    def _generate_examples(self, path: Path, partition: str) -> Iterator[Row]:
        """Yields rows of one partition, streamed out of the archive."""
        language, country = self.builder_config.name.split("_")
        member = f"1.1/data/{language}-{country.upper()}.jsonl"
        for row, line in enumerate(_archive_lines(path, member), start=1):
            try:
                values = json.loads(line)
                if values["partition"] == partition:
                    intent = values["intent"]
                    yield str(values["id"]), {"text": values["utt"], "label": intent}
            except (ValueError, KeyError, TypeError) as error:
                expected = f"a JSON object with id, partition, intent and utt in {member}"
                raise RowFault(expected, shown(line)).at(path, row) from error


def _features(label_names: tuple[str, ...]) -> tfds.features.FeaturesDict:
    return tfds.features.FeaturesDict(
        {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=label_names)}
    )


def _manual(dl_manager: tfds.download.DownloadManager, name: str) -> Path | None:
    """A file or folder the user put into TFDS' manual folder, or None."""
    try:
        path = Path(dl_manager.manual_dir) / name
    except AssertionError:  # What TFDS raises for a manual folder that is missing or empty.
        return None
    return path if path.exists() else None


def _check_sha256(path: Path, expected: str) -> None:
    received = file_sha256(path)
    if received != expected:
        raise DatasetError(
            f"Expected a download with SHA-256 {expected} in {path}. Received: {received}. "
            "Delete the file to download it again."
        )


def _semicolon_rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise DatasetError(f"Expected the file {path}. It does not exist. Put it there.")
    names = CATALOG["emotion"].label_names
    with path.open(encoding="utf-8", newline="\n") as lines:
        for row, line in enumerate(lines, start=1):
            text, _, label = line.strip().rpartition(";")
            if not text or label not in names:
                expected = f"`text;label` with a label of {', '.join(names)}"
                raise RowFault(expected, shown(line.strip())).at(path, row)
            yield f"{row:06d}", {"text": text, "label": label}


def _parquet_rows(path: Path) -> Iterator[Row]:
    with open_table(path, "parquet") as table:
        text, label = table.columns.index("text"), table.columns.index("label")
        for row, values in enumerate(table.rows, start=1):
            yield f"{row:06d}", {"text": values[text], "label": values[label]}


def _archive_lines(path: Path, member: str) -> Iterator[bytes]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            for entry in archive:
                if entry.name.removeprefix("./") == member:
                    lines = archive.extractfile(entry)
                    if lines is not None:
                        yield from lines
                    return
    except (EOFError, OSError, tarfile.TarError) as error:
        raise DatasetError(
            f"Expected a whole tar.gz archive in {path}. Received: {error}. Download it again."
        ) from error
    raise DatasetError(f"Expected {member} in the archive {path}. It is not there.")
