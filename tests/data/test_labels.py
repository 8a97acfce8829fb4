"""What stands in a label column: as it is written, or named with its row; no silent guess."""

import json
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tfkd.config import data
from tfkd.data import examples, sources
from tfkd.data.catalog import CATALOG
from tfkd.data.columns import Reading
from tfkd.data.examples import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from tfkd.data.files import read_file, read_folder
from tfkd.data.labels import LabelForm
from tfkd.data.survey import survey
from tfkd.errors import ConfigError, DatasetError

PLACE = "(row 1 is the first row of data)"
FILL = "Fill it in, or leave such rows out: --drop-empty."


def csv(path: Path, labels: list[str], column: str = "label") -> Path:
    rows = "".join(
        f'text {row},"{label.replace(chr(34), chr(34) * 2)}"\n' for row, label in enumerate(labels)
    )
    path.write_text(f"text,{column}\n{rows}", encoding="utf-8")
    return path


def jsonl(path: Path, labels: list, column: str = "label") -> Path:
    lines = [json.dumps({"text": f"text {row}", column: label}) for row, label in enumerate(labels)]
    path.write_text("\n".join(lines))
    return path


def parquet(path: Path, labels, column: str = "label") -> Path:
    texts = [f"text {row}" for row in range(len(labels))]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, column: labels}), path)
    return path


def read(path: Path, form: LabelForm | None = None) -> tuple[list, str]:
    """The labels of the rows by their names, and the line that is said of them."""
    folder = path.parent
    is_folder = (folder / "labels.txt").exists()
    reading = Reading(labels=form or LabelForm())
    if is_folder:
        dataset = read_folder(folder, "set", reading=reading)
    else:
        dataset = read_file(path, "set", reading)
    found = [example.label for example in dataset.splits["train"]]
    names = dataset.label_names
    if dataset.task == REGRESSION:
        return found, dataset.labels
    if dataset.task == MULTI_LABEL:
        return [[names[index] for index in label] for label in found], dataset.labels
    return [names[label] for label in found], dataset.labels


def refusal(path: Path, form: LabelForm | None = None) -> str:
    with pytest.raises(DatasetError, match="^Expected") as caught:
        read(path, form)
    return str(caught.value)


def test_the_setting_knows_every_task():
    assert data.TASKS == examples.TASKS


@pytest.mark.parametrize(
    "labels",
    [
        ["01", "1", "001", "07"],
        ["9007199254740992", "9007199254740993", "9007199254740994"],
        ["1e3", "1000", "2e3"],
        ["+1", "-1"],
        ["1_0", "10", "\uff11"],
        ["True", "False"],
        ["2024-01-31", "2024-02-01"],
        ["None", "N/A", "null", "NULL", "nan", "yes"],
        ["NaN", "None"],
        ["0.0", "1.0"],
        ["1.5", "high"],
        ["C#", "C++", "#1", "[PAD]", "{x}"],
    ],
)
def test_strings_stay_as_written(tmp_path, labels):
    for path in (csv(tmp_path / "a.csv", labels), jsonl(tmp_path / "a.jsonl", labels)):
        assert read(path)[0] == labels
        assert sorted(read_file(path, "a").label_names) == sorted(labels)


def test_numbers_of_json_and_parquet(tmp_path):
    assert read(jsonl(tmp_path / "a.jsonl", [1, 0.0, 1.0, -3]))[0] == ["1", "0", "1", "-3"]
    assert read(jsonl(tmp_path / "b.jsonl", [2**53, 2**53 + 1]))[0] == [
        "9007199254740992",
        "9007199254740993",
    ]
    assert read(jsonl(tmp_path / "c.jsonl", [True, False]))[0] == ["true", "false"]
    words = pyarrow.array(["b", "a", "b"]).dictionary_encode()
    assert read(parquet(tmp_path / "d.parquet", words))[0] == ["b", "a", "b"]
    assert read(parquet(tmp_path / "e.parquet", [True, False]))[0] == ["true", "false"]
    assert read(parquet(tmp_path / "f.parquet", [b"no", b"ja"]))[0] == ["no", "ja"]
    decimals = [Decimal("1.50"), Decimal("2.25")]
    assert read(parquet(tmp_path / "g.parquet", decimals))[0] == [1.5, 2.25]


