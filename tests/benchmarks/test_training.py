"""What benchmarks/training.py does with its runs; no contender is trained here."""

import argparse
import csv
import sys
from pathlib import Path

import pytest

from tfkd.artifacts import write_json
from tfkd.errors import ArtifactError, ConfigError, DatasetError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import training  # noqa: E402
from training_job import Job  # noqa: E402
from training_material import make, write_texts  # noqa: E402
from training_table import markdown, single_table, sweep_sentence  # noqa: E402


def row(contender, seconds, repeat=0, accuracies=(0.5,)):
    settings = training.CONTENDERS[contender]
    return {
        "contender": contender,
        "title": settings.title,
        "is_of_sweep": settings.is_of_sweep,
        "repeat": repeat,
        "seconds": seconds,
        "updates": 980,
        "accuracies": list(accuracies),
        "peak_memory_bytes": 1_500_000_000,
    }


def options(folder, **changes):
    values = {
        "dataset": "ag_news",
        "data_dir": folder,
        "teacher": folder / "minilm",
        "rows": 320,
        "test_rows": 20,
        "epochs": 1,
        "repeats": 1,
        "contenders": list(training.CONTENDERS),
        "output": folder / "training.json",
    }
    return argparse.Namespace(**values | changes)


class TestMissingRuns:
    def test_contenders_take_turns_and_each_round_begins_with_another(self):
        found = list(training.missing_runs(["tfkd_64", "pytorch"], 3, []))
        assert found == [
            ("tfkd_64", 0),
            ("pytorch", 0),
            ("pytorch", 1),
            ("tfkd_64", 1),
            ("tfkd_64", 2),
            ("pytorch", 2),
        ]

    def test_what_is_there_is_not_made_again(self):
        rows = [row("pytorch", 1.0, repeat=0), row("tfkd_64", 1.0, repeat=1)]
        found = list(training.missing_runs(["tfkd_64", "pytorch"], 2, rows))
        assert found == [("tfkd_64", 0), ("pytorch", 1)]

    def test_ten_students_are_trained_once(self):
        found = list(training.missing_runs(["tfkd_64", "tfkd_sweep_64"], 2, []))
        assert found == [("tfkd_64", 0), ("tfkd_sweep_64", 0), ("tfkd_64", 1)]


class TestTable:
    def test_medians_span_ratios_and_mean_accuracy(self):
        runs = {
            "tfkd_64": [row("tfkd_64", 10.0), row("tfkd_64", 30.0, 1), row("tfkd_64", 20.0, 2)],
            "tfkd_128": [row("tfkd_128", 40.0)],
            "pytorch": [row("pytorch", 90.0, 0, (0.8,)), row("pytorch", 110.0, 1, (0.9,))],
        }
        assert single_table(runs).rows == [
            tuple(
                "tfkd, student at 64 tokens|20.0|10.0 to 30.0|1.00|0.50|980|0.5000|1500|3".split(
                    "|"
                )
            ),
            tuple(
                "tfkd, student at 128 tokens|40.0|40.0 to 40.0|2.00|1.00|980|0.5000|1500|1".split(
                    "|"
                )
            ),
            tuple("PyTorch loop|100.0|90.0 to 110.0|5.00|2.50|980|0.8500|1500|2".split("|")),
        ]

    def test_no_ratio_to_a_contender_that_was_not_trained(self):
        columns = single_table({"pytorch": [row("pytorch", 1.0)]}).columns
        assert not [column.title for column in columns if column.title.startswith("to ")]

    def test_sweep_says_what_was_multiplied(self):
        runs = {
            "tfkd_sweep_64": [row("tfkd_sweep_64", 100.0)],
            "pytorch": [row("pytorch", 60.0), row("pytorch", 80.0), row("pytorch", 70.0)],
            "pytorch_cnn": [row("pytorch_cnn", 50.0)],
        }
        assert sweep_sentence(runs, 64) == (
            "Ten students at 64 tokens (five settings, BERT-tiny and CNN) from one scoring: "
            "100.0 s. Ten runs of the PyTorch loop: 600 s, 6.0 times as long; they were not all "
            "made, it is five times the 70.0 s of BERT-tiny (median of 3 runs) and five times the "
            "50.0 s of the CNN (one run)."
        )
        assert sweep_sentence(runs, 128) == ""

    def test_page_leaves_the_sweep_out_of_the_table(self, tmp_path):
        results = training.read_results(options(tmp_path)) | {
            "rows": [row("pytorch", 60.0), row("pytorch_cnn", 50.0)],
            "material": {
                "teacher": "minilm",
                "teacher_accuracy": 0.91,
                "teacher_logit_difference": 2e-7,
            },
        }
        page = markdown(results)
        assert page.count("PyTorch loop") == 1
        assert "its logits in PyTorch within 2e-07 of Keras'" in page


class TestResume:
    def test_rows_of_the_output_stay(self, tmp_path):
        asked = options(tmp_path)
        kept = training.read_results(asked) | {"rows": [row("pytorch", 60.0)]}
        write_json(asked.output, kept)
        assert training.read_results(asked)["rows"] == [row("pytorch", 60.0)]

    def test_other_settings_are_refused(self, tmp_path):
        write_json(options(tmp_path).output, training.read_results(options(tmp_path)))
        with pytest.raises(ArtifactError, match="Expected runs with epochs=5 .* epochs=1"):
            training.read_results(options(tmp_path, epochs=5))


def test_unknown_contender():
    with pytest.raises(ConfigError, match=r"Received: flax\.$"):
        training.check_packages(["tfkd_64", "flax"])


def test_command_makes_all_rows_at_once_and_has_no_paths_of_this_machine(tmp_path):
    rows = [row("pytorch", 60.0), row("pytorch", 60.0, 1), row("tfkd_64", 10.0)]
    assert training.command(options(tmp_path, contenders=["tfkd_64"]), rows) == (
        "python benchmarks/training.py --dataset ag_news --data-dir $TFKD_DATA_DIR "
        "--teacher minilm --rows 320 --test-rows 20 --epochs 1 --repeats 2 --contenders tfkd_64 "
        "pytorch --output results/training.json"
    )
    everything = [row(name, 1.0) for name in training.CONTENDERS]
    assert "--contenders" not in training.command(options(tmp_path), everything)


class TestTexts:
    SETTINGS = {"dataset": "demo", "data_dir": None, "rows": 320, "test_rows": 7}

    def test_contenders_read_as_many_rows_as_were_asked_for(self, tmp_path):
        write_texts(self.SETTINGS, tmp_path / "data")
        job = Job(str(tmp_path))
        assert (len(job.rows("train")[0]), len(job.rows("test")[1]), job.num_labels) == (320, 7, 4)
        assert not set(job.rows("train")[0]) & set(job.rows("validation")[0])
        with (tmp_path / "data" / "test.csv").open(encoding="utf-8") as stream:
            assert next(csv.reader(stream)) == ["text", "label"]

    def test_too_few_rows(self, tmp_path):
        with pytest.raises(DatasetError, match="Expected 9000 rows in train of demo"):
            write_texts(self.SETTINGS | {"rows": 9000}, tmp_path / "data")

    def test_material_of_other_settings_is_refused(self, tmp_path):
        record = {"dataset": "demo", "teacher": "minilm", "rows": 320, "test_rows": 7}
        write_json(tmp_path / "material.json", record)
        asked = self.SETTINGS | {"teacher": "models/minilm"}
        assert make(asked, tmp_path) == record
        with pytest.raises(ArtifactError, match="Expected material with rows=10 .* rows=320"):
            make(asked | {"rows": 10}, tmp_path)
