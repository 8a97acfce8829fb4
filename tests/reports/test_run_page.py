"""The page and the card of a run: what a reader sees first, and that no text becomes markup."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from tests.messages import exactly
from tests.reports.example import (
    ANSWERS,
    ROWS,
    config,
    finished_run,
    predictions,
    record,
    report,
    row,
)
from tfkd.artifacts import RunFolder, write_json, write_record
from tfkd.errors import ArtifactError
from tfkd.evaluation.verdict import compare
from tfkd.reports.card import card, metadata, write_report
from tfkd.reports.run_page import RunReport
from tfkd.reports.sentences import lead, short_note, short_table


class Outline(HTMLParser):
    """Tags, headings and the JSON of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self._inside = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self._inside:
            self.words.setdefault(self._inside[-1], []).append(data)


HELP = compare([True] * 90 + [False] * 10, [True] * 80 + [False] * 20)


def test_lead_says_what_was_made_at_what_price_and_whether_the_teacher_helped():
    assert lead(ROWS, "accuracy", HELP) == (
        "A model of 91.10 MB with accuracy 0.8333 became one of 0.25 MB with accuracy 0.8333, 40 "
        "times as fast on one text. The teacher's help is BETTER than none: 10.00 points ahead of "
        "the equal student without it (95% interval 5.00 to 16.00, McNemar p=0.002)."
    )


@pytest.mark.parametrize(
    ("student", "control", "told"),
    [
        ((70, 10), (80, 0), "WORSE than none: 12.50 points behind the equal student"),
        ((40, 0), (39, 1), "helped is INCONCLUSIVE: 2.50 points ahead of the equal"),
        ((40, 0), (40, 0), "INCONCLUSIVE: level with the equal student without it (95%"),
        ((9, 1), (8, 2), "too few to tell whether the teacher helped: 10.00 points ahead"),
    ],
)
def test_lead_tells_every_verdict(student, control, told):
    one, two = ([True] * right + [False] * wrong for right, wrong in (student, control))
    assert told in lead(ROWS, "accuracy", compare(one, two))


def test_lead_of_a_model_without_a_teacher_or_times():
    alone = [row("model", accuracy=0.9, size=2_000_000)]
    assert lead(alone, "accuracy") == "A model of 2.00 MB with accuracy 0.9000."
    slow = [ROWS[0], dataclasses.replace(ROWS[3], latency={})]
    assert lead(slow, "accuracy") == (
        "A model of 91.10 MB with accuracy 0.8333 became one of 1.00 MB with accuracy 0.6667."
    )


def test_short_table_has_five_columns():
    table = short_table(ROWS, "accuracy")
    assert [column.title for column in table.columns] == [
        *("Model", "Accuracy", "Of the teacher's", "MB", "One text, ms")
    ]
    assert table.rows == [
        ("teacher: minilm", "0.8333", "100.0%", "91.10", "8.00"),
        ("TF-IDF + linear SVM", "0.5000", "60.0%", "0.30", "0.50"),
        ("control: bert_tiny", "0.5000", "60.0%", "1.00", "-"),
        ("student: bert_tiny", "0.6667", "80.0%", "1.00", "4.00"),
        ("student: bert_tiny, dynamic_int8", "0.8333", "100.0%", "0.25", "0.20"),
    ]
    assert short_note(ROWS, "accuracy").endswith("are there to compare with.")


