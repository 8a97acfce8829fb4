"""Settings of a verb as Python gives them: an object, or keywords, with rows that are in memory."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tfkd.config.fields import POSITIONAL, Config
from tfkd.config.verbs import CheckConfig, EvaluateConfig
from tfkd.data.columns import WEIGHT, ColumnNames
from tfkd.data.files import SPLIT_NAMES
from tfkd.data.in_memory import column_names, write_rows
from tfkd.locks import CACHE
from tfkd.written_files import DATA

Settings = TypeVar("Settings", bound=Config)
RUNS = Path("saved_models")
# Keywords of the rows of each split.
ROWS = {
    "train": ("texts", "labels", "weights"),
    "validation": ("validation_texts", "validation_labels"),
    "test": ("test_texts", "test_labels"),
}
COLUMNS = ("text_column", "second_text_column", "label_columns")


def settings_of(config_class: type[Settings], config: object, given: Mapping[str, Any]) -> Settings:
    """The settings of a call, with rows in memory written as a data set.

    Args:
        config_class: Class of the verb's settings.
        config: Settings; or name or path of the run, the study or the data set; or None.
        given: Mapping. Keywords: settings, and `texts`, `labels` and their like.

    Raises:
        ConfigError: A setting is unknown or of the wrong type.
        DatasetError: A table has no such columns, or a text is no Unicode.
        TypeError: There are settings and keywords, or rows that are no texts.
        ValueError: There are not as many labels as texts.
    """
    if isinstance(config, config_class) and not given:
        return config
    values = dict(given)
    if isinstance(config, str | Path):
        first = (name for name in POSITIONAL if name in _fields(config_class))
        values[next(first, "dataset")] = config
    elif config is not None:
        raise TypeError(
            f"Expected a {config_class.__name__} alone, or settings as keywords. Received: "
            f"{type(config).__name__}{' and keywords' * bool(given)}"
        )
    # Of `tfkd benchmark` and others `texts` is a setting.
    pairs = [ROWS["train"][:2]] if issubclass(config_class, EvaluateConfig) else ROWS.values()
    names = {name for pair in pairs for name in pair} - set(_fields(config_class))
    rows = {name: values.pop(name) for name in names if values.get(name) is not None}
    if rows:
        for name in ("dataset", "data"):
            if name in values:
                raise TypeError(
                    f"Expected rows in memory or `{name}`. Received both: {name}={values[name]!r}"
                )
        values |= _written(config_class, rows, values)
    return config_class.from_mapping(values, "the keywords")


def _fields(config_class: type[Config]) -> list[str]:
    return [field.name for field in dataclasses.fields(config_class)]


def _written(
    config_class: type[Config], rows: Mapping[str, Any], values: dict[str, Any]
) -> dict[str, object]:
    """Settings that name rows in memory, as a data set beside the runs; what was for them goes."""
    splits = {
        split: (rows.get(texts), rows.get(labels), *(rows[name] for name in more if name in rows))
        for split, (texts, labels, *more) in ROWS.items()
        if {texts, labels, *more} & set(rows)
    }
    if list(splits) == ["train"]:
        splits = _splits(rows.get("texts")) or splits
    names, label_names = ColumnNames.of(values), values.pop("label_names", None)
    for name in COLUMNS:
        values.pop(name, None)
    if not issubclass(config_class, EvaluateConfig):
        run = values.get("output_dir")
        runs = RUNS if run is None else Path(run).parent
        setting = "data" if issubclass(config_class, CheckConfig) else "dataset"
        weight = WEIGHT if "weights" in rows or values.pop("weight_column", None) else None
        path = write_rows(runs / CACHE / DATA, splits, names, label_names)
        return {setting: str(path), **({"weight_column": weight} if weight else {})}
    split = values.get("split", "test")
    runs = Path(values.get("run", RUNS / "run")).parent
    path = write_rows(runs / CACHE / DATA, {split: splits["train"]}, names, label_names)
    with (path / f"{split}.jsonl").open("rb") as lines:
        *texts, label = json.loads(next(lines))
    # Said outright: the run's own data may call them otherwise.
    named = dict(zip(COLUMNS, texts, strict=False))
    return {"dataset": str(path), **named, "label_columns": (label,)}


def _splits(texts: object) -> dict[str, tuple[Any, None]]:
    """The tables of a mapping of splits, as `datasets` loads them; none for anything else."""
    if not isinstance(texts, Mapping):
        return {}
    return {
        split: (texts[stem], None)
        for split, stems in SPLIT_NAMES.items()
        for stem in stems
        if stem in texts and column_names(texts[stem]) is not None
    }
