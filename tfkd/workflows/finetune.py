"""`tfkd finetune`: a classifier trained on labels alone, mostly to be a teacher."""

from tfkd.artifacts import RunFolder
from tfkd.config.training import FinetuneConfig
from tfkd.locks import held
from tfkd.progress import Progress
from tfkd.runs.choices import choose, slug
from tfkd.runs.material import RUNS, prepare
from tfkd.runs.teacher import FinetuneResult, fine_tune


def finetune(config: FinetuneConfig, progress: Progress | None = None) -> FinetuneResult:
    """Fine-tunes a pretrained encoder, or trains a size word, on a data set's labels.

    Args:
        config: `FinetuneConfig`.
        progress: `Progress` that shows what is done. Default: standard error, unless
            `config.quiet`.

    Returns:
        `FinetuneResult`. The run folder holds `model/`, `metrics.json`, `logs/`.

    Raises:
        TfkdError: Anything the user can fix.

    Example:

    ```python
    result = tfkd.finetune(tfkd.FinetuneConfig(dataset="demo", model="bert_mini"))
    ```
    """
    progress = progress or Progress(config.quiet)
    source = choose(config)["model"]
    path = config.output_dir or RUNS / f"{slug(config.dataset)}-{source.slug}-finetuned"
    with progress.stage("fine-tune"):
        material = prepare(config, path.parent, progress)
        with held(path, "finetune"):
            return fine_tune(config, source, material, RunFolder(path))
