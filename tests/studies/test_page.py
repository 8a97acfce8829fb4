"""The page of a study, made of kept figures of three seeds."""

import dataclasses
import re
from pathlib import Path

import pytest

from tfkd.seals import read_json
from tfkd.studies.page import study_page
from tfkd.studies.table import StudyResult

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def result():
    return StudyResult(**read_json(RESULTS / "transformers_in_production_small.json"))


def test_first_come_the_verdict_and_five_columns(result):
    page = study_page(result)
    assert page.title == "Study transformers_in_production_small"
    assert page.lead.startswith(
        "bert_tiny-minilm is better than bert_tiny-control by 1.19 points over 3 seeds (95%"
    )
    assert page.notes == ["Measured on 7,600 test texts of ag_news."]
    assert [column.title for column in page.table.columns] == [
        *("Model", "Accuracy", "Of the teacher's", "MB", "One text, ms")
    ]
    assert page.table.rows[0] == ("minilm", "0.9209", "100.0%", "91.10", "8.37")
    rows = {row[0]: row for row in page.table.rows}
    assert rows["bert_tiny-minilm, qat_int8"][1:4] == ("0.9155", "99.4%", "4.46")


def test_seeds_are_points(result):
    page = study_page(result)
    assert [picture.title for picture in page.pictures] == [
        "Accuracy on ag_news against megabytes of the file",
        "Accuracy on ag_news against milliseconds of one text",
    ]
    assert page.pictures[0].note.endswith("Small marks are seeds.")
    # Three small marks of each of the five rows that have seeds.
    assert len(re.findall("<use [^>]*opacity: 0.6", page.pictures[0].svg)) == 15


def test_all_figures_and_verdicts_are_folded(result):
    page = study_page(result)
    assert [section.title for section in page.sections] == [
        *("All figures of ag_news", "Verdicts on ag_news", "Versions")
    ]
    assert page.sections[1].parts == result.sentences("ag_news")
    assert "python 3.11.7" in page.sections[2].parts[0]


def test_several_data_sets_have_a_column_and_pictures_each(result):
    two = dataclasses.replace(
        result, datasets={**result.datasets, "again": result.datasets["ag_news"]}
    )
    page = study_page(two)
    assert [column.title for column in page.table.columns][:3] == ["Dataset", "Model", "Accuracy"]
    assert page.table.rows[6][:2] == ("again", "minilm")
    assert len(page.pictures) == 4
    assert page.lead.count("bert_tiny-minilm is better than bert_tiny-control") == 2
