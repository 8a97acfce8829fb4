"""Meaning of the names in a training verb's settings, found out before TensorFlow is loaded.

A typo or a hub that cannot be reached is said in a second or two, not after eight of imports.
"""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

from tfkd.artifacts import RunFolder
from tfkd.config.fields import nearest
from tfkd.config.training import (
    DEFAULT_RECIPES,
    DistillConfig,
    OptimizerConfig,
    PretrainConfig,
    TrainingConfig,
)
from tfkd.data import catalog, sources
from tfkd.data.columns import ColumnNames, Reading
from tfkd.data.transfer import texts_of
from tfkd.errors import ConfigError, DatasetError, ModelError, TfkdError
from tfkd.models import sizes
from tfkd.models.checkpoints import Kind, Source, resolve
from tfkd.models.depth import check_depth
from tfkd.parts import part_folder
from tfkd.written_files import remove_run

# Setting that names a model, and the catalogue's default for it.
ROLES = {"model": "teacher", "student": "student", "teacher": "teacher"}
SMALLEST = "cnn_small"
DEFAULTS = {"teacher": "bert_base_en_uncased", "student": "bert_tiny_en_uncased"}


def check_names(config: OptimizerConfig) -> None:
    """Refuses a data set, a text file or a model that cannot be had.

    Raises:
        ConfigError: The data set's name is unknown.
        DatasetError: The data set cannot be had.
        ModelError: A model is unknown or cannot be had.
    """
    if isinstance(config, PretrainConfig):
        choose_encoder(config)
        names = ColumnNames(config.text_column)
        load = functools.partial(sources.load_texts, data_dir=config.data_dir, names=names)
        for text in config.texts:
            texts_of(text, load, "--text")
    elif isinstance(config, TrainingConfig):
        sources.load(config.dataset, config.data_dir, reading=Reading.of(config))
        choose(config)


def choose_encoder(config: PretrainConfig) -> Source:
    """The encoder that a general student learns from.

    Raises:
        ModelError: It is unknown, cannot be had, is untrained or a published classifier; or the
            student is no size word.
    """
    if config.student not in sizes.SIZE_WORDS:
        raise ModelError(
            f"Expected a size word as --student of pretrain. Received: {config.student!r}. "
            f"{nearest(config.student, list(sizes.SIZE_WORDS))}"
        )
    found = resolve(config.encoder)
    if found.kind is Kind.SIZE or (found.is_ready and found.kind is not Kind.RUN):
        what = "untrained" if found.kind is Kind.SIZE else "a classifier"
        raise ModelError(
            f"Expected a trained encoder to learn from. Received: {found.name}, which is {what}. "
            "Give a preset, folder or handle of an encoder, or a finished run."
        )
    return found


def choose(config: TrainingConfig) -> dict[str, Source]:
    """The models of a training verb by the setting that names them.

    Raises:
        ConfigError: The student's vocabulary is to be cut, and it brings its own; a bottleneck is
            to be put on a student without a trained encoder; or a teacher's answers are given
            beside what only its model can do.
        DatasetError: A file of answers is missing.
        ModelError: A model is unknown or cannot be had, or has no layers to keep some of.
    """
    roles = {setting: role for setting, role in ROLES.items() if hasattr(config, setting)}
    if isinstance(config, DistillConfig) and config.teacher_answers:
        _check_answers(config)
        del roles["teacher"]
    found = {
        setting: resolve(getattr(config, setting) or default_model(config.dataset, role))
        for setting, role in roles.items()
        if setting != "student" or not _is_searched(config)
    }
    if _is_searched(config):
        # Until the search has found it.
        found["student"] = Source(SMALLEST, Kind.SIZE)
    for setting, source in found.items():
        check_depth(source, getattr(config, f"{setting}_layers", getattr(config, "layers", None)))
    if isinstance(config, DistillConfig):
        check_student(config, found["student"])
    return found


def _is_searched(config: TrainingConfig) -> bool:
    """Whether the student is any that keeps to a budget."""
    return isinstance(config, DistillConfig) and config.is_bounded and config.student is None


