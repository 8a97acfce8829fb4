"""`tfkd analyze`: size and time of architectures, with weights or without, side by side.

All models are built before the first is timed, since they take turns.
"""

import bisect
import dataclasses
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.config.verbs import AnalyzeConfig
from tfkd.data import sources
from tfkd.data.columns import ColumnNames, Reading
from tfkd.data.examples import SINGLE_LABEL, Dataset, Texts
from tfkd.errors import ConfigError, DatasetError, TfkdError
from tfkd.evaluation.architectures import AnalyzeResult, Architecture, Conditions, FileFigures
from tfkd.evaluation.latency import Latency
from tfkd.evaluation.memory import fresh_start
from tfkd.locks import locked
from tfkd.models.checkpoints import Kind, Source, resolve
from tfkd.models.tokenizers import Tokenizer
from tfkd.progress import Progress
from tfkd.runs.architectures import RECORD, Built, Setup, build
from tfkd.runs.costs import time_files
from tfkd.runs.material import first_texts
from tfkd.runs.settings import settings_of

COLD_TEXTS = 5
REPORT, PAGE = "analysis.json", "analysis.md"


def analyze(
    config: AnalyzeConfig | None = None, progress: Progress | None = None, **given: Any
) -> AnalyzeResult:
    """Measures parameters, bytes, memory, first call and warm times of models.

    Args:
        config: `AnalyzeConfig`.
        progress: `Progress` that shows what is done. Default: standard error, unless
            `config.quiet`.
        **given: The settings as keywords instead.

    Returns:
        `AnalyzeResult`.

    Raises:
        TfkdError: Anything the user can fix.

    Example:

    ```python
    result = tfkd.analyze(tfkd.AnalyzeConfig(models=("bert_base", "bert_tiny"), litert=False))
    result.architectures[1].parameters
    ```
    """
    config = settings_of(AnalyzeConfig, config, given)
    progress = progress or Progress(config.quiet)
    report = artifacts.report_file(config.output_dir, REPORT)
    models = [resolve(name) for name in dict.fromkeys(config.models)]
    dataset = _dataset(config)
    texts = first_texts(dataset.splits["test"], config.texts)
    if config.lengths and dataset.num_texts != 1:
        raise ConfigError(
            f"Expected a data set of single texts to fill to --length. Received: {dataset.name}, "
            "pairs of texts. Leave --length out."
        )
    setup = Setup(config, dataset, texts, progress)
    folder = setup.folder(models)
    # Another call that asks the same waits.
    with locked(folder):
        try:
            built = _built(models, setup, folder)
        except TfkdError:
            # Nothing to go on with: the same call would fail again.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        architectures = _measure(built, setup)
        shutil.rmtree(folder)
    conditions = Conditions(
        dataset.name,
        artifacts.fingerprint({"texts": list(texts)}),
        len(texts),
        config.rounds,
        config.threads,
        config.lengths,
        setup.tokenizer_origin,
    )
    result = AnalyzeResult(architectures, conditions, config.command_line("analyze"))
    if report is not None:
        artifacts.write_text(report.with_name(PAGE), result.markdown())
        artifacts.write_json(report, result.to_dict())
    return result


def _dataset(config: AnalyzeConfig) -> Dataset:
    """The data set, or where its labels cannot be understood its texts, as if of two classes."""
    names = ColumnNames.of(config)
    try:
        return sources.load(config.dataset, config.data_dir, reading=Reading(names))
    except DatasetError:
        # Labels that are named are wanted.
        if names.labels:
            raise
    found = sources.load_texts(config.dataset, config.data_dir, names)
    first = next(iter(found.splits.values()))
    splits = {"train": first, "test": first, **found.splits}
    return dataclasses.replace(found, task=SINGLE_LABEL, label_names=("0", "1"), splits=splits)


def _built(models: Sequence[Source], setup: Setup, folder: Path) -> list[Built]:
    """The models, those of a call that was killed among them."""
    whole = sum((folder / str(index) / RECORD).is_file() for index in range(len(models)))
    found = []
    with setup.progress.task("build and convert", len(models), whole) as task:
        for index, source in enumerate(models):
            is_new = not (folder / str(index) / RECORD).is_file()
            found.append(build(source, setup, folder / str(index)))
            task.advance(int(is_new), status=source.name)
    return found


def filled_texts(texts: Sequence[str], length: int, tokenizers: Sequence[Tokenizer]) -> list[str]:
    """Texts of as many words as fit into a length for every tokenizer, from those given.

    Args:
        texts: Strings. Each result begins with one of them and goes on with those after it.
        length: Integer. Tokens, special tokens included.
        tokenizers: `Tokenizer` of each model.

    Returns:
        As many strings as `texts` has.
    """
    longer = [tokenizer.with_length(4 * length) for tokenizer in tokenizers]
    filled = []
    for index in range(len(texts)):
        following = itertools.cycle([*texts[index:], *texts[:index]])
        # A word is at least one token.
        words = list(
            itertools.islice((word for text in following for word in text.split()), length)
        )

        def tokens(count: int, words: list[str] = words) -> int:
            text = " ".join(words[:count])
            return max(int(one.encode([text])["padding_mask"].sum()) for one in longer)

        count = bisect.bisect_right(range(1, length + 1), length, key=tokens)
        filled.append(" ".join(words[:count]))
    return filled


def _measure(built: Sequence[Built], setup: Setup) -> tuple[Architecture, ...]:
    """Warm times of all files in turns, for each length, then each file in a fresh process."""
    config, progress = setup.config, setup.progress
    kinds = list(built[0].graphs)
    latencies = []
    for texts in _asked(built, setup):
        progress.say(f"time {len(built) * len(kinds)} files, {config.rounds} rounds")
        timed = {
            f"{index}/{kind}": item.file(kind).timed(config.threads)
            for index, item in enumerate(built)
            for kind in kinds
        }
        latencies.append(time_files(timed, texts, config.rounds, progress, config.threads))
    measured = []
    with progress.task("measure first calls and memory", len(built) * len(kinds)) as task:
        for index, item in enumerate(built):
            files = []
            for kind in kinds:
                found = [latency[f"{index}/{kind}"] for latency in latencies]
                files.append(_figures(item, kind, tuple(found), setup))
                task.advance(status=item.source.name)
            is_trained = item.source.kind is not Kind.SIZE
            measured.append(
                Architecture(
                    item.source.name,
                    is_trained,
                    item.parameters,
                    item.table_parameters,
                    tuple(files),
                )
            )
    return tuple(measured)


def _figures(item: Built, kind: str, latencies: tuple[Latency, ...], setup: Setup) -> FileFigures:
    """All figures of one file."""
    threads, file = setup.config.threads, item.file(kind)
    start = fresh_start(file.timed(threads), setup.texts[:COLD_TEXTS], threads)
    return FileFigures(
        kind=kind,
        size_bytes=file.path.stat().st_size,
        graph=item.graphs[kind],
        logit_difference=item.differences[kind],
        first_call_ms=start.first_call_ms,
        peak_memory_bytes=start.peak_memory_bytes,
        latencies=latencies,
    )


def _asked(built: Sequence[Built], setup: Setup) -> list[Texts]:
    """The texts of each length; without lengths the texts as they are."""
    if not setup.config.lengths:
        return [setup.texts]
    tokenizers = {item.tokenizer.fingerprint: item.tokenizer for item in built}
    singles = [text for text in setup.texts if isinstance(text, str)]
    return [
        filled_texts(singles, length, list(tokenizers.values())) for length in setup.config.lengths
    ]
