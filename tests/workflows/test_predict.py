"""Asking a run's model: known logits become labels and probabilities, in the order of the texts."""

import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from tests.messages import exactly
from tests.toys import convert_here, vocabulary_of, wordpiece_tokenizer
from tfkd.artifacts import RunFolder, read_json, write_json
from tfkd.cli import verbs
from tfkd.compression.litert import LiteRTModel
from tfkd.config.verbs import PredictConfig
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.errors import ArtifactError, DatasetError
from tfkd.models.classifier import TextClassifier
from tfkd.models.predictions import Prediction
from tfkd.runs.answering import of_any, quick_recipe
from tfkd.workflows.predict import CHUNK_ROWS, predict, read_texts

VOCABULARY = vocabulary_of("rain goal vote team")
# One row a token: what it adds to the logits of weather, sport, politics.
LOGITS = {"rain": [2.0, 0.0, 0.0], "goal": [0.0, 3.0, 0.0], "vote": [0.0, 0.0, 1.0]}
LABELS = ("weather", "sport", "politics")


def make_run(path, task=SINGLE_LABEL, labels=LABELS, num_texts=1, thresholds=0.5):
    """A finished run whose model adds up the logits of the words."""
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
    table = np.zeros((len(VOCABULARY), len(labels)), np.float32)
    for word, logits in LOGITS.items():
        table[VOCABULARY.index(word)] = logits[: len(labels)]
    embedding = keras.layers.Embedding(*table.shape)
    mask = keras.ops.expand_dims(keras.ops.cast(padding_mask, "float32"), -1)
    logits = keras.ops.sum(embedding(token_ids) * mask, axis=1)
    model = keras.Model({"token_ids": token_ids, "padding_mask": padding_mask}, logits)
    embedding.set_weights([table])
    run = RunFolder(path)
    run.start("finetune", {"dataset": "weather"}, overwrite=False)
    # As trained ones are: one that keeps accents needs TensorFlow.
    tokenizer = wordpiece_tokenizer(VOCABULARY, strip_accents=True)
    TextClassifier(model, tokenizer, task, labels, num_texts, thresholds).save(run.model)
    return path


@pytest.fixture(scope="module")
def single_label_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "single")


def answer(run, *arguments, **options):
    return CliRunner().invoke(verbs, ["predict", str(run), *arguments], **options)


def test_probabilities_are_the_softmax_of_the_logits(single_label_run):
    config = PredictConfig(run=single_label_run)
    rain, both = predict(config, ["rain", "Rain, goal."])
    total = math.exp(2) + 2
    assert rain.labels == ("weather",)
    assert rain.probabilities == pytest.approx(
        {"weather": math.exp(2) / total, "sport": 1 / total, "politics": 1 / total}, abs=1e-6
    )
    total = math.exp(2) + math.exp(3) + 1
    assert both.labels == ("sport",)
    assert both.probabilities["sport"] == pytest.approx(math.exp(3) / total, abs=1e-6)


def test_command_answers_one_line_a_text(single_label_run):
    result = answer(single_label_run, "rain", "goal", "vote")
    assert result.exit_code == 0
    # exp(2)/(exp(2)+2), exp(3)/(exp(3)+2), exp(1)/(exp(1)+2)
    assert result.stdout == "weather\t0.7870\nsport\t0.9094\npolitics\t0.5761\n"


def test_command_answers_json_lines(single_label_run):
    result = answer(single_label_run, "goal", "--json")
    (line,) = result.stdout.splitlines()
    values = json.loads(line)
    assert list(values) == ["text", "label", "probability", "probabilities"]
    assert (values["text"], values["label"]) == ("goal", "sport")
    assert values["probability"] == values["probabilities"]["sport"]
    assert sum(values["probabilities"].values()) == pytest.approx(1.0, abs=1e-6)


def test_file_and_standard_input_give_the_same_answers(single_label_run, tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"rain\r\ngoal\nvote")
    from_file = answer(single_label_run, "--input", str(path))
    from_stdin = answer(single_label_run, input=path.read_bytes())
    assert (
        from_file.stdout
        == from_stdin.stdout
        == answer(single_label_run, "rain", "goal", "vote").stdout
    )


