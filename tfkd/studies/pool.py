"""Arms of a study side by side: each in a process of its own, here or on Ray's machines.

The training of one small student does not fill several cores.
"""

import contextlib
import dataclasses
import os
from collections.abc import Generator, Mapping, Sequence

from loky import BrokenProcessPool, ProcessPoolExecutor, as_completed

from tfkd import cluster
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
    plan: StudyPlan,
    jobs: int,
    on_ray: bool,
    teachers: Mapping[str, AnyTeacher],
    material: Material,
) -> None:
    """Makes the arms of one data set that are not there yet, several at once.

    Teachers answer first, with all cores, what more than one arm asks.

    Args:
        plan: `StudyPlan` of one data set.
        jobs: Integer. Processes; each has a share of the cores.
        on_ray: Boolean. Have the workers of the Ray cluster that is joined make them, instead.
        teachers: `Teacher` by name, all made.
        material: `Material` of the data set.

    Raises:
        ModelError: A process was killed, most often for want of memory; Ray tries again first.
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
    progress = material.progress.named(plan.datasets[0])
    if on_ray:
        made = cluster.called(worker.make_apart, [(arm, plan) for arm in arms])
    else:
        made = _in_processes(arms, plan, jobs, progress.is_quiet)
    # After an error or Ctrl-C those that are still at work are ended.
    with (
        contextlib.closing(made),
        progress.task("arms", len(plan.arms), len(plan.arms) - len(arms)) as task,
    ):
        for _ in made:
            task.advance()


def _in_processes(
    arms: Sequence[ArmPlan], plan: StudyPlan, jobs: int, is_quiet: bool
) -> Generator[None]:
    """Makes arms in processes of this machine; goes on for each that is made."""
    limits = thread_limits(max(num_cores() // jobs, 1))
    pool = ProcessPoolExecutor(
        min(jobs, len(arms)), initializer=worker.begin, initargs=(os.getpid(),), env=limits
    )
    try:
        for future in as_completed([pool.submit(worker.make, arm, plan, is_quiet) for arm in arms]):
            yield future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise ModelError(
            f"Expected {jobs} processes to make the arms of {plan.path}. Received: one was killed, "
            "most often for want of memory. Start the study again with fewer --jobs; it goes on."
        ) from error
    finally:
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