def test_whole_numbers_compare_as_whole_numbers(tmp_path):
    assert read(csv(tmp_path / "train.csv", ["1.0", "0", "10", "9"]))[0] == ["1", "0", "10", "9"]
    dataset = read_folder(tmp_path, "set")
    assert dataset.label_names == ("0", "1", "9", "10")
    jsonl(tmp_path / "test.jsonl", [10, 1.0, "9", "9.0"])
    found = [example.label for example in read_folder(tmp_path, "set").splits["test"]]
    assert found == [3, 1, 2, 2]


@pytest.mark.parametrize("label", ["3", "0", "2.5", "01", "True"])
def test_a_number_that_train_lacks_is_no_index(tmp_path, label):
    train = csv(tmp_path / "train.csv", ["1", "2", "4", "5"])
    test = csv(tmp_path / "test.csv", ["2", label])
    with pytest.raises(DatasetError, match="^Expected a label of ") as caught:
        list(read_folder(tmp_path, "set").splits["test"])
    assert str(caught.value) == (
        f"Expected a label of {train} (1, 2, 4, 5) in {test}, row 2 {PLACE}. Received: '{label}'. "
        "Correct the label, or drop the row."
    )


def test_an_index_counts_beside_names_that_are_no_numbers_only(tmp_path):
    path = csv(tmp_path / "train.csv", ["0", "1.0", "dog"])
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert read(path) == (["cat", "dog", "dog"], "single_label, 2 classes: cat, dog")
    (tmp_path / "labels.txt").write_text("3\n1\n")
    names = tmp_path / "labels.txt"
    assert refusal(path) == (
        f"Expected a label of {names} (3, 1) in {path}, row 1 {PLACE}. Received: '0'. "
        "Correct the label, or drop the row."
    )


@pytest.mark.parametrize(
    ("label", "received"), [(None, "none"), (float("nan"), "nan"), (float("inf"), "inf"), ("", "")]
)
@pytest.mark.parametrize("column", ["label", "labels"])
def test_what_is_missing_is_missing(tmp_path, label, received, column):
    path = jsonl(tmp_path / "train.jsonl", ["a", "b", label], column)
    if (label, column) == ("", "labels"):
        assert read(path)[0] == [["a"], ["b"], []]
        return
    expected = (
        f"Expected a label in {path}, row 3 {PLACE}. Received: {received or 'an empty one'}. {FILL}"
    )
    assert refusal(path) == expected
    (tmp_path / "labels.txt").write_text("a\nb\n")
    assert refusal(path) == expected


def test_nulls_of_parquet(tmp_path):
    for labels in (["a", None], [0, None], [[0, 1], None], [["a"], ["b", None]]):
        column = "labels" if isinstance(labels[0], list) else "label"
        path = parquet(tmp_path / "a.parquet", labels, column)
        assert refusal(path) == f"Expected a label in {path}, row 2 {PLACE}. Received: none. {FILL}"


@pytest.mark.parametrize("word", ["NaN", "None", "null", "N/A", "<NA>", "inf", "?"])
@pytest.mark.parametrize("numbers", [["0", "1"], ["0.5", "2"]])
def test_a_word_for_missing_among_numbers(tmp_path, word, numbers):
    path = csv(tmp_path / "a.csv", [*numbers, word, word])
    assert refusal(path) == (
        f"Expected a number as label, as in other rows in {path}, row 3 {PLACE}. Received: "
        f"'{word}'. Drop the row or fill it in."
    )


@pytest.mark.parametrize("label", [["food", "home"], [1, 0], "[1, 0]", "['food']"])
def test_a_list_in_the_label_column(tmp_path, label):
    path = jsonl(tmp_path / "a.jsonl", ["food", label])
    assert refusal(path) == (
        f"Expected one label in {path}, row 2 {PLACE}. Received: {label!r}. Name the column "
        "`labels`, or give --task multi_label, for several labels."
    )


