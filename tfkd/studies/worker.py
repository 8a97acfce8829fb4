"""A process that makes arms of a study for another one.

Imports TensorFlow only when it has begun: what the pool starts it with has to come first.
"""

import dataclasses
import functools
import signal
from typing import TYPE_CHECKING

from tfkd.keras_environment import settle_command
from tfkd.process import follow
from tfkd.progress import Progress
from tfkd.quiet import import_tensorflow, quiet_libraries
from tfkd.studies.plan import ArmPlan, StudyPlan

if TYPE_CHECKING:
    from pathlib import Path

    from tfkd.config.training import DistillConfig
    from tfkd.runs.material import Material


def begin(parent: int) -> None:
    """Start of a fresh process.

    Args:
        parent: Integer. The process it works for.
    """
    quiet_libraries()
    # Ctrl-C reaches the whole group; the parent ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The study may be started again.
    follow(parent)
    import_tensorflow()


def make_apart(arm: ArmPlan, plan: StudyPlan) -> None:
    """The same as `make`, in a worker of Ray's that may have begun with anything.

    Raises:
        TfkdError: What `make_arm` raises.
    """
    quiet_libraries()
    settle_command()
    import_tensorflow()
    make(arm, plan, is_quiet=True)


def make(arm: ArmPlan, plan: StudyPlan, is_quiet: bool) -> None:
    """One arm, in a process that may have made others before.

    Args:
        arm: `ArmPlan`. Its teachers are made.
        plan: `StudyPlan` of its data set.
        is_quiet: Boolean. Show nothing.

    Raises:
        TfkdError: What `make_arm` raises.
    """
    from tfkd.studies.making import make_arm, make_teacher

    progress = Progress(is_quiet, arm.path.name)
    material = dataclasses.replace(_material(plan.arms[0].config, plan.path), progress=progress)
    plans = {item.name: item for item in plan.teachers}
    heard = (arm.start, *arm.teachers)
    teachers = {name: make_teacher(item, material) for name, item in plans.items() if name in heard}
    make_arm(arm, plans, teachers, material)


@functools.cache
def _material(config: "DistillConfig", path: "Path") -> "Material":
    """The data set, read once a process; the parent has said what it holds."""
    from tfkd.runs.material import prepare

    return prepare(config, path, Progress(quiet=True))
