"""What reads the files of a run, its teacher, its cache and a study: for corruption.py."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tfkd.artifacts import RunFolder
from tfkd.compression.litert import LiteRTModel
from tfkd.config.training import AwareConfig, DistillConfig
from tfkd.config.verbs import PredictConfig
from tfkd.distillation.backup import Backup, Position, save_variables
from tfkd.errors import ArtifactError
from tfkd.evaluation.memory import FreshStart
from tfkd.models.bottleneck import find_bottleneck
from tfkd.models.checkpoints import resolve
from tfkd.models.classifier import TextClassifier
from tfkd.models.encoder import build_encoder_classifier, encoder_from_scratch
from tfkd.models.sizes import ModelEntry
from tfkd.progress import Progress
from tfkd.reports.predictions import NAME as PREDICTIONS
from tfkd.runs import costs
from tfkd.runs.aware import AwareTraining
from tfkd.runs.known_texts import PATH, check_held_out
from tfkd.runs.material import Material, prepare
from tfkd.runs.own_data import own_config
from tfkd.runs.record import KeptMixture, noted_teacher, read_metrics
from tfkd.runs.routes import EXACT_ROUTE, Demand, Routes
from tfkd.runs.student import bottleneck_student, set_keys
from tfkd.runs.teacher import Teacher
from tfkd.runs.trained_part import trained_part_rows
from tfkd.runs.training import training_record
from tfkd.runs.trial import EXACT, Trial
from tfkd.studies.form import kept_plan
from tfkd.studies.table import collect
from tfkd.workflows.errors import errors
from tfkd.workflows.predict import predict

TEXTS = ("Oil prices fell again.", "The striker scored late.", "A new phone for the river bank")
ALONE = "file alone"
AWARE = "qat_int8"
ENCODER = "encoder"

Tell = Callable[[str], None]
# Asks what reads a file; told what is made anew. None where it starts from nothing.
Reader = Callable[[Tell], Any]


@dataclasses.dataclass(frozen=True)
class Target:
    """Files that one reader follows.

    Attributes:
        name: Of the reader.
        files: Paths of the files.
        read: `Reader`.
    """

    name: str
    files: list[Path]
    read: Reader


def targets(run: RunFolder, recipes: tuple[str, ...], study: Path | None = None) -> list[Target]:
    """What reads the files of a run, of its teacher, of its cache and of a study.

    Args:
        run: `RunFolder` of a finished distillation.
        recipes: Strings. Its LiteRT files.
        study: Path of a finished study's folder, if there is one.
    """
    teacher = noted_teacher(run)
    if teacher is None:
        raise ValueError("Expected a run with a teacher.")
    material = prepare(own_config(run, None, None), run.path.parent, Progress(quiet=True))
    asked = Teacher(TextClassifier.load(teacher), teacher, np.zeros(0))
    encoder = _encoder(run, asked.classifier, material)
    found = [
        *_run_targets(run, teacher),
        *(target for recipe in recipes for target in _file_targets(run, recipe)),
        _cache_target(asked, material),
        _bottleneck_target(run, encoder, material),
        _words_target(encoder, material),
        _trial_target(asked, material),
        _memory_target(run, material),
        _known_target(teacher, material),
        _backup_target(run),
    ]
    if AWARE in recipes:
        found.append(_aware_target(run, material))
    return [*found, *([_study_target(study)] if study else [])]


def _run_targets(run: RunFolder, teacher: Path) -> list[Target]:
    """Models, settings and figures."""
    found = [
        Target(
            "predict",
            _files(run.model, "*.keras", "*.txt", "classifier.json", "tokenizer/*"),
            lambda tell: _predicted(run, None),
        ),
        Target("settings", [run.config], lambda tell: run.read_config()),
        Target("metrics", [run.metrics], lambda tell: _figures(run)),
        Target("predictions", [run.path / PREDICTIONS], lambda tell: errors(run.path).to_dict()),
        Target(
            "control",
            _files(run.path / "control", "*", "tokenizer/*"),
            lambda tell: _asked(run.path / "control"),
        ),
        Target("teacher", _files(teacher, "*", "tokenizer/*"), lambda tell: _asked(teacher)),
    ]
    for path in _files(run.path / "training", "*[!gs].json"):
        found.append(Target("training", [path], lambda tell, p=path: training_record(run, p.stem)))
    return found


def _file_targets(run: RunFolder, recipe: str) -> list[Target]:
    """A LiteRT file in its folder and without."""
    beside = _files(run.model, f"{recipe}.*", "classifier.json", "tokenizer/*")
    alone = run.path.parent / "alone" / f"{recipe}.tflite"
    alone.parent.mkdir(exist_ok=True)
    shutil.copy(run.model / alone.name, alone)
    return [
        Target(f"predict {recipe}", beside, lambda tell: _predicted(run, recipe)),
        Target(ALONE, [alone], lambda tell: _alone(alone)),
    ]


def _files(folder: Path, *patterns: str) -> list[Path]:
    return [path for one in patterns for path in sorted(folder.glob(one)) if path.is_file()]


def _predicted(run: RunFolder, recipe: str | None) -> Any:
    config = PredictConfig(run=run.path, recipe=recipe)
    return [answer.to_dict() for answer in predict(config, TEXTS)]


def _figures(run: RunFolder) -> Any:
    return str(noted_teacher(run)), KeptMixture.read(run), read_metrics(run)


def _asked(folder: Path) -> Any:
    classifier = TextClassifier.load(folder)
    return classifier.label_names, classifier.predict(TEXTS).tolist()


def _alone(path: Path) -> Any:
    model, random = LiteRTModel(path), np.random.default_rng(0)
    rows = random.integers(1, 20, (4, model.lengths[0])).astype(np.int32)
    arrays = {name: np.ones_like(rows) for name in model.input_names} | {"token_ids": rows}
    return model.predict_encoded(arrays).tolist()


def _listening(material: Material, tell: Tell) -> Material:
    material.progress.say = tell  # type: ignore[method-assign]
    return material


def _cache_target(teacher: Teacher, material: Material) -> Target:
    """Tokens of all splits and the teacher's answers to two of them."""

    def read(tell: Tell) -> Any:
        heard, found = _listening(material, tell), list[Any]()
        for split in ("train", "validation", "test"):
            tokens = heard.tokens(split, teacher.classifier.tokenizer)
            found += [np.asarray(tokens.token_ids).tolist(), np.asarray(tokens.labels).tolist()]
            arrays = tokens.arrays(np.arange(len(tokens)))
            found += [values.tolist() for values in arrays.values()]
        for split in ("train", "test"):
            found.append(teacher.answers(split, heard, Demand()).logits.tolist())
        return found

    read(lambda line: None)
    return Target("cache", _files(material.cache, "tokens/*/*", "teacher_logits/*/*"), read)