def test_objects_and_lists_of_lists(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ["food", {"id": 0}])
    assert refusal(path) == (
        f"Expected a label in {path}, row 2 {PLACE}. Received: an object, {{'id': 0}}. Write the "
        "class alone, by its name or its number."
    )
    path = jsonl(tmp_path / "b.jsonl", [[["food"]]], "labels")
    assert refusal(path) == (
        f"Expected a list of labels in {path}, row 1 {PLACE}. Received: a list of lists or objects."
    )


@pytest.mark.parametrize("separator", ["|", ";", ",", "#", ", ", " ; "])
def test_a_separator_is_recognized(tmp_path, separator):
    labels = [["home", "very good"], ["food"], ["food", "home"], []]
    path = csv(tmp_path / "a.csv", [separator.join(items) for items in labels], "labels")
    assert read(path) == (
        [sorted(items) for items in labels],
        f"multi_label, 3 labels: food, home, very good ('{separator.strip()}' between them; "
        "--label-separator says otherwise)",
    )


def test_blanks_separate_where_nothing_else_does(tmp_path):
    path = csv(tmp_path / "a.csv", ["#food C#", "C#", ""], "labels")
    assert read(path) == (
        [["#food", "C#"], ["C#"], []],
        "multi_label, 2 labels: #food, C# (blanks between them; --label-separator says otherwise)",
    )
    form = LabelForm(separator="/")
    assert read(csv(tmp_path / "b.csv", ["a b/c", "c"], "labels"), form) == (
        [["a b", "c"], ["c"]],
        "multi_label, 2 labels: a b, c",
    )
    assert read(csv(tmp_path / "c.csv", ["a;b;", "a;"], "labels"))[0] == [["a", "b"], ["a"]]


def test_two_separators_are_asked_for(tmp_path):
    path = csv(tmp_path / "a.csv", ["a", "a|b", "Food, drink|b"], "labels")
    assert refusal(path) == (
        f"Expected one separator between the labels of a row in {path}. Received: '|' in row 2 and "
        f"',' in row 3 {PLACE}. Give --label-separator."
    )
    assert read(path, LabelForm(separator="|"))[0] == [["a"], ["a", "b"], ["Food, drink", "b"]]
    csv(tmp_path / "train.csv", ["a", "a|b", "Food, drink|b", "very good"], "labels")
    (tmp_path / "labels.txt").write_text("a\nb\nFood, drink\nvery good\n")
    found, said = read(tmp_path / "train.csv")
    assert found == [["a"], ["a", "b"], ["b", "Food, drink"], ["very good"]]
    assert said.endswith("('|' between them; --label-separator says otherwise)")


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (["home", "food|home"], " ('food|home' is one; --task multi_label takes it for several)"),
        (["home", "food, home"], " ('food, home' is one; --task multi_label takes it for several)"),
        (["home", "food; drink", "C#"], ""),
    ],
)
def test_a_class_that_holds_the_name_of_another_is_noted(tmp_path, labels, note):
    path = csv(tmp_path / "a.csv", labels)
    names = ", ".join(sorted(labels))
    assert read(path) == (labels, f"single_label, {len(labels)} classes: {names}{note}")
    assert not read(path, LabelForm(task="single_label"))[1].endswith(")")
    if note:
        assert read(path, LabelForm(task="multi_label"))[0] == [["home"], ["food", "home"]]


def test_a_rare_separator_is_asked_for_where_its_parts_recur(tmp_path):
    path = csv(tmp_path / "a.csv", ["home", "food/home"], "labels")
    assert refusal(path) == (
        f"Expected labels with | ; , # or blanks between them in {path}, row 2 {PLACE}. Received: "
        "'food/home'. Give --label-separator '/' if it is several, or '|' if it is one."
    )
    assert read(path, LabelForm(separator="/"))[0] == [["home"], ["food", "home"]]
    assert read(path, LabelForm(separator="|"))[0] == ["home", "food/home"]
    path = csv(tmp_path / "b.csv", ["Sci/Tech", "World", "R&D"], "labels")
    assert read(path)[0] == ["Sci/Tech", "World", "R&D"]


