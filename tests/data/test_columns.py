"""Columns by the names a user gives, and what is said where a name is missing."""

from pathlib import Path

import pytest

from tests.messages import exactly
from tfkd.config.data import DataConfig
from tfkd.config.training import FinetuneConfig
from tfkd.data import sources
from tfkd.data.columns import ColumnNames, Reading, find_columns, find_texts
from tfkd.data.examples import MULTI_LABEL, Example, example_of
from tfkd.data.files import read_file, read_folder
from tfkd.data.kept_rows import KeptExamples
from tfkd.data.labels import LabelForm
from tfkd.errors import ConfigError, DatasetError

PATH = Path("tickets.csv")
TICKETS = "ticket_id,subject,body,category\nT-7,Help,It burns,fire\nT-8,Hello,It rains,water\n"
BODY = ColumnNames("body", labels=("category",))


def file(folder: Path, content: str, name: str = "tickets.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_named_columns_are_read_and_the_others_named_as_ignored(tmp_path):
    dataset = read_file(file(tmp_path, TICKETS), "tickets", Reading(BODY))
    rows = list(dataset.splits["train"])
    assert rows == [(("It burns",), 0), (("It rains",), 1)]
    assert [row.id for row in rows] == [None, None]
    assert dataset.label_names == ("fire", "water")
    assert dataset.columns == "body as text, category as label; ignored: ticket_id, subject"


def test_known_columns_alone_leave_nothing_to_say(tmp_path):
    assert read_file(file(tmp_path, "text,label\na,x\nb,y\n"), "a").columns == ""
    dataset = read_file(file(tmp_path, "id,text,label\n1,a,x\n2,b,y\n"), "a")
    assert dataset.columns == "text as text, label as label; ignored: id"
    dataset = read_file(file(tmp_path, ",text,label\n0,a,x\n1,b,y\n"), "a")
    assert dataset.columns == "text as text, label as label; ignored: one without a name"


def test_a_pair_of_named_columns(tmp_path):
    names = ColumnNames("subject", "body", ("category",))
    dataset = read_file(file(tmp_path, TICKETS), "tickets", Reading(names))
    assert dataset.num_texts == 2
    assert next(iter(dataset.splits["train"])).texts == ("Help", "It burns")
    assert dataset.columns == "subject and body as text, category as label; ignored: ticket_id"


def test_ids_go_with_the_rows_and_change_none(tmp_path):
    names = ColumnNames("body", labels=("category",), id="ticket_id")
    dataset = read_file(file(tmp_path, TICKETS), "tickets", Reading(names))
    rows = list(dataset.splits["train"])
    assert [row.id for row in rows] == ["T-7", "T-8"]
    assert rows == [Example(("It burns",), 0), Example(("It rains",), 1)]
    assert [row.id for row in KeptExamples.of(rows)] == ["T-7", "T-8"]
    lines = '{"text": "a", "label": "x", "id": 7}\n{"text": "b", "label": "y", "id": null}\n'
    path = file(tmp_path, lines, "a.jsonl")
    message = f"Expected an id in {path}, row 2 (row 1 is the first row of data). Received: none."
    with pytest.raises(DatasetError, match=exactly(message)):
        read_file(path, "a", Reading(ColumnNames(id="id")))


def test_ids_of_rows_held_out(tmp_path):
    rows = "".join(f"T-{row},text {row},{'xy'[row % 2]}\n" for row in range(40))
    path = file(tmp_path, f"id,text,label\n{rows}")
    config = DataConfig(dataset=str(path), id_column="id")
    dataset = sources.load(str(path), reading=Reading.of(config))
    for split in ("train", "validation", "test"):
        for row in dataset.splits[split]:
            assert row.texts == (f"text {row.id.removeprefix('T-')}",)


def test_an_example_without_an_id_is_a_plain_one():
    assert type(example_of(["a"], 1, None)) is Example


@pytest.mark.parametrize("values", [("1", "0"), ("true", "False"), ("1.0", "0.0")])
def test_several_columns_of_0_and_1_are_several_labels(tmp_path, values):
    yes, no = values
    path = file(tmp_path, f"text,rude,loud\na,{yes},{no}\nb,{no},{no}\nc,{yes},{yes}\n")
    dataset = read_file(path, "a", Reading(ColumnNames(labels=("loud", "rude"))))
    assert (dataset.task, dataset.label_names) == (MULTI_LABEL, ("loud", "rude"))
    assert [row.label for row in dataset.splits["train"]] == [(1,), (), (0, 1)]
    assert dataset.labels == "multi_label, 2 labels: loud, rude"


def test_labels_known_from_elsewhere_have_their_own_order(tmp_path):
    path = file(tmp_path, "text,rude,loud\na,1,0\nb,0,0\n")
    names = ColumnNames(labels=("loud", "rude"))
    form = LabelForm(MULTI_LABEL).named(("rude", "loud"), "the run r")
    dataset = read_file(path, "a", Reading(names, form))
    assert [row.label for row in dataset.splits["train"]] == [(0,), ()]
    form = form.named(("rude", "loud", "long"), "the run r")
    message = (
        "Expected a --label-column for each label of the run r (rude, loud, long). Received: "
        "loud, rude. Name those."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        read_file(path, "a", Reading(names, form))


def test_a_column_that_is_no_0_or_1(tmp_path):
    path = file(tmp_path, "text,rude,loud\na,1,0\nb,0,\n")
    dataset = read_file(path, "a", Reading(ColumnNames(labels=("rude", "loud"))))
    message = (
        f"Expected a 0 or a 1 for each of 2 labels in {path}, row 2 (row 1 is the first row of "
        "data). Received: ['0', '']."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        list(dataset.splits["train"])
    message = (
        "Expected one --label-column for single_label. Received: 2, rude, loud. Leave out all but "
        "one, or --task."
    )
    form = LabelForm("single_label")
    with pytest.raises(ConfigError, match=exactly(message)):
        read_file(path, "a", Reading(ColumnNames(labels=("rude", "loud")), form))


HABITS = {
    "ticket_id,subject,body,category": "Perhaps --text-column body --label-column category?",
    "id,Comment_Text,toxic,obscene": (
        "Name the columns: --text-column and --label-column. Perhaps --text-column Comment_Text?"
    ),
    "Review Text,Sentiment": "Perhaps --text-column 'Review Text' --label-column Sentiment?",
    "premise,hypothesis,label": ("Perhaps --text-column premise --second-text-column hypothesis?"),
    "Text,Label": "Perhaps --text-column Text --label-column Label?",
    "text,lable": "Perhaps --label-column lable?",
    "a,b": "Name the columns: --text-column and --label-column.",
    "text,b": "Name the columns: --label-column.",
}


@pytest.mark.parametrize("header", HABITS)
def test_missing_names_offer_the_option_with_the_likely_column(header):
    message = (
        "Expected the columns `text` (or `sentence1`, `sentence2`) and `label` (or `labels`) in "
        f"tickets.csv. Received: {header.replace(',', ', ')}. {HABITS[header]}"
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        find_columns(PATH, header.split(","))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ColumnNames("boddy", labels=("category",)),
            "Expected a column `boddy` in tickets.csv. Received: subject, body, category. Did you "
            "mean `body`?",
        ),
        (
            ColumnNames("body", labels=("zzz",)),
            "Expected a column `zzz` in tickets.csv. Received: subject, body, category. Correct "
            "--label-column.",
        ),
        (
            ColumnNames("body"),
            "Expected the column `label` (or `labels`) in tickets.csv. Received: subject, body, "
            "category. Perhaps --label-column category?",
        ),
        (
            ColumnNames("body", labels=("category",), id="subjekt"),
            "Expected a column `subjekt` in tickets.csv. Received: subject, body, category. Did "
            "you mean `subject`?",
        ),
    ],
)
def test_a_named_column_that_is_not_there(names, message):
    with pytest.raises(DatasetError, match=exactly(message)):
        find_columns(PATH, ["subject", "body", "category"], names)


def test_texts_alone_need_no_label():
    assert find_texts(PATH, ["id", "body"], ColumnNames("body", labels=("category",))) == (1,)
    assert find_texts(PATH, ["sentence2", "sentence1"], num_texts=2) == (1, 0)
    message = (
        "Expected the column `text` (or `sentence1`, `sentence2`) in tickets.csv. Received: id, "
        "content. Perhaps --text-column content?"
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        find_texts(PATH, ["id", "content"])
    message = (
        "Expected 2 columns of text in tickets.csv. Received: body. Name the second with "
        "--second-text-column."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        find_texts(PATH, ["id", "body"], ColumnNames("body"), 2)


def test_files_of_a_folder_have_the_columns_of_train(tmp_path):
    file(tmp_path, TICKETS, "train.csv")
    test = file(tmp_path, "ticket_id,text\nT-9,It burns\n", "test.csv")
    dataset = read_folder(tmp_path, "tickets", reading=Reading(BODY))
    message = (
        f"Expected the columns body, category of train.csv in {test}. Received: ticket_id, text. "
        "Give the files of a folder the same columns."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        list(dataset.splits["test"])
    test = file(tmp_path, "ticket_id,body\nT-9,It burns\n", "test.csv")
    dataset = read_folder(tmp_path, "tickets", reading=Reading(BODY))
    message = (
        f"Expected the column category of train.csv in {test}. Received: ticket_id, body. Move a "
        "file without labels out of the folder: nothing can be scored on it."
    )
    with pytest.raises(DatasetError, match=exactly(message)):
        list(dataset.splits["test"])


def test_names_of_settings():
    config = FinetuneConfig(
        dataset="a.csv", text_column="body", label_columns=("x", "y"), id_column="id"
    )
    names = ColumnNames("body", None, ("x", "y"), "id")
    assert ColumnNames.of(config) == ColumnNames.of(config.to_dict()) == names
    assert ColumnNames.of({"dataset": "a.csv"}) == ColumnNames()
    assert ColumnNames("text").over(names) == ColumnNames("text", None, ("x", "y"), "id")
    assert ColumnNames().over(ColumnNames("a", "b", ("c",))) == ColumnNames("a", "b", ("c",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"second_text_column": "body"},
            "Expected --text-column beside --second-text-column. Received: the second alone.",
        ),
        (
            {"text_column": "body", "label_columns": ["body"]},
            "Expected a column of its own for each text and label. Received: `body` twice. Correct "
            "the options of columns.",
        ),
    ],
)
def test_names_that_do_not_go_together(settings, message):
    with pytest.raises(ConfigError, match=exactly(message)):
        ColumnNames.of(settings)


def test_a_set_that_is_no_file_has_no_columns_to_name():
    message = (
        "Expected a folder or a file to take columns of. Received: demo, whose columns are known. "
        "Leave out --text-column, --label-column and the like."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        sources.load("demo", reading=Reading(BODY))


def test_texts_of_a_file_without_labels(tmp_path):
    path = file(tmp_path, "n,body\n1,It burns\n2,It rains\n")
    names = ColumnNames("body", labels=("category",), id="n")
    dataset = sources.load_texts(str(path), None, names)
    rows = list(dataset.splits["train"])
    assert (dataset.task, dataset.num_texts) == ("embedding", 1)
    assert dataset.columns == "body as text, n as id"
    assert [(row.texts, row.id) for row in rows] == [(("It burns",), "1"), (("It rains",), "2")]
    # A name that is not there gives way to the known one.
    path = file(tmp_path, "n,text\n1,It burns\n", "more.csv")
    dataset = sources.load_texts(str(path), None, ColumnNames("body"))
    assert list(dataset.splits["train"]) == [(("It burns",), 0)]
    empty = file(tmp_path, "text\n", "empty.csv")
    dataset = sources.load_texts(str(empty), None, names)
    with pytest.raises(
        DatasetError, match=exactly(f"Expected rows in {empty}. Received: a header only.")
    ):
        list(dataset.splits["train"])


def test_texts_of_a_folder_without_labels(tmp_path):
    file(tmp_path, "body\nIt burns\n \nIt rains\n", "train.csv")
    dataset = sources.load_texts(f"{tmp_path}", None, BODY)
    assert list(dataset.splits["train"]) == [(("It burns",), 0), (("It rains",), 0)]
    (tmp_path / "train.csv").rename(tmp_path / "test.csv")
    with pytest.raises(DatasetError, match="^Expected the split train in "):
        sources.load_texts(f"{tmp_path}", None, BODY).splits["train"]


def test_labels_are_not_read_for_the_texts_of_a_file(tmp_path):
    rows = "".join(f"text {row},{'xy'[row % 2]}\n" for row in range(40))
    path = str(file(tmp_path, f"body,category\n{rows}"))
    dataset = sources.load_texts(path, None, BODY)
    assert [row.texts for row in dataset.splits["train"]] == [(f"text {row}",) for row in range(40)]
