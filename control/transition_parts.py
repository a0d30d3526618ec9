"""The parts about versions that end, built together."""

from typing import NamedTuple

from control.deprecations import DeprecationJob
from control.jobs import Job
from control.settings import ControlSettings
from control.store.callers import Callers
from control.store.captures import Captures
from control.store.disagreements import DisagreementStore
from control.store.notices import Notices
from control.store.workers import Workers
from control.successor_answers import ShadowedAnswers
from control.transitions import Transitions
from registry.clock import Clock
from registry.service import Registry

CHECK_DELAY_S = 5.0
CHECK_EVERY_S = 10.0


class TransitionParts(NamedTuple):
    """Reports, and what happens by itself."""

    reports: Transitions
    job: DeprecationJob

    def jobs(self) -> list[Job]:
        """What has to be done from time to time."""
        return [Job("deprecations", CHECK_DELAY_S, CHECK_EVERY_S, self.job.run)]


def transition_parts(
    settings: ControlSettings,
    registry: Registry,
    disagreements: DisagreementStore,
    captures: Captures,
    workers: Workers,
    clock: Clock,
) -> TransitionParts:
    """Build them; nothing runs before the jobs are opened."""
    callers = Callers(registry.database)
    notices = Notices(registry.database)
    return TransitionParts(
        reports=Transitions(
            registry,
            callers,
            ShadowedAnswers(disagreements, clock),
            captures,
            workers.memory,
            clock,
        ),
        job=DeprecationJob(registry, notices, callers, settings.caller_days, clock),
    )