def test_blanks_are_in_names_where_no_part_recurs(tmp_path):
    path = csv(tmp_path / "a.csv", ["very good", "bad", "very bad"], "labels")
    assert read(path)[0] == [["good", "very"], ["bad"], ["bad", "very"]]
    for labels in (["very good", "bad", "so so"], ["New York", "Los Angeles"]):
        path = csv(tmp_path / "b.csv", labels * 2, "labels")
        assert read(path)[0] == labels * 2
    path = csv(tmp_path / "c.csv", ["10 11", "12 13"], "labels")
    assert read(path)[0] == [["10", "11"], ["12", "13"]]


def test_lists_in_the_labels_column(tmp_path):
    for labels in ([["b", "a, c"], [], ["b"]], ['["b", "a, c"]', "[]", "['b']"]):
        path = jsonl(tmp_path / "a.jsonl", labels, "labels")
        found, said = read(path)
        assert [sorted(items) for items in found] == [["a, c", "b"], [], ["b"]]
        assert said == "multi_label, 2 labels: a, c, b"


@pytest.mark.parametrize(
    "labels",
    [
        [[1, 0, 0], [0, 1, 1], [0, 0, 0]],
        [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]],
        [[True, False, False], [False, True, True], [False, False, False]],
        ["1 0 0", "0 1 1", "0 0 0"],
        ["[1, 0, 0]", "[0, 1, 1]", "[0, 0, 0]"],
    ],
)
def test_rows_of_zeros_and_ones_have_a_place_for_each_label(tmp_path, labels):
    path = jsonl(tmp_path / "train.jsonl", labels, "labels")
    assert read(path) == (
        [["0"], ["1", "2"], []],
        "multi_label, 3 labels: 0, 1, 2 (a 0 or a 1 for each label in every row)",
    )
    jsonl(tmp_path / "test.jsonl", [[0, 1]], "labels")
    with pytest.raises(DatasetError, match=r"^Expected a 0 or a 1 for each of 3 labels in .* row"):
        list(read_folder(tmp_path, "set").splits["test"])
    (tmp_path / "labels.txt").write_text("food\nhome\nwork\n")
    assert read(path)[0] == [["food"], ["home", "work"], []]


def test_a_labels_column_with_one_label_in_each_row(tmp_path):
    path = csv(tmp_path / "a.csv", ["0", "1", "1"], "labels")
    note = "one in each row of `labels`; --task multi_label takes them for several"
    assert read(path) == (["0", "1", "1"], f"single_label, 2 classes: 0, 1 ({note})")
    assert read(path, LabelForm(MULTI_LABEL)) == (
        [["0"], ["1"], ["1"]],
        "multi_label, 2 labels: 0, 1",
    )
    assert read(jsonl(tmp_path / "b.jsonl", [["a"], ["b"]], "labels"))[1].startswith("multi_label")
    path = csv(tmp_path / "train.csv", ["0", "1", "1"], "labels")
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    assert read(path) == (["no", "yes", "yes"], f"single_label, 2 classes: no, yes ({note})")


def test_a_setting_says_the_task(tmp_path):
    path = csv(tmp_path / "a.csv", ["1", "2", "5"])
    assert read(path)[1] == (
        "single_label, 3 classes: 1, 2, 5 (whole numbers; --task regression takes them as scores)"
    )
    assert read(path, LabelForm(REGRESSION)) == ([1.0, 2.0, 5.0], "regression")
    assert read(path, LabelForm(SINGLE_LABEL))[1] == "single_label, 3 classes: 1, 2, 5"
    path = csv(tmp_path / "b.csv", ["0.5", "2", "0.25"])
    assert read(path) == (
        [0.5, 2.0, 0.25],
        "regression (numbers; --task single_label takes each for a class)",
    )
    assert read(path, LabelForm(SINGLE_LABEL))[0] == ["0.5", "2", "0.25"]
    path = csv(tmp_path / "c.csv", ["a", "a;b"])
    assert read(path, LabelForm(MULTI_LABEL))[0] == [["a"], ["a", "b"]]
    assert refusal(path, LabelForm(REGRESSION)) == (
        f"Expected a finite number as label in {path}, row 1 {PLACE}. Received: 'a'. "
        "Write numbers with a point, and nothing between thousands."
    )


