"""Files for other programs from the demo's run, and a student whose vocabulary was cut first."""

import re
import zipfile

import numpy as np
import pytest

from tests.messages import exactly
from tests.toys import QUIET
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import formats
from tfkd.compression.kit_model import KitModel
from tfkd.compression.litert import LiteRTModel
from tfkd.config.training import DistillConfig
from tfkd.config.verbs import FORMAT_NAMES, ExportConfig
from tfkd.errors import ArtifactError, ConfigError
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.token_table import token_table
from tfkd.runs.files import calibration
from tfkd.runs.material import prepare
from tfkd.runs.student import new_student, smaller_vocabulary, student_maker
from tfkd.workflows.export import export

pytestmark = pytest.mark.usefixtures("converted_here")


@pytest.fixture(scope="module")
def material(demo_config, demo_result):
    """The run's data, from its own cache."""
    return prepare(demo_config, demo_result.path.parent, QUIET)


def test_formats_of_the_settings_are_those_that_can_be_written():
    assert FORMAT_NAMES == ("tokens", *formats.FORMATS)


def test_edge_file_holds_the_vocabulary_and_the_labels(demo_result, tmp_path):
    config = ExportConfig(run=demo_result.path, output_dir=tmp_path, format="edge", lengths=(32,))
    result = export(config, QUIET)
    path = tmp_path / "edge-dynamic_int8.tflite"
    assert result.paths == {"edge-dynamic_int8": path}
    student = demo_result.student
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().split("\n") == [*student.label_names, ""]
        vocabulary = archive.read("vocab.txt").decode().split("\n")
        assert vocabulary == [*student.tokenizer.vocabulary, ""]
    record = artifacts.read_json(path.with_suffix(".json"))
    assert (record["format"], record["length"], record["passed"]) == ("edge", 32, True)
    assert record["size_bytes"] == path.stat().st_size
    with pytest.raises(ArtifactError, match=re.escape(f"Expected no file {path}. It exists.")):
        export(config, QUIET)


def test_a_folder_says_how_it_is_asked(demo_result, tmp_path):
    config = ExportConfig(run=demo_result.path, output_dir=tmp_path, format="python")
    result = export(config, QUIET)
    folder = tmp_path / "python-dynamic_int8"
    texts = ["The minister spoke of the budget.", "A team won."]
    expected = LiteRTModel(folder / "model.tflite", demo_result.student.tokenizer).predict(texts)
    np.testing.assert_array_equal(KitModel(folder).predict(texts), expected)
    assert result.render()[-1] == (
        f"Ask it: cd {folder} && pip install -r requirements.txt && python text_classifier.py TEXT"
    )
    with pytest.raises(ArtifactError, match=f"^Expected no file {re.escape(str(folder))}. It ex"):
        export(config, QUIET)


@pytest.fixture
def small_run(tmp_path):
    """A run whose model nobody loads, with its files."""
    run = RunFolder(tmp_path / "run")
    run.start("distill", DistillConfig(dataset="demo").to_dict(), overwrite=False)
    artifacts.write_json(run.metrics, {})
    for name in ("labels.txt", "tokenizer/vocabulary.txt", "model.keras"):
        artifacts.write_text(run.path / "student" / name, f"its {name}")
    artifacts.write_json(run.path / "student" / "classifier.json", {"model_sha256": "0a"})
    return run


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("labels.txt", "labels.txt"),
        ("classifier.json", "classifier.json"),
        ("tokenizer/vocabulary.txt", "tokenizer"),
    ],
)
def test_files_of_another_program_are_not_replaced(small_run, tmp_path, overwrite, name, named):
    folder = tmp_path / "app"
    artifacts.write_text(folder / name, '{"theirs": 1}')
    message = (
        f"Expected no {named} of another model in {folder}, where that of {small_run.model} is to "
        "go. It exists. Give another --output-dir."
    )
    with pytest.raises(ArtifactError, match=exactly(message)):
        export(ExportConfig(run=small_run.path, output_dir=folder, overwrite=overwrite), QUIET)
    assert (folder / name).read_text() == '{"theirs": 1}'


def test_files_of_another_model_are_replaced_only_when_asked_for(small_run, tmp_path):
    folder = tmp_path / "app"
    artifacts.write_json(folder / "classifier.json", {"model_sha256": "1b"})
    message = (
        f"Expected no classifier.json of another model in {folder}, where that of "
        f"{small_run.model} is to go. It exists. Add --overwrite to replace it, or give another "
        "--output-dir."
    )
    config = ExportConfig(run=small_run.path, output_dir=folder, recipes=("float32",))
    with pytest.raises(ArtifactError, match=exactly(message)):
        export(config, QUIET)
    artifacts.write_text(folder / "float32.json", '{"theirs": 1}')
    with pytest.raises(ArtifactError, match="Received: float32.json. Give another --output-dir.$"):
        export(config.replace(overwrite=True), QUIET)


def test_a_package_has_one_length(demo_result, tmp_path):
    config = ExportConfig(
        run=demo_result.path, output_dir=tmp_path, format="edge", lengths=(16, 32)
    )
    message = "^Expected one --length for format edge. Received: 16, 32.$"
    with pytest.raises(ConfigError, match=message):
        export(config, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_calibration_rows_are_training_rows_that_the_seed_chooses(demo_result, material):
    student = demo_result.student
    assert calibration(("float32", "dynamic_int8"), student, material, 3) is None
    found = calibration(("float32", "static_int8"), student, material, 3, num_rows=50)
    assert found.to_dict() == {"split": "train", "num_texts": 50, "seed": 3}
    tokens = material.tokens("train", student.tokenizer)
    rows = np.sort(np.random.default_rng(3).choice(len(tokens), 50, replace=False))
    np.testing.assert_array_equal(found.arrays["token_ids"], tokens.arrays(rows)["token_ids"])


def test_cut_vocabulary_keeps_what_a_token_starts_as(demo_config, demo_result, material, tmp_path):
    config = demo_config.replace(vocabulary_size=800)
    teacher = TextClassifier.load(demo_result.path.parent / "demo-cnn-finetuned" / "model")
    source = resolve("bert_tiny")
    smaller = smaller_vocabulary(config, source, teacher, material)
    assert smaller.tokenizer.vocabulary_size == 800 < teacher.tokenizer.vocabulary_size
    student_maker(config, source, teacher, material, RunFolder(tmp_path))
    report = artifacts.read_json(tmp_path / "vocabulary.json")
    assert report == smaller.report.to_dict()
    assert (report["tokens_after"], report["num_texts"]) == (800, 1000)
    cut = new_student(config, source, teacher, material, smaller)
    whole = new_student(demo_config, source, teacher, material)
    assert cut.tokenizer.vocabulary == [whole.tokenizer.vocabulary[i] for i in smaller.rows]
    np.testing.assert_array_equal(
        np.asarray(token_table(cut.model).embeddings),
        np.asarray(token_table(whole.model).embeddings)[smaller.rows],
    )


def test_whole_vocabulary_is_left_alone(demo_config, demo_result, material, tmp_path):
    teacher = demo_result.student
    assert smaller_vocabulary(demo_config, resolve("cnn"), teacher, material) is None
    student_maker(demo_config, resolve("cnn"), teacher, material, RunFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []
