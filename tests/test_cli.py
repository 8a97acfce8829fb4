"""The command line: help, exit codes, one-line errors, and where a setting's value comes from."""

import dataclasses
import json
import os
import pty
import re
import resource
import subprocess
import sys
import types

import click
import pytest
from click.testing import CliRunner

import tfkd
from tfkd.cli import Terminated, one_line, verbs
from tfkd.config.fields import POSITIONAL, option
from tfkd.config.training import RECIPE_NAMES, DistillConfig
from tfkd.config.verbs import FORMAT_NAMES, VERBS, ExportConfig
from tfkd.errors import DatasetError
from tfkd.evaluation.table import Table, figures, words
from tfkd.options import parameters, resolve

ALL_VERBS = [
    "check",
    "pretrain",
    "finetune",
    "distill",
    "evaluate",
    "quantize",
    "export",
    "benchmark",
    "analyze",
    "study",
    "report",
    "errors",
    "predict",
    "serve",
    "clean",
    "doctor",
    "list",
]


@dataclasses.dataclass(frozen=True)
class Answer:
    """A result with one figure."""

    accuracy: float

    def to_dict(self):
        return {"accuracy": self.accuracy, "label": "Müll"}

    def render(self):
        table = Table([words("Arm", ["student [tiny]" * 20]), figures("Accuracy", [self.accuracy])])
        return [table, "Everything lies in " + "a/" * 150]


@pytest.fixture
def received(monkeypatch):
    """Puts a workflow that answers at once in the place of `distill`, and keeps its settings."""
    configs = []

    def distill(config, progress):
        configs.append(config)
        return Answer(0.93)

    module = types.SimpleNamespace(distill=distill)
    monkeypatch.setitem(sys.modules, "tfkd.workflows.distill", module)
    return configs


def test_an_error_spells_what_would_change_the_terminal():
    assert one_line("Käse 雨\nand \x1b[31m\u202e\x9b") == "Käse 雨 and \\x1b[31m\\u202e\\x9b"


def run(*arguments, **options):
    return CliRunner().invoke(verbs, list(arguments), prog_name="tfkd", **options)


def test_help_lists_every_verb_in_the_order_of_the_work():
    result = run("--help")
    assert result.exit_code == 0
    assert list(verbs.commands) == ALL_VERBS
    lines = [line.split()[0] for line in result.output.splitlines() if line.startswith("  ")]
    assert [word for word in lines if word in ALL_VERBS] == ALL_VERBS


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_help_of_a_verb_lists_options_alone(verb):
    """Click 8.5.1 makes rows of arguments, too."""
    shown = run(verb, "--help").output
    assert re.findall(r"^  \[.*", shown, re.MULTILINE) == []


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_help_of_a_verb_ends_with_an_example_that_parses(verb):
    result = run(verb, "--help")
    assert result.exit_code == 0
    example = result.output.split("Example:\n")[1].strip()
    assert example.startswith(f"tfkd {verb} ")
    assert "--json" in result.output
    words = [word.strip('"') for word in example.split()][2:]
    verbs.commands[verb].make_context(verb, words)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_shows_every_setting_with_its_default(verb):
    output = " ".join(run(verb, "--help").output.replace("-\n", "-").split())
    assert "--config FILE.toml" in output
    for field in dataclasses.fields(VERBS[verb]):
        if field.name in POSITIONAL:
            assert f"[{field.name.upper()}]" in output
            continue
        assert f"{option(field.name, 'tuple' in str(field.type))} " in output
        if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            assert f"[default: {field.default}" in output


@pytest.mark.parametrize(
    ("verb", "headings"),
    [
        (
            "distill",
            ["Options", "Data", "Teacher", "Student", "Training", "Recipes that train"]
            + ["Key-value bottleneck"],
        ),
        ("finetune", ["Options", "Data", "Model", "Training"]),
        ("predict", ["Options"]),
    ],
)
def test_many_options_stand_under_headings(verb, headings):
    shown = CliRunner().invoke(verbs, [verb, "--help"]).output
    assert re.findall(r"^(\S.*):$", shown, re.M) == headings
    parts = dict(zip(headings, re.split(r"^\S.*:$", shown, flags=re.M)[1:], strict=False))
    options = {
        name: re.findall(r"^  (?:-h, )?(--[a-z-]+)", part, re.M) for name, part in parts.items()
    }
    every = [name for part in options.values() for name in part]
    assert len(every) == len(set(every))
    assert set(every) == {
        item.opts[-1] if item.opts[0] == "-h" else item.opts[0]
        for item in verbs.commands[verb].get_params(click.Context(verbs.commands[verb]))
        if isinstance(item, click.Option) and not item.hidden
    }
    first = VERBS[verb].first
    assert [name[2:].replace("-", "_") for name in options["Options"]][: len(first)] == [
        name.removesuffix("s")
        if name
        in (
            "label_columns",
            "recipes",
        )
        else name
        for name in first
    ]


