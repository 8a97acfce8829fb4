"""Settings: what is refused and with which words, and what comes through unchanged."""

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest

from tests.messages import exactly
from tfkd.config.fields import nearest, option
from tfkd.config.training import DistillConfig, FinetuneConfig, PretrainConfig
from tfkd.config.verbs import (
    VERBS,
    AnalyzeConfig,
    BenchmarkConfig,
    CheckConfig,
    CleanConfig,
    DoctorConfig,
    ErrorsConfig,
    EvaluateConfig,
    ExportConfig,
    PredictConfig,
    QuantizeConfig,
    ReportConfig,
    ServeConfig,
    StudyConfig,
    read_toml,
)
from tfkd.errors import ConfigError

SAMPLES = {
    "check": CheckConfig(data="tickets.csv", label_columns=("rude", "loud"), drop_empty=True),
    "pretrain": PretrainConfig(encoder="hf://some/encoder", texts=("a.txt", "demo"), epochs=2),
    "finetune": FinetuneConfig(dataset="demo", model="bert_mini", learning_rate=1e-3),
    "distill": DistillConfig(dataset="demo", temperature=4.0, output_dir=Path("out")),
    "evaluate": EvaluateConfig(run=Path("run"), dataset="demo", split="train"),
    "quantize": QuantizeConfig(run=Path("run"), recipes=("all",), max_mb=3, max_drop=0.5),
    "export": ExportConfig(run=Path("run"), lengths=(16, 32), recipes=("float32",)),
    "analyze": AnalyzeConfig(models=("bert_base", "bert_tiny"), lengths=(32, 64), litert=False),
    "benchmark": BenchmarkConfig(runs=(Path("a"), Path("b")), threads=2),
    "study": StudyConfig(study=Path("study.toml"), plan=True),
    "errors": ErrorsConfig(run=Path("folder"), disagreements=True),
    "report": ReportConfig(folders=(Path("folder"),), output_dir=Path("out")),
    "predict": PredictConfig(run=Path("run"), recipe="dynamic_int8", ray="local"),
    "serve": ServeConfig(runs=(Path("run"), Path("more")), versions=2, port=0, batch_wait_ms=2),
    "clean": CleanConfig(folder=Path("runs"), what=("cache", "parts"), yes=True),
    "doctor": DoctorConfig(folder=Path("runs"), data_dir=Path("data"), offline=True),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"temperature": 0.5},
            "Expected `temperature` in [1.0, 100.0]. Received: temperature=0.5.",
        ),
        ({"epochs": 0}, "Expected `epochs` in [1, inf]. Received: epochs=0."),
        (
            {"student_loss_weight": 1.5},
            "Expected `student_loss_weight` in [0.0, 1.0]. Received: student_loss_weight=1.5.",
        ),
        (
            {"temperature": math.nan},
            "Expected `temperature` to be a number. Received: temperature=nan.",
        ),
        (
            {"learning_rate": "5e-5"},
            "Expected `learning_rate` to be a number. Received: learning_rate='5e-5'.",
        ),
        ({"epochs": 2.0}, "Expected `epochs` to be a whole number. Received: epochs=2.0."),
        ({"epochs": True}, "Expected `epochs` to be a whole number. Received: epochs=True."),
        ({"control": 1}, "Expected `control` to be true or false. Received: control=1."),
        ({"dataset": None}, "Expected `dataset` to be a string. Received: dataset=None."),
        (
            {"schedule": "cosin"},
            "Expected `schedule` to be one of linear, cosine, constant. "
            "Received: schedule='cosin'. Did you mean `cosine`?",
        ),
        (
            {"recipes": ("float32", "dynamc_int8")},
            "Expected `recipes` to be one of float32, float16, dynamic_int8, static_int8, int16x8, "
            "int4_tables, int4, qat_int8, qat_int4_tables. Received: recipes='dynamc_int8'. "
            "Did you mean `dynamic_int8`?",
        ),
        *(
            (
                {"test_split": wrong},
                "Expected `test_split` to be test, validation or a part such as 2/5. Received: "
                f"test_split='{wrong}'.",
            )
            for wrong in ("dev", "0/5", "6/5", "1/1", "2/", "a/5")
        ),
        (
            {"qat_frozen_fraction": 1.0},
            "Expected `qat_frozen_fraction` in [0.0, 0.9]. Received: qat_frozen_fraction=1.0.",
        ),
    ],
)
def test_bad_value_is_refused_with_name_limits_and_value(changes, message):
    with pytest.raises(ConfigError, match=exactly(message)):
        DistillConfig(**({"dataset": "demo"} | changes))


