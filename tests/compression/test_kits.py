"""Folders that answer by themselves: asked by a process that knows neither tfkd nor TensorFlow."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from tests.hard_texts import HARD_TEXTS, character_vocabulary
from tests.toys import byte_pair_tokenizer, spread_out, tiny_backbone, wordpiece_tokenizer
from tfkd import artifacts
from tfkd.compression import package_writer, parity
from tfkd.compression.formats import KITS, PYTHON
from tfkd.compression.package import Order, check_package, export_package
from tfkd.compression.package_writer import write_kit
from tfkd.errors import ArtifactError, ConversionError, ModelError
from tfkd.models import code_points, wordpiece
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier
from tfkd.models.without_encoder import build_cnn
from tfkd.written_files import run_files

LENGTH = 48
LABELS = ("money", "sport", "wéather")
TEXTS = [text for _, text in HARD_TEXTS]
PAIRS = list(zip(TEXTS, reversed(TEXTS), strict=True))
CLIENT = """
import json, sys
sys.path.insert(0, ".")
from text_classifier import TextClassifier
texts = [text if isinstance(text, str) else tuple(text) for text in json.load(sys.stdin)]
client = TextClassifier()
ids = [client.encode(text)["token_ids"][0].tolist() for text in texts]
third_party = {name.partition(".")[0] for name, module in sys.modules.items()
               if "site-packages" in (getattr(module, "__file__", None) or "")}