def test_page_says_first_what_came_out(tmp_path):
    page = report(tmp_path).page()
    assert page.title == "bert_tiny distilled from minilm on weather"
    assert page.lead.startswith("A model of 91.10 MB with accuracy 0.8333 became one of 0.25 MB")
    assert page.notes[0] == (
        "Measured on 6 test texts of weather, 2 labels. The student is a small model that learned "
        "from the answers of its teacher."
    )
    assert [picture.title for picture in page.pictures] == [
        "Accuracy against megabytes of the file",
        "Accuracy against milliseconds of one text",
        "Training",
        "Confusion of the teacher",
        "Confusion of the student",
        "Confusion, student minus teacher",
        "How sure, and how often right",
        "What dynamic_int8 changes",
    ]
    assert [section.title for section in page.sections] == [
        *("All figures", "How to ask it", "Made by this command, which makes it again", "Data"),
        *("What is taken for what", "How the files were checked", "Time", "Files"),
        "Settings and versions",
    ]
    table = page.sections[5].parts[0]
    operators = "2 products int8 weights; whole in 1 partition"
    assert table.rows == [("dynamic_int8", "500", "0.996", "0.024", operators)]


def test_answers_in_files_are_named_in_the_place_of_a_teacher():
    changed = record(rows=record()["rows"][1:])
    settings = config(teacher=None, teacher_answers=["data/llm.jsonl", "b.csv"])
    page = RunReport(settings, changed, None).page()
    assert page.title == "bert_tiny distilled from answers of llm.jsonl and b.csv on weather"
    assert page.lead.startswith("A model of 0.25 MB with accuracy 0.8333. The teacher's help is")


LATER = {
    "recipe": "int4_tables",
    "metrics": {"accuracy": 0.625},
    "parity": {"size_bytes": 120_000},
    "latency": {"p50_ms": 0.15, "encoded_p50_ms": 0.1},
}


def test_files_of_a_later_quantization_stand_in_pictures_and_figures(tmp_path):
    run = RunFolder(finished_run(tmp_path))
    before = RunReport.read(run, record()).page()
    again = {**LATER, "recipe": "dynamic_int8"}
    write_record(tmp_path / "quantization.json", {"files": [again, LATER]})
    page = RunReport.read(run, record()).page()
    # What the run itself ships is said first, whatever came later.
    assert (page.lead, page.table.rows) == (before.lead, before.table.rows)
    rows = page.sections[0].parts[0].rows
    assert len(rows) == len(before.sections[0].parts[0].rows) + 1
    assert rows[-1][:4] == ("student", "bert_tiny", "int4_tables", "0.6250")
    assert "student: bert_tiny, int4_tables: 0.6250 at 0.12" in page.pictures[0].svg


def test_a_later_quantization_that_is_damaged_is_refused(tmp_path):
    run = RunFolder(finished_run(tmp_path))
    path = tmp_path / "quantization.json"
    for content in ({"files": [{"recipe": "int4"}]}, {"files": [3]}):
        write_json(path, content)
        message = f"Expected {path} as tfkd wrote it. Received: no files of a run. Delete it."
        with pytest.raises(ArtifactError, match=exactly(message)):
            RunReport.read(run, record())
    write_record(path, {"files": [LATER]})
    path.write_text(path.read_text().replace("0.625", "0.999"), encoding="utf-8")
    with pytest.raises(
        ArtifactError, match=f"^Expected {path} as tfkd wrote it. Received: another"
    ):
        RunReport.read(run, record())


def test_a_teacher_of_some_rows_is_compared_with_nothing(tmp_path):
    answers = {**ANSWERS, "teacher": ANSWERS["teacher"].copy()}
    answers["teacher"][2] = np.nan
    page = RunReport(config(), record(), predictions(tmp_path, answers=answers)).page()
    assert page.lead.startswith("A model of 0.25 MB with accuracy 0.8333. The teacher's help is")
    assert "Of the teacher's" not in [column.title for column in page.table.columns]
    assert page.sections[0].parts[0].rows[0][0] == "teacher"


def test_warning_comes_before_all_else(tmp_path):
    page = report(tmp_path, warning="Only 6 test rows.").page()
    assert page.notes[0] == "Only 6 test rows."


def test_run_of_an_older_tfkd_has_no_texts():
    page = RunReport(config(), record(exports=None), None).page()
    assert page.browser is None
    assert len(page.pictures) == 3
    assert "What is taken for what" not in [section.title for section in page.sections]
    assert '<h2 id="texts">' not in page.html()