def test_open_input_is_answered_by_chunks_and_interrupted_with_130(single_label_run):
    command = [sys.executable, "-m", "tfkd", "predict", str(single_label_run)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def heed_interrupts():
        # A shell starts what runs in the background with SIGINT ignored, and children inherit it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, preexec_fn=heed_interrupts, **pipes) as process:
        process.stdin.write(b"rain\n" * CHUNK_ROWS)
        process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(CHUNK_ROWS)]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert set(lines) == {b"weather\t0.7870\n"}
    # The whole of standard error: no notes of TensorFlow's.
    assert (process.returncode, stderr) == (130, b"\nInterrupted.\n")


def test_long_input_streams_in_chunks_and_keeps_its_order(single_label_run):
    words = ["rain", "goal", "vote"]
    read = []

    def texts():
        for row in range(CHUNK_ROWS * 2 + 5):
            read.append(row)
            yield words[row % 3] + " team" * (row % 7)

    predictions = predict(PredictConfig(run=single_label_run), texts())
    assert next(predictions).labels == ("weather",)
    assert len(read) == CHUNK_ROWS
    labels = [prediction.labels[0] for prediction in predictions]
    assert labels == [LABELS[row % 3] for row in range(1, CHUNK_ROWS * 2 + 5)]


@pytest.mark.parametrize(
    ("thresholds", "line"),
    [
        # Logits 2, 3 and 0: what is exactly at its threshold is not above it.
        (0.5, "weather\t0.8808\tsport\t0.9526"),
        ([0.9, 0.5, 0.49], "sport\t0.9526\tpolitics\t0.5000"),
        ([0.9, 0.96, 0.5], "(none)"),
    ],
)
def test_multi_label_answers_all_labels_above_their_thresholds(tmp_path, thresholds, line):
    run = make_run(tmp_path / "run", MULTI_LABEL, thresholds=thresholds)
    assert answer(run, "rain goal").stdout.splitlines() == [line]
    values = json.loads(answer(run, "rain goal", "--json").stdout)
    assert values["labels"] == [field for field in line.split("\t") if field in LABELS]
    assert values["probabilities"]["sport"] == pytest.approx(1 / (1 + math.exp(-3)), abs=1e-6)


def test_multi_label_without_any_label_still_has_its_line():
    prediction = Prediction(("fog",), MULTI_LABEL, {"weather": 0.4, "sport": 0.1})
    assert str(prediction) == "(none)"
    assert prediction.to_dict()["labels"] == []


def test_regression_of_pairs_answers_the_score(tmp_path):
    run = make_run(tmp_path / "run", REGRESSION, ("score",), num_texts=2)
    assert answer(run, "rain\train team").stdout == "4.0000\n"
    values = json.loads(answer(run, "--json", input="rain\tteam\n").stdout)
    assert values == {"texts": ["rain", "team"], "score": 2.0}


def test_text_that_is_no_pair_is_refused_with_its_number(tmp_path):
    run = make_run(tmp_path / "run", REGRESSION, ("score",), num_texts=2)
    message = "Expected 2 sentences with a tab between them in text 2. Received: 1 in 'goal'."
    with pytest.raises(DatasetError, match=exactly(message)):
        list(predict(PredictConfig(run=run), ["rain\tteam", "goal"]))


def test_a_text_alone_is_one_text_whoever_is_asked(single_label_run):
    (prediction,) = predict(PredictConfig(run=single_label_run), "rain goal")
    assert prediction.texts == ("rain goal",)
    classifier = TextClassifier.load(RunFolder(single_label_run).model)
    for texts in ("rain goal", b"rain goal", iter(["rain goal"]), np.array(["rain goal"])):
        np.testing.assert_array_equal(classifier.predict(texts), [[2.0, 3.0, 0.0]])
    assert classifier.encode("rain goal")["token_ids"].shape[0] == 1
    assert classifier.predict(()).shape == (0, 3)


def test_a_pair_alone_is_one_pair(tmp_path):
    run = make_run(tmp_path / "run", REGRESSION, ("score",), num_texts=2)
    for pair in ("rain\train team", ("rain", "rain team"), [["rain", "rain team"]]):
        (prediction,) = predict(PredictConfig(run=run), pair)
        assert (prediction.texts, prediction.score) == (("rain", "rain team"), 4.0)
        logits = TextClassifier.load(RunFolder(run).model).predict(pair)
        np.testing.assert_array_equal(logits, [[4.0]])


