"""Arms of a study side by side: each in a process of its own, with its share of the cores.

The training of one small student does not fill several cores.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from loky import BrokenProcessPool, ProcessPoolExecutor, as_completed

from tfkd.artifacts import RunFolder
from tfkd.errors import ModelError
from tfkd.process import num_cores, thread_limits
from tfkd.runs.lesson import AnyTeacher
from tfkd.runs.material import Material
from tfkd.runs.routes import Demand
from tfkd.studies import worker
from tfkd.studies.plan import ArmPlan, StudyPlan

TRANSFER_SETTINGS = ("augmented_copies", "unlabelled", "transfer_unit", "max_transfer_rows")


def make_arms(
    plan: StudyPlan, jobs: int, teachers: Mapping[str, AnyTeacher], material: Material
) -> None:
    """Makes the arms of one data set that are not there yet, several at once.

    Teachers answer first, with all cores, what more than one arm asks.

    Args:
        plan: `StudyPlan` of one data set.
        jobs: Integer. Processes; each has a share of the cores.
        teachers: `Teacher` by name, all made.
        material: `Material` of the data set.

    Raises:
        ModelError: A process was killed, most often for want of memory.
        TfkdError: What `make_arm` raises, for the first arm that fails; the others are ended.
    """
    # Seeds side by side: they share nothing that one would have to wait for.
    arms = [
        arm
        for seeds in plan.seeds_of().values()
        for arm in seeds
        if not RunFolder(arm.path).is_finished
    ]
    if not arms:
        return
    _ask(arms, teachers, material)
    limits = thread_limits(max(num_cores() // jobs, 1))
    pool = ProcessPoolExecutor(
        min(jobs, len(arms)), initializer=worker.begin, initargs=(os.getpid(),), env=limits
    )
    progress = material.progress.named(plan.datasets[0])
    try:
        with progress.task("arms", len(plan.arms), len(plan.arms) - len(arms)) as task:
            made = [pool.submit(worker.make, arm, plan, progress.is_quiet) for arm in arms]
            for future in as_completed(made):
                future.result()
                task.advance()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise ModelError(
            f"Expected {jobs} processes to make the arms of {plan.path}. Received: one was killed, "
            "most often for want of memory. Start the study again with fewer --jobs; it goes on."
        ) from error
    finally:
        # After an error or Ctrl-C: those that are still at work.
        pool.shutdown(kill_workers=True)


def _ask(arms: Sequence[ArmPlan], teachers: Mapping[str, AnyTeacher], material: Material) -> None:
    """Has each teacher answer, once, all rows that these arms learn from."""
    asked: set[tuple[object, ...]] = set()
    for arm in arms:
        # Which words are near in altered copies, the teacher tells that a student starts from.
        terms = (arm.start, *(getattr(arm.config, name) for name in TRANSFER_SETTINGS))
        names = [name for name in arm.teachers or (arm.start,) if (name, *terms) not in asked]
        if names:
            wider = material.with_transfer(arm.config, teachers[arm.start].classifier)
            for name in names:
                demand = Demand.of(dataclasses.asdict(arm.config), arm.mixing.temperatures)
                teachers[name].answers(wider.transfer, wider, demand)
                asked.add((name, *terms))
