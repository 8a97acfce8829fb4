"""`tfkd pretrain`: a general student from an encoder and text alone."""

from typing import Any

from tfkd.artifacts import RunFolder
from tfkd.config.training import PretrainConfig
from tfkd.locks import held
from tfkd.progress import Progress
from tfkd.runs.choices import choose_encoder
from tfkd.runs.material import CACHE, RUNS
from tfkd.runs.pretraining import PretrainResult, pre_train, read_texts
from tfkd.runs.settings import settings_of


def pretrain(
    config: PretrainConfig | None = None, progress: Progress | None = None, **given: Any
) -> PretrainResult:
    """Trains a student of any size word to give an encoder's vectors of texts.

    Args:
        config: `PretrainConfig`.
        progress: `Progress` that shows what is done. Default: standard error, unless
            `config.quiet`.
        **given: The settings as keywords instead.

    Returns:
        `PretrainResult`. Its folder is for `DistillConfig.student`.

    Raises:
        TfkdError: Anything the user can fix.

    Example:

    ```python
    encoder = "hf://sentence-transformers/all-MiniLM-L6-v2"
    general = tfkd.pretrain(tfkd.PretrainConfig(encoder=encoder, texts=("ag_news", "notes.txt")))
    tfkd.distill(tfkd.DistillConfig(dataset="tickets.csv", student=str(general.path)))
    ```

    Reference: [Turc et al., 2019](https://arxiv.org/abs/1908.08962), [Reimers and Gurevych, 2020](
    https://arxiv.org/abs/2004.09813)
    """
    config = settings_of(PretrainConfig, config, given)
    progress = progress or Progress(config.quiet)
    source = choose_encoder(config)
    path = config.output_dir or RUNS / f"{source.slug}-{config.student}-pretrained"
    with progress.stage("other"):
        material = read_texts(config, path.parent / CACHE, progress)
        with held(path, "pretrain"):
            return pre_train(config, source, material, RunFolder(path))
