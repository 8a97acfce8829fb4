"""`tfkd export`: a finished run's model as files for other programs, each through the gate."""

import contextlib
from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.compression import formats, package, recipes
from tfkd.compression.export import HeldOut
from tfkd.compression.export import export as export_recipes
from tfkd.compression.parity import check_replaceable
from tfkd.config.training import DEFAULT_RECIPES
from tfkd.config.verbs import TOKENS, ExportConfig
from tfkd.errors import ArtifactError, ConfigError
from tfkd.locks import held
from tfkd.models.classifier import TextClassifier
from tfkd.parts import remove_parts
from tfkd.progress import Progress
from tfkd.runs.files import PARITY_TEXTS, ExportResult, calibration, say_conversion
from tfkd.runs.material import Material, first_texts
from tfkd.runs.own_data import own_material
from tfkd.runs.settings import settings_of

# What a LiteRT file that takes tokens needs in its folder.
BESIDE = ("tokenizer", "labels.txt", "classifier.json")


def export(
    config: ExportConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> ExportResult:
    """Writes the files of a run's main model that are asked for.

    Args:
        config: `ExportConfig`.
        progress: `Progress` that shows what is done.
        **given: The settings as keywords instead.

    Returns:
        `ExportResult`.

    Raises:
        ArtifactError: The folder is no finished run, or a file is there already.
        ConfigError: A recipe or length is not for this format.
        ConversionError: A file could not be converted or did not pass its gate.
        ModelError: The model has no file of this format.
    """
    config = settings_of(ExportConfig, config, given)
    progress = progress or Progress()
    run = RunFolder(config.run)
    run.read_config()
    folder = config.output_dir or run.model
    targets = _targets(config, folder)
    for path in targets.values():
        if path.exists() and not config.overwrite:
            raise ArtifactError(
                f"Expected no file {path}. It exists. Add --overwrite to replace it, or give "
                "another --output-dir."
            )
        # In a run these names are tfkd's own, record or not.
        if folder != run.model or path.is_dir():
            check_replaceable(path)
    if config.format == TOKENS and folder != run.model:
        _check_beside(run.model, folder, config.overwrite)
    material = own_material(run, config, progress)
    # A run that is only read may lie where nothing can be written.
    hold = held(run.path, "export") if folder == run.model else contextlib.nullcontext()
    with hold:
        return _export(config, run, folder, targets, material)


def _export(
    config: ExportConfig,
    run: RunFolder,
    folder: Path,
    targets: dict[str, Path],
    material: Material,
) -> ExportResult:
    """Writes the files that nothing speaks against."""
    progress, seed = material.progress, run.read_config()["seed"]
    remove_parts(folder)
    classifier = TextClassifier.load(run.model)
    texts = first_texts(material.dataset.splits["validation"], PARITY_TEXTS)
    if config.format == TOKENS:
        found = calibration(tuple(targets), classifier, material, seed)
        say_conversion(progress, list(targets), texts)
        files = export_recipes(
            run.model, HeldOut(classifier, texts), list(targets), config.lengths, folder, found
        )
        for name in BESIDE if folder != run.model else ():
            _copy(run.model / name, folder / name)
        return ExportResult(
            {name: file.path for name, file in files.items()},
            {name: file.report.to_dict() for name, file in files.items()},
        )
    packages = {}
    for recipe, path in targets.items():
        progress.say(f"write {path} and compare on {len(texts)} held-out texts")
        found = calibration((recipe,), classifier, material, seed)
        order = package.Order(config.format, path, recipe, max(config.lengths, default=0), found)
        packages[path.stem] = package.export_package(order, run.model, classifier, texts)
    return ExportResult(
        {name: made.path for name, made in packages.items()},
        {name: made.to_dict() for name, made in packages.items()},
    )


def _targets(config: ExportConfig, folder: Path) -> dict[str, Path]:
    """The file of each recipe."""
    if config.format == TOKENS:
        for name in config.recipes:
            if recipes.find(name).trained:
                raise ConfigError(
                    f"Expected recipes that need no training. Received: {name}. Write it with "
                    f"`tfkd quantize {config.run} --recipe {name}`."
                )
        return {name: folder / f"{name}.tflite" for name in config.recipes or DEFAULT_RECIPES}
    form = formats.find(config.format)
    if len(config.lengths) > 1:
        raise ConfigError(
            f"Expected one --length for format {form.name}. Received: "
            f"{', '.join(map(str, config.lengths))}."
        )
    names = config.recipes or form.recipes[:1]
    if form.name == formats.SAVED_MODEL:
        return {name: folder / form.name for name in names}
    suffix = "" if form.name in formats.KITS else ".tflite"
    return {name: folder / f"{form.name}-{name}{suffix}" for name in names}


def _check_beside(model: Path, folder: Path, overwrite: bool) -> None:
    """Refuses to put what goes with a model's file in the place of another's.

    Raises:
        ArtifactError: Another is there, which is not of tfkd or not to be replaced.
    """
    other = [name for name in BESIDE if not _is_copy(model / name, folder / name)]
    if not other:
        return
    path = folder / "classifier.json"
    described = artifacts.read_json(path) if path.is_file() else None
    is_ours = isinstance(described, dict) and "model_sha256" in described
    if not (is_ours and overwrite):
        advice = "Add --overwrite to replace it, or give" if is_ours else "Give"
        raise ArtifactError(
            f"Expected no {other[0]} of another model in {folder}, where that of {model} is to "
            f"go. It exists. {advice} another --output-dir."
        )


def _is_copy(source: Path, target: Path) -> bool:
    """Whether a file or folder has nothing in its place but its own copy."""
    if source.is_dir():
        return all(_is_copy(item, target / item.name) for item in source.iterdir())
    return not target.exists() or target.read_bytes() == source.read_bytes()


def _copy(source: Path, target: Path) -> None:
    """Copies a file, or a folder with what is in it."""
    if source.is_dir():
        for item in source.iterdir():
            _copy(item, target / item.name)
    else:
        with artifacts.atomic_file(target) as part:
            part.write_bytes(source.read_bytes())
