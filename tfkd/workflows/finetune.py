"""`tfkd finetune`: a classifier trained on labels alone, mostly to be a teacher."""

import dataclasses
from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.evaluation import report
from tfkd.models import catalog
from tfkd.models.classifier import TextClassifier
from tfkd.models.loading import Shape, load_classifier
from tfkd.progress import Progress
from tfkd.training_config import FinetuneConfig
from tfkd.workflows.arms import (
    Objective,
    plan,
    test_figures,
    test_logits,
    train_arm,
    training_record,
)
from tfkd.workflows.choices import choose, slug
from tfkd.workflows.page import run_page
from tfkd.workflows.preparation import RUNS, Material, prepare

FILES = {
    "model/": "the classifier: model.keras, tokenizer/, labels.txt",
    "training/model.json": "budget and history",
    "logs/": "TensorBoard",
    "metrics.json": "all figures, versions, seed and data fingerprints",
    "config.json": "the resolved settings",
}


@dataclasses.dataclass(frozen=True)
class FinetuneResult:
    """Where the model lies and how good it is.

    Attributes:
        path: The run folder.
        metrics: Metrics on the test split.
        num_parameters: Number of weights.
        seconds: Training time.
    """

    path: Path
    metrics: dict[str, Any]
    num_parameters: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def render(self) -> list[Any]:
        """What the command line shows."""
        figures = ", ".join(
            f"{name} {value:.4f}"
            for name, value in self.metrics.items()
            if isinstance(value, float)
        )
        return [f"test: {figures}", f"{self.path}: {self.num_parameters:,} parameters"]


def finetune(config: FinetuneConfig, progress: Progress | None = None) -> FinetuneResult:
    """Fine-tunes a pretrained encoder, or trains a size word, on a data set's labels.

    Args:
        config: `FinetuneConfig`.
        progress: Where to show it. Default: standard error, unless `config.quiet`.

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
    run = artifacts.RunFolder(path)
    material = prepare(config, run.path.parent, progress)
    run.start("finetune", config.replace(model=source.name).to_dict(), config.overwrite)
    shape = Shape(config.sequence_length, config.pooling, config.seed, config.layers)
    classifier = load_classifier(source, material.dataset, shape)
    rate = config.learning_rate or catalog.default_learning_rate(source.name)
    classifier = train_arm("model", classifier, Objective(), plan(config, rate), material, run)
    return _finish(config.replace(model=source.name), classifier, material, run)


def _finish(
    config: FinetuneConfig, classifier: TextClassifier, material: Material, run: artifacts.RunFolder
) -> FinetuneResult:
    """Scores the test split, writes the README and metrics.json, which marks the run done."""
    tokens = material.tokens("test", classifier.tokenizer)
    figures = test_figures(test_logits(classifier, material), tokens, classifier)
    record = training_record(run, "model")
    result = FinetuneResult(run.path, figures, classifier.num_parameters, record["seconds"])
    row = report.Row(
        dataset=material.dataset.name,
        arm="model",
        model=str(config.model),
        recipe="keras",
        seed=config.seed,
        metrics=figures,
        size_bytes=classifier.size_bytes,
        parameters=classifier.num_parameters,
        latency=None,
        command=config.command_line("finetune"),
    )
    title = f"{config.model} fine-tuned on {material.dataset.name}"
    artifacts.write_text(run.path / "README.md", run_page(title, [row], material, FILES))
    artifacts.write_json(
        run.metrics,
        {
            **result.to_dict(),
            "rows": [row.to_dict()],
            "data": material.describe(),
            "training": record,
            "seed": config.seed,
            "versions": artifacts.versions(),
        },
    )
    return result