ASK = (
    "Give --task regression to take it as a number, or --task single_label to take it as the name "
    "of a class."
)


def test_numbers_that_may_be_names_are_asked_for(tmp_path):
    path = csv(tmp_path / "a.csv", ["1.1", "2.1", "1.10"])
    assert refusal(path) == (
        f"Expected a class or a score as label in {path}, row 3 {PLACE}. Received: '1.10' beside "
        f"'1.1'. {ASK}"
    )
    assert read(path, LabelForm(SINGLE_LABEL))[0] == ["1.1", "2.1", "1.10"]
    assert read(path, LabelForm(REGRESSION))[0] == [1.1, 2.1, 1.1]
    path = csv(tmp_path / "b.csv", ["2", "1,5", "0,25"])
    assert refusal(path) == (
        f"Expected a class or a score as label in {path}, row 2 {PLACE}. Received: '1,5', "
        f"perhaps a decimal comma. {ASK}"
    )
    assert read(path, LabelForm(REGRESSION))[0] == [2.0, 1.5, 0.25]
    assert read(path, LabelForm(SINGLE_LABEL))[0] == ["2", "1,5", "0,25"]


@pytest.mark.parametrize(
    "name", ["a\x1b[31m", "a\nb", "a\tb", "a\u202eb", "a\u2028b", "\x00a", "a\x85b", "\ufeffa"]
)
def test_a_name_with_characters_that_are_not_shown(tmp_path, name):
    character = next(character for character in name if character not in "ab[31m")
    end = f"Received: {ascii(name)}, with {ascii(character)}. Remove that character."
    path = jsonl(tmp_path / "train.jsonl", ["x", name])
    assert refusal(path) == (f"Expected a class name of visible characters in {path}, row 2. {end}")
    if "\n" not in name:
        names = tmp_path / "labels.txt"
        names.write_text(f"x\n{name}\n", encoding="utf-8-sig")
        assert refusal(path) == (
            f"Expected a class name of visible characters in {names}, line 2. {end}"
        )


def test_a_name_that_is_no_utf_8(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\none,x\ntwo,caf\xe9\n")
    assert refusal(path) == (
        f"Expected UTF-8 text in {path}, row 2. Received: a broken character in 'caf\\udce9'. "
        "Save the file as UTF-8."
    )


def test_a_name_has_a_limit(tmp_path):
    path = csv(tmp_path / "a.csv", ["x" * 1000, "y" * 1001])
    assert refusal(path) == (
        f"Expected class names of at most 1,000 characters in {path}, row 2. Received: one of "
        f"1,001, '{'y' * 36}.... Is the label column right?"
    )
    names = read(csv(tmp_path / "a.csv", ["x" * 1000, "y"]))[1]
    assert names == f"single_label, 2 classes: {'x' * 57}..., y"


@pytest.mark.parametrize("label", ["1,234", "-12,345,678"])
def test_a_comma_of_thousands_or_of_decimals_is_asked_for(tmp_path, label):
    path = csv(tmp_path / "a.csv", ["5", label])
    assert refusal(path) == (
        f"Expected a class or a score as label in {path}, row 2 {PLACE}. Received: {label!r}, with "
        "a comma of decimals or of thousands. Write a number without it or with a point, or give "
        "--task single_label to take it as the name of a class."
    )
    assert refusal(path, LabelForm(REGRESSION)) == (
        f"Expected a finite number as label in {path}, row 2 {PLACE}. Received: {label!r}. "
        "Write numbers with a point, and nothing between thousands."
    )
    assert read(path, LabelForm(SINGLE_LABEL))[0] == ["5", label]
    path = csv(tmp_path / "b.csv", ["0,125", "1,25", "1,2345"])
    assert read(path, LabelForm(REGRESSION))[0] == [0.125, 1.25, 1.2345]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Food", "food"),
        ("fast food", "fast  food"),
        ("fast food", "fast\u00a0food"),
        ("caf\u00e9", "cafe\u0301"),
        ("ab", "a\u200bb"),
    ],
)
def test_names_that_look_alike_are_two_and_it_is_said(tmp_path, one, other):
    path = csv(tmp_path / "train.csv", [one, other, "tea"])
    names, said = read(path)
    assert names == [one, other, "tea"]
    assert said == f"single_label, 3 classes: {', '.join(sorted(names))}"
    (found,) = (
        item for item in survey(read_file(path, "a")).findings() if item.kind == "spellings"
    )
    first, second = sorted([one, other])
    assert found.found == f"Classes that look alike: {first!a} = {second!a}"
    path = csv(tmp_path / "train.csv", [one, "tea"])
    assert read(path)[1] == f"single_label, 2 classes: {', '.join(sorted([one, 'tea']))}"
    test = csv(tmp_path / "test.csv", [other])
    with pytest.raises(DatasetError, match="^Expected a label of ") as caught:
        list(read_folder(tmp_path, "set").splits["test"])
    assert str(caught.value) == (
        f"Expected a label of {path} ({', '.join(sorted([one, 'tea']))}) in {test}, row 1 {PLACE}. "
        f"Received: {other!a}, which is not {one!a}. Correct the label, or drop the row."
    )