def _encoder(run: RunFolder, teacher: TextClassifier, material: Material) -> TextClassifier:
    """An untrained classifier with an encoder, saved beside the run."""
    entry = ModelEntry("tiny", "bert", "", 1e-3, 1, 24, 2)
    tokenizer, dataset = teacher.tokenizer, material.dataset
    encoder = encoder_from_scratch(entry, tokenizer.vocabulary_size)
    model = build_encoder_classifier(encoder, dataset.num_outputs)
    found = TextClassifier(model, tokenizer, dataset.task, dataset.label_names)
    found.save(run.path.parent / ENCODER)
    return found


def _bottleneck_target(run: RunFolder, encoder: TextClassifier, material: Material) -> Target:
    """Keys of a frozen encoder, and which of them each token is nearest to."""
    config = DistillConfig(
        dataset=material.dataset.name, bottleneck="mlp", bottleneck_keys=8, sequence_length=24
    )
    source = resolve(str(run.path.parent / ENCODER))
    student = bottleneck_student(config, source, encoder, material)
    layer = find_bottleneck(student.model)

    def read(tell: Tell) -> Any:
        heard = _listening(material, tell)
        set_keys(student, heard, config.seed)
        rows = trained_part_rows(student, "test", heard)
        arrays = rows.arrays(np.arange(len(rows)))
        keys = np.asarray(layer.keys.keys) if layer else np.zeros(0)
        return keys.tolist(), {name: values.tolist() for name, values in arrays.items()}

    read(lambda line: None)
    return Target("bottleneck", _files(material.cache, "keys/*", "readings/*/*"), read)