print(json.dumps([ids, client.scores(texts).tolist(), client.predict(texts), sorted(third_party)]))
"""


def classifier(task="single_label", num_texts=1):
    """A student whose logits are as far apart as trained ones."""
    tokenizer = wordpiece_tokenizer(character_vocabulary(), LENGTH, strip_accents=True)
    keras.utils.set_random_seed(0)
    backbone = tiny_backbone(
        tokenizer.vocabulary_size, "Bert", num_layers=2, max_sequence_length=LENGTH
    )
    model = spread_out(build_encoder_classifier(backbone, num_outputs=3))
    thresholds = {"thresholds": [0.25, 0.5, 0.1]} if task == "multi_label" else {}
    return TextClassifier(model, tokenizer, task, LABELS, num_texts=num_texts, **thresholds)


def written(student, path, format_name=PYTHON, recipe="float32", length=LENGTH):
    """The folder of a format, made in this process."""
    student.save(path / "student")
    package_writer.write(
        {
            "format": format_name,
            "recipe": recipe,
            "length": length,
            "model_folder": str(path / "student"),
            "target": str(path / "kit"),
            "calibration": None,
        }
    )
    return path / "kit"


def asked(folder, texts, runtime="ai_edge_litert"):
    """What the program in the folder says, in a process that sees no tfkd."""
    ended = subprocess.run(
        [sys.executable, "-I", "-c", CLIENT],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert ended.returncode == 0, ended.stderr
    ids, scores, answers, packages = json.loads(ended.stdout)
    assert {"numpy", runtime} <= set(packages)
    others = {"ai_edge_litert", "onnxruntime"} - {runtime}
    assert not {"tfkd", "tensorflow", "keras", "scipy", *others} & set(packages)
    return ids, np.array(scores), answers


@pytest.fixture(scope="module")
def student():
    return classifier()


@pytest.fixture(scope="module")
def kit(student, tmp_path_factory):
    """A folder that no test changes."""
    return written(student, tmp_path_factory.mktemp("kit"))


@pytest.fixture(scope="module")
def pair_student():
    return classifier("multi_label", num_texts=2)


@pytest.fixture(scope="module")
def pair_kit(pair_student, tmp_path_factory):
    return written(pair_student, tmp_path_factory.mktemp("pairs"))


@pytest.mark.parametrize("format_name", KITS)
def test_overwriting_a_run_knows_the_files_of_a_folder(student, tmp_path, format_name):
    place = tmp_path / "student" / f"{format_name}-int4_tables"
    place.parent.mkdir()
    write_kit(format_name, student, LENGTH, b"its file", place)
    (place / "node_modules").mkdir()
    (place / "node_modules" / "mine.js").touch()
    made = {path for path in place.iterdir() if path.is_file()}
    assert set(run_files(tmp_path)) == made


def test_python_gives_our_tokens_and_scores(student, kit):
    ids, scores, answers = asked(kit, TEXTS)
    assert {len(row) for row in ids} == {32, LENGTH}
    expected = student.encode(TEXTS, LENGTH)["token_ids"]
    assert [row + [0] * (LENGTH - len(row)) for row in ids] == expected.tolist()
    np.testing.assert_allclose(scores, softmax(student.predict(TEXTS), axis=1), atol=1e-5)
    best = [LABELS[index] for index in scores.argmax(axis=1)]
    assert [answer["label"] for answer in answers] == best
    assert len(set(best)) > 1
    first = dict(zip(LABELS, scores[0].tolist(), strict=True))
    assert answers[0] == {"label": best[0], "probability": max(scores[0]), "probabilities": first}


def test_python_reads_pairs_and_keeps_to_thresholds(pair_student, pair_kit):
    _, scores, answers = asked(pair_kit, PAIRS)
    np.testing.assert_allclose(scores, expit(pair_student.predict(PAIRS)), atol=1e-5)
    given = scores > [0.25, 0.5, 0.1]
    expected = [[LABELS[i] for i in np.flatnonzero(row)] for row in given]
    assert [answer["labels"] for answer in answers] == expected
    assert 0 < given.mean() < 1


def test_python_gives_the_score_of_a_regression(tmp_path):
    tokenizer = classifier().tokenizer.with_length(32)
    model = spread_out(build_cnn(tokenizer.vocabulary_size, 1, width=16, filters=8))
    student = TextClassifier(model, tokenizer, "regression", ["score"])
    _, scores, answers = asked(written(student, tmp_path, length=32), TEXTS[:9])
    np.testing.assert_allclose(scores, student.predict(TEXTS[:9]), atol=1e-5)
    assert answers == [{"score": score} for score in scores[:, 0]]


def test_the_command_line_answers_line_by_line(pair_kit):
    command = [sys.executable, "-E", "text_classifier.py"]
    run = {"cwd": pair_kit, "capture_output": True, "text": True}
    named = subprocess.run([*command, "Oil fell.\tIt is\tcheap."], **run)
    piped = subprocess.run(command, input="Oil fell.\tIt is\tcheap.\n" * 2, **run)
    assert (named.returncode, piped.stdout) == (0, named.stdout * 2)
    assert set(json.loads(named.stdout)) == {"labels", "probabilities"}
    alone = subprocess.run([*command, "Oil fell."], **run)
    assert "ValueError: Expected 2 text(s) in each row. Received: ('Oil fell.',)" in alone.stderr


def test_the_tokenizer_is_our_own_file(kit):
    for module in (wordpiece, code_points):
        with open(module.__file__, encoding="utf-8") as ours:
            copy = (kit / ours.name.rpartition("/")[2]).read_text(encoding="utf-8")
            assert copy.replace("from code_", "from tfkd.models.code_") == ours.read()
    for file in kit.glob("*.py"):
        assert not re.search(r"^\s*(from|import) tfkd", file.read_text(encoding="utf-8"), re.M)


def test_a_folder_passes_the_gate_and_one_that_was_changed_does_not(
    pair_student, pair_kit, tmp_path
):
    order = Order(PYTHON, Path(shutil.copytree(pair_kit, tmp_path / "kit")), "float32")
    package = check_package(order, pair_student, PAIRS)
    assert (package.format, package.length, package.report.agreement) == (PYTHON, LENGTH, 1)
    assert list(package.report.difference_by_length) == [32, LENGTH]
    assert package.report.size_bytes == sum(
        file.stat().st_size for file in order.path.iterdir() if file.is_file()
    )
    vocabulary = order.path / "vocabulary.txt"
    vocabulary.write_text(vocabulary.read_text().replace("\no\n", "\n0o0\n"))
    with pytest.raises(ConversionError, match="^Expected from kit the student's own tokens. Rec"):
        check_package(order, pair_student, PAIRS)


@pytest.mark.parametrize("format_name", KITS)
@pytest.mark.parametrize(("num_texts", "others"), [(1, "saved-model or tokens"), (2, "tokens")])
def test_other_tokenizers_are_refused_in_a_line(student, format_name, num_texts, others, tmp_path):
    tokenizer = byte_pair_tokenizer(LENGTH)
    other = dataclasses.replace(student, tokenizer=tokenizer, num_texts=num_texts)
    message = (
        f"Expected a WordPiece tokenizer for format {format_name}, which holds no other. Received: "
        f"a tokenizer that only KerasHub runs. Use --format {others}."
    )
    texts = TEXTS if num_texts == 1 else PAIRS
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        export_package(Order(format_name, tmp_path / "kit"), tmp_path, other, texts)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_replaced_and_what_npm_brought_stays(tmp_path):
    artifacts.write_text(tmp_path / "model.keras", "weights")

    def keep(content):
        artifacts.write_text(tmp_path / "made" / "model.tflite", content)
        parity.keep(tmp_path / "made", tmp_path / "kit", {}, tmp_path)

    keep("old")
    used = ("__pycache__/a.pyc", "node_modules/a/b.js", "package-lock.json")
    for name in used:
        artifacts.write_text(tmp_path / "kit" / name, "")
    keep("new")
    assert (tmp_path / "kit" / "model.tflite").read_text() == "new"
    assert [(tmp_path / "kit" / name).exists() for name in used] == [False, True, True]
    assert list(artifacts.read_json(tmp_path / "kit.json")["sha256"]) == ["model.tflite"]
    artifacts.write_text(tmp_path / "kit" / "notes.txt", "mine")
    with pytest.raises(ArtifactError, match="Received: notes.txt. Give another --output-dir.$"):
        keep("newer")
