"""TFDS: the two builders of our own, prepared and read back, and the sets TFDS brings.

Nothing leaves this machine: the upstream files are written here in their own formats.
"""

import functools
import http.server
import io
import json
import tarfile
import threading
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import tensorflow_datasets as tfds

from tfkd.artifacts import file_sha256
from tfkd.data import builders, sources
from tfkd.data.catalog import CATALOG, MASSIVE_LOCALES, find
from tfkd.data.checks import check
from tfkd.data.examples import MULTI_LABEL, Example
from tfkd.errors import DatasetError

EMOTION_ROWS = {
    "train": [("i baked bread; it rose", "joy"), ("the bus left without me", "sadness")],
    "val": [("who ate my soup", "anger")],
    "test": [("there is a spider", "fear"), ("a letter came", "surprise")],
}
MASSIVE_ROWS = [
    ("7", "train", "alarm_set", "weck mich früh"),
    ("8", "dev", "play_music", "spiel etwas"),
    ("9", "test", "qa_maths", "wie viel ist zwei mal zwei"),
    ("10", "train", "weather_query", "regnet es morgen"),
]


@pytest.fixture(autouse=True)
def tfds_dir(tmp_path, monkeypatch):
    """TFDS' own folder; the network is out of reach."""
    monkeypatch.delenv("TFKD_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


@pytest.fixture
def manual_dir(tfds_dir):
    folder = tfds_dir / "downloads" / "manual"
    folder.mkdir(parents=True)
    return folder


def write_emotion(folder: Path) -> None:
    folder.mkdir()
    for split, rows in EMOTION_ROWS.items():
        lines = "".join(f"{text};{label}\n" for text, label in rows)
        (folder / f"{split}.txt").write_text(lines, encoding="utf-8")


def write_massive(folder: Path, lines: list[str] | None = None) -> Path:
    names = ("id", "partition", "intent", "utt")
    lines = lines or [
        json.dumps({"locale": "de-DE", "scenario": "any", **dict(zip(names, row, strict=True))})
        for row in MASSIVE_ROWS
    ]
    data = "\n".join(lines).encode()
    path = folder / builders.MASSIVE_FILE
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (("1.1/LICENSE", b"free"), ("1.1/data/de-DE.jsonl", data)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def pairs(dataset, split):
    names = dataset.label_names
    return sorted((text, names[label]) for (text,), label in dataset.splits[split])


def test_emotion_from_the_manual_folder(manual_dir, tfds_dir):
    write_emotion(manual_dir / "emotion")
    dataset = sources.load("emotion")
    for ours, theirs in {"train": "train", "validation": "val", "test": "test"}.items():
        assert pairs(dataset, ours) == sorted(EMOTION_ROWS[theirs])
    assert dataset.label_names == CATALOG["emotion"].label_names
    again = sources.load("emotion")  # This time prepared: the upstream files may go.
    assert check(again) == check(dataset)
    info = tfds.builder("emotion", data_dir=tfds_dir).info
    assert {name: split.num_examples for name, split in info.splits.items()} == {
        "train": 2,
        "validation": 1,
        "test": 2,
    }
    assert tuple(info.features["label"].names) == CATALOG["emotion"].label_names
    assert info.supervised_keys == ("text", "label")


def test_massive_from_the_manual_folder(manual_dir):
    write_massive(manual_dir)
    dataset = sources.load("massive/de_de")
    rows = {ours: [] for ours in ("train", "dev", "test")}
    for _, partition, intent, text in MASSIVE_ROWS:
        rows[partition].append((text, intent))
    assert pairs(dataset, "train") == sorted(rows["train"])
    assert pairs(dataset, "validation") == rows["dev"]
    assert pairs(dataset, "test") == rows["test"]
    assert len(dataset.label_names) == 60


def test_massive_has_a_configuration_for_every_language():
    assert sorted(builders.Massive.builder_configs) == sorted(MASSIVE_LOCALES)
    assert builders.Massive.BUILDER_CONFIGS[0].name == "en_us"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def upstream(tmp_path):
    """A folder, and the address of a server that offers its files."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_emotion_from_a_download(upstream, tfds_dir, monkeypatch):
    folder, address = upstream
    names = CATALOG["emotion"].label_names
    hashes = {}
    for ours, theirs in {"train": "train", "validation": "val", "test": "test"}.items():
        rows = EMOTION_ROWS[theirs]
        columns = {"text": [text for text, _ in rows], "label": [names.index(n) for _, n in rows]}
        path = folder / f"{ours}.parquet"
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        hashes[ours] = file_sha256(path)
    monkeypatch.setattr(builders, "EMOTION_URL", address + "/{split}.parquet")
    monkeypatch.setattr(builders, "EMOTION_SHA256", hashes)
    builders.Emotion(data_dir=tfds_dir).download_and_prepare()
    dataset = sources.load("emotion")
    assert pairs(dataset, "train") == sorted(EMOTION_ROWS["train"])
    assert pairs(dataset, "test") == sorted(EMOTION_ROWS["test"])


def test_massive_from_a_download_with_the_wrong_content(upstream, tfds_dir, monkeypatch):
    folder, address = upstream
    received = file_sha256(write_massive(folder))
    monkeypatch.setattr(builders, "MASSIVE_URL", f"{address}/{builders.MASSIVE_FILE}")
    message = (
        rf"^Expected a download with SHA-256 {builders.MASSIVE_SHA256} in .*\. Received: "
        rf"{received}\. Delete the file to download it again\.$"
    )
    builder = builders.Massive(config="de_de", data_dir=tfds_dir)
    with pytest.raises(DatasetError, match=message):
        builder.download_and_prepare()


def test_a_bad_line_of_emotion(manual_dir):
    write_emotion(manual_dir / "emotion")
    path = manual_dir / "emotion" / "train.txt"
    path.write_text("i sang;joy\ni slept;calm\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="^Expected `text;label`") as caught:
        sources.load("emotion")
    assert str(caught.value) == (
        "Expected `text;label` with a label of sadness, joy, love, anger, fear, surprise in "
        f"{path}, row 2 (row 1 is the first row of data). Received: 'i slept;calm'."
    )


def test_a_file_of_emotion_is_missing(manual_dir):
    write_emotion(manual_dir / "emotion")
    (manual_dir / "emotion" / "val.txt").unlink()
    message = r"^Expected the file .*val\.txt\. It does not exist\. Put it there\.$"
    with pytest.raises(DatasetError, match=message):
        sources.load("emotion")


def test_a_bad_line_of_massive(manual_dir):
    path = write_massive(manual_dir, ['{"id": "1"}'])
    with pytest.raises(DatasetError, match="^Expected a JSON object with id, ") as caught:
        sources.load("massive/de_de")
    assert str(caught.value) == (
        "Expected a JSON object with id, partition, intent and utt in 1.1/data/de-DE.jsonl in "
        f'{path}, row 1 (row 1 is the first row of data). Received: b\'{{"id": "1"}}\'.'
    )


def test_a_language_that_the_archive_lacks(manual_dir):
    write_massive(manual_dir)
    message = r"^Expected 1\.1/data/fr-FR\.jsonl in the archive .*tar\.gz\. It is not there\.$"
    with pytest.raises(DatasetError, match=message):
        sources.load("massive/fr_fr")


def test_an_archive_cut_short(manual_dir):
    path = write_massive(manual_dir)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"^Expected a whole tar\.gz archive in .*\. Received: "):
        sources.load("massive/de_de")


TFDS_SETS = [
    name for name, spec in CATALOG.items() if spec.tfds_name and name not in ("emotion", "massive")
]


@pytest.mark.parametrize("name", TFDS_SETS)
def test_the_catalog_agrees_with_tfds(name, tfds_dir):
    spec = find(name)
    features = tfds.builder(spec.tfds_name, data_dir=tfds_dir).info.features
    assert all(isinstance(features[text], tfds.features.Text) for text in spec.text_features)
    assert set(spec.label_features) <= set(features)
    names = getattr(features[spec.label_features[0]], "names", None)
    if names is not None:
        spelled = {"neg": "negative", "pos": "positive", "1": "negative", "2": "positive"}
        assert tuple(spelled.get(label, label) for label in names) == spec.label_names


def mock_rows(name: str, tfds_dir: Path, rows: list[dict]) -> list[Example]:
    """What our source makes of rows that TFDS' own mock serves for a set."""
    spec = find(name)
    builder = tfds.builder(spec.tfds_name, data_dir=tfds_dir)

    def as_dataset(self, *arguments, **named):
        import tensorflow as tf

        return tf.data.Dataset.from_generator(
            lambda: iter(rows), output_types=self.info.features.dtype
        )

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        return list(sources.TfdsSplit(builder, "train", spec))


def test_ag_news_keeps_title_and_description(tfds_dir):
    row = {"title": "Tea grows dear", "description": "Rain ruined the hills.", "label": 2}
    assert mock_rows("ag_news", tfds_dir, [row]) == [
        Example(("Tea grows dear Rain ruined the hills.",), 2)
    ]


def test_pairs_and_scores(tfds_dir):
    row = {"sentence1": "A", "sentence2": "B", "label": 2.5, "idx": 0}
    assert mock_rows("stsb", tfds_dir, [row]) == [Example(("A", "B"), 2.5)]


def test_columns_of_zeros_and_ones_become_label_sets(tfds_dir):
    spec = find("jigsaw_toxic")
    assert spec.task == MULTI_LABEL
    row = dict.fromkeys(spec.label_features, 0.0) | {"text": "t", "id": "1", "language": "en"}
    rows = [row, row | {"toxicity": 1.0, "identity_attack": 1.0}]
    assert [label for _, label in mock_rows("jigsaw_toxic", tfds_dir, rows)] == [(), (0, 5)]


def test_prepared_data_is_read_without_a_network(tfds_dir):
    features = tfds.features.FeaturesDict(
        {
            "label-coarse": tfds.features.ClassLabel(names=CATALOG["trec"].label_names),
            "label-fine": tfds.features.ClassLabel(num_classes=47),
            "text": tfds.features.Text(),
        }
    )
    questions = [f"how many legs have {row} cats?" for row in range(40)]
    writer = tfds.dataset_builders.store_as_tfds_dataset

    def rows(split):
        import tensorflow as tf

        values = {"label-coarse": [4] * 40, "label-fine": [0] * 40}
        texts = [f"{split}: {question}" for question in questions]
        return tf.data.Dataset.from_tensor_slices(values | {"text": texts})

    writer(
        name="trec",
        version="1.0.0",
        features=features,
        data_dir=tfds_dir,
        split_datasets={split: rows(split) for split in ("train", "test")},
    )
    dataset = sources.load("trec", fractions={"validation": 0.1})
    counts = {split: summary.num_rows for split, summary in check(dataset).items()}
    assert counts == {"train": 36, "validation": 4, "test": 40}
    held = [*dataset.splits["train"], *dataset.splits["validation"]]
    assert sorted(text for (text,), _ in held) == sorted(f"train: {text}" for text in questions)
    assert {label for _, label in held} == {4}