def test_help_shows_limits_choices_and_lists():
    output = " ".join(run("distill", "--help").output.split())
    assert "Softens teacher and student; 1 = not at all. [default: 2.0; 1<=x<=100]" in output
    assert (
        "--schedule [linear|cosine|constant] Decay after the warm-up. [default: linear]" in output
    )
    assert "[default: float32, dynamic_int8]" in output
    assert "--control / --no-control" in output
    assert "[default: control]" in output


def test_version_is_the_package_version():
    assert run("--version").output == f"tfkd, version {tfkd.__version__}\n"


def test_result_is_shown_as_tables_and_whole_lines(received):
    result = run("distill", "--dataset", "demo")
    assert result.exit_code == 0
    # Wider than any console: the last column is there, and no name is cut.
    assert f"{'student [tiny]' * 20}      0.93\n" in result.stdout
    assert "Everything lies in " + "a/" * 150 + "\n" in result.stdout


def test_json_is_the_only_thing_on_standard_output(received):
    result = run("distill", "--dataset", "demo", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"accuracy": 0.93, "label": "Müll"}
    assert "Müll" in result.stdout


def test_command_line_wins_over_file_wins_over_default(received, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        '[distill]\ndataset = "demo"\ntemperature = 3\nepochs = 7\ncontrol = false\n'
        'recipes = ["float32"]\n[export]\nlengths = [16]\n'
    )
    assert run("distill", "--config", str(path), "--temperature", "5").exit_code == 0
    assert received == [
        DistillConfig(
            dataset="demo", temperature=5.0, epochs=7, control=False, recipes=("float32",)
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--control"], {"control": True}),
        (["--no-control"], {"control": False}),
        (["--recipe", "float32"], {"recipes": ("float32",)}),
        (["--seed", "0"], {"seed": 0}),
        (["--learning-rate", "5e-5"], {"learning_rate": 5e-5}),
    ],
)
def test_only_what_was_given_replaces_a_default(received, arguments, expected):
    assert run("distill", "--dataset", "demo", *arguments).exit_code == 0
    assert received == [DistillConfig(dataset="demo", **expected)]