def test_html_needs_nothing_beside_it_and_no_text_is_markup(tmp_path):
    hostile = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>"
    changed = record(data={**record()["data"], "dataset": hostile, "label_names": ["no", "yes"]})
    html = RunReport(config(dataset=hostile), changed, predictions(tmp_path)).page().html()
    outline = Outline(html)
    assert not [attrs for tag, attrs in outline.tags if {"src", "onerror"} & set(attrs)]
    links = [
        value for _, attrs in outline.tags for name, value in attrs.items() if name.endswith("href")
    ]
    assert {link.split("#")[0] for link in links} == {"data:,", ""}
    assert sum(tag == "script" for tag, _ in outline.tags) == 2
    assert f"bert_tiny distilled from minilm on {hostile}" in outline.words["title"]
    data = json.loads("".join(outline.words["script"][:1]))
    assert data["rows"][0][1] == "<script>alert(1)</script>"
    assert "http:" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)


def test_card_has_metadata_that_the_hub_reads(tmp_path):
    found = report(tmp_path)
    found = dataclasses.replace(found, config=config(teacher="hf://org/minilm"))
    head = yaml.safe_load(metadata(found))
    assert head["base_model"] == "org/minilm"
    assert head["pipeline_tag"] == "text-classification"
    assert head["library_name"] == "litert"
    assert head["metrics"] == ["accuracy"]
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"] == {"name": "weather", "type": "weather", "split": "test"}
    assert result["metrics"] == [{"type": "accuracy", "value": 0.8333, "name": "Accuracy"}]
    assert "base_model" not in yaml.safe_load(metadata(report(tmp_path)))


def test_card_is_the_page_in_words(tmp_path):
    write_report(tmp_path, report(tmp_path), with_page=True)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text == card(report(tmp_path), report(tmp_path).page())
    assert text.startswith("---\n")
    assert "\n# bert_tiny distilled from minilm on weather\n\nA model of 91.10 MB" in text
    assert "| student: bert_tiny, dynamic_int8 | 0.8333 | 100.0% | 0.25 | 0.20 |" in text
    assert "```shell\npython -m tfkd distill --dataset weather\n```" in text
    assert "alert" not in text
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report(tmp_path).page().html()


def test_page_is_left_out_where_it_is_not_wanted(tmp_path):
    write_report(tmp_path, report(tmp_path), with_page=False)
    assert (tmp_path / "README.md").is_file()
    assert not (tmp_path / "report.html").exists()


def test_settings_of_the_page_are_those_of_the_command(tmp_path):
    found = dataclasses.replace(report(tmp_path), config=config(written_by="tfkd", data={}))
    section = found.page().sections[-1]
    assert section.parts[0] == "Seed 7; python 3.11.2, keras 3.15.1."
    assert json.loads(section.parts[1].text) == {"dataset": "weather", "teacher": "models/minilm"}


def test_several_labels_show_the_curve_that_they_are_judged_by(tmp_path):
    history = [
        {"validation_accuracy": 0.0, "validation_average_precision": value} for value in (0.1, 0.3)
    ]
    page = report(tmp_path, training={"student": {"history": history}}).page()
    assert ">Average precision</text>" in page.pictures[2].svg


def test_a_share_of_nothing_is_none():
    rows = [
        dataclasses.replace(item, metrics={"spearman": value})
        for item, value in zip(ROWS[:2], (-0.1, 0.2), strict=True)
    ]
    titles = [column.title for column in short_table(rows, "spearman").columns]
    assert titles == ["Model", "Spearman", "MB", "One text, ms"]


def test_several_labels_and_scores_have_no_confusion(tmp_path):
    for task in ("multi_label", "regression"):
        changed = record(data={**record()["data"], "task": task})
        page = RunReport(config(), changed, predictions(tmp_path)).page()
        assert len(page.pictures) == 3
        told = "6 test texts of weather, 2 labels." if task == "multi_label" else "of weather. The"
        assert told in page.notes[0]
