"""Recipes side by side on the demo's student: what is written, measured, chosen and kept."""

import shutil

import pytest

from tests.toys import QUIET
from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import RECIPE_NAMES
from tfkd.config.verbs import QuantizeConfig
from tfkd.errors import ArtifactError
from tfkd.workflows.quantize import names, quantize

pytestmark = pytest.mark.usefixtures("converted_here")
RECIPES = ("dynamic_int8", "int4_tables")


@pytest.fixture(scope="module")
def result(demo_result, tmp_path_factory):
    """On a copy: other tests count the files of the run."""
    copy = tmp_path_factory.mktemp("saved_models") / demo_result.path.name
    shutil.copytree(demo_result.path, copy)
    config = QuantizeConfig(run=copy, recipes=RECIPES, max_drop=100.0)
    return quantize(config, QUIET)


def test_every_recipe_has_its_file_and_figures(result):
    assert tuple(file.recipe for file in result.files) == RECIPES
    sizes = {file.recipe: file.path.stat().st_size for file in result.files}
    assert sizes["int4_tables"] < sizes["dynamic_int8"]
    for file in result.files:
        assert file.parity["size_bytes"] == sizes[file.recipe]
        assert file.metrics["agreement"] >= file.parity["minimum_agreement"]
        drop = result.float_metrics["accuracy"] - file.metrics["accuracy"]
        assert abs(drop) <= 1 - file.metrics["agreement"] + 1e-9
        # Which of the two is more is a matter of luck for so small a student on a busy machine.
        assert file.latency.encoded_p50_ms > 0
        assert 0 < file.latency.p50_ms <= file.latency.p95_ms <= file.latency.p99_ms
        assert file.operators.is_whole


def test_tables_are_stored_as_the_recipe_says(result):
    stored = {
        file.recipe: {g.weights for g in file.operators.groups if g.name == "EMBEDDING_LOOKUP"}
        for file in result.files
    }
    assert stored == {"dynamic_int8": set(), "int4_tables": {"int4"}}
    kernels = {g.weights for g in result.files[1].operators.groups if g.name == "FULLY_CONNECTED"}
    assert kernels == {"int8"}


def test_smallest_file_within_the_budget_is_chosen(result):
    assert result.chosen == "int4_tables"
    assert result.sentences[-1].startswith("Take int4_tables: ")


def test_table_has_a_row_a_recipe(result):
    assert result.render()[0].columns[0].cells == RECIPES


def test_figures_are_kept_beside_the_run(result):
    written = artifacts.read_json(result.path / "quantization.json")
    page = (result.path / "report.html").read_text(encoding="utf-8")
    assert all(f">{file.recipe}</td>" in page for file in result.files)
    assert [file["recipe"] for file in written["files"]] == list(RECIPES)
    assert written["chosen"] == "int4_tables"
    assert written["budget"] == {"max_mb": None, "max_ms": None, "max_drop": 100.0}
    assert written == {**result.to_dict(), "versions": artifacts.versions()}


def test_files_that_passed_are_not_written_again(result):
    before = {file.recipe: file.path.stat().st_mtime_ns for file in result.files}
    again = quantize(QuantizeConfig(run=result.path, recipes=RECIPES[:1], max_mb=0.001), QUIET)
    assert again.files[0].path.stat().st_mtime_ns == before["dynamic_int8"]
    assert again.chosen is None
    assert again.sentences[-1].startswith("Nothing is within the budget: dynamic_int8 (")


def test_run_that_is_not_finished_is_refused(tmp_path):
    RunFolder(tmp_path / "run").start("distill", {"dataset": "demo"}, overwrite=False)
    with pytest.raises(ArtifactError, match="^Expected a finished run. Received: .*/run, which"):
        quantize(QuantizeConfig(run=tmp_path / "run"), QUIET)


@pytest.mark.parametrize("recipes", [(), ("int4", "all")])
def test_no_recipe_and_all_mean_every_one(recipes):
    assert names(QuantizeConfig(run="run", recipes=recipes)) == RECIPE_NAMES
