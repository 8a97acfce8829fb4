"""A corpus in parts; the model counts words, so every answer is known."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from tests.messages import exactly
from tests.runs.test_scored_file import LABELS, ONE, TWO, counting
from tests.toys import QUIET, Stopped
from tfkd.data.columns import KNOWN_NAMES, ColumnNames
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL, Dataset, Example
from tfkd.distillation.teacher_answers import KeyColumns, read_answers, text_hash
from tfkd.errors import ArtifactError, DatasetError
from tfkd.runs import labelled_corpus
from tfkd.runs.answering import Answering
from tfkd.runs.corpus import Corpus
from tfkd.runs.labelled_corpus import CHUNK_ROWS, Labelling, label_corpus

BY_TEXT = KeyColumns((), (("text",),))


@pytest.fixture
def place(tmp_path):
    """A folder of three files: 3, 1 and 2 rows."""
    folder = tmp_path / "corpus"
    (folder / "b").mkdir(parents=True)
    (folder / "a.csv").write_text("text,key\nrain,r1\n,r2\ngoal goal,r3\n")
    with gzip.open(folder / "b" / "b.jsonl.gz", "wt") as stream:
        stream.write('{"text": "goal", "key": 7}\n')
    table = pyarrow.table({"key": ["x", "y"], "text": ["rain rain", "fog"]})
    pyarrow.parquet.write_table(table, folder / "c.parquet")
    (folder / ".part-1.csv").write_text("broken")
    (folder / "README.txt").write_text("no table")
    return folder


@pytest.fixture
def label(tmp_path, monkeypatch):
    """Labels a corpus with a model that can be told; gives the result."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "float32.tflite").write_bytes(b"model")

    def run(place, answering=None, names=KNOWN_NAMES, part_rows=2, overwrite=False):
        answering = answering or counting()
        monkeypatch.setattr(labelled_corpus, "of_folder", lambda folder, recipe: answering)
        corpus = Corpus.of(place, names, answering.model.num_texts)
        job = Labelling(corpus, tmp_path / "out", model, "float32")
        return label_corpus(job, part_rows, overwrite, None, QUIET)

    return run


def rows_of(folder):
    """Rows of each part."""
    paths = sorted(folder.glob("part-*.parquet"))
    return [pyarrow.parquet.read_table(path).to_pylist() for path in paths]


def test_each_row_is_in_one_part_in_the_order_of_files(place, label):
    result = label(place)
    parts = rows_of(result.path)
    assert [[row["id"] for row in part] for part in parts] == [
        ["a.csv:1", "a.csv:2"],
        ["a.csv:3"],
        ["b/b.jsonl.gz:1"],
        ["c.parquet:1", "c.parquet:2"],
    ]
    first, empty = parts[0]
    assert first == {
        "id": "a.csv:1",
        "text_sha256": text_hash(Example(("rain",), 0)),
        "label": "weather",
        "probability": pytest.approx(ONE, 1e-5),
        "probability:weather": pytest.approx(ONE, 1e-5),
        "probability:sport": pytest.approx(1 - ONE, 1e-5),
    }
    assert set(empty.values()) == {"a.csv:2", None}
    assert parts[1][0]["probability"] == pytest.approx(TWO, 1e-5)
    assert (result.num_rows, result.num_empty, result.num_parts, result.num_found) == (6, 1, 4, 0)
    made, without, teach = result.render()
    assert made.startswith(f"{result.path}: 6 rows in 4 parts, answered by float32; 4 parts made ")
    assert without == "Rows without a text, which have no answer: 1."
    assert teach == f"Teach with them: tfkd distill --teacher-answers {result.path}"
    assert result.to_dict()["source"] == str(place)


def test_own_ids_stand_without_hashes(place, label):
    parts = rows_of(label(place, names=ColumnNames(id="key"), part_rows=100).path)
    assert [[row["id"] for row in part] for part in parts] == [
        ["r1", "r2", "r3"],
        ["7"],
        ["x", "y"],
    ]
    assert list(parts[0][0]) == [
        *("id", "label", "probability", "probability:weather", "probability:sport")
    ]


def test_ids_that_the_run_knew_are_taken_where_they_are_there(place):
    names = ColumnNames(id="key")
    assert Corpus.of(place, names, 1).with_ids_there().names.id == "key"
    (place / "a.csv").write_text("text\nrain\n")
    assert Corpus.of(place, names, 1).with_ids_there().names.id is None
    with pytest.raises(
        DatasetError, match=r"^Expected a column `key` in .*a\.csv\. Received: text"
    ):
        list(Corpus.of(place, names, 1).rows("a.csv"))


def test_a_stopped_run_goes_on_and_makes_nothing_twice(place, label):
    asked = []
    usual = counting(asked=asked)

    def failing(texts):
        if "goal" in texts:
            raise Stopped
        return usual.predict(texts)

    with pytest.raises(Stopped, match="^$"):
        label(place, Answering("a", usual.model, failing))
    out = place.parent / "out"
    names = sorted(path.name for path in out.iterdir())
    assert names == ["_manifest.json", "part-00000.parquet", "part-00001.parquet"]
    # What is there is left as it is.
    before = (out / "part-00000.parquet").stat().st_mtime_ns
    asked.clear()
    result = label(place, usual)
    assert (result.num_found, result.num_parts) == (2, 4)
    assert asked == [["goal"], ["fog", "rain rain"]]
    assert (out / "part-00000.parquet").stat().st_mtime_ns == before
    whole = [path.read_bytes() for path in sorted(out.glob("part-*"))]
    assert label(place).num_found == 4
    (out / "part-00002.parquet").unlink()
    assert label(place).num_found == 3
    assert [path.read_bytes() for path in sorted(out.glob("part-*"))] == whole


