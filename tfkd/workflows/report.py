"""`tfkd report`: a study's table and verdicts once more, from its folder alone."""

from tfkd import artifacts
from tfkd.config.verbs import ReportConfig
from tfkd.progress import Progress
from tfkd.studies.form import kept_plan
from tfkd.studies.table import StudyResult, collect


def report(config: ReportConfig, progress: Progress | None = None) -> StudyResult:
    """Computes a study's figures again from the answers it kept; loads no model.

    Args:
        config: `ReportConfig`.
        progress: `Progress` that shows what is done.

    Returns:
        `StudyResult`.

    Raises:
        ArtifactError: The folder is no finished study, or a file is there already.

    Example:

    ```python
    tfkd.report(tfkd.ReportConfig(study="saved_models/demo_study")).markdown()
    ```
    """
    plan = kept_plan(config.study)
    json_path = artifacts.report_file(config.output_dir, f"{plan.name}.json")
    page_path = artifacts.report_file(config.output_dir, f"{plan.name}.md")
    result = collect(plan)
    if json_path is not None and page_path is not None:
        artifacts.write_json(json_path, result.to_dict())
        artifacts.write_text(page_path, result.markdown())
    return result
