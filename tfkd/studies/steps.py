"""The steps of a study before they are taken: what it would make, and what of it is there."""

import dataclasses
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tfkd.artifacts import RunFolder
from tfkd.studies.plan import StudyPlan


@dataclasses.dataclass(frozen=True)
class PlanResult:
    """What a study would make, and what of it is there."""

    plan: StudyPlan

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"study": self.plan.name, "path": str(self.plan.path), "steps": self.steps()}

    def steps(self) -> list[dict[str, str]]:
        """Every teacher and arm: data set, what it is, folder, state."""
        made = [(item.dataset, f"teacher {item.name}", item.path) for item in self.plan.teachers]
        made += [
            (arm.dataset, f"{arm.name}, seed {arm.config.seed}", arm.path) for arm in self.plan.arms
        ]
        return [
            {"dataset": dataset, "step": step, "folder": path.name, "state": state(path)}
            for name in self.plan.datasets
            for dataset, step, path in made
            if dataset == name
        ]

    def render(self) -> list[Any]:
        """What the command line shows."""
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for title in ("Data set", "Step", "Folder", "State"):
            table.add_column(title, no_wrap=True)
        steps = self.steps()
        for step in steps:
            table.add_row(*step.values())
        done = sum(step["state"] == "done" for step in steps)
        return [table, f"{done} of {len(steps)} done in {self.plan.path}"]


def state(path: Path) -> str:
    """What is there of a teacher or arm: "done", "begun" or "to do"."""
    run = RunFolder(path)
    if run.is_finished:
        return "done"
    return "begun" if run.is_run else "to do"