def _words_target(encoder: TextClassifier, material: Material) -> Target:
    """An encoder's vectors of words, by which texts are altered."""
    config = DistillConfig(dataset=material.dataset.name, augmented_copies=1)

    def read(tell: Tell) -> Any:
        wider = _listening(material, tell).with_transfer(config, encoder)
        return wider.summaries[wider.transfer].fingerprint

    read(lambda line: None)
    return Target("words", _files(material.cache, "words/*"), read)


def _trial_target(teacher: Teacher, material: Material) -> Target:
    """A trial by which the way to a teacher's answers is chosen."""
    tokens = material.tokens("train", teacher.classifier.tokenizer)
    path, random = material.cache / "teacher_trials" / "mark.npz", np.random.default_rng(0)
    trial = Trial(np.arange(20))
    for number, name in enumerate((EXACT, "bfloat16")):
        trial.logits[name] = random.normal(size=(20, 3)).astype(np.float32)
        trial.rows_per_second[name] = 100.0 + number
    trial.save(path)

    def read(tell: Tell) -> Any:
        progress = _listening(material, tell).progress
        routes = Routes(teacher.classifier, teacher.folder, tokens, material.cache, progress)
        route = routes.choose(path.stem, 1.0)
        # Of so few rows no other trial is made.
        return None if route == EXACT_ROUTE else route.to_dict()

    return Target("trial", _files(path.parent, "*"), read)


def _memory_target(run: RunFolder, material: Material) -> Target:
    """Figures of memory; what a process would measure anew is a constant here."""
    files, kept = costs.model_files(run)[-1:], material.cache / "memory"

    def read(tell: Tell) -> Any:
        measured = FreshStart(400_000_000, 1.0)
        with mock.patch.object(costs, "fresh_start", lambda *asked: measured):
            return costs.measure_memory(files, TEXTS, _listening(material, tell).progress, kept)

    read(lambda line: None)
    return Target("memory", _files(kept, "*"), read)


def _known_target(teacher: Path, material: Material) -> Target:
    """Texts that the teacher has learned from; of the rows that are held out here it knows all."""
    splits, summaries = dict(material.dataset.splits), dict(material.summaries)
    for rows in (splits, summaries):
        rows["train"], rows["test"] = rows["test"], rows["train"]
    dataset = dataclasses.replace(material.dataset, splits=splits)
    other = dataclasses.replace(material, dataset=dataset, summaries=summaries)
    source = resolve(str(teacher.parent))

    def read(tell: Tell) -> Any:
        try:
            return check_held_out(source, _listening(other, tell))
        except ArtifactError as error:
            if "to know no row that is held out" in str(error):
                return str(error)
            raise

    return Target("known texts", _files((teacher.parent / PATH).parent, f"{PATH.stem}.*"), read)


def _aware_target(run: RunFolder, material: Material) -> Target:
    """What a recipe that trains has learned; None where it would be learned anew."""
    student, folder = TextClassifier.load(run.model), run.path / "qat"

    def read(tell: Tell) -> Any:
        heard = _listening(material, tell)
        training = AwareTraining(run, student, heard, AwareConfig(), lambda: None)
        return (folder / f"{AWARE}.npz").read_bytes() if training.is_kept(AWARE) else None

    return Target("qat", _files(folder, "*"), read)


def _study_target(study: Path) -> Target:
    """The table of a study."""
    files = _files(study, "plan.json", "*-times.json", "*/scores.*", "*/metrics.json")
    return Target("study", files, lambda tell: collect(kept_plan(study)).to_dict())


def _backup_target(run: RunFolder) -> Target:
    """A training that was interrupted."""
    model = TextClassifier.load(run.path / "control").model
    folder = run.path / "unfinished" / "student"
    position = Position(epoch=2, best_epoch=1, history=[{"loss": 1.0}, {"loss": 0.5}])
    save_variables(folder / "best.npz", model.variables)
    backup = Backup(folder, model.variables, 60.0)
    backup.save(position)

    def read(tell: Tell) -> Any:
        found = backup.restore(tell)
        return None if found == Position() else (found, [v.numpy().tolist() for v in model.weights])

    return Target("backup", _files(folder, "*"), read)
