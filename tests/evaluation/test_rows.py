import json

import pytest

from tfkd.errors import ArtifactError
from tfkd.evaluation.rows import (
    Row,
    result_table,
    stage_table,
    table_note,
)

COMMAND = "python -m tfkd distill --dataset demo"


def row(arm, recipe="keras", **changes):
    values = {
        "dataset": "demo",
        "arm": arm,
        "model": "bert_tiny",
        "recipe": recipe,
        "seed": 0,
        "metrics": {},
        "size_bytes": None,
        "parameters": None,
        "latency": None,
        "command": COMMAND,
    }
    return Row(**(values | changes))


def quality(accuracy, macro_f1, ece, nll, **more):
    return {"accuracy": accuracy, "macro_f1": macro_f1, "ece": ece, "nll": nll, **more}


ROWS = [
    row(
        "teacher",
        model="bert_small",
        metrics=quality(0.94, 0.9391, 0.02, 0.2),
        size_bytes=115_000_000,
        parameters=28_763_648,
        latency={"p50_ms": 25.0, "p95_ms": 30.0},
    ),
    row(
        "control",
        metrics=quality(0.9123456, 0.911, 0.05, 0.3, agreement=0.95),
        size_bytes=17_544_321,
        parameters=4_386_178,
        latency={"p50_ms": 2.0},
    ),
    row(
        "student",
        "dynamic_int8",
        metrics=quality(0.93, 0.929, 0.011, 0.25, agreement=0.97),
        size_bytes=4_600_000,
    ),
]

MARKDOWN = """\
| Arm | Model | File | Accuracy | Macro F1 | ECE | NLL | Agreement | Parameters | Size, MB | p50, ms | Speed-up |
| :--- | :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| teacher | bert_small | keras | 0.9400 | 0.9391 | 0.0200 | 0.2000 | - | 28,763,648 | 115.00 | 25.00 | 1.0x |
| control | bert_tiny | keras | 0.9123 | 0.9110 | 0.0500 | 0.3000 | 0.9500 | 4,386,178 | 17.54 | 2.00 | 12.5x |
| student | bert_tiny | dynamic_int8 | 0.9300 | 0.9290 | 0.0110 | 0.2500 | 0.9700 | - | 4.60 | - | - |"""  # noqa: E501

NOTE = (
    "Control: the same student, trained without the teacher. ECE: expected calibration error; "
    "NLL: negative log-likelihood; lower is better. Agreement: share of answers that are also the "
    "teacher's. MB: 10^6 bytes of the model file. p50: median time of one text, warm, tokenization "
    "included. Speed-up: the teacher's p50 divided by the row's."
)


def cells(rows, metric="accuracy"):
    """Titles and cells, line by line."""
    table = result_table(rows, metric)
    return [[column.title for column in table.columns], *map(list, table.rows)]


@pytest.mark.parametrize(
    ("metric", "titles"),
    [
        ("f1", ["F1", "Accuracy", "Macro F1"]),
        ("pearson", ["Pearson", "Spearman"]),
        ("spearman", ["Spearman", "Pearson"]),
        ("mcc", ["MCC", "Macro F1"]),
        ("macro_f1", ["Macro F1"]),
    ],
)
def test_second_metric_of_a_benchmark_stands_beside_the_headline(metric, titles):
    names = (
        ("pearson", "spearman") if "Pearson" in titles else ("f1", "accuracy", "mcc", "macro_f1")
    )
    assert cells([row("student", metrics=dict.fromkeys(names, 0.5))], metric)[0][3:] == titles


class TestRow:
    def test_json_round_trip(self):
        for original in ROWS:
            assert Row.from_dict(json.loads(json.dumps(original.to_dict()))) == original

    def test_fields_in_the_order_of_the_results_files(self):
        assert list(ROWS[0].to_dict()) == [
            "dataset",
            "arm",
            "model",
            "recipe",
            "seed",
            "metrics",
            "size_bytes",
            "parameters",
            "latency",
            "command",
        ]

    def test_other_fields(self):
        values = ROWS[0].to_dict()
        del values["seed"], values["command"]
        message = (
            r"^Expected a result row with the fields dataset, arm, .*, latency, command\. "
            r"Received: dataset, arm, model, recipe, metrics, size_bytes, parameters, latency\. "
            r"Run the command that wrote it again\.$"
        )
        with pytest.raises(ArtifactError, match=message):
            Row.from_dict(values)


