"""The settings of the verbs that train; `tfkd.config` has those of their data, and the others'."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from tfkd.config.data import MAX_SEED, DataConfig
from tfkd.config.fields import Config, setting

RECIPE_NAMES = (
    "float32",
    "float16",
    "dynamic_int8",
    "static_int8",
    "int16x8",
    "int4_tables",
    "int4",
    "qat_int8",
    "qat_int4_tables",
)
DEFAULT_RECIPES = ("float32", "dynamic_int8")
# Of the label loss; the rest goes to the teacher.
STUDENT_LOSS_WEIGHT = 0.3
PRECISIONS = ("auto", "float32", "bfloat16")
BOTTLENECK_DECODERS = ("mlp", "values")
MIRRORED, MULTI_WORKER = "mirrored", "multi-worker"
POOLINGS = ("auto", "cls", "mean", "max")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Config):
    """Settings of every training: where it goes, how long it takes, how it steps."""

    heading: ClassVar[str] = "Training"

    output_dir: Path | None = setting(None, "The run's folder. Default: saved_models/<run>.")
    overwrite: bool = setting(False, "Replace a finished run in the output folder.")
    quiet: bool = setting(False, "No progress; only the result.")
    epochs: int | None = setting(
        None, "Passes over the training rows. Default: 3, and up to 10 for few rows.", 1
    )
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
    patience: int | None = setting(
        None,
        "Epochs without a better validation metric before stopping. Default: a third of them all, "
        "at least 3.",
        1,
    )
    precision: str = setting(
        "auto",
        "Products of the training: float32, or bfloat16, which is faster on processors that have "
        "it and slower on others; auto asks the processor.",
        choices=PRECISIONS,
    )
    backup_seconds: float = setting(60.0, "Seconds between two backups to resume from.", 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(OptimizerConfig, DataConfig):
    """Settings of every verb that trains on a data set."""

    report: bool = setting(True, "Also write report.html: pictures, and the texts it has wrong.")
    strategy: str | None = setting(
        None,
        "Train in several processes, each with its rows of every batch: on this machine, one a GPU "
        "or else a core (mirrored), or on several, by --ray or TF_CONFIG (multi-worker).",
        choices=(MIRRORED, MULTI_WORKER),
    )
    ray: str | None = setting(
        None, "Have Ray's workers be these processes; a cluster's address, auto, or local."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig(OptimizerConfig):
    """Settings of `tfkd pretrain`: a student of any task, from an encoder and text alone."""

    encoder: str = setting(
        dataclasses.MISSING,
        "Encoder to learn from: preset, folder, hf:// or kaggle:// handle.",
    )
    texts: tuple[str, ...] = setting(
        dataclasses.MISSING,
        "Text without labels: a .txt file of one text a line, a table (CSV and so on), or a data "
        "set as --dataset of distill has it, of which train is taken. Give it again for more.",
    )
    text_column: str | None = setting(
        None, "Column of the text in a table, which needs no label. Default: text."
    )
    unit: str = setting(
        "text", "What of them is a row: each text, or each sentence.", choices=("text", "sentence")
    )
    max_rows: int | None = setting(None, "Use only the first rows of each.", 2)
    data_dir: Path | None = setting(
        None, "Folder that holds the data sets. Also read from TFKD_DATA_DIR."
    )
    student: str = setting("bert_tiny", "Size word of the student, see `tfkd list models`.")
    pooling: str = setting("auto", "How the student's tokens become one vector.", choices=POOLINGS)
    encoder_pooling: str = setting(
        "auto", "How the encoder's tokens become one vector.", choices=POOLINGS
    )
    encoder_sequence_length: int | None = setting(
        None, "Longest text for the encoder, as --sequence-length.", 4, 4096
    )
    sequence_length: int | None = setting(
        None,
        "Longest text for the student, in tokens; longer ones are cut. Default: what 99 of 100 "
        "texts have, at most 256.",
        4,
        4096,
    )
    validation_fraction: float = setting(
        0.02, "Share of the texts held out to choose an epoch by.", 0.001, 0.5
    )
    epochs: int | None = setting(
        None, "Passes over the texts. Default: 3, and up to 30 for few rows.", 1
    )
    batch_size: int = setting(64, "Training examples a step.", 2)
    seed: int = setting(0, "Seed of every random choice.", 0, MAX_SEED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AwareConfig(Config):
    """Settings of the recipes that train; the rest is as the run trained its student."""

    heading: ClassVar[str] = "Recipes that train"

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

    heading: ClassVar[str] = "Model"
    first: ClassVar[tuple[str, ...]] = (
        *("dataset", "text_column", "label_columns", "model", "epochs", "output_dir"),
    )

    model: str | None = setting(
        None,
        "Preset, folder, hf:// or kaggle:// handle, or size word (such as bert_tiny: built from "
        "scratch). Default: the data set's.",
    )
    pooling: str = setting("auto", "How tokens become one vector.", choices=POOLINGS)
    sequence_length: int | None = setting(
        None,
        "Longest text in tokens; longer ones are cut. Default: what 99 of 100 training texts have, "
        "at most 256.",
        4,
        4096,
    )
    layers: tuple[int, ...] | None = setting(
        None, "Layers of a pretrained encoder to keep, counted from 0. Default: all."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BottleneckConfig(Config):
    """A student that is a frozen encoder with a discrete key-value bottleneck behind it."""

    heading: ClassVar[str] = "Key-value bottleneck"

    bottleneck: str | None = setting(
        None,
        "Freeze the student's encoder and train a key-value bottleneck on it: values side by side "
        "under a dense layer (mlp), or values that are logits (values). Default: none.",
        choices=BOTTLENECK_DECODERS,
    )
    bottleneck_codebooks: int | None = setting(
        None, "Slices of a token's vector, a codebook each. Default: of 12 numbers each.", 1
    )
    bottleneck_keys: int = setting(1024, "Keys, and values, of a codebook.", 1, 65536)
    bottleneck_key_source: str = setting(
        "data",
        "Keys from the training texts without their labels (data), or those of a teacher with the "
        "same bottleneck (teacher).",
        choices=("data", "teacher"),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherConfig(Config):
    """Whom a student learns from, and how that one is fine-tuned."""

    heading: ClassVar[str] = "Teacher"

    teacher: str | None = setting(
        None, "As --model of finetune, or a finished run. Default: the data set's."
    )
    teacher_answers: tuple[Path, ...] = setting(
        (),
        "In place of --teacher: a file of answers to the texts, by id or text: probabilities, "
        "logits, logprobs, or label and confidence; or a folder of `tfkd predict`. Give it again "
        "to mix several.",
    )
    teacher_epochs: int | None = setting(
        None,
        "Epochs of the teacher's fine-tuning, if it needs one. Default: 3, and up to 10 for few "
        "rows.",
        1,
    )
    teacher_batch_size: int = setting(32, "Batch size of the teacher's fine-tuning.", 1)
    teacher_learning_rate: float | None = setting(
        None, "Peak learning rate of the teacher's fine-tuning. Default: the model's own.", 1e-8, 1
    )
    teacher_pooling: str = setting(
        "auto", "How the teacher's tokens become one vector.", choices=POOLINGS
    )
    teacher_precision: str = setting(
        "auto", "Products of the teacher's fine-tuning, as --precision.", choices=PRECISIONS
    )
    teacher_sequence_length: int | None = setting(
        None, "Longest text for the teacher, as --sequence-length.", 4, 4096
    )
    teacher_seed: int = setting(
        0, "Seed of the teacher's fine-tuning; --seed is the student's.", 0, MAX_SEED
    )
    teacher_layers: tuple[int, ...] | None = setting(
        None, "Layers of the teacher's encoder to keep, counted from 0. Default: all."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig(BottleneckConfig, AwareConfig, TeacherConfig, TrainingConfig):
    """Settings of `tfkd distill`: a student, its control, its files and the table."""

    heading: ClassVar[str] = "Student"
    first: ClassVar[tuple[str, ...]] = (
        *("dataset", "text_column", "label_columns", "teacher", "teacher_answers", "unlabelled"),
        *("student", "epochs", "recipes", "output_dir"),
    )

    student: str | None = setting(
        None,
        "Preset, folder, handle, or size word (such as bert_tiny: built from scratch). Default: "
        "the data set's.",
    )
    pooling: str = setting("auto", "How the student's tokens become one vector.", choices=POOLINGS)
    sequence_length: int | None = setting(
        None,
        "Longest text for the student, in tokens; longer ones are cut. Default: what 99 of 100 "
        "training texts have, at most 256.",
        4,
        4096,
    )
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
    max_mb: float | None = setting(
        None,
        "Largest file allowed, in megabytes of 10^6 bytes: architecture (of --student, if given), "
        "vocabulary and recipe are chosen on the validation rows.",
        0.0,
    )
    max_ms: float | None = setting(
        None, "The same for the milliseconds that one text may take on one core here.", 0.0
    )
    scoring: str = setting(
        "auto",
        "How the teacher answers the training texts: by its Keras model in float32 (exact), or "
        "the quickest way that some hundred rows show to agree with that (auto).",
        choices=("auto", "exact"),
    )
    temperature: float = setting(2.0, "Softens teacher and student; 1 = not at all.", 1.0, 100.0)
    student_loss_weight: float = setting(
        STUDENT_LOSS_WEIGHT, "Weight of the label loss; the rest goes to the teacher.", 0.0, 1.0
    )
    augmented_copies: int | None = setting(
        None,
        "Altered copies of each text, which the teacher answers; no labels. Default: up to 8 for "
        "few texts, none for many.",
        0,
        100,
    )
    unlabelled: str | None = setting(
        None,
        "Text without labels for the teacher to answer: a table (CSV and so on) with a text "
        "column, a .txt file of one text a line, or a data set as --dataset has it, of which "
        "train is taken.",
        old_name="transfer_texts",
    )
    transfer_unit: str = setting(
        "text", "What of it is a row: each text, or each sentence.", choices=("text", "sentence")
    )
    max_transfer_rows: int | None = setting(None, "Use only the first rows of it.", 1)
    distillation_loss: str = setting(
        "kl",
        "What the student learns of the teacher: its softened distribution (kl); its logits by "
        "their squared error (mse) or the label it decides for (hard), for which the temperature "
        "is without effect.",
        choices=("kl", "mse", "hard"),
    )
    control: bool = setting(True, "Also train the control: the equal student without the teacher.")
    recipes: tuple[str, ...] = setting(
        DEFAULT_RECIPES, "LiteRT files to write; those of qat_* train first.", choices=RECIPE_NAMES
    )
    timing: bool = setting(True, "Also time the models and measure their memory.")
    folds: int | None = setting(
        None,
        "First have so many parts of one file take turns as test, each with its own teacher, so "
        "that every row is tested: for small sets.",
        2,
        100,
    )
    epochs: int | None = setting(
        None, "Passes over the training rows. Default: 4, and up to 60 for few rows.", 1
    )
    batch_size: int = setting(64, "Training examples a step.", 1)

    @property
    def is_bounded(self) -> bool:
        """Whether the student is to be found within a budget."""
        return self.max_mb is not None or self.max_ms is not None