def test_one_word_among_decimals_is_said(tmp_path):
    path = csv(tmp_path / "a.csv", ["0.1", "0.2", "n.a."])
    assert read(path)[1] == (
        "single_label, 3 classes: 0.1, 0.2, n.a. ('n.a.' is no number, so each is a class)"
    )


def test_lists_as_programs_write_them_into_a_csv_file(tmp_path):
    for one, other in (("('a', 'b')", "('b',)"), ("{'a', 'b'}", "{'b'}"), ('["a", "b"]', "['b']")):
        path = csv(tmp_path / "a.csv", [one, other], "labels")
        assert read(path) == ([["a", "b"], ["b"]], "multi_label, 2 labels: a, b")
        path = csv(tmp_path / "b.csv", [one, other])
        assert refusal(path).startswith(f"Expected one label in {path}, row 1 {PLACE}. Received: ")
    # NumPy's: Python would join the two.
    path = csv(tmp_path / "a.csv", ["['a' 'b']", "['b']"], "labels")
    assert refusal(path) == (
        f"Expected a JSON list of labels in {path}, row 1 {PLACE}. Received: \"['a' 'b']\"."
    )
    path = csv(tmp_path / "a.csv", ['{"name": "a"}', "b"])
    assert refusal(path) == (
        f'Expected a label in {path}, row 1 {PLACE}. Received: an object, \'{{"name": "a"}}\'. '
        "Write the class alone, by its name or its number."
    )
    assert read(csv(tmp_path / "c.csv", ["(other)", "{x}"]))[0] == ["(other)", "{x}"]


def test_rows_of_0_and_1_of_different_lengths(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [[1, 0], [0, 1, 1]], "labels")
    assert refusal(path) == (
        f"Expected equally many 0 and 1 in each row, or no number twice in {path}, row 2 {PLACE}. "
        "Received: [0, 1, 1]."
    )
    path = jsonl(tmp_path / "b.jsonl", [[1, 0], [1], []], "labels")
    assert read(path) == ([["0", "1"], ["1"], []], "multi_label, 2 labels: 0, 1")


def test_a_data_set_of_the_catalog_keeps_its_task(tmp_path):
    csv(tmp_path / "train.csv", ["0", "positive"])
    for name in ("sst2", "demo"):
        message = f"^Expected no other task than single_label for {name}. Received: task='regressi"
        with pytest.raises(ConfigError, match=message):
            sources.load(name, tmp_path, reading=Reading(labels=LabelForm(REGRESSION)))
    assert (
        sources.load("demo", reading=Reading(labels=LabelForm(SINGLE_LABEL))).task == SINGLE_LABEL
    )
    dataset = read_folder(
        tmp_path, "sst2", CATALOG["sst2"], Reading(labels=LabelForm(SINGLE_LABEL))
    )
    assert [example.label for example in dataset.splits["train"]] == [0, 1]


def test_names_of_the_catalog_are_no_numbers():
    """An index would not count beside them."""
    for spec in CATALOG.values():
        assert LabelForm().named(spec.label_names, spec.name).takes_indices, spec.name