def test_what_is_no_text_is_refused_before_anything_is_loaded(single_label_run):
    config = PredictConfig(run=single_label_run)
    message = (
        "Expected texts: a string, or strings in a list or another iterable that has an order. "
        "Received: None"
    )
    with pytest.raises(TypeError, match=exactly(message)):
        predict(config, None)
    with pytest.raises(
        TypeError, match=exactly("Expected a string as text 2. Received: float nan")
    ):
        list(predict(config, ["rain", math.nan]))


def test_command_refuses_an_argument_that_is_no_unicode(single_label_run):
    result = answer(single_label_run, "rain", os.fsdecode(b"caf\xe9"))
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: Expected Unicode in text 2. Received: half a surrogate pair in 'caf\\udce9'. "
        "Decode the text from UTF-8 again.\n",
    )


def test_tab_in_a_single_text_is_part_of_it(single_label_run):
    (prediction,) = predict(PredictConfig(run=single_label_run), ["rain\tgoal"])
    assert prediction.texts == ("rain\tgoal",)
    assert prediction.labels == ("sport",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"rain\n\ngoal\n",
            "Expected a text in a.txt, row 2. Received: an empty line. Remove it.",
        ),
        (
            b"caf\xe9 rain\n",
            "Expected UTF-8 in a.txt, row 1. Received: invalid continuation byte at byte 3. "
            "Save the file as UTF-8.",
        ),
        (
            b"rain\n" + b"x" * 1_000_001,
            "Expected lines of at most 1000000 bytes in a.txt. Received: more in row 2. "
            "Write one text a line.",
        ),
        (
            b"rain\rgoal\r",
            "Expected lines of text in a.txt, row 1. Received: a carriage return inside the line. "
            "Save the file as UTF-8 text with a line feed behind each text.",
        ),
        (
            "rain\ngoal\n".encode("utf-16-le"),
            "Expected lines of text in a.txt, row 1. Received: a zero byte inside the line. Save "
            "the file as UTF-8 text with a line feed behind each text.",
        ),
    ],
    ids=["empty", "encoding", "too long", "old Mac", "no text"],
)
def test_bad_line_is_refused_with_file_and_row(content, message):
    with pytest.raises(DatasetError, match=exactly(message)):
        list(read_texts(io.BytesIO(content), "a.txt"))


def test_letters_beyond_ascii_come_back_unchanged():
    assert list(read_texts(io.BytesIO("Müll\n雨\n".encode()), "a.txt")) == ["Müll", "雨"]


def test_a_byte_order_mark_is_no_part_of_the_first_text():
    lines = "\ufeffMüll\r\n\ufeffrain\n".encode()
    assert list(read_texts(io.BytesIO(lines), "a.txt")) == ["Müll", "\ufeffrain"]
    with pytest.raises(
        DatasetError,
        match=exactly("Expected a text in a.txt, row 1. Received: an empty line. Remove it."),
    ):
        list(read_texts(io.BytesIO("\ufeff\nrain".encode()), "a.txt"))


def test_label_names_that_would_change_a_terminal_are_refused(tmp_path):
    place = "Expected a class name of visible characters in the label names of a classifier. "
    end = "Received: 'sport\\x1b[2J', with '\\x1b'. Remove that character."
    with pytest.raises(DatasetError, match=exactly(place + end)):
        make_run(tmp_path / "made", labels=("weather", "sport\x1b[2J", "politics"))
    run = make_run(tmp_path / "changed")
    path = run / "model" / "classifier.json"
    names = ["weather", "sport\x1b[2J", "politics"]
    write_json(path, read_json(path) | {"label_names": names})
    result = answer(run, "rain")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"Error: Expected a class name of visible characters in {path}. {end}\n"
    )


def test_missing_input_file_is_one_line(single_label_run):
    result = answer(single_label_run, "--input", "none.txt")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: Expected a file with one text a line. "
        "Received: none.txt: No such file or directory.\n"
    )


