"""The figures in README.md are those under results/, and the programs that print them work."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import tfkd
from benchmarks import defaults, journey, teacher_answers
from tfkd.artifacts import read_json
from tfkd.evaluation.rows import Row
from tfkd.evaluation.verdict import compare
from tfkd.studies.table import StudyResult

ROOT = Path(tfkd.__file__).parents[1]
RESULTS = ROOT / "results" / "ag_news.json"


@pytest.fixture(scope="module")
def results_program():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("results", ROOT / "benchmarks" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_in_the_readme_is_that_of_a_study_of_three_seeds(results_program):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    study, rivals = results_program.headline_figures()
    made = results_program.headline.markdown(study, rivals)
    assert results_program.between_marks(text, made) == text
    rows = {(row["arm"], row["file"]): row for row in study["datasets"]["ag_news"]["rows"]}
    lines = results_program.headline.lines(study, rivals)
    assert {len(row["seeds"]) for (arm, _), row in rows.items() if arm != "minilm"} == {3}
    int8 = next(line for line in lines if line.short == "BERT-tiny, int8")
    values = rows["bert_tiny-minilm", "dynamic_int8"]["values"]
    assert int8.accuracy == pytest.approx(sum(values) / 3, abs=1e-12)
    assert {(row["train_rows"] + row["validation_rows"], row["test_rows"]) for row in rivals} == {
        (40000, study["datasets"]["ag_news"]["num_test_rows"])
    }


def test_picture_in_the_readme_has_the_points_of_the_table(results_program, tmp_path):
    """Its bytes are another version's of matplotlib; its words and their order are not."""
    headline = results_program.headline
    headline.picture(*results_program.headline_figures(), tmp_path / "made.svg")
    kept, made = (ROOT / headline.PICTURE).read_text(), (tmp_path / "made.svg").read_text()
    names = [line.short for line in headline.lines(*results_program.headline_figures())]
    for text in (kept, made):
        found = re.findall(r"<text[^>]*>([^<]+)</text>", text)
        assert [word for word in found if word in names] == names


def test_tables_of_the_edge_page_are_those_of_the_results(results_program):
    text = (ROOT / "docs" / "edge.md").read_text(encoding="utf-8")
    names = ("ag_news-bert_tiny", "ag_news-cnn-16000")
    results = {name: read_json(results_program.edge_file(name)) for name in names}
    assert results_program.with_edge(text, results) == text
    for result in results.values():
        assert all(file["parity"]["passed"] for file in result["files"])
        assert result["data"]["splits"]["test"]["num_rows"] == 7600


def test_other_tables_of_the_docs_are_those_of_their_programs(results_program):
    for name, tables in results_program.pages().items():
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert results_program.with_tables(text, tables) == text


# Of programs that are no study.
PAGES = {
    "journey": journey.page,
    "defaults": defaults.page,
    "teacher_answers": teacher_answers.page,
}
STUDIES = sorted({path.stem for path in (ROOT / "results").glob("*.md")} - set(PAGES))


def test_pages_of_programs_are_those_of_their_figures():
    made = [ROOT / "results" / f"{name}.md" for name in PAGES]
    assert made[0].is_file()
    for path in filter(Path.is_file, made):
        page = PAGES[path.stem](read_json(path.with_suffix(".json")))
        assert path.read_text(encoding="utf-8") == page


@pytest.mark.parametrize("name", STUDIES)
def test_page_of_a_study_is_that_of_its_figures(name):
    result = StudyResult(**read_json(ROOT / "results" / f"{name}.json"))
    assert result.study == name
    assert (ROOT / "results" / f"{name}.md").read_text(encoding="utf-8") == result.markdown()
    assert (ROOT / "configs" / f"{name}.toml").is_file()
    for dataset in result.datasets:
        rows = [row for row in result.datasets[dataset]["rows"] if row["seeds"]]
        seeds = min(len(row["seeds"]) for row in rows if row["file"] == "keras")
        assert seeds >= 3
        # A file may be refused for a seed; then the page says so.
        missing = sum(seeds - len(row["seeds"]) for row in rows)
        assert missing == len(result.datasets[dataset]["refused"])


def test_wording_are_those_of_the_kept_figures(results_program):
    for name in STUDIES:
        result = StudyResult(**read_json(ROOT / "results" / f"{name}.json"))
        assert results_program.wording.study(result).to_dict() == result.to_dict()
    for found in read_json(ROOT / "results" / "quantization.json")["datasets"].values():
        assert results_program.wording.recipes(found) == found


def test_words_of_earlier_runs_are_read(results_program):
    found = compare([False] * 10 + [True] * 90, [True] * 100)
    assert found.verdict == "WORSE"
    earlier = {**found.to_dict(), "verdict": "NO BEATS"}
    assert results_program.wording.comparison(earlier) == found
    metrics = {"metric": "accuracy", "comparisons": {"student_vs_teacher": earlier}}
    (sentence,) = results_program.wording.run_sentences(metrics)
    assert sentence.startswith("student is worse than teacher by 10.00 points (95% interval -16.00")
    told = "cnn: student does not beat teacher: it is behind by 1.12 points"
    assert (
        results_program.wording.sentence(told)
        == "cnn: student is worse than teacher by 1.12 points"
    )


def test_results_name_rows_versions_seed_and_command():
    results = read_json(RESULTS)
    rows = [Row.from_dict(values) for values in results["rows"]]
    assert {row.arm for row in rows} >= {"teacher", "student", "control"}
    assert all(row.command for row in rows)
    for run in results["runs"].values():
        assert run["data"]["splits"]["test"]["num_rows"] == 7600
        assert run["seed"] == 0
        assert "tensorflow" in run["versions"]
    int8 = [row for row in rows if row.recipe == "dynamic_int8"]
    assert int8 and all(row.latency and row.latency["num_calls"] >= 500 for row in int8)
    assert all("/" not in row.model.removeprefix("saved_models/") for row in rows)


def test_rows_of_a_rival_have_the_fields_of_the_others(results_program):
    rival = {
        "dataset": "x",
        "arm": "SVM",
        "model": "TF-IDF",
        "recipe": None,
        "seed": 0,
        "metrics": {"accuracy": 0.9},
        "size_bytes": 10,
        "settings": {},
        "command": "python",
    }
    row = Row.from_dict(results_program.rival_row(rival))
    assert (row.recipe, row.parameters, row.size_bytes) == ("-", None, 10)
