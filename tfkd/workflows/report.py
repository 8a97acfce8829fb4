"""`tfkd report`: the pages of finished runs and studies, from their folders alone."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.verbs import ReportConfig
from tfkd.errors import ArtifactError
from tfkd.evaluation.table import Shown, Table
from tfkd.progress import Progress
from tfkd.reports.card import CARD, PAGE, card
from tfkd.reports.page import Page
from tfkd.reports.run_page import RunReport
from tfkd.runs.record import finished, read_metrics
from tfkd.runs.settings import settings_of
from tfkd.studies.form import kept_plan
from tfkd.studies.page import study_page
from tfkd.studies.plan import PLAN
from tfkd.studies.table import RESULTS, StudyResult, collect


@dataclasses.dataclass(frozen=True, repr=False)
class ReportResult(Shown):
    """Where the pages are, and what the studies among the folders say.

    Attributes:
        leads: What came out of each folder, in a sentence or more.
        pages: Path of each folder's page.
        studies: `StudyResult` of each folder that holds a study.
    """

    leads: tuple[str, ...]
    pages: tuple[Path, ...]
    studies: tuple[StudyResult, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {
            "leads": list(self.leads),
            "pages": [str(path) for path in self.pages],
            "studies": [item.to_dict() for item in self.studies],
        }

    def render(self) -> Sequence[Table | str]:
        """Lines and tables for the console."""
        tables = [part for item in self.studies for part in item.render()]
        told = zip(self.leads, self.pages, strict=True)
        return [*tables, *(f"{lead}\nThe page is {path}." for lead, path in told)]


def report(
    config: ReportConfig | Path | str | None = None,
    progress: Progress | None = None,
    **given: Any,
) -> ReportResult:
    """Writes the pages of finished runs and studies anew; loads no model.

    A study's figures are computed again from the answers that its arms kept.

    Args:
        config: `ReportConfig`, or the path of a run or study.
        progress: `Progress` that shows what is done.
        **given: The settings as keywords instead.

    Returns:
        `ReportResult`.

    Raises:
        ArtifactError: A folder is no finished run or study, or a file is there already.

    Example:

    ```python
    tfkd.report("saved_models/demo").pages
    ```
    """
    config = settings_of(ReportConfig, config, given)
    progress = progress or Progress()
    # All are read, and all names are free, before the first page is written.
    found = [_read(folder) for folder in config.folders]
    targets = [
        _targets(folder, item.name, config.output_dir)
        for folder, item in zip(config.folders, found, strict=True)
    ]
    pages = [html for html, *_ in targets]
    if len(set(pages)) < len(pages):
        raise ArtifactError(
            "Expected folders of different names, and each once. Received: "
            f"{', '.join(map(str, config.folders))}. Report on them one by one."
        )
    for item, (html, markdown, data) in zip(found, targets, strict=True):
        with progress.stage("report", f"write {html}"):
            artifacts.write_text(html, item.page.html())
            artifacts.write_text(markdown, item.markdown)
            if item.study is not None:
                artifacts.write_json(data, item.study.to_dict())
    leads = [item.page.lead for item in found]
    studies = [item.study for item in found if item.study is not None]
    return ReportResult(tuple(leads), tuple(pages), tuple(studies))


@dataclasses.dataclass(frozen=True)
class _Report:
    """What a folder's report says: a page, the same in Markdown, and a study's figures."""

    name: str
    page: Page
    markdown: str
    study: StudyResult | None = None


def _read(folder: Path) -> _Report:
    """The report of a folder.

    Raises:
        ArtifactError: It holds no finished run or study.
    """
    if (folder / PLAN).is_file():
        study = collect(kept_plan(folder))
        return _Report(study.study, study_page(study), study.markdown(), study)
    run = finished(RunFolder(folder))
    record = read_metrics(run)
    if "rows" not in record:
        raise ArtifactError(
            f"Expected a run of `tfkd distill` or `tfkd finetune`, or a study. Received: {folder}, "
            "an arm of a study. Give the study's folder."
        )
    found = RunReport.read(run, record)
    page = found.page()
    return _Report(folder.resolve().name, page, card(found, page))


def _targets(folder: Path, name: str, output_dir: Path | None) -> tuple[Path, Path, Path]:
    """Where the page goes, the same in Markdown, and a study's figures.

    Raises:
        ArtifactError: One is there already, in a folder that was asked for.
    """
    if output_dir is None:
        return folder / PAGE, folder / CARD, folder / RESULTS
    names = (f"{name}.{end}" for end in ("html", "md", "json"))
    html, markdown, data = (artifacts.report_file(output_dir, name) or output_dir for name in names)
    return html, markdown, data
