"""The teacher of a run: taken ready or fine-tuned here, asked once, its answers kept."""

import dataclasses
from pathlib import Path

import numpy as np

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.distillation.mixture import mixture
from tfkd.distillation.teacher_logits import load_or_score
from tfkd.errors import ArtifactError
from tfkd.models.checkpoints import Kind, Source
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, check_classes, load_classifier
from tfkd.progress import Progress
from tfkd.training_config import DistillConfig, FinetuneConfig
from tfkd.workflows.arms import with_thresholds
from tfkd.workflows.choices import slug
from tfkd.workflows.finetune import finetune
from tfkd.workflows.mixtures import KeptMixture
from tfkd.workflows.preparation import Material


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A teacher and what it says.

    Attributes:
        classifier: `TextClassifier`.
        folder: Its model folder.
        test_logits: float32 `[num_test_rows, num_outputs]`.
    """

    classifier: TextClassifier
    folder: Path
    test_logits: np.ndarray

    def answers(self, split: str, material: Material) -> np.ndarray:
        """Its logits of a split, from the cache or asked now: float32 `[num_rows, num_outputs]`."""
        return _logits(self.classifier, self.folder, split, material)


def prepare_teacher(
    config: DistillConfig, source: Source, material: Material, run: RunFolder
) -> Teacher:
    """Finds or makes the teacher's classifier and its logits.

    Args:
        config: `DistillConfig`.
        source: `Source` of the teacher.
        material: `Material`.
        run: `RunFolder` of the distillation.
    """
    folder = _folder(config, source, material, run)
    classifier = check_classes(TextClassifier.load(folder), material.dataset, source.name)
    return Teacher(classifier, folder, _logits(classifier, folder, "test", material))


def train_logits(run: RunFolder, material: Material) -> np.ndarray | None:
    """What the teachers of a finished run say to the training rows, from the cache or asked again.

    Args:
        run: `RunFolder` of `tfkd distill` or `tfkd finetune`.
        material: `Material` of the run's own data set.

    Returns:
        float32 `[num_train_rows, num_outputs]`, or None for a run without a teacher.

    Raises:
        ArtifactError: The teacher's folder is gone.
    """
    kept = KeptMixture.read(run)
    if kept is not None:
        heard = [_kept_logits(run, Path(folder), material) for folder in kept.folders.values()]
        temperature = run.read_config()["temperature"]
        return mixture(material.dataset.task, heard, temperature, kept.mixing)
    noted = artifacts.read_json(run.metrics).get("teacher_folder")
    return None if noted is None else _kept_logits(run, Path(noted), material)


def _kept_logits(run: RunFolder, folder: Path, material: Material) -> np.ndarray:
    """A former teacher's logits of the training rows."""
    if not (folder / "classifier.json").is_file():
        raise ArtifactError(
            f"Expected the teacher of {run.path} in {folder}. It is not there. Start the command "
            "where the run was made, or make the run again."
        )
    return _logits(TextClassifier.load(folder), folder, "train", material)


def _folder(config: DistillConfig, source: Source, material: Material, run: RunFolder) -> Path:
    """The model folder of a ready teacher, or of one fine-tuned now or before."""
    if source.kind is Kind.RUN and source.folder is not None:
        return source.folder
    if source.is_ready:
        folder = run.path / "teacher"
        if not (folder / "classifier.json").is_file():
            shape = Shape(
                config.teacher_sequence_length, config.teacher_pooling, config.teacher_seed
            )
            with_thresholds(load_classifier(source, material.dataset, shape), material).save(folder)
        return folder
    return finetuned(finetune_config(config, source, run), material.progress)


def finetuned(settings: FinetuneConfig, progress: Progress) -> Path:
    """The model folder of a teacher, fine-tuned now or by an earlier session.

    Args:
        settings: `FinetuneConfig`, with `model` and `output_dir`.
        progress: Where to show it.

    Raises:
        ArtifactError: The folder holds a teacher made with other settings.
    """
    made = RunFolder(settings.output_dir or Path())
    if not made.is_finished:
        finetune(settings, progress)
    found = made.difference("finetune", settings.to_dict())
    if found is not None:
        key, before, value = found
        raise ArtifactError(
            f"Expected the teacher in {made.path} to be made with {key}={value!r}. Received: "
            f"{key}={before!r}. Give --teacher {made.path} to take it as it is, or delete it."
        )
    return made.model


def finetune_config(config: DistillConfig, source: Source, run: RunFolder) -> FinetuneConfig:
    """The settings of `tfkd finetune` that make this run's teacher, beside the run.

    Only the `teacher_*` settings and the data decide: students trained otherwise share a teacher.
    """
    shared = (
        "dataset",
        "data_dir",
        "validation_fraction",
        "test_split",
        "max_train_rows",
        "split_seed",
        "quiet",
        "backup_seconds",
    )
    own = (
        "epochs",
        "batch_size",
        "learning_rate",
        "pooling",
        "sequence_length",
        "precision",
        "seed",
        "layers",
    )
    return FinetuneConfig(
        model=source.name,
        output_dir=run.path.parent / f"{slug(config.dataset)}-{source.slug}-finetuned",
        **{name: getattr(config, name) for name in shared},
        **{name: getattr(config, f"teacher_{name}") for name in own},
    )


def _logits(classifier: TextClassifier, folder: Path, split: str, material: Material) -> np.ndarray:
    """A teacher's logits of a split, from the cache or scored now.

    Args:
        classifier: `TextClassifier`.
        folder: Path of its model folder.
        split: String. "train", "validation" or "test".
        material: `Material`.

    Returns:
        float32 `[num_rows, num_outputs]`.
    """
    mark = artifacts.fingerprint(
        {
            "teacher": artifacts.read_json(folder / "classifier.json")["model_sha256"],
            "tokenizer": classifier.tokenizer.fingerprint,
            "sequence_length": classifier.tokenizer.sequence_length,
            "data": material.summaries[split].fingerprint,
            "num_rows": material.summaries[split].num_rows,
        }
    )
    return load_or_score(
        classifier,
        material.tokens(split, classifier.tokenizer),
        material.cache / "teacher_logits" / mark,
        mark,
        material.progress,
    )