@contextlib.contextmanager
def put_back_if_refused(run: RunFolder, overwrite: bool = False) -> Iterator[Path | None]:
    """Takes away what the block wrote into a new run's folder when it is refused.

    Else the refused settings would hold the folder, and keep the corrected command out.

    Args:
        run: `RunFolder`. One that was there before stays as it is.
        overwrite: Boolean. The block replaces the run.

    Yields:
        A folder for what is replaced, which is put back as well, also after Ctrl-C while a teacher
        is trained; None for none.
    """
    was_there, is_new = run.path.exists(), not run.is_run
    before = set(run.path.rglob("*"))
    is_replaced = overwrite and not is_new
    place = part_folder(run.path / "replaced") if is_replaced else contextlib.nullcontext()
    with place as aside:
        try:
            yield aside
        except BaseException as error:
            if aside is not None and any(aside.iterdir()):
                remove_run(run.path)
                remove_run(aside, run.path)
            elif is_new and isinstance(error, TfkdError) and run.path.exists():
                # Files before the folders they are in.
                for path in sorted(set(run.path.rglob("*")) - before, reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
                if not was_there:
                    run.path.rmdir()
            raise


def check_student(config: DistillConfig, student: Source) -> None:
    """Refuses settings that the student cannot have.

    Raises:
        ConfigError: Its vocabulary is to be cut, and it brings its own; a bottleneck is to be put
            on a student without a trained encoder; what a budget decides is given; or there are no
            texts to take some of.
    """
    _check_vocabulary(config, student)
    _check_budget(config)
    _check_bottleneck(config, student)
    _check_transfer(config)


def _check_vocabulary(config: DistillConfig, student: Source) -> None:
    is_cut = config.vocabulary_size is not None or config.min_count is not None
    if (is_cut or config.is_bounded) and student.kind is not Kind.SIZE:
        cuts = ("--vocabulary-size", "--min-count") if is_cut else ("--max-mb", "--max-ms")
        raise ConfigError(
            "Expected a student by size word, such as bert_tiny, to cut the vocabulary of. "
            f"Received: {student.name}, which brings its own. Leave out {' and '.join(cuts)}."
        )


def _check_budget(config: DistillConfig) -> None:
    decided = {
        "--vocabulary-size": config.vocabulary_size is not None,
        "--min-count": config.min_count is not None,
        "--recipe": config.recipes != DEFAULT_RECIPES,
        "--bottleneck": config.bottleneck is not None,
    }
    for name, is_given in decided.items():
        if config.is_bounded and is_given:
            raise ConfigError(
                f"Expected --max-mb or --max-ms without {name}, which they decide. Received both. "
                "Leave one out."
            )


def _check_bottleneck(config: DistillConfig, student: Source) -> None:
    if config.bottleneck is None:
        return
    if student.kind is Kind.SIZE:
        raise ConfigError(
            "Expected a student with a trained encoder to put a bottleneck on. Received: "
            f"{student.name}. Give a preset such as distil_bert_base_en_uncased, a folder, or a "
            "run, for example the teacher's."
        )
    if config.pooling not in ("auto", "mean"):
        raise ConfigError(
            "Expected pooling mean for a student with a bottleneck, which averages its values. "
            f"Received: {config.pooling}. Leave --pooling out."
        )
    trained = [name for name in config.recipes if name.startswith("qat_")]
    if trained:
        raise ConfigError(
            "Expected recipes that need no training for a student with a bottleneck. Received: "
            f"{', '.join(trained)}. Quantize it after training: --recipe dynamic_int8."
        )


def _check_answers(config: DistillConfig) -> None:
    asks_a_model = {
        "--teacher": config.teacher is not None,
        "--augmented-copies": bool(config.augmented_copies),
        "--bottleneck-key-source teacher": config.bottleneck_key_source == "teacher",
    }
    for name, is_given in asks_a_model.items():
        if is_given:
            raise ConfigError(
                f"Expected --teacher-answers without {name}: there is no model to ask. Received "
                "both. Leave one out; a model's answers come from `tfkd predict --all-classes`."
            )
    for path in config.teacher_answers:
        if not path.exists():
            raise DatasetError(
                f"Expected a file of answers. Received: {path}, which is not there. Correct "
                "--teacher-answers."
            )


def _check_transfer(config: DistillConfig) -> None:
    is_cut = config.transfer_unit != "text" or config.max_transfer_rows is not None
    if is_cut and config.unlabelled is None:
        raise ConfigError(
            "Expected --unlabelled with --transfer-unit and --max-transfer-rows. Received: no "
            "texts. Give a .txt file or a data set, or leave both out."
        )


def slug(dataset: str) -> str:
    """A data set's name or path as part of a folder's name."""
    return (
        Path(dataset.rstrip("/")).name.split(".")[0]
        if Path(dataset).exists()
        else (dataset.replace("/", "_"))
    )


def run_name(config: DistillConfig, student: Source) -> str:
    """The folder of a distilled student that is given none."""
    if config.is_bounded:
        limits = ((config.max_mb, "mb"), (config.max_ms, "ms"))
        words = [f"{limit:g}{unit}" for limit, unit in limits if limit is not None]
        return "-".join([slug(config.dataset), "within", *words])
    end = "-bottleneck" if config.bottleneck else ""
    return f"{slug(config.dataset)}-{student.slug}{end}"


def default_model(dataset: str, role: str) -> str:
    """The catalogue's teacher or student for a data set."""
    try:
        return getattr(catalog.find(dataset), role)
    except ConfigError:
        return DEFAULTS[role]