def test_an_old_name_of_a_setting_is_taken_and_not_shown(received, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[distill]\ndataset = "demo"\ntransfer_texts = "more.txt"\n')
    assert run("distill", "--config", str(path)).exit_code == 0
    assert run("distill", "--config", str(path), "--unlabelled", "a.csv").exit_code == 0
    assert run("distill", "--dataset", "demo", "--transfer-texts", "a.csv").exit_code == 0
    assert [config.unlabelled for config in received] == ["more.txt", "a.csv", "a.csv"]
    assert "transfer-texts" not in run("distill", "--help").output
    twice = run("distill", "--dataset", "demo", "--transfer-texts", "a", "--unlabelled", "b")
    assert (twice.exit_code, twice.stderr) == (
        1,
        "Error: Expected `unlabelled` once in the command. Received: also `transfer_texts`, its "
        "old name. Leave that out.\n",
    )


def test_flag_of_the_file_can_be_taken_back(received, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[distill]\ndataset = "demo"\noverwrite = true\n')
    run("distill", "--config", str(path), "--no-overwrite")
    assert received[0].overwrite is False


def test_lists_are_repeated_options_in_the_singular():
    command = click.Command("export", params=parameters("export"))
    context = command.make_context(
        "export", ["out", "--recipe", "float32", "--length", "16", "--length", "64"]
    )
    given = {k: v for k, v in context.params.items() if k not in ("config_file", "as_json")}
    config = resolve("export", None, given)
    assert config == ExportConfig(run="out", recipes=("float32",), lengths=(16, 64))


def test_runs_are_positional_and_many():
    command = click.Command("benchmark", params=parameters("benchmark"))
    context = command.make_context("benchmark", ["a", "b", "--threads", "2"])
    assert [str(path) for path in context.params["runs"]] == ["a", "b"]
    assert context.params["threads"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["destill"],
            2,
            "Expected a verb. Received: `destill`. Did you mean `distill`?",
        ),
        (
            ["fly"],
            2,
            "Expected a verb. Received: `fly`. "
            "Known: check, pretrain, finetune, distill, evaluate, quantize, export, benchmark, "
            "analyze, study, report, errors, predict, serve, clean, doctor, list.",
        ),
        (
            ["distill", "--temperatur", "3"],
            2,
            "No such option '--temperatur'. Did you mean '--temperature'?",
        ),
        (["distill"], 2, "Expected --dataset. Received none. See `tfkd distill --help`."),
        (
            ["pretrain", "--encoder", "somewhere"],
            2,
            "Expected --text. Received none. See `tfkd pretrain --help`.",
        ),
        (["predict"], 2, "Expected RUN. Received none. See `tfkd predict --help`."),
        (["benchmark"], 2, "Expected RUNS. Received none. See `tfkd benchmark --help`."),
        (
            ["predict", "run", "text", "--input", "file"],
            2,
            "Expected TEXTS or --input. Received both. Leave one out.",
        ),
        (
            ["distill", "--dataset", "demo", "--temperature", "0.5"],
            1,
            "Expected `temperature` in [1.0, 100.0]. Received: temperature=0.5.",
        ),
        (
            ["export", "run", "--recipe", "dynamic_int"],
            1,
            "Expected `recipes` to be one of float32, float16, dynamic_int8, static_int8, int16x8, "
            "int4_tables, int4, qat_int8, qat_int4_tables. Received: recipes='dynamic_int'. "
            "Did you mean `dynamic_int8`?",
        ),
        (
            ["distill", "--config", "no.toml"],
            1,
            "Expected a TOML file. Received: no.toml, which does not exist.",
        ),
        (
            ["list", "recipe"],
            1,
            "Expected datasets, models, recipes or formats. Received: `recipe`. Did you mean "
            "`recipes`?",
        ),
        (
            ["predict", "no_such_run", "text"],
            1,
            "Expected a folder written by `tfkd finetune` or `tfkd distill`. "
            "Received: no_such_run, which has no config.json.",
        ),
    ],
)
def test_error_is_one_line_on_standard_error(arguments, code, message):
    result = run(*arguments)
    assert result.stderr == f"Error: {message}\n"
    assert result.stdout == ""
    assert result.exit_code == code


def test_wrong_type_is_wrong_usage():
    result = run("distill", "--dataset", "demo", "--epochs", "many")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: Invalid value for '--epochs': 'many' is not a valid integer.\n"
    )


def test_unknown_setting_in_a_file_names_file_and_nearest(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('[distill]\ndataset = "demo"\ntemprature = 3\n')
    result = run("distill", "--config", str(path))
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: Expected only known settings in {path}. Received: `temprature`. "
        "Did you mean `temperature`?\n"
    )


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (DatasetError("Expected a\nlabel."), 1, "Error: Expected a label.\n"),
        (
            PermissionError(13, "Permission denied", "out"),
            1,
            "Error: Expected a file or folder open to this user. Received: Permission denied: "
            "out. Change its permissions, or give another.\n",
        ),
        (
            OSError(28, "No space left on device"),
            1,
            "Error: Expected room on the disk. Received: No space left on device. Free some, or "
            "give a folder on another disk.\n",
        ),
        (
            OSError("1000 requested and 24 written"),
            1,
            "Error: Expected room on the disk. Received: 1000 requested and 24 written. Free some, "
            "or give a folder on another disk.\n",
        ),
        (
            OSError(36, "File name too long", "/data/" + "a" * 5000 + "/run"),
            1,
            "Error: Expected a path as short as the system takes. Received: File name too long: "
            f"...{'a' * 116}/run. Give a shorter one.\n",
        ),
        (Terminated(), 143, "\nTerminated.\n"),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
    ],
)
def test_workflow_that_stops_gives_its_exit_code(monkeypatch, error, code, stderr):
    def distill(config, progress):
        raise error

    module = types.SimpleNamespace(distill=distill)
    monkeypatch.setitem(sys.modules, "tfkd.workflows.distill", module)
    result = run("distill", "--dataset", "demo")
    assert (result.exit_code, result.stderr) == (code, stderr)


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), OSError(18, "Invalid link", "a")])
def test_bug_keeps_its_traceback(monkeypatch, error):
    def distill(config, progress):
        raise error

    module = types.SimpleNamespace(distill=distill)
    monkeypatch.setitem(sys.modules, "tfkd.workflows.distill", module)
    assert isinstance(run("distill", "--dataset", "demo").exception, type(error))


