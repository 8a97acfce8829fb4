"""The settings of every verb: one frozen dataclass each, for Python, TOML and the command line.

A value comes from the dataclass' default, then the verb's table in a TOML file, then the command
line.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from tfkd.config.data import ColumnConfig, ReadingConfig, RowConfig
from tfkd.config.fields import Config, nearest, setting
from tfkd.config.training import (
    RECIPE_NAMES,
    AwareConfig,
    DistillConfig,
    FinetuneConfig,
    PretrainConfig,
)
from tfkd.errors import ConfigError

# Settings take kilobytes; a file of data given by mistake would be parsed for minutes.
MAX_TOML_BYTES = 1_000_000
TOKENS = "tokens"
FORMAT_NAMES = (TOKENS, "edge", "text-tflite", "saved-model", "python", "onnx", "web")
# What `tfkd clean` may remove.
CLEANED = ("cache", "parts", "unfinished", "teachers")
# What `tfkd serve` writes on standard error.
LOG_ERRORS, LOG_REQUESTS, LOG_TEXTS = LOGS = ("errors", "requests", "texts")
# Those that need neither calibration nor training.
UNCALIBRATED_RECIPES = ("float32", "float16", "dynamic_int8", "int4_tables", "int4")
ARCHITECTURES = (
    "bert_base",
    "distilbert_base",
    "distilroberta_base",
    "tinybert_4",
    "minilm_6",
    "bert_tiny",
    "bilstm",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckConfig(ReadingConfig):
    """Settings of `tfkd check`: what is wrong with a data set, all of it at once."""

    data: str = setting(dataclasses.MISSING, "Data set, folder or file, as --dataset of distill.")
    data_dir: Path | None = setting(None, "Folder that holds the data set.")
    model: str | None = setting(
        None, "Model whose tokenizer counts the lengths. Default: none, words are counted."
    )
    sequence_length: int | None = setting(
        None, "Longest text that is read whole, in tokens, to see how many are longer.", 4, 4096
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(RowConfig):
    """Settings of `tfkd evaluate`: quality of a run's models on any data set with its labels."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
    dataset: str | None = setting(
        None, "Data set or file to score; a file whole. Default: the run's own, as it was split."
    )
    data_dir: Path | None = setting(None, "Folder that holds the data set.")
    split: str = setting("test", "Split to score.", choices=("train", "validation", "test"))
    output_dir: Path | None = setting(None, "Also write the figures to evaluation.json there.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """Settings of `tfkd export`: LiteRT files of a finished run, each through the parity gate."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
    dataset: str | None = setting(None, "Path of the run's data set, if it is not where it was.")
    data_dir: Path | None = setting(None, "Folder that holds the run's data set.")
    output_dir: Path | None = setting(None, "Where the files go. Default: the run's folder.")
    format: str = setting(
        TOKENS,
        "LiteRT files that take tokens (tokens); with vocabulary and labels inside for MediaPipe "
        "(edge); with the tokenizer in the graph (text-tflite); a SavedModel that takes text; "
        "folders for Python without tfkd and TensorFlow, for LiteRT (python) or ONNX Runtime "
        "(onnx), and for browsers (web).",
        choices=FORMAT_NAMES,
    )
    recipes: tuple[str, ...] = setting(
        (),
        "Files to write. Default: float32 and dynamic_int8, or the format's own.",
        choices=RECIPE_NAMES,
    )
    lengths: tuple[int, ...] = setting(
        (),
        "Lengths in tokens. Default: 32, 64, 128 up to the student's own; for other formats the "
        "longest alone.",
    )
    overwrite: bool = setting(False, "Replace files that are there.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizeConfig(AwareConfig):
    """Settings of `tfkd quantize`: recipes side by side, and the one that fits a budget."""

    run: Path = setting(
        dataclasses.MISSING,
        "Folder written by distill or finetune, or a published classifier as it is: its folder or "
        "handle, such as hf://owner/name.",
    )
    dataset: str | None = setting(
        None,
        "Data set that a published classifier is judged on. Of a run: its path, if it is not where "
        "it was.",
    )
    data_dir: Path | None = setting(None, "Folder that holds the run's data set.")
    recipes: tuple[str, ...] = setting(
        (),
        "Files to write and compare; those of qat_* train first. Default: all.",
        choices=(*RECIPE_NAMES, "all"),
    )
    calibration_rows: int = setting(
        200, "Training rows that recipes with calibration see, chosen by the run's seed.", 1
    )
    max_mb: float | None = setting(None, "Largest file allowed, in megabytes of 10^6 bytes.", 0.0)
    max_ms: float | None = setting(
        None, "Longest median time of one text allowed, tokenization included.", 0.0
    )
    max_drop: float | None = setting(
        None, "Largest loss against the float student allowed on held-out rows, in points.", 0.0
    )
    overwrite: bool = setting(False, "Write files anew that are there and still fit the model.")
    quiet: bool = setting(False, "No progress; only the result.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Config):
    """Settings of `tfkd benchmark`: speed, memory and bytes of the models of finished runs."""

    runs: tuple[Path, ...] = setting(dataclasses.MISSING, "Folders written by distill.")
    dataset: str | None = setting(None, "Path of the run's data set, if it is not where it was.")
    data_dir: Path | None = setting(None, "Folder that holds the run's data set.")
    texts: int = setting(200, "Texts of the test split to time.", 1)
    rounds: int = setting(5, "Interleaved passes over the texts.", 1)
    threads: int = setting(1, "Threads of one prediction.", 1)
    output_dir: Path | None = setting(None, "Also write the figures to benchmark.json there.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnalyzeConfig(ColumnConfig):
    """Settings of `tfkd analyze`: size and time of architectures, with weights or without."""

    models: tuple[str, ...] = setting(
        ARCHITECTURES,
        "Size word (such as bert_tiny: built from scratch), preset, folder or finished run.",
    )
    tokenizer: str | None = setting(
        None, "Model whose tokenizer the size words take. Default: one learned from train."
    )
    dataset: str = setting("demo", "Data set whose test split gives the texts.")
    data_dir: Path | None = setting(None, "Folder that holds the data set.")
    lengths: tuple[int, ...] = setting(
        (), "Texts filled to so many tokens, up to 512. Default: as they are, cut at 128."
    )
    texts: int = setting(50, "Texts of the test split to time.", 1)
    rounds: int = setting(5, "Interleaved passes over the texts.", 1)
    threads: int = setting(1, "Threads of one prediction.", 1)
    litert: bool = setting(True, "Also write and time LiteRT files.")
    recipes: tuple[str, ...] = setting(
        ("float32", "dynamic_int8"), "Recipes of these files.", choices=UNCALIBRATED_RECIPES
    )
    output_dir: Path | None = setting(None, "Also write analysis.json and analysis.md there.")
    quiet: bool = setting(False, "No progress; only the result.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyConfig(Config):
    """Settings of `tfkd study`: arms x seeds x data sets; the TOML file says which."""

    study: Path = setting(dataclasses.MISSING, "TOML file of the study, see docs/studies.md.")
    data_dir: Path | None = setting(None, "Folder that holds the data sets.")
    output_dir: Path | None = setting(
        None, "The study's folder. Default: saved_models/<name of the TOML file>."
    )
    plan: bool = setting(False, "Only show what would be run and what is there already.")
    datasets: tuple[str, ...] = setting(
        (), "Make only this data set's part, so that several sessions share a study. Default: all."
    )
    jobs: int = setting(
        1, "Arms made side by side, each in a process with its share of the cores.", 1, 256
    )
    ray: str | None = setting(
        None, "Have Ray's workers make the arms, one a core; a cluster's address, auto, or local."
    )
    report: bool = setting(True, "Also write report.html, with pictures.")
    quiet: bool = setting(False, "No progress; only the result.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """Settings of `tfkd report`: the page of runs and studies, from their folders alone."""

    folders: tuple[Path, ...] = setting(
        dataclasses.MISSING, "Folders written by distill, finetune or study."
    )
    output_dir: Path | None = setting(
        None,
        "Write <name>.html and <name>.md there, of studies also <name>.json. Default: "
        "report.html and README.md in each folder.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorsConfig(Config):
    """Settings of `tfkd errors`: the test texts that a run's model has wrong."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
    disagreements: bool = setting(
        False, "Those that the student answers otherwise than its teacher, right or wrong."
    )
    output: Path | None = setting(
        None, "Write all of them there; the name's ending says in which format, such as .csv."
    )
    overwrite: bool = setting(False, "Replace the output file.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """Settings of `tfkd predict`: label and probability of texts."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
    input: Path | None = setting(
        None,
        "File of texts: one a line, or with --output a table of CSV, TSV, JSONL or Parquet; with "
        "--output FOLDER also a folder of tables or a data set. Default: standard input.",
    )
    output: Path | None = setting(
        None,
        "Write the table there with the answers behind its columns; the name's ending says in "
        "which format. Without an ending: a folder of Parquet with ids and answers, for "
        "--teacher-answers; started again it goes on.",
    )
    data_dir: Path | None = setting(None, "Folder that holds the data set.")
    text_column: str | None = setting(
        None, "The table's column of texts. Default: as the run was trained, or `text`."
    )
    second_text_column: str | None = setting(
        None, "Of pairs: that of the second texts. Default: as trained, or `sentence2`."
    )
    id_column: str | None = setting(
        None, "With --output FOLDER: column of ids. Default: as trained, or file and row."
    )
    all_classes: bool = setting(
        False, "With --output FILE: also a column for each class. A folder has them."
    )
    part_rows: int = setting(10_000, "With --output FOLDER: rows of a part.", 1)
    ray: str | None = setting(
        None,
        "With --output FOLDER: have Ray's workers answer; a cluster's address, auto, or local.",
    )
    recipe: str | None = setting(
        None,
        "LiteRT file to ask, or keras. Default: keras; with --output dynamic_int8 or else float32, "
        "if the run has it.",
        choices=("keras", *RECIPE_NAMES),
    )
    overwrite: bool = setting(False, "Replace the output.")
    quiet: bool = setting(False, "No progress; only the result.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig(Config):
    """Settings of `tfkd serve`: LiteRT files of runs behind HTTP."""

    runs: tuple[Path, ...] = setting(
        dataclasses.MISSING, "Folders written by distill or finetune, or folders of versions."
    )
    recipe: str = setting("dynamic_int8", "LiteRT file to ask.", choices=RECIPE_NAMES)
    name: str | None = setting(None, "The model's name in addresses. Default: the folder's.")
    versions: int = setting(1, "So many of the highest versions are served.", 1)
    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 is open to other machines.")
    port: int = setting(8501, "Port to listen on; 0 takes a free one.", 0, 65535)
    workers: int = setting(1, "Threads that predict, each with a model of its own.", 1, 256)
    processes: int = setting(1, "Processes that answer, each with its workers.", 1, 256)
    batch_size: int = setting(32, "Texts a model gets at once.", 1, 4096)
    batch_wait_ms: float = setting(
        0.0, "How long a batch that is not full waits for more texts.", 0.0, 10_000.0
    )
    queue_texts: int = setting(1024, "Texts that may wait; then the answer is 429.", 1)
    max_texts: int = setting(128, "Texts of one request.", 1)
    max_text_characters: int = setting(20_000, "Characters of one text.", 1)
    max_body_bytes: int = setting(1_000_000, "Bytes of one request.", 1)
    timeout_seconds: float = setting(10.0, "Longest time of one request.", 0.001, 3600.0)
    token_file: Path | None = setting(
        None, "File with the token that callers have to send. Also read from TFKD_SERVE_TOKEN."
    )
    tls_certificate: Path | None = setting(None, "Certificate in PEM; the address is then https.")
    tls_key: Path | None = setting(None, "Its key in PEM. Default: in the certificate's file.")
    log: str = setting(
        LOG_ERRORS,
        "On standard error: errors alone, a line of JSON a request, or that with its texts.",
        choices=LOGS,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleanConfig(Config):
    """Settings of `tfkd clean`: what may go from a folder of runs."""

    folder: Path = setting(Path("saved_models"), "Folder of runs.")
    what: tuple[str, ...] = setting((), "What to remove. Default: all of it.", choices=CLEANED)
    yes: bool = setting(False, "Remove it; without this it is only listed.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig(Config):
    """Settings of `tfkd doctor`: whether a run works here, and how fast."""

    folder: Path = setting(Path("saved_models"), "Folder of runs.")
    data_dir: Path | None = setting(None, "Folder that holds data sets.")
    offline: bool = setting(False, "Ask no hub whether it can be reached.")


VERBS: dict[str, type[Config]] = {
    "check": CheckConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
    "quantize": QuantizeConfig,
    "export": ExportConfig,
    "benchmark": BenchmarkConfig,
    "analyze": AnalyzeConfig,
    "study": StudyConfig,
    "report": ReportConfig,
    "errors": ErrorsConfig,
    "predict": PredictConfig,
    "serve": ServeConfig,
    "clean": CleanConfig,
    "doctor": DoctorConfig,
}


def toml_content(path: Path) -> dict[str, Any]:
    """What a TOML file holds; a byte-order mark is passed over.

    Raises:
        ConfigError: The file cannot be read, is too large or is not TOML.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_TOML_BYTES + 1)
        if len(content) > MAX_TOML_BYTES:
            raise ConfigError(
                f"Expected a TOML file of at most {MAX_TOML_BYTES} bytes. Received: {path} with "
                "more. Give the file with the settings, not with the data."
            )
        return tomllib.loads(content.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"Expected a TOML file. Received: {path}, which does not exist."
        ) from error
    except OSError as error:
        raise ConfigError(f"Expected a TOML file. Received: {path}: {error.strerror}.") from error
    # Lists in lists end the parser's recursion; a number of more than 4,300 digits is a ValueError.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"Expected a TOML file. Received: {path}: {error}.") from error


def read_toml(path: Path, verb: str) -> dict[str, object]:
    """The verb's table of a TOML file, or an empty mapping when the file is empty.

    Raises:
        ConfigError: The file cannot be read, is not TOML, holds settings outside a verb's table, or
            tables of other verbs alone.
    """
    content = toml_content(path)
    for name, table in content.items():
        if name not in VERBS:
            raise ConfigError(
                f"Expected tables named after verbs in {path}. Received: `{name[:100]}`. "
                f"{nearest(name[:100], list(VERBS))}"
            )
        if not isinstance(table, dict):
            raise ConfigError(f"Expected `{name}` in {path} to be a table. Write it as [{name}].")
    if content and verb not in content:
        received = ", ".join(f"[{name}]" for name in content)
        raise ConfigError(
            f"Expected a table [{verb}] in {path}. Received: {received}. Add it, or leave --config "
            "out."
        )
    return content.get(verb, {})
