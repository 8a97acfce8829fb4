"""The settings of what a data set is: where it lies, how it is read, which rows serve for what."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from tfkd.config.fields import Config, setting
from tfkd.errors import ConfigError

# numpy takes up to 2**32 - 1.
MAX_SEED = 10**9
BALANCED = "balanced"
TASKS = ("single_label", "multi_label", "regression")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetConfig(Config):
    """Which data set."""

    heading: ClassVar[str] = "Data"

    dataset: str = setting(
        dataclasses.MISSING,
        "A data set of `tfkd list datasets`, or a folder or file of CSV, TSV, JSONL or Parquet.",
    )
    data_dir: Path | None = setting(
        None, "Folder that holds <dataset>/train.csv and so on. Also read from TFKD_DATA_DIR."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnConfig(Config):
    """Columns of a folder's or a file's tables; without a word those of known names are taken."""

    heading: ClassVar[str] = "Data"

    text_column: str | None = setting(
        None, "Column of the text. Default: text, or the pair sentence1, sentence2."
    )
    second_text_column: str | None = setting(
        None, "Column of the second text, where a row is a pair of them."
    )
    label_columns: tuple[str, ...] = setting(
        (),
        "Column of the label. Default: label or labels. Give it again for more columns of 0 and 1, "
        "each a label of its own.",
    )
    id_column: str | None = setting(None, "Column that names the rows. Default: none.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowConfig(ColumnConfig):
    """Which rows of the tables are taken."""

    drop_empty: bool = setting(False, "Leave out rows of a table without a text or a label.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingConfig(RowConfig):
    """How the tables of a data set are read."""

    drop_duplicates: bool = setting(
        False,
        "Leave out rows whose text, but for case and blanks, comes before; of train also what test "
        "or validation has.",
    )
    fold_case: bool = setting(
        False, "Take names of classes for one that differ in case and blanks only."
    )

    weight_column: str | None = setting(
        None,
        "Column of how much a row counts in the losses of teacher, control and student, 0 or more. "
        "Default: all rows count alike.",
    )
    task: str | None = setting(
        None,
        "What the labels are. Default: what their column shows, which is said.",
        choices=TASKS,
    )
    label_separator: str | None = setting(
        None,
        "What stands between the labels of a row. Default: what the column shows, of | ; , # and "
        "blanks.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(ReadingConfig, DatasetConfig):
    """Settings of every verb that reads a data set."""

    validation_fraction: float | None = setting(
        None,
        "Share of train held out when there is no validation split. Default: 0.05, of fewer than "
        "3,000 rows up to 0.15.",
        0.001,
        0.5,
    )
    test_fraction: float | None = setting(
        None,
        "Share of train held out as test where there is neither a test nor a validation split. "
        "Default: 0.05, of fewer than 20,000 rows up to 0.2.",
        0.001,
        0.5,
    )
    test_split: str = setting(
        "test",
        "Published split the figures are of: test; validation, as GLUE's tables have it, so that "
        "the rows to choose an epoch by are held out of train; or 2/5, the second of five parts of "
        "one file.",
    )
    max_train_rows: int | None = setting(
        None,
        "Use only so many rows of train: the first, or a sample by --split-seed where these do not "
        "have each class in its share.",
        1,
    )
    class_weight: str = setting(
        "none",
        "Weight of a row's label in the loss of teacher, control and student: 1 (none), or such "
        "that all classes count alike however many rows they have (balanced).",
        choices=("none", BALANCED),
    )
    split_seed: int = setting(
        0,
        "Seed of the rows held out of train or sampled, altered copies, and the demo's texts.",
        0,
        MAX_SEED,
    )
    seed: int = setting(0, "Seed of every other random choice.", 0, MAX_SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        number, _, parts = self.test_split.partition("/")
        is_part = number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts) > 1
        if self.test_split not in ("test", "validation") and not is_part:
            raise ConfigError(
                "Expected `test_split` to be test, validation or a part such as 2/5. Received: "
                f"test_split={self.test_split!r:.100}."
            )