FILE = "Expected a path whose folders are folders. Received: Not a directory: {}. Correct the path."
LONG = "a" * 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["finetune", "--dataset", "demo", "--config", "{file}/x"],
            "Expected a TOML file. Received: {file}/x: Not a directory.",
        ),
        (["predict", "run", "--input", "{file}/x"], FILE.format("{file}/x")),
        (["finetune", "--dataset", "demo", "--model", "cnn", "--output-dir", "{file}"], FILE),
        (
            ["finetune", "--dataset", LONG],
            "Expected a path as short as the system takes. Received: File name too long: "
            f"...{'a' * 120}. Give a shorter one.",
        ),
    ],
)
def test_what_the_system_says_of_a_path_is_one_line(tmp_path, arguments, message):
    path = tmp_path / "file"
    path.write_text("mine")
    message = message.replace("{}", "{file}").replace("{file}", str(path))
    result = run(*(argument.replace("{file}", str(path)) for argument in arguments))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == f"Error: {message}"
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_text() == "mine"


def test_list_shows_names_as_tables_and_as_json():
    table = run("list", "models")
    rows = json.loads(run("list", "models", "--json").stdout)["models"]
    assert {"bert_tiny", "bert_base", "bilstm", "cnn"} <= {row["name"] for row in rows}
    title, _, _, *lines = table.stdout.splitlines()
    assert title == "models"
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]
    everything = json.loads(run("list", "--json").stdout)
    assert list(everything) == ["datasets", "models", "recipes", "formats"]
    assert {"demo", "ag_news", "emotion"} <= {row["name"] for row in everything["datasets"]}
    assert [row["name"] for row in everything["recipes"]] == list(RECIPE_NAMES)
    assert [row["name"] for row in everything["formats"]] == list(FORMAT_NAMES[1:])


def test_help_takes_less_than_half_a_second():
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "tfkd", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    # Of the processor's time, so that other programs do not count; 0.08 measured.
    assert min(seconds) < 0.5


def test_python_m_tfkd_ends_with_the_exit_code():
    command = [sys.executable, "-m", "tfkd", "distill", "--epochs", "0", "--dataset", "demo"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "Error: Expected `epochs` in [1, inf]. Received: epochs=0.\n"


@pytest.mark.parametrize("verb", ["finetune", "distill"])
def test_overwrite_leaves_a_model_of_another_program_alone(verb, tmp_path):
    folder = tmp_path / "hf_model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "model.safetensors").write_text("weights")
    model = "--model" if verb == "finetune" else "--student"
    result = run(
        verb, "--dataset", "demo", model, "cnn", "--output-dir", str(folder), "--overwrite"
    )
    message = (
        f"Error: Expected a new or empty output folder. Received: {folder}, which holds other "
        "files. Give another --output-dir.\n"
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(message)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert names == ["1_Pooling", "1_Pooling/config.json", "config.json", "model.safetensors"]


TERMINAL = """
from tfkd.cli import show
from tests.test_cli import Answer
class Long(Answer):
    def render(self):
        said = "student is better than teacher by 12.75 points of 10,000 rows, p = 0.000125, in "
        return [super().render()[0], said + "a/" * 30]
show(Long(0.931625), False)
"""


def test_a_terminal_gets_no_figure_on_two_lines():
    master, slave = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "40"}
        command = [sys.executable, "-c", TERMINAL]
        subprocess.run(command, stdout=slave, check=True, env=environment)
        text = os.read(master, 65_536).decode()
    finally:
        os.close(master)
        os.close(slave)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in text.splitlines()]
    assert lines == [
        "Arm       student [tiny]student",
        *["          [tiny]student [tiny]student"] * 9,
        "          [tiny]",
        "Accuracy  0.931625",
        "student is better than teacher by 12.75",
        "points of 10,000 rows, p = 0.000125, in",
        "a/" * 30,
    ]