def test_parts_of_others_are_refused_by_name(place, label):
    out = label(place).path
    model = place.parent / "model" / "float32.tflite"
    advice = "Give the same to go on, --overwrite to begin anew, or another --output."
    message = f"Expected the rows of a part that {out} was begun with: 2. Received: 3. {advice}"
    with pytest.raises(ArtifactError, match=exactly(message)):
        label(place, part_rows=3)
    text = (place / "a.csv").read_text()
    (place / "a.csv").write_text(text.replace("rain", "hail"))
    with pytest.raises(
        ArtifactError, match=r"^Expected the input that .*: a\.csv \[3, '\w+'\]\. R"
    ):
        label(place)
    (place / "a.csv").write_text(text)
    model.write_bytes(b"another")
    with pytest.raises(
        ArtifactError, match=r"^Expected the model that .* begun with: sha256 \w+\."
    ):
        label(place)
    assert label(place, part_rows=3, overwrite=True).num_found == 0
    assert len(rows_of(out)) == 3
    (out / "_manifest.json").unlink()
    with pytest.raises(
        ArtifactError, match=r"^Expected a new or empty folder .* which holds other"
    ):
        label(place, overwrite=True)


def test_nothing_is_written_for_a_corpus_that_is_bad(place, label):
    (place / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"^Expected a Parquet file in .*c\.parquet"):
        label(place)
    assert not (place.parent / "out").exists()
    for path in place.rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(
        DatasetError, match=r"^Expected files that end in one of .* Received: none\."
    ):
        label(place)
    (place / "a.csv").write_text("text\n")
    with pytest.raises(DatasetError, match=r"^Expected rows in .*corpus\. Received: none\.$"):
        label(place)


def test_a_source_that_shrinks_meanwhile_is_told(place, label):
    class Shrinking:
        def say(self, text):
            if text.startswith("score"):
                (place / "a.csv").write_text("text\nrain\n")

        task = staticmethod(QUIET.task)

    corpus = Corpus.of(place, KNOWN_NAMES, 1)
    label(place)
    job = Labelling(corpus, place.parent / "again", place.parent / "model", "float32")
    with pytest.raises(
        DatasetError, match=r"^Expected 2 rows of a\.csv from row 1 on\. Received: 1"
    ):
        label_corpus(job, 2, False, None, Shrinking())
    assert [path.name for path in job.folder.iterdir()] == ["_manifest.json"]


def test_a_long_source_is_read_in_chunks(tmp_path, label):
    path = tmp_path / "long.csv"
    count = 2 * CHUNK_ROWS + 5
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [["text"], *([" ".join(["rain"] * (n % 5))] for n in range(count))]
        )
    asked = []
    parts = rows_of(label(path, counting(asked=asked), part_rows=CHUNK_ROWS + 1).path)
    assert [len(part) for part in parts] == [CHUNK_ROWS + 1, CHUNK_ROWS + 1, 3]
    assert [row["id"] for part in parts for row in part][::1000] == [
        f"long.csv:{number}" for number in range(1, count + 1, 1000)
    ]
    assert max(map(len, asked)) <= CHUNK_ROWS


def test_a_data_set_by_name_gives_its_splits(tmp_path, label, monkeypatch):
    folder = tmp_path / "data" / "weather"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_text("text,label\nrain,wet\ngoal,dry\n")
    (folder / "test.csv").write_text("text,label\nfog,wet\n")
    monkeypatch.setenv("TFKD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    parts = rows_of(label(Path("weather")).path)
    assert [[row["id"] for row in part] for part in parts] == [["train:1", "train:2"], ["test:1"]]
    pair = counting(REGRESSION, ("score",), 2)
    with pytest.raises(
        DatasetError, match=r"^Expected 2 texts a row, .* Received: 1 in weather\.$"
    ):
        label(Path("weather"), pair)


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_the_parts_are_answers_that_teach(place, label, task):
    out = label(place, counting(task)).path
    dataset = Dataset("weather", task, LABELS, 1, "accuracy", {})
    found = read_answers(out, dataset, BY_TEXT)
    assert (len(found.numbers), found.num_empty, found.is_by_id) == (5, 1, False)
    rows = [Example((text,), 0) for text in ("rain", "goal goal", "nowhere")]
    answers = found.of(found.find(rows))
    difference = answers[:, 0] - answers[:, 1]
    np.testing.assert_allclose(difference, [1, -2, np.nan], atol=1e-4)
    label(place, counting(task), ColumnNames(id="key"), overwrite=True)
    by_id = read_answers(out, dataset, KeyColumns(("key", "id"), (("text",),)))
    assert (list(by_id.numbers), by_id.is_by_id) == (["r1", "r3", "7", "x", "y"], True)


def test_scores_of_pairs(tmp_path, label):
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2\nrain,rain\n")
    ((row,),) = rows_of(label(path, counting(REGRESSION, ("score",), 2)).path)
    assert (row["score"], row["text_sha256"]) == (2.0, text_hash(Example(("rain", "rain"), 0)))
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert list(manifest) == ["model", "rows of a part", "input", "seal"]
