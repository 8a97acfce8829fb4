"""A student within a budget: what fits, what is tried, and that the file keeps to it."""

import dataclasses
from types import SimpleNamespace

import pytest

from tests.messages import exactly
from tests.toys import QUIET, byte_pair_tokenizer
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression.quantizer import is_ready, table_row_bytes
from tfkd.compression.recipes import find
from tfkd.errors import ConfigError, ModelError
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.runs.material import prepare
from tfkd.runs.search import Form, Search, fitting_forms, search
from tfkd.runs.teacher import prepare_teacher
from tfkd.workflows.distill import distill
from tfkd.written_files import run_files

pytestmark = pytest.mark.usefixtures("converted_here")

INT8 = Form("cnn", "dynamic_int8", 4000, 900_000, 0.1, 0.81)
INT4 = Form("cnn", "int4_tables", 7000, 890_000, 0.2, 0.83)
TINY = Form("bert_tiny", "dynamic_int8", 3000, 950_000, 0.4, 0.83)


@pytest.fixture(scope="module")
def config(demo_config, demo_result, tmp_path_factory):
    """A budget that leaves out some tokens of the demo's."""
    teacher = demo_result.path.parent / "demo-cnn-finetuned"
    return demo_config.replace(
        teacher=str(teacher),
        student="cnn_small",
        max_mb=0.1,
        epochs=2,
        timing=False,
        report=False,
        output_dir=tmp_path_factory.mktemp("search") / "small",
    )


@pytest.fixture(scope="module")
def result(config):
    return distill(config, QUIET)


@pytest.fixture(scope="module")
def material(config, result):
    return prepare(config, config.output_dir.parent, QUIET)


def test_the_file_keeps_to_the_budget(config, result):
    best = result.search.best
    assert best.student == "cnn_small"
    folder = config.output_dir / "student"
    paths = folder / f"{best.recipe}.tflite", folder / "tokenizer" / "vocabulary.txt"
    size = sum(path.stat().st_size for path in paths)
    assert best.size_bytes - 2000 <= size <= best.size_bytes <= 100_000
    student = result.student
    assert student.tokenizer.vocabulary_size == best.vocabulary_size
    assert [row.recipe for row in result.rows if row.arm == "student"] == ["keras", best.recipe]
    assert all(form.size_bytes <= 100_000 for form in result.search.forms)


def test_overwriting_takes_the_search_with_it(result):
    assert result.path / "training" / "search.json" in set(run_files(result.path))


def test_the_run_says_what_was_tried(config, result):
    kept = Search.read(RunFolder(config.output_dir))
    assert kept == result.search
    assert [form.recipe for form in kept.forms] == ["dynamic_int8", "int4_tables"]
    few, many = (form.vocabulary_size for form in kept.forms)
    assert few < many
    assert result.sentences[0] == kept.sentence()
    assert artifacts.read_json(config.output_dir / "metrics.json")["search"] == {
        "metric": "accuracy",
        "forms": [dataclasses.asdict(form) for form in kept.forms],
    }
    written = artifacts.read_json(config.output_dir / "config.json")
    assert (written["max_mb"], written["vocabulary_size"]) == (0.1, None)
    command = next(row.command for row in result.rows if row.arm == "student")
    assert f"--vocabulary-size {kept.best.vocabulary_size}" in command
    assert "--max-mb" not in command


def test_a_search_goes_on_where_it_was_killed(config, result, material, tmp_path):
    """The form that has its figure is not trained again, and the other gets the same one."""
    first, second = result.search.forms
    run = RunFolder(tmp_path)
    told = dataclasses.replace(first, figure=0.125)
    Search("accuracy", (told, dataclasses.replace(second, figure=None, nll=None))).write(run)
    teacher = prepare_teacher(config, resolve(config.teacher), material, run)
    start = teacher.start(material)
    # Not measured again: what fits by a hair would else fit now and not then.
    forms = fitting_forms(config.replace(max_mb=0.01), start, material, run)
    found, source = search(config, forms, start, teacher, material, run)
    assert Search.read(run).forms == (told, second)
    assert (found.student, found.vocabulary_size) == ("cnn_small", second.vocabulary_size)
    assert (found.recipes, found.is_bounded) == (("int4_tables",), False)
    assert source == resolve("cnn_small")


def test_a_budget_that_nothing_keeps_to(config):
    place = config.output_dir.with_name("none")
    message = (
        r"^Expected --max-mb and --max-ms that some student keeps to. Received: a budget beyond "
        r"which are cnn_small of [\d,]+ tokens as dynamic_int8 \(0\.\d+ MB of 0\.01\); cnn_small "
        r"of [\d,]+ tokens as int4_tables \(0\.\d+ MB of 0\.01\)\. Allow more\.$"
    )
    with pytest.raises(ConfigError, match=message):
        distill(config.replace(output_dir=place, max_mb=0.01), QUIET)
    assert not place.exists()


def test_other_tokens_than_word_pieces_are_refused(config, material, tmp_path):
    teacher = SimpleNamespace(tokenizer=byte_pair_tokenizer(), model=None)
    message = (
        "Expected a teacher with a WordPiece tokenizer for --max-mb and --max-ms, which fit its "
        "tokens into the bytes. Received: one with another. Name a --student instead."
    )
    with pytest.raises(ModelError, match=exactly(message)):
        fitting_forms(config, teacher, material, RunFolder(tmp_path))


def test_time_alone_takes_all_tokens(config, result, material, tmp_path, monkeypatch):
    monkeypatch.setattr("tfkd.runs.search._times", lambda files, material: [0.5, 3.0])
    teacher = TextClassifier.load(config.output_dir.parent / "small" / "student")
    open_config = config.replace(max_mb=None, max_ms=2.0)
    (form,) = fitting_forms(open_config, teacher, material, RunFolder(tmp_path))
    assert (form.recipe, form.p50_ms) == ("dynamic_int8", 0.5)
    assert form.vocabulary_size <= teacher.tokenizer.vocabulary_size


def test_the_best_of_equal_ones_comes_first():
    assert Search("accuracy", (INT8, INT4, TINY)).best == INT4
    surer = dataclasses.replace(TINY, nll=0.4)
    assert Search("accuracy", (INT8, dataclasses.replace(INT4, nll=0.5), surer)).best == surer
    assert Search("mae", (INT8, INT4, TINY)).best == INT8


def test_the_table_shows_what_no_other_beats():
    beaten = dataclasses.replace(TINY, figure=0.82)
    assert Search("accuracy", (INT8, INT4, beaten)).table().rows == [
        ("cnn", "int4_tables", "7,000", "0.89", "0.200", "0.8300", "no"),
        ("cnn", "dynamic_int8", "4,000", "0.90", "0.100", "0.8100", "no"),
        ("bert_tiny", "dynamic_int8", "3,000", "0.95", "0.400", "0.8200", "yes"),
    ]


def test_bytes_of_a_row_of_the_table():
    found = [
        table_row_bytes(find(name), 128)
        for name in ("float32", "float16", "dynamic_int8", "int4_tables")
    ]
    assert found == [512, 256, 128, 72]


def test_int4_blocks_need_a_width_of_whole_blocks():
    assert is_ready(find("dynamic_int8"), 16)
    assert is_ready(find("int4_tables"), 64)
    assert not is_ready(find("int4_tables"), 16)