def test_missing_recipe_says_how_to_make_it(single_label_run):
    path = single_label_run / "model" / "dynamic_int8.tflite"
    message = (
        f"Expected the file {path}. It does not exist. Make it with "
        f"`tfkd export {single_label_run} --recipe dynamic_int8`."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        predict(PredictConfig(run=single_label_run, recipe="dynamic_int8"), ["rain"])


@pytest.fixture(scope="module")
def run_with_file(tmp_path_factory):
    """A run that also has a LiteRT file."""
    run = make_run(tmp_path_factory.mktemp("runs") / "weather")
    convert_here(run / "model", ["float32"], (8, 16), run / "model")
    return run


@pytest.fixture
def backlog(tmp_path):
    path = tmp_path / "backlog.csv"
    path.write_text("ticket,body\n7,Rain\n8,\n9,goal team\n")
    return path


SCORED = (
    "ticket,body,label,probability\n7,Rain,weather,0.786986\n8,,,\n9,goal team,sport,0.909443\n"
)


def test_a_table_is_scored_by_the_file_without_tensorflow(run_with_file, backlog):
    target = backlog.with_name("scored.csv")
    code = (
        "import sys; from tfkd.cli import verbs\n"
        f"verbs({['predict', str(run_with_file), '--input', str(backlog)]!r} + "
        f"{['--output', str(target), '--text-column', 'body']!r}, standalone_mode=False)\n"
        "print(sorted({'tensorflow', 'keras', 'keras_hub'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    first, columns, empty, loaded = ended.stdout.splitlines()
    assert first.startswith(f"{target}: 3 rows answered by float32.tflite in ")
    assert columns == "Added columns: label, probability."
    assert empty == "Rows without a text, which have no answer: 1."
    assert loaded == "[]"
    assert ended.stderr == f"read and check {backlog}\nscore 3 rows with float32.tflite\n"
    assert target.read_text() == SCORED


def test_a_table_is_scored_by_the_keras_model_where_there_is_no_file(single_label_run, backlog):
    target = backlog.with_name("scored.csv")
    files = ("--input", str(backlog), "--output", str(target), "--text-column", "body")
    result = answer(single_label_run, *files, "--json")
    values = json.loads(result.stdout)
    assert (values["model"], values["num_rows"], values["num_empty"]) == ("the Keras model", 3, 1)
    assert target.read_text() == SCORED
    result = answer(single_label_run, *files)
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: Expected no file {target}. It exists. Add --overwrite, or give another "
        "--output.\n",
    )
    assert answer(single_label_run, *files, "--overwrite", "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--input", "a.csv"],
            "Expected --input and --output, a table and the file to write. Received: --input a.csv "
            "alone. Give both, such as --input backlog.csv --output scored.csv.",
        ),
        (
            ["--output", "b.csv"],
            "Expected --input and --output, a table and the file to write. Received: --output "
            "b.csv alone. Give both, such as --input backlog.csv --output scored.csv.",
        ),
        (
            ["--input", "a.csv", "--output", "b.xlsx"],
            "Expected a file that ends in one of .csv, .csv.gz, .tsv, .tsv.gz, .jsonl, .jsonl.gz, "
            ".parquet, .parquet.gz. Received: b.xlsx. Rename or convert it.",
        ),
        (
            ["--input", "a.csv", "--output", "./a.csv", "--overwrite"],
            "Expected another file for --output than the input. Received: a.csv for both.",
        ),
        (
            ["--input", "none.csv", "--output", "b.csv"],
            "Expected a readable file. Received: none.csv: No such file or directory.",
        ),
        (
            ["--input", "a.txt", "--text-column", "body"],
            "Expected --input and --output, of a table, with --text-column. Received: no table. "
            "Leave it out for lines of text.",
        ),
        (
            ["--input", "a.csv", "--output", "b.csv"],
            "Expected the column `text` (or `sentence1`, `sentence2`) in a.csv. Received: ticket, "
            "body. Perhaps --text-column body?",
        ),
        (
            ["--input", "a.csv", "--output", "b.csv", "--ray", "local"],
            "Expected --output FOLDER, a name without an ending, with --ray. Received: --output "
            "b.csv, a file.",
        ),
        (
            ["--input", ".", "--output", "labels"],
            "Expected --output outside of the folder that is read. Received: labels in ..",
        ),
    ],
    ids=[
        *("no output", "no input", "ending", "same", "missing", "idle", "column"),
        *("no folder", "inside"),
    ],
)
def test_files_that_cannot_be_are_refused(
    single_label_run, backlog, monkeypatch, arguments, message
):
    monkeypatch.chdir(backlog.parent)
    backlog.rename("a.csv")
    result = answer(single_label_run, *arguments)
    assert (result.exit_code, result.stderr) == (1, f"Error: {message}\n")
    assert [path.name for path in backlog.parent.iterdir()] == ["a.csv"]


