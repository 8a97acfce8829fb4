"""The settings of `tfkd analyze`, which trains nothing and needs no run."""

import dataclasses
from pathlib import Path

from tfkd.settings import Config, setting

# Those that need neither calibration nor training.
UNCALIBRATED_RECIPES = ("float32", "float16", "dynamic_int8", "int4_tables", "int4")
ARCHITECTURES = (
    "bert_base", "distilbert_base", "distilroberta_base", "tinybert_4", "minilm_6", "bert_tiny",
    "bilstm",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnalyzeConfig(Config):
    """Settings of `tfkd analyze`: size and time of architectures, with weights or without."""

    models: tuple[str, ...] = setting(ARCHITECTURES, "Size word, preset, folder or finished run.")
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
