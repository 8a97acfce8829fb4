"""A run's README.md: its report in Markdown under the metadata of a model card.

Pushed to the Hugging Face hub with the run's files it is the model's card, figures and all.
"""

import re
from pathlib import Path

from tfkd.artifacts import write_text
from tfkd.evaluation.metrics import METRICS
from tfkd.reports.page import Page
from tfkd.reports.run_page import RunReport
from tfkd.reports.sentences import KERAS, shipped

PAGE, CARD = "report.html", "README.md"
HUB = "hf://"
TASK = "text-classification"
TAGS = ["knowledge-distillation", "quantization", "litert", "tflite", "keras", "tfkd"]


def card(report: RunReport, page: Page) -> str:
    """The README.md of a run.

    Args:
        report: `RunReport`.
        page: `Page` of it.

    Returns:
        String: the same for the same run, with no date and no machine.
    """
    return f"---\n{metadata(report)}\n---\n\n{page.markdown()}"


def metadata(report: RunReport) -> str:
    """What the hub reads of a model card: task, tags, teacher, data and figures, in YAML."""
    from huggingface_hub import EvalResult, ModelCardData

    own, config = shipped(report.rows), report.config
    dataset = report.record["data"]["dataset"]
    name = re.sub(r".*[\\/]", "", dataset.rstrip("/"))
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=name,
            dataset_name=name,
            dataset_split="test",
            metric_type=metric,
            metric_name=METRICS[metric].full_name or METRICS[metric].title,
            metric_value=round(value, 4),
        )
        for metric, value in own.metrics.items()
        if metric in METRICS and isinstance(value, float)
    ]
    teacher = str(config.get("teacher") or config.get("model") or "")
    base = teacher.removeprefix(HUB) if teacher.startswith(HUB) else None
    data = ModelCardData(
        library_name="keras" if own.recipe == KERAS else "litert",
        pipeline_tag=TASK,
        tags=TAGS,
        base_model=base,
        metrics=[report.metric],
        model_name=report.title,
        eval_results=results,
    )
    return data.to_yaml()


def write_report(folder: Path, report: RunReport, with_page: bool) -> None:
    """Writes README.md into a folder, and report.html if it is wanted.

    Args:
        folder: Path.
        report: `RunReport`.
        with_page: Boolean.
    """
    page = report.page()
    if with_page:
        write_text(folder / PAGE, page.html())
    write_text(folder / CARD, card(report, page))