def test_unknown_key_is_refused_with_file_and_nearest_name():
    message = (
        "Expected only known settings in configs/bad.toml. Received: `temprature`. "
        "Did you mean `temperature`?"
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        DistillConfig.from_mapping({"dataset": "demo", "temprature": 2.0}, "configs/bad.toml")


def test_missing_required_setting_says_how_to_give_it():
    message = (
        "Expected `dataset` to be given. Received nothing. Add --dataset to the command or "
        "`dataset` to the TOML table."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        DistillConfig.from_mapping({})


def test_nearest_lists_what_there_is_when_nothing_is_near():
    assert nearest("temprature", ["temperature", "epochs"]) == "Did you mean `temperature`?"
    assert nearest("zzz", ["temperature", "epochs"]) == "Known: temperature, epochs."
    known = [f"name_{number}" for number in range(21)]
    first = ", ".join(known[:10])
    assert nearest("zzz", known[:20]) == f"Known: {', '.join(known[:20])}."
    assert nearest("zzz", known) == f"Known: {first} and 11 more."
    more = "11 more, which `tfkd list` lists."
    assert nearest("zzz", known, "tfkd list") == f"Known: {first} and {more}"
    with pytest.raises(ConfigError, match=r" and \d+ more, which `tfkd distill --help` lists\.$"):
        DistillConfig.from_mapping({"dataset": "demo", "zzz": 1})


def test_every_verb_has_a_sample():
    assert set(SAMPLES) == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_json_round_trip_gives_the_same_settings(verb):
    config = SAMPLES[verb]
    assert type(config) is VERBS[verb]
    values = json.loads(json.dumps(config.to_dict()))
    assert VERBS[verb].from_mapping(values) == config


@pytest.mark.parametrize("verb", VERBS)
def test_every_setting_explains_itself(verb):
    for field in dataclasses.fields(VERBS[verb]):
        assert len(field.metadata["help"]) > 10, field.name


def test_values_become_the_declared_types_and_no_others():
    config = DistillConfig(
        dataset="demo", temperature=4, output_dir="out", recipes=["float32"], learning_rate=None
    )
    assert (config.temperature, type(config.temperature)) == (4.0, float)
    assert config.output_dir == Path("out")
    assert config.recipes == ("float32",)
    assert config.learning_rate is None
    assert DistillConfig(dataset="demo", recipes="float32").recipes == ("float32",)
    assert ReportConfig(folders=Path("run")).folders == (Path("run"),)


def test_defaults():
    config = DistillConfig(dataset="demo")
    assert (config.temperature, config.student_loss_weight) == (2.0, 0.3)
    assert config.control is True
    assert config.recipes == ("float32", "dynamic_int8")


def test_replace_checks_again_and_leaves_the_original():
    config = DistillConfig(dataset="demo")
    assert config.replace(temperature=3).temperature == 3.0
    assert config.temperature == 2.0
    with pytest.raises(ConfigError, match=r"^Expected `temperature` in \[1\.0, 100\.0\]"):
        config.replace(temperature=0)


def test_settings_are_frozen():
    config = PredictConfig(run=Path("run"))
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'run'"):
        config.run = Path("other")  # type: ignore[misc]


def test_toml_table_of_the_verb_is_read(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text('[distill]\ndataset = "demo"\nlearning_rate = 5e-5\n[export]\nlengths = [16]\n')
    assert read_toml(path, "distill") == {"dataset": "demo", "learning_rate": 5e-5}
    assert read_toml(path, "export") == {"lengths": [16]}
    message = (
        f"Expected a table [finetune] in {path}. Received: [distill], [export]. Add it, or leave "
        "--config out."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        read_toml(path, "finetune")


def test_toml_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[distill]\ndataset = "demo"\n', encoding="utf-8-sig")
    assert read_toml(path, "distill") == {"dataset": "demo"}


def test_toml_table_of_no_verb_is_refused(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[destill]\ntemperature = 2.0\n")
    message = (
        f"Expected tables named after verbs in {path}. Received: `destill`. Did you mean `distill`?"
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        read_toml(path, "distill")


def test_toml_setting_outside_a_table_is_refused(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("distill = 3\n")
    message = f"Expected `distill` in {path} to be a table. Write it as [distill]."
    with pytest.raises(ConfigError, match=exactly(message)):
        read_toml(path, "distill")


def test_missing_toml_is_one_line(tmp_path):
    path = tmp_path / "none.toml"
    message = f"Expected a TOML file. Received: {path}, which does not exist."
    with pytest.raises(ConfigError, match=exactly(message)):
        read_toml(path, "distill")


@pytest.mark.parametrize(
    "content",
    [
        b"[distill\n",
        b'[distill]\nteacher = "caf\xe9"\n',
        '[distill]\ndataset = "demo"\n'.encode("utf-16"),
        b"[distill]\nrecipes = " + b"[" * 20_000,
        b"[distill]\ndataset = " + b"{a=" * 20_000,
        b"[distill]\nepochs = " + b"9" * 5000 + b"\n",
    ],
    ids=["syntax", "encoding", "utf-16", "deep list", "deep table", "long number"],
)
def test_broken_toml_names_the_file(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(
        ConfigError, match=f"^Expected a TOML file. Received: {re.escape(str(path))}: "
    ):
        read_toml(path, "distill")


def test_a_byte_order_mark_is_no_setting(tmp_path):
    path = tmp_path / "marked.toml"
    path.write_bytes(b'\xef\xbb\xbf[distill]\ndataset = "demo"\n')
    assert read_toml(path, "distill") == {"dataset": "demo"}


def test_a_file_of_data_is_not_parsed(tmp_path):
    path = tmp_path / "rows.toml"
    path.write_bytes(b"#" * 1_000_001)
    message = (
        f"Expected a TOML file of at most 1000000 bytes. Received: {path} with more. Give the file "
        "with the settings, not with the data."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        read_toml(path, "distill")
    path.write_bytes(b"#" * 1_000_000)
    assert read_toml(path, "distill") == {}


def test_a_name_too_long_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"^Expected a TOML file\. .*: File name too long\.$"):
        read_toml(tmp_path / ("x" * 300 + ".toml"), "distill")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 2**63}, "Expected `epochs` to be a number of at most 63 bits. Received: 64 b"),
        ({"learning_rate": 10**400}, "Expected `learning_rate` to be a number of at most 63 bits."),
        ({"seed": -(2**70)}, "Expected `seed` to be a number of at most 63 bits. Received: 71 b"),
        ({"seed": 2**32}, "Expected `seed` in [0, 1000000000]. Received: seed=4294967296."),
        ({"layers": [2**63]}, "Expected `layers` to be a number of at most 63 bits. Received: 64"),
        ({"dataset": "a\0b"}, "Expected `dataset` to be text. Received: a zero character in 'a\\x"),
        (
            {"output_dir": Path("\0")},
            "Expected `output_dir` to be text. Received: a zero character",
        ),
        ({"output_dir": "\0"}, "Expected `output_dir` to be text. Received: a zero character in"),
        (
            {"epochs": ["x" * 9999]},
            f"Expected `epochs` to be a whole number. Received: epochs=['{'x' * 98}.",
        ),
        ({"k" * 9999: 1}, f"Expected only known settings in a.toml. Received: `{'k' * 100}`."),
    ],
)
def test_values_that_nothing_can_be_done_with_are_one_short_line(values, message):
    with pytest.raises(ConfigError, match="^" + re.escape(message)) as caught:
        DistillConfig.from_mapping({"dataset": "demo", **values}, "a.toml")
    assert len(str(caught.value)) < 1200


def test_folder_in_place_of_toml_names_the_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"^Expected a TOML file\. .*Is a directory"):
        read_toml(tmp_path, "distill")


def test_command_gives_a_run_as_an_argument():
    config = QuantizeConfig(run=Path("saved_models/my run"), recipes=("int4",), max_mb=3)
    expected = "python -m tfkd quantize 'saved_models/my run' --recipe int4 --max-mb 3.0"
    assert config.command_line("quantize") == expected


@pytest.mark.parametrize(
    ("name", "is_many", "expected"),
    [("texts", True, "--text"), ("qat_epochs", False, "--qat-epochs"), ("unit", False, "--unit")],
)
def test_a_setting_as_an_option(name, is_many, expected):
    assert option(name, is_many) == expected


def test_a_missing_setting_of_several_values_is_named_as_it_is_written():
    message = (
        "Expected `texts` to be given. Received nothing. Add --text to the command or `texts` to "
        "the TOML table."
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        PretrainConfig.from_mapping({"encoder": "somewhere"})
