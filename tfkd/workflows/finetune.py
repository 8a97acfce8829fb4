"""`tfkd finetune`: a classifier trained on labels alone, mostly to be a teacher."""

from pathlib import Path
from typing import Any

from tfkd.artifacts import RunFolder
from tfkd.config.training import FinetuneConfig
from tfkd.locks import held
from tfkd.progress import Progress
from tfkd.runs.choices import choose, slug
from tfkd.runs.material import RUNS, prepare
from tfkd.runs.outcome import FinetuneResult
from tfkd.runs.settings import settings_of
from tfkd.runs.strategy import gathered
from tfkd.runs.teacher import fine_tune


def finetune(
    config: FinetuneConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> FinetuneResult:
    """Fine-tunes a pretrained encoder, or trains a size word, on a data set's labels.

    Args:
        config: `FinetuneConfig`, or the data set's name or path.
        progress: `Progress` that shows what is done. Default: standard error, unless
            `config.quiet`.
        **given: The settings, and rows that are in memory, as keywords of `distill`.

    Returns:
        `FinetuneResult`. The run folder holds `model/`, `metrics.json`, `logs/`.

    Raises:
        TfkdError: Anything the user can fix.

    Example:

    ```python
    result = tfkd.finetune("demo", model="bert_mini")
    ```
    """
    config = settings_of(FinetuneConfig, config, given)
    progress = progress or Progress(config.quiet)
    source = choose(config)["model"]
    path = config.output_dir or RUNS / f"{slug(config.dataset)}-{source.slug}-finetuned"
    with progress.stage("fine-tune"), gathered(config):
        material = prepare(config, path.parent, progress)
        with held(path, "finetune"):
            return fine_tune(config, source, material, RunFolder(path))
