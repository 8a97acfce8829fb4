"""The settings of every verb: one frozen dataclass each, for Python, TOML and the command line.

A value comes from the dataclass' default, then the verb's table in a TOML file, then the command
line.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from tfkd.analysis_config import AnalyzeConfig
from tfkd.errors import ConfigError
from tfkd.settings import Config, nearest, setting

RECIPE_NAMES = (
    "float32", "float16", "dynamic_int8", "static_int8", "int16x8", "int4_tables", "int4",
    "qat_int8", "qat_int4_tables",
)  # fmt: skip
DEFAULT_RECIPES = ("float32", "dynamic_int8")
TOKENS = "tokens"
FORMAT_NAMES = (TOKENS, "edge", "text-tflite", "saved-model")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """What every verb that reads a data set knows."""

    dataset: str = setting(
        dataclasses.MISSING,
        "A data set of `tfkd list datasets`, or a folder or file of CSV, TSV, JSONL or Parquet.",
    )
    data_dir: Path | None = setting(
        None, "Folder that holds <dataset>/train.csv and so on. Also read from TFKD_DATA_DIR."
    )
    validation_fraction: float = setting(
        0.05, "Share of train held out when there is no validation split.", 0.001, 0.5
    )
    max_train_rows: int | None = setting(
        None, "Use only the first rows of train; for trying things out.", 1
    )
    split_seed: int = setting(
        0, "Seed of the rows held out of train, of altered copies, and of the demo's texts.", 0
    )
    seed: int = setting(0, "Seed of every other random choice.", 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(DataConfig):
    """What every verb that trains knows."""

    output_dir: Path | None = setting(None, "The run's folder. Default: saved_models/<run>.")
    overwrite: bool = setting(False, "Replace a finished run in the output folder.")
    quiet: bool = setting(False, "No progress; only the result.")
    epochs: int = setting(3, "Passes over the training rows.", 1)
    batch_size: int = setting(32, "Training examples a step.", 1)
    learning_rate: float | None = setting(
        None, "Peak learning rate. Default: the model's own, see `tfkd list models`.", 1e-8, 1.0
    )
    schedule: str = setting(
        "linear", "Decay after the warm-up.", choices=("linear", "cosine", "constant")
    )
    warmup_fraction: float = setting(0.06, "Share of the steps with a rising rate.", 0.0, 0.9)
    weight_decay: float = setting(0.01, "AdamW's decay; never on biases and norms.", 0.0, 1.0)
    clip_norm: float = setting(1.0, "Largest global norm of a step's gradient.", 1e-6)
    patience: int = setting(3, "Epochs without a better validation metric before stopping.", 1)
    precision: str = setting(
        "float32",
        "Arithmetic of the training; bfloat16 is twice as fast on CPUs that have it.",
        choices=("float32", "bfloat16"),
    )
    backup_seconds: float = setting(60.0, "Seconds between two backups to resume from.", 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AwareConfig(Config):
    """How the recipes that train do it; the rest is as the run trained its student."""

    qat_epochs: int = setting(
        1, "Passes over the training rows for each recipe that trains (qat_int8 ...).", 1
    )
    qat_learning_rate: float | None = setting(
        None, "Their peak learning rate. Default: a tenth of the student's.", 1e-8, 1.0
    )
    qat_frozen_fraction: float = setting(
        0.2, "Share of their last steps in which the ranges of activations stay.", 0.0, 0.9
    )
    integer_softmax: bool = setting(
        False, "In recipes that train, attention scores are integers too: for chips without floats."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TrainingConfig):
    """Settings of `tfkd finetune`: a classifier trained on labels, mostly to be a teacher."""

    model: str | None = setting(
        None, "Preset, folder, hf:// or kaggle:// handle, or size word. Default: the data set's."
    )
    pooling: str = setting(
        "auto", "How tokens become one vector.", choices=("auto", "cls", "mean", "max")
    )
    sequence_length: int = setting(128, "Longest text in tokens; longer ones are cut.", 4, 4096)
    layers: tuple[int, ...] | None = setting(
        None, "Layers of a pretrained encoder to keep, counted from 0. Default: all."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig(AwareConfig, TrainingConfig):
    """Settings of `tfkd distill`: a student, its control, its files and the table."""

    teacher: str | None = setting(
        None, "As --model of finetune, or a finished run. Default: the data set's."
    )
    teacher_epochs: int = setting(3, "Epochs of the teacher's fine-tuning, if it needs one.", 1)
    teacher_batch_size: int = setting(32, "Batch size of the teacher's fine-tuning.", 1)
    teacher_learning_rate: float | None = setting(
        None, "Peak learning rate of the teacher's fine-tuning. Default: the model's own.", 1e-8, 1
    )
    teacher_pooling: str = setting(
        "auto",
        "How the teacher's tokens become one vector.",
        choices=("auto", "cls", "mean", "max"),
    )
    teacher_precision: str = setting(
        "float32", "Arithmetic of the teacher's fine-tuning.", choices=("float32", "bfloat16")
    )
    teacher_sequence_length: int = setting(128, "Longest text for the teacher.", 4, 4096)
    teacher_seed: int = setting(0, "Seed of the teacher's fine-tuning; --seed is the student's.", 0)
    teacher_layers: tuple[int, ...] | None = setting(
        None, "Layers of the teacher's encoder to keep, counted from 0. Default: all."
    )
    student: str | None = setting(
        None, "Preset, folder, handle, or size word. Default: the data set's."
    )
    pooling: str = setting(
        "auto",
        "How the student's tokens become one vector.",
        choices=("auto", "cls", "mean", "max"),
    )
    sequence_length: int = setting(64, "Longest text for the student, in tokens.", 4, 4096)
    layers: tuple[int, ...] | None = setting(
        None, "Layers of the student's pretrained encoder to keep, counted from 0. Default: all."
    )
    initialization: str = setting(
        "auto",
        "Start of a student without weights: the teacher's token table by PCA (table), that and "
        "layers of equal width (layers), random, or the most that fits (auto).",
        choices=("auto", "table", "layers", "random"),
    )
    vocabulary_size: int | None = setting(
        None, "Cut the student's vocabulary to at most this many tokens before it is trained.", 1
    )
    min_count: int | None = setting(
        None, "Drop tokens that occur less often in the training text from its vocabulary.", 1
    )
    temperature: float = setting(2.0, "Softens teacher and student; 1 = not at all.", 1.0, 100.0)
    student_loss_weight: float = setting(
        0.3, "Weight of the label loss; the rest goes to the teacher.", 0.0, 1.0
    )
    augmented_copies: int = setting(
        0, "Altered copies of each training text, which the teacher answers; no labels.", 0, 100
    )
    distillation_loss: str = setting(
        "kl",
        "What the student learns of the teacher: its softened distribution (kl), or its logits by "
        "their squared error (mse), for which the temperature is without effect.",
        choices=("kl", "mse"),
    )
    control: bool = setting(True, "Also train the equal student without the teacher.")
    recipes: tuple[str, ...] = setting(
        DEFAULT_RECIPES, "LiteRT files to write; those of qat_* train first.", choices=RECIPE_NAMES
    )
    epochs: int = setting(4, "Passes over the training rows.", 1)
    batch_size: int = setting(64, "Training examples a step.", 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Config):
    """Settings of `tfkd evaluate`: quality of a run's models on any data set with its labels."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
    dataset: str | None = setting(None, "Data set to score. Default: the run's own.")
    data_dir: Path | None = setting(None, "Folder that holds the data set.")
    split: str = setting("test", "Split to score.", choices=("train", "validation", "test"))
    output_dir: Path | None = setting(None, "Also write the figures to evaluation.json there.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(Config):
    """Settings of `tfkd export`: LiteRT files of a finished run, each through the parity gate."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
    data_dir: Path | None = setting(None, "Folder that holds the run's data set.")
    output_dir: Path | None = setting(None, "Where the files go. Default: the run's folder.")
    format: str = setting(
        TOKENS,
        "LiteRT files that take tokens (tokens); with vocabulary and labels inside for MediaPipe "
        "(edge); with the tokenizer in the graph (text-tflite); a SavedModel that takes text.",
        choices=FORMAT_NAMES,
    )
    recipes: tuple[str, ...] = setting(
        (),
        "Files to write. Default: float32 and dynamic_int8, or the format's own.",
        choices=RECIPE_NAMES,
    )
    lengths: tuple[int, ...] = setting(
        (),
        "Lengths in tokens. Default: 32, 64, 128 up to the student's own; for other formats that "
        "one alone.",
    )
    overwrite: bool = setting(False, "Replace files that are there.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizeConfig(AwareConfig):
    """Settings of `tfkd quantize`: recipes side by side, and the one that fits a budget."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
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
    data_dir: Path | None = setting(None, "Folder that holds the run's data set.")
    texts: int = setting(200, "Texts of the test split to time.", 1)
    rounds: int = setting(5, "Interleaved passes over the texts.", 1)
    threads: int = setting(1, "Threads of one prediction.", 1)
    output_dir: Path | None = setting(None, "Also write the figures to benchmark.json there.")


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
    quiet: bool = setting(False, "No progress; only the result.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """Settings of `tfkd report`: a study's table once more, from its folder alone."""

    study: Path = setting(dataclasses.MISSING, "Folder written by study.")
    output_dir: Path | None = setting(None, "Also write <study>.json and <study>.md there.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(Config):
    """Settings of `tfkd predict`: label and probability of texts."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
    recipe: str | None = setting(
        None, "LiteRT file to ask. Default: the Keras model.", choices=RECIPE_NAMES
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig(Config):
    """Settings of `tfkd serve`: a run's LiteRT file behind HTTP."""

    run: Path = setting(dataclasses.MISSING, "Folder written by distill or finetune.")
    recipe: str = setting("dynamic_int8", "LiteRT file to ask.", choices=RECIPE_NAMES)
    name: str | None = setting(None, "The model's name in addresses. Default: the run's.")
    host: str = setting("127.0.0.1", "Address to listen on; 0.0.0.0 is open to other machines.")
    port: int = setting(8501, "Port to listen on; 0 takes a free one.", 0, 65535)
    workers: int = setting(1, "Threads that predict, each with a model of its own.", 1, 256)
    batch_size: int = setting(32, "Texts a model gets at once.", 1, 4096)
    batch_wait_ms: float = setting(
        0.0, "How long a batch that is not full waits for more texts.", 0.0, 10_000.0
    )
    queue_texts: int = setting(1024, "Texts that may wait; then the answer is 429.", 1)
    max_texts: int = setting(128, "Texts of one request.", 1)
    max_text_characters: int = setting(20_000, "Characters of one text.", 1)
    max_body_bytes: int = setting(1_000_000, "Bytes of one request.", 1)
    timeout_seconds: float = setting(10.0, "Longest time of one request.", 0.001, 3600.0)


VERBS: dict[str, type[Config]] = {
    "finetune": FinetuneConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
    "quantize": QuantizeConfig,
    "export": ExportConfig,
    "benchmark": BenchmarkConfig,
    "analyze": AnalyzeConfig,
    "study": StudyConfig,
    "report": ReportConfig,
    "predict": PredictConfig,
    "serve": ServeConfig,
}


def read_toml(path: Path, verb: str) -> dict[str, Any]:
    """The verb's table of a TOML file, or an empty mapping when the file has none.

    Raises:
        ConfigError: The file is missing, is not TOML, or holds settings outside a verb's table.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"Expected a TOML file. Received: {path}, which does not exist."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"Expected a TOML file. Received: {path}: {error}.") from error
    for name, table in content.items():
        if name not in VERBS:
            raise ConfigError(
                f"Expected tables named after verbs in {path}. Received: `{name}`. "
                f"{nearest(name, list(VERBS))}"
            )
        if not isinstance(table, dict):
            raise ConfigError(f"Expected `{name}` in {path} to be a table. Write it as [{name}].")
    return content.get(verb, {})