class TestResultTable:
    def test_whole_table(self):
        assert result_table(ROWS, "accuracy").markdown() == MARKDOWN

    def test_headline_metric_comes_first_and_once(self):
        assert cells(ROWS, "macro_f1")[0][3:7] == ["Macro F1", "ECE", "NLL", "Agreement"]

    def test_columns_without_any_figure_are_left_out_but_the_headline(self):
        assert cells([row("teacher")], "pearson") == [
            ["Arm", "Model", "File", "Pearson"],
            ["teacher", "bert_tiny", "keras", "-"],
        ]

    def test_zero_is_a_figure(self):
        zeros = row("teacher", metrics={"mcc": 0.0, "ece": 0.0}, size_bytes=0)
        assert cells([zeros], "mcc")[1][3:] == ["0.0000", "0.0000", "0.00"]

    def test_dataset_and_seed_are_shown_where_they_differ(self):
        rows = [row("teacher", seed=1), row("teacher", seed=2, dataset="sst2")]
        assert [line[:3] for line in cells(rows)] == [
            ["Dataset", "Seed", "Arm"],
            ["demo", "1", "teacher"],
            ["sst2", "2", "teacher"],
        ]

    def test_speed_up_is_over_the_teacher_of_the_same_data_and_seed(self):
        rows = [
            row("teacher", latency={"p50_ms": 10.0}),
            row("teacher", dataset="sst2", latency={"p50_ms": 40.0}),
            row("student", dataset="sst2", latency={"p50_ms": 50.0}),
            row("student", latency={"p50_ms": 0.5}),
            row("student", seed=7, latency={"p50_ms": 0.5}),
        ]
        assert [line[-1] for line in cells(rows)[1:]] == ["1.0x", "1.0x", "0.8x", "20.0x", "-"]

    def test_time_without_tokenization_has_columns_of_its_own(self):
        rows = [
            row("teacher", latency={"p50_ms": 12.0, "encoded_p50_ms": 9.0}),
            row("student", latency={"p50_ms": 4.0, "encoded_p50_ms": 0.25}),
        ]
        lines = cells(rows)
        assert lines[0][-4:] == ["p50, ms", "Speed-up", "Model only, ms", "Model speed-up"]
        assert lines[2][-4:] == ["4.00", "3.0x", "0.25", "36.0x"]
        assert table_note(rows, "accuracy").endswith("Model only: the same without tokenization.")

    def test_no_rows(self):
        assert cells([]) == [["Arm", "Model", "File", "Accuracy"]]

    def test_unknown_metric(self):
        message = r"^Expected `metric` to be one of accuracy, .*\. Received: metric='acc'\.$"
        with pytest.raises(ValueError, match=message):
            result_table(ROWS, "acc")


class TestUntimed:
    rows = [row(arm, size_bytes=4_600_000, latency={}) for arm in ("teacher", "student")]

    def test_a_time_that_was_not_wanted_is_a_dash(self):
        table = result_table(self.rows, "accuracy")
        assert [column.title for column in table.columns][-2:] == ["Size, MB", "p50, ms"]
        assert table.columns[-1].cells == ("-", "-")

    def test_nothing_is_noted_of_it(self):
        assert table_note(self.rows, "accuracy") == "MB: 10^6 bytes of the model file."

    def test_it_survives_json(self):
        assert [Row.from_dict(json.loads(json.dumps(r.to_dict()))) for r in self.rows] == self.rows


class TestTableNote:
    def test_only_what_the_table_shows(self):
        assert table_note(ROWS, "accuracy") == NOTE
        assert table_note([row("student")], "accuracy") == ""
        squared = table_note([row("student", metrics={"mse": 1.0})], "mse")
        assert squared == "MSE: mean squared error; lower is better."


def test_stages_share_all_seconds():
    table = stage_table({"tokenize": 0.04, "train": 199.96, "other": 0.0})
    assert table.rows == [
        ("tokenize", "0.0", "0%"),
        ("train", "200.0", "100%"),
        ("other", "0.0", "0%"),
    ]
    assert stage_table({"other": 0.0}).rows == [("other", "0.0", "-")]