def test_a_folder_of_answers_is_written_and_gone_on_with(run_with_file, backlog):
    folder = backlog.with_name("labels")
    files = ("--input", str(backlog), "--output", str(folder), "--text-column", "body")
    result = answer(run_with_file, *files, "--id-column", "ticket", "--part-rows", "2")
    assert result.exit_code == 0, result.output
    first, *_ = result.stdout.splitlines()
    assert first.startswith(f"{folder}: 3 rows in 2 parts, answered by float32; 2 parts made now ")
    assert result.stderr == f"read and check {backlog}\nscore 3 of 3 rows with float32\n"
    parts = [pyarrow.parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    rows = [row for part in parts for row in part.to_pylist()]
    assert [(row["id"], row["label"], row["probability"]) for row in rows] == [
        ("7", "weather", 0.786986),
        ("8", None, None),
        ("9", "sport", 0.909443),
    ]
    again = answer(run_with_file, *files, "--id-column", "ticket", "--part-rows", "2", "--json")
    assert json.loads(again.stdout)["num_found"] == 2
    result = answer(run_with_file, *files, "--id-column", "ticket")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        1,
        f"Error: Expected the rows of a part that {folder} was begun with: 2. Received: 10000. "
        "Give the same to go on, --overwrite to begin anew, or another --output.",
    )


def test_the_column_that_the_run_was_trained_on_is_the_one(tmp_path, backlog):
    run = make_run(tmp_path / "run")
    config = RunFolder(run).config
    write_json(config, read_json(config) | {"text_column": "body"})
    target = tmp_path / "scored.csv"
    answer(run, "--input", str(backlog), "--output", str(target))
    assert target.read_text() == SCORED


@pytest.mark.parametrize("name", ["", "model", "model/float32.tflite"])
def test_one_call_answers_a_run_a_folder_or_a_file(run_with_file, name):
    rain, goal = predict(run_with_file / name, ("rain", "goal"))
    assert (rain.label, goal.label) == ("weather", "sport")
    assert rain.probability == pytest.approx(math.exp(2) / (math.exp(2) + 2), abs=1e-6)
    assert repr([rain]) == "[Prediction('weather': 0.7870)]"
    assert predict(str(run_with_file / name), "goal")[0].probabilities == goal.probabilities


def test_one_call_answers_models_in_memory(run_with_file):
    folder = run_with_file / "model"
    file, classifier = LiteRTModel(folder / "float32.tflite"), TextClassifier.load(folder)
    for model in (file, classifier, RunFolder(run_with_file)):
        (prediction,) = predict(model, np.array(["rain rain"]))
        assert prediction.probabilities["weather"] == pytest.approx(0.9647, abs=1e-4)
    with pytest.raises(
        TypeError,
        match=exactly(
            "Expected a run, a model folder, a .tflite file or a model of tfkd. Received: 3"
        ),
    ):
        predict(3, "rain")


def test_the_recipe_says_what_of_a_run_answers(run_with_file):
    assert quick_recipe(run_with_file / "model") == "float32"
    assert of_any(run_with_file).name == "float32.tflite"
    assert of_any(run_with_file, "keras").name == "the Keras model"
    assert answer(run_with_file, "rain", "--recipe", "float32").stdout == "weather\t0.7870\n"


@pytest.mark.parametrize(
    ("record", "note"),
    [
        ('{"agreement": 0.75}', " (agreement with the Keras model 0.7500)"),
        *((content, "") for content in ("[]", "null", "3", '{"agreement": "x"}', "{}")),
    ],
)
def test_a_record_of_another_program_beside_a_file_says_nothing(
    run_with_file, tmp_path, record, note
):
    folder = shutil.copytree(run_with_file / "model", tmp_path / "model")
    (folder / "float32.json").write_text(record)
    found = of_any(folder / "float32.tflite")
    assert found.note == note
    assert found.predict(["rain"]).tolist() == [[2.0, 0.0, 0.0]]
