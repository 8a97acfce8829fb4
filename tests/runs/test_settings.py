"""Settings as Python gives them, with rows in memory among them."""

from pathlib import Path

import pytest

from tests.messages import exactly
from tfkd.config.training import DistillConfig, FinetuneConfig, PretrainConfig
from tfkd.config.verbs import BenchmarkConfig, CheckConfig, EvaluateConfig
from tfkd.data import sources
from tfkd.errors import ConfigError
from tfkd.runs.settings import settings_of

TEXTS, LABELS = ["Rain.", "A goal.", "Sun."], ["weather", "sport", "weather"]


def test_settings_are_an_object_or_keywords_or_a_path():
    config = EvaluateConfig(run=Path("runs/a"), split="train")
    assert settings_of(EvaluateConfig, config, {}) is config
    assert settings_of(EvaluateConfig, "runs/a", {"split": "train"}) == config
    assert settings_of(EvaluateConfig, None, {"run": "runs/a", "split": "train"}) == config
    timed = settings_of(BenchmarkConfig, "runs/a", {"texts": 9})
    assert (timed.runs, timed.texts) == ((Path("runs/a"),), 9)
    read = settings_of(PretrainConfig, None, {"encoder": "a", "texts": "b.txt"})
    assert read.texts == ("b.txt",)
    assert settings_of(FinetuneConfig, Path("a.csv"), {}).dataset == "a.csv"


@pytest.mark.parametrize(
    ("config", "given", "error", "message"),
    [
        (
            None,
            {"dataset": "demo", "epoch": 3},
            ConfigError,
            "Expected only known settings in the keywords. Received: `epoch`. Did you mean "
            "`epochs`?",
        ),
        (
            None,
            {},
            ConfigError,
            "Expected `dataset` to be given. Received nothing. Add --dataset to the command or "
            "`dataset` to the TOML table.",
        ),
        (
            FinetuneConfig(dataset="demo"),
            {"epochs": 3},
            TypeError,
            "Expected a FinetuneConfig alone, or settings as keywords. Received: FinetuneConfig "
            "and keywords",
        ),
        (
            {"dataset": "demo"},
            {},
            TypeError,
            "Expected a FinetuneConfig alone, or settings as keywords. Received: dict",
        ),
        (
            "demo",
            {"texts": TEXTS, "labels": LABELS},
            TypeError,
            "Expected rows in memory or `dataset`. Received both: dataset='demo'",
        ),
    ],
    ids=["unknown", "nothing", "both", "mapping", "two sets"],
)
def test_other_settings_are_refused(config, given, error, message):
    with pytest.raises(error, match=exactly(message)):
        settings_of(FinetuneConfig, config, given)


def test_rows_in_memory_become_the_data_set_beside_the_run(tmp_path, monkeypatch):
    rows = {"texts": TEXTS * 10, "labels": LABELS * 10}
    run = tmp_path / "runs" / "a"
    config = settings_of(DistillConfig, None, {**rows, "output_dir": run, "epochs": 2})
    folder = Path(config.dataset)
    assert folder.parent == tmp_path / "runs" / "cache" / "data"
    assert config == DistillConfig(dataset=str(folder), output_dir=run, epochs=2)
    # The same rows are the same data set, so the same call goes on.
    assert settings_of(DistillConfig, None, {**rows, "output_dir": run, "epochs": 2}) == config
    monkeypatch.chdir(tmp_path)
    checked = settings_of(CheckConfig, None, rows | {"label_names": ["weather", "sport"]})
    assert Path(checked.data).parent == Path("saved_models/cache/data")
    elsewhere = settings_of(FinetuneConfig, None, rows)
    assert elsewhere.dataset == f"saved_models/cache/data/{folder.name}"


def test_splits_come_one_by_one_or_in_a_mapping_of_tables(tmp_path):
    run = tmp_path / "runs" / "a"
    tables = {
        name: {"text": TEXTS[:count], "label": LABELS[:count]}
        for name, count in {"train": 3, "valid": 2, "test": 1, "unlabelled": 2}.items()
    }
    one = settings_of(DistillConfig, None, {"texts": tables, "output_dir": run})
    given = {"texts": TEXTS, "labels": LABELS, "test_texts": TEXTS[:1], "test_labels": LABELS[:1]}
    given |= {"validation_texts": [("Rain.", "weather"), ("A goal.", "sport")]}
    assert settings_of(DistillConfig, None, {**given, "output_dir": run}) == one
    splits = sources.load(one.dataset).splits
    assert {name: len(list(rows)) for name, rows in splits.items()} == {
        "train": 3,
        "validation": 2,
        "test": 1,
    }


def test_rows_to_evaluate_are_the_split_that_is_scored(tmp_path):
    run = tmp_path / "a"
    given = {
        "texts": [("Rain.", "Sun.")],
        "labels": [["dry", "wet"]],
        "label_names": ["dry", "wet"],
    }
    config = settings_of(EvaluateConfig, str(run), given)
    assert [file.name for file in sorted(Path(config.dataset).iterdir())] == [
        *("labels.txt", "manifest.json", "test.jsonl")
    ]
    # Whatever the run's own columns are called.
    assert (config.text_column, config.second_text_column) == ("sentence1", "sentence2")
    assert config.label_columns == ("labels",)
    frame = {"body": TEXTS, "kind": LABELS}
    columns = {"text_column": "body", "label_columns": ("kind",)}
    config = settings_of(EvaluateConfig, str(run), {"texts": frame, **columns, "split": "train"})
    assert (config.text_column, config.label_columns) == ("text", ("label",))
    assert (Path(config.dataset) / "train.jsonl").is_file()
