"""Cross-validation: parts of one file take turns as test, so that every row of a small set is.

RUN-folds/
1/ ... K/                        as `tfkd distill` writes it, of one part as test
<dataset>-<teacher>-finetuned*/  the teacher of each, which has not seen the part
cache/                           tokens and teacher logits
folds.json, README.md            the figures and their table
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from tfkd import artifacts
from tfkd.artifacts import RunFolder
from tfkd.config.training import DistillConfig
from tfkd.errors import ConfigError
from tfkd.evaluation.metrics import METRICS
from tfkd.evaluation.table import Table, figures, words
from tfkd.progress import Progress
from tfkd.runs.material import prepare
from tfkd.runs.record import read_metrics

CONFIDENCE = 0.95
NOTE = (
    "The models of a part were trained without it, teachers as well. The interval is Student's 95% "
    "interval of the mean; the parts share most of their training rows, so it is too narrow. The "
    "student to keep is that of the run itself, which has test rows of its own."
)


@dataclasses.dataclass(frozen=True)
class Folds:
    """The figures of each part of the rows as test.

    Attributes:
        path: Folder of their runs.
        metric: Headline metric.
        num_rows: Rows of test in each part.
        num_trained: Rows of train beside each part.
        values: The metric of each arm, one value a part.
    """

    path: str
    metric: str
    num_rows: tuple[int, ...]
    num_trained: tuple[int, ...]
    values: Mapping[str, tuple[float, ...]]

    @property
    def means(self) -> dict[str, float]:
        """Mean of each arm."""
        return {arm: float(np.mean(values)) for arm, values in self.values.items()}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Student's 95% interval of each arm's mean, from low to high."""
        halves = {arm: half_width(np.array(values)) for arm, values in self.values.items()}
        return {arm: (mean - halves[arm], mean + halves[arm]) for arm, mean in self.means.items()}

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return dataclasses.asdict(self) | {"means": self.means, "intervals": self.intervals}

    def table(self) -> Table:
        """Mean, interval and range of each arm."""
        halves = [(high - low) / 2 for low, high in self.intervals.values()]
        return Table(
            [
                words("Arm", self.values),
                figures(
                    f"{METRICS[self.metric].title}, mean of {len(self.num_rows)}",
                    list(self.means.values()),
                    "{:.4f}",
                ),
                figures("+-", halves, "{:.4f}"),
                figures("Lowest", list(map(min, self.values.values())), "{:.4f}"),
                figures("Highest", list(map(max, self.values.values())), "{:.4f}"),
            ]
        )

    def render(self) -> list[Table | str]:
        """Lines and tables for the console."""
        fewest, most = min(self.num_trained), max(self.num_trained)
        trained = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        return [
            f"{sum(self.num_rows):,} rows, each tested once, in {len(self.num_rows)} parts by "
            f"models that learned from {trained} others:",
            self.table(),
            NOTE,
        ]


def half_width(values: np.ndarray) -> float:
    """Half of Student's 95% interval of a mean.

    Example:

    >>> round(half_width(np.array([0.8, 0.9])), 4)
    0.6353
    """
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error)


def in_folds(
    config: DistillConfig,
    run: RunFolder,
    progress: Progress,
    distilled: Callable[[DistillConfig, Progress], object],
) -> Folds:
    """Makes a run of each part as test; those that are finished are kept.

    Raises:
        ArtifactError: The run is finished already, or a part's folder holds another one.
        ConfigError: The test rows are chosen otherwise, too.
        DatasetError: The data set is not one file.
    """
    if config.test_split != "test" or not config.folds:
        raise ConfigError(
            "Expected no other test rows beside --folds. Received: "
            f"test_split={config.test_split!r}. Leave one of them out."
        )
    run.check_unfinished(config.overwrite)
    path = run.path.with_name(f"{run.path.name}-folds")
    parts = [
        config.replace(
            folds=None,
            test_split=f"{fold}/{config.folds}",
            output_dir=path / str(fold),
            recipes=(),
            timing=False,
        )
        for fold in range(1, config.folds + 1)
    ]
    with progress.stage("parts as test"):
        records = [_record(part, path / str(fold), distilled) for fold, part in enumerate(parts, 1)]
    metric = records[0]["metric"]
    # Without LiteRT files there is one row for each arm.
    rows = [{row["arm"]: row["metrics"][metric] for row in record["rows"]} for record in records]
    values = {arm: tuple(figures_of[arm] for figures_of in rows) for arm in rows[0]}
    tested, trained = (
        tuple(record["data"]["splits"][split]["num_rows"] for record in records)
        for split in ("test", "train")
    )
    found = Folds(str(path), metric, tested, trained, values)
    artifacts.write_json(path / "folds.json", found.to_dict())
    page = [
        f"# {run.path.name} in {config.folds} parts",
        *(item.markdown() if isinstance(item, Table) else item for item in found.render()),
        f"```\n{config.command_line('distill')}\n```\n",
    ]
    artifacts.write_text(path / "README.md", "\n\n".join(page))
    return found


def _record(
    config: DistillConfig, path: Path, distilled: Callable[[DistillConfig, Progress], object]
) -> Mapping[str, Any]:
    """The figures of one part, from its finished run or one that is made now."""
    run, progress = RunFolder(path), Progress(config.quiet)
    progress.say(f"test on part {config.test_split} of the rows: {path}")
    if run.is_finished:
        now = prepare(config, path.parent, Progress(quiet=True)).describe()
        is_same = run.difference("distill", config.to_dict()) is None
        if is_same and run.changed_rows(now) is None:
            return read_metrics(run)
        progress.say("it is of other settings or rows, and made anew")
        config = config.replace(overwrite=True)
    with progress.stage("other"):
        distilled(config, progress)
    return read_metrics(run)
