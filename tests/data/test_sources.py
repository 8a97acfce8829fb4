"""Where data comes from, which splits it gets, and what it costs in memory and time."""

import gc
import itertools
import os
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from tfkd.data import sources
from tfkd.data.catalog import find
from tfkd.data.checks import check
from tfkd.data.examples import Example
from tfkd.errors import ConfigError, DatasetError

needs_data = pytest.mark.skipif(
    "TFKD_DATA_DIR" not in os.environ, reason="TFKD_DATA_DIR is not set"
)


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """An empty data directory, and no other source."""
    monkeypatch.delenv("TFKD_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write_split(path: Path, num_rows: int, num_classes: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        stream.write("text,label\n")
        stream.writelines(f"{path.stem} {row},{row % num_classes}\n" for row in range(num_rows))
    return path


def texts(dataset, split):
    return [example.texts[0] for example in dataset.splits[split]]


def test_all_three_splits_are_taken_as_they_are(data_dir):
    for split in ("train", "validation", "test"):
        write_split(data_dir / "mine" / f"{split}.csv", 4)
    dataset = sources.load("mine", data_dir)
    assert dataset.name == "mine"
    assert list(dataset.splits) == ["train", "validation", "test"]
    for split in dataset.splits:
        assert texts(dataset, split) == [f"{split} {row}" for row in range(4)]


def test_validation_is_held_out_of_train(data_dir):
    write_split(data_dir / "mine" / "train.csv", 200, num_classes=4)
    write_split(data_dir / "mine" / "test.csv", 8, num_classes=4)
    dataset = sources.load("mine", data_dir, fractions={"validation": 0.1}, seed=1)
    train, validation = texts(dataset, "train"), texts(dataset, "validation")
    assert (len(train), len(validation)) == (180, 20)
    assert sorted(train + validation) == sorted(f"train {row}" for row in range(200))
    assert train == sorted(train, key=lambda text: int(text.split()[1]))
    assert Counter(example.label for example in dataset.splits["validation"]) == dict.fromkeys(
        range(4), 5
    )
    again = sources.load("mine", data_dir, fractions={"validation": 0.1}, seed=1)
    assert texts(again, "validation") == validation
    other = sources.load("mine", data_dir, fractions={"validation": 0.1}, seed=2)
    assert texts(other, "validation") != validation


def test_validation_serves_as_test_and_another_is_held_out(data_dir):
    write_split(data_dir / "mine" / "train.csv", 100)
    write_split(data_dir / "mine" / "validation.csv", 6)
    dataset = sources.load("mine", data_dir)
    assert texts(dataset, "test") == [f"validation {row}" for row in range(6)]
    assert len(texts(dataset, "validation")) == 15
    assert len(texts(dataset, "train")) == 85


def test_validation_is_taken_for_test_when_asked_for(data_dir):
    for split, rows in {"train": 100, "validation": 6, "test": 4}.items():
        write_split(data_dir / "mine" / f"{split}.csv", rows)
    dataset = sources.load("mine", data_dir, test_split="validation")
    assert list(dataset.splits) == ["train", "validation", "test"]
    assert texts(dataset, "test") == [f"validation {row}" for row in range(6)]
    held_out = texts(dataset, "validation")
    assert len(held_out) == 15
    assert sorted(held_out + texts(dataset, "train")) == sorted(f"train {i}" for i in range(100))


def test_validation_that_is_not_there_cannot_be_test(data_dir):
    write_split(data_dir / "mine" / "train.csv", 100)
    write_split(data_dir / "mine" / "test.csv", 4)
    message = "Expected the split validation in `mine`. Received: only train, test. Add a file"
    with pytest.raises(DatasetError, match=message):
        sources.load("mine", data_dir, test_split="validation")


def test_a_single_file_gives_all_three(data_dir):
    path = write_split(data_dir / "reviews.csv", 100)
    dataset = sources.load(str(path), fractions={"validation": 0.2})
    parts = [texts(dataset, split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [60, 20, 20]
    assert sorted(itertools.chain(*parts)) == sorted(f"reviews {row}" for row in range(100))


def test_parts_of_a_file_take_turns_as_test(data_dir):
    path = write_split(data_dir / "reviews.csv", 100)
    found = [sources.load(str(path), test_split=f"{fold}/5") for fold in range(1, 6)]
    assert [len(texts(dataset, "test")) for dataset in found] == [20] * 5
    assert [len(texts(dataset, "validation")) for dataset in found] == [12] * 5
    tested = itertools.chain(*(texts(dataset, "test") for dataset in found))
    assert sorted(tested) == sorted(f"reviews {row}" for row in range(100))
    message = (
        "Expected one file, or a folder with train alone, to test on part 2/5 of it. Received: "
    )
    for split in ("train", "test"):
        write_split(data_dir / "mine" / f"{split}.csv", 9)
    with pytest.raises(
        DatasetError, match=f"^{message}mine with train, test. Put all rows into one"
    ):
        sources.load("mine", data_dir, test_split="2/5")


def test_first_rows_of_train_are_taken_before_holding_out(data_dir):
    write_split(data_dir / "mine" / "train.csv", 100)
    write_split(data_dir / "mine" / "test.csv", 10)
    dataset = sources.load("mine", data_dir, fractions={"validation": 0.1}, max_train_rows=40)
    rows = texts(dataset, "train") + texts(dataset, "validation")
    assert sorted(rows) == sorted(f"train {row}" for row in range(40))
    assert len(texts(dataset, "validation")) == 4
    assert len(texts(dataset, "test")) == 10


def test_a_missing_train_split_is_missed_only_when_asked_for(data_dir):
    folder = data_dir / "jigsaw_toxic"
    folder.mkdir()
    for split in ("validation", "test"):
        (folder / f"{split}.csv").write_text("text,labels\nyou fool,0 4\nhello,\n")
    dataset = sources.load("jigsaw_toxic", data_dir)
    assert list(dataset.splits["test"]) == [
        Example(("you fool",), (0, 4)),
        Example(("hello",), ()),
    ]
    assert "train" not in dataset.splits
    message = (
        r"^Expected the split train in `jigsaw_toxic`\. Received: only validation, test\. Add a "
        r"file train\.csv to its folder\.$"
    )
    with pytest.raises(DatasetError, match=message):
        dataset.splits["train"]


def test_a_path_wins_and_a_known_name_needs_a_slash(data_dir, monkeypatch):
    monkeypatch.chdir(data_dir)
    write_split(data_dir / "other" / "ag_news" / "train.csv", 20, num_classes=4)
    write_split(data_dir / "ag_news" / "train.csv", 30)
    assert len(texts(sources.load("ag_news", data_dir / "other"), "train")) == 13
    assert len(texts(sources.load("ag_news/", data_dir / "other"), "train")) == 20
    assert sources.load("ag_news", data_dir / "other").label_names == find("ag_news").label_names
    assert sources.load("ag_news/").label_names == ("0", "1")


def test_the_data_directory_of_the_environment(data_dir, monkeypatch):
    write_split(data_dir / "massive_de_de" / "test.csv", 3)
    monkeypatch.setenv("TFKD_DATA_DIR", str(data_dir))
    assert len(texts(sources.load("massive/de_de"), "test")) == 3
    message = r"^Expected TFKD_DATA_DIR to be an existing folder\. Received: .*gone\. Correct the p"
    monkeypatch.setenv("TFKD_DATA_DIR", str(data_dir / "gone"))
    with pytest.raises(DatasetError, match=message):
        sources.load("sst2")


def test_the_demo_needs_nothing(data_dir):
    dataset = sources.load("demo", max_train_rows=10)
    assert len(texts(dataset, "train")) == 10
    assert len(dataset.label_names) >= 4


def test_unknown_names_and_missing_paths(data_dir):
    with pytest.raises(ConfigError, match=r"Received: `ag_newz`\. Did you mean `ag_news`\?$"):
        sources.load("ag_newz", data_dir)
    with pytest.raises(ConfigError, match=r"Received: `massive/xx`\. "):
        sources.load("massive/xx", data_dir)
    message = r"^Expected an existing folder or file\. Received: {}\. Correct the path\.$"
    for name in ("some/where", "reviews.csv.gz"):
        with pytest.raises(DatasetError, match=message.format(name)):
            sources.load(name, data_dir)
    with pytest.raises(DatasetError, match=r"^Expected --data-dir to be an existing folder\. "):
        sources.load("sst2", data_dir / "gone")


@pytest.mark.parametrize("name", ["ag_news", "trec", "massive/de_de"])
def test_without_a_network_three_ways_are_named_within_seconds(data_dir, name):
    start = time.monotonic()
    with pytest.raises(DatasetError, match="^Expected the data set") as caught:
        sources.load(name, data_dir)
    assert time.monotonic() - start < 10
    spec = find(name)
    assert str(caught.value) == (
        f"Expected the data set `{name}`. Received: nothing ({data_dir / spec.folder} is not "
        f"there; {spec.host} cannot be reached). Either put {spec.folder}/train.csv (and so on) "
        f"under --data-dir or TFKD_DATA_DIR, or prepare TFDS data of {spec.tfds_name} and point "
        "TFDS_DATA_DIR at it, or run where the network can be reached. `--dataset demo` needs no "
        "data."
    )


def test_a_set_without_a_download_asks_for_its_folder(data_dir):
    message = (
        r"^Expected the data set `news_aggregator`\. Received: nothing \(no data directory is "
        r"given; has no download\)\. Either put news_aggregator/train\.csv \(and so on\) under "
        r"--data-dir or TFKD_DATA_DIR\. `--dataset demo` needs no data\.$"
    )
    with pytest.raises(DatasetError, match=message):
        sources.load("news_aggregator")


def traced_peak_bytes(path: Path) -> int:
    gc.collect()
    tracemalloc.start()
    check(sources.load(str(path)), ["train"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_stays_flat(tmp_path):
    small = write_split(tmp_path / "small.csv", 2_000)
    large = write_split(tmp_path / "large.csv", 30_000)
    traced_peak_bytes(small)  # Imports and caches are not the rows'.
    growth = traced_peak_bytes(large) - traced_peak_bytes(small)
    # A kept row costs some 200 bytes, 5.6 MB here. One byte a row says which part it is in, and
    # deciding that takes 70 more for a moment, of which 8 are the hash of its text.
    assert growth < 2_500_000


@pytest.mark.slow
def test_memory_stays_flat_from_a_hundred_thousand_to_a_million_rows(tmp_path):
    program = (
        "import resource, sys; from tfkd.data import checks, sources; "
        "found = checks.check(sources.load(sys.argv[1])); "
        "print(sum(split.num_rows for split in found.values()), "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peak_bytes = []
    for num_rows in (100_000, 1_000_000):
        path = write_split(tmp_path / f"{num_rows}.csv", num_rows)
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
        )
        rows, peak_kib = map(int, done.stdout.split())
        assert rows == num_rows
        peak_bytes.append(peak_kib * 1024)
    assert peak_bytes[1] - peak_bytes[0] < 30_000_000  # Kept rows would take 180 MB.


@needs_data
def test_ag_news_of_the_data_directory():
    summary = check(sources.load("ag_news"))
    assert summary["train"].num_rows + summary["validation"].num_rows == 73_714
    assert summary["validation"].num_rows == 3_686
    assert summary["test"].num_rows == 7_600
    assert summary["test"].class_counts == (1900, 1900, 1900, 1900)
