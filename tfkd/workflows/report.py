"""`tfkd report`: a study's table and verdicts once more, from its folder alone."""

from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.config.verbs import ReportConfig
from tfkd.progress import Progress
from tfkd.runs.settings import settings_of
from tfkd.studies.form import kept_plan
from tfkd.studies.table import StudyResult, collect


def report(
    config: ReportConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> StudyResult:
    """Computes a study's figures again from the answers it kept; loads no model.

    Args:
        config: `ReportConfig`.
        progress: `Progress` that shows what is done.
        **given: The settings as keywords instead.

    Returns:
        `StudyResult`.

    Raises:
        ArtifactError: The folder is no finished study, or a file is there already.

    Example:

    ```python
    tfkd.report(tfkd.ReportConfig(study="saved_models/demo_study")).markdown()
    ```
    """
    config = settings_of(ReportConfig, config, given)
    plan = kept_plan(config.study)
    json_path = artifacts.report_file(config.output_dir, f"{plan.name}.json")
    page_path = artifacts.report_file(config.output_dir, f"{plan.name}.md")
    result = collect(plan)
    if json_path is not None and page_path is not None:
        artifacts.write_json(json_path, result.to_dict())
        artifacts.write_text(page_path, result.markdown())
    return result
